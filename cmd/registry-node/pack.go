package main

import (
	"archive/zip"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"

	"registry-node/events"
)

// packed is a module zip that can be published: it keeps the rules for module
// zips.
type packed struct {
	mv     module.Version
	source string    // where it comes from, for people
	time   time.Time // of the commit; zero if there is none
	file   string
	size   int64 // of the file, bytes
	h1     events.H1
	files  []packedFile
	temp   bool // file is ours to remove
	// warnings are what is to be known before it is published.
	warnings []warning
}

// packedList is what is published together.
type packedList []*packed

// remove removes the zips that were made for this.
func (l packedList) remove() {
	for _, p := range l {
		p.remove()
	}
}

// packedFile is a file of a module.
type packedFile struct {
	Path string `json:"path"` // in the module
	Size uint64 `json:"size"` // bytes
}

// remove removes the zip if it was made for this.
func (p *packed) remove() {
	if p.temp {
		os.Remove(p.file)
	}
}

// packDir packs a directory as it is.
func packDir(dir, modulePath, version string) (*packed, error) {
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if errors.Is(err, fs.ErrNotExist) {
		mod, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	if modulePath, err = pathOf(mod, modulePath, "directory "+dir); err != nil {
		return nil, err
	}
	mv := module.Version{Path: modulePath, Version: version}
	return pack(mv, "the directory as it is, "+dir, time.Time{}, func(w io.Writer) error {
		return modzip.CreateFromDir(w, mv, dir)
	})
}

// pathOf returns the module path that a go.mod says, which may be nil, or that
// was given; both must agree.
func pathOf(mod []byte, given, where string) (string, error) {
	if mod == nil {
		if given == "" {
			return "", usagef("%s has no go.mod; say which module it is with --module", where)
		}
		return given, nil
	}
	path := modfile.ModulePath(mod)
	switch {
	case path == "":
		return "", fmt.Errorf("the go.mod in %s has no module line", where)
	case given != "" && given != path:
		return "", fmt.Errorf("the go.mod in %s says module %s, not %s as --module says", where, path, given)
	}
	return path, nil
}

// packZip takes a module zip as it is.
func packZip(file, modulePath, version string) (*packed, error) {
	prefix, err := zipPrefix(file)
	if err != nil {
		return nil, err
	}
	path, v, _ := strings.Cut(prefix, "@")
	mv := module.Version{Path: cmp.Or(modulePath, path), Version: version}
	if mv.Path != path || mv.Version != v {
		return nil, fmt.Errorf("%s holds %s, not %s@%s", file, prefix, mv.Path, mv.Version)
	}
	if _, err := modzip.CheckZip(mv, file); err != nil {
		return nil, err
	}
	p := &packed{mv: mv, source: "the zip " + file, file: file}
	return p, p.measure()
}

// zipPrefix returns what stands before the first slash after "@" in the names
// of a zip, path@version.
func zipPrefix(file string) (string, error) {
	z, err := zip.OpenReader(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	defer z.Close()
	if len(z.File) == 0 {
		return "", fmt.Errorf("%s: the zip is empty", file)
	}
	path, rest, ok := strings.Cut(z.File[0].Name, "@")
	version, _, slash := strings.Cut(rest, "/")
	if !ok || !slash {
		return "", fmt.Errorf("%s: no module zip: its files must lie in MODULE@VERSION/, and there is %q", file, z.File[0].Name)
	}
	return path + "@" + version, nil
}

// pack makes the zip of mv that create writes.
func pack(mv module.Version, source string, at time.Time, create func(io.Writer) error) (_ *packed, err error) {
	if err := module.Check(mv.Path, mv.Version); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "registry-node-*.zip")
	if err != nil {
		return nil, err
	}
	p := &packed{mv: mv, source: source, time: at, file: f.Name(), temp: true}
	defer func() {
		if err != nil {
			p.remove()
		}
	}()
	if err := errors.Join(create(f), f.Close()); err != nil {
		return nil, err
	}
	return p, p.measure()
}

// measure completes p from its file.
func (p *packed) measure() error {
	st, err := os.Stat(p.file)
	if err != nil {
		return err
	}
	p.size = st.Size()
	h1, err := dirhash.HashZip(p.file, dirhash.Hash1)
	if err == nil {
		p.h1, err = events.ParseH1(h1)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.file, err)
	}
	z, err := zip.OpenReader(p.file)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, f := range z.File {
		name := strings.TrimPrefix(f.Name, p.mv.Path+"@"+p.mv.Version+"/")
		p.files = append(p.files, packedFile{name, f.UncompressedSize64})
	}
	return nil
}

// print shows what would be published.
func (l packedList) print(w io.Writer, asJSON bool) error {
	if asJSON {
		list := make([]plan, len(l))
		for i, p := range l {
			list[i] = plan{p.mv.Path, p.mv.Version, p.h1, p.size, p.time, p.files, p.warnings}
		}
		if len(list) == 1 {
			return printJSON(w, list[0])
		}
		return printJSON(w, struct {
			Versions []plan `json:"versions"`
		}{list})
	}
	for _, p := range l {
		t := newTable(w)
		for _, f := range p.files {
			t.row(f.Size, f.Path)
		}
		if err := t.Flush(); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s@%s %v, %d files, zip of %d bytes\n", p.mv.Path, p.mv.Version, p.h1, len(p.files), p.size); err != nil {
			return err
		}
	}
	return nil
}

// plan is a version that would be published.
type plan struct {
	Module   string       `json:"module"`
	Version  string       `json:"version"`
	H1       events.H1    `json:"h1"`
	Size     int64        `json:"size"` // of the zip
	Time     time.Time    `json:"time,omitzero"`
	Files    []packedFile `json:"files"`
	Warnings []warning    `json:"warnings,omitempty"`
}
