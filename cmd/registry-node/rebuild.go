package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/index"
)

// rebuilt is where the site's log stands in a new index.
type rebuilt struct {
	Position  events.Position `json:"position"`
	StateHash index.StateHash `json:"state_hash"`
}

func rebuildCommand() *cobra.Command {
	var (
		t      target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "rebuild",
		Short: "Make a node's index anew from its log",
		Long: `Make the index anew from the log. The state hash that is printed is the one from
before, unless the index was damaged.

With --data, the node that runs there is asked, and goes on answering meanwhile;
if none runs, the directory is opened for that time.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := countProgress(cmd.ErrOrStderr())
			var r rebuilt
			err := t.atNode(cmd, func(ctx context.Context, n *node.Node) error {
				head, err := n.Rebuild(ctx, operator(n), func(entries uint64) { p.show("log", entries) })
				r = rebuilt{head.Position, head.StateHash}
				return err
			}, func(ctx context.Context, c *client) error {
				return c.work(ctx, "/api/v1/rebuild", p, &r)
			})
			p.end()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), r)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "rebuilt up to %v, state hash %v\n", r.Position, r.StateHash)
			return err
		},
	}
	t.addFlags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}
