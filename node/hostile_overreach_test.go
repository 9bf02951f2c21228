package node_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
	"registry-node/replication"
)

// anySite are the types of events that any member may state.
var anySite = []events.Type{"build.recorded", "token.revoked", "version.blocked", "version.filled", "version.seen"}

// prey is what an honest site has, for a hostile one to grasp at.
type prey struct {
	files tree
	info  string // of a build
	token access.Token
}

// overreach returns an event of each type that h has no right to state.
func (h *hostile) overreach(t *testing.T, w *world, p prey) []events.Body {
	t.Helper()
	id := w.repoID("local")
	mv, kept := moduleVersion("corp.example/evil", "v1.0.0"), moduleVersion("corp.example/kept", "v1.0.0")
	of := events.Of(id, kept)
	files := goMod(mv.Path)
	zip := zipOf(t, mv, files)
	head := markOf(must(w.sites["a"].Replication(op)), "a", site("a"))
	before := []events.Cleared{{Site: site("a"), At: head}}
	everything := events.Grant{Principals: []string{"anonymous"}, Repos: []string{"*"}, Actions: []string{"manage"}}
	list := []events.Body{
		events.RepoCreated{Name: name("evil"), Kind: events.Local, Home: h.name},
		events.RepoChanged{Repo: id, Kind: events.Local, Settings: events.RepoSettings{Owns: patterns("evil.example/**")}},
		events.RepoDeleted{Repo: id},
		events.RepoRestored{Repo: id},
		events.VersionPublished{ModuleVersion: events.Of(id, mv), Content: events.Content{
			ModH1: events.HashMod([]byte(files["go.mod"])), Info: []byte(`{"Version":"v1.0.0","Time":"2024-01-02T03:04:05Z"}`), Mod: []byte(files["go.mod"]),
			ZipH1: h1Of(t, zip), Zip: events.Blob{Digest: events.DigestOf(zip), Size: int64(len(zip))},
		}},
		events.VersionHidden{ModuleVersion: of},
		events.VersionPurged{ModuleVersion: of, Reason: "evil"},
		events.VersionSettled{ModuleVersion: events.Of(id, mv), ModH1: events.HashMod(nil)},
		events.VersionDated{Repo: id, Module: mv.Path, Versions: []string{mv.Version}, Times: []time.Time{time.Unix(0, 0).UTC()}},
		events.VersionUnblocked{Module: "blocked.example/first", Version: "v1.0.0", Clears: []events.Cleared{{Site: h.name, At: h.tip().Mark}}},
		events.PropertiesChanged{ModuleVersion: of, File: events.ZipFile, Remove: []string{"qa"}, Set: []events.Property{{Key: "evil", Values: []string{"yes"}}}},
		events.BuildDeleted{BuildName: events.BuildName{Name: "app", Number: "1"}, Clears: before},
		events.HomeCeded{Repo: id, Tenure: 0, To: h.name, After: h.tip().Mark},
		events.HomeForced{Repo: id, Tenure: 0, At: events.Mark{Epoch: 1, Seq: 1}, To: h.name},
		events.HomeForced{Repo: id, Tenure: 0, To: h.name},
		events.HomeForced{Tenure: 0, At: events.Mark{Epoch: 1, Seq: 1}, To: h.name, Signature: make([]byte, 64)},
		events.SiteInvited{Name: site("friend"), Secret: events.DigestOf([]byte("s")), Expires: time.Now().UTC().Add(time.Hour)},
		events.SiteJoined{Name: site("friend"), PublicKey: make([]byte, 32)},
		events.SiteChanged{Name: site("c"), Addresses: []string{"127.0.0.1:1"}},
		events.SiteLeft{Name: site("c")},
		events.SiteKey{Name: site("a"), PublicKey: make([]byte, 32)},
		events.LogContinued{Site: site("a"), Base: head},
		events.FeatureRaised{Level: 1 << 10},
		events.UserCreated{Name: "evil"},
		events.UserChanged{Name: "ann", User: events.User{Disabled: true}},
		events.UserDeleted{Name: "ann"},
		events.GroupChanged{Name: "admins", Members: []string{"evil"}},
		events.GroupDeleted{Name: "admins"},
		events.PermissionChanged{Name: "evil", Grant: everything},
		events.PermissionDeleted{Name: "ann"},
		events.TokenIssued{ID: "0123456789abcdef", User: "ann", Hash: events.DigestOf([]byte("evil"))},
		events.IssuerChanged{Name: "evil", Issuer: events.Issuer{URL: "https://evil.example", Purpose: events.Login, Audience: "x", UserClaim: "sub"}},
		events.IssuerDeleted{Name: "evil"},
		events.WebhookChanged{Name: "evil", Webhook: events.Webhook{URL: "https://evil.example/hook", Secret: "hook"}},
		events.WebhookDeleted{Name: "evil"},
	}
	types := slices.Clone(anySite)
	for _, b := range list {
		types = append(types, b.Type())
	}
	slices.Sort(types)
	if types = slices.Compact(types); !slices.Equal(types, events.Types()) {
		t.Fatalf("overreach by types %v, want %v", types, events.Types())
	}
	return list
}

