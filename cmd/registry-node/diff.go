package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"registry-node/events"
	"registry-node/node"
)

func diffCommand() *cobra.Command {
	var (
		t      target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "diff SITE",
		Short: "Find the rows in which the node's site and another one differ",
		Long: `Compare what the node's site and another one hold, log by log, at a position that
both have applied. The state hash says whether they differ, and bisecting it in
which rows: they are printed with the hashes of what is here and there, and the
exit code is 1.`,
		Args:              wants("SITE"),
		ValidArgsFunction: t.completeSite,
		RunE: func(cmd *cobra.Command, args []string) error {
			site, err := events.ParseSite(args[0])
			if err != nil {
				return usageError{err}
			}
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			var d node.Diff
			if err := c.call(cmd.Context(), http.MethodGet, "/api/v1/diff/"+site.String(), nil, &d); err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), d)
			} else {
				err = printDiff(cmd.OutOrStdout(), d)
			}
			if err == nil && differs(d) {
				return errNo
			}
			return err
		},
	}
	t.addFlags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func differs(d node.Diff) bool {
	for _, l := range d.Logs {
		if !l.Equal {
			return true
		}
	}
	return false
}

func printDiff(w io.Writer, d node.Diff) error {
	t := newTable(w)
	t.row("LOG", "AT", "KEY", "HERE", "AT "+d.Site.String())
	for _, l := range d.Logs {
		if l.Equal {
			t.row(l.Log, l.At, "equal")
			continue
		}
		if len(l.Rows) == 0 {
			t.row(l.Log, l.At, "different, and the rows can't be told")
		}
		for _, r := range l.Rows {
			t.row(l.Log, l.At, r.Key, cmp.Or(r.Here, "-"), cmp.Or(r.There, "-"))
		}
		if l.More {
			t.row(l.Log, l.At, "and more")
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(d.Logs) == 0 {
		_, err := fmt.Fprintf(w, "there is no position that both sites have applied\n")
		return err
	}
	return nil
}
