package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"registry-node/events"
)

func epochCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "epoch",
		Short: "Let a site's log go on without entries that are lost",
	}
	t := new(target)
	t.addFlags(cmd)
	cmd.AddCommand(epochNewCommand(t))
	return group(cmd)
}

func epochNewCommand(t *target) *cobra.Command {
	var yes, asJSON bool
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Begin a new epoch of the log of the node's site",
		Long: `Begin a new epoch of the log of the node's site: say that its last entries are
lost for good, and that it goes on after those that it has. Only a person can
know that: no site has them, and no backup does. What they said is void from
then on, even if they turn up again.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := confirm(cmd, yes, "Give up the entries that this site lost, for good?"); err != nil {
				return err
			}
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			var at events.Position
			if err := c.call(cmd.Context(), http.MethodPost, "/api/v1/epoch", nil, &at); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), at)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "the log goes on with %v\n", at)
			return err
		},
	}
	yesFlag(cmd, &yes)
	jsonFlag(cmd, &asJSON)
	return cmd
}
