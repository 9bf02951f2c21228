package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

const permissionsPath = "/api/v1/permissions"

func permissionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "permission",
		Short: "Say who may do what, by rules",
		Long: `Say who may do what. A rule lets principals do some actions with some modules in
some repositories. Nothing is allowed that no rule allows, and no rule forbids.

` + aboutRules,
	}
	t := new(target)
	t.addFlags(cmd)
	cmd.AddCommand(permissionSetCommand(t), permissionListCommand(t), permissionShowCommand(t), permissionDeleteCommand(t), permissionCheckCommand(t))
	return group(cmd)
}

const aboutRules = `Principals: user:NAME, group:NAME, authenticated (every user), anonymous (whoever
shows no credentials, and everybody else), loopback (who shows none and asks from
the node's own machine, at an address that only it can reach), site:NAME (the
operator of that site).

Actions: read, publish, delete (hides versions), block, manage. To manage team-a-*
is to manage all that is called so: repositories, users, groups and rules. To
manage * is to administer the registry.`

var actionWords = []string{"read", "publish", "delete", "block", "manage"}

func permissionSetCommand(t *target) *cobra.Command {
	var (
		g      events.Grant
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "set NAME --to PRINCIPALS --repos REPOSITORIES --actions ACTIONS",
		Short: "Make a rule, or replace it",
		Long: `Make a rule, or replace the one of that name.

` + aboutRules,
		Args:              wants("NAME"),
		ValidArgsFunction: t.completeRule,
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.Var(each(&g.Principals, principal).commas(), "to", "`principals` that it is for, as 'group:team-a,user:ci'; can be repeated")
	fs.Var(each(&g.Repos, asIs).commas(), "repos", "`names` of repositories, where * stands for any characters and ? for one, as 'team-a-*,all'; can be repeated")
	fs.Var(each(&g.Actions, action).commas(), "actions", "`actions` that it allows, as read,publish; can be repeated")
	fs.Var(each(&g.Include, events.ParsePattern).commas(), "include", "`patterns` of module paths that it is about, as 'corp.example/team-a/**' (default: all); can be repeated")
	fs.Var(each(&g.Exclude, events.ParsePattern).commas(), "exclude", "`patterns` of module paths that it is not about, even if included; can be repeated")
	must(cmd.RegisterFlagCompletionFunc("to", t.completePrincipals))
	must(cmd.RegisterFlagCompletionFunc("repos", t.completeRepos()))
	must(cmd.RegisterFlagCompletionFunc("actions", completeWords(actionWords...)))
	jsonFlag(cmd, &asJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(g.Principals) == 0:
			return usagef("--to is missing: whom the rule is for")
		case len(g.Repos) == 0:
			return usagef("--repos is missing: which repositories it is about; '*' for all")
		case len(g.Actions) == 0:
			return usagef("--actions is missing: what it allows")
		}
		if err := ask(cmd, t, http.MethodPut, named(permissionsPath, args[0]), g, asJSON, printRule); err != nil {
			return err
		}
		warnOfOpen(cmd.ErrOrStderr(), args[0], g)
		return nil
	}
	return cmd
}

// warnOfOpen tells that a rule lets anybody do more than read.
func warnOfOpen(w io.Writer, name string, g events.Grant) {
	more := slices.DeleteFunc(slices.Clone(g.Actions), func(a string) bool { return a == access.Read.String() })
	if slices.Contains(g.Principals, events.Anonymous) && len(more) > 0 {
		fmt.Fprintf(w, "warning: by the rule %s whoever reaches this registry may %s, without saying who they are\n", name, texts(more))
	}
}

func principal(s string) (string, error) { return s, events.CheckPrincipal(s) }

func action(s string) (string, error) {
	_, err := access.ParseAction(s)
	return s, err
}

