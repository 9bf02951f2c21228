package node_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/node"
)

// save copies a site's data directory, and restore puts the copy back: what a
// backup from then would.
func (w *world) save(name string) {
	w.t.Helper()
	if err := os.CopyFS(w.path(name+".saved"), os.DirFS(w.path(name))); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) restore(name string) {
	w.t.Helper()
	if err := os.RemoveAll(w.path(name)); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(w.path(name+".saved"), w.path(name)); err != nil {
		w.t.Fatal(err)
	}
}

func self(r node.Replication) node.SiteStatus {
	for _, s := range r.Sites {
		if s.Self {
			return s
		}
	}
	return node.SiteStatus{}
}

func says(s node.SiteStatus, text string) bool {
	return strings.Contains(strings.Join(s.Reasons, "\n"), text)
}

// A site is restored from an old backup: before it writes it takes back what the
// others have seen of its log, and no place of it is used twice.
func TestRestoredSiteTakesItsLogBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	x := "corp.example/x"
	if _, err := w.publish("a", mv(x, "v1.0.0"), goMod(x)); err != nil {
		t.Fatal(err)
	}
	w.close("a")
	w.save("a")
	w.open("a")
	var last node.Published
	for _, v := range []string{"v1.1.0", "v1.2.0", "v1.3.0"} {
		p, err := w.publishPatiently("a", mv(x, v), goMod(x))
		if err != nil {
			t.Fatal(err)
		}
		last = p
	}
	w.equal()
	w.close("a")
	w.restore("a")
	w.open("a")
	p, err := w.publishPatiently("a", mv(x, "v1.4.0"), goMod(x))
	if err != nil {
		t.Fatal(err)
	}
	if p.Position.Mark.Seq != last.Position.Mark.Seq+1 || p.Position.Mark.Epoch != 1 {
		t.Errorf("the next entry is %v, after %v", p.Position, last.Position)
	}
	w.equal()
	for _, v := range []string{"v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0", "v1.4.0"} {
		if _, err := w.zip("a", "local", mv(x, v)); err != nil {
			t.Errorf("%s at a: %v", v, err)
		}
	}
	w.until("a", "saying so", func(r node.Replication) bool { return says(self(r), "took them back from site b") })
}

// A site is restored from an old backup and writes while nobody can tell it: its
// log forks. All who see it freeze it with an alarm, and a new epoch ends it.
func TestForkFreezesUntilANewEpoch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	w.join("c", "a", false)
	x := "corp.example/x"
	w.equal()
	w.close("a")
	w.save("a")
	w.open("a")
	if _, err := w.publishPatiently("a", mv(x, "v1.0.0"), goMod(x)); err != nil {
		t.Fatal(err)
	}
	w.equal()
	w.close("a")
	w.close("b")
	w.close("c")
	w.restore("a")
	w.open("a")
	if _, err := w.publishPatiently("a", mv(x, "v1.1.0"), goMod(x).with("x.go", "package x")); err != nil {
		t.Fatal(err)
	}
	w.open("b")
	w.open("c")
	for _, at := range []string{"b", "c"} {
		w.until(at, "alarmed", func(r node.Replication) bool { return says(self(r), "two different entries") && self(r).Conflicts > 0 })
	}
	w.until("a", "frozen", func(r node.Replication) bool { return !self(r).Writable && says(self(r), "epoch new") })
	_, err := w.publish("a", mv(x, "v1.2.0"), goMod(x))
	isKind(t, err, node.ErrUnavailable, "two different histories")
	if _, err := w.zip("b", "local", mv(x, "v1.0.0")); err != nil {
		t.Errorf("what was acknowledged, while the log is frozen: %v", err)
	}
	pos, err := w.sites["a"].NewEpoch(t.Context(), op)
	if err != nil || pos.Mark.Epoch != 2 {
		t.Fatalf("new epoch at %v: %v", pos, err)
	}
	w.equal()
	if _, err := w.publish("a", mv(x, "v1.2.0"), goMod(x)); err != nil {
		t.Errorf("publish after it: %v", err)
	}
	w.equal()
	for _, at := range []string{"a", "b", "c"} {
		if data, err := w.zip(at, "local", mv(x, "v1.0.0")); err != nil || !bytes.Equal(data, zipOf(t, mv(x, "v1.0.0"), goMod(x))) {
			t.Errorf("what all had seen, at %s: %v", at, err)
		}
	}
}

