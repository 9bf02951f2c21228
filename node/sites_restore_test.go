package node_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/index"
)

// What a site takes back of its own log asks as much of it as an entry of another
// site: the blobs that its backup lacks are wanted, by its status too, and fetched
// without being asked for, and what was purged meanwhile is purged here as well.
func TestRestoredSiteFetchesAndPurges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	w.join("c", "a", false)
	leak, x := mv("corp.example/leak", "v1.0.0"), mv("corp.example/x", "v1.0.0")
	if _, err := w.publish("a", leak, goMod(leak.Path).with("m.go", "package m\n")); err != nil {
		t.Fatal(err)
	}
	w.close("a")
	w.save("a")
	w.open("a")
	files := goMod(x.Path).with("x.go", noise(1000))
	published, err := w.publishPatiently("a", x, files)
	if err != nil {
		t.Fatal(err)
	}
	before := events.Mark{Epoch: 1, Seq: published.At.Mark.Seq - 1}
	info := buildInfo("1", "2026-01-01T00:00:00.000+0000")
	recordBuild(t, w.sites["a"], info)
	if _, err := w.sites["a"].Purge(t.Context(), op, leak, "a key leaked"); err != nil {
		t.Fatal(err)
	}
	data, build := zipOf(t, x, files), []byte(info)
	w.equal()
	for _, at := range []string{"b", "c"} {
		w.until(at, "holding all", func(node.Replication) bool { return heldFile(t, w.path(at), data) && heldFile(t, w.path(at), build) })
	}
	var giveBack []func()
	for _, at := range []string{"b", "c"} {
		for _, blob := range [][]byte{data, build} {
			giveBack = append(giveBack, hide(t, blobFile(w.path(at), blob)))
		}
	}
	w.close("a")
	w.restore("a")
	if holdsBytes(t, filepath.Join(w.path("a"), "blobs"), "m.go") == "" {
		t.Fatal("the backup does not hold what is purged")
	}
	w.open("a")
	w.until("a", "missing two blobs", func(r node.Replication) bool {
		return self(r).Writable && self(r).BlobsMissing == 2 && self(r).Logs[site("a")].Blobs == before
	})
	for _, put := range giveBack {
		put()
	}
	w.until("a", "holding all", func(r node.Replication) bool {
		return self(r).BlobsMissing == 0 && heldFile(t, w.path("a"), data) && heldFile(t, w.path("a"), build)
	})
	waitFor(t, "what was purged to be gone", func() bool {
		return holdsBytes(t, filepath.Join(w.path("a"), "blobs"), "m.go") == ""
	})
	if v, err := w.sites["a"].Verify(t.Context(), op, func(string, uint64) {}); err != nil || !v.OK() {
		t.Errorf("verify: %v, %v", v, err)
	}
	w.equal()
}

// hide takes a file away, until put is called.
func hide(t *testing.T, file string) (put func()) {
	t.Helper()
	if err := os.Rename(file, file+".hidden"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Rename(file+".hidden", file); err != nil {
			t.Error(err)
		}
	}
}

// Entries that an older version of a node had to leave ask the same of it when an
// upgraded one applies them, as if they had just come: as it finds them, or as it
// makes its index anew.
func TestUpgradedSiteFetchesAndPurges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	w.join("c", "a", false)
	leak, x := mv("corp.example/leak", "v1.0.0"), mv("corp.example/x", "v1.0.0")
	if _, err := w.publish("a", leak, goMod(leak.Path).with("m.go", "package m\n")); err != nil {
		t.Fatal(err)
	}
	w.equal()
	leaked := func() bool { return holdsBytes(t, filepath.Join(w.path("b"), "blobs"), "m.go") != "" }
	waitFor(t, "b to hold the blob", leaked)
	w.close("b")
	known := lastSeq(t, w.sites["a"])
	files := goMod(x.Path).with("x.go", noise(1000))
	if _, err := w.publish("a", x, files); err != nil {
		t.Fatal(err)
	}
	if _, err := w.sites["a"].Purge(t.Context(), op, leak, "a key leaked"); err != nil {
		t.Fatal(err)
	}
	var news []events.Entry
	for _, e := range w.logAt("a", "a") {
		if e.Position.Mark.Seq > known {
			news = append(news, e)
		}
	}
	old := keepEntries(t, filepath.Join(w.path("b"), "index", "1"), news)
	anew := filepath.Join(t.TempDir(), "index")
	if err := index.Create(anew, w.sites["a"].Registry()); err != nil {
		t.Fatal(err)
	}
	made := openIndex(t, anew)
	if err := w.sites["c"].CopyLogs(t.Context(), old, made); err != nil {
		t.Fatal(err)
	}
	for _, space := range []string{"wants", "purges"} {
		if rows(t, made.Local(space)) == 0 {
			t.Errorf("an index made anew has no %s of what it applies first", space)
		}
	}
	if err := errors.Join(old.Close(), made.Close()); err != nil {
		t.Fatal(err)
	}
	w.close("a")
	w.close("c")
	w.open("b")
	if s := w.status("b", "b"); s.BlobsMissing != 1 || s.Logs[site("a")].Seq != news[len(news)-1].Position.Mark.Seq {
		t.Errorf("upgraded: %+v", s)
	}
	waitFor(t, "what was purged to be gone", func() bool { return !leaked() })
	w.open("a")
	w.until("b", "holding all", func(r node.Replication) bool {
		return self(r).BlobsMissing == 0 && heldFile(t, w.path("b"), zipOf(t, x, files))
	})
}

// keepEntries stores entries as a version does that knows none of their types.
func keepEntries(t *testing.T, dir string, entries []events.Entry) *index.Index {
	t.Helper()
	x := openIndex(t, dir)
	txn := x.Begin(entries[0].Position.Site)
	for _, e := range entries {
		e.Events = slices.Clone(e.Events)
		for i := range e.Events {
			e.Events[i].Body = nil
		}
		if err := txn.Keep(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := txn.Commit(true); err != nil {
		t.Fatal(err)
	}
	return x
}

func openIndex(t *testing.T, dir string) *index.Index {
	t.Helper()
	x, err := index.Open(dir, index.Options{Logger: quiet(t, "index")})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func rows(t *testing.T, l *index.Local) (n int) {
	t.Helper()
	for _, err := range l.All("") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}
