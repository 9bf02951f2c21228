package main

import (
	"encoding/json"
	"net/http"

	"github.com/spf13/cobra"

	"registry-node/node"
)

const (
	statusPath      = "/api/v1/status"
	replicationPath = "/api/v1/replication"
)

func statusCommand() *cobra.Command {
	var (
		t             target
		asJSON, watch bool
	)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how a node and its sites stand",
		Long: `Show how a node stands, and how the sites of its registry stand to each other:
who is there, by how many entries and how much time each is behind, what zips it
has yet to fetch, and whether it agrees with the node's site. Below that is what
needs a person, and what to do about it; the exit code is 1 then.

With --json it prints what GET /api/v1/replication answers. With --watch it goes
on, whenever something changes, until it is interrupted or the node ends.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			if watch {
				return c.watchStatus(cmd, asJSON)
			}
			return c.status(cmd, asJSON)
		},
	}
	t.addFlags(cmd)
	jsonFlag(cmd, &asJSON)
	cmd.Flags().BoolVar(&watch, "watch", false, "go on showing it, as it changes")
	return cmd
}

// status prints how the node stands once. It returns errNo if something needs a
// person.
func (c *client) status(cmd *cobra.Command, asJSON bool) error {
	var st node.Status
	if err := c.call(cmd.Context(), http.MethodGet, statusPath, nil, &st); err != nil {
		return err
	}
	var err error
	if asJSON {
		var raw json.RawMessage // as it is, also from a node that knows more
		if err := c.call(cmd.Context(), http.MethodGet, replicationPath, nil, &raw); err != nil {
			return err
		}
		err = printJSON(cmd.OutOrStdout(), raw)
	} else {
		err = printStatus(cmd.OutOrStdout(), &st)
	}
	if err == nil && len(troubles(&st)) > 0 {
		return errNo
	}
	return err
}
