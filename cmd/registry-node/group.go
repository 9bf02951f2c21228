package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"registry-node/node"
)

const groupsPath = "/api/v1/groups"

func groupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "group",
		Short: "Make and change groups of users",
		Long: `Make and change groups of users. A rule for group:NAME is one for each of its
members. Who is in the group "admins" administers the registry, unless the rule of
that name says otherwise.`,
	}
	t := new(target)
	t.addFlags(cmd)
	cmd.AddCommand(groupSetCommand(t), groupMembersCommand(t, "add", "Add users to a group"),
		groupMembersCommand(t, "remove", "Take users out of a group"), groupListCommand(t), groupDeleteCommand(t))
	return group(cmd)
}

func groupSetCommand(t *target) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "set NAME [USER...]",
		Short:             "Make a group, or replace its members",
		Long:              "Make a group with these users as its members, or with none, or replace those it has.",
		Args:              wantsSome("NAME"),
		ValidArgsFunction: t.completeGroupThenUsers,
		RunE: func(cmd *cobra.Command, args []string) error {
			members := args[1:]
			return ask(cmd, t, http.MethodPut, named(groupsPath, args[0]), node.GroupChange{Members: &members}, asJSON, printGroup)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// groupMembersCommand returns the command that adds members, or removes them.
func groupMembersCommand(t *target, verb, short string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               verb + " NAME USER...",
		Short:             short,
		Args:              wantsSome("NAME", "USER"),
		ValidArgsFunction: t.completeGroupThenUsers,
		RunE: func(cmd *cobra.Command, args []string) error {
			change := node.GroupChange{Add: args[1:]}
			if verb == "remove" {
				change = node.GroupChange{Remove: args[1:]}
			}
			return ask(cmd, t, http.MethodPut, named(groupsPath, args[0]), change, asJSON, printGroup)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// wantsSome checks that a command gets one argument for each name at least.
func wantsSome(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usagef("%s is missing", names[len(args)])
		}
		return nil
	}
}

func printGroup(w io.Writer, g node.Group) error {
	_, err := fmt.Fprintf(w, "%s: %s\n", oneLine(g.Name), oneLine(texts(g.Members)))
	return err
}

// groupList is the API's list of groups.
type groupList struct {
	Groups []node.Group `json:"groups"`
}

func groupListCommand(t *target) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the groups that you may manage or are in",
		Args:  wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd, t, http.MethodGet, groupsPath, nil, asJSON, func(w io.Writer, l groupList) error {
				tab := newTable(w)
				tab.row("NAME", "MEMBERS")
				for _, g := range l.Groups {
					tab.row(g.Name, texts(g.Members))
				}
				return tab.Flush()
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func groupDeleteCommand(t *target) *cobra.Command {
	return deletion(t, &cobra.Command{
		Use:               "delete NAME",
		Short:             "Delete a group",
		Long:              "Delete a group. It is taken out of all rules; its members stay users.",
		ValidArgsFunction: t.completeGroup,
	}, groupsPath)
}

// completeGroups completes names of groups.
func (t *target) completeGroups(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return t.complete(func(c *client) (names []string, err error) {
		var l groupList
		err = c.call(cmd.Context(), http.MethodGet, groupsPath, nil, &l)
		for _, g := range l.Groups {
			names = append(names, g.Name)
		}
		return names, err
	})
}

// completeGroup completes the name of a group, if that is the first argument.
func (t *target) completeGroup(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return t.completeGroups(cmd, args, word)
}

// completeGroupThenUsers completes a group, and behind it users.
func (t *target) completeGroupThenUsers(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return t.completeGroups(cmd, args, word)
	}
	return t.completeUsers(cmd, args, word)
}
