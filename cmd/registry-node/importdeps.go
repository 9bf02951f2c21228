package main

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"registry-node/events"
)

// newDeps prepares the import of what is needed by what is to be published, before
// that is: nil if that is not asked for.
func (f *publishFlags) newDeps(cmd *cobra.Command, c *client) (*importing, error) {
	if !f.deps {
		return nil, nil
	}
	repo, err := events.ParseRepoName(f.depsRepo)
	if err != nil {
		return nil, usageError{err}
	}
	return c.newImport(cmd.Context(), repo)
}

// withDeps imports what the published modules need and prints what came of both.
// What is published stays so.
func (f *publishFlags) withDeps(cmd *cobra.Command, im *importing, sources []source, packs packedList, done publications) error {
	stdout, stderr := cmd.OutOrStdout(), cmd.ErrOrStderr()
	if !f.asJSON {
		if err := done.print(stdout, false); err != nil {
			return err
		}
	}
	var failed error
	refused := false
	for i := 0; i < len(packs) && failed == nil; i++ {
		r, err := im.dependencies(cmd.Context(), sources[i].path, packs[i], stderr)
		if r != nil {
			done[i].Dependencies = r
			refused = refused || len(r.Refused) > 0
		}
		if r != nil && !f.asJSON {
			err = errors.Join(err, r.print(stdout, stderr, false))
		}
		failed = err
	}
	if f.asJSON {
		failed = errors.Join(failed, done.print(stdout, true))
	}
	if failed != nil {
		return failed
	}
	if err := done.complain(stderr); err != nil || !refused {
		return err
	}
	return errNo
}

// dependencies imports the module graph of a module that was published from a path:
// that of the go.mod in its zip, which may be an older one than that in the directory.
// The report is nil if there is none.
func (im *importing) dependencies(ctx context.Context, path string, p *packed, stderr io.Writer) (*importReport, error) {
	z, err := zip.OpenReader(p.file)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	files, err := fs.Sub(z, p.mv.Path+"@"+p.mv.Version)
	if err != nil {
		return nil, err
	}
	if _, err := fs.Stat(files, "go.mod"); errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(stderr, "%v has no go.mod, which would say what it needs\n", p.mv)
		return nil, nil
	}
	dir := ""
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		dir = path // for modules in directories beside it
	}
	plan, err := planProject(ctx, p.mv.String(), dir, files, goSums{})
	if err != nil {
		return nil, err
	}
	return im.carryOut(ctx, plan, stderr)
}
