package node_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/node"
)

// addMany adds n modules to the upstream.
func (p *proxy) addMany(n int, prefix string) (mvs []module.Version) {
	for i := range n {
		path := fmt.Sprintf("%s%d", prefix, i)
		mvs = append(mvs, p.add(path, "v1.0.0", goMod(path)))
	}
	return mvs
}

// heldMod reads a go.mod at a site without asking an upstream.
func (w *world) heldMod(at string, mv module.Version) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	r := repo(w.t, w.sites[at], "all")
	r.HeldOnly = true
	_, err := r.Mod(ctx, mv)
	return err
}

// What another site filled is checked in the background, also if it came with many
// others at once.
func TestFillsOfOthersAreCheckedInTheBackground(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	w := newWorld(t, defaults(up))
	w.join("b", "a", false)
	w.close("b")
	mvs := up.addMany(100, "pub.example/m")
	for _, mv := range mvs {
		if _, err := repo(t, w.sites["a"], "all").Mod(t.Context(), mv); err != nil {
			t.Fatal(err)
		}
	}
	w.open("b")
	w.equal()
	for _, mv := range mvs {
		waitFor(t, mv.Path+" to be checked at b", func() bool { return w.heldMod("b", mv) == nil })
	}
}

// A request that asks no upstream does not ask the checksum database either about
// what another site states; what is not checked yet is no absence.
func TestHeldOnlyVouchesForNothing(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	mv := up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	var lookups atomic.Int32
	checking, rest := make(chan struct{}), make(chan struct{})
	up.fault("/lookup/pub.example/m@v1.0.0", func(rw http.ResponseWriter, r *http.Request) {
		if lookups.Add(1) == 2 { // b, in the background
			close(checking)
			select {
			case <-rest:
			case <-r.Context().Done():
			}
		}
		http.StripPrefix("/sumdb/"+dbName, up.db).ServeHTTP(rw, r)
	})
	w := newWorld(t, defaults(up))
	w.join("b", "a", false)
	if _, err := repo(t, w.sites["a"], "all").Mod(t.Context(), mv); err != nil {
		t.Fatal(err)
	}
	<-checking
	if err := w.heldMod("b", mv); kindOf(err) != node.ErrUnavailable {
		t.Errorf("before it is checked: %v, want ErrUnavailable", err)
	}
	close(rest)
	waitFor(t, "it to be checked", func() bool { return w.heldMod("b", mv) == nil })
}

// All versions that came with different content to different sites are reported by
// both, also if they came at once.
func TestConflictsOfManyAreReported(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	w := newWorld(t, defaults(up))
	w.join("b", "a", false)
	w.close("b")
	mvs := up.addMany(30, "nosum.example/m")
	fill := func(at string) {
		for _, mv := range mvs {
			if _, err := readZip(t, repo(t, w.sites[at], "all"), mv); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill("a")
	w.close("a")
	w.open("b").DoNotAsk()
	for _, mv := range mvs {
		up.add(mv.Path, mv.Version, goMod(mv.Path).with("x.go", "package x"))
	}
	fill("b")
	w.open("a")
	w.equal()
	for _, at := range []string{"a", "b"} {
		w.until(at, "reports all conflicts", func(node.Replication) bool { return w.status(at, at).Conflicts == len(mvs) })
	}
}

// What a site took while no checksum database applied counts no more than what
// another site states once one does: all sites serve what that proves, and each
// blames the site that stated the zip.
func TestFillsFromBeforeTheDatabaseAreChecked(t *testing.T) {
	t.Parallel()
	const atA, atBoth = "nosum.example/a", "nosum.example/both"
	up := newProxy(t)
	evil := func(path string) tree { return goMod(path).with("evil.go", "package evil\n") }
	ofA, ofBoth := up.add(atA, "v1.0.0", evil(atA)), up.add(atBoth, "v1.0.0", evil(atBoth))
	w := newWorld(t, defaults(up))
	w.join("b", "a", false)
	a := w.sites["a"]
	if _, err := readZip(t, repo(t, a, "all"), ofA); err != nil {
		t.Fatal(err)
	}
	if _, err := repo(t, a, "all").Mod(t.Context(), ofBoth); err != nil { // a states the go.mod, b the zip
		t.Fatal(err)
	}
	w.equal()
	if _, err := readZip(t, repo(t, w.sites["b"], "all"), ofBoth); err != nil {
		t.Fatal(err)
	}
	up.add(atA, "v1.0.0", goMod(atA)) // as the database has them
	up.add(atBoth, "v1.0.0", goMod(atBoth))
	if _, err := a.ChangeRepo(t.Context(), op, name("public"), node.RepoChange{UseSumdb: patterns("nosum.example")}); err != nil {
		t.Fatal(err)
	}
	w.equal()
	for _, at := range []string{"a", "b"} {
		for _, mv := range []module.Version{ofA, ofBoth} {
			if got, err := readZip(t, repo(t, w.sites[at], "all"), mv); err != nil || !bytes.Equal(got, zipOf(t, mv, goMod(mv.Path))) {
				t.Errorf("%v at %s: %d bytes, %v", mv, at, len(got), err)
			}
		}
	}
	for _, at := range []string{"a", "b"} {
		w.reported(at, ofA.String(), "site a states", "it is refused")
		w.reported(at, ofBoth.String(), "site b states", "it is refused")
	}
}
