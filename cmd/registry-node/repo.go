package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/spf13/cobra"

	"registry-node/events"
	"registry-node/node"
)

const reposPath = "/api/v1/repos"

func repoPath(name events.RepoName) string { return reposPath + "/" + name.String() }

func repoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "repo",
		Short: "Make, show and change repositories",
		Long: `Make, show and change repositories. A local one takes what you publish, a remote
one is a cache of other GOPROXY servers, and a virtual one is several of these
behind one URL.`,
	}
	t := new(target)
	t.addFlags(cmd)
	cmd.AddCommand(repoCreateCommand(t), repoListCommand(t), repoShowCommand(t), repoSetCommand(t), repoDeleteCommand(t), repoRestoreCommand(t),
		repoRefreshCommand(t), repoCleanCommand(t), repoPendingCommand(t), repoDriftCommand(t), repoUpstreamsCommand(t), repoSeedTimesCommand(t))
	return group(cmd)
}

func repoListCommand(t *target) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the repositories",
		Args:  wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			repos, err := c.repos(cmd)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), repoList{repos})
			}
			tab := newTable(cmd.OutOrStdout())
			tab.row("NAME", "KIND", "WHAT", "DESCRIPTION")
			for _, r := range repos {
				tab.row(r.Name, r.Kind, gist(r), r.Description)
			}
			return tab.Flush()
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// repoList is the API's list of repositories.
type repoList struct {
	Repositories []node.RepoInfo `json:"repositories"`
}

func (c *client) repos(cmd *cobra.Command) ([]node.RepoInfo, error) {
	var l repoList
	err := c.call(cmd.Context(), http.MethodGet, reposPath, nil, &l)
	return l.Repositories, err
}

// gist is what matters most of a repository.
func gist(r node.RepoInfo) string {
	switch r.Kind {
	case events.Local:
		return "owns " + list(r.Owns)
	case events.Remote:
		return "caches " + r.Upstream
	default:
		return "unites " + list(r.Members)
	}
}

func repoShowCommand(t *target) *cobra.Command {
	return repoAction(t, &cobra.Command{
		Use:   "show NAME",
		Short: "Show a repository",
	}, http.MethodGet, "")
}

func repoRestoreCommand(t *target) *cobra.Command {
	return repoAction(t, &cobra.Command{
		Use:   "restore NAME",
		Short: "Take back that a repository was deleted",
	}, http.MethodPost, "/restore")
}

// repoAction makes cmd one that asks the node for a repository, or for
// something about it, and prints how it is then.
func repoAction(t *target, cmd *cobra.Command, method, suffix string) *cobra.Command {
	var asJSON bool
	cmd.Args = wants("NAME")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, err := events.ParseRepoName(args[0])
		if err != nil {
			return usageError{err}
		}
		return t.repoCall(cmd, method, repoPath(name)+suffix, nil, asJSON)
	}
	cmd.ValidArgsFunction = t.completeRepo
	jsonFlag(cmd, &asJSON)
	return cmd
}

// repoCall sends in to the node and prints the repository that it answers with.
func (t *target) repoCall(cmd *cobra.Command, method, path string, in any, asJSON bool) error {
	c, err := t.client()
	if err != nil {
		return err
	}
	defer c.close()
	var r node.RepoInfo
	if err := c.call(cmd.Context(), method, path, in, &r); err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), r)
	}
	return printRepo(cmd.OutOrStdout(), r)
}

func repoDeleteCommand(t *target) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Hide a repository and all in it",
		Long: `Hide a repository and all in it. Nothing is erased: "repo restore" takes it back.
One that is a member of a virtual repository must be taken out there first.`,
		Args:              wants("NAME"),
		ValidArgsFunction: t.completeRepo,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := events.ParseRepoName(args[0])
			if err != nil {
				return usageError{err}
			}
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			path := repoPath(name)
			if reason != "" {
				path += "?" + url.Values{"reason": {reason}}.Encode()
			}
			if err := c.call(cmd.Context(), http.MethodDelete, path, nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "deleted %s\n", name)
			return err
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`text` that the log keeps")
	return cmd
}

// completeRepo completes the name of a repository, if that is the first argument.
func (t *target) completeRepo(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return t.completeRepos()(cmd, args, word)
}

// completeRepos completes names of repositories of some kinds, all if none are
// named.
func (t *target) completeRepos(kinds ...events.RepoKind) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		c, err := t.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer c.close()
		repos, err := c.repos(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []cobra.Completion
		for _, r := range repos {
			if len(kinds) == 0 || slices.Contains(kinds, r.Kind) {
				names = append(names, cobra.CompletionWithDesc(r.Name.String(), r.Kind.String()+", "+gist(r)))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeWords completes one of a few words.
func completeWords(words ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}
