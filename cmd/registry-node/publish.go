package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

// publishFlags are what publish is asked for.
type publishFlags struct {
	target   target
	version  string
	module   string
	repo     string
	worktree bool
	strict   bool
	dryRun   bool
	asJSON   bool
	sites    string
	timeout  time.Duration
	deps     bool
	depsRepo string
}

func publishCommand() *cobra.Command {
	var f publishFlags
	cmd := &cobra.Command{
		Use:   "publish DIR|ZIP[@vX.Y.Z]... --version vX.Y.Z",
		Short: "Publish versions of modules",
		Long: `Publish a version of a module from its directory or from a module zip, or of
several modules at once: then all of them are published, or none.

If DIR lies in a git repository that has a tag for the version (with the
directory before it, as in sub/dir/v1.2.3, for a module in a subdirectory), then
what is published is what the go command would make of that tag, whatever the
working tree holds, and the version's time is the commit's. Otherwise it is the
directory as it is, which --worktree asks for in any case.

It warns of files that look like secrets and, where it is the directory as it is,
of files that git does not track or that differ from what is committed. With
--strict nothing is published then, and the exit code is 1.

The hash (h1) is computed here and compared by the node. Publishing the same
content again is no error; other content under the same version is.

With --deps the modules that it needs, all of the graph that its go.mod and go.sum
describe, are then imported into --deps-repo, as registry-node import does.

With --sites it waits until that many sites hold what is published, the node's own
included. If they do not in time, it is published nonetheless, they get it when
they can, and the exit code is 1.`,
		Example: `  registry-node publish . --version v1.2.3
  registry-node publish .@v1.4.0 ./api@v0.9.0 ./api/v2@v2.0.0`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("DIR or ZIP is missing")
			}
			return nil
		},
		RunE: f.run,
	}
	f.target.addFlags(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.version, "version", "", "the `version`, as v1.2.3, of what has none after an @")
	fs.StringVar(&f.module, "module", "", "module `path`, where there is no go.mod or to be sure")
	fs.StringVar(&f.repo, "repo", "local", "`name` of the repository that takes it")
	fs.StringVar(&f.sites, "sites", "", "`number` of sites that have to hold it, or all")
	fs.DurationVar(&f.timeout, "timeout", 0, "`time` to wait for --sites (default 30s)")
	fs.BoolVar(&f.worktree, "worktree", false, "publish the directory as it is, even if git has a tag for the version")
	fs.BoolVar(&f.strict, "strict", false, "publish nothing if there is something to warn of")
	fs.BoolVar(&f.dryRun, "dry-run", false, "list what would be published, and don't")
	fs.BoolVar(&f.deps, "deps", false, "then import the modules that it needs, as import does of a project")
	fs.StringVar(&f.depsRepo, "deps-repo", "public", "`name` of the repository that --deps imports into")
	jsonFlag(cmd, &f.asJSON)
	must(cmd.RegisterFlagCompletionFunc("repo", f.target.completeRepos(events.Local, events.Virtual)))
	must(cmd.RegisterFlagCompletionFunc("deps-repo", f.target.completeRepos(events.Remote)))
	return cmd
}

