package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"registry-node/events"
	"registry-node/node"
)

const sitesPath = "/api/v1/sites"

func inviteCommand() *cobra.Command {
	var (
		t     target
		valid time.Duration
	)
	cmd := &cobra.Command{
		Use:   "invite NAME",
		Short: "Invite a new site",
		Long: `Invite a new site to this registry. What is printed is a token, with which one
new machine can join under that name, once, until the token expires. It is a
secret: whoever has it becomes the site.`,
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
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			var inv node.Invitation
			in := map[string]string{"name": name.String(), "valid": valid.String()}
			if err := c.call(cmd.Context(), http.MethodPost, sitesPath, in, &inv); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), `%s may join until %s. On the new machine, with the token in place of TOKEN
or in the environment variable %s:
  registry-node join TOKEN --data DIR --peer-listen HOST:PORT
`, inv.Name, inv.Expires.Local().Format(time.RFC3339), joinTokenEnv)
			_, err = fmt.Fprintln(cmd.OutOrStdout(), inv.Token)
			return err
		},
	}
	t.addFlags(cmd)
	cmd.Flags().DurationVar(&valid, "valid", time.Hour, "`time` for which the token is good")
	return cmd
}
