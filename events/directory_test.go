package events_test

import (
	"slices"
	"testing"

	"registry-node/events"
)

func TestBlocks(t *testing.T) {
	w := newWorld(t)
	block := func(s, version string) {
		w.say(s, events.VersionBlocked{Module: v1.Path, Version: version, Reason: "by " + s})
	}
	unblock := func(s, version string, clears ...string) {
		b := events.VersionUnblocked{Module: v1.Path, Version: version}
		for _, c := range clears {
			b.Clears = append(b.Clears, events.Cleared{Site: site(c), At: w.ends[c]})
		}
		w.say(s, b)
	}
	is := func(want string) {
		w.t.Helper()
		b, blocked := w.directory().Blocked(v1)
		if blocked != (want != "") || b.Reason != want {
			t.Errorf("blocked %t %q, want %q", blocked, b.Reason, want)
		}
	}
	block("x", "v1.0.0")
	is("")
	block("b", "v1.1.0")
	is("")
	block("c", "v1.0.0")
	is("by c")
	block("b", "v1.0.0")
	is("by b")
	unblock("b", "v1.0.0", "b", "c")
	is("by b")
	unblock("a", "", "b", "c")
	is("by b")
	unblock("a", "v1.0.0", "b")
	is("by c")
	unblock("a", "v1.0.0", "c")
	is("")
	block("c", "v1.0.0")
	is("by c")
	unblock("a", "v1.0.0", "c")
	block("b", "")
	is("by b")
}

func TestIdentities(t *testing.T) {
	w := newWorld(t)
	get := func(b events.Body) (events.Identity, bool) {
		return w.directory().ResolveIdentity(w.st[b.Key(events.EventID{})])
	}
	user := func() (events.Identity, bool) { return get(events.UserDeleted{Name: "ann"}) }
	w.say("b", events.UserCreated{Name: "ann"})
	w.say("a", events.UserChanged{Name: "ann"})
	if id, ok := user(); ok {
		t.Fatalf("a user that the home never made: %+v", id)
	}
	w.say("a", events.UserCreated{Name: "ann", User: events.User{Display: "Ann"}})
	created := at(w.seconds)
	w.say("a", events.UserChanged{Name: "ann", User: events.User{Display: "Ann B"}})
	w.say("b", events.UserDeleted{Name: "ann"})
	if id, ok := user(); !ok || id.Deleted || id.Body.(events.UserChanged).Display != "Ann B" || id.Created != created || id.Time != at(w.seconds-1) {
		t.Errorf("user %+v", id)
	}
	w.say("a", events.UserDeleted{Name: "ann"})
	w.say("a", events.UserChanged{Name: "ann", User: events.User{Display: "ghost"}})
	if id, ok := user(); !ok || !id.Deleted {
		t.Errorf("user %+v, want it deleted", id)
	}
	w.say("a", events.UserCreated{Name: "ann", User: events.User{Display: "another"}})
	if id, ok := user(); !ok || id.Deleted || id.Created != at(w.seconds) {
		t.Errorf("user %+v, want it new", id)
	}

	token := events.TokenIssued{ID: "t", User: "ann", Hash: events.DigestOf(nil)}
	w.say("x", events.TokenRevoked{ID: "t"})
	w.say("a", token)
	if id, ok := get(token); !ok || id.Deleted {
		t.Errorf("token %+v, revoked by no member", id)
	}
	w.say("c", events.TokenRevoked{ID: "t"})
	token.Hash = events.DigestOf([]byte("another"))
	w.say("a", token)
	if id, ok := get(token); !ok || !id.Deleted || id.Body.(events.TokenIssued).Hash != events.DigestOf(nil) {
		t.Errorf("token %+v, want it revoked for ever", id)
	}

	w.say("a", events.GroupChanged{Name: "devs", Members: []string{"ann"}})
	w.say("a", events.GroupDeleted{Name: "devs"})
	if id, ok := get(events.GroupDeleted{Name: "devs"}); !ok || !id.Deleted {
		t.Errorf("group %+v", id)
	}
	w.say("a", events.GroupChanged{Name: "devs"})
	if id, ok := get(events.GroupDeleted{Name: "devs"}); !ok || id.Deleted {
		t.Errorf("group %+v", id)
	}
}

