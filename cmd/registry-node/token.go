package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

const tokensPath = "/api/v1/tokens"

func tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Issue, list and revoke tokens",
		Long: `Issue, list and revoke tokens, with which users show who they are. A token can do
what its user may do, within the limits that it was issued with.`,
	}
	t := new(target)
	t.addFlags(cmd)
	cmd.AddCommand(tokenCreateCommand(t), tokenListCommand(t), tokenRevokeCommand(t))
	return group(cmd)
}

func tokenCreateCommand(t *target) *cobra.Command {
	var (
		n       node.NewToken
		expires string
		asJSON  bool
	)
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Issue a token",
		Long: `Issue a token, for yourself or for a user whom you may manage. It is printed alone
on standard output, this once: nobody can show it again.

Whoever has it may do what the user may do, within the limits given here. A token
that you issue for yourself is limited as the one that you show, at least, and
ends no later.`,
		Args: wants(),
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&n.User, "user", "", "`name` of the user it is for (default: you)")
	fs.Var(each(&n.Repos, asIs).commas(), "repos", "`names` of the repositories that it is good for, where * and ? are wildcards (default: all); can be repeated")
	fs.Var(each(&n.Actions, action).commas(), "actions", "`actions` that it is good for, as read,publish (default: all); can be repeated")
	fs.Var(each(&n.Modules, events.ParsePattern).commas(), "modules", "`patterns` of the module paths that it is good for, as 'corp.example/team-a/**' (default: all); can be repeated")
	fs.StringVar(&expires, "expires", "", "`span` for which it is good, as 12h or 90d, at most 3650d, or never (default 90d)")
	fs.StringVar(&n.Description, "description", "", "`text` that says what it is used for")
	must(cmd.RegisterFlagCompletionFunc("user", t.completeUsers))
	must(cmd.RegisterFlagCompletionFunc("repos", t.completeRepos()))
	must(cmd.RegisterFlagCompletionFunc("actions", completeWords(actionWords...)))
	jsonFlag(cmd, &asJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if n.Lifetime, err = node.ParseLifetime(expires); err != nil {
			return usageError{fmt.Errorf("--expires: %w, or never", err)}
		}
		c, err := t.client()
		if err != nil {
			return err
		}
		defer c.close()
		var issued node.IssuedToken
		if err := c.call(cmd.Context(), http.MethodPost, tokensPath, n, &issued); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), issued)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "token %s of %s: it may do what %s may do%s; it ends %s\n",
			issued.ID, issued.User, issued.User, scopeText(issued.Scope), endText(issued.Expires))
		_, err = fmt.Fprintln(cmd.OutOrStdout(), issued.Token)
		return err
	}
	return cmd
}

// scopeText says how a token is limited, behind what it is good for.
func scopeText(s access.Scope) string {
	var limits []string
	if len(s.Actions) > 0 {
		limits = append(limits, "only to "+texts(s.Actions))
	}
	if len(s.Repos) > 0 {
		limits = append(limits, "only in "+texts(s.Repos))
	}
	if len(s.Modules) > 0 {
		limits = append(limits, "only with "+list(s.Modules))
	}
	if len(limits) == 0 {
		return ""
	}
	return ", " + strings.Join(limits, ", ")
}

// endText says when a token ends.
func endText(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Local().Format(time.RFC3339)
}

// tokenList is a page of the API's list of tokens.
type tokenList struct {
	Tokens []node.TokenInfo `json:"tokens"`
	Next   string           `json:"next,omitempty"`
}

func (c *client) tokens(ctx context.Context, query url.Values) ([]node.TokenInfo, error) {
	return pages(ctx, c, tokensPath, query, func(l tokenList) ([]node.TokenInfo, string) { return l.Tokens, l.Next })
}

func tokenListCommand(t *target) *cobra.Command {
	var (
		user        string
		all, asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List tokens: yours, and those of users whom you may manage",
		Long: `List tokens: yours, and those of users whom you may manage. When one was last used
this node says only of itself, and up to a minute late. What a site gave for a
password or an ID token counts there alone, and is listed by that site alone: to
you if it is yours, to administrators all. Revoking one revokes those, too, that
took its place, or whose place it took.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			query := url.Values{}
			if user != "" {
				query.Set("user", user)
			}
			if all {
				query.Set("all", "true")
			}
			tokens, err := c.tokens(cmd.Context(), query)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), tokenList{Tokens: tokens})
			}
			tab := newTable(cmd.OutOrStdout())
			tab.row("ID", "USER", "MAY", "IN", "WITH", "ENDS", "LAST USED", "SITE", "DESCRIPTION")
			for _, k := range tokens {
				tab.row(k.ID, k.User, allOr(k.Actions), allOr(k.Repos), listOr(k.Modules, "all"), tokenEnd(k), lastUse(k.LastUsed), cmp.Or(k.Site, "all"), k.Description)
			}
			return tab.Flush()
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "`name` of the user whose tokens are listed (default: all)")
	cmd.Flags().BoolVar(&all, "all", false, "list those that work no more, too")
	must(cmd.RegisterFlagCompletionFunc("user", t.completeUsers))
	jsonFlag(cmd, &asJSON)
	return cmd
}

// allOr shows a limit.
func allOr(limit []string) string {
	if len(limit) == 0 {
		return "all"
	}
	return texts(limit)
}

func tokenEnd(k node.TokenInfo) string {
	if k.Revoked {
		return "revoked"
	}
	return endText(k.Expires)
}

func lastUse(t time.Time) string {
	if t.IsZero() {
		return dash
	}
	return t.Local().Format(time.RFC3339)
}

func tokenRevokeCommand(t *target) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "revoke ID",
		Short: "Revoke a token, for ever",
		Long: `Revoke a token, for ever. It counts at this site with the next request, and at the
others as soon as they hear of it. ID is what "token list" shows: the characters
between rn_ and the next _ of the token.`,
		Args: wants("ID"),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`text` that the log keeps")
	cmd.ValidArgsFunction = t.completeToken
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if strings.HasPrefix(args[0], "rn_") {
			return usagef("name the token by its id, the %d characters behind rn_, and keep the rest to yourself", len("tabcdefghijk"))
		}
		c, err := t.client()
		if err != nil {
			return err
		}
		defer c.close()
		path := named(tokensPath, args[0])
		if reason != "" {
			path += "?" + url.Values{"reason": {reason}}.Encode()
		}
		if err := c.call(cmd.Context(), http.MethodDelete, path, nil, nil); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "revoked %s\n", args[0])
		return err
	}
	return cmd
}

// completeToken completes the id of a token, if that is the first argument.
func (t *target) completeToken(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return t.complete(func(c *client) (ids []string, err error) {
		tokens, err := c.tokens(cmd.Context(), nil)
		for _, k := range tokens {
			ids = append(ids, cobra.CompletionWithDesc(k.ID, k.User+" "+oneLine(k.Description)))
		}
		return ids, err
	})
}
