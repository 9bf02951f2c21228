package main

import (
	"errors"
	"net/http"
	"reflect"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"registry-node/events"
	"registry-node/node"
)

// settingFlags are the flags that repo create and repo set have in common.
type settingFlags struct {
	description string
	owns        []string
	upstream    string
	sumdb       string
	noSumdb     []string
	members     []string
	deploy      string
	blobs       []string
}

func (f *settingFlags) addFlags(cmd *cobra.Command, t *target) {
	fs := cmd.Flags()
	fs.StringVar(&f.description, "description", "", "`text` for people")
	fs.StringArrayVar(&f.owns, "owns", nil, "local: `pattern` of module paths that it owns, as 'corp.example/**'; can be repeated")
	fs.StringVar(&f.upstream, "upstream", "", "remote: GOPROXY `list` of what it caches")
	fs.StringVar(&f.sumdb, "sumdb", "", "remote: checksum `database` as in GOSUMDB, or off")
	fs.StringArrayVar(&f.noSumdb, "no-sumdb", nil, "remote: `pattern` of module paths that the checksum database does not know; can be repeated")
	fs.StringSliceVar(&f.members, "members", nil, "virtual: `names` of the repositories behind it, first to last")
	fs.StringVar(&f.deploy, "deploy", "", "virtual: `name` of the local member that takes what is published")
	fs.StringArrayVar(&f.blobs, "blobs", nil, "local, remote: `rule` by which sites fetch zips, as 'oslo,turku:big.example/**=lazy' or eager or never; can be repeated; the first that matches holds; replaces what there is, '' with nothing")
	must(cmd.RegisterFlagCompletionFunc("members", t.completeRepos(events.Local, events.Remote)))
	must(cmd.RegisterFlagCompletionFunc("deploy", t.completeRepos(events.Local)))
}

func repoCreateCommand(t *target) *cobra.Command {
	var (
		f      settingFlags
		kind   string
		home   string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "create NAME --kind KIND",
		Short: "Make a repository",
		Args:  wants("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if kind == "" {
				return usagef("--kind is missing: local, remote or virtual")
			}
			r, err := f.newRepo(args[0], kind)
			if err != nil {
				return usageError{err}
			}
			if home != "" {
				if r.Home, err = events.ParseSite(home); err != nil {
					return usageError{err}
				}
			}
			return t.repoCall(cmd, http.MethodPost, reposPath, r, asJSON)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f.addFlags(cmd, t)
	cmd.Flags().StringVar(&kind, "kind", "", "`kind`: local, remote or virtual")
	cmd.Flags().StringVar(&home, "home", "", "`site` that decides what is published (default: that of the node)")
	must(cmd.RegisterFlagCompletionFunc("home", t.completeSites))
	must(cmd.RegisterFlagCompletionFunc("kind", completeWords("local", "remote", "virtual")))
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (f *settingFlags) newRepo(name, kind string) (r node.NewRepo, err error) {
	s := events.RepoSettings{Description: f.description, Upstream: f.upstream, Sumdb: f.sumdb}
	if r.Name, err = events.ParseRepoName(name); err != nil {
		return r, err
	}
	if r.Kind, err = events.ParseRepoKind(kind); err != nil {
		return r, err
	}
	if s.Owns, err = parseAll(f.owns, events.ParsePattern); err != nil {
		return r, err
	}
	if s.NoSumdb, err = parseAll(f.noSumdb, events.ParsePattern); err != nil {
		return r, err
	}
	if s.Members, err = parseAll(f.members, events.ParseRepoName); err != nil {
		return r, err
	}
	if s.Blobs, err = parseBlobs(f.blobs); err != nil {
		return r, err
	}
	if f.deploy != "" {
		if s.Deploy, err = events.ParseRepoName(f.deploy); err != nil {
			return r, err
		}
	}
	r.Settings = s
	return r, s.Check(r.Kind)
}

func repoSetCommand(t *target) *cobra.Command {
	var (
		f                 settingFlags
		disowns, useSumdb []string
		asJSON            bool
	)
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Change a repository",
		Long: `Change a repository. --owns and --no-sumdb add patterns, --disowns and
--use-sumdb take them out; the other flags replace what there is.`,
		Args:              wants("NAME"),
		ValidArgsFunction: t.completeRepo,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := events.ParseRepoName(args[0])
			if err != nil {
				return usageError{err}
			}
			change, err := f.change(cmd.Flags(), disowns, useSumdb)
			if err != nil {
				return usageError{err}
			}
			return t.repoCall(cmd, http.MethodPatch, repoPath(name), change, asJSON)
		},
	}
	f.addFlags(cmd, t)
	fs := cmd.Flags()
	fs.StringArrayVar(&disowns, "disowns", nil, "local: `pattern` that it owns no more; can be repeated")
	fs.StringArrayVar(&useSumdb, "use-sumdb", nil, "remote: `pattern` that is no longer kept from the checksum database; can be repeated")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// change returns what the flags that were given change.
func (f *settingFlags) change(fs *pflag.FlagSet, disowns, useSumdb []string) (c node.RepoChange, err error) {
	if fs.Changed("description") {
		c.Description = &f.description
	}
	if fs.Changed("upstream") {
		c.Upstream = &f.upstream
	}
	if fs.Changed("sumdb") {
		c.Sumdb = &f.sumdb
	}
	if fs.Changed("members") {
		members, err := parseAll(f.members, events.ParseRepoName)
		if err != nil {
			return c, err
		}
		c.Members = &members
	}
	if fs.Changed("deploy") {
		var deploy events.RepoName // empty: none
		if err := deploy.UnmarshalText([]byte(f.deploy)); err != nil {
			return c, err
		}
		c.Deploy = &deploy
	}
	if fs.Changed("blobs") {
		rules, err := parseBlobs(f.blobs)
		if err != nil {
			return c, err
		}
		c.Blobs = &rules
	}
	for _, p := range []struct {
		to    *[]events.Pattern
		texts []string
	}{{&c.Owns, f.owns}, {&c.Disowns, disowns}, {&c.NoSumdb, f.noSumdb}, {&c.UseSumdb, useSumdb}} {
		if *p.to, err = parseAll(p.texts, events.ParsePattern); err != nil {
			return c, err
		}
	}
	if reflect.ValueOf(c).IsZero() {
		return c, errors.New("nothing to change is named")
	}
	return c, nil
}

// parseBlobs parses rules for blobs. One empty text is no rules at all.
func parseBlobs(texts []string) ([]events.BlobRule, error) {
	if len(texts) == 1 && texts[0] == "" {
		return []events.BlobRule{}, nil
	}
	return parseAll(texts, events.ParseBlobRule)
}

// parseAll parses each text.
func parseAll[T any](texts []string, parse func(string) (T, error)) (out []T, err error) {
	for _, text := range texts {
		v, err := parse(text)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}
