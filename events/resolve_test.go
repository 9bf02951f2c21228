package events_test

import (
	"crypto/ed25519"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	. "registry-node/events"
)

// A world is a registry in which tests let sites say one thing after the other:
// founded by a; b and c are members, x is not.
type world struct {
	t       testing.TB
	h       *history
	st      state
	ends    map[string]Mark
	seconds int
}

func newWorld(t testing.TB) *world {
	first := SiteJoined{Name: site("a"), PublicKey: public(1), Genesis: Genesis{Nonce: make([]byte, 32), Recovery: public(operator)}}
	w := &world{t: t, h: &history{registry: RegistryID(first)}, st: state{}, ends: map[string]Mark{}}
	w.say("a", first)
	w.say("a", SiteJoined{Name: site("b"), PublicKey: public(2)})
	w.say("a", SiteJoined{Name: site("c"), PublicKey: public(3)})
	return w
}

// say appends an entry to a site's log and applies it.
func (w *world) say(s string, b Body) EventID {
	w.t.Helper()
	m := w.ends[s]
	m = Mark{Epoch: 1, Seq: m.Seq + 1}
	w.ends[s] = m
	w.seconds++
	data, err := EncodeBody(b)
	if err != nil {
		w.t.Fatal(err)
	}
	ev := Event{ID: EventID{Site: site(s), Mark: m}, Time: at(w.seconds), Type: b.Type(), Data: data, Body: b}
	if err := w.st.apply(ev); err != nil {
		w.t.Fatal(err)
	}
	return ev.ID
}

func (w *world) repo(kind RepoKind, home string) RepoID {
	settings := RepoSettings{}
	if kind == Remote {
		settings = RepoSettings{Upstream: "https://p.test", Sumdb: "off"}
	}
	return RepoID{EventID: w.say("a", RepoCreated{Name: repoName("r"), Kind: kind, Home: site(home), Settings: settings})}
}

func (w *world) directory() *Directory { return w.st.directory(w.h) }

var v1 = modVersion("m.test/a", "v1.0.0")

func (w *world) version(id RepoID) Version {
	d := w.directory()
	return d.ResolveVersion(d.Repo(id), w.st[KeyVersion(id, v1)])
}

// publish lets a site publish content n of v1 into a repository.
func (w *world) publish(s string, id RepoID, n byte) EventID {
	w.t.Helper()
	return w.say(s, VersionPublished{ModuleVersion: Of(id, v1), Content: content(n), Actor: "ann"})
}

func (w *world) fill(s string, id RepoID, c Content) EventID {
	w.t.Helper()
	return w.say(s, VersionFilled{ModuleVersion: Of(id, v1), Content: c})
}

// is checks the status and the content of v1, 0 for none.
func (w *world) is(id RepoID, status Status, n byte) {
	w.t.Helper()
	v := w.version(id)
	if v.Status != status || n > 0 != (len(v.Contents) == 1) || n > 0 && v.Contents[0].ZipH1 != content(n).ZipH1 {
		w.t.Errorf("%v with %d contents %+v, want %v with content %d", v.Status, len(v.Contents), v.Contents, status, n)
	}
}

func TestOnlyTheHomePublishes(t *testing.T) {
	w := newWorld(t)
	id := w.repo(Local, "b")
	w.publish("a", id, 1)
	w.publish("c", id, 1)
	w.publish("x", id, 1)
	w.fill("b", id, content(1))
	w.is(id, Absent, 0)
	w.publish("b", id, 2)
	w.is(id, Held, 2)
	w.publish("b", id, 3)
	w.is(id, Held, 2)
	if v := w.version(id); len(v.Rejected) != 1 || v.Rejected[0].Event != (EventID{Site: site("b"), Mark: w.ends["b"]}) {
		t.Errorf("rejected %+v, want the second content", v.Rejected)
	}
	w.say("c", VersionHidden{ModuleVersion: Of(id, v1)})
	w.is(id, Held, 2)
	w.say("b", VersionHidden{ModuleVersion: Of(id, v1)})
	w.is(id, Hidden, 2)
	w.publish("b", id, 2)
	w.is(id, Hidden, 2)
}

