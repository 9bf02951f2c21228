package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"registry-node/node"
)

func statusCommand() *cobra.Command {
	var (
		t      target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how a node and its sites stand",
		Long: `Show how a node stands, and how the sites of its registry stand to each other.
The exit code is 1 if something needs a person. With --json it prints what
GET /api/v1/replication answers.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			var st node.Status
			if err := c.call(cmd.Context(), http.MethodGet, "/api/v1/status", nil, &st); err != nil {
				return err
			}
			if asJSON {
				var raw json.RawMessage // as it is, also from a node that knows more
				if err := c.call(cmd.Context(), http.MethodGet, "/api/v1/replication", nil, &raw); err != nil {
					return err
				}
				err = printJSON(cmd.OutOrStdout(), raw)
			} else {
				err = printStatus(cmd.OutOrStdout(), &st)
			}
			if err == nil && needsPerson(&st) {
				return errNo
			}
			return err
		},
	}
	t.addFlags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// needsPerson reports whether something is wrong that does not mend itself.
func needsPerson(st *node.Status) bool {
	if len(st.Reasons) > 0 || !st.Writable || st.Replication.Agreement == "different" {
		return true
	}
	for _, s := range st.Replication.Sites {
		if len(s.Reasons) > 0 || s.Conflicts > 0 {
			return true
		}
	}
	return false
}

func printStatus(w io.Writer, st *node.Status) error {
	t := newTable(w)
	t.row("site", st.Site)
	t.row("registry", st.Registry)
	t.row("version", st.Version)
	t.row("takes writes", yesNo(st.Writable))
	t.row("disk", fmt.Sprintf("%s free of %s", bytesText(st.FreeBytes), bytesText(st.TotalBytes)))
	t.row("repositories", len(st.Repos))
	t.row("agreement", st.Replication.Agreement)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = newTable(w)
	t.row("SITE", "CONNECTED", "LAG", "BLOBS MISSING", "CONFLICTS", "LOG", "STATE HASH")
	for _, s := range st.Replication.Sites {
		own := s.Logs[s.Name]
		t.row(s.Name, yesNo(s.Connected), fmt.Sprintf("%d entries, %v", s.LagEntries, time.Duration(s.LagSeconds*float64(time.Second)).Round(time.Second)),
			fmt.Sprintf("%d, %s", s.BlobsMissing, bytesText(s.BytesMissing)), s.Conflicts,
			fmt.Sprintf("%d/%d", own.Epoch, own.Seq), s.StateHash)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, r := range st.Reasons {
		fmt.Fprintln(w, "! "+oneLine(r))
	}
	for _, s := range st.Replication.Sites {
		for _, r := range s.Reasons {
			fmt.Fprintf(w, "! %s: %s\n", s.Name, oneLine(r))
		}
	}
	return nil
}

func yesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}
