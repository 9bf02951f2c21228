package node_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

// closed takes away what the operators of sites may do elsewhere in tests.
func closed(t testing.TB, n *node.Node) {
	t.Helper()
	if err := n.DeletePermission(t.Context(), op, "sites"); err != nil {
		t.Fatal(err)
	}
}

// TestIdentitiesAtAnotherSite holds that a user can do at any site what he may, that
// the registry's home judges it by his own credential, and that a site's operator
// can have done elsewhere what a rule for the site says.
func TestIdentitiesAtAnotherSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	a := w.sites["a"]
	b := w.join("b", "a", false)
	closed(t, a)
	if _, _, err := a.PutPermission(t.Context(), op, "site-b", grantOf("site:b", "*", "manage")); err != nil {
		t.Fatal(err)
	}
	opB := access.Operator(site("b"))
	put := func(n *node.Node, who *access.Caller, name string, c node.UserChange) error {
		_, _, err := n.PutUser(t.Context(), who, name, c)
		return err
	}
	if err := put(a, op, "root", node.UserChange{Password: password(t, longPassword)}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.PutPermission(t.Context(), op, "root", grantOf("user:root", "*", "manage")); err != nil {
		t.Fatal(err)
	}
	w.equal()
	root := must(b.Authenticate(t.Context(), access.PasswordCredential("root", longPassword), netip.Addr{}))
	info, made, err := b.PutUser(t.Context(), root, "team-lead", node.UserChange{Groups: &[]string{}})
	if err != nil || !made || info.Name != "team-lead" || info.Created.IsZero() {
		t.Fatalf("by a password: %+v, %t, %v", info, made, err)
	}
	if g, made, err := b.PutGroup(t.Context(), root, "team", node.GroupChange{Members: &[]string{"team-lead"}}); err != nil || !made || len(g.Members) != 1 {
		t.Errorf("group: %+v, %t, %v", g, made, err)
	}
	if r, made, err := b.PutPermission(t.Context(), root, "lead", grantOf("group:team", "team*", "manage")); err != nil || !made || r.Actor != "root" || r.Changed.IsZero() {
		t.Errorf("rule: %+v, %t, %v", r, made, err)
	}
	issued, err := b.IssueToken(t.Context(), root, node.NewToken{User: "team-lead"})
	if err != nil {
		t.Fatal(err)
	}
	lead := must(shows(t.Context(), b, issued.Token)) // read back at once
	if err := put(b, lead, "team-ci", node.UserChange{}); err != nil {
		t.Errorf("by a token: %v", err)
	}
	wantErr(t, "beyond the project", put(b, lead, "other-ci", node.UserChange{}), node.ErrForbidden)

	// The site can't speak for users whose credentials it has not.
	forged := access.UserCaller(access.Login{User: "root"})
	wantErr(t, "by a user whom the site makes up", put(b, forged, "x", node.UserChange{}), node.ErrUnauthorized) // though site b may itself
	if _, _, err := a.PutPermission(t.Context(), op, "site-b", grantOf("site:b", "b-*", "manage")); err != nil {
		t.Fatal(err)
	}
	w.equal()
	wantErr(t, "by such a user, without right of the site", put(b, forged, "y", node.UserChange{}), node.ErrUnauthorized)
	wantErr(t, "by the operator, without right of the site", put(b, opB, "y", node.UserChange{}), node.ErrForbidden)
	if err := put(b, opB, "b-user", node.UserChange{}); err != nil {
		t.Errorf("by the operator: %v", err)
	}

	if err := b.DeleteGroup(t.Context(), root, "team"); err != nil {
		t.Error(err)
	}
	wantErr(t, "out of the group", put(b, lead, "team-x", node.UserChange{}), node.ErrForbidden)

	// Without its home, a registry makes no users, but it revokes tokens.
	w.close("a")
	wantErr(t, "without the home", put(b, root, "z", node.UserChange{}), node.ErrUnavailable)
	if err := b.RevokeToken(t.Context(), root, issued.ID, "lost"); err != nil {
		t.Fatal(err)
	}
	_, err = shows(t.Context(), b, issued.Token)
	wantErr(t, "revoked here", err, node.ErrUnauthorized)
	a = w.open("a")
	w.equal()
	_, err = shows(t.Context(), a, issued.Token)
	wantErr(t, "revoked there", err, node.ErrUnauthorized)
}

func TestInvitationsWriteRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	a := w.sites["a"]
	closed(t, a)
	invite := func(name string, r node.SiteRights) node.Invitation {
		t.Helper()
		inv, err := a.Invite(t.Context(), op, site(name), time.Hour, r)
		if err != nil {
			t.Fatal(err)
		}
		return inv
	}
	actions := func(rule string) []string {
		r, err := a.Permission(op, rule)
		if errors.Is(err, node.ErrNotFound) {
			return nil
		}
		if err != nil || !slices.Equal(r.Principals, []string{"site:" + rule[len("site-"):]}) || !slices.Equal(r.Repos, []string{"*"}) {
			t.Errorf("rule %s: %+v, %v", rule, r, err)
		}
		return r.Actions
	}
	if inv := invite("b", ""); inv.Rule != "site-b" || inv.Kept || !slices.Equal(actions("site-b"), []string{"read", "publish", "block"}) {
		t.Errorf("b: %+v, %v", inv.SiteRule, actions("site-b"))
	}
	if inv := invite("b", node.RightsPublish); inv.Kept {
		t.Errorf("b again: %+v", inv.SiteRule)
	}
	if inv := invite("b", node.RightsManage); !inv.Kept || len(actions("site-b")) != 3 {
		t.Errorf("b with more: %+v, %v", inv.SiteRule, actions("site-b"))
	}
	if inv := invite("b", node.RightsNone); !inv.Kept || len(actions("site-b")) != 3 {
		t.Errorf("b with none: %+v, %v", inv.SiteRule, actions("site-b"))
	}
	if inv := invite("c", node.RightsNone); inv.Rule != "" || actions("site-c") != nil {
		t.Errorf("c: %+v, %v", inv.SiteRule, actions("site-c"))
	}
	if inv := invite("d", node.RightsManage); inv.Kept || len(actions("site-d")) != 5 {
		t.Errorf("d: %+v, %v", inv.SiteRule, actions("site-d"))
	}
	if _, err := a.Invite(t.Context(), access.SiteCaller(site("b")), site("e"), time.Hour, ""); !errors.Is(err, node.ErrForbidden) {
		t.Errorf("by who may not: %v", err)
	}
	if rules := must(a.Permissions(op)); slices.ContainsFunc(rules, func(r events.Rule) bool { return r.Name == "site-e" }) {
		t.Error("a refused invitation writes a rule")
	}
}
