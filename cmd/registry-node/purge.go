package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"
	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

const aboutPurge = `Remove the bytes of a version, at this site at once and at all others as they hear
of it, and block it everywhere: for a secret that leaked. Hashes and the reason stay
for ever, and so does what the log itself has, a small go.mod; no fetch brings the
version back. It can't be undone.`

func purgeCommand() *cobra.Command {
	var (
		t      target
		reason string
		yes    bool
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:               "purge MODULE@VERSION --reason TEXT",
		Short:             "Remove the bytes of a version at all sites, for ever",
		Long:              aboutPurge,
		Args:              wants("MODULE@VERSION"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			mv, err := parseVersion(args[0])
			if err != nil {
				return usageError{err}
			}
			if reason == "" {
				return usagef("--reason is missing: those who are refused are told it")
			}
			if err := confirm(cmd, yes, fmt.Sprintf("Remove %s at all sites, for ever?", args[0])); err != nil {
				return err
			}
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			var p node.Purged
			in := map[string]string{"module": mv.Path, "version": mv.Version, "reason": reason}
			if err := c.call(cmd.Context(), http.MethodPost, "/api/v1/purges", in, &p); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), p)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "purged %s from %s; who fetched it: registry-node fetched %s\n", args[0], list(p.Repos), args[0])
			return err
		},
	}
	t.addFlags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "`text` that those who are refused are told")
	yesFlag(cmd, &yes)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// parseVersion parses MODULE@VERSION, without wildcards.
func parseVersion(text string) (module.Version, error) {
	p, err := events.ParseVersionPattern(text)
	if err != nil {
		return module.Version{}, err
	}
	mv, exact := p.Exact()
	if !exact || mv.Version == "" {
		return mv, fmt.Errorf("%q is not one version: write MODULE@VERSION", text)
	}
	return mv, nil
}
