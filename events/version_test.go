package events_test

import (
	"slices"
	"testing"

	"registry-node/events"
)

func TestOnlyTheHomePublishes(t *testing.T) {
	w := newWorld(t)
	id := w.repo(events.Local, "b")
	w.publish("a", id, 1)
	w.publish("c", id, 1)
	w.publish("x", id, 1)
	w.fill("b", id, content(1))
	w.is(id, events.Absent, 0)
	w.publish("b", id, 2)
	w.is(id, events.Held, 2)
	w.publish("b", id, 3)
	w.is(id, events.Held, 2)
	if v := w.version(id); len(v.Rejected) != 1 || v.Rejected[0].Event != (events.EventID{Site: site("b"), Mark: w.ends["b"]}) {
		t.Errorf("rejected %+v, want the second content", v.Rejected)
	}
	w.say("c", events.VersionHidden{ModuleVersion: events.Of(id, v1)})
	w.is(id, events.Held, 2)
	w.say("b", events.VersionHidden{ModuleVersion: events.Of(id, v1)})
	w.is(id, events.Hidden, 2)
	w.publish("b", id, 2)
	w.is(id, events.Hidden, 2)
}

// What a lost home wrote in good faith is undecided until the new one says.
func TestPublishedAfterAForcedEndIsUndecided(t *testing.T) {
	w := newWorld(t)
	id := w.repo(events.Local, "b")
	w.say("b", events.FeatureRaised{Level: 1})
	lost := w.ends["b"]
	w.publish("b", id, 1)
	w.say("a", events.HomeForced{Repo: id, At: lost, To: site("c"), After: w.ends["c"]})
	w.is(id, events.Undecided, 0)
	w.publish("c", id, 2)
	w.is(id, events.Held, 2)
}

// What a site stated while it was not home doesn't swallow the same statement
// once it is.
func TestHomeMayPublishWhatItStatedWithoutRight(t *testing.T) {
	w := newWorld(t)
	id := w.repo(events.Local, "b")
	w.say("b", events.FeatureRaised{Level: 1})
	lost := w.ends["b"]
	w.publish("b", id, 1) // too late: forced away at lost
	w.say("a", events.HomeForced{Repo: id, At: lost, To: site("c"), After: w.ends["c"]})
	w.say("c", events.HomeCeded{Repo: id, Tenure: 1, To: site("b"), After: w.ends["b"]})
	w.is(id, events.Undecided, 0)
	w.publish("b", id, 1)
	w.is(id, events.Held, 1)
}

func TestFillsOfSeveralSitesAreJoined(t *testing.T) {
	w := newWorld(t)
	id := w.repo(events.Remote, "a")
	late, early := modOnly(content(1)), zipOnly(content(1))
	late.Info = []byte("late")
	w.fill("c", id, late)
	w.modHeld(id)
	w.fill("b", id, early)
	w.is(id, events.Held, 1)
	other := content(1)
	other.Info, other.Zip.Digest = []byte("first by name"), events.DigestOf([]byte("another zip of the same tree"))
	w.fill("a", id, other)
	w.is(id, events.Held, 1)
	v := w.version(id)
	c := v.Content()
	if string(c.Info) != "first by name" || c.Zip != other.Zip || !slices.Equal(c.Zips, []events.Blob{other.Zip, early.Zip}) || c.First.Event.Site != site("a") {
		t.Errorf("content %+v", c)
	}
	if len(v.Seen) != 3 || v.FirstSeen(&events.Repo{}) != v.Seen[2].Time || v.Seen[2].Site != site("c") {
		t.Errorf("seen %+v, first %v", v.Seen, v.FirstSeen(&events.Repo{}))
	}
	w.fill("x", id, content(2))
	w.is(id, events.Held, 1)
}

// A zip is the word of who stated it, also if another site, which is first by name,
// stated the go.mod; and each of its addresses that of who stated that.
func TestZipIsBlamedOnWhoStatedIt(t *testing.T) {
	w := newWorld(t)
	id := w.repo(events.Remote, "a")
	zip, other := zipOnly(content(1)), zipOnly(content(1))
	other.Zip.Digest = events.DigestOf([]byte("another zip of the same tree"))
	w.fill("a", id, modOnly(content(1)))
	v := w.version(id)
	if c := v.Content(); c.StatedBy() != site("a") {
		t.Errorf("the go.mod alone is stated by %v", c.StatedBy())
	}
	w.fill("c", id, other)
	w.fill("b", id, zip)
	v = w.version(id)
	c := v.Content()
	if c.First.Event.Site != site("a") || c.StatedBy() != site("b") || c.ZipStatedBy(zip.Zip) != site("b") || c.ZipStatedBy(other.Zip) != site("c") {
		t.Errorf("first %v, stated by %v, its zips by %v and %v", c.First.Event.Site, c.StatedBy(), c.ZipStatedBy(zip.Zip), c.ZipStatedBy(other.Zip))
	}
}

