package node_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

// holdsBytes reports whether any file of a data directory has the text in it.
func holdsBytes(t testing.TB, dir, text string) (where string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(file)
		if err == nil && bytes.Contains(data, []byte(text)) {
			where = file
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return where
}

// A purge takes the bytes away at all sites, keeps hash and reason, and neither a
// fetch nor a publication brings them back; verify has nothing to complain of.
func TestPurge(t *testing.T) {
	t.Parallel()
	const secret = "k3y-that-leaked-7f1a" // stored, not compressed: zipOf's files are short
	up := newProxy(t)
	w := newWorld(t, defaults(up))
	w.join("b", "a", false)
	mv := up.add("pub.example/leak", "v1.0.0", goMod("pub.example/leak").with("m.go", "package m // "+secret))
	for _, s := range []string{"a", "b"} {
		if _, err := readZip(t, repo(t, w.sites[s], "all"), mv); err != nil {
			t.Fatal(err)
		}
	}
	own := module.Version{Path: "corp.example/leak", Version: "v1.0.0"}
	if _, err := publish(t, w.sites["a"], own.Path, own.Version, goMod(own.Path).with("m.go", "package m // "+secret)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "b to hold what was published", func() bool {
		_, err := readZip(t, repo(t, w.sites["b"], "all"), own)
		return err == nil
	})
	blobsHold := func(s string) string { return holdsBytes(t, filepath.Join(w.path(s), "blobs"), "m.go") }
	for _, s := range []string{"a", "b"} {
		if blobsHold(s) == "" {
			t.Fatalf("%s holds nothing before", s)
		}
	}
	for _, p := range []struct {
		mv   module.Version
		repo string
	}{{mv, "public"}, {own, "local"}} {
		got, err := w.sites["b"].Purge(t.Context(), op, p.mv, "a key leaked") // asked at b, decided at a
		if err != nil || len(got.Repos) != 1 || got.Repos[0] != name(p.repo) {
			t.Fatalf("purge %v: %+v, %v", p.mv, got, err)
		}
	}
	for _, s := range []string{"a", "b"} {
		n := w.sites[s]
		waitFor(t, "the bytes to be gone at "+s, func() bool { return blobsHold(s) == "" })
		r := repo(t, n, "all")
		for _, mv := range []module.Version{mv, own} {
			if _, err := readZip(t, r, mv); kindOf(err) != node.ErrForbidden || !strings.Contains(err.Error(), "a key leaked") {
				t.Errorf("%s: zip of %v: %v", s, mv, err)
			}
			if _, err := r.Mod(t.Context(), mv); kindOf(err) != node.ErrForbidden {
				t.Errorf("%s: go.mod of %v: %v", s, mv, err)
			}
			if got := listed(t, r, mv.Path); strings.Contains(got, "v1.0.0") {
				t.Errorf("%s: list of %s: %s", s, mv.Path, got)
			}
			if err := n.Unblock(t.Context(), op, versionPattern(t, mv.Path+"@"+mv.Version)); kindOf(err) != node.ErrForbidden {
				t.Errorf("%s: the block of a purge was taken back: %v", s, err)
			}
		}
		if v, err := n.Verify(t.Context(), op, func(string, uint64) {}); err != nil || !v.OK() {
			t.Errorf("%s: verify: %q, %v", s, v.Problems, err)
		}
	}
	if _, err := publish(t, w.sites["a"], own.Path, own.Version, goMod(own.Path).with("m.go", "package m // "+secret)); kindOf(err) != node.ErrForbidden {
		t.Errorf("published again: %v", err)
	}
	for _, s := range []string{"a", "b"} {
		if where := blobsHold(s); where != "" {
			t.Errorf("%s holds it again, in %s", s, filepath.Base(where))
		}
	}
	if _, err := w.sites["a"].Purge(t.Context(), op, mv, "again"); err != nil {
		t.Errorf("purged twice: %v", err)
	}
	if _, err := w.sites["a"].Purge(t.Context(), op, module.Version{Path: "pub.example/none", Version: "v1.0.0"}, "x"); kindOf(err) != node.ErrNotFound {
		t.Errorf("purge of what is nowhere: %v", err)
	}
}

// A purge holds in all repositories: where another block covers the version at that
// moment, where nobody has fetched it yet, and where another site fetched it before
// it heard of the purge.
func TestPurgeHoldsEverywhere(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	second := defaults(up)[1]
	second.Name = name("second")
	third := second
	third.Name = name("third")
	w := newWorld(t, append(defaults(up), second, third))
	w.join("b", "a", false)
	mv := up.add("pub.example/leak", "v1.0.0", goMod("pub.example/leak").with("m.go", "package m\n"))
	a := w.sites["a"]
	if _, err := readZip(t, repo(t, a, "public"), mv); err != nil {
		t.Fatal(err)
	}
	w.close("a")
	if _, err := readZip(t, repo(t, w.sites["b"], "second"), mv); err != nil {
		t.Fatal(err)
	}
	w.close("b")
	a = w.open("a")
	a.DoNotAsk()
	if _, err := a.Block(t.Context(), op, versionPattern(t, "pub.example/**"), "for now"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Purge(t.Context(), op, mv, "a key leaked"); err != nil {
		t.Fatal(err)
	}
	if err := a.Unblock(t.Context(), op, versionPattern(t, "pub.example/**")); err != nil {
		t.Fatal(err)
	}
	w.open("b")
	for _, s := range []string{"a", "b"} {
		waitFor(t, "the bytes to be gone at "+s, func() bool { return holdsBytes(t, filepath.Join(w.path(s), "blobs"), "m.go") == "" })
		if got := listed(t, repo(t, w.sites[s], "local"), mv.Path); got != node.ErrNotFound.Error() {
			t.Errorf("%s: list in a repository where it never was: %s", s, got)
		}
		for _, in := range []string{"public", "second", "third"} {
			waitFor(t, s+" to refuse it in "+in, func() bool {
				_, err := readZip(t, repo(t, w.sites[s], in), mv)
				return kindOf(err) == node.ErrForbidden && strings.Contains(err.Error(), "a key leaked")
			})
		}
	}
}

// A purge that a crash kept from being carried out is carried out at the next
// start.
func TestPurgeIsCarriedOutAfterACrash(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	mv := up.add("pub.example/leak", "v1.0.0", goMod("pub.example/leak").with("m.go", "package m\n"))
	n, dir := newNode(t, up)
	if _, err := readZip(t, repo(t, n, "all"), mv); err != nil {
		t.Fatal(err)
	}
	if err := n.PurgeWithoutCarryingOut(t.Context(), mv); err != nil {
		t.Fatal(err)
	}
	n.Close()
	if where := holdsBytes(t, filepath.Join(dir, "blobs"), "m.go"); where == "" {
		t.Fatal("it was carried out already")
	}
	openNode(t, dir)
	waitFor(t, "the bytes to be gone", func() bool { return holdsBytes(t, filepath.Join(dir, "blobs"), "m.go") == "" })
}

// A purge that the log has, and the index had not, is carried out as well: also
// where the index takes it up before a restart.
func TestPurgeIsCarriedOutThatTheIndexMissed(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{true, false} {
		n, dir := newNode(t, newProxy(t))
		x := mv("corp.example/leak", "v1.0.0")
		if _, err := publish(t, n, x.Path, x.Version, goMod(x.Path).with("m.go", "package m\n")); err != nil {
			t.Fatal(err)
		}
		if err := n.PurgeWithoutAnswer(t.Context(), name("local"), x); err != nil {
			t.Fatal(err)
		}
		if !restart {
			if _, err := n.Block(t.Context(), op, versionPattern(t, "pub.example/**"), "another entry"); err != nil {
				t.Fatal(err)
			}
		}
		n.Close()
		openNode(t, dir)
		waitFor(t, "the bytes to be gone", func() bool { return holdsBytes(t, filepath.Join(dir, "blobs"), "m.go") == "" })
	}
}

// Removing what is cached keeps the hash: what comes again must be the same, else
// it is drift, which is reported and not followed.
func TestEvictionAndDrift(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	mv := up.add("nosum.example/m", "v1.0.0", goMod("nosum.example/m").with("m.go", "package m\n"))
	other := up.add("nosum.example/m", "v1.1.0", goMod("nosum.example/m").with("m.go", "package m // 1\n"))
	n, dir := newNode(t, up)
	r := repo(t, n, "all")
	for _, v := range []module.Version{mv, other} {
		if _, err := readZip(t, r, v); err != nil {
			t.Fatal(err)
		}
	}
	e, err := n.Evict(t.Context(), op, name("public"), versionPattern(t, "nosum.example/**@v1.0.*"))
	if err != nil || e.Versions != 1 || e.Blobs != 1 || e.Bytes == 0 {
		t.Fatalf("evicted %+v, %v", e, err)
	}
	if v, err := n.Verify(t.Context(), op, func(string, uint64) {}); err != nil || !v.OK() {
		t.Errorf("verify: %+v, %v", v, err)
	}
	before := up.count("v1.0.0.zip")
	if _, err := readZip(t, r, mv); err != nil || up.count("v1.0.0.zip") != before+1 {
		t.Errorf("fetched again: %v, asked %d times", err, up.count("v1.0.0.zip")-before)
	}
	if _, err := n.Evict(t.Context(), op, name("public"), versionPattern(t, "nosum.example/m")); err != nil {
		t.Fatal(err)
	}
	tampered := up.trees[mv].with("m.go", "package m // moved tag\n")
	up.add(mv.Path, mv.Version, tampered)
	for range 2 {
		if _, err := readZip(t, r, mv); err == nil || kindOf(err) == node.ErrNotFound {
			t.Errorf("another tree was taken: %v", err)
		}
	}
	drifts, err := n.Drifts(op)
	if err != nil || len(drifts) != 1 || drifts[0].Module != mv.Path || drifts[0].Recorded.ZipH1 == drifts[0].Found.ZipH1 {
		t.Errorf("drifts %+v, %v", drifts, err)
	}
	for _, when := range []string{"at once", "after a restart"} {
		st, err := n.Status(op)
		if err != nil || !strings.Contains(strings.Join(st.Replication.Sites[0].Reasons, " "), "drift") {
			t.Errorf("%s status says %q, %v", when, st.Replication.Sites[0].Reasons, err)
		}
		n.Close()
		n = openNode(t, dir)
	}
	r = repo(t, n, "all")
	up.add(mv.Path, mv.Version, goMod("nosum.example/m").with("m.go", "package m\n"))
	if _, err := readZip(t, r, mv); err != nil {
		t.Errorf("the right tree again: %v", err)
	}
	if drifts, err := n.Drifts(op); err != nil || len(drifts) != 0 {
		t.Errorf("drifts that are over: %+v, %v", drifts, err)
	}
	for what, err := range map[string]error{
		"a local repository": func() error {
			_, err := n.Evict(t.Context(), op, name("local"), versionPattern(t, "**"))
			return err
		}(),
		"a virtual repository": func() error {
			_, err := n.Evict(t.Context(), op, name("all"), versionPattern(t, "**"))
			return err
		}(),
	} {
		if kindOf(err) != node.ErrInvalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := n.Evict(t.Context(), op, name("public"), versionPattern(t, "none.example/**")); kindOf(err) != node.ErrNotFound {
		t.Errorf("nothing matches: %v", err)
	}
}

// What two sites were given differently is served by neither, until the registry's
// home settles which holds.
func TestSettle(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	w := newWorld(t, defaults(up))
	w.join("b", "a", false)
	mv := up.add("nosum.example/m", "v1.0.0", goMod("nosum.example/m").with("m.go", "package m // first\n"))
	w.close("b")
	if _, err := readZip(t, repo(t, w.sites["a"], "all"), mv); err != nil {
		t.Fatal(err)
	}
	firstZip := zipOf(t, mv, up.trees[mv])
	w.close("a")
	w.open("b").DoNotAsk()
	up.add(mv.Path, mv.Version, goMod("nosum.example/m").with("m.go", "package m // second\n"))
	if _, err := readZip(t, repo(t, w.sites["b"], "all"), mv); err != nil {
		t.Fatal(err)
	}
	w.open("a")
	for _, s := range []string{"a", "b"} {
		waitFor(t, "the conflict to show at "+s, func() bool {
			_, err := readZip(t, repo(t, w.sites[s], "all"), mv)
			return kindOf(err) == node.ErrForbidden
		})
	}
	for _, s := range []string{"a", "b"} {
		w.until(s, "showing the conflict", func(r node.Replication) bool { return self(r).Conflicts == 1 && says(self(r), "registry-node settle") })
		w.close(s)
		w.open(s)
		if r := w.status(s, s); r.Conflicts != 1 || !says(r, "registry-node settle") { // it is no less of one
			t.Errorf("%s after a restart: %+v", s, r)
		}
	}
	w.equal()
	h1, err := zipH1(firstZip)
	if err != nil {
		t.Fatal(err)
	}
	zip, err := events.ParseH1(h1)
	if err != nil {
		t.Fatal(err)
	}
	mod := events.HashMod(up.mod(mv))
	if err := w.sites["b"].Settle(t.Context(), op, name("public"), mv, mod, events.HashMod([]byte("x")), "wrong"); kindOf(err) != node.ErrInvalid {
		t.Errorf("settled on what nobody states: %v", err)
	}
	if err := w.sites["b"].Settle(t.Context(), op, name("public"), mv, mod, zip, "the tag was moved"); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"a", "b"} {
		waitFor(t, "the settled content at "+s, func() bool {
			got, err := readZip(t, repo(t, w.sites[s], "all"), mv)
			return err == nil && bytes.Equal(got, firstZip)
		})
		w.until(s, "showing no conflict any more", func(r node.Replication) bool {
			return self(r).Conflicts == 0 && !says(self(r), "registry-node settle")
		})
	}
}
