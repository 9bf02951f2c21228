package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

// identities is a registry with users; newIdentities makes it.
type identities struct {
	*node.Node
	t   testing.TB
	dir string
}

const longPassword = "correct horse battery"

func newIdentities(t testing.TB) identities {
	t.Helper()
	i := identities{t: t, dir: t.TempDir()}
	opts, _ := options(t)
	if _, err := node.Init(t.Context(), i.dir, site("a"), node.Fresh{}, opts.PasswordCost(4)); err != nil {
		t.Fatal(err)
	}
	i.Node = i.open()
	return i
}

func (i identities) open() *node.Node {
	opts, _ := options(i.t)
	n, err := node.Open(i.t.Context(), i.dir, opts.PasswordCost(4))
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() { n.Close() })
	return n
}

func (i identities) user(name string, groups ...string) {
	i.t.Helper()
	if _, _, err := i.PutUser(i.t.Context(), op, name, node.UserChange{Groups: &groups}); err != nil {
		i.t.Fatal(err)
	}
}

func (i identities) group(name string, members ...string) {
	i.t.Helper()
	if _, _, err := i.PutGroup(i.t.Context(), op, name, node.GroupChange{Members: &members}); err != nil {
		i.t.Fatal(err)
	}
}

// rule makes a rule: principals, repositories and actions with commas between them.
func (i identities) rule(name, to, repos, actions string) {
	i.t.Helper()
	if _, _, err := i.PutPermission(i.t.Context(), op, name, grantOf(to, repos, actions)); err != nil {
		i.t.Fatal(err)
	}
}

func grantOf(to, repos, actions string) events.Grant {
	return events.Grant{Principals: strings.Split(to, ","), Repos: strings.Split(repos, ","), Actions: strings.Split(actions, ",")}
}

// token issues a token, and returns who shows it.
func (i identities) token(who *access.Caller, t node.NewToken) *access.Caller {
	i.t.Helper()
	issued, err := i.IssueToken(i.t.Context(), who, t)
	if err != nil {
		i.t.Fatal(err)
	}
	return must(shows(i.t.Context(), i.Node, issued.Token))
}

// shows authenticates with a token.
func shows(ctx context.Context, n *node.Node, token string) (*access.Caller, error) {
	return n.Authenticate(ctx, access.TokenCredential(must(access.ParseToken(token))), netip.Addr{})
}

// again authenticates with what a caller showed.
func (i identities) again(who *access.Caller) error {
	_, err := i.Authenticate(i.t.Context(), who.Credential(), netip.Addr{})
	return err
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	i.group("admins")
	i.rule("admins", "group:admins", "*", "read,publish,delete,block,manage")
	i.user("alice", "admins")
	alice := i.token(op, node.NewToken{User: "alice"})
	if who := i.WhoAmI(alice); who.Name != "alice" || !slices.Contains(who.Principals, "group:admins") || who.Token != alice.TokenID() {
		t.Errorf("alice is %+v", who)
	}
	if d := time.Until(alice.Expires()); d < 89*24*time.Hour || d > 90*24*time.Hour {
		t.Errorf("the token is good for %v", d)
	}
	if _, _, err := i.PutUser(t.Context(), alice, "bob", node.UserChange{}); err != nil {
		t.Errorf("an administrator makes a user: %v", err)
	}
	never := i.token(alice, node.NewToken{User: "bob", Lifetime: must(node.ParseLifetime("never"))})
	if !never.Expires().IsZero() {
		t.Errorf("never is %v", never.Expires())
	}
	_, err := node.ParseLifetime("3651d")
	if err == nil {
		t.Error("a token can be good for more than ten years")
	}
}

