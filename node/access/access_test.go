package access_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/node/access"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func patterns(list ...string) (ps []events.Pattern) {
	for _, s := range list {
		ps = append(ps, must(events.ParsePattern(s)))
	}
	return ps
}

func user(name string, s access.Scope) *access.Caller {
	return access.UserCaller(access.Login{User: name, Token: "tabcdefghijk", Scope: s})
}

func rule(name string, g events.Grant) events.Rule { return events.Rule{Name: name, Grant: g} }

var site = must(events.ParseSite("a"))

func table() *access.Table {
	return access.NewTable(map[string][]string{"devs": {"alice", "bob"}, "admins": {"root"}}, map[string]events.Rule{
		"admins": rule("admins", events.Grant{Principals: []string{"group:admins"}, Repos: []string{"*"}, Actions: []string{"read", "publish", "delete", "block", "manage"}}),
		"all":    rule("all", events.Grant{Principals: []string{"anonymous"}, Repos: []string{"public"}, Actions: []string{"read"}}),
		"devs": rule("devs", events.Grant{Principals: []string{"group:devs"}, Repos: []string{"team-*"}, Include: patterns("corp.test/devs/**"),
			Exclude: patterns("corp.test/devs/secret"), Actions: []string{"read", "publish"}}),
		"lead":   rule("lead", events.Grant{Principals: []string{"user:alice"}, Repos: []string{"team-a-*"}, Actions: []string{"manage"}}),
		"here":   rule("here", events.Grant{Principals: []string{"loopback"}, Repos: []string{"all"}, Actions: []string{"read"}}),
		"known":  rule("known", events.Grant{Principals: []string{"authenticated"}, Repos: []string{"docs"}, Actions: []string{"read"}}),
		"site-b": rule("site-b", events.Grant{Principals: []string{"site:b"}, Repos: []string{"*"}, Actions: []string{"publish"}}),
		"future": rule("future", events.Grant{Principals: []string{"anonymous"}, Repos: []string{"*"}, Actions: []string{"teleport"}}),
	})
}

func TestAllows(t *testing.T) {
	tab := table()
	from := netip.MustParseAddr("192.0.2.1")
	none := access.Scope{}
	callers := map[string]*access.Caller{
		"nobody": nil, "zero": new(access.Caller), "anonymous": access.Anonymous(from), "loopback": access.LoopbackCaller(from),
		"operator": access.Operator(site), "site:b": access.SiteCaller(must(events.ParseSite("b"))), "site:c": access.SiteCaller(must(events.ParseSite("c"))),
		"alice": user("alice", none), "bob": user("bob", none), "carol": user("carol", none), "root": user("root", none),
		"root to read": user("root", access.Scope{Repos: []string{"team-a"}, Actions: []string{"read"}}),
		"root of devs": user("root", access.Scope{Modules: patterns("corp.test/devs")}),
	}
	need := func(a access.Action, repo, module string) access.Need {
		return access.Need{Action: a, Repo: repo, Module: module}
	}
	for _, c := range []struct {
		need access.Need
		may  string
	}{
		{need(access.Read, "public", "golang.org/x/text"), "anonymous, loopback, operator, site:b, site:c, alice, bob, carol, root"},
		{need(access.Read, "team-a", "corp.test/devs/x"), "operator, alice, bob, root, root to read, root of devs"},
		{need(access.Read, "team-a", "corp.test/devs/secret/v2"), "operator, root, root to read, root of devs"},
		{need(access.Read, "team-a", "corp.test/other"), "operator, root, root to read"},
		{need(access.Read, "team-a", ""), "operator, alice, bob, root, root to read, root of devs"},
		{need(access.Read, "team-b", "corp.test/devs/x"), "operator, alice, bob, root, root of devs"},
		{need(access.Read, "team", "corp.test/devs/x"), "operator, root, root of devs"},
		{need(access.Read, "all", "m.test/x"), "operator, loopback, root"},
		{need(access.Read, "docs", "m.test/x"), "operator, alice, bob, carol, root"},
		{need(access.Publish, "team-a", "corp.test/devs/x"), "operator, alice, bob, root, site:b, root of devs"},
		{need(access.Publish, "team-a", ""), "operator, root, site:b"},
		{need(access.Delete, "team-a", "corp.test/devs/x"), "operator, root, root of devs"},
		{need(access.Manage, "team-a-x", ""), "operator, alice, root"},
		{need(access.Manage, "team-a-*", ""), "operator, alice, root"},
		{need(access.Manage, "team-*", ""), "operator, root"},
		{access.Everything, "operator, root"},
		{need(access.Manage, "", ""), ""},
		{need(0, "public", ""), "operator"},
	} {
		for name, who := range callers {
			want := slices.Contains(strings.Split(c.may, ", "), name)
			if got := tab.Allows(who, c.need); got != want {
				t.Errorf("%s: %+v allowed: %t, want %t", name, c.need, got, want)
			}
		}
	}
}

// A site that speaks for somebody may do what both may.
func TestSiteForSomebody(t *testing.T) {
	tab := table()
	b := access.SiteCaller(must(events.ParseSite("b")))
	publish := access.Need{Action: access.Publish, Repo: "docs", Module: "m.test/x"}
	read := access.Need{Action: access.Read, Repo: "public", Module: "m.test/x"}
	who := b.For(access.Anonymous(netip.Addr{}))
	if !tab.Allows(b, publish) || tab.Allows(who, publish) || !tab.Allows(who, read) {
		t.Errorf("publish %t, for anonymous %t; read %t", tab.Allows(b, publish), tab.Allows(who, publish), tab.Allows(who, read))
	}
	if who.Actor() != "site:b/anonymous" || b.Actor() != "site:b" {
		t.Errorf("recorded as %q", who.Actor())
	}
}

