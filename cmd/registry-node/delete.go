package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/module"

	"registry-node/events"
)

func deleteCommand() *cobra.Command {
	t := new(target)
	var repo, reason string
	cmd := &cobra.Command{
		Use:   "delete MODULE@VERSION --repo NAME [--reason TEXT]",
		Short: "Hide a version that was published into a local repository",
		Long: `Hide a version that was published into a local repository: nobody gets it any
more, at any site. Its name stays burnt, so that a version never has two contents,
and its bytes stay; "registry-node purge" takes those away.`,
		Args:              wants("MODULE@VERSION"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			mv, name, err := deleted(args[0], repo)
			if err != nil {
				return usageError{err}
			}
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			path := "/api/v1/repos/" + name.String() + "/modules/" + mv.Path + "/@v/" + url.PathEscape(mv.Version)
			req, err := c.request(cmd.Context(), http.MethodDelete, path, url.Values{"reason": {reason}}, nil)
			if err != nil {
				return err
			}
			if err := c.do(req, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "deleted %s from %s\n", args[0], name)
			return err
		},
	}
	t.addFlags(cmd)
	cmd.Flags().StringVar(&repo, "repo", "", "local `repository` that has it")
	cmd.Flags().StringVar(&reason, "reason", "", "`text` that the log keeps")
	must(cmd.RegisterFlagCompletionFunc("repo", t.completeRepos(events.Local)))
	return cmd
}

// deleted parses what is to be deleted, and where.
func deleted(text, repo string) (module.Version, events.RepoName, error) {
	path, version, _ := strings.Cut(text, "@")
	mv := module.Version{Path: path, Version: version}
	if err := events.CheckVersion(mv); err != nil {
		return mv, events.RepoName{}, err
	}
	if repo == "" {
		return mv, events.RepoName{}, fmt.Errorf("--repo is missing: the local repository that has %s", text)
	}
	name, err := events.ParseRepoName(repo)
	return mv, name, err
}
