package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/module"

	"registry-node/events"
)

// publishFlags are what publish is asked for.
type publishFlags struct {
	target   target
	version  string
	module   string
	repo     string
	worktree bool
	dryRun   bool
	asJSON   bool
	sites    string
	timeout  time.Duration
}

func publishCommand() *cobra.Command {
	var f publishFlags
	cmd := &cobra.Command{
		Use:   "publish DIR|ZIP --version vX.Y.Z",
		Short: "Publish a version of a module",
		Long: `Publish a version of a module from its directory or from a module zip.

If DIR lies in a git repository that has a tag for the version (with the
directory before it, as in sub/dir/v1.2.3, for a module in a subdirectory), then
what is published is what the go command would make of that tag, whatever the
working tree holds, and the version's time is the commit's. Otherwise it is the
directory as it is, which --worktree asks for in any case.

The hash (h1) is computed here and compared by the node. Publishing the same
content again is no error; other content under the same version is.

With --sites it waits until that many sites hold the version, the node's own
included. If they do not in time, the version is published nonetheless, they get
it when they can, and the exit code is 1.`,
		Args: wants("DIR or ZIP"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.target.addFlags(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.version, "version", "", "the `version`, as v1.2.3")
	fs.StringVar(&f.module, "module", "", "module `path`, where there is no go.mod or to be sure")
	fs.StringVar(&f.repo, "repo", "local", "`name` of the repository that takes it")
	fs.StringVar(&f.sites, "sites", "", "`number` of sites that have to hold it, or all")
	fs.DurationVar(&f.timeout, "timeout", 0, "`time` to wait for --sites (default 30s)")
	fs.BoolVar(&f.worktree, "worktree", false, "publish the directory as it is, even if git has a tag for the version")
	fs.BoolVar(&f.dryRun, "dry-run", false, "list what would be published, and don't")
	jsonFlag(cmd, &f.asJSON)
	must(cmd.RegisterFlagCompletionFunc("repo", f.target.completeRepos(events.Local, events.Virtual)))
	return cmd
}

func (f *publishFlags) run(cmd *cobra.Command, path string) error {
	repo, err := events.ParseRepoName(f.repo)
	if err != nil {
		return usageError{err}
	}
	switch {
	case f.version == "":
		return usagef("--version is missing")
	case module.CanonicalVersion(f.version) != f.version:
		return usagef("--version %q is not a version of the form v1.2.3", f.version)
	}
	if f.module != "" {
		if err := module.Check(f.module, f.version); err != nil {
			return usageError{err}
		}
	}
	if err := f.checkSites(); err != nil {
		return err
	}
	p, err := f.pack(cmd.Context(), path)
	if err != nil {
		return err
	}
	defer p.remove()
	fmt.Fprintf(cmd.ErrOrStderr(), "%s@%s from %s\n", p.mv.Path, p.mv.Version, p.source)
	if f.dryRun {
		return p.print(cmd.OutOrStdout(), f.asJSON)
	}
	c, err := f.target.client()
	if err != nil {
		return err
	}
	defer c.close()
	progress := byteProgress(cmd.ErrOrStderr(), p.size)
	done, err := c.publish(cmd.Context(), repo, p, f.acknowledgement(), progress)
	progress.end()
	if err != nil {
		return err
	}
	if err := printPublished(cmd.OutOrStdout(), done, f.asJSON); err != nil {
		return err
	}
	return done.complain(cmd.ErrOrStderr())
}

// pack makes the module zip of what path names. The caller removes it.
func (f *publishFlags) pack(ctx context.Context, path string) (*packed, error) {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !st.IsDir():
		return packZip(path, f.module, f.version)
	case !f.worktree:
		tag, ok, err := findTag(ctx, path, f.module, f.version)
		if err != nil {
			return nil, err
		}
		if ok {
			return packTag(ctx, tag)
		}
	}
	return packDir(path, f.module, f.version)
}

// publish uploads a packed module. The query says what sites to wait for.
func (c *client) publish(ctx context.Context, repo events.RepoName, p *packed, query url.Values, show *progress) (done publication, err error) {
	file, err := os.Open(p.file)
	if err != nil {
		return done, err
	}
	defer file.Close()
	escaped, err := module.EscapePath(p.mv.Path)
	if err != nil {
		return done, err
	}
	version, err := module.EscapeVersion(p.mv.Version)
	if err != nil {
		return done, err
	}
	query.Set("h1", p.h1.String())
	if !p.time.IsZero() {
		query.Set("time", p.time.UTC().Format(time.RFC3339))
	}
	path := "/api/v1/repos/" + repo.String() + "/modules/" + escaped + "/@v/" + url.PathEscape(version)
	req, err := c.request(ctx, http.MethodPut, path, query, show.reader("sending", file))
	if err != nil {
		return done, err
	}
	req.ContentLength = p.size
	req.Header.Set("Content-Type", "application/zip")
	req.Header.Set("Expect", "100-continue")
	resp, err := c.send(req)
	if err != nil {
		return done, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&done); err != nil {
		return done, fmt.Errorf("answer from %s: %w", c.where, err)
	}
	done.late = resp.StatusCode == http.StatusAccepted
	return done, nil
}

func printPublished(w io.Writer, p publication, asJSON bool) error {
	if asJSON {
		return printJSON(w, p)
	}
	what := p.Module + "@" + p.Version
	if p.Existed {
		_, err := fmt.Fprintf(w, "%s %v is already there since %s at %v\n", what, p.H1, p.Time.Format(time.RFC3339), p.Position)
		return err
	}
	_, err := fmt.Fprintf(w, "published %s %v at %v\n", what, p.H1, p.Position)
	return err
}
