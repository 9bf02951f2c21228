package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"registry-node/events"
)

func settleCommand() *cobra.Command {
	var (
		t                       target
		repo, modH1, h1, reason string
	)
	cmd := &cobra.Command{
		Use:   "settle MODULE@VERSION --repo NAME --mod-h1 HASH [--h1 HASH] --reason TEXT",
		Short: "Say which content of a version holds, where sites fetched different ones",
		Long: `Say which content of a version in a remote repository holds, after sites fetched
different ones from upstream: it is refused to everybody until then, with a text
that names the hashes of both.`,
		Args:              wants("MODULE@VERSION"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			mv, err := parseVersion(args[0])
			if err != nil {
				return usageError{err}
			}
			name, err := events.ParseRepoName(repo)
			if err != nil {
				return usageError{fmt.Errorf("--repo: %w", err)}
			}
			if reason == "" {
				return usagef("--reason is missing: people ask about it later")
			}
			in := map[string]string{"module": mv.Path, "version": mv.Version, "mod_h1": modH1, "reason": reason}
			if _, err := events.ParseH1(modH1); err != nil {
				return usageError{fmt.Errorf("--mod-h1: %w", err)}
			}
			if h1 != "" {
				if _, err := events.ParseH1(h1); err != nil {
					return usageError{fmt.Errorf("--h1: %w", err)}
				}
				in["zip_h1"] = h1
			}
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			if err := c.call(cmd.Context(), http.MethodPost, repoPath(name)+"/settle", in, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "settled %s\n", args[0])
			return err
		},
	}
	t.addFlags(cmd)
	fs := cmd.Flags()
	fs.StringVar(&repo, "repo", "", "`name` of the remote repository")
	fs.StringVar(&modH1, "mod-h1", "", "`hash` of the go.mod of the content that holds, h1:…")
	fs.StringVar(&h1, "h1", "", "`hash` of its zip, h1:…; needed if the go.mod is the same in both")
	fs.StringVar(&reason, "reason", "", "`text` that the log keeps")
	must(cmd.RegisterFlagCompletionFunc("repo", t.completeRepos(events.Remote)))
	return cmd
}