func printRule(w io.Writer, r events.Rule) error {
	t := newTable(w)
	t.row("name", r.Name)
	t.row("to", texts(r.Principals))
	t.row("repositories", texts(r.Repos))
	t.row("actions", texts(r.Actions))
	t.row("include", listOr(r.Include, "all modules"))
	t.row("exclude", list(r.Exclude))
	t.row("changed", r.Changed.Format(time.RFC3339))
	t.row("by", orDash(r.Actor))
	return t.Flush()
}

// ruleList is the API's list of rules.
type ruleList struct {
	Permissions []events.Rule `json:"permissions"`
}

func permissionListCommand(t *target) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the rules that you may manage",
		Args:  wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd, t, http.MethodGet, permissionsPath, nil, asJSON, func(w io.Writer, l ruleList) error {
				tab := newTable(w)
				tab.row("NAME", "TO", "MAY", "IN", "INCLUDE", "EXCLUDE")
				for _, r := range l.Permissions {
					tab.row(r.Name, texts(r.Principals), texts(r.Actions), texts(r.Repos), listOr(r.Include, "all"), list(r.Exclude))
				}
				return tab.Flush()
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func permissionShowCommand(t *target) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "show NAME",
		Short:             "Show a rule",
		Args:              wants("NAME"),
		ValidArgsFunction: t.completeRule,
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd, t, http.MethodGet, named(permissionsPath, args[0]), nil, asJSON, printRule)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func permissionDeleteCommand(t *target) *cobra.Command {
	return deletion(t, &cobra.Command{
		Use:               "delete NAME",
		Short:             "Delete a rule",
		ValidArgsFunction: t.completeRule,
	}, permissionsPath)
}

func permissionCheckCommand(t *target) *cobra.Command {
	var (
		module string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "check USER ACTION REPOSITORY [MODULE]",
		Short: "Say whether a user may do something, and by which rule",
		Long: `Say whether a user may do something, and by which rule. USER may be anonymous or
loopback. Without MODULE it is about the whole repository, or, to read, about
anything in it. The exit code is 1 if the answer is no.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 4 {
				module, args = args[3], args[:3]
			}
			return wants("USER", "ACTION", "REPOSITORY")(cmd, args)
		},
		ValidArgsFunction: t.completeCheck,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := access.ParseAction(args[1]); err != nil {
			return usageError{err}
		}
		query := url.Values{"user": {args[0]}, "action": {args[1]}, "repo": {args[2]}}
		if module != "" {
			query.Set("module", module)
		}
		allowed := false
		err := ask(cmd, t, http.MethodGet, permissionsPath+"/check?"+query.Encode(), nil, false, func(w io.Writer, a node.AccessAnswer) error {
			allowed = a.Allowed
			if asJSON {
				return printJSON(w, a)
			}
			_, err := fmt.Fprintf(w, "%s: %s\n", yesNo(a.Allowed), oneLine(a.Why))
			return err
		})
		if err == nil && !allowed {
			return errNo
		}
		return err
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// completeRule completes the name of a rule, if that is the first argument.
func (t *target) completeRule(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return t.complete(func(c *client) (names []string, err error) {
		var l ruleList
		err = c.call(cmd.Context(), http.MethodGet, permissionsPath, nil, &l)
		for _, r := range l.Permissions {
			names = append(names, r.Name)
		}
		return names, err
	})
}

// completePrincipals completes whom a rule can be for.
func (t *target) completePrincipals(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	all := []cobra.Completion{events.Anonymous, events.Authenticated, events.Loopback}
	groups, _ := t.completeGroups(cmd, args, word)
	for _, g := range groups {
		all = append(all, "group:"+g)
	}
	users, _ := t.completeUsers(cmd, args, word)
	for _, u := range users {
		all = append(all, "user:"+u)
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

// completeCheck completes the arguments of a check.
func (t *target) completeCheck(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return t.completeUsers(cmd, args, word)
	case 1:
		return actionWords, cobra.ShellCompDirectiveNoFileComp
	case 2:
		return t.completeRepos()(cmd, args, word)
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}