// A pattern is needed for all that it matches.
// TestAnyone holds that a rule for a group speaks of its members.
func TestAnyone(t *testing.T) {
	table := access.NewTable(map[string][]string{"devs": {"alice"}, "idle": {"bob"}}, map[string]events.Rule{
		"devs": rule("devs", events.Grant{Principals: []string{"group:devs"}, Repos: []string{"team"}, Actions: []string{"read"}}),
		"carl": rule("carl", events.Grant{Principals: []string{"user:carl"}, Repos: []string{"team"}, Actions: []string{"read"}}),
	})
	for _, tt := range []struct {
		who  *access.Caller
		want bool
	}{
		{user("alice", access.Scope{}), true}, {user("bob", access.Scope{}), false}, {user("carl", access.Scope{}), true}, {user("devs", access.Scope{}), false},
		{access.Operator(site), true}, {access.SiteCaller(site), false}, {access.Anonymous(netip.Addr{}), false}, {nil, false},
	} {
		if got := table.Anyone(tt.who); got != tt.want {
			t.Errorf("Anyone(%v) = %v", tt.who, got)
		}
	}
}

func TestModuleOfWholeRepository(t *testing.T) {
	tab := access.NewTable(nil, map[string]events.Rule{"r": rule("r", events.Grant{
		Principals: []string{"anonymous"}, Repos: []string{"*"}, Actions: []string{"block"}, Include: patterns("corp.test"),
	})})
	who := access.Anonymous(netip.Addr{})
	if tab.Allows(who, access.Need{Action: access.Block, Repo: "*"}) {
		t.Error("a rule for some modules allows to block all")
	}
	if !tab.Allows(who, access.Need{Action: access.Block, Repo: "*", Module: "corp.test/x"}) {
		t.Error("a rule for a module does not allow to block it")
	}
}

func TestScopeWithin(t *testing.T) {
	narrow := access.Scope{Repos: []string{"team-a"}, Actions: []string{"read"}, Modules: patterns("corp.test/a/**")}
	for _, c := range []struct {
		inner, outer access.Scope
		want         bool
	}{
		{access.Scope{}, access.Scope{}, true}, {narrow, access.Scope{}, true}, {access.Scope{}, narrow, false}, {narrow, narrow, true},
		{narrow, access.Scope{Repos: []string{"team-*"}, Actions: []string{"read", "publish"}, Modules: patterns("corp.test")}, true},
		{access.Scope{Repos: []string{"team-*"}, Actions: []string{"read"}, Modules: patterns("corp.test/a")}, narrow, false},
		{access.Scope{Repos: []string{"team-a"}, Actions: []string{"read", "publish"}, Modules: patterns("corp.test/a")}, narrow, false},
		{access.Scope{Repos: []string{"team-a"}, Actions: []string{"read"}, Modules: patterns("corp.test")}, narrow, false},
		{access.Scope{Repos: []string{"team-a"}, Actions: []string{"read"}}, narrow, false},
	} {
		if got := c.inner.Within(c.outer); got != c.want {
			t.Errorf("%v within %v: %t", c.inner, c.outer, got)
		}
	}
}

func TestToken(t *testing.T) {
	for _, local := range []bool{false, true} {
		tok := access.NewToken(local)
		back, err := access.ParseToken(tok.Secret())
		if err != nil || back != tok || back.Hash() != tok.Hash() || back.Local() != local {
			t.Fatalf("token is read back as %v, %v", back, err)
		}
		if strings.ContainsAny(tok.Secret(), ",;:@/ \"'") {
			t.Errorf("token %q has a character that means something elsewhere", tok.Secret())
		}
	}
	good := access.NewToken(false).Secret()
	for i := range good {
		bad := good[:i] + "x" + good[i+1:]
		if good[i] == 'x' {
			bad = good[:i] + "y" + good[i+1:]
		}
		if _, err := access.ParseToken(bad); err == nil {
			t.Fatalf("a token with character %d changed was taken", i)
		} else if strings.Contains(err.Error(), bad[20:40]) {
			t.Fatalf("the error repeats the token: %v", err)
		}
	}
	for _, s := range []string{"", "rn_", good[:len(good)-1], good + "a", " " + good, strings.ToUpper(good), "Bearer " + good} {
		if _, err := access.ParseToken(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

// Neither tokens nor passwords show themselves.
func TestCredentialIsHidden(t *testing.T) {
	tok := access.NewToken(false)
	who := access.UserCaller(access.Login{User: "alice", Token: tok.ID(), Credential: access.TokenCredential(tok), Expires: time.Now()})
	insisting := access.UserCaller(access.Login{User: "alice", Credential: access.PasswordCredential("alice", "hunter2hunter2")})
	for _, v := range []any{tok, access.TokenCredential(tok), access.PasswordCredential("alice", "hunter2hunter2"), access.IDTokenCredential("sso", "hunter2.x.y"), who, insisting} {
		shown := fmt.Sprintf("%v %+v %#v %s %q", v, v, v, v, v)
		if b, err := json.Marshal(v); err == nil {
			shown += string(b)
		}
		if strings.Contains(shown, tok.Secret()[20:60]) || strings.Contains(shown, "hunter2") {
			t.Errorf("%T shows itself: %s", v, shown)
		}
	}
	for _, c := range []access.Credential{{}, access.TokenCredential(tok), access.PasswordCredential("alice", "a:b c"), access.IDTokenCredential("sso", "a.b.c")} {
		if back, err := access.ParseCredential(c.Reveal()); err != nil || back != c {
			t.Errorf("a credential does not come back from between sites: %v", err)
		}
	}
}