func TestCededHomeDecidesFromThereOn(t *testing.T) {
	w := newWorld(t)
	id := w.repo(Local, "b")
	w.publish("c", id, 3) // before it is home
	w.say("c", HomeCeded{Repo: id, To: site("c")})
	w.say("b", HomeCeded{Repo: id, To: site("c"), After: w.ends["c"]})
	w.publish("b", id, 1) // after it was home
	w.is(id, Absent, 0)
	w.publish("c", id, 2)
	w.is(id, Held, 2)
	if got := w.directory().Repo(id).Home(); got != site("c") {
		t.Errorf("home is %s, want c", got)
	}
	w.say("b", HomeCeded{Repo: id, Tenure: 0, To: site("b"), After: w.ends["b"]})
	w.say("b", HomeCeded{Repo: id, Tenure: 1, To: site("b"), After: w.ends["b"]})
	if got := w.directory().Repo(id).Home(); got != site("c") {
		t.Errorf("home is %s after a former home ceded again, want c", got)
	}
}

// A home that was given up can't hand its right to a third, even if it said so
// before: the registry's home and it may not know of each other.
func TestForcedBeatsCeded(t *testing.T) {
	w := newWorld(t)
	id := w.repo(Local, "b")
	w.publish("b", id, 1)
	good := w.ends["b"]
	w.say("b", HomeCeded{Repo: id, To: site("c"), After: w.ends["c"]})
	w.say("c", HomeForced{Repo: id, At: good, To: site("c")}) // not the registry's home
	if got := w.directory().Repo(id).Home(); got != site("c") {
		t.Fatalf("home is %s, want c", got)
	}
	w.say("a", HomeForced{Repo: id, At: good, To: site("a"), After: w.ends["a"]})
	if got := w.directory().Repo(id).Home(); got != site("a") {
		t.Errorf("home is %s, want a", got)
	}
	w.is(id, Held, 1)
}

// What a lost home wrote in good faith is undecided until the new one says.
func TestPublishedAfterAForcedEndIsUndecided(t *testing.T) {
	w := newWorld(t)
	id := w.repo(Local, "b")
	w.say("b", FeatureRaised{Level: 1})
	lost := w.ends["b"]
	w.publish("b", id, 1)
	w.say("a", HomeForced{Repo: id, At: lost, To: site("c"), After: w.ends["c"]})
	w.is(id, Undecided, 0)
	w.publish("c", id, 2)
	w.is(id, Held, 2)
}

// What a site stated while it was not home doesn't swallow the same statement
// once it is.
func TestHomeMayPublishWhatItStatedWithoutRight(t *testing.T) {
	w := newWorld(t)
	id := w.repo(Local, "b")
	w.say("b", FeatureRaised{Level: 1})
	lost := w.ends["b"]
	w.publish("b", id, 1) // too late: forced away at lost
	w.say("a", HomeForced{Repo: id, At: lost, To: site("c"), After: w.ends["c"]})
	w.say("c", HomeCeded{Repo: id, Tenure: 1, To: site("b"), After: w.ends["b"]})
	w.is(id, Undecided, 0)
	w.publish("b", id, 1)
	w.is(id, Held, 1)
}

// Tenures of one site don't overlap, whatever the one before names as the start.
func TestRegainedTenureStartsAfterTheFormer(t *testing.T) {
	w := newWorld(t)
	id := w.repo(Local, "b")
	w.publish("b", id, 1)
	w.publish("b", id, 2)
	w.say("b", HomeCeded{Repo: id, To: site("b")})
	if v := w.version(id); v.Status != Held || len(v.Rejected) != 1 {
		t.Errorf("%v, rejected %+v, want one", v.Status, v.Rejected)
	}
	homes := w.directory().Repo(id).Homes
	if len(homes) != 2 || homes[1].After != homes[0].Until {
		t.Errorf("tenures %+v", homes)
	}
}

