package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"registry-node/events"
)

// goProject asks the go command about the module in a directory. It works on copies
// of go.mod and go.sum, so that the project stays as it is.
type goProject struct {
	dir  string
	copy string // directory with the copies: go.mod, go.sum
}

// openProject copies go.mod and go.sum from files. Without a directory they are all
// that there is of the project.
func openProject(dir string, files fs.FS) (*goProject, error) {
	tmp, err := os.MkdirTemp("", "registry-node-import-")
	if err != nil {
		return nil, err
	}
	g := &goProject{cmp.Or(dir, tmp), tmp}
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := fs.ReadFile(files, name)
		if name == "go.sum" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(tmp, name), data, 0o600)
		}
		if err != nil {
			g.close()
			return nil, err
		}
	}
	return g, nil
}

func (g *goProject) close() { os.RemoveAll(g.copy) }

func (g *goProject) sum() string { return filepath.Join(g.copy, "go.sum") }

// run runs the go command in the project, and returns what it writes to standard
// output also if it fails.
func (g *goProject) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = g.dir, append(os.Environ(), "GOWORK=off")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return stdout.Bytes(), fmt.Errorf("go %s: %w\n%s", strings.Join(args[:2], " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

func (g *goProject) modfile() string { return "-modfile=" + filepath.Join(g.copy, "go.mod") }

// downloaded is what "go mod download -json" says of a module.
type downloaded struct {
	Path, Version, Error string
	Info, GoMod, Zip     string // files
	Sum, GoModSum        string
}

// planProject finds the module graph of the project in a directory, by the go.mod and
// go.sum among files: all modules of its build list, whole, and the go.mod files of the versions that were considered
// for it, without which the go command can't make it anew. The go command downloads
// what its cache lacks, and checks it as it is set up to.
func planProject(ctx context.Context, what, dir string, files fs.FS, sums goSums) (*importPlan, error) {
	g, err := openProject(dir, files)
	if err != nil {
		return nil, err
	}
	defer g.close()
	p := newPlan("the module graph of %s", what)
	p.project = true
	all, failed := g.run(ctx, "mod", "download", g.modfile(), "-json", "all")
	var mods []downloaded
	for d := json.NewDecoder(bytes.NewReader(all)); ; {
		var m downloaded
		if err := d.Decode(&m); err == io.EOF {
			break
		} else if err != nil {
			return nil, errors.Join(failed, fmt.Errorf("go mod download: %w", err))
		}
		mods = append(mods, m)
	}
	if failed != nil && len(mods) == 0 {
		return nil, failed
	}
	graph, err := g.run(ctx, "mod", "graph", g.modfile())
	if err != nil {
		return nil, err
	}
	if err := sums.read(g.sum()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	whole := map[module.Version]bool{}
	for _, m := range mods {
		mv := module.Version{Path: m.Path, Version: m.Version}
		whole[mv] = true
		p.addDownloaded(mv, m, sums)
	}
	return p, p.addGraph(ctx, g, graph, whole, sums)
}

func (p *importPlan) addDownloaded(mv module.Version, m downloaded, sums goSums) {
	if m.Error != "" {
		p.refuse(mv, errors.New(m.Error))
		return
	}
	it := importItem{mv: mv, info: m.Info, mod: m.GoMod, zip: m.Zip}
	h1, err := events.ParseH1(m.Sum)
	if err != nil {
		p.refuse(mv, fmt.Errorf("go mod download: %w", err))
		return
	}
	it.zipH1 = h1
	p.add(it, sums)
}

// addGraph adds the go.mod files of those versions in the output of "go mod graph"
// that are not in the build list.
func (p *importPlan) addGraph(ctx context.Context, g *goProject, graph []byte, whole map[module.Version]bool, sums goSums) error {
	replaced, err := g.replaced()
	if err != nil {
		return err
	}
	out, err := g.run(ctx, "env", "GOMODCACHE")
	if err != nil {
		return err
	}
	root := filepath.Join(strings.TrimSpace(string(out)), "cache", "download")
	seen := map[module.Version]bool{}
	for word := range strings.FieldsSeq(string(graph)) {
		path, version, ok := strings.Cut(word, "@")
		mv := module.Version{Path: path, Version: version}
		if !ok || path == "go" || path == "toolchain" {
			continue // the main module, or what the go command requires of itself
		}
		if seen[mv] {
			continue
		}
		of := mv
		seen[of] = true
		if r, ok := replaced(mv); ok && r.Version == "" {
			p.leave(fmt.Sprintf("that the directory %s replaces: %v", r.Path, mv))
			continue
		} else if ok {
			mv = r
		}
		if whole[mv] || mv != of && seen[mv] {
			continue
		}
		seen[mv] = true
		switch it, err := cachedMod(root, mv); {
		case err != nil:
			p.refuse(mv, err)
		case it.mod == "":
			p.leave("of the module graph whose go.mod the go command did not need")
		default:
			p.add(it, sums)
		}
	}
	p.sort()
	return nil
}

// replaced returns what stands for a version by the replace lines of the project.
func (g *goProject) replaced() (func(module.Version) (module.Version, bool), error) {
	file := filepath.Join(g.copy, "go.mod")
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	f, err := modfile.Parse(filepath.Join(g.dir, "go.mod"), data, nil)
	if err != nil {
		return nil, err
	}
	by := map[module.Version]module.Version{}
	for _, r := range f.Replace {
		by[r.Old] = r.New
	}
	return func(mv module.Version) (module.Version, bool) {
		if r, ok := by[mv]; ok {
			return r, true
		}
		r, ok := by[module.Version{Path: mv.Path}]
		return r, ok
	}, nil
}

// cachedMod is the go.mod of a version in the module cache, if it is there.
func cachedMod(root string, mv module.Version) (it importItem, err error) {
	path, err := module.EscapePath(mv.Path)
	if err != nil {
		return it, err
	}
	version, err := module.EscapeVersion(mv.Version)
	if err != nil {
		return it, err
	}
	base := filepath.Join(root, filepath.FromSlash(path), "@v", version)
	it.mv = mv
	if isFile(base + ".mod") {
		it.mod = base + ".mod"
	}
	if isFile(base + ".info") {
		it.info = base + ".info"
	}
	return it, nil
}
