package upstream_test

import (
	"errors"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/node/upstream"
)

var toolchain = module.Version{Path: "golang.org/toolchain", Version: "v0.0.1-go1.99.0.linux-amd64"}

// TestToolchainAsZipOnly: a module cache that a toolchain was switched to from
// has its zip and nothing else.
func TestToolchainAsZipOnly(t *testing.T) {
	const base = "/golang.org/toolchain/@v/v0.0.1-go1.99.0.linux-amd64"
	c := newClient(t, serve(t, files(map[string]string{base + ".zip": "PK..."})).URL, upstream.Options{})
	if mod, err := c.Mod(t.Context(), toolchain); err != nil || string(mod) != "module golang.org/toolchain\n" {
		t.Errorf("go.mod: %q, %v", mod, err)
	}
	unknown := module.Version{Path: toolchain.Path, Version: "v0.0.1-go1.98.0.linux-amd64"}
	if mod, err := c.Mod(t.Context(), unknown); !errors.Is(err, upstream.ErrNotFound) {
		t.Errorf("go.mod of a toolchain that is not there: %q, %v", mod, err)
	}
	other := newClient(t, serve(t, files(map[string]string{"/example.com/!m/@v/v1.2.3.zip": "PK..."})).URL, upstream.Options{})
	if mod, err := other.Mod(t.Context(), mv); !errors.Is(err, upstream.ErrNotFound) {
		t.Errorf("go.mod of another module: %q, %v", mod, err)
	}
}

// TestToolchainZip: releases have no go.mod at the root, and those below it are
// called _go.mod.
func TestToolchainZip(t *testing.T) {
	data := makeZip(t, toolchain,
		file{name: "VERSION", text: "go1.99.0"}, file{name: "bin/go", text: "ELF"}, file{name: "src/_go.mod", text: "module std\n"},
		file{name: "src/cmd/_go.mod", text: "module cmd\n"}, file{name: "pkg/tool/linux_amd64/compile", text: "ELF"})
	z, err := checkZip(t, toolchain, data)
	if err != nil || string(z.GoMod) != "module golang.org/toolchain\n" || z.HasGoMod {
		t.Errorf("%+v, %v", z, err)
	}
}