func TestRegistryHomeMoves(t *testing.T) {
	signed := func(w *world, by byte, b HomeForced) HomeForced {
		b.Signature = ed25519.Sign(signer(by), ForcedText(w.h.registry, b))
		return b
	}
	move := HomeForced{At: mark("1/3"), To: site("c"), After: mark("0/0")}
	tests := map[string]struct {
		do   func(*world)
		home string
	}{
		"nothing":                   {func(w *world) {}, "a"},
		"ceded":                     {func(w *world) { w.say("a", HomeCeded{To: site("b"), After: w.ends["b"]}) }, "b"},
		"ceded by another":          {func(w *world) { w.say("b", HomeCeded{To: site("b"), After: w.ends["b"]}) }, "a"},
		"forced without signature":  {func(w *world) { w.say("b", move) }, "a"},
		"forced with another's key": {func(w *world) { w.say("b", signed(w, 2, move)) }, "a"},
		"forced by the operator":    {func(w *world) { w.say("b", signed(w, operator, move)) }, "c"},
		"forced at no member":       {func(w *world) { w.say("x", signed(w, operator, move)) }, "c"},
		"forced, text changed": {func(w *world) {
			b := signed(w, operator, move)
			b.To = site("b")
			w.say("b", b)
		}, "a"},
		"forced for another registry": {func(w *world) {
			b := move
			b.Signature = ed25519.Sign(signer(operator), ForcedText(DigestOf(nil), b))
			w.say("b", b)
		}, "a"},
		"forced, then ceded by the lost home": {func(w *world) {
			w.say("b", signed(w, operator, move))
			w.say("a", HomeCeded{To: site("b")})
		}, "c"},
		"forced after it was ceded": {func(w *world) {
			w.say("a", HomeCeded{To: site("b"), After: w.ends["b"]})
			w.say("b", signed(w, operator, move))
		}, "c"},
		"two tenures": {func(w *world) {
			w.say("a", HomeCeded{To: site("b"), After: w.ends["b"]})
			w.say("b", HomeCeded{Tenure: 1, To: site("c"), After: w.ends["c"]})
		}, "c"},
		"ceded twice": {func(w *world) {
			w.say("a", HomeCeded{To: site("b"), After: w.ends["b"]})
			w.say("a", HomeCeded{To: site("c"), After: w.ends["c"]})
		}, "b"},
		"ceded a tenure too far": {func(w *world) { w.say("a", HomeCeded{Tenure: 1, To: site("b")}) }, "a"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tt.do(w)
			d := w.directory()
			if d.Home() != site(tt.home) {
				t.Fatalf("home is %s, want %s", d.Home(), tt.home)
			}
			w.say(tt.home, FeatureRaised{Level: 7})
			for _, s := range []string{"a", "b", "c"} {
				if s != tt.home {
					w.say(s, FeatureRaised{Level: 9})
				}
			}
			if got := w.directory().Level; got != 7 {
				t.Errorf("level %d, want what the home says: 7", got)
			}
		})
	}
}

// A flood of forged moves is dropped, so that it can't be made to cost a
// signature each on every resolve.
func TestForgedMovesAreBounded(t *testing.T) {
	w := newWorld(t)
	for range 100 {
		w.say("b", HomeForced{At: mark("1/3"), To: site("c")})
	}
	if n := len(w.st[KeyRegistry()].Of(site("b"))); n > 4 {
		t.Errorf("%d forced moves of one tenure are kept", n)
	}
	w.say("b", HomeForced{Tenure: 1, At: mark("1/3"), To: site("c")})
	if n := len(w.st[KeyRegistry()].Of(site("b"))); n != 5 {
		t.Errorf("a forced move of another tenure is not kept: %d facts", n)
	}
}

