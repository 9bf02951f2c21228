package node_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

// actorOf returns who published a version, as the log of a site says.
func actorOf(t testing.TB, n *node.Node, log, path string) string {
	t.Helper()
	entries, err := n.Log(op, site(log), 1)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range entries {
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range e.Events {
			if b, ok := ev.Body.(events.VersionPublished); ok && b.Module == path {
				return b.Actor
			}
		}
	}
	return ""
}

// What another site forwards the home judges by the credential of who asked there;
// a site's own word is worth what rules say.
func TestForwardedCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	a, b := w.sites["a"], w.join("b", "a", true)
	record(t, a, events.UserCreated{Name: "ann"}, grant("ann", "user:ann", "local", "publish read", "corp.example/**"), grant("b", "site:b", "local", "read"))
	record(t, a, events.PermissionDeleted{Name: "sites"})
	tok := token(t, a, "ann", access.Scope{}, time.Time{})
	w.equal()
	publish := func(who *access.Caller, path string) error {
		v := mv(path, "v1.0.0")
		_, err := b.Publish(t.Context(), who, node.Publication{Repo: name("local"), Version: v, Zip: zipReader(t, v, goMod(path))})
		return err
	}
	ann, err := b.Authenticate(t.Context(), access.TokenCredential(tok), netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	if err := publish(ann, "corp.example/one"); err != nil {
		t.Fatal(err)
	}
	if got := actorOf(t, b, "a", "corp.example/one"); got != "ann/"+tok.ID() {
		t.Errorf("published by %q, want ann with her token", got)
	}

	// The operator of b may do everything at b, and nothing at a.
	opB := access.Operator(site("b"))
	isKind(t, publish(opB, "corp.example/two"), node.ErrForbidden, "site:b may not publish")
	_, err = b.CreateRepo(t.Context(), opB, node.NewRepo{Name: name("mine"), Kind: events.Local})
	isKind(t, err, node.ErrForbidden, "site:b may not manage mine")
	_, err = b.Purge(t.Context(), opB, mv("corp.example/one", "v1.0.0"), "a test")
	isKind(t, err, node.ErrForbidden, "site:b may not administer")
	record(t, a, grant("b", "site:b", "local", "publish"))
	w.equal()
	if err := publish(opB, "corp.example/two"); err != nil {
		t.Error(err)
	}
	if got := actorOf(t, b, "a", "corp.example/two"); got != "site:b" {
		t.Errorf("published by %q, want the site", got)
	}

	// What b found right a moment ago is not right any more at home.
	record(t, a, events.TokenRevoked{ID: tok.ID()})
	isKind(t, publish(ann, "corp.example/three"), node.ErrUnauthorized, "was revoked")
	w.equal()
	if _, err := b.Authenticate(t.Context(), access.TokenCredential(tok), netip.Addr{}); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("a token that was revoked at the other site: %v", err)
	}
	// Any site may revoke; it counts there at once.
	second := token(t, a, "ann", access.Scope{}, time.Time{})
	w.equal()
	record(t, b, events.TokenRevoked{ID: second.ID()})
	_, err = b.Authenticate(t.Context(), access.TokenCredential(second), netip.Addr{})
	isKind(t, err, node.ErrUnauthorized, "revoked")
	w.equal()
	_, err = a.Authenticate(t.Context(), access.TokenCredential(second), netip.Addr{})
	isKind(t, err, node.ErrUnauthorized, "revoked")
}

// A token that the home has not heard of yet is not wrong, only too new.
func TestHomeDoesNotKnowTheTokenYet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	a, b := w.sites["a"], w.join("b", "a", true)
	record(t, a, events.UserCreated{Name: "ann"}, grant("ann", "user:ann", "*", "publish"))
	w.equal()
	ghost := access.UserCaller(access.Login{User: "ann", Credential: access.TokenCredential(access.NewToken(false))})
	v := mv("corp.example/one", "v1.0.0")
	_, err := b.Publish(t.Context(), ghost, node.Publication{Repo: name("local"), Version: v, Zip: zipReader(t, v, goMod(v.Path))})
	isKind(t, err, node.ErrUnavailable, "does not know token", "try again")
}

// Whoever shows a site nothing gets nothing through it, however much that site may
// itself.
func TestSiteLendsNobodyItsRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil)) // in which the operators of all sites may do everything
	a, b := w.sites["a"], w.join("b", "a", true)
	record(t, a, events.UserCreated{Name: "root"}, events.GroupChanged{Name: "admins", Members: []string{"root"}},
		grant("here", "loopback", "local", "publish"))
	w.equal()
	before := stateHash(t, a)
	v := mv("corp.example/x", "v1.0.0")
	for _, who := range []*access.Caller{nil, nobody, access.LoopbackCaller(netip.Addr{}), access.UserCaller(access.Login{User: "root"})} {
		_, _, user := b.PutUser(t.Context(), who, "mallory", node.UserChange{})
		_, _, group := b.PutGroup(t.Context(), who, "admins", node.GroupChange{Add: []string{"mallory"}})
		_, _, rule := b.PutPermission(t.Context(), who, "mine", events.Grant{Principals: []string{"anonymous"}, Repos: []string{"*"}, Actions: []string{"read"}})
		_, token := b.IssueToken(t.Context(), who, node.NewToken{User: "root"})
		_, repo := b.CreateRepo(t.Context(), who, node.NewRepo{Name: name("mine"), Kind: events.Local})
		_, purge := b.Purge(t.Context(), who, v, "a test")
		_, _, issuer := b.PutIssuer(t.Context(), who, "forge", events.Issuer{})
		for what, err := range map[string]error{
			"user": user, "group": group, "rule": rule, "token": token, "repository": repo, "purge": purge, "issuer": issuer,
			"no user": b.DeleteUser(t.Context(), who, "root"), "no group": b.DeleteGroup(t.Context(), who, "admins"), "no rule": b.DeletePermission(t.Context(), who, "sites"),
			"no repository": b.DeleteRepo(t.Context(), who, name("local"), ""), "no block": b.Unblock(t.Context(), who, events.VersionPatternOf(v)),
			"no version": b.Hide(t.Context(), who, name("local"), v, ""),
		} {
			if err == nil || !errors.Is(err, node.ErrUnauthorized) && !errors.Is(err, node.ErrForbidden) {
				t.Errorf("%v: %s: %v", who, what, err)
			}
		}
	}
	if now := stateHash(t, a); now != before {
		t.Errorf("something was written: %s, before %s", now, before)
	}
	// What a rule lets them do they may do there, too: both may.
	loopback := access.LoopbackCaller(netip.Addr{})
	if _, err := b.Publish(t.Context(), loopback, node.Publication{Repo: name("local"), Version: v, Zip: zipReader(t, v, goMod(v.Path))}); err != nil {
		t.Error(err)
	}
	if got := actorOf(t, b, "a", v.Path); got != "site:b/loopback" {
		t.Errorf("published by %q", got)
	}
}