func TestRightsCountWithTheNextRequest(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	i.group("team")
	i.user("alice", "team")
	i.rule("team", "group:team", "team-*", "manage")
	alice := i.token(op, node.NewToken{User: "alice"})
	make := func(name string) error {
		_, _, err := i.PutUser(t.Context(), alice, name, node.UserChange{})
		return err
	}
	if err := make("team-ci"); err != nil {
		t.Fatal(err)
	}
	i.group("team")
	wantErr(t, "out of the group", make("team-x"), node.ErrForbidden)
	i.group("team", "alice")
	if err := i.DeletePermission(t.Context(), op, "team"); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "without the rule", make("team-x"), node.ErrForbidden)
	wantErr(t, "to know of users of others", lastErr(i.User(alice, "nobody")), node.ErrForbidden)
	wantErr(t, "without credentials", lastErr(i.User(access.Anonymous(netip.Addr{}), "alice")), node.ErrUnauthorized)
}

func lastErr[T any](_ T, err error) error { return err }

func TestRevokedTokensAndDisabledUsersDoNotGetIn(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	i.user("alice")
	i.user("bob")
	first, second := i.token(op, node.NewToken{User: "alice"}), i.token(op, node.NewToken{User: "alice"})
	bob := i.token(op, node.NewToken{User: "bob"})
	wantErr(t, "a token of others", i.RevokeToken(t.Context(), bob, first.TokenID(), ""), node.ErrNotFound)
	wantErr(t, "a token that is not there", i.RevokeToken(t.Context(), op, "tabcdefghijk", ""), node.ErrNotFound)
	wantErr(t, "an id that is none", i.RevokeToken(t.Context(), op, "t\x00", ""), node.ErrNotFound)
	for range 2 {
		if err := i.RevokeToken(t.Context(), second, first.TokenID(), "lost"); err != nil {
			t.Error(err)
		}
	}
	wantErr(t, "a revoked token", i.again(first), node.ErrUnauthorized)
	if err := i.again(second); err != nil {
		t.Error(err)
	}
	off, on := true, false
	for _, c := range []struct {
		change *bool
		want   error
	}{{&off, node.ErrUnauthorized}, {&on, nil}} {
		if _, _, err := i.PutUser(t.Context(), op, "alice", node.UserChange{Disabled: c.change}); err != nil {
			t.Fatal(err)
		}
		wantErr(t, fmt.Sprintf("disabled %t", *c.change), i.again(second), c.want)
	}
}

// TestUserMadeAnewStartsWithNothing holds that neither tokens nor groups nor rules of
// a deleted user come back with another one of that name.
func TestUserMadeAnewStartsWithNothing(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	i.group("team")
	i.user("alice", "team")
	i.rule("one", "user:alice,group:team", "lib", "read")
	old := i.token(op, node.NewToken{User: "alice"})
	if err := i.DeleteUser(t.Context(), op, "alice"); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "deleted twice", i.DeleteUser(t.Context(), op, "alice"), node.ErrNotFound)
	wantErr(t, "a token of a deleted user", i.again(old), node.ErrUnauthorized)
	wantErr(t, "a token for a deleted user", lastErr(i.IssueToken(t.Context(), op, node.NewToken{User: "alice"})), node.ErrInvalid)
	if _, made, err := i.PutUser(t.Context(), op, "alice", node.UserChange{}); err != nil || !made {
		t.Fatalf("made anew: %t, %v", made, err)
	}
	wantErr(t, "a token of the user before", i.again(old), node.ErrUnauthorized)
	info := must(i.User(op, "alice"))
	rule := must(i.Permission(op, "one"))
	if len(info.Groups) > 0 || !slices.Equal(rule.Principals, []string{"group:team"}) {
		t.Errorf("the new user is in %v, and the rule is for %v", info.Groups, rule.Principals)
	}
	tokens, _, err := i.Tokens(op, node.TokenQuery{All: true})
	if err != nil || len(tokens) != 1 || !tokens[0].Revoked {
		t.Errorf("tokens: %+v, %v", tokens, err)
	}
}