// intact checks that a site has what an honest one made, and nothing of h's.
func (p prey) intact(t *testing.T, w *world, at string) {
	t.Helper()
	n, kept := w.sites[at], moduleVersion("corp.example/kept", "v1.0.0")
	if got, err := w.zip(at, "local", kept); err != nil || !bytes.Equal(got, zipOf(t, kept, p.files)) {
		t.Errorf("site %s reads %d bytes of %v, %v", at, len(got), kept, err)
	}
	if got := propertiesOf(t, n, kept, events.ZipFile); got != "map[qa:[passed]]" {
		t.Errorf("site %s: properties %s", at, got)
	}
	if got, err := buildOf(t, n, "1"); err != nil || got != p.info {
		t.Errorf("site %s: build %q, %v", at, got, err)
	}
	if _, err := shows(t.Context(), n, p.token.Secret()); err != nil {
		t.Errorf("site %s: the token of ann: %v", at, err)
	}
	if got := must(n.Webhooks(op)); len(got) != 0 {
		t.Errorf("site %s: webhooks %+v", at, got)
	}
	if got := must(n.Issuers(op)); len(got) != 0 {
		t.Errorf("site %s: issuers %+v", at, got)
	}
	if _, err := n.User(op, "evil"); err == nil {
		t.Errorf("site %s has the user of b", at)
	}
	for _, name := range []string{"ann", "evil"} {
		if _, err := n.Permission(op, name); (err == nil) != (name == "ann") {
			t.Errorf("site %s: rule %s: %v", at, name, err)
		}
	}
	if got, err := n.Repo(op, name("local")); err != nil || got.Home != site("a") || len(got.Owns) != 1 || got.Owns[0] != pattern("corp.example/**") {
		t.Errorf("site %s: repository local is %+v, %v", at, got, err)
	}
	if _, err := n.Repository(op, name("evil")); err == nil {
		t.Errorf("site %s has the repository of b", at)
	}
	if _, err := w.zip(at, "local", moduleVersion("corp.example/evil", "v1.0.0")); err == nil {
		t.Errorf("site %s serves what b published", at)
	}
	if got := must(n.Blocks(op)); len(got) != 1 {
		t.Errorf("site %s has %d blocks", at, len(got))
	}
	for _, s := range must(n.Sites(op)) {
		if s.Name == site("friend") || s.State != "member" || slices.Contains(s.Addresses, "127.0.0.1:1") {
			t.Errorf("site %s takes %v to be %s, at %v", at, s.Name, s.State, s.Addresses)
		}
	}
}

// Well-formed, rightly signed events for which a site has no right count nowhere
// and are reported, also if the site promises more of its log for ever. There is one
// of each type that not any site may state.
func TestOverreachCountsNowhere(t *testing.T) {
	t.Parallel()
	w, h := besieged(t, nil)
	a, kept := w.sites["a"], moduleVersion("corp.example/kept", "v1.0.0")
	p := prey{goMod(kept.Path).with("x.go", noise(1000)), buildInfo("1", "2026-01-01T00:00:00.000+0000"), access.Token{}}
	if _, err := w.publish("a", kept, p.files); err != nil {
		t.Fatal(err)
	}
	record(t, a, events.UserCreated{Name: "ann"}, grant("ann", "user:ann", "local", "read"),
		events.PropertiesChanged{ModuleVersion: events.Of(w.repoID("local"), kept), File: events.ZipFile, Set: []events.Property{{Key: "qa", Values: []string{"passed"}}}})
	p.token = token(t, a, "ann", access.Scope{}, time.Time{})
	recordBuild(t, a, p.info)
	w.same()
	bodies := h.overreach(t, w, p)
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
	if got := len(a.Overreach()); got < len(bodies) {
		t.Errorf("%d conflicts are counted once b promises more of its log, want %d", got, len(bodies))
	}
	h.mu.Lock()
	h.origin = nil
	h.mu.Unlock()
	for at := range w.sites {
		p.intact(t, w, at)
	}
	w.goesOn("v1.0.0")
}