func (f *publishFlags) run(cmd *cobra.Command, args []string) error {
	repo, err := events.ParseRepoName(f.repo)
	if err != nil {
		return usageError{err}
	}
	sources, err := f.sources(args)
	if err != nil {
		return err
	}
	if err := f.checkSites(); err != nil {
		return err
	}
	packs, err := f.packAll(cmd.Context(), sources, cmd.ErrOrStderr())
	defer packs.remove()
	if err != nil {
		return err
	}
	if err := f.warn(cmd.ErrOrStderr(), packs); err != nil {
		return err
	}
	if f.dryRun {
		return packs.print(cmd.OutOrStdout(), f.asJSON)
	}
	c, err := f.target.client()
	if err != nil {
		return err
	}
	defer c.close()
	deps, err := f.newDeps(cmd, c)
	if err != nil {
		return err
	}
	done, err := f.send(cmd.Context(), c, repo, packs, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if f.deps {
		return f.withDeps(cmd, deps, sources, packs, done)
	}
	if err := done.print(cmd.OutOrStdout(), f.asJSON); err != nil {
		return err
	}
	return done.complain(cmd.ErrOrStderr())
}

// source is what a version is to be made of.
type source struct {
	path    string // of a directory or a zip
	version string
}

// sources parses what is to be published. What is there under all of an argument
// is meant, else the version stands after the last @.
func (f *publishFlags) sources(args []string) ([]source, error) {
	if f.version != "" && module.CanonicalVersion(f.version) != f.version {
		return nil, usagef("--version %q is not a version of the form v1.2.3", f.version)
	}
	if len(args) > node.MaxPublications {
		return nil, usagef("%d modules are more than can be published at once, %d", len(args), node.MaxPublications)
	}
	if f.module != "" && len(args) > 1 {
		return nil, usagef("--module says which module it is, and there are %d to publish", len(args))
	}
	var list []source
	for _, arg := range args {
		s := source{arg, f.version}
		if i := strings.LastIndexByte(arg, '@'); i >= 0 && !isThere(arg) {
			s = source{arg[:i], arg[i+1:]}
		}
		switch {
		case s.path == "":
			return nil, usagef("%q names no directory and no zip before the @", arg)
		case s.version == "" && len(args) == 1:
			return nil, usagef("--version is missing")
		case s.version == "":
			return nil, usagef("%s has no version: write %s@v1.2.3, or give --version for all", arg, arg)
		case module.CanonicalVersion(s.version) != s.version:
			return nil, usagef("%q is not a version of the form v1.2.3", s.version)
		}
		if f.module != "" {
			if err := module.Check(f.module, s.version); err != nil {
				return nil, usageError{err}
			}
		}
		list = append(list, s)
	}
	return list, nil
}

// isThere reports whether something is there under a path.
func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// packAll makes the module zips of all sources, and says so. Who calls it removes
// them, also after an error.
func (f *publishFlags) packAll(ctx context.Context, sources []source, stderr io.Writer) (packs packedList, err error) {
	from := map[module.Version]string{}
	for _, s := range sources {
		p, err := f.pack(ctx, s)
		if err != nil {
			if len(sources) > 1 {
				err = fmt.Errorf("%s: %w", s.path, err)
			}
			return packs, err
		}
		packs = append(packs, p)
		if first, twice := from[p.mv]; twice {
			return packs, usagef("%s and %s are both %s@%s; a version is published once", first, s.path, p.mv.Path, p.mv.Version)
		}
		from[p.mv] = s.path
		fmt.Fprintf(stderr, "%s@%s from %s\n", p.mv.Path, p.mv.Version, p.source)
	}
	return packs, nil
}

// pack makes the module zip of a source. The caller removes it.
func (f *publishFlags) pack(ctx context.Context, s source) (*packed, error) {
	st, err := os.Stat(s.path)
	switch {
	case err != nil:
		return nil, err
	case !st.IsDir():
		return packZip(s.path, f.module, s.version)
	case !f.worktree:
		tag, ok, err := findTag(ctx, s.path, f.module, s.version)
		if err != nil {
			return nil, err
		}
		if ok {
			return packTag(ctx, tag)
		}
	}
	p, err := packDir(s.path, f.module, s.version)
	if err != nil {
		return nil, err
	}
	p.warnings = uncommitted(ctx, p, s.path)
	return p, nil
}

// warn says what is to be known of what is published. It returns errNo if that is
// why nothing is.
func (f *publishFlags) warn(w io.Writer, packs packedList) error {
	n := 0
	for _, p := range packs {
		found, err := findLeaks(p)
		if err != nil {
			return err
		}
		p.warnings = append(p.warnings, found...)
		n += len(p.warnings)
		showWarnings(w, p)
	}
	if n == 0 || !f.strict {
		return nil
	}
	return fmt.Errorf("nothing is published: --strict wants no warnings, and got %d", n)
}
