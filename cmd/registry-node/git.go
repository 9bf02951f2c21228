package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"
)

// gitTag is a tag that stands for a version of a module.
type gitTag struct {
	mv      module.Version
	name    string // of the tag
	objects string // directory of the repository's objects
	format  string // of the objects' names: sha1, sha256
	commit  string
	time    time.Time // of the commit
	subdir  string    // of the module in the repository, with slashes; empty for the root
}

// findTag looks for the tag of a version of the module in dir. ok is false if
// dir is not in a git repository, or that has no such tag.
func findTag(ctx context.Context, dir, modulePath, version string) (t gitTag, ok bool, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil || !inGit(dir) {
		return t, false, err
	}
	if v := os.Getenv("GIT_DIR"); v != "" {
		return t, false, fmt.Errorf("GIT_DIR is set, to %s, and says which git repository this is about; unset it, or use --worktree", v)
	}
	g := git{ctx, dir}
	prefix, err := g.line("rev-parse", "--show-prefix")
	if err != nil {
		return t, false, fmt.Errorf("%w; --worktree publishes the directory without git", err)
	}
	t.subdir = strings.TrimSuffix(prefix, "/")
	for _, t.name = range tagNames(t.subdir, version) {
		if t.commit, err = g.line("rev-parse", "--verify", "--quiet", "refs/tags/"+t.name+"^{commit}"); err == nil {
			break
		}
	}
	if t.commit == "" {
		return t, false, nil // git says no more than that it failed
	}
	err = g.describe(&t)
	if err != nil {
		return t, false, err
	}
	t.mv.Version = version
	mod, err := g.fileAt(t.commit, path.Join(t.subdir, "go.mod"))
	if err != nil {
		return t, false, err
	}
	t.mv.Path, err = pathOf(mod, modulePath, "tag "+t.name)
	return t, true, err
}

// inGit reports whether dir is in what looks like the working tree of git.
func inGit(dir string) bool {
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
		if dir == filepath.Dir(dir) {
			return false
		}
	}
}

// tagNames returns the names of tags that stand for a version of the module in
// subdir: the go command has the directory before the version, without a last
// element that is the major version.
func tagNames(subdir, version string) []string {
	tag := strings.TrimSuffix(version, "+incompatible")
	names := []string{path.Join(subdir, tag)}
	major, _, _ := strings.Cut(tag, ".")
	if path.Base(subdir) == major && major != "v0" && major != "v1" {
		names = append([]string{path.Join(path.Dir(subdir), tag)}, names...)
	}
	return names
}

// packTag packs what the go command would make of a tag.
//
// The commit is read through a repository that borrows the objects of the
// user's, as the attributes export-subst and export-ignore must not have an
// effect, and only the info directory of a repository can say so.
func packTag(ctx context.Context, t gitTag) (*packed, error) {
	tmp, err := os.MkdirTemp("", "registry-node-git-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	if tmp, err = filepath.EvalSymlinks(tmp); err != nil {
		return nil, err
	}
	if _, err := (git{ctx, tmp}).line("init", "--quiet", "--template=", "--object-format="+t.format, "."); err != nil {
		return nil, err
	}
	for name, text := range map[string]string{
		"objects/info/alternates": t.objects + "\n",
		"info/attributes":         "* -export-subst -export-ignore\n", // as in cmd/go/internal/modfetch/codehost
	} {
		file := filepath.Join(tmp, ".git", filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			return nil, err
		}
	}
	source := fmt.Sprintf("git tag %s, commit %.12s", t.name, t.commit)
	return pack(t.mv, source, t.time, func(w io.Writer) error {
		return modzip.CreateFromVCS(w, t.mv, tmp, t.commit, t.subdir)
	})
}

// git runs git commands in a directory.
type git struct {
	ctx context.Context
	dir string
}

// describe completes t from its commit.
func (g git) describe(t *gitTag) error {
	seconds, err := g.line("log", "-1", "--no-show-signature", "--format=%ct", t.commit, "--")
	if err != nil {
		return err
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("git: time of commit %s: %w", t.commit, err)
	}
	t.time = time.Unix(unix, 0).UTC()
	if t.format, err = g.line("rev-parse", "--show-object-format"); err != nil {
		return err
	}
	objects, err := g.line("rev-parse", "--git-path", "objects")
	if err != nil {
		return err
	}
	if !filepath.IsAbs(objects) {
		objects = filepath.Join(g.dir, objects)
	}
	t.objects = objects
	return nil
}

// fileAt returns a file of a commit; nil if it isn't there.
func (g git) fileAt(commit, file string) ([]byte, error) {
	names, err := g.run("ls-tree", "--full-tree", "--name-only", "-z", commit, "--", file)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	return g.run("cat-file", "blob", commit+":"+file)
}

// line returns the one line that a git command prints.
func (g git) line(args ...string) (string, error) {
	out, err := g.run(args...)
	return strings.TrimSuffix(string(out), "\n"), err
}

func (g git) run(args ...string) ([]byte, error) {
	cmd := exec.CommandContext(g.ctx, "git", args...)
	cmd.Dir = g.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w: %s", args[0], err, oneLine(stderr.String()))
	}
	return out, nil
}
