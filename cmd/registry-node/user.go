package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"registry-node/node"
)

const usersPath = "/api/v1/users"

func userCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Make, show and change users and service accounts",
		Long: `Make, show and change users and service accounts. What they may do, rules say
("permission set"), for them or for their groups. They show who they are with
tokens ("token create"); a password is for those who can't do without.`,
	}
	t := new(target)
	t.addFlags(cmd)
	cmd.AddCommand(userPutCommand(t, "create", node.Absent), userPutCommand(t, "set", node.Present),
		userListCommand(t), userShowCommand(t), userDeleteCommand(t))
	return group(cmd)
}

// userChange is the API's body of a change. node.UserChange, which it is decoded
// into, would not show the password.
type userChange struct {
	Service    *bool         `json:"service,omitempty"`
	Display    *string       `json:"display,omitempty"`
	Disabled   *bool         `json:"disabled,omitempty"`
	Password   string        `json:"password,omitempty"`
	NoPassword bool          `json:"no_password,omitempty"`
	Groups     *[]string     `json:"groups,omitempty"`
	If         node.Presence `json:"if,omitempty"`
}

// userPutCommand returns the command that makes a user, or the one that changes one.
func userPutCommand(t *target, verb string, when node.Presence) *cobra.Command {
	var (
		u                                    userChange
		enable, disable, askPassword, asJSON bool
	)
	cmd := &cobra.Command{Use: verb + " NAME", Args: wants("NAME")}
	fs := cmd.Flags()
	flag := func(name string, s setting, usage string) { fs.Var(s, name, usage) }
	service := one(&u.Service, strconv.ParseBool)
	service.kind = "bool"
	flag("service", service, "it is a service account, for programs")
	fs.Lookup("service").NoOptDefVal = "true"
	flag("display", one(&u.Display, asIs), "`text` that people know the user by")
	flag("groups", all(&u.Groups, asIs).commas(), "`names` of the groups to be in, and in no others; '' for none")
	fs.BoolVar(&disable, "disable", false, "let the user in no more, whatever token it shows")
	fs.BoolVar(&askPassword, "password-stdin", false, "give the user the password that is read from standard input: at least 12 characters, not counting space")
	must(cmd.RegisterFlagCompletionFunc("groups", t.completeGroups))
	jsonFlag(cmd, &asJSON)
	if when == node.Absent {
		cmd.Short = "Make a user"
		cmd.Long = "Make a user or service account, in the groups named."
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	} else {
		cmd.Short = "Change a user"
		cmd.Long = "Change what the flags name of a user. It counts with the next request."
		cmd.ValidArgsFunction = t.completeUser
		fs.BoolVar(&enable, "enable", false, "let the user in again")
		fs.BoolVar(&u.NoPassword, "no-password", false, "take the password away")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		u.If = when
		switch {
		case enable && disable:
			return usagef("--enable and --disable are opposites")
		case askPassword && u.NoPassword:
			return usagef("--password-stdin and --no-password are opposites")
		case enable || disable:
			u.Disabled = &disable
		}
		if askPassword {
			if u.Password, err = readPassword(cmd.InOrStdin(), cmd.ErrOrStderr()); err != nil {
				return err
			}
		}
		if u == (userChange{If: node.Present}) {
			return usagef("nothing to change is named")
		}
		return ask(cmd, t, http.MethodPut, named(usersPath, args[0]), u, asJSON, printUser)
	}
	return cmd
}

// readPassword reads a password, or asks a person for it twice.
func readPassword(stdin io.Reader, prompts io.Writer) (string, error) {
	in, ok := stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		text, err := io.ReadAll(io.LimitReader(stdin, maxStdin))
		if text = bytes.TrimRight(text, "\r\n"); err == nil && len(text) == 0 {
			err = errors.New("standard input holds no password")
		}
		return string(text), err
	}
	var answers [2]string
	for i, prompt := range []string{"password: ", "again: "} {
		fmt.Fprint(prompts, prompt)
		text, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(prompts)
		if err != nil {
			return "", err
		}
		answers[i] = string(text)
	}
	if answers[0] != answers[1] {
		return "", errors.New("the two differ; nothing is changed")
	}
	return answers[0], nil
}

func printUser(w io.Writer, u node.UserInfo) error {
	t := newTable(w)
	t.row("name", u.Name)
	t.row("kind", userKind(u))
	t.row("display", orDash(u.Display))
	t.row("groups", texts(u.Groups))
	t.row("password", yesNo(u.Password))
	t.row("disabled", yesNo(u.Disabled))
	t.row("created", u.Created.Format(time.RFC3339))
	return t.Flush()
}

func userKind(u node.UserInfo) string {
	if u.Service {
		return "service"
	}
	return "user"
}

// userList is a page of the API's list of users.
type userList struct {
	Users []node.UserInfo `json:"users"`
	Next  string          `json:"next,omitempty"`
}

func (c *client) users(ctx context.Context) ([]node.UserInfo, error) {
	return pages(ctx, c, usersPath, nil, func(l userList) ([]node.UserInfo, string) { return l.Users, l.Next })
}

func userListCommand(t *target) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the users that you may manage",
		Args:  wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			users, err := c.users(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), userList{Users: users})
			}
			tab := newTable(cmd.OutOrStdout())
			tab.row("NAME", "KIND", "GROUPS", "PASSWORD", "DISABLED", "DISPLAY")
			for _, u := range users {
				tab.row(u.Name, userKind(u), texts(u.Groups), yesNo(u.Password), yesNo(u.Disabled), u.Display)
			}
			return tab.Flush()
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func userShowCommand(t *target) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "show NAME",
		Short:             "Show a user",
		Args:              wants("NAME"),
		ValidArgsFunction: t.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd, t, http.MethodGet, named(usersPath, args[0]), nil, asJSON, printUser)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func userDeleteCommand(t *target) *cobra.Command {
	return deletion(t, &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a user",
		Long: `Delete a user. Its tokens end, and it is taken out of all groups and rules. Another
one of that name, made later, starts with nothing.`,
		ValidArgsFunction: t.completeUser,
	}, usersPath)
}

// completeUser completes the name of a user, if that is the first argument.
func (t *target) completeUser(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return t.completeUsers(cmd, args, word)
}

// completeUsers completes names of users.
func (t *target) completeUsers(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return t.complete(func(c *client) (names []string, err error) {
		users, err := c.users(cmd.Context())
		for _, u := range users {
			names = append(names, u.Name)
		}
		return names, err
	})
}