// What came first is told by the homes' order, not by clocks, nor by how long the
// log of one is.
func TestIdentitiesAreInOrder(t *testing.T) {
	w := newWorld(t)
	since := func(b events.Body) events.Order {
		id, _ := w.directory().ResolveIdentity(w.st[b.Key(events.EventID{})])
		return id.Since
	}
	w.say("a", events.UserCreated{Name: "bob"})
	ann := events.UserCreated{Name: "ann"}
	id := w.say("a", ann)
	w.say("a", events.UserChanged{Name: "ann", User: events.User{Display: "Ann"}})
	first := since(ann)
	if first.Event != id || first.Tenure != 0 {
		t.Errorf("since %+v, want %v", first, id)
	}
	before := events.TokenIssued{ID: "t", User: "ann", Hash: events.DigestOf(nil)}
	w.say("a", before)
	w.say("a", events.HomeCeded{To: site("b"), After: w.ends["b"]})
	after := events.TokenIssued{ID: "u", User: "ann", Hash: events.DigestOf(nil)}
	if id := w.say("b", after); id.Mark.Compare(first.Event.Mark) >= 0 {
		t.Fatalf("the log of b is at %v, and was to be the shorter", id)
	}
	if first.Compare(since(before)) >= 0 || since(before).Compare(since(after)) >= 0 {
		t.Errorf("user %+v, token %+v, token %+v are in another order", first, since(before), since(after))
	}
	w.say("b", events.UserDeleted{Name: "ann"})
	w.say("b", ann)
	if again := since(ann); again.Compare(since(before)) <= 0 || again.Compare(since(after)) <= 0 {
		t.Errorf("the new user is of %+v, before a token of the old one", again)
	}
}

func TestRepositories(t *testing.T) {
	w := newWorld(t)
	create := func(s, name, owns string) events.RepoID {
		b := events.RepoCreated{Name: repoName(name), Kind: events.Local, Home: site("b"), Settings: events.RepoSettings{Owns: []events.Pattern{pattern(owns)}}}
		return events.RepoID{EventID: w.say(s, b)}
	}
	foreign := create("b", "two", "m.test/**")
	if d := w.directory(); d.Repo(foreign) != nil || d.RepoNamed(repoName("two")) != nil {
		t.Error("a repository that the registry's home did not make")
	}
	two := create("a", "two", "m.test/**")
	one := create("a", "one", "m.test/a")
	owner := func(path string) string {
		if r := w.directory().Owner(path); r != nil {
			return r.Name.String()
		}
		return ""
	}
	if got := []string{owner("m.test/a/v2"), owner("m.test/b"), owner("m.testing")}; !slices.Equal(got, []string{"one", "two", ""}) {
		t.Errorf("owners %q", got)
	}
	w.say("a", events.RepoChanged{Repo: one, Kind: events.Local, Settings: events.RepoSettings{Owns: []events.Pattern{pattern("n.test")}}})
	w.say("a", events.RepoChanged{Repo: one, Kind: events.Virtual, Settings: events.RepoSettings{Members: []events.RepoName{repoName("two")}}})
	w.say("b", events.RepoDeleted{Repo: two})
	if got := []string{owner("m.test/a"), owner("n.test")}; !slices.Equal(got, []string{"two", "one"}) {
		t.Errorf("owners %q", got)
	}
	w.say("a", events.RepoDeleted{Repo: two})
	if got := owner("m.test/a"); got != "" {
		t.Errorf("a deleted repository owns: %q", got)
	}
	if d := w.directory(); len(d.Repos()) != 1 || !d.RepoNamed(repoName("two")).Deleted {
		t.Errorf("repositories %v", d.Repos())
	}
	again := create("a", "two", "m.test/b")
	if r := w.directory().RepoNamed(repoName("two")); r.ID != again || r.Deleted {
		t.Errorf("name means %+v, want the new one", r)
	}
	w.say("a", events.RepoRestored{Repo: two})
	if r := w.directory().RepoNamed(repoName("two")); r.ID != two {
		t.Errorf("name means %+v, want the first of two that exist", r)
	}
}
