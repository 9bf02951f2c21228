package main

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"registry-node/events"
	"registry-node/node"
)

const sitesPath = "/api/v1/sites"

func inviteCommand() *cobra.Command {
	var (
		t      target
		valid  time.Duration
		rights string
	)
	cmd := &cobra.Command{
		Use:   "invite NAME",
		Short: "Invite a new site",
		Long: `Invite a new site to this registry. What is printed is a token, with which one
new machine can join under that name, once, until the token expires. It is a
secret: whoever has it becomes the site.

Users of the new site show who they are, there as here. What its operator, who
opens its admin socket, may have done at other sites without that is what --rights
says, by a rule that is called site-NAME and can be changed later.`,
		Args:              wants("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := events.ParseSite(args[0])
			if err != nil {
				return usageError{err}
			}
			if valid <= 0 {
				return usagef("--valid %v: a token has to be good for some time", valid)
			}
			if _, err := node.ParseSiteRights(rights); err != nil || rights == "" {
				return usagef("--rights %q is none of none, publish, manage", rights)
			}
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			var inv node.Invitation
			in := map[string]string{"name": name.String(), "valid": valid.String(), "rights": rights}
			if err := c.call(cmd.Context(), http.MethodPost, sitesPath, in, &inv); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), `%s may join until %s. On the new machine, with the token in place of TOKEN
or in the environment variable %s:
  registry-node join TOKEN --data DIR --peer-listen HOST:PORT
`, inv.Name, inv.Expires.Local().Format(time.RFC3339), joinTokenEnv)
			noteRule(cmd.ErrOrStderr(), inv)
			_, err = fmt.Fprintln(cmd.OutOrStdout(), inv.Token)
			return err
		},
	}
	t.addFlags(cmd)
	cmd.Flags().DurationVar(&valid, "valid", time.Hour, "`time` for which the token is good")
	cmd.Flags().StringVar(&rights, "rights", string(node.RightsPublish), "`what` the site's operator may do elsewhere: none, publish (and read and block), manage (all)")
	must(cmd.RegisterFlagCompletionFunc("rights", completeWords("none", "publish", "manage")))
	return cmd
}

// noteRule tells which rule says what the operator of a new site may do.
func noteRule(w io.Writer, inv node.Invitation) {
	switch {
	case inv.Kept:
		fmt.Fprintf(w, "the rule %s was there before and stays as it is; it says what the operator of %s may do elsewhere: registry-node permission show %s\n", inv.Rule, inv.Name, inv.Rule)
	case inv.Rule != "":
		fmt.Fprintf(w, "the rule %s says what the operator of %s may do elsewhere\n", inv.Rule, inv.Name)
	}
}
