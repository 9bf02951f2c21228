package events_test

import (
	"crypto/ed25519"
	"slices"
	"testing"

	"registry-node/events"
)

func TestCededHomeDecidesFromThereOn(t *testing.T) {
	w := newWorld(t)
	id := w.repo(events.Local, "b")
	w.publish("c", id, 3) // before it is home
	w.say("c", events.HomeCeded{Repo: id, To: site("c")})
	w.say("b", events.HomeCeded{Repo: id, To: site("c"), After: w.ends["c"]})
	w.publish("b", id, 1) // after it was home
	w.is(id, events.Absent, 0)
	w.publish("c", id, 2)
	w.is(id, events.Held, 2)
	if got := w.directory().Repo(id).Home(); got != site("c") {
		t.Errorf("home is %s, want c", got)
	}
	w.say("b", events.HomeCeded{Repo: id, Tenure: 0, To: site("b"), After: w.ends["b"]})
	w.say("b", events.HomeCeded{Repo: id, Tenure: 1, To: site("b"), After: w.ends["b"]})
	if got := w.directory().Repo(id).Home(); got != site("c") {
		t.Errorf("home is %s after a former home ceded again, want c", got)
	}
}

// A home that was given up can't hand its right to a third, even if it said so
// before: the registry's home and it may not know of each other.
func TestForcedBeatsCeded(t *testing.T) {
	w := newWorld(t)
	id := w.repo(events.Local, "b")
	w.publish("b", id, 1)
	good := w.ends["b"]
	w.say("b", events.HomeCeded{Repo: id, To: site("c"), After: w.ends["c"]})
	w.say("c", events.HomeForced{Repo: id, At: good, To: site("c")}) // not the registry's home
	if got := w.directory().Repo(id).Home(); got != site("c") {
		t.Fatalf("home is %s, want c", got)
	}
	w.say("a", events.HomeForced{Repo: id, At: good, To: site("a"), After: w.ends["a"]})
	if got := w.directory().Repo(id).Home(); got != site("a") {
		t.Errorf("home is %s, want a", got)
	}
	w.is(id, events.Held, 1)
}

// A home that is lost before anybody has an entry of it is given up with all that it
// may have written: that awaits the next home, as what it writes later does.
func TestForcedBeforeTheFirstEntry(t *testing.T) {
	w := newWorld(t)
	id := w.repo(events.Local, "a")
	w.say("a", events.HomeCeded{Repo: id, To: site("b")})
	w.say("a", events.HomeForced{Repo: id, Tenure: 1, To: site("c")})
	w.publish("b", id, 1)
	w.is(id, events.Undecided, 0)
	if err := w.directory().Right(next(w, "b"), events.VersionPublished{ModuleVersion: events.Of(id, v1), Content: content(1)}); err == nil {
		t.Error("the lost home has the right to publish")
	}
	w.publish("c", id, 2)
	w.is(id, events.Held, 2)
	w.say("b", events.HomeCeded{Repo: id, Tenure: 1, To: site("b")})
	w.is(id, events.Held, 2)
}

// Tenures of one site don't overlap, whatever the one before names as the start.
func TestRegainedTenureStartsAfterTheFormer(t *testing.T) {
	w := newWorld(t)
	id := w.repo(events.Local, "b")
	w.publish("b", id, 1)
	w.publish("b", id, 2)
	w.say("b", events.HomeCeded{Repo: id, To: site("b")})
	if v := w.version(id); v.Status != events.Held || len(v.Rejected) != 1 {
		t.Errorf("%v, rejected %+v, want one", v.Status, v.Rejected)
	}
	homes := w.directory().Repo(id).Homes
	if len(homes) != 2 || homes[1].After != homes[0].Until {
		t.Errorf("tenures %+v", homes)
	}
}

