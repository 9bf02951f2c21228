package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"

	"registry-node/events"
)

// planCache finds what the module cache of the go command holds: root is its
// cache/download directory, which has <module>/@v/<version>.{info,mod,zip,ziphash},
// escaped. Its copy of a checksum database is left aside: the node has its own.
func planCache(ctx context.Context, root string, sums goSums) (*importPlan, error) {
	p := newPlan("the module cache %s", root)
	err := filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case !d.IsDir():
			return nil
		case d.Name() == "sumdb" && filepath.Dir(dir) == filepath.Clean(root):
			return fs.SkipDir
		case d.Name() != "@v":
			return nil
		}
		if err := p.addVersions(root, dir, sums); err != nil {
			return err
		}
		return fs.SkipDir
	})
	p.sort()
	return p, err
}

// addVersions adds what lies in the @v directory of a module.
func (p *importPlan) addVersions(root, dir string, sums goSums) error {
	rel, err := filepath.Rel(root, filepath.Dir(dir))
	if err != nil {
		return err
	}
	path, err := module.UnescapePath(filepath.ToSlash(rel))
	if err != nil {
		p.refuse(module.Version{Path: filepath.ToSlash(rel)}, err)
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	has := map[string]bool{}
	for _, e := range entries {
		has[e.Name()] = !e.IsDir()
	}
	for name := range has {
		escaped, ext := cutExt(name)
		version, err := module.UnescapeVersion(escaped)
		switch {
		case ext != "info" && ext != "mod" && ext != "zip" || !has[name]:
			continue // list, locks, what a download left behind
		case err != nil || module.CanonicalVersion(version) != version:
			p.leave("that are no versions: what a branch or a commit stood for")
			continue
		case ext == "mod" && has[escaped+".zip"]:
			continue // it comes with the zip
		case ext == "info" && (has[escaped+".mod"] || has[escaped+".zip"]):
			continue
		case ext == "info":
			p.leave("of which only the time is there, neither go.mod nor zip")
			continue
		}
		file := func(ext string) string {
			if !has[escaped+ext] {
				return ""
			}
			return filepath.Join(dir, escaped+ext)
		}
		it := importItem{mv: module.Version{Path: path, Version: version}, info: file(".info"), mod: file(".mod"), zip: file(".zip")}
		if it.zip != "" {
			if it.zipH1, err = readZipHash(it.zip); err != nil {
				p.refuse(it.mv, err)
				continue
			}
		}
		p.add(it, sums)
	}
	return nil
}

// cutExt cuts the name of a file in the cache at its last dot.
func cutExt(name string) (base, ext string) {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return name, ""
}

// readZipHash returns the hash that the go command has computed of a zip, or, where
// it has not come to that, computes it.
func readZipHash(zip string) (events.H1, error) {
	text, err := os.ReadFile(strings.TrimSuffix(zip, "zip") + "ziphash")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return events.H1{}, err
	}
	if s := strings.TrimSpace(string(text)); s != "" {
		h, err := events.ParseH1(s)
		if err != nil {
			return h, fmt.Errorf("its .ziphash is damaged: %w", err)
		}
		return h, nil
	}
	return hashZip(zip)
}

func hashZip(zip string) (h events.H1, err error) {
	text, err := dirhash.HashZip(zip, dirhash.Hash1)
	if err == nil {
		h, err = events.ParseH1(text)
	}
	if err != nil {
		return h, fmt.Errorf("its zip can't be read: %w", err)
	}
	return h, nil
}

// planAthens finds what an Athens disk store holds: <module>/<version>/ with go.mod,
// source.zip and <version>.info.
func planAthens(ctx context.Context, root string, sums goSums) (*importPlan, error) {
	p := newPlan("the Athens store %s", root)
	err := filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case !d.IsDir() || !isAthensVersion(dir):
			return nil
		}
		if err := p.addAthens(root, dir, sums); err != nil {
			return err
		}
		return fs.SkipDir
	})
	p.sort()
	return p, err
}

// isAthensVersion reports whether a directory is one of a version in an Athens
// store.
func isAthensVersion(dir string) bool {
	return isFile(filepath.Join(dir, "go.mod")) && isFile(filepath.Join(dir, filepath.Base(dir)+".info"))
}

func isFile(file string) bool {
	st, err := os.Stat(file)
	return err == nil && st.Mode().IsRegular()
}

// addAthens adds the version in a directory. Athens keeps names as they are; those
// that are escaped are taken, too, as no name has a ! itself.
func (p *importPlan) addAthens(root, dir string, sums goSums) error {
	rel, err := filepath.Rel(root, dir)
	if err != nil {
		return err
	}
	mv := module.Version{Path: filepath.ToSlash(filepath.Dir(rel)), Version: filepath.Base(rel)}
	if strings.Contains(mv.Path, "!") {
		if mv.Path, err = module.UnescapePath(mv.Path); err != nil {
			p.refuse(mv, err)
			return nil
		}
	}
	if strings.Contains(mv.Version, "!") {
		if mv.Version, err = module.UnescapeVersion(mv.Version); err != nil {
			p.refuse(mv, err)
			return nil
		}
	}
	it := importItem{mv: mv, mod: filepath.Join(dir, "go.mod"), info: filepath.Join(dir, filepath.Base(dir)+".info")}
	if zip := filepath.Join(dir, "source.zip"); isFile(zip) {
		it.zip = zip
		if it.zipH1, err = hashZip(zip); err != nil {
			p.refuse(mv, err)
			return nil
		}
	}
	p.add(it, sums)
	return nil
}
