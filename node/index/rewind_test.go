package index_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"registry-node/events"
	"registry-node/node/index"
)

// image is all that an index says, but for what was set aside and the state
// hashes of before a rewind.
type image struct {
	heads   []index.Head
	records map[string][]string
	blobs   []events.Blob
	entries map[events.Site][]string
	kept    map[events.Site]events.Position
}

func imageOf(t *testing.T, x *index.Index, sites ...events.Site) image {
	t.Helper()
	im := image{records: recordsOf(t, x), entries: map[events.Site][]string{}, kept: map[events.Site]events.Position{}}
	var err error
	if im.heads, err = x.Heads(); err != nil {
		t.Fatal(err)
	}
	for b, err := range x.Blobs() {
		if err != nil {
			t.Fatal(err)
		}
		im.blobs = append(im.blobs, b)
	}
	for _, s := range sites {
		im.entries[s] = rawsOf(t, x, s)
		if im.kept[s], _, _, err = x.Kept(s); err != nil {
			t.Fatal(err)
		}
	}
	return im
}

func (im image) equal(o image) bool {
	return slices.Equal(im.heads, o.heads) && maps.EqualFunc(im.records, o.records, slices.Equal) && slices.Equal(im.blobs, o.blobs) &&
		maps.EqualFunc(im.entries, o.entries, slices.Equal) && maps.Equal(im.kept, o.kept)
}

func asideOf(t *testing.T, x *index.Index, s events.Site) (raws []string) {
	t.Helper()
	for raw, err := range x.SetAside(s) {
		if err != nil {
			t.Fatal(err)
		}
		raws = append(raws, string(raw))
	}
	return raws
}

// upTo returns the entries of a log up to a mark, and those behind.
func upTo(log []events.Entry, m events.Mark) (before, behind []events.Entry) {
	i := slices.IndexFunc(log, func(e events.Entry) bool { return e.Position.Mark.Compare(m) > 0 })
	if i < 0 {
		return log, nil
	}
	return log[:i], log[i:]
}

// Whatever a log says, and wherever it is taken back to, the index is then what
// folding the start of the log makes, beside another log that says much the same.
func TestRewindGivesTheFoldOfTheStart(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 6))
		a, b := newWriter(t, "a"), newWriter(t, "b")
		a.history(r, 5+r.IntN(20))
		if r.IntN(2) == 0 {
			a.epoch = 2
			a.history(r, 5)
		}
		b.history(r, 10)
		applied := len(a.log)
		if r.IntN(2) == 0 {
			a.addUnknown()
			a.history(r, 3)
		}
		fold := func(log []events.Entry) *index.Index {
			x := open(t)
			apply(t, x, b.log...)
			if n := min(applied, len(log)); n > 0 {
				apply(t, x, log[:n]...)
			}
			if len(log) > applied {
				keep(t, x, log[applied:]...)
			}
			return x
		}
		x := fold(a.log)
		whole := imageOf(t, x, a.site, b.site)
		var evidence []string
		for range 3 {
			to := a.log[r.IntN(len(a.log))].Position.Mark
			switch r.IntN(6) {
			case 0:
				to = events.Mark{}
			case 1:
				to.Seq += 1000 // between an epoch and the next, or behind the end
			}
			before, behind := upTo(a.log, to)
			want := imageOf(t, fold(before), a.site, b.site)
			if n, err := x.Rewind(a.site, to); n != len(behind) || err != nil {
				t.Fatalf("seed %d: rewind to %v set %d aside, %v, want %d", seed, to, n, err, len(behind))
			}
			if got := imageOf(t, x, a.site, b.site); !got.equal(want) {
				t.Fatalf("seed %d: rewound to %v:\n%+v\nwant\n%+v", seed, to, got, want)
			}
			for _, e := range behind {
				if h, ok, err := x.StateHashAt(a.site, e.Position.Mark); ok || err != nil {
					t.Errorf("seed %d: what was set aside has state hash %v, %v", seed, h, err)
				}
				evidence = append(evidence, string(e.Raw))
			}
			slices.Sort(evidence)
			evidence = slices.Compact(evidence)
			if got := asideOf(t, x, a.site); !slices.Equal(slices.Sorted(slices.Values(got)), evidence) {
				t.Errorf("seed %d: %d entries are set aside, want %d", seed, len(got), len(evidence))
			}
			if rep := checkAudit(t, x, a, b); rep.SetAside != len(evidence) {
				t.Errorf("seed %d: the audit counts %d set aside", seed, rep.SetAside)
			}
			if again, err := x.Rewind(a.site, to); again != 0 || err != nil {
				t.Errorf("seed %d: again it set %d aside, %v", seed, again, err)
			}
			for _, e := range behind { // and goes on as before
				if e.Position.Mark.Compare(a.log[applied-1].Position.Mark) <= 0 {
					apply(t, x, e)
				} else {
					keep(t, x, e)
				}
			}
			if got := imageOf(t, x, a.site, b.site); !got.equal(whole) {
				t.Fatalf("seed %d: after it went on from %v:\n%+v\nwant\n%+v", seed, to, got, whole)
			}
		}
	}
}

