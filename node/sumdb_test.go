package node_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"registry-node/node"
)

// A request that asks no upstream gets of a checksum database what is held of it.
func TestHeldOnlyAsksNoDatabase(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	held := up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	up.add("pub.example/m", "v1.1.0", goMod("pub.example/m"))
	n, _ := newNode(t, up)
	r := repo(t, n, "all")
	if _, err := r.Mod(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	paths := map[string]bool{"/supported": true, "/latest": true, "/lookup/pub.example/m@v1.0.0": true, "/tile/8/0/000.p/1": true,
		"/lookup/pub.example/m@v1.1.0": false, "/tile/8/data/000.p/1": false}
	asked := up.count("")
	for path, ok := range paths {
		r := repo(t, n, "all")
		r.HeldOnly = true
		got, err := r.Sumdb(t.Context(), dbName+path)
		if ok != (err == nil) || !ok && kindOf(err) != node.ErrNotFound {
			t.Errorf("%s: %v", path, err)
		}
		if up.count("") != asked {
			t.Errorf("%s: an upstream was asked", path)
			asked = up.count("")
		}
		if !ok {
			continue
		}
		want, err := repo(t, n, "all").Sumdb(t.Context(), dbName+path)
		if err != nil || !bytes.Equal(got.Body, want.Body) || got.ContentType != want.ContentType || got.Immutable != want.Immutable {
			t.Errorf("%s: %+v, asked for otherwise %+v, %v", path, got, want, err)
		}
	}
}

// A remote repository that can't be used here still stands for its checksum
// database: were that absent, the go command would ask it itself.
func TestBrokenRemoteStandsForItsDatabase(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	dir := t.TempDir()
	opts, _ := options(t)
	if _, err := node.Init(t.Context(), dir, site("a"), node.Fresh{Repos: defaults(up)}, opts); err != nil {
		t.Fatal(err)
	}
	opts.Self = []string{strings.TrimPrefix(up.URL, "http://")} // what breaks it
	n, err := node.Open(t.Context(), dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	for _, in := range []string{"all", "public"} {
		for _, path := range []string{"/supported", "/latest", "/lookup/pub.example/m@v1.0.0"} {
			if _, err := repo(t, n, in).Sumdb(t.Context(), dbName+path); kindOf(err) != node.ErrUnavailable {
				t.Errorf("%s in %s: %v, want ErrUnavailable", path, in, err)
			}
		}
		if _, err := repo(t, n, in).Sumdb(t.Context(), "other.test/supported"); !errors.Is(err, node.ErrNotFound) {
			t.Errorf("another database in %s: %v", in, err)
		}
	}
}
