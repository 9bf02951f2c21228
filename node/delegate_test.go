package node

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/node/access"
)

// realm is what an administrator and delegates change in tests of delegation: only
// as delegation lets them.
type realm struct {
	groups map[string][]string
	rules  map[string]events.Rule
	// tokens are the scopes of the tokens that a delegate has issued, by user.
	tokens map[string][]access.Scope
}

func (w realm) delegation() delegation {
	return delegation{access.NewTable(w.groups, w.rules), w.groups, w.rules}
}

// The names of a realm: those of project a, which the delegate manages, and others.
var (
	realmUsers  = []string{"a-lead", "a-ci", "a-boss", "bob", "root"}
	realmGroups = []string{"a-devs", "a-admins", "others", "admins"}
	realmRules  = []string{"a-1", "a-2", "a-3", "x-1", "admins"}
	realmRepos  = []string{"a-lib", "a-app", "a-*", "all", "b-lib", "a*", "*", "?-lib"}
	realmPaths  = []string{"corp.test/a/lib", "corp.test/b/lib"}
)

// loggedID is the id of a token that is in the log.
const loggedID = "tabcdefghijk"

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

func some[T comparable](r *rand.Rand, list []T) (out []T) {
	for range 1 + r.IntN(2) {
		if v := pick(r, list); !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

func randomGrant(r *rand.Rand) events.Grant {
	principals := []string{"user:" + pick(r, realmUsers), "group:" + pick(r, realmGroups), events.Anonymous, events.Authenticated}
	g := events.Grant{Principals: some(r, principals), Repos: some(r, realmRepos), Actions: some(r, []string{"read", "publish", "block", "manage"})}
	if r.IntN(3) == 0 && !slices.Contains(g.Actions, "manage") {
		g.Include = []events.Pattern{must1(events.ParsePattern("corp.test/" + pick(r, []string{"a", "b"})))}
	}
	return g
}

func must1[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// randomRealm is what an administrator made, and hands to the delegate.
func randomRealm(r *rand.Rand) realm {
	w := realm{map[string][]string{}, map[string]events.Rule{}, map[string][]access.Scope{}}
	for _, g := range realmGroups {
		w.groups[g] = some(r, realmUsers)
	}
	for _, name := range realmRules {
		if r.IntN(2) == 0 {
			w.rules[name] = events.Rule{Name: name, Grant: randomGrant(r)}
		}
	}
	w.rules["hand-over"] = events.Rule{Name: "hand-over", Grant: events.Grant{Principals: []string{"user:a-lead"}, Repos: []string{"a-*"}, Actions: []string{"manage", "read"}}}
	return w
}

// change is what somebody tries with a realm: it is carried out if he may.
func (w realm) change(r *rand.Rand, who *access.Caller) string {
	d := w.delegation()
	switch r.IntN(4) {
	case 0:
		name, g := pick(r, realmRules), randomGrant(r)
		if d.mayChangeRule(who, name, &g) == nil {
			w.rules[name] = events.Rule{Name: name, Grant: g}
			return fmt.Sprintf("rule %s is %+v", name, g)
		}
	case 1:
		if name := pick(r, realmRules); d.mayChangeRule(who, name, nil) == nil {
			delete(w.rules, name)
			return "no rule " + name
		}
	case 2:
		if name := pick(r, realmGroups); d.mayChangeGroup(who, name) == nil {
			w.groups[name] = some(r, realmUsers)
			return fmt.Sprintf("group %s is %v", name, w.groups[name])
		}
	case 3:
		t := NewToken{User: pick(r, realmUsers)}
		if r.IntN(2) == 0 {
			t.Scope = access.Scope{Repos: some(r, realmRepos)}
		}
		if scope, _, err := d.mayIssue(who, t, time.Now()); err == nil {
			w.tokens[t.User] = append(w.tokens[t.User], scope)
			return fmt.Sprintf("token of %s for %v", t.User, scope)
		}
	}
	return ""
}

// needs are all that there is to do in a realm.
func needs() (all []access.Need) {
	for _, repo := range []string{"a-lib", "a-app", "all", "b-lib", "a-lead", "a-boss", "root", "admins", "a-admins", "a-9", "x-1", "*"} {
		all = append(all, access.Need{Action: access.Manage, Repo: repo})
		for _, a := range []access.Action{access.Read, access.Publish, access.Block} {
			for _, path := range realmPaths {
				all = append(all, access.Need{Action: a, Repo: repo, Module: path})
			}
		}
	}
	return all
}

func userWith(name, token string, s access.Scope) *access.Caller {
	return access.UserCaller(access.Login{User: name, Token: token, Scope: s})
}

// grantable reports what a delegate had in his hands from the start: what he may do,
// what is in repositories that he manages, and, but for managing, what users and
// groups may do whose names he manages.
func (w realm) grantable(who *access.Caller, n access.Need) bool {
	d := w.delegation()
	if d.table.Allows(who, n) || d.table.Manages(who, n.Repo) {
		return true
	}
	if n.Action == access.Manage {
		return false
	}
	for _, u := range realmUsers {
		if d.table.Manages(who, u) && d.table.Allows(userWith(u, "", access.Scope{}), n) {
			return true
		}
	}
	for _, g := range realmGroups {
		if !d.table.Manages(who, g) {
			continue
		}
		// Somebody who is in this group and nothing else.
		alone := access.NewTable(map[string][]string{g: {"nobody"}}, w.rules)
		if alone.Allows(userWith("nobody", "", access.Scope{}), n) {
			return true
		}
	}
	return false
}

// harmed names something that is not the delegate's and that is otherwise now.
func (w realm) harmed(who *access.Caller, now realm) string {
	table := w.delegation().table
	mine := func(repo string) bool { return table.Manages(who, repo) }
	for name, members := range w.groups {
		if !mine(name) && !slices.Equal(members, now.groups[name]) {
			return "group " + name
		}
	}
	for _, name := range append(realmRules, "hand-over") {
		old, had := w.rules[name]
		r, has := now.rules[name]
		allMine := mine(name) && !slices.ContainsFunc(old.Repos, func(repo string) bool { return !mine(repo) })
		if !allMine && (had != has || !reflect.DeepEqual(old, r)) {
			return "rule " + name
		}
	}
	return ""
}

// TestDelegatesStayWithinTheirProject tries many changes by a delegate, and by those
// whom the delegate can act as by then: none of them, with any token that was
// issued, can do what the delegate had not in his hands from the start, and nothing
// of others has changed.
func TestDelegatesStayWithinTheirProject(t *testing.T) {
	done := map[string]int{}
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 5))
		w := randomRealm(r)
		lead := userWith("a-lead", loggedID, access.Scope{})
		if w.delegation().admin(lead) {
			continue
		}
		start := realm{maps.Clone(w.groups), maps.Clone(w.rules), nil}
		w.tokens["a-lead"] = []access.Scope{{}}
		var log []string
		for range 40 {
			user := pick(r, slices.Sorted(maps.Keys(w.tokens)))
			who := userWith(user, loggedID, pick(r, w.tokens[user]))
			if what := w.change(r, who); what != "" {
				log = append(log, user+": "+what)
				done[what[:5]]++
			}
		}
		if what := start.harmed(lead, w); what != "" {
			t.Fatalf("seed %d: the delegate has changed %s\nat first: groups %v, rules %v\n%s", seed, what, start.groups, start.rules, log)
		}
		table := w.delegation().table
		for user, scopes := range w.tokens {
			for _, s := range scopes {
				for _, n := range needs() {
					if table.Allows(userWith(user, loggedID, s), n) && !start.grantable(lead, n) {
						t.Fatalf("seed %d: with a token of %s for %v the delegate can %v\nat first: groups %v, rules %v\n%s", seed, user, s, n, start.groups, start.rules, log)
					}
				}
			}
		}
	}
	for _, what := range []string{"rule ", "no ru", "group", "token"} {
		if done[what] < 100 {
			t.Errorf("only %d changes are a %q", done[what], what)
		}
	}
}

// TestTokensIssueNoMore holds that whoever shows a limited token gets nothing out of
// it that goes beyond, whatever it is for and whichever changes it makes.
func TestTokensIssueNoMore(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 6))
		w := randomRealm(r)
		limit := access.Scope{Repos: []string{"a-*"}, Actions: some(r, []string{"read", "publish", "manage"})}
		who := userWith(pick(r, []string{"a-lead", "bob"}), loggedID, limit)
		if w.delegation().admin(who) {
			continue
		}
		for range 20 {
			w.change(r, who)
		}
		for user, scopes := range w.tokens {
			for _, s := range scopes {
				if !s.Within(limit) {
					t.Fatalf("seed %d: with a token for %v one of %s is issued for %v", seed, limit, user, s)
				}
			}
		}
	}
}
