package node_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/node"
)

// keepNothing has the repository called public keep zips or not.
func keepNothing(t testing.TB, n *node.Node, nothing bool) {
	t.Helper()
	if _, err := n.ChangeRepo(t.Context(), op, name("public"), node.RepoChange{PolicyChange: node.PolicyChange{KeepNothing: &nothing}}); err != nil {
		t.Fatal(err)
	}
}

// verified fails the test if something is missing or wrong.
func verified(t testing.TB, n *node.Node) {
	t.Helper()
	if v, err := n.Verify(t.Context(), op, func(string, uint64) {}); err != nil || !v.OK() {
		t.Errorf("verify: %v %v, %v", v, v.Problems, err)
	}
}

// sendZip answers with a zip of files, in other bytes than zipOf makes.
func sendZip(t testing.TB, mv module.Version, files tree) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		z := zip.NewWriter(w)
		for name, text := range files {
			f, err := z.CreateHeader(&zip.FileHeader{Name: mv.Path + "@" + mv.Version + "/" + name, Method: zip.Store})
			if err == nil {
				_, err = io.WriteString(f, text)
			}
			if err != nil {
				t.Error(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Error(err)
		}
	}
}

// files returns how many files there are below a directory.
func files(t testing.TB, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A repository that keeps nothing records what passed through, keeps no bytes of
// it, and fetches them again with the same hash required.
func TestKeepNothing(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"pub.example/m", "nosum.example/m"} { // vouched for, and not
		t.Run(path, func(t *testing.T) {
			up := newProxy(t)
			n, dir := newNode(t, up)
			keepNothing(t, n, true)
			tree := goMod(path).with("a.go", noise(200_000))
			mv := up.add(path, "v1.0.0", tree)
			r := repo(t, n, "all")
			first := zipOf(t, mv, tree)
			if got, err := readZip(t, r, mv); err != nil || !bytes.Equal(got, first) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			recorded := stateHash(t, n)

			up.fault(".zip", sendZip(t, mv, tree))
			if got, err := readZip(t, r, mv); err != nil || h1Of(t, got) != h1Of(t, first) || bytes.Equal(got, first) {
				t.Errorf("packed otherwise: %d bytes, %v", len(got), err)
			}
			up.fault(".zip", sendZip(t, mv, goMod(path).with("a.go", "package other\n")))
			if _, err := readZip(t, r, mv); kindOf(err) != node.ErrUpstream {
				t.Errorf("with other content: %v, want ErrUpstream", err)
			}
			up.fault(".zip", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", http.StatusGone) })
			if _, err := readZip(t, r, mv); kindOf(err) != node.ErrUpstream || errors.Is(err, node.ErrNotFound) {
				t.Errorf("gone upstream: %v, want ErrUpstream", err)
			}
			held := repo(t, n, "all")
			held.HeldOnly = true
			if _, err := readZip(t, held, mv); kindOf(err) != node.ErrNotFound {
				t.Errorf("held only: %v, want ErrNotFound", err)
			}
			if _, err := held.Mod(t.Context(), mv); err != nil {
				t.Errorf("go.mod: %v", err)
			}
			if got := stateHash(t, n); got != recorded {
				t.Errorf("more was recorded: %s, then %s", recorded, got)
			}
			waitFor(t, "what came last to be given up", func() bool { return files(t, filepath.Join(dir, "blobs")) == 0 })
			verified(t, n)
		})
	}
}

// What passed through is not taken for lost when the repository keeps zips again,
// and is kept when it is asked for.
func TestKeepAgain(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	n, dir := newNode(t, up)
	keepNothing(t, n, true)
	tree := goMod("pub.example/m").with("a.go", noise(1000))
	mv := up.add("pub.example/m", "v1.0.0", tree)
	if _, err := readZip(t, repo(t, n, "all"), mv); err != nil {
		t.Fatal(err)
	}
	keepNothing(t, n, false)
	verified(t, n)
	if _, err := readZip(t, repo(t, n, "all"), mv); err != nil {
		t.Fatal(err)
	}
	if !heldFile(t, dir, zipOf(t, mv, tree)) {
		t.Error("it is not kept")
	}
	if err := os.Remove(blobFile(dir, zipOf(t, mv, tree))); err != nil {
		t.Fatal(err)
	}
	if v, err := n.Verify(t.Context(), op, func(string, uint64) {}); err != nil || v.OK() {
		t.Errorf("a lost zip is not missed: %v", err)
	}
}

// Sites neither ask each other for such zips nor miss them.
func TestKeepNothingAtSeveralSites(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	x := up.add("example.org/x", "v1.0.0", goMod("example.org/x").with("a.go", noise(1000)))
	w := newWorld(t, defaults(up))
	w.join("b", "a", false)
	keepNothing(t, w.sites["a"], true)
	if _, err := w.zip("a", "public", x); err != nil {
		t.Fatal(err)
	}
	w.equal()
	if got, err := w.zip("b", "public", x); err != nil || !bytes.Equal(got, zipOf(t, x, up.trees[x])) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if got := up.count(".zip"); got != 2 {
		t.Errorf("the upstream was asked %d times, want by each site", got)
	}
	w.equal()
	for at, n := range w.sites {
		verified(t, n)
		if heldFile(t, w.path(at), zipOf(t, x, up.trees[x])) {
			t.Errorf("site %s keeps it", at)
		}
		r, err := n.Replication(op)
		if err != nil || r.Sites[0].BlobsMissing != 0 {
			t.Errorf("site %s: %+v, %v", at, r.Sites[0], err)
		}
	}
}
