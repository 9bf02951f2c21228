package e2e

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
)

// tree is a module version as files. One without a go.mod is an +incompatible
// version, or one from before modules.
type tree map[string]string

// library returns a module whose package of the same name says what it is.
func library(path, version string) tree {
	name, _, _ := module.SplitPathVersion(path)
	pkg := filepath.Base(name)
	return tree{
		"go.mod":    "module " + path + "\n\ngo 1.21\n",
		pkg + ".go": fmt.Sprintf("package %s\n\n// What says what this is.\nconst What = %q\n", pkg, path+" "+version),
	}
}

// with returns the tree with another text for one file.
func (t tree) with(name, text string) tree {
	u := maps.Clone(t)
	u[name] = text
	return u
}

// without returns the tree without a file.
func (t tree) without(name string) tree {
	u := maps.Clone(t)
	delete(u, name)
	return u
}

// goMod returns the go.mod of the tree, or what stands for a missing one.
func (t tree) goMod(path string) []byte {
	if text, ok := t["go.mod"]; ok {
		return []byte(text)
	}
	return []byte("module " + path + "\n")
}

// write writes the tree as files into a new directory.
func (t tree) write(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	if err := t.writeTo(dir); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// writeTo writes the tree as files into a directory.
func (t tree) writeTo(dir string) error {
	for name, text := range t {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			return err
		}
	}
	return nil
}

// zipOf returns the module zip of a tree, always with the same bytes.
func zipOf(mv module.Version, t tree) []byte {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(t)) {
		f, err := w.CreateHeader(&zip.FileHeader{Name: mv.Path + "@" + mv.Version + "/" + name, Method: zip.Deflate})
		if err == nil {
			_, err = io.WriteString(f, t[name])
		}
		if err != nil {
			panic(err) // a buffer takes everything
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

// h1 returns the hash of a tree's zip, as go.sum has it.
func h1(mv module.Version, t tree) string {
	prefix := mv.Path + "@" + mv.Version + "/"
	var names []string
	for name := range t {
		names = append(names, prefix+name)
	}
	return hash1(names, func(name string) string { return t[name[len(prefix):]] })
}

// goModH1 returns the hash of a go.mod, as go.sum has it.
func goModH1(text []byte) string {
	return hash1([]string{"go.mod"}, func(string) string { return string(text) })
}

func hash1(names []string, text func(name string) string) string {
	sum, err := dirhash.Hash1(names, func(name string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader([]byte(text(name)))), nil
	})
	if err != nil {
		panic(err) // none of our names has a newline
	}
	return sum
}

// digest returns the SHA-256 under which a store keeps some bytes.
func digest(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