func TestRewindOfWhatIsNotThere(t *testing.T) {
	x, w := open(t), newWriter(t, "a")
	if n, err := x.Rewind(w.site, events.Mark{}); n != 0 || err != nil {
		t.Errorf("of no log: %d, %v", n, err)
	}
	apply(t, x, w.add(seen("m.test/a", 1)))
	if n, err := x.Rewind(w.site, events.Mark{Epoch: 9, Seq: 9}); n != 0 || err != nil {
		t.Errorf("behind its end: %d, %v", n, err)
	}
	checkAudit(t, x, w)
}

// State hashes older than those that are kept can be gone where a log is taken
// back to; it has its own again then.
func TestRewindFurtherThanStateHashesAreKept(t *testing.T) {
	x, w := open(t), newWriter(t, "a")
	x.SetHistory(3)
	w.history(rand.New(rand.NewPCG(1, 1)), 20)
	apply(t, x, w.log...)
	if _, err := x.Rewind(w.site, w.log[9].Position.Mark); err != nil {
		t.Fatal(err)
	}
	fresh := open(t)
	apply(t, fresh, w.log[:10]...)
	want := head(t, fresh, w.site)
	if got := head(t, x, w.site); got != want {
		t.Errorf("head %+v, want %+v", got, want)
	}
	if h, ok, err := x.StateHashAt(w.site, want.Position.Mark); h != want.StateHash || !ok || err != nil {
		t.Errorf("state hash %v, %v, %v", h, ok, err)
	}
	if _, ok, err := x.StateHashAt(w.site, w.log[15].Position.Mark); ok || err != nil {
		t.Errorf("there is a state hash of what was set aside: %v, %v", ok, err)
	}
	apply(t, x, w.log[10:]...)
	checkAudit(t, x, w)
}

// A new epoch goes on counting where its base ended, also at a site that had more
// of the old one.
func TestNewEpochFollowsItsBase(t *testing.T) {
	for _, more := range []int{0, 3} {
		x, w := open(t), newWriter(t, "a")
		w.history(rand.New(rand.NewPCG(4, 4)), 5)
		base := *w
		w.history(rand.New(rand.NewPCG(5, 5)), more)
		apply(t, x, w.log...)
		base.log = slices.Clone(base.log)
		base.epoch = 2
		first := base.add(seen("m.test/a", 1))
		if m := first.Position.Mark; m != (events.Mark{Epoch: 2, Seq: 6}) {
			t.Fatalf("the new epoch starts at %v", m)
		}
		if err := tryApply(x, first); (err == nil) != (more == 0) {
			t.Fatalf("with %d entries behind the base: %v", more, err)
		}
		if more > 0 {
			if n, err := x.Rewind(w.site, base.log[4].Position.Mark); n != more || err != nil {
				t.Fatalf("set %d aside, %v", n, err)
			}
			apply(t, x, first)
		}
		apply(t, x, base.add(seen("m.test/a", 2)))
		fresh := open(t)
		apply(t, fresh, base.log...)
		if got, want := head(t, x, w.site), head(t, fresh, w.site); got != want {
			t.Errorf("head %+v, want %+v", got, want)
		}
		if _, ok, err := x.StateHashAt(w.site, events.Mark{Epoch: 1, Seq: 6}); ok || err != nil {
			t.Errorf("the old epoch has a state hash where the new one is: %v, %v", ok, err)
		}
		skip := base
		skip.epoch = 4
		if err := tryApply(x, skip.draft(seen("m.test/a", 3))); err == nil {
			t.Error("an epoch was skipped")
		}
		checkAudit(t, x, &base)
	}
}

