package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"registry-node/httpapi"
)

const auditPath = "/api/v1/audit"

func auditCommand() *cobra.Command {
	var (
		t              target
		export, asJSON bool
		limit          int
	)
	query := url.Values{}
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show who changed what through this node, and who tried to",
		Long: `Show who changed what through this node, from where, and who tried to in vain,
newest first. Each node has its own audit log: ask those of the other sites as
well. What was decided is, at all sites and for ever, in the log: see "log".
A time is a span before now, as 12h or 30d, or one like 2006-01-02T15:04:05Z.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if export && (asJSON || cmd.Flags().Changed("limit")) {
				return usagef("--export prints all lines as they are: neither --json nor --limit goes with it")
			}
			if export {
				query.Set("format", "ndjson")
			} else {
				query.Set("limit", strconv.Itoa(limit))
			}
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			if export {
				return c.exportAudit(cmd, query)
			}
			var a httpapi.Audited
			if err := c.call(cmd.Context(), http.MethodGet, auditPath+"?"+query.Encode(), nil, &a); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), a)
			}
			if err := printAudit(cmd.OutOrStdout(), a); err != nil {
				return err
			}
			return noteAudit(cmd.ErrOrStderr(), a)
		},
	}
	t.addFlags(cmd)
	fs := cmd.Flags()
	for _, f := range []struct{ name, param, usage string }{
		{"since", "since", "`time` from which on (default 30d)"},
		{"until", "until", "`time` up to which (default: now)"},
		{"actor", "actor", "`name` of who did it: a user, or as operator@SITE"},
		{"token-id", "token", "`id` of the token with which it was done"},
		{"action", "action", "`action`, as publish, or a family of them, as 'repo.*'"},
		{"outcome", "outcome", "`outcome`: done, refused or failed"},
		{"client", "client", "`address` of the client, or a prefix, as 10.1.0.0/16"},
		{"repo", "repository", "`name` of the repository"},
		{"module", "module", "`pattern` of module paths, as 'corp.example/**'"},
	} {
		fs.Var(setting{set: func(s string) error { query.Set(f.param, s); return nil }}, f.name, f.usage)
	}
	must(cmd.RegisterFlagCompletionFunc("outcome", completeWords("done", "refused", "failed")))
	fs.IntVar(&limit, "limit", 1000, "`number` of lines at most, the newest; up to 10000")
	fs.BoolVar(&export, "export", false, "print all lines that match as JSON, one a line, oldest first")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// exportAudit copies the lines of the audit log to stdout.
func (c *client) exportAudit(cmd *cobra.Command, query url.Values) error {
	req, err := c.request(cmd.Context(), http.MethodGet, auditPath, query, nil)
	if err != nil {
		return err
	}
	resp, err := c.send(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(cmd.OutOrStdout(), resp.Body); err != nil {
		return fmt.Errorf("%s: the audit log broke off: %w", c.where, err)
	}
	return nil
}

func printAudit(w io.Writer, a httpapi.Audited) error {
	t := newTable(w)
	t.row("TIME", "WHO", "CLIENT", "ACTION", "OUTCOME", "WHAT", "POSITION")
	for _, l := range a.Lines {
		who, outcome := orDash(l.Actor), l.Outcome
		if l.Token != "" {
			who += " (" + l.Token + ")"
		}
		if l.Outcome != "done" {
			outcome += " " + strconv.Itoa(l.Status)
		}
		t.row(l.Time.Format(time.RFC3339), who, orDash(l.Client), l.Action, outcome, orDash(auditedThing(l)), orDash(l.Position))
	}
	return t.Flush()
}

// auditedThing says what a line is about.
func auditedThing(l httpapi.Audit) string {
	parts := []string{l.Repo, l.Module, l.Name, l.Reason}
	if l.Version != "" {
		parts[1] += "@" + l.Version
	}
	if l.Via != "" {
		parts = append(parts, "via site "+l.Via)
	}
	if l.Count > 1 {
		parts = append(parts, strconv.FormatInt(l.Count, 10)+" times")
	}
	return strings.Join(strings.Fields(strings.Join(parts, " ")), " ")
}

// noteAudit says what the list lacks.
func noteAudit(w io.Writer, a httpapi.Audited) error {
	fmt.Fprintf(w, "as far as this node's audit log goes, which is back to %s\n", a.From.Format(time.RFC3339))
	if a.More {
		fmt.Fprintf(w, "there are older ones; --limit shows more, --export all\n")
	}
	if a.Dropped > 0 {
		fmt.Fprintf(w, "%d lines of that time are missing, of what was refused or failed\n", a.Dropped)
	}
	return nil
}