// The Directory is made of all groups and rules there ever were: too much for a
// token, of which a CI system may take one for each job.
func TestTokensAndUsersLeaveTheDirectoryAlone(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	before := i.Rights()
	i.user("ci")
	alice := i.token(op, node.NewToken{User: "ci"})
	if err := i.RevokeToken(t.Context(), op, alice.TokenID(), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Authenticate(t.Context(), alice.Credential(), alice.From()); !errors.Is(err, node.ErrUnauthorized) {
		t.Errorf("a token that was revoked: %v", err)
	}
	if i.Rights() != before {
		t.Error("the Directory was made anew")
	}
	i.group("team", "ci")
	if i.Rights() == before {
		t.Error("the Directory was not made anew for a group")
	}
}

func TestOwnTokens(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	i.user("alice")
	i.user("bob")
	limit := access.Scope{Repos: []string{"lib-*", "alice"}, Actions: []string{"read", "publish", "manage"}}
	alice := i.token(op, node.NewToken{User: "alice", Scope: limit, Lifetime: must(node.ParseLifetime("24h"))})
	for _, c := range []struct {
		what string
		t    node.NewToken
		want error
	}{
		{"as it is", node.NewToken{}, nil},
		{"less", node.NewToken{Scope: access.Scope{Repos: []string{"lib-a"}, Actions: []string{"read"}}, Lifetime: must(node.ParseLifetime("1h"))}, nil},
		{"other repositories", node.NewToken{Scope: access.Scope{Repos: []string{"*"}}}, node.ErrForbidden},
		{"other actions", node.NewToken{Scope: access.Scope{Actions: []string{"read", "block"}}}, node.ErrForbidden},
		{"longer", node.NewToken{Lifetime: must(node.ParseLifetime("25h"))}, node.ErrForbidden},
		{"for ever", node.NewToken{Lifetime: must(node.ParseLifetime("never"))}, node.ErrForbidden},
		{"of others", node.NewToken{User: "bob"}, node.ErrForbidden},
		{"of nobody", node.NewToken{User: "carol"}, node.ErrForbidden},
		{"of what is no action", node.NewToken{Scope: access.Scope{Repos: []string{"lib-a"}, Actions: []string{"read", "fly"}}}, node.ErrForbidden},
	} {
		issued, err := i.IssueToken(t.Context(), alice, c.t)
		wantErr(t, c.what, err, c.want)
		if err == nil && (!issued.Scope.Within(limit) || issued.Expires.After(alice.Expires())) {
			t.Errorf("%s: issued %v until %v", c.what, issued.Scope, issued.Expires)
		}
	}
	wantErr(t, "the operator is no user", lastErr(i.IssueToken(t.Context(), op, node.NewToken{})), node.ErrInvalid)
	wantErr(t, "an action that is none", lastErr(i.IssueToken(t.Context(), op, node.NewToken{User: "bob", Scope: access.Scope{Actions: []string{"fly"}}})), node.ErrInvalid)
	wantErr(t, "anonymous", lastErr(i.IssueToken(t.Context(), access.Anonymous(netip.Addr{}), node.NewToken{})), node.ErrUnauthorized)

	mine, _, err := i.Tokens(alice, node.TokenQuery{})
	if err != nil || len(mine) != 3 {
		t.Errorf("alice has %d tokens, %v", len(mine), err)
	}
	bob := i.token(op, node.NewToken{User: "bob"})
	if all, _, err := i.Tokens(bob, node.TokenQuery{All: true}); err != nil || len(all) != 1 {
		t.Errorf("bob sees %+v, %v", all, err)
	}
	wantErr(t, "tokens of others", lastErr2(i.Tokens(bob, node.TokenQuery{User: "alice"})), node.ErrForbidden)

	for _, id := range []string{"sabcdefghijk", "oidc:ci"} { // what comes of an ID token, at its site and at others
		for name, rule := range map[string]string{"bob": "", "alice": "lead"} {
			if rule != "" {
				i.rule(rule, "user:alice", "*", "manage")
			}
			exchanged := access.UserCaller(access.Login{User: name, Token: id})
			wantErr(t, name+" by "+id, lastErr(i.IssueToken(t.Context(), exchanged, node.NewToken{})), node.ErrForbidden)
		}
	}
}

func lastErr2[T, U any](_ T, _ U, err error) error { return err }

func TestListsComeInPages(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	for k := range 7 {
		i.user(fmt.Sprintf("user%d", k), []string{}...)
	}
	i.user("user1x") // sorts behind user1, whose name begins it
	var names []string
	pages := 0
	for p := (node.Page{Limit: 3}); ; pages++ {
		users, next, err := i.Users(op, p)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range users {
			names = append(names, u.Name)
		}
		if p.After = next; next == "" {
			break
		}
	}
	if got := strings.Join(names, " "); got != "user0 user1 user1x user2 user3 user4 user5 user6" || pages != 2 {
		t.Errorf("%d pages: %s", pages+1, got)
	}
}

// TestListsAreForThoseWhoSayWhoTheyAre holds that nobody else makes the node look
// through them, but where this machine administers the registry.
func TestListsAreForThoseWhoSayWhoTheyAre(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	i.user("alice")
	lists := func(who *access.Caller) (errs []error) {
		_, _, users := i.Users(who, node.Page{})
		_, groups := i.Groups(who)
		_, rules := i.Permissions(who)
		_, _, tokens := i.Tokens(who, node.TokenQuery{})
		return []error{users, groups, rules, tokens}
	}
	here := access.LoopbackCaller(netip.Addr{})
	for _, who := range []*access.Caller{nil, access.Anonymous(netip.Addr{}), here} {
		for _, err := range lists(who) {
			wantErr(t, who.Name(), err, node.ErrUnauthorized)
		}
	}
	i.rule("here", "loopback", "*", "manage")
	for _, err := range lists(here) {
		wantErr(t, "an administrator", err, nil)
	}
}

func TestBadRulesAreRefused(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	i.user("alice")
	i.group("team", "alice")
	i.rule("ok", "user:alice", "lib", "read")
	manage := grantOf("user:alice", "lib", "manage")
	manage.Include = []events.Pattern{must(events.ParsePattern("corp.test"))}
	for what, g := range map[string]events.Grant{
		"nobody": {Repos: []string{"lib"}, Actions: []string{"read"}}, "nowhere": {Principals: []string{"anonymous"}, Actions: []string{"read"}},
		"nothing": {Principals: []string{"anonymous"}, Repos: []string{"lib"}}, "no user": grantOf("user:carol", "lib", "read"),
		"no group": grantOf("group:x", "lib", "read"), "no site": grantOf("site:z", "lib", "read"), "no kind": grantOf("alice", "lib", "read"),
		"no action": grantOf("user:alice", "lib", "fly"), "no repository": grantOf("user:alice", "Lib", "read"),
		"anonymous manages": grantOf("anonymous", "*", "manage"), "manage has no modules": manage,
	} {
		_, _, err := i.PutPermission(t.Context(), op, "r", g)
		wantErr(t, what, err, node.ErrInvalid)
	}
	before := stateHash(t, i.Node)
	if _, made, err := i.PutPermission(t.Context(), op, "ok", events.Grant{Principals: []string{"user:alice"}, Repos: []string{"lib"}, Actions: []string{"read"}, Include: []events.Pattern{}}); err != nil || made {
		t.Errorf("the same again: %t, %v", made, err)
	}
	if stateHash(t, i.Node) != before {
		t.Error("the log has it twice")
	}
	for _, name := range []string{"", "A", "x/y", "-x"} {
		_, _, err := i.PutPermission(t.Context(), op, name, grantOf("user:alice", "lib", "read"))
		wantErr(t, "name "+name, err, node.ErrInvalid)
	}
	for _, name := range []string{"anonymous", "loopback", "authenticated", "operator@a"} {
		_, _, err := i.PutUser(t.Context(), op, name, node.UserChange{})
		wantErr(t, "user "+name, err, node.ErrInvalid)
	}
}

func TestCheckAccess(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	i.user("alice")
	i.user("team-ci")
	i.rule("lead", "user:alice", "team-*", "manage")
	i.rule("open", "anonymous", "team-lib", "read")
	i.rule("ci", "user:team-ci", "team-lib", "publish")
	alice := i.token(op, node.NewToken{User: "alice"})
	for _, c := range []struct {
		who             *access.Caller
		user            string
		action          access.Action
		repo, rule, why string
	}{
		{alice, "", access.Manage, "team-x", "lead", "lead allows it"},
		{alice, "team-ci", access.Publish, "team-lib", "ci", "ci allows it"},
		{alice, "anonymous", access.Publish, "team-lib", "", "no rule"},
		{alice, "anonymous", access.Read, "team-lib", "open", "open allows it"},
		{op, "", access.Manage, "*", "", "may do everything here"},
	} {
		a, err := i.CheckAccess(c.who, node.AccessQuestion{User: c.user, Action: c.action, Repo: c.repo})
		if err != nil || a.Rule != c.rule || !strings.Contains(a.Why, c.why) {
			t.Errorf("%v: %+v, %v", c, a, err)
		}
	}
	ci := i.token(op, node.NewToken{User: "team-ci"})
	_, err := i.CheckAccess(ci, node.AccessQuestion{User: "alice", Action: access.Read, Repo: "lib"})
	wantErr(t, "about others", err, node.ErrForbidden)
}

func TestLastUseIsWrittenBehindRequests(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	i.user("alice")
	alice := i.token(op, node.NewToken{User: "alice"})
	before := stateHash(t, i.Node)
	lastUsed := func() time.Time {
		t.Helper()
		tokens, _, err := i.Tokens(alice, node.TokenQuery{})
		if err != nil || len(tokens) != 1 {
			t.Fatal(tokens, err)
		}
		return tokens[0].LastUsed
	}
	used := lastUsed()
	if time.Since(used) > time.Minute {
		t.Errorf("used at %v", used)
	}
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	i.Node = i.open()
	if got := lastUsed(); !got.Equal(used) {
		t.Errorf("after a restart used at %v, not %v", got, used)
	}
	i.WriteUses()
	if stateHash(t, i.Node) != before {
		t.Error("a use is in the log")
	}
}

func TestNoSecretIsShown(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	var c node.UserChange
	if err := json.Unmarshal([]byte(`{"password":"`+longPassword+`"}`), &c); err != nil {
		t.Fatal(err)
	}
	info, _, err := i.PutUser(t.Context(), op, "alice", c)
	if err != nil {
		t.Fatal(err)
	}
	out := string(must(json.Marshal(info))) + string(must(json.Marshal(c))) + fmt.Sprintf("%v %+v %#v", c, c, c)
	if strings.Contains(out, longPassword) || strings.Contains(out, "$2a$") {
		t.Errorf("the password or its hash is shown: %s", out)
	}
}

// What judges is compiled once, however often somebody is refused.
func TestRefusalsCompileNothing(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	i.group("devs")
	inForce, drafted, err := i.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if inForce != [2]*access.Table{i.Rights(), i.Rights()} {
		t.Error("a proposal compiles the rules that are in force")
	}
	if drafted[0] != drafted[1] || drafted[0] == i.Rights() {
		t.Error("each proposal on top of a change compiles its rules, or none does")
	}
	wantErr(t, "nobody's revocation", i.RevokeToken(t.Context(), access.Anonymous(netip.Addr{}), "tabc", ""), node.ErrUnauthorized)
	wantErr(t, "of what can be no id", i.RevokeToken(t.Context(), op, "t\x00", ""), node.ErrNotFound)
}