// modHeld checks that of v1 the go.mod alone is held.
func (w *world) modHeld(id events.RepoID) {
	w.t.Helper()
	if v := w.version(id); v.Status != events.Held || len(v.Contents) != 1 || v.Content().HasZip() || !v.Content().HasMod() {
		w.t.Errorf("%v with %+v, want one go.mod", v.Status, v.Contents)
	}
}

func TestDifferentFillsFreezeUntilSettled(t *testing.T) {
	sameMod := content(2)
	sameMod.ModH1, sameMod.Mod = content(1).ModH1, content(1).Mod
	for name, other := range map[string]events.Content{"whole": content(2), "go.mod": modOnly(content(2)), "zip": zipOnly(sameMod)} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.repo(events.Remote, "a")
			w.fill("b", id, content(1))
			w.fill("c", id, other)
			if v := w.version(id); v.Status != events.Conflicted || len(v.Contents) != 2 {
				t.Fatalf("%v with %+v, want a conflict of two", v.Status, v.Contents)
			}
			settle := events.VersionSettled{ModuleVersion: events.Of(id, v1), ModH1: content(1).ModH1, ZipH1: content(1).ZipH1}
			w.say("b", settle)
			if v := w.version(id); v.Status != events.Conflicted || v.Settled != nil {
				t.Fatalf("%v after another site settled", v.Status)
			}
			w.say("a", settle)
			w.is(id, events.Held, 1)
			if v := w.version(id); v.Settled == nil || *v.Settled != settle {
				t.Errorf("settled %+v", v.Settled)
			}
			settle.ModH1, settle.ZipH1 = content(3).ModH1, content(3).ZipH1
			w.say("a", settle)
			w.is(id, events.Absent, 0)
		})
	}
}

// A second content from the same site is a conflict too, and repeated fills add
// nothing.
func TestFillIsKeptOnce(t *testing.T) {
	w := newWorld(t)
	id := w.repo(events.Remote, "a")
	for range 3 {
		w.fill("b", id, modOnly(content(1)))
		w.fill("b", id, zipOnly(content(1)))
		w.fill("b", id, content(1))
	}
	if n := len(w.st[events.KeyVersion(id, v1)].Of(site("b"))); n > 3 {
		t.Errorf("%d facts for one content", n)
	}
	w.fill("b", id, content(2))
	if v := w.version(id); v.Status != events.Conflicted {
		t.Errorf("%v, want conflicted", v.Status)
	}
	for n := range byte(100) {
		c := content(3)
		c.ZipH1 = events.H1(events.DigestOf([]byte{n}))
		w.fill("b", id, c)
	}
	if n := len(w.st[events.KeyVersion(id, v1)].Of(site("b"))); n > 20 {
		t.Errorf("%d facts of one site about one version", n)
	}
}

func TestSeen(t *testing.T) {
	w := newWorld(t)
	id := w.repo(events.Remote, "a")
	see := func(s string, versions ...string) {
		w.say(s, events.VersionSeen{Repo: id, Module: v1.Path, Versions: versions})
	}
	see("x", "v1.0.0", "v1.9.0")
	see("c", "v1.1.0")
	first := at(w.seconds)
	see("b", "v1.0.0", "v1.1.0")
	see("c", "v1.0.0", "v1.1.0")
	see("c", "v1.0.0")
	got := w.directory().ResolveSeen(w.directory().Repo(id), w.st[events.KeyModule(id, v1.Path)])
	if want := (map[string]string{"v1.0.0": at(w.seconds - 2).String(), "v1.1.0": first.String()}); len(got) != 2 || got["v1.1.0"].String() != want["v1.1.0"] || got["v1.0.0"].String() != want["v1.0.0"] {
		t.Errorf("seen %v, want %v", got, want)
	}
	if n := len(w.st[events.KeyModule(id, v1.Path)].Of(site("c"))); n != 2 {
		t.Errorf("%d facts of c, want the two that said something new", n)
	}
}