func TestRegistryHomeMoves(t *testing.T) {
	signed := func(w *world, by byte, b events.HomeForced) events.HomeForced {
		b.Signature = ed25519.Sign(signer(by), events.ForcedText(w.h.registry, b))
		return b
	}
	move := events.HomeForced{At: mark("1/3"), To: site("c"), After: mark("0/0")}
	tests := map[string]struct {
		do   func(*world)
		home string
	}{
		"nothing":                   {func(w *world) {}, "a"},
		"ceded":                     {func(w *world) { w.say("a", events.HomeCeded{To: site("b"), After: w.ends["b"]}) }, "b"},
		"ceded by another":          {func(w *world) { w.say("b", events.HomeCeded{To: site("b"), After: w.ends["b"]}) }, "a"},
		"forced without signature":  {func(w *world) { w.say("b", move) }, "a"},
		"forced with another's key": {func(w *world) { w.say("b", signed(w, 2, move)) }, "a"},
		"forced by the operator":    {func(w *world) { w.say("b", signed(w, operator, move)) }, "c"},
		"forced before its first entry": {func(w *world) {
			w.say("a", events.HomeCeded{To: site("b")})
			none := signed(w, operator, events.HomeForced{Tenure: 1, To: site("c")})
			w.say("c", none)
			w.say("b", events.HomeCeded{Tenure: 1, To: site("b")})
		}, "c"},
		"forced at no member": {func(w *world) { w.say("x", signed(w, operator, move)) }, "c"},
		"forced, text changed": {func(w *world) {
			b := signed(w, operator, move)
			b.To = site("b")
			w.say("b", b)
		}, "a"},
		"forced for another registry": {func(w *world) {
			b := move
			b.Signature = ed25519.Sign(signer(operator), events.ForcedText(events.DigestOf(nil), b))
			w.say("b", b)
		}, "a"},
		"forced, then ceded by the lost home": {func(w *world) {
			w.say("b", signed(w, operator, move))
			w.say("a", events.HomeCeded{To: site("b")})
		}, "c"},
		"forced after it was ceded": {func(w *world) {
			w.say("a", events.HomeCeded{To: site("b"), After: w.ends["b"]})
			w.say("b", signed(w, operator, move))
		}, "c"},
		"two tenures": {func(w *world) {
			w.say("a", events.HomeCeded{To: site("b"), After: w.ends["b"]})
			w.say("b", events.HomeCeded{Tenure: 1, To: site("c"), After: w.ends["c"]})
		}, "c"},
		"ceded twice": {func(w *world) {
			w.say("a", events.HomeCeded{To: site("b"), After: w.ends["b"]})
			w.say("a", events.HomeCeded{To: site("c"), After: w.ends["c"]})
		}, "b"},
		"ceded a tenure too far": {func(w *world) { w.say("a", events.HomeCeded{Tenure: 1, To: site("b")}) }, "a"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tt.do(w)
			d := w.directory()
			if d.Home() != site(tt.home) {
				t.Fatalf("home is %s, want %s", d.Home(), tt.home)
			}
			w.say(tt.home, events.FeatureRaised{Level: 7})
			for _, s := range []string{"a", "b", "c"} {
				if s != tt.home {
					w.say(s, events.FeatureRaised{Level: 9})
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
		w.say("b", events.HomeForced{At: mark("1/3"), To: site("c")})
	}
	if n := len(w.st[events.KeyRegistry()].Of(site("b"))); n > 4 {
		t.Errorf("%d forced moves of one tenure are kept", n)
	}
	w.say("b", events.HomeForced{Tenure: 1, At: mark("1/3"), To: site("c")})
	if n := len(w.st[events.KeyRegistry()].Of(site("b"))); n != 5 {
		t.Errorf("a forced move of another tenure is not kept: %d facts", n)
	}
}

func TestMembership(t *testing.T) {
	w := newWorld(t)
	w.say("b", events.SiteJoined{Name: site("x"), PublicKey: public(4)})
	w.say("x", events.SiteJoined{Name: site("x"), PublicKey: public(4)})
	if m, ok := w.directory().Site(site("x")); ok {
		t.Fatalf("x is a member by its own word: %+v", m)
	}
	w.say("a", events.SiteInvited{Name: site("x"), Secret: events.DigestOf(nil), Expires: at(99)})
	w.say("x", events.VersionBlocked{Module: "m.test/a", Reason: "spite"})
	if m, ok := w.directory().Site(site("x")); !ok || len(m.Keys) != 0 || len(w.directory().Blocks()) != 0 {
		t.Fatalf("x counts once it is invited: %+v", m)
	}
	w.say("a", events.SiteJoined{Name: site("x"), PublicKey: public(4), Addresses: []string{"x.test"}})
	w.say("a", events.SiteJoined{Name: site("x"), PublicKey: public(5)})
	w.say("a", events.SiteKey{Name: site("x"), PublicKey: public(6), After: mark("1/5")})
	w.say("a", events.SiteKey{Name: site("x"), PublicKey: public(7), After: mark("1/4")})
	w.say("b", events.SiteKey{Name: site("x"), PublicKey: public(8), After: mark("1/9")})
	m, _ := w.directory().Site(site("x"))
	for s, want := range map[string]events.PublicKey{"1/1": public(4), "1/5": public(4), "1/6": public(6), "2/6": public(6)} {
		if got := m.Key(mark(s)); !slices.Equal(got, want) {
			t.Errorf("key at %s is %x, want %x", s, got, want)
		}
	}
	if m.Joined.Site != site("a") || !slices.Equal(m.Addresses, []string{"x.test"}) {
		t.Errorf("member %+v", m)
	}
	w.say("a", events.SiteChanged{Name: site("x"), Addresses: []string{"y.test"}})
	w.say("b", events.SiteLeft{Name: site("x"), CutOff: mark("0/0")})
	if m, _ := w.directory().Site(site("x")); m.Left || !slices.Equal(m.Addresses, []string{"y.test"}) {
		t.Errorf("member %+v", m)
	}
}

func TestCutOff(t *testing.T) {
	w := newWorld(t)
	id := w.repo(events.Local, "b")
	w.say("b", events.VersionBlocked{Module: "m.test/a", Reason: "first"})
	cut := w.ends["b"]
	w.publish("b", id, 1)
	w.say("b", events.VersionBlocked{Module: "m.test/b", Reason: "second"})
	w.is(id, events.Held, 1)
	w.say("a", events.SiteLeft{Name: site("b"), CutOff: cut})
	w.is(id, events.Absent, 0)
	if blocks := w.directory().Blocks(); len(blocks) != 1 || blocks[0].Reason != "first" {
		t.Errorf("blocks %+v, want the one before the cut-off", blocks)
	}
	w.say("a", events.SiteLeft{Name: site("b"), CutOff: w.ends["b"]})
	w.say("a", events.SiteJoined{Name: site("b"), PublicKey: public(9)})
	w.is(id, events.Absent, 0)
}

// No cut-off takes away what homes rest on, nor can a home cut off itself.
func TestCutOffSparesWhatHomesRestOn(t *testing.T) {
	w := newWorld(t)
	w.say("a", events.SiteLeft{Name: site("a"), CutOff: mark("1/1")})
	if m, _ := w.directory().Site(site("a")); m.Left {
		t.Errorf("the home has left: %+v", m)
	}
	w.say("a", events.HomeCeded{To: site("b"), After: w.ends["b"]})
	ceded := w.ends["a"]
	w.say("a", events.VersionBlocked{Module: "m.test/a", Reason: "late"})
	w.say("b", events.SiteLeft{Name: site("a"), CutOff: mark("1/2")})
	d := w.directory()
	if m, _ := d.Site(site("a")); !m.Left || m.CutOff != ceded || d.Home() != site("b") || len(d.Sites()) != 3 || len(d.Blocks()) != 0 {
		t.Errorf("home %s, a is %+v, want it cut off at %v", d.Home(), m, ceded)
	}
}
