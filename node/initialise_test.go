package node_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"registry-node/events"
	"registry-node/node"
)

func TestInitMakesOneRegistryOnce(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	dir := filepath.Join(t.TempDir(), "deep", "data")
	opts, _ := options(t)
	if made, err := node.Init(t.Context(), dir, site("a"), node.Fresh{Repos: defaults(up)}, opts); err != nil || !made {
		t.Fatalf("first: %v, %v", made, err)
	}
	n := openNode(t, dir)
	registry := n.Registry()
	if got := len(must(n.Repos(op))); got != 3 {
		t.Errorf("%d repositories, want 3", got)
	}
	n.Close()
	if made, err := node.Init(t.Context(), dir, site("b"), node.Fresh{}, opts); err != nil || made {
		t.Errorf("again: %v, %v, want it left alone", made, err)
	}
	if n := openNode(t, dir); n.Registry() != registry || n.Site() != site("a") {
		t.Errorf("it is registry %v of site %v now", n.Registry(), n.Site())
	}
}

// An Init that was cut short anywhere is taken up again.
func TestInitIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	opts, _ := options(t)
	whole := t.TempDir()
	if _, err := node.Init(t.Context(), whole, site("a"), node.Fresh{Repos: defaults(nil)}, opts); err != nil {
		t.Fatal(err)
	}
	for _, missing := range [][]string{
		{"format"}, {"format", "index"}, {"format", "stream"}, {"format", "index", "stream"},
		{"format", "index", "stream", "site.json", "blobs"}, {"format", "index", "stream", "site.json", "keys/genesis.json"},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		for _, name := range missing {
			remove(t, dir, name)
		}
		if err := os.WriteFile(filepath.Join(dir, ".site.json-1234"), []byte("{"), 0o600); err != nil { // as a kill leaves it
			t.Fatal(err)
		}
		if made, err := node.Init(t.Context(), dir, site("a"), node.Fresh{Repos: defaults(nil)}, opts); err != nil || !made {
			t.Errorf("without %v: %v, %v", missing, made, err)
			continue
		}
		n := openNode(t, dir)
		if got := len(must(n.Repos(op))); got != 2 {
			t.Errorf("without %v: %d repositories, want 2", missing, got)
		}
		n.Close()
	}
}

func TestInitRefuses(t *testing.T) {
	t.Parallel()
	opts, _ := options(t)
	opts.Self = []string{"127.0.0.1:8080"}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.tex"), []byte("\\title"), 0o600); err != nil {
		t.Fatal(err)
	}
	loop := []node.NewRepo{{Name: name("public"), Kind: events.Remote, Settings: events.RepoSettings{Upstream: "http://localhost:8080/go/all", Sumdb: "off"}}}
	for _, tt := range []struct {
		what, dir string
		repos     []node.NewRepo
		text      string
		kind      error
	}{
		{"a directory of somebody else", foreign, nil, "thesis.tex", nil},
		{"an upstream that is this node", filepath.Join(t.TempDir(), "data"), loop, "this node itself", node.ErrInvalid},
	} {
		before, _ := os.ReadDir(tt.dir)
		_, err := node.Init(t.Context(), tt.dir, site("a"), node.Fresh{Repos: tt.repos}, opts)
		if err == nil || !strings.Contains(err.Error(), tt.text) || tt.kind != nil && !errors.Is(err, tt.kind) {
			t.Errorf("%s: got %v, want %q", tt.what, err, tt.text)
		}
		if after, _ := os.ReadDir(tt.dir); len(after) != len(before) {
			t.Errorf("%s: it left %v", tt.what, after)
		}
	}
}
