package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"
)

func leaveCommand() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "leave",
		Short: "End the membership of the node's site",
		Long: `End the membership of the site that the node is of. What it published stays in
the registry; what it is home of has to move first ("home move"). The name is
used up: to come back it joins under another one.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			if err := c.call(cmd.Context(), http.MethodPost, "/api/v1/leave", nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "the site has left the registry; its node can be stopped")
			return err
		},
	}
	t.addFlags(cmd)
	return cmd
}
