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
	err := p.walk(ctx, root, func(dir string) (bool, error) {
		switch name := filepath.Base(dir); {
		case name == "@v":
			return false, p.addVersions(root, dir, sums)
		case name == "sumdb" && filepath.Dir(dir) == filepath.Clean(root):
			return false, nil
		}
		return true, nil
	})
	p.sort()
	return p, err
}

// onlyInfo is the reason for which versions are left out that are hardly there.
const onlyInfo = "of which only the time is there, neither go.mod nor zip"

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
			p.leave(onlyInfo)
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
// source.zip and <version>.info, of which any may be missing.
func planAthens(ctx context.Context, root string, sums goSums) (*importPlan, error) {
	p := newPlan("the Athens store %s", root)
	err := p.walk(ctx, root, func(dir string) (bool, error) {
		if isAthensVersion(dir) {
			return false, p.addAthens(root, dir, sums)
		}
		return true, nil
	})
	p.sort()
	return p, err
}

// isAthensVersion reports whether a directory is one of a version in an Athens
// store: it has a go.mod and another part of one, or its name is a version and it has
// any.
func isAthensVersion(dir string) bool {
	base := filepath.Base(dir)
	mod, zip, info := isFile(filepath.Join(dir, "go.mod")), isFile(filepath.Join(dir, "source.zip")), isFile(filepath.Join(dir, base+".info"))
	version := strings.ReplaceAll(base, "!", "")
	return mod && (zip || info) || (mod || zip || info) && module.CanonicalVersion(version) == version
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
	file := func(name string) string {
		if name = filepath.Join(dir, name); isFile(name) {
			return name
		}
		return ""
	}
	it := importItem{mv: mv, mod: file("go.mod"), info: file(filepath.Base(dir) + ".info"), zip: file("source.zip")}
	if it.mod == "" && it.zip == "" {
		p.leave(onlyInfo)
		return nil
	}
	if it.zip != "" {
		if it.zipH1, err = hashZip(it.zip); err != nil {
			p.refuse(mv, err)
			return nil
		}
	}
	p.add(it, sums)
	return nil
}