func TestMembership(t *testing.T) {
	w := newWorld(t)
	w.say("b", SiteJoined{Name: site("x"), PublicKey: public(4)})
	w.say("x", SiteJoined{Name: site("x"), PublicKey: public(4)})
	if m, ok := w.directory().Site(site("x")); ok {
		t.Fatalf("x is a member by its own word: %+v", m)
	}
	w.say("a", SiteInvited{Name: site("x"), Secret: DigestOf(nil), Expires: at(99)})
	w.say("x", VersionBlocked{Module: "m.test/a", Reason: "spite"})
	if m, ok := w.directory().Site(site("x")); !ok || len(m.Keys) != 0 || len(w.directory().Blocks()) != 0 {
		t.Fatalf("x counts once it is invited: %+v", m)
	}
	w.say("a", SiteJoined{Name: site("x"), PublicKey: public(4), Addresses: []string{"x.test"}})
	w.say("a", SiteJoined{Name: site("x"), PublicKey: public(5)})
	w.say("a", SiteKey{Name: site("x"), PublicKey: public(6), After: mark("1/5")})
	w.say("a", SiteKey{Name: site("x"), PublicKey: public(7), After: mark("1/4")})
	w.say("b", SiteKey{Name: site("x"), PublicKey: public(8), After: mark("1/9")})
	m, _ := w.directory().Site(site("x"))
	for s, want := range map[string]PublicKey{"1/1": public(4), "1/5": public(4), "1/6": public(6), "2/6": public(6)} {
		if got := m.Key(mark(s)); !slices.Equal(got, want) {
			t.Errorf("key at %s is %x, want %x", s, got, want)
		}
	}
	if m.Joined.Site != site("a") || !slices.Equal(m.Addresses, []string{"x.test"}) {
		t.Errorf("member %+v", m)
	}
	w.say("a", SiteChanged{Name: site("x"), Addresses: []string{"y.test"}})
	w.say("b", SiteLeft{Name: site("x"), CutOff: mark("0/0")})
	if m, _ := w.directory().Site(site("x")); m.Left || !slices.Equal(m.Addresses, []string{"y.test"}) {
		t.Errorf("member %+v", m)
	}
}

func TestCutOff(t *testing.T) {
	w := newWorld(t)
	id := w.repo(Local, "b")
	w.say("b", VersionBlocked{Module: "m.test/a", Reason: "first"})
	cut := w.ends["b"]
	w.publish("b", id, 1)
	w.say("b", VersionBlocked{Module: "m.test/b", Reason: "second"})
	w.is(id, Held, 1)
	w.say("a", SiteLeft{Name: site("b"), CutOff: cut})
	w.is(id, Absent, 0)
	if blocks := w.directory().Blocks(); len(blocks) != 1 || blocks[0].Reason != "first" {
		t.Errorf("blocks %+v, want the one before the cut-off", blocks)
	}
	w.say("a", SiteLeft{Name: site("b"), CutOff: w.ends["b"]})
	w.say("a", SiteJoined{Name: site("b"), PublicKey: public(9)})
	w.is(id, Absent, 0)
}

// No cut-off takes away what homes rest on, nor can a home cut off itself.
func TestCutOffSparesWhatHomesRestOn(t *testing.T) {
	w := newWorld(t)
	w.say("a", SiteLeft{Name: site("a"), CutOff: mark("1/1")})
	if m, _ := w.directory().Site(site("a")); m.Left {
		t.Errorf("the home has left: %+v", m)
	}
	w.say("a", HomeCeded{To: site("b"), After: w.ends["b"]})
	ceded := w.ends["a"]
	w.say("a", VersionBlocked{Module: "m.test/a", Reason: "late"})
	w.say("b", SiteLeft{Name: site("a"), CutOff: mark("1/2")})
	d := w.directory()
	if m, _ := d.Site(site("a")); !m.Left || m.CutOff != ceded || d.Home() != site("b") || len(d.Sites()) != 3 || len(d.Blocks()) != 0 {
		t.Errorf("home %s, a is %+v, want it cut off at %v", d.Home(), m, ceded)
	}
}

func TestFillsOfSeveralSitesAreJoined(t *testing.T) {
	w := newWorld(t)
	id := w.repo(Remote, "a")
	late, early := modOnly(content(1)), zipOnly(content(1))
	late.Info = []byte("late")
	w.fill("c", id, late)
	w.modHeld(id)
	w.fill("b", id, early)
	w.is(id, Held, 1)
	other := content(1)
	other.Info, other.Zip.Digest = []byte("first by name"), DigestOf([]byte("another zip of the same tree"))
	w.fill("a", id, other)
	w.is(id, Held, 1)
	v := w.version(id)
	c := v.Content()
	if string(c.Info) != "first by name" || c.Zip != other.Zip || !slices.Equal(c.Zips, []Blob{other.Zip, early.Zip}) || c.First.Event.Site != site("a") {
		t.Errorf("content %+v", c)
	}
	if len(v.Seen) != 3 || v.FirstSeen() != v.Seen[2].Time || v.Seen[2].Site != site("c") {
		t.Errorf("seen %+v, first %v", v.Seen, v.FirstSeen())
	}
	w.fill("x", id, content(2))
	w.is(id, Held, 1)
}

