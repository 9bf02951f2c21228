package main

import (
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"registry-node/node"
)

func whoamiCommand() *cobra.Command {
	var (
		t      target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "whoami",
		Short: "Show who you are to the node",
		Args:  wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd, &t, http.MethodGet, "/api/v1/whoami", nil, asJSON, printWhoAmI)
		},
	}
	t.addFlags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func printWhoAmI(w io.Writer, who node.WhoAmI) error {
	t := newTable(w)
	t.row("name", who.Name)
	t.row("known as", texts(who.Principals))
	if who.Token != "" {
		t.row("token", who.Token)
		t.row("ends", endText(who.Expires))
		t.row("may", allOr(who.Actions))
		t.row("in", allOr(who.Repos))
		t.row("with", listOr(who.Modules, "all"))
	}
	t.row("site", who.Site)
	return t.Flush()
}
