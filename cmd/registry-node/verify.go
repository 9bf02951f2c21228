package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"registry-node/node"
)

func verifyCommand() *cobra.Command {
	var (
		t      target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check the log, the index and every blob of a node",
		Long: `Check the chain and the signatures of the log in both its copies, the state hash
against all of the index, and each blob against its digest. What is wrong is
printed, one problem per line, and the exit code is 1.

With --data, the node that runs there is asked; if none runs, the directory is
opened for the time of the check, which mends what a start mends.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := countProgress(cmd.ErrOrStderr())
			var v *node.Verification
			err := t.atNode(cmd, func(ctx context.Context, n *node.Node) (err error) {
				v, err = n.Verify(ctx, operator(n), p.show)
				return err
			}, func(ctx context.Context, c *client) error {
				return c.work(ctx, "/api/v1/verify", p, &v)
			})
			p.end()
			if err != nil {
				return err
			}
			return printVerification(cmd, v, asJSON)
		},
	}
	t.addFlags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func printVerification(cmd *cobra.Command, v *node.Verification, asJSON bool) error {
	out := cmd.OutOrStdout()
	if asJSON {
		if err := printJSON(out, v); err != nil {
			return err
		}
	} else {
		for _, p := range v.Problems {
			fmt.Fprintln(out, oneLine(fmt.Sprint(p)))
		}
		if _, err := fmt.Fprintln(out, v); err != nil {
			return err
		}
	}
	if !v.OK() {
		return errNo
	}
	return nil
}
