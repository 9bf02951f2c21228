package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"registry-node/events"
	"registry-node/httpapi"
)

func fetchedCommand() *cobra.Command {
	var (
		t       target
		since   string
		refused bool
		limit   int
		asJSON  bool
	)
	cmd := &cobra.Command{
		Use:   "fetched MODULE[@VERSION]",
		Short: "Show who fetched a module version from this node",
		Long: `Show who fetched a module version from this node, newest first, from its access
log. Each node has its own: ask those of the other sites as well. MODULE and
VERSION may be patterns, as those of "block".`,
		Args:              wants("MODULE[@VERSION]"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := events.ParseVersionPattern(args[0])
			if err != nil {
				return usageError{err}
			}
			span, err := events.ParseSpan(since)
			if err != nil {
				return usageError{err}
			}
			path, version := p.Parts()
			query := url.Values{"module": {path}, "version": {version}, "since": {span.String()}, "refused": {strconv.FormatBool(refused)}, "limit": {strconv.Itoa(limit)}}
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			var f httpapi.Fetched
			if err := c.call(cmd.Context(), http.MethodGet, "/api/v1/fetched?"+query.Encode(), nil, &f); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), f)
			}
			if err := printFetched(cmd.OutOrStdout(), f); err != nil {
				return err
			}
			return noteFetched(cmd.ErrOrStderr(), f)
		},
	}
	t.addFlags(cmd)
	fs := cmd.Flags()
	fs.StringVar(&since, "since", "30d", "`span` that is looked at: 12h, 30d")
	fs.BoolVar(&refused, "refused", false, "show who asked and did not get it as well")
	fs.IntVar(&limit, "limit", 1000, "`number` of lines at most, the newest; up to 10000")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func printFetched(w io.Writer, f httpapi.Fetched) error {
	t := newTable(w)
	t.row("TIME", "CLIENT", "WHO", "REPOSITORY", "FILE", "STATUS", "BYTES")
	for _, a := range f.Fetches {
		repo := a.Repo
		if a.Via != "" {
			repo += " (" + a.Via + ")"
		}
		status := strconv.Itoa(a.Status)
		if a.Cut {
			status += " cut"
		}
		t.row(a.Time.Format(time.RFC3339), a.Client, orDash(a.Actor), repo, a.Module+"@"+a.Version+" "+a.Kind, status, a.Bytes)
	}
	return t.Flush()
}

// noteFetched says what the list lacks.
func noteFetched(w io.Writer, f httpapi.Fetched) error {
	fmt.Fprintf(w, "as far as this node's access log goes, which is back to %s\n", f.From.Format(time.RFC3339))
	if f.More {
		fmt.Fprintf(w, "there are older ones; --limit shows more\n")
	}
	if f.Dropped > 0 {
		fmt.Fprintf(w, "%d lines of that time are missing in the log, of whichever modules\n", f.Dropped)
	}
	return nil
}