// modHeld checks that of v1 the go.mod alone is held.
func (w *world) modHeld(id RepoID) {
	w.t.Helper()
	if v := w.version(id); v.Status != Held || len(v.Contents) != 1 || v.Content().HasZip() || !v.Content().HasMod() {
		w.t.Errorf("%v with %+v, want one go.mod", v.Status, v.Contents)
	}
}

func TestDifferentFillsFreezeUntilSettled(t *testing.T) {
	sameMod := content(2)
	sameMod.ModH1, sameMod.Mod = content(1).ModH1, content(1).Mod
	for name, other := range map[string]Content{"whole": content(2), "go.mod": modOnly(content(2)), "zip": zipOnly(sameMod)} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.repo(Remote, "a")
			w.fill("b", id, content(1))
			w.fill("c", id, other)
			if v := w.version(id); v.Status != Conflicted || len(v.Contents) != 2 {
				t.Fatalf("%v with %+v, want a conflict of two", v.Status, v.Contents)
			}
			settle := VersionSettled{ModuleVersion: Of(id, v1), ModH1: content(1).ModH1, ZipH1: content(1).ZipH1}
			w.say("b", settle)
			if v := w.version(id); v.Status != Conflicted || v.Settled != nil {
				t.Fatalf("%v after another site settled", v.Status)
			}
			w.say("a", settle)
			w.is(id, Held, 1)
			if v := w.version(id); v.Settled == nil || *v.Settled != settle {
				t.Errorf("settled %+v", v.Settled)
			}
			settle.ModH1, settle.ZipH1 = content(3).ModH1, content(3).ZipH1
			w.say("a", settle)
			w.is(id, Absent, 0)
		})
	}
}

// A second content from the same site is a conflict too, and repeated fills add
// nothing.
func TestFillIsKeptOnce(t *testing.T) {
	w := newWorld(t)
	id := w.repo(Remote, "a")
	for range 3 {
		w.fill("b", id, modOnly(content(1)))
		w.fill("b", id, zipOnly(content(1)))
		w.fill("b", id, content(1))
	}
	if n := len(w.st[KeyVersion(id, v1)].Of(site("b"))); n > 3 {
		t.Errorf("%d facts for one content", n)
	}
	w.fill("b", id, content(2))
	if v := w.version(id); v.Status != Conflicted {
		t.Errorf("%v, want conflicted", v.Status)
	}
	for n := range byte(100) {
		c := content(3)
		c.ZipH1 = H1(DigestOf([]byte{n}))
		w.fill("b", id, c)
	}
	if n := len(w.st[KeyVersion(id, v1)].Of(site("b"))); n > 20 {
		t.Errorf("%d facts of one site about one version", n)
	}
}

