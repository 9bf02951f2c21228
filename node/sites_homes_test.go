package node_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

func mv(path, version string) module.Version { return module.Version{Path: path, Version: version} }

// isKind fails the test unless err is of a kind and its text has all parts.
func isKind(t testing.TB, err, kind error, parts ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error %v, want one of kind %q", err, kind)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}

// What the registry's home decides can be asked for anywhere, is read back at
// once there, and is refused there in the home's words.
func TestDecisionsAreMadeAtHome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	b := w.join("b", "a", true)
	info, err := b.CreateRepo(t.Context(),
		op, node.NewRepo{Name: name("team"), Kind: events.Local,
			Settings: events.RepoSettings{Owns: []events.Pattern{pattern("team.example/**")}}})

	if err != nil {
		t.Fatal(err)
	}
	if info.Home != site("b") || info.ID.Site != site("a") {
		t.Errorf("the repository's home is %v, its id %v", info.Home, info.ID)
	}
	if _, err := b.CreateRepo(t.Context(), op, node.NewRepo{Name: name("team"), Kind: events.Local}); !errors.Is(err, node.ErrExists) {
		t.Errorf("a second one: %v", err)
	}
	text := "of team"
	if info, err = b.ChangeRepo(t.Context(), op, name("team"), node.RepoChange{Description: &text}); err != nil || info.Description != text {
		t.Errorf("changed: %v, %v", info.Description, err)
	}
	// The home of its versions is b: what a publishes there, b decides.
	v := mv("team.example/x", "v1.0.0")
	got, err := w.sites["a"].Publish(t.Context(), op, node.Publication{Repo: name("team"), Version: v, Zip: zipReader(t, v, goMod(v.Path))})
	if err != nil || got.Position.Site != site("b") {
		t.Fatalf("published at a: %v, %v", got.Position, err)
	}
	_, err = w.sites["a"].Publish(t.Context(), op, node.Publication{Repo: name("team"), Version: v, Zip: zipReader(t, v, goMod(v.Path).with("x.go", "package x"))})
	isKind(t, err, node.ErrExists, "site b")
	w.publishAtOnce("b", mv("corp.example/x", "v1.0.0"))
	if err := b.DeleteRepo(t.Context(), op, name("team"), "done"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Repository(op, name("team")); !errors.Is(err, node.ErrNotFound) {
		t.Errorf("deleted, and read at b: %v", err)
	}
	if _, err := b.RestoreRepo(t.Context(), op, name("team")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Block(t.Context(), op, events.VersionPatternOf(v), "bad"); err != nil {
		t.Fatal(err)
	}
	w.equal()
	if _, err := w.zip("a", "team", v); !errors.Is(err, node.ErrForbidden) {
		t.Errorf("blocked at b, read at a: %v", err)
	}
	if err := b.Unblock(t.Context(), op, events.VersionPatternOf(v)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.zip("b", "team", v); err != nil {
		t.Errorf("unblocked: %v", err)
	}
	w.close("a")
	_, err = b.CreateRepo(t.Context(), op, node.NewRepo{Name: name("more"), Kind: events.Local})
	isKind(t, err, node.ErrUnavailable, "site a", "last heard")
	if _, err := w.zip("b", "team", v); err != nil {
		t.Errorf("read while the home is gone: %v", err)
	}
	if _, err := b.Publish(t.Context(), op, node.Publication{Repo: name("team"), Version: mv(v.Path, "v1.1.0"), Zip: zipReader(t, mv(v.Path, "v1.1.0"), goMod(v.Path))}); err != nil {
		t.Errorf("published at its home while the registry's is gone: %v", err)
	}
}

// A home that agrees hands over; what it decided stays, and the next one decides.
func TestHomeMovesByAgreement(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	v := mv("corp.example/x", "v1.0.0")
	if _, err := w.publish("a", v, goMod(v.Path)); err != nil {
		t.Fatal(err)
	}
	m, err := w.sites["b"].MoveHome(t.Context(), op, "local", site("b"), false, "") // asked at b, decided at a
	if err != nil || m.From != site("a") || m.At.Site != site("a") {
		t.Fatalf("moved: %+v, %v", m, err)
	}
	for _, at := range []string{"a", "b"} {
		got, err := w.publish(at, mv(v.Path, "v1.1.0"), goMod(v.Path))
		if err != nil || got.Position.Site != site("b") {
			t.Fatalf("at %s: %v, %v", at, got.Position, err)
		}
		_, err = w.publish(at, v, goMod(v.Path).with("x.go", "package x"))
		isKind(t, err, node.ErrExists)
	}
	if _, err := w.sites["a"].MoveHome(t.Context(), op, "", site("b"), false, ""); err != nil {
		t.Fatal(err)
	}
	if info, err := w.sites["a"].CreateRepo(t.Context(), op, node.NewRepo{Name: name("team"), Kind: events.Local}); err != nil || info.ID.Site != site("b") {
		t.Errorf("created after the registry's home has moved: %v, %v", info.ID, err)
	}
	w.equal()
}

// A home is lost with entries that nobody has; another site is made home, and
// publishes. Then the old home comes back: what does not conflict is kept, what
// does is reported, and all sites agree.
func TestForcedHomeMove(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	w.join("c", "a", false)
	if _, err := w.sites["a"].MoveHome(t.Context(), op, "local", site("b"), false, ""); err != nil {
		t.Fatal(err)
	}
	x := "corp.example/x"
	if _, err := w.publish("c", mv(x, "v1.0.0"), goMod(x)); err != nil {
		t.Fatal(err)
	}
	w.equal()
	w.close("a")
	w.close("c")
	for _, v := range []string{"v1.1.0", "v1.2.0"} { // nobody else hears of these
		if _, err := w.publish("b", mv(x, v), goMod(x).with("b.go", "package x")); err != nil {
			t.Fatal(err)
		}
	}
	w.close("b")
	w.open("a")
	w.open("c")
	w.until("a", "connected to c and taking writes", func(r node.Replication) bool { return r.Sites[2].Connected && self(r).Writable })
	_, err := w.publishPatiently("c", mv(x, "v1.1.0"), goMod(x))
	isKind(t, err, node.ErrUnavailable, "site b")
	m, err := w.sites["a"].MoveHome(t.Context(), op, "local", site("c"), true, "b burnt down")
	if err != nil || m.Until == nil {
		t.Fatalf("forced: %+v, %v", m, err)
	}
	if _, err := w.publishPatiently("a", mv(x, "v1.1.0"), goMod(x).with("c.go", "package x // c")); err != nil {
		t.Fatalf("publish at the new home: %v", err)
	}
	w.open("b")
	kept := func(r node.Replication) bool {
		data, err := w.zip("b", "local", mv(x, "v1.2.0"))
		return err == nil && string(data) == string(zipOf(t, mv(x, "v1.2.0"), goMod(x).with("b.go", "package x")))
	}
	w.until("b", "keeping what does not conflict", kept)
	w.equal()
	for _, at := range []string{"a", "b", "c"} {
		data, err := w.zip(at, "local", mv(x, "v1.1.0"))
		if err != nil || string(data) != string(zipOf(t, mv(x, "v1.1.0"), goMod(x).with("c.go", "package x // c"))) {
			t.Errorf("v1.1.0 at %s is not what the new home published: %v", at, err)
		}
	}
	w.until("c", "reporting the conflict", func(r node.Replication) bool {
		for _, s := range r.Sites {
			if s.Self && s.Conflicts > 0 && strings.Contains(strings.Join(s.Reasons, "\n"), "v1.1.0") {
				return true
			}
		}
		return false
	})
}

// publishPatiently publishes as soon as the site takes writes.
func (w *world) publishPatiently(at string, v module.Version, files tree) (node.Published, error) {
	w.t.Helper()
	w.until(at, "taking writes", func(r node.Replication) bool {
		for _, s := range r.Sites {
			if s.Self {
				return s.Writable
			}
		}
		return false
	})
	return w.publish(at, v, files)
}

// The registry's home is gone for good, with its disk: a fourth site joins by
// another member, and gets its log from the others; with the recovery key the
// registry gets another home.
func TestRegistryHomeIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	w.join("c", "a", false)
	v := mv("corp.example/x", "v1.0.0")
	if _, err := w.publish("a", v, goMod(v.Path)); err != nil {
		t.Fatal(err)
	}
	inv, err := w.sites["b"].Invite(t.Context(), op, site("d"), time.Hour, node.RightsNone)
	if err != nil {
		t.Fatal(err)
	}
	w.equal()
	recovery, err := os.ReadFile(w.path("a") + "/keys/recovery.key")
	if err != nil {
		t.Fatal(err)
	}
	w.close("a")
	if err := os.RemoveAll(w.path("a")); err != nil {
		t.Fatal(err)
	}
	w.until("b", "without a", func(r node.Replication) bool { return !r.Sites[0].Connected })
	_, err = w.sites["b"].MoveHome(t.Context(), op, "", site("b"), true, "fire")
	isKind(t, err, node.ErrForbidden, "recovery.key")
	if err := os.WriteFile(w.path("b")+"/keys/recovery.key", recovery, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.sites["b"].MoveHome(t.Context(), op, "", site("b"), true, "fire"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.sites["b"].MoveHome(t.Context(), op, "local", site("c"), true, "fire"); err != nil {
		t.Fatal(err)
	}
	w.opts["d"] = node.Options{Logger: quiet(t, "d"), PeerListen: anyPort()}
	if err := node.Join(t.Context(), inv.Token, w.path("d"), w.opts["d"]); err != nil {
		t.Fatal(err)
	}
	w.open("d")
	if _, err := w.publishPatiently("d", mv(v.Path, "v1.1.0"), goMod(v.Path)); err != nil {
		t.Fatal(err)
	}
	w.until("d", "equal to b and c", func(r node.Replication) bool {
		return r.Agreement == node.Equal && r.Sites[1].Connected && r.Sites[2].Connected
	})
	if _, err := w.zip("d", "local", v); err != nil {
		t.Errorf("what the lost site published, at the new one: %v", err)
	}
	if _, err := w.sites["b"].RemoveSite(t.Context(), op, site("a"), "fire"); err != nil {
		t.Fatal(err)
	}
	w.equal()
}