func TestRewindMovesTheLogUnderItsWriters(t *testing.T) {
	x, w := open(t), newWriter(t, "a")
	w.history(rand.New(rand.NewPCG(2, 2)), 4)
	apply(t, x, w.log...)
	txn := x.Begin(w.site)
	if err := txn.Append(w.draft(seen("m.test/a", 1))); err != nil {
		t.Fatal(err)
	}
	k := events.KeyModule(repo, "m.test/gen")
	apply(t, x, w.add(seen("m.test/gen", 1)))
	before := x.Generation(k)
	if _, err := x.Rewind(w.site, w.log[2].Position.Mark); err != nil {
		t.Fatal(err)
	}
	if x.Generation(k) == before {
		t.Error("the generation of a record that went is as it was")
	}
	if cs, err := x.Get(k); len(cs) != 0 || err != nil {
		t.Errorf("the record still says %v, %v", cs, err)
	}
	if err := txn.Commit(true); !errors.Is(err, index.ErrTwoWriters) {
		t.Errorf("commit: %v, want ErrTwoWriters", err)
	}
}

// While one log is taken back, another states what it stated: no reference to a
// blob gets lost.
func TestRewindBesideAnotherLog(t *testing.T) {
	const n = 600
	x, a, b := open(t), newWriter(t, "a"), newWriter(t, "b")
	var all []events.Body
	for i := range n {
		all = append(all, fill(version("m.test/a", i), uint64(i)))
		b.add(all[i])
	}
	a.add(all...)
	apply(t, x, a.log...)
	begun := make(chan struct{})
	var other sync.WaitGroup
	other.Go(func() {
		for i, e := range b.log {
			if err := tryApply(x, e); err != nil {
				t.Error(err)
			}
			if i == 0 {
				close(begun)
			}
		}
	})
	<-begun
	if n, err := x.Rewind(a.site, events.Mark{}); n != 1 || err != nil {
		t.Errorf("set %d aside, %v", n, err)
	}
	other.Wait()
	checkAudit(t, x, a, b)
}

