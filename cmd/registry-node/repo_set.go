package main

import (
	"net/http"

	"github.com/spf13/cobra"

	"registry-node/events"
	"registry-node/node"
)

const aboutSettings = `A flag that says local, remote or virtual is a setting
of that kind. A span is a length of time in whole seconds: 90s, 5m, 12h, 7d,
1d12h. Patterns are of module paths, where * and ? stand for characters within
an element and ** for any elements: corp.example/**.`

func repoCreateCommand(t *target) *cobra.Command {
	var (
		kind   string
		home   string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "create NAME --kind KIND",
		Short: "Make a repository",
		Long: "Make a repository. " + aboutSettings + `
All of them can be changed later, with "repo set".`,
		Args:              wants("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	fs := cmd.Flags()
	fs.StringVar(&kind, "kind", "", "`kind`: local, remote or virtual")
	fs.StringVar(&home, "home", "", "`site` that decides what is published (default: that of the node)")
	f := addRepoFlags(cmd, t)
	must(cmd.RegisterFlagCompletionFunc("home", t.completeSites))
	must(cmd.RegisterFlagCompletionFunc("kind", completeWords("local", "remote", "virtual")))
	jsonFlag(cmd, &asJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if kind == "" {
			return usagef("--kind is missing: local, remote or virtual")
		}
		r, err := newRepo(args[0], kind, home, f.change)
		if err != nil {
			return usageError{err}
		}
		return t.repoCall(cmd, http.MethodPost, reposPath, r, asJSON)
	}
	return cmd
}

// newRepo returns a repository with the default settings, changed.
func newRepo(name, kind, home string, change node.RepoChange) (r node.NewRepo, err error) {
	if r.Name, err = events.ParseRepoName(name); err != nil {
		return r, err
	}
	if r.Kind, err = events.ParseRepoKind(kind); err != nil {
		return r, err
	}
	if home != "" {
		if r.Home, err = events.ParseSite(home); err != nil {
			return r, err
		}
	}
	r.Settings = change.Apply(events.RepoSettings{})
	return r, r.Settings.Check(r.Kind)
}

func repoSetCommand(t *target) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Change a repository",
		Long: "Change a repository. " + aboutSettings + `
--owns and --no-sumdb add patterns, --disowns and --use-sumdb take them out; the
other flags replace what there is: '' replaces a list by none, and '' or
"default" takes a span back to its default.`,
		Args:              wants("NAME"),
		ValidArgsFunction: t.completeRepo,
	}
	f := addRepoFlags(cmd, t)
	f.add("disowns", each(&f.change.Disowns, events.ParsePattern), "local: `pattern` that it owns no more; can be repeated")
	f.add("use-sumdb", each(&f.change.UseSumdb, events.ParsePattern), "remote: `pattern` that is no longer kept from the checksum database; can be repeated")
	jsonFlag(cmd, &asJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, err := events.ParseRepoName(args[0])
		if err != nil {
			return usageError{err}
		}
		change, err := f.named()
		if err != nil {
			return usageError{err}
		}
		return t.repoCall(cmd, http.MethodPatch, repoPath(name), change, asJSON)
	}
	return cmd
}
