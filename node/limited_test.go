package node_test

import (
	"testing"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

// Whoever gets hold of a limited token gets no more than its limits, and not for
// longer than it lasts.
func TestLimitedTokens(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	i.user("lead")
	i.user("a-ci")
	i.rule("lead", "user:lead", "a-*", "read,publish,manage")
	day, more := must(node.ParseLifetime("24h")), must(node.ParseLifetime("25h"))
	all := i.token(op, node.NewToken{User: "lead", Lifetime: day})
	reads := i.token(op, node.NewToken{User: "lead", Scope: access.Scope{Repos: []string{"a-*", "lead"}, Actions: []string{"read"}}})
	manages := i.token(op, node.NewToken{User: "lead", Scope: access.Scope{Repos: []string{"a-*"}, Actions: []string{"read", "manage"}}})

	wantErr(t, "issued by what only reads", lastErr(i.IssueToken(t.Context(), reads, node.NewToken{})), node.ErrForbidden)
	wantErr(t, "issued beyond the limits", lastErr(i.IssueToken(t.Context(), manages, node.NewToken{User: "a-ci"})), node.ErrForbidden)
	wantErr(t, "issued for another, for longer", lastErr(i.IssueToken(t.Context(), all, node.NewToken{User: "a-ci", Lifetime: more})), node.ErrForbidden)
	ci, err := i.IssueToken(t.Context(), all, node.NewToken{User: "a-ci"})
	if err != nil || !ci.Expires.Equal(all.Expires()) {
		t.Errorf("issued for another until %v, %v, want %v", ci.Expires, err, all.Expires())
	}
	within := access.Scope{Repos: []string{"a-lib"}, Actions: []string{"read"}}
	wantErr(t, "issued within the limits", lastErr(i.IssueToken(t.Context(), manages, node.NewToken{User: "a-ci", Scope: within})), nil)

	for actions, want := range map[string]error{"read": nil, "read,publish": node.ErrForbidden} {
		_, _, err := i.PutPermission(t.Context(), manages, "a-rule", grantOf("user:a-ci", "a-lib", actions))
		wantErr(t, "a rule that gives "+actions, err, want)
	}
	wantErr(t, "a rule by what has no limits", lastErr2(i.PutPermission(t.Context(), all, "a-rule", grantOf("user:a-ci", "a-lib", "publish"))), nil)
	i.rule("boss", "user:lead", "*", "manage")
	wantErr(t, "an administrator's limited token", lastErr2(i.PutPermission(t.Context(),
		i.token(op, node.NewToken{User: "lead", Scope: access.Scope{Actions: []string{"manage"}}}), "x", grantOf("user:a-ci", "a-lib", "publish"))), node.ErrForbidden)
	if err := i.DeletePermission(t.Context(), op, "boss"); err != nil {
		t.Fatal(err)
	}

	revoke := func(who *access.Caller, what *access.Caller) error {
		return i.RevokeToken(t.Context(), who, what.TokenID(), "")
	}
	wantErr(t, "another of the user revoked", revoke(reads, all), node.ErrNotFound)
	wantErr(t, "another of the user revoked by what manages others", revoke(manages, all), node.ErrNotFound)
	if err := i.again(all); err != nil {
		t.Error(err)
	}
	wantErr(t, "itself revoked", revoke(reads, reads), nil)
	wantErr(t, "it shows itself again", i.again(reads), node.ErrUnauthorized)
	wantErr(t, "another revoked by what has no limits", revoke(all, manages), nil)
}

// A rule that is limited to modules is not written by a token limited to others.
func TestRulesOfTokensLimitedToModules(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	i.user("lead")
	i.rule("lead", "user:lead", "*", "read,manage")
	p := must(events.ParsePattern("corp.example/a"))
	who := i.token(op, node.NewToken{User: "lead", Scope: access.Scope{Modules: []events.Pattern{p}}})
	g := grantOf("user:lead", "lib", "read")
	wantErr(t, "a rule for all modules", lastErr2(i.PutPermission(t.Context(), who, "x", g)), node.ErrForbidden)
}