// The power goes at any moment of a Rewind: the log is as it was or as it is.
func TestPowerLossInRewind(t *testing.T) {
	for percent := 0; percent <= 100; percent += 50 {
		fs := vfs.NewCrashableMem()
		if err := index.CreateIn(fs, "index", registry); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex // guards clones
		var clones []*vfs.MemFS
		recording := false
		each := errorfs.InjectorFunc(func(op errorfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if recording && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				r := rand.New(rand.NewPCG(uint64(percent), uint64(len(clones))))
				clones = append(clones, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: r}))
			}
			return nil
		})
		x, err := index.Open("index", index.WithFS(errorfs.Wrap(fs, each)))
		if err != nil {
			t.Fatal(err)
		}
		a, b := newWriter(t, "a"), newWriter(t, "b")
		a.history(rand.New(rand.NewPCG(3, 3)), 20)
		b.history(rand.New(rand.NewPCG(3, 3)), 5)
		apply(t, x, b.log...)
		apply(t, x, a.log...)
		keep(t, x, a.addUnknown()) // syncs all
		was := imageOf(t, x, a.site, b.site)
		mu.Lock()
		recording = true
		mu.Unlock()
		if n, err := x.Rewind(a.site, a.log[7].Position.Mark); n != 13 || err != nil {
			t.Fatalf("set %d aside, %v", n, err)
		}
		mu.Lock()
		recording = false
		clones = append(clones, fs.CrashClone(vfs.CrashCloneCfg{}))
		mu.Unlock()
		is := imageOf(t, x, a.site, b.site)
		for i, clone := range clones {
			y := openFS(t, clone, false)
			checkAudit(t, y, a, b)
			got, aside := imageOf(t, y, a.site, b.site), len(asideOf(t, y, a.site))
			done := got.equal(is) && aside == 13
			if !done && !(got.equal(was) && aside == 0) || i == len(clones)-1 && !done {
				t.Errorf("after a crash at write %d of %d, %d percent unsynced: neither before nor after, %d aside", i, len(clones), percent, aside)
			}
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestRewindMeetsDamage(t *testing.T) {
	tests := map[string]func(db *pebble.DB, w *writer) error{
		"entry": func(db *pebble.DB, w *writer) error {
			return edit(db, index.EntryKey(w.site, w.last.Mark), "{", "[")
		},
		"entry to go back to": func(db *pebble.DB, w *writer) error {
			return edit(db, index.EntryKey(w.site, w.log[0].Position.Mark), "{", "[")
		},
		"record": func(db *pebble.DB, w *writer) error {
			return edit(db, index.ContributionKey(events.KeyModule(repo, "m.test/a"), w.site), `"data"`, `"data`)
		},
		"record that was another": func(db *pebble.DB, w *writer) error {
			return edit(db, index.ContributionKey(events.KeyModule(repo, "m.test/a"), w.site), "v1.2.0", "v1.3.0")
		},
	}
	for name, harm := range tests {
		x, w := open(t), newWriter(t, "a")
		apply(t, x, w.add(seen("m.test/a", 1)), w.add(seen("m.test/a", 2)))
		want := head(t, x, w.site)
		if err := harm(x.DB(), w); err != nil {
			t.Fatal(err)
		}
		if n, err := x.Rewind(w.site, w.log[0].Position.Mark); n != 0 || !errors.Is(err, index.ErrCorrupt) {
			t.Errorf("%s: set %d aside, %v, want ErrCorrupt", name, n, err)
		}
		if got := head(t, x, w.site); got != want {
			t.Errorf("%s: the head moved to %+v", name, got)
		}
	}
}

// Both entries of a fork stand there as evidence, each once.
func TestPutAside(t *testing.T) {
	x, w, other := open(t), newWriter(t, "a"), newWriter(t, "a")
	apply(t, x, w.add(seen("m.test/a", 1)))
	fork := other.add(seen("m.test/a", 2))
	if err := errors.Join(x.PutAside(fork), x.PutAside(fork)); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Rewind(w.site, events.Mark{}); err != nil {
		t.Fatal(err)
	}
	got, want := asideOf(t, x, w.site), []string{string(fork.Raw), string(w.log[0].Raw)}
	if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Errorf("set aside %q, want %q", got, want)
	}
	if got := asideOf(t, x, site(t, "b")); got != nil {
		t.Errorf("another site has set aside %q", got)
	}
	checkAudit(t, x, w)
	for i, key := range []string{"xa\x00", fmt.Sprintf("xa\x00%012d12345678", 0)} {
		if err := x.DB().Set([]byte(key), [][]byte{[]byte("{"), fork.Raw}[i], nil); err != nil {
			t.Fatal(err)
		}
		r, err := x.Audit(t.Context(), keysOf(w), nil)
		if err != nil || len(r.Problems) != i+1 || r.Problems[i].Kind != index.BadEntry {
			t.Errorf("problems %v, %v, want a bad entry", r.Problems, err)
		}
	}
}