// A site that is removed counts up to where the registry's home had it; its name
// can't be used again, and its node says so.
func TestRemovedSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	w.join("c", "a", false)
	x := mv("example.org/x", "v1.0.0")
	if _, err := w.sites["b"].Block(t.Context(), op, events.VersionPatternOf(x), "bad"); err != nil {
		t.Fatal(err)
	}
	w.equal()
	for key, text := range map[string]string{"clock b": "the clock of b is wrong", "source b a": "b gives what is refused", "lost a/1/7/0": "a version was lost"} {
		w.sites["c"].Raise(key, text)
	}
	_, err := w.sites["c"].RemoveSite(t.Context(), op, site("b"), "closed")
	isKind(t, err, node.ErrForbidden, "site a")
	info, err := w.sites["a"].RemoveSite(t.Context(), op, site("b"), "closed")
	if err != nil || info.State != "left" {
		t.Fatalf("%+v, %v", info, err)
	}
	w.until("c", "without b", func(r node.Replication) bool {
		return len(r.Sites) == 2 && !says(self(r), "the clock of b") && !says(self(r), "b gives")
	})
	if !says(w.status("c", "c"), "a version was lost") {
		t.Error("trouble of its own is forgotten with that of a site that is removed")
	}
	b := w.sites["b"]
	w.until("b", "taking no writes", func(r node.Replication) bool { return !self(r).Writable && says(self(r), "no member") })
	if _, err := b.Block(t.Context(), op, events.VersionPatternOf(mv(x.Path, "v1.1.0")), "bad"); err == nil {
		t.Error("a removed site takes writes")
	}
	if blocks := must(w.sites["c"].Blocks(op)); len(blocks) != 1 {
		t.Errorf("what it stated before: %v", blocks)
	}
	_, err = w.sites["a"].Invite(t.Context(), op, site("b"), time.Hour, node.RightsNone)
	isKind(t, err, node.ErrExists, "can't be used again")
	_, err = w.sites["a"].RemoveSite(t.Context(), op, site("a"), "")
	isKind(t, err, node.ErrInvalid, "leave")
	w.close("b")
	w.equal()
	// One that leaves by itself keeps all that it wrote.
	if _, err := w.sites["c"].Block(t.Context(), op, events.VersionPatternOf(mv(x.Path, "v1.2.0")), "bad"); err != nil {
		t.Fatal(err)
	}
	if err := w.sites["c"].Leave(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	w.close("c")
	if blocks := must(w.sites["a"].Blocks(op)); len(blocks) != 2 {
		t.Errorf("what they stated before: %v", blocks)
	}
	err = w.sites["a"].Leave(t.Context(), op)
	isKind(t, err, node.ErrInvalid, "home move")
	if _, err := w.publish("a", mv("corp.example/y", "v1.0.0"), goMod("corp.example/y")); err != nil {
		t.Errorf("after a refused leave: %v", err)
	}
}

// A version that this site has not received, and another has, is read from there;
// what nobody can know yet is unavailable, never absent.
func TestBehindIsNeverAbsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	w.equal()
	release := w.sites["b"].StopFollowing()
	x := mv("corp.example/x", "v1.0.0")
	files := goMod(x.Path).with("x.go", noise(1000))
	p, err := w.publish("a", x, files)
	if err != nil {
		t.Fatal(err)
	}
	w.until("b", "behind", func(r node.Replication) bool { return self(r).LagEntries > 0 })
	if data, err := w.zip("b", "all", x); err != nil || !bytes.Equal(data, zipOf(t, x, files)) {
		t.Errorf("read at b, which has not received it: %v", err)
	}
	_, err = w.zip("b", "all", mv(x.Path, "v1.1.0"))
	isKind(t, err, node.ErrUnavailable, "try again")
	err = w.sites["b"].AtLeast(t.Context(), p.At.Site, p.At.Mark)
	isKind(t, err, node.ErrUnavailable, "not received")
	r := repo(t, w.sites["b"], "all")
	r.AtLeast(p.At.Site, p.At.Mark)
	_, err = r.List(t.Context(), x.Path)
	isKind(t, err, node.ErrUnavailable)
	if info, err := r.Info(t.Context(), x.Path, x.Version); err != nil || info.Version != x.Version {
		t.Errorf("exact version: %v", err)
	}
	release()
	if err := w.sites["b"].AtLeast(t.Context(), p.At.Site, p.At.Mark); err != nil {
		t.Error(err)
	}
	w.equal()
	_, err = w.zip("b", "all", mv(x.Path, "v1.1.0"))
	isKind(t, err, node.ErrNotFound)
}