func TestBlocks(t *testing.T) {
	w := newWorld(t)
	block := func(s, version string) {
		w.say(s, VersionBlocked{Module: v1.Path, Version: version, Reason: "by " + s})
	}
	unblock := func(s, version string, clears ...string) {
		b := VersionUnblocked{Module: v1.Path, Version: version}
		for _, c := range clears {
			b.Clears = append(b.Clears, Cleared{Site: site(c), At: w.ends[c]})
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
	get := func(b Body) (Identity, bool) { return w.directory().ResolveIdentity(w.st[b.Key(EventID{})]) }
	user := func() (Identity, bool) { return get(UserDeleted{Name: "ann"}) }
	w.say("b", UserCreated{Name: "ann"})
	w.say("a", UserChanged{Name: "ann"})
	if id, ok := user(); ok {
		t.Fatalf("a user that the home never made: %+v", id)
	}
	w.say("a", UserCreated{Name: "ann", User: User{Display: "Ann"}})
	created := at(w.seconds)
	w.say("a", UserChanged{Name: "ann", User: User{Display: "Ann B"}})
	w.say("b", UserDeleted{Name: "ann"})
	if id, ok := user(); !ok || id.Deleted || id.Body.(UserChanged).Display != "Ann B" || id.Created != created || id.Time != at(w.seconds-1) {
		t.Errorf("user %+v", id)
	}
	w.say("a", UserDeleted{Name: "ann"})
	w.say("a", UserChanged{Name: "ann", User: User{Display: "ghost"}})
	if id, ok := user(); !ok || !id.Deleted {
		t.Errorf("user %+v, want it deleted", id)
	}
	w.say("a", UserCreated{Name: "ann", User: User{Display: "another"}})
	if id, ok := user(); !ok || id.Deleted || id.Created != at(w.seconds) {
		t.Errorf("user %+v, want it new", id)
	}

	token := TokenIssued{ID: "t", User: "ann", Hash: DigestOf(nil)}
	w.say("x", TokenRevoked{ID: "t"})
	w.say("a", token)
	if id, ok := get(token); !ok || id.Deleted {
		t.Errorf("token %+v, revoked by no member", id)
	}
	w.say("c", TokenRevoked{ID: "t"})
	token.Hash = DigestOf([]byte("another"))
	w.say("a", token)
	if id, ok := get(token); !ok || !id.Deleted || id.Body.(TokenIssued).Hash != DigestOf(nil) {
		t.Errorf("token %+v, want it revoked for ever", id)
	}

	w.say("a", GroupChanged{Name: "devs", Members: []string{"ann"}})
	w.say("a", GroupDeleted{Name: "devs"})
	if id, ok := get(GroupDeleted{Name: "devs"}); !ok || !id.Deleted {
		t.Errorf("group %+v", id)
	}
	w.say("a", GroupChanged{Name: "devs"})
	if id, ok := get(GroupDeleted{Name: "devs"}); !ok || id.Deleted {
		t.Errorf("group %+v", id)
	}
}

func TestRepositories(t *testing.T) {
	w := newWorld(t)
	create := func(s, name, owns string) RepoID {
		b := RepoCreated{Name: repoName(name), Kind: Local, Home: site("b"), Settings: RepoSettings{Owns: []Pattern{pattern(owns)}}}
		return RepoID{EventID: w.say(s, b)}
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
	w.say("a", RepoChanged{Repo: one, Kind: Local, Settings: RepoSettings{Owns: []Pattern{pattern("n.test")}}})
	w.say("a", RepoChanged{Repo: one, Kind: Virtual, Settings: RepoSettings{Members: []RepoName{repoName("two")}}})
	w.say("b", RepoDeleted{Repo: two})
	if got := []string{owner("m.test/a"), owner("n.test")}; !slices.Equal(got, []string{"two", "one"}) {
		t.Errorf("owners %q", got)
	}
	w.say("a", RepoDeleted{Repo: two})
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
	w.say("a", RepoRestored{Repo: two})
	if r := w.directory().RepoNamed(repoName("two")); r.ID != two {
		t.Errorf("name means %+v, want the first of two that exist", r)
	}
}

func TestSeen(t *testing.T) {
	w := newWorld(t)
	id := w.repo(Remote, "a")
	see := func(s string, versions ...string) {
		w.say(s, VersionSeen{Repo: id, Module: v1.Path, Versions: versions})
	}
	see("x", "v1.0.0", "v1.9.0")
	see("c", "v1.1.0")
	first := at(w.seconds)
	see("b", "v1.0.0", "v1.1.0")
	see("c", "v1.0.0", "v1.1.0")
	see("c", "v1.0.0")
	got := w.directory().ResolveSeen(w.st[KeyModule(id, v1.Path)])
	if want := (map[string]string{"v1.0.0": at(w.seconds - 2).String(), "v1.1.0": first.String()}); len(got) != 2 || got["v1.1.0"].String() != want["v1.1.0"] || got["v1.0.0"].String() != want["v1.0.0"] {
		t.Errorf("seen %v, want %v", got, want)
	}
	if n := len(w.st[KeyModule(id, v1.Path)].Of(site("c"))); n != 2 {
		t.Errorf("%d facts of c, want the two that said something new", n)
	}
}

// A contribution is bounded in facts and in bytes; what comes later is dropped.
func TestContributionIsBounded(t *testing.T) {
	for name, reason := range map[string]string{"facts": "x", "bytes": strings.Repeat("x", 1000)} {
		t.Run(name, func(t *testing.T) {
			b := VersionBlocked{Module: v1.Path, Reason: reason}
			data := must(EncodeBody(b))
			if name == "bytes" { // of fields that this version doesn't know
				data = append(data[:len(data)-1], `,"later":"`+strings.Repeat("x", 50_000)+`"}`...)
			}
			var c Contribution
			kept := 0
			for n := range 5000 {
				next, changed, err := Apply(c, Event{ID: EventID{site("a"), Mark{1, uint64(n + 1)}, 0}, Time: at(n), Type: b.Type(), Data: data, Body: b})
				if err != nil || changed == c.Full() {
					t.Fatalf("event %d: changed %t, full %t, %v", n, changed, c.Full(), err)
				}
				c, kept = next, len(next)
			}
			if size := len(c.Encode()); !c.Full() || kept == 5000 || size > 10<<20 {
				t.Errorf("%d facts, %d bytes, full: %t", kept, size, c.Full())
			}
		})
	}
}

func TestApplyLeavesItsArgumentsAlone(t *testing.T) {
	b := VersionBlocked{Module: v1.Path, Reason: "x"}
	ev := func(n uint64, i int) Event {
		return Event{ID: EventID{site("a"), Mark{1, n}, i}, Time: at(int(n)), Type: b.Type(), Data: must(EncodeBody(b)), Body: b}
	}
	base, _, _ := Apply(nil, ev(1, 0))
	base = append(make(Contribution, 0, 8), base...)
	one, _, _ := Apply(base, ev(2, 0))
	two, _, _ := Apply(base, ev(3, 0))
	if one[1].Mark == two[1].Mark || len(base) != 1 {
		t.Error("two applications to one contribution share memory")
	}
	for _, again := range []Event{ev(1, 0), ev(2, 0)} {
		if next, changed, err := Apply(one, again); changed || err != nil || !reflect.DeepEqual(next, one) {
			t.Errorf("%v again: changed %t, %v", again.ID, changed, err)
		}
	}
	if next, changed, _ := Apply(one, ev(2, 1)); !changed || len(next) != 3 {
		t.Error("a second event of the same entry is taken for the first")
	}
}

func TestContributionsWith(t *testing.T) {
	var cs Contributions
	for i, s := range []string{"b", "a", "c", "b"} {
		before := fmt.Sprint(cs)
		old := cs
		cs = cs.With(site(s), make(Contribution, i+1))
		if fmt.Sprint(old) != before {
			t.Error("With changed what it was given")
		}
	}
	var got []string
	for _, c := range cs {
		got = append(got, fmt.Sprint(c.Site, len(c.Facts)))
	}
	if want := []string{"a 2", "b 4", "c 3"}; !slices.Equal(got, want) || cs.Of(site("d")) != nil || len(cs.Of(site("b"))) != 4 {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestDecodeContributionRefuses(t *testing.T) {
	good := `[{"at":"1/7","i":1,"time":"2026-03-01T12:00:00.250Z","type":"feature.raised","data":{"level":2}}]`
	if _, err := DecodeContribution([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{`[{`, `{`}, {`"1/7"`, `"1/07"`}, {`"at":"1/7",`, ``}, {`"i":1`, `"i":0`}, {`"i":1`, `"i":-1`}, {`250Z`, `25Z`}, {`250Z`, `250+00:00`}, {`feature.raised`, `feature.lowered`},
		{`{"level":2}`, `{"level":0}`}, {`{"level":2}`, `{ "level":2}`}, {`]`, `,]`}, {`]`, `]x`}, {`]`, ``}, {`"i":1,`, `"i":1,"j":1,`},
		{`"at":"1/7","i":1`, `"i":1,"at":"1/7"`}, {`[{`, good[:len(good)-1] + `,{`}, {`{"level":2}`, `null`},
	} {
		raw := strings.Replace(good, change[0], change[1], 1)
		if c, err := DecodeContribution([]byte(raw)); err == nil {
			t.Errorf("%s was taken, as %+v", raw, c)
		}
	}
	if c, err := DecodeContribution(nil); c != nil || err != nil {
		t.Errorf("no bytes are %v, %v", c, err)
	}
}
