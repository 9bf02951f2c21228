package node_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/node"
	"registry-node/replication"
)

// stall has requests for logs wait until who asks gives up.
func (h *hostile) stall() {
	h.answer("log", func(ctx context.Context, _ events.Site, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
}

// A member that says to hold more of a site's own log, and shows nothing of it,
// holds up neither that site's writes nor its start for ever, and is reported.
func TestClaimOfMoreOfTheOwnLogStopsNoWrites(t *testing.T) {
	t.Parallel()
	w, h := besieged(t, nil)
	h.stall()
	h.claim(site("a"), events.Mark{Epoch: 1, Seq: 1 << 40}, events.DigestOf([]byte("evil")))
	waitFor(t, "b to be asked", func() bool { return h.count("log") > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := w.sites["a"].Block(ctx, op, events.VersionPatternOf(moduleVersion("blocked.example/meanwhile", "")), "a test"); err != nil {
		t.Errorf("a write while b keeps the site waiting: %v", err)
	}
	w.reported("a", "site b says to hold more of this site's log", "does not show an entry that this site signed")
	w.close("c") // so that a has nobody but b to ask
	a := w.sites["a"].PeerAddr().String()
	w.close("a")
	o := w.opts["a"]
	o.PeerListen = a
	w.opts["a"] = o
	n := w.open("a")
	waitFor(t, "site a to take writes", func() bool { return n.Ready() == nil && w.status("a", "a").Writable })
	w.open("c")
	w.connected()
	w.goesOn("v1.0.0")
	h.silent()
	h.state(block("evil.example/after"))
	w.same()
}

// Well-formed, rightly signed events for which a site has no right count nowhere
// and are reported, also if the site promises more of its log for ever.
func TestOverreachCountsNowhere(t *testing.T) {
	t.Parallel()
	w, h := besieged(t, nil)
	local, err := w.sites["a"].Repo(op, name("local"))
	if err != nil {
		t.Fatal(err)
	}
	id := w.repoID("local")
	files := goMod("corp.example/evil")
	mv := moduleVersion("corp.example/evil", "v1.0.0")
	info := []byte(`{"Version":"v1.0.0","Time":"2024-01-02T03:04:05Z"}`)
	bodies := []events.Body{
		events.RepoCreated{Name: name("evil"), Kind: events.Local, Home: h.name},
		events.RepoChanged{Repo: id, Kind: events.Local, Settings: events.RepoSettings{Owns: patterns("evil.example/**")}},
		events.RepoDeleted{Repo: id},
		events.VersionPublished{ModuleVersion: events.ModuleVersion{Repo: id, Module: mv.Path, Version: mv.Version}, Content: events.Content{
			ModH1: events.HashMod([]byte(files["go.mod"])), Info: info, Mod: []byte(files["go.mod"]),
			ZipH1: h1Of(t, zipOf(t, mv, files)), Zip: events.Blob{Digest: events.DigestOf(zipOf(t, mv, files)), Size: int64(len(zipOf(t, mv, files)))},
		}},
		events.HomeCeded{Repo: id, Tenure: 0, To: h.name, After: h.tip().Mark},
		events.HomeForced{Repo: id, Tenure: 0, At: events.Mark{Epoch: 1, Seq: 1}, To: h.name},
		events.HomeForced{Tenure: 0, At: events.Mark{Epoch: 1, Seq: 1}, To: h.name, Signature: make([]byte, 64)},
		events.SiteInvited{Name: site("friend"), Secret: events.DigestOf([]byte("s")), Expires: time.Now().UTC().Add(time.Hour)},
		events.SiteJoined{Name: site("friend"), PublicKey: make([]byte, 32)},
		events.SiteLeft{Name: site("c")},
		events.SiteKey{Name: site("a"), PublicKey: make([]byte, 32)},
		events.FeatureRaised{Level: 1 << 10},
		events.VersionUnblocked{Module: "blocked.example/first", Version: "v1.0.0", Clears: []events.Cleared{{Site: h.name, At: h.tip().Mark}}},
		events.PermissionChanged{Name: "evil", Grant: events.Grant{Principals: []string{"anonymous"}, Repos: []string{"*"}, Actions: []string{"manage"}}},
	}
	h.state(bodies...)
	for at, n := range w.sites {
		for _, b := range bodies {
			w.until(at, "reports "+string(b.Type()), func(node.Replication) bool {
				return slices.ContainsFunc(n.Overreach(), func(text string) bool { return strings.Contains(text, "site b stated "+string(b.Type())+" in") })
			})
		}
		if got := w.status(at, at).Conflicts; got < len(bodies) {
			t.Errorf("site %s counts %d conflicts, want %d", at, got, len(bodies))
		}
	}
	far := replication.SignedHead{
		Registry: h.registry, Position: events.Position{Site: h.name, Mark: events.Mark{Epoch: 1, Seq: 1 << 40}, Hash: events.DigestOf([]byte("x"))}, Time: time.Now(),
	}.Sign(h.key)
	h.mu.Lock()
	h.origin = []replication.SignedHead{far}
	h.mu.Unlock()
	waitFor(t, "a to have the head", func() bool { return w.status("a", "a").LagEntries > 0 })
	if got := len(w.sites["a"].Overreach()); got < len(bodies) {
		t.Errorf("%d conflicts are counted once b promises more of its log, want %d", got, len(bodies))
	}
	h.mu.Lock()
	h.origin = nil
	h.mu.Unlock()
	for at, n := range w.sites {
		if _, err := n.Repository(op, name("evil")); err == nil {
			t.Errorf("site %s has the repository of b", at)
		}
		if got, err := n.Repo(op, name("local")); err != nil || got.Home != local.Home || len(got.Owns) != 1 || got.Owns[0] != pattern("corp.example/**") {
			t.Errorf("site %s: repository local is %+v, %v", at, got, err)
		}
		if _, err := w.zip(at, "local", mv); err == nil {
			t.Errorf("site %s serves what b published", at)
		}
		if len(must(n.Blocks(op))) != 1 {
			t.Errorf("site %s has %d blocks", at, len(must(n.Blocks(op))))
		}
		for _, s := range must(n.Sites(op)) {
			if s.Name == site("friend") || s.State != "member" {
				t.Errorf("site %s takes %v to be %s", at, s.Name, s.State)
			}
		}
	}
	w.goesOn("v1.0.0")
}
