package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// warning says what is to be known of a file before it is published.
type warning struct {
	// Kind is untracked or uncommitted, as git sees it, secret, or unknown where git
	// could not be asked.
	Kind string `json:"kind"`
	File string `json:"file,omitempty"` // in the module
	Line int    `json:"line,omitempty"` // from 1 on; 0 if it is about the whole file
	Text string `json:"text"`           // for people; holds nothing of the file
}

// shownWarnings is how many warnings about a module a person is shown.
const shownWarnings = 20

// showWarnings writes the warnings about a module.
func showWarnings(w io.Writer, p *packed) {
	for i, one := range p.warnings {
		if i == shownWarnings {
			fmt.Fprintf(w, "warning: %s: and %d more\n", p.mv.Path, len(p.warnings)-i)
			return
		}
		at := one.File
		if one.Line > 0 {
			at = fmt.Sprintf("%s:%d", at, one.Line)
		}
		if at != "" {
			at = oneLine(at) + ": "
		}
		fmt.Fprintf(w, "warning: %s: %s%s\n", p.mv.Path, at, oneLine(one.Text))
	}
}

// uncommitted returns the files of a module, packed from a directory as it is, that
// git does not track there or that differ from what is committed.
func uncommitted(ctx context.Context, p *packed, dir string) []warning {
	dir, err := filepath.Abs(dir)
	if err == nil && !inGit(dir) {
		return nil
	}
	if v := os.Getenv("GIT_DIR"); err == nil && v != "" {
		err = fmt.Errorf("GIT_DIR is set, to %s, and says which git repository this is about", v)
	}
	var tracked, changed map[string]bool
	g := git{ctx, dir}
	if err == nil {
		tracked, err = g.names("ls-files", "-z", "--cached", "--recurse-submodules", "--", ".")
	}
	if err == nil {
		changed, err = g.changed()
	}
	if err != nil {
		return []warning{{Kind: "unknown", Text: "git can't say which of the files it tracks: " + err.Error()}}
	}
	var list []warning
	for _, f := range p.files {
		switch {
		case !tracked[f.Path]:
			list = append(list, warning{Kind: "untracked", File: f.Path, Text: "git does not track it, and it is part of the module"})
		case changed[f.Path] || within(changed, f.Path):
			list = append(list, warning{Kind: "uncommitted", File: f.Path, Text: "it differs from what is committed"})
		}
	}
	return list
}

// changed returns the names of the files and submodules below the directory that
// differ from the commit that is checked out.
func (g git) changed() (map[string]bool, error) {
	if _, err := g.line("rev-parse", "--verify", "--quiet", "HEAD^{commit}"); err != nil {
		return g.names("ls-files", "-z", "--cached", "--", ".") // nothing is committed yet
	}
	return g.names("diff", "--name-only", "-z", "--no-ext-diff", "--relative", "HEAD", "--", ".")
}

// names returns the names that a git command prints, each with a zero byte after it.
func (g git) names(args ...string) (map[string]bool, error) {
	out, err := g.run(args...)
	if err != nil {
		return nil, err
	}
	set := map[string]bool{}
	for name := range strings.SplitSeq(string(out), "\x00") {
		set[name] = true
	}
	return set, nil
}

// within reports whether a file lies below one of names, which is a submodule then.
func within(names map[string]bool, file string) bool {
	for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
		if names[dir] {
			return true
		}
	}
	return false
}
