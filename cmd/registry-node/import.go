package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"
	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

// importFlags are what import is asked for.
type importFlags struct {
	target   target
	repo     string
	from     string
	goSum    []string
	unproved bool
	dryRun   bool
	asJSON   bool
	workers  int
}

const (
	importWorkers    = 4
	maxImportWorkers = 64
)

func importCommand() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import PATH --repo NAME",
		Short: "Put modules that lie on this machine into a repository",
		Long: `Put modules that lie on this machine into a repository, for networks that
reach no upstream.

PATH is one of
  a project, a directory with a go.mod: the modules that it builds with, and the
  go.mod files that its module graph needs, which the go command downloads where
  its cache lacks them;
  the go command's module cache (GOMODCACHE, or cache/download in it);
  the disk store of an Athens proxy.

A remote repository takes them as if its upstream had given them, under the same
rules. They must agree with go.sum (of the project, or --go-sum), with the hashes
in a module cache, and with the checksum database of the repository, which the node
asks. Where it can't, --unproved lets those in that go.sum has, on its word alone:
the node's site serves them until the database answers, which then has the last word;
another site serves them once the database has proved them there, or when they have
been imported there, too. A local repository takes those that it owns, by publishing
them.

What is there already is not sent again, so what was interrupted goes on when it is
run again. What is refused is listed with the reason, what is left out is counted
with it, and the exit code is 1 if anything was refused or nothing was found.`,
		Args: wants("PATH"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.target.addFlags(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.repo, "repo", "", "`name` of the repository that takes them")
	fs.StringVar(&f.from, "from", "", "what PATH is: project, cache or athens (default: what it looks like)")
	fs.StringArrayVar(&f.goSum, "go-sum", nil, "`file` like go.sum with hashes that must be met; may be given more than once")
	must(cmd.MarkFlagFilename("go-sum"))
	fs.BoolVar(&f.unproved, "unproved", false, "let go.sum vouch, at this site, while the checksum database can't be asked")
	fs.IntVarP(&f.workers, "parallel", "j", importWorkers, "how many to send at a time")
	fs.BoolVar(&f.dryRun, "dry-run", false, "list what would be sent, and don't")
	jsonFlag(cmd, &f.asJSON)
	must(cmd.RegisterFlagCompletionFunc("repo", f.target.completeRepos(events.Remote, events.Local)))
	must(cmd.RegisterFlagCompletionFunc("from", cobra.FixedCompletions([]string{fromProject, fromCache, fromAthens}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

func (f *importFlags) run(cmd *cobra.Command, path string) error {
	if f.repo == "" {
		return usagef("--repo is missing")
	}
	repo, err := events.ParseRepoName(f.repo)
	if err != nil {
		return usageError{err}
	}
	if f.workers < 1 || f.workers > maxImportWorkers {
		return usagef("-j is %d, not from 1 to %d", f.workers, maxImportWorkers)
	}
	sums := goSums{}
	for _, file := range f.goSum {
		if err := sums.read(file); err != nil {
			return err
		}
	}
	c, err := f.target.client()
	if err != nil {
		return err
	}
	defer c.close()
	im, err := c.newImport(cmd.Context(), repo)
	if err != nil {
		return err
	}
	im.unproved, im.workers, im.dryRun = f.unproved, f.workers, f.dryRun
	return im.from(cmd, path, f.from, sums, f.asJSON)
}

// newImport prepares an import into a repository of the node.
func (c *client) newImport(ctx context.Context, repo events.RepoName) (*importing, error) {
	var info node.RepoInfo
	if err := c.call(ctx, http.MethodGet, "/api/v1/repos/"+repo.String(), nil, &info); err != nil {
		return nil, err
	}
	if info.Kind == events.Virtual {
		return nil, fmt.Errorf("repository %s is virtual; name the member that is to have the modules: %s", repo, list(info.Members))
	}
	return &importing{client: c, repo: repo, local: info.Kind == events.Local, workers: importWorkers}, nil
}

// from imports what lies at a path and prints what came of it.
func (im *importing) from(cmd *cobra.Command, path, from string, sums goSums, asJSON bool) error {
	ctx, stderr := cmd.Context(), cmd.ErrOrStderr()
	plan, err := planImport(ctx, path, from, sums)
	if err != nil {
		return err
	}
	if plan.empty() {
		return fmt.Errorf("%s: there are no versions in it%s", plan.source, plan.leftOutText())
	}
	done, err := im.carryOut(ctx, plan, stderr)
	if err := errors.Join(err, done.print(cmd.OutOrStdout(), stderr, asJSON)); err != nil {
		return err
	}
	return done.no()
}

// carryOut imports what a plan has. If that ends early the report says what was done.
func (im *importing) carryOut(ctx context.Context, plan *importPlan, stderr io.Writer) (*importReport, error) {
	if im.local {
		plan.withoutZips()
	}
	fmt.Fprintf(stderr, "%s: %d versions for repository %s\n", plan.source, len(plan.items), im.repo)
	show := newProgress(stderr, func(done uint64, rate float64) string {
		return fmt.Sprintf("%d of %d (%.0f/s)", done, im.total, rate)
	})
	done, err := im.run(ctx, plan, show)
	show.end()
	if err != nil && ctx.Err() != nil {
		err = errors.New("interrupted; what was imported stays, and the same command goes on from there")
	}
	return done, err
}

// importReport is what became of an import.
type importReport struct {
	Repo events.RepoName `json:"repository"`
	// Imported are the versions that are there now and were not, or not wholly;
	// Mods, of these, those with the go.mod alone. In a dry run: would be.
	Imported int `json:"imported"`
	Mods     int `json:"go_mod_alone"`
	Existed  int `json:"existed"`
	// Left counts, by reason, what is in the source and nothing to import.
	Left    map[string]int  `json:"left_out,omitempty"`
	Refused []importRefusal `json:"refused"`
	// Unsent is how many were not sent, since it was interrupted.
	Unsent int  `json:"unsent,omitempty"`
	DryRun bool `json:"dry_run,omitempty"`
	// Versions are what a dry run would send.
	Versions []string `json:"versions,omitempty"`
}

// no is errNo if anything was refused.
func (r *importReport) no() error {
	if len(r.Refused) > 0 {
		return errNo
	}
	return nil
}

// print lists what is refused to stderr, and says the sum of it.
func (r *importReport) print(stdout, stderr io.Writer, asJSON bool) error {
	if asJSON {
		return printJSON(stdout, r)
	}
	for _, v := range r.Versions {
		fmt.Fprintln(stdout, v)
	}
	for _, x := range r.Refused {
		fmt.Fprintf(stderr, "refused: %s: %s\n", oneLine(at(x.Module, x.Version)), oneLine(x.Message))
	}
	plan := importPlan{leftOut: r.Left}
	for _, reason := range plan.reasons() {
		fmt.Fprintf(stderr, "left out: %d %s\n", r.Left[reason], reason)
	}
	verb := "imported"
	if r.DryRun {
		verb = "would import"
	}
	_, err := fmt.Fprintf(stdout, "%s %d versions into %s (of %d the go.mod alone); %d were there already, %d refused", verb, r.Imported, r.Repo, r.Mods, r.Existed, len(r.Refused))
	if r.Unsent > 0 && err == nil {
		_, err = fmt.Fprintf(stdout, ", %d not sent", r.Unsent)
	}
	if err == nil {
		_, err = fmt.Fprintln(stdout)
	}
	return err
}

// at names a version, or, without one, a module.
func at(path, version string) string {
	if version == "" {
		return path
	}
	return module.Version{Path: path, Version: version}.String()
}
