package index_test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/node/index"
)

func TestReplayGivesTheSameStateHoweverItIsCut(t *testing.T) {
	w := newWriter(t, "a")
	w.history(rand.New(rand.NewPCG(1, 1)), 80)
	x := open(t)
	for _, e := range w.log {
		apply(t, x, e)
	}
	r := rand.New(rand.NewPCG(2, 2))
	for range 3 {
		y := open(t)
		for rest := w.log; len(rest) > 0; {
			n := min(1+r.IntN(25), len(rest))
			apply(t, y, rest[:n]...)
			rest = rest[n:]
		}
		want, wantErr := x.Heads()
		got, err := y.Heads()
		if err != nil || wantErr != nil || len(got) != 1 || got[0] != want[0] {
			t.Errorf("heads %+v, %v, want %+v, %v", got, err, want, wantErr)
		}
		for _, e := range w.log {
			a, _, aErr := x.StateHashAt(w.site, e.Position.Mark)
			b, ok, err := y.StateHashAt(w.site, e.Position.Mark)
			if err != nil || aErr != nil || !ok || a != b {
				t.Fatalf("state hash at %v: %v, %v, %v, want %v, %v", e.Position, b, ok, err, a, aErr)
			}
		}
		if !maps.EqualFunc(recordsOf(t, x), recordsOf(t, y), slices.Equal) {
			t.Error("the records differ")
		}
	}
}

// recordsOf returns all records by key, each with its encoded contributions.
func recordsOf(t *testing.T, x *index.Index) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for rec, err := range x.Prefix("") {
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range rec.Contributions {
			all[rec.Key.Bytes()] = append(all[rec.Key.Bytes()], c.Site.String(), string(c.Facts.Encode()))
		}
	}
	return all
}

func TestStateHashIsOfTheContributionsAlone(t *testing.T) {
	w, x := newWriter(t, "a"), open(t)
	apply(t, x, w.add(fill(version("m.test/a", 1), 1)))
	first := head(t, x, w.site)
	apply(t, x, w.add(fill(version("m.test/a", 1), 1))) // says nothing new
	if second := head(t, x, w.site); second.StateHash != first.StateHash || second.Position == first.Position {
		t.Errorf("an entry that adds nothing led from %+v to %+v", first, second)
	}
	if err := x.Local("negative").Set("m.test/b", []byte("gone")); err != nil {
		t.Fatal(err)
	}
	apply(t, x, w.add(fill(version("m.test/a", 2), 2)))
	if third := head(t, x, w.site); third.StateHash == first.StateHash {
		t.Error("an entry that adds a record left the state hash as it was")
	}
	b := newWriter(t, "b") // states the same, but later in its log
	apply(t, x, b.add(seen("m.test/c", 1)))
	before := head(t, x, b.site).StateHash
	apply(t, x, b.add(fill(version("m.test/a", 1), 1)))
	if h := head(t, x, b.site).StateHash; h == before || h == first.StateHash {
		t.Errorf("state hash of another log is %v", h)
	}
}

func head(t *testing.T, x *index.Index, s events.Site) index.Head {
	t.Helper()
	h, ok, err := x.Head(s)
	if err != nil || !ok {
		t.Fatalf("head of %s: %v, %v", s, ok, err)
	}
	return h
}

func TestHead(t *testing.T) {
	w, x := newWriter(t, "a"), open(t)
	if _, ok, err := x.Head(w.site); ok || err != nil {
		t.Errorf("head of an empty log: %v, %v", ok, err)
	}
	e := w.add(seen("m.test/a", 1))
	apply(t, x, e)
	if h := head(t, x, w.site); h.Position != e.Position || !h.Time.Equal(e.Time) || h.StateHash == (index.StateHash{}) {
		t.Errorf("head %+v, want %v at %v", h, e.Position, e.Time)
	}
	txn := x.Begin(w.site)
	defer txn.Discard()
	if txn.Head() != head(t, x, w.site) {
		t.Errorf("a transaction starts at %+v", txn.Head())
	}
}

func TestOnlyWhatFollowsIsRecorded(t *testing.T) {
	w := newWriter(t, "a")
	for i := range 4 {
		w.add(seen("m.test/a", i))
	}
	fork := newWriter(t, "a")
	fork.add(seen("m.test/b", 1))
	fork.add(seen("m.test/b", 2))
	foreign, err := events.Draft{
		Registry: events.DigestOf([]byte("other")), Site: w.site, Mark: w.log[1].Position.Mark, Time: w.log[1].Time,
		Prev: w.log[1].Prev, Bodies: []events.Body{seen("m.test/a", 1)},
	}.Seal(w.key)
	if err != nil {
		t.Fatal(err)
	}
	x := open(t)
	apply(t, x, w.log[0])
	want := head(t, x, w.site)
	for name, entries := range map[string][]events.Entry{
		"gap":                {w.log[2]},
		"gap after the next": {w.log[1], w.log[3]},
		"again":              {w.log[0]},
		"again in one":       {w.log[1], w.log[1]},
		"fork":               {fork.log[1]},
		"other registry":     {foreign},
	} {
		if err := tryApply(x, entries...); err == nil {
			t.Errorf("%s: recorded", name)
		}
		if got := head(t, x, w.site); got != want {
			t.Errorf("%s: moved the head to %+v", name, got)
		}
	}
	if err := tryApply(open(t), w.log[1]); err == nil {
		t.Error("a log was started in its middle")
	}
	apply(t, x, w.log[1:]...)
	checkAudit(t, x, w)
}

func TestRecordWantsTheEventsThatWereApplied(t *testing.T) {
	w := newWriter(t, "a")
	e := w.add(seen("m.test/a", 1), seen("m.test/a", 2))
	other := newWriter(t, "b").add(seen("m.test/a", 1))
	later := e.Events[1]
	later.Time = later.Time.Add(time.Nanosecond)
	for name, evs := range map[string][]events.Event{
		"none":        {},
		"one missing": e.Events[:1],
		"order":       {e.Events[1], e.Events[0]},
		"twice":       {e.Events[0], e.Events[0], e.Events[1]},
		"other site":  {other.Events[0], e.Events[1]},
		"other time":  {e.Events[0], later},
	} {
		x := open(t)
		txn := x.Begin(w.site)
		var errs []error
		for _, ev := range evs {
			_, err := txn.Apply(ev)
			errs = append(errs, err)
		}
		if err := errors.Join(append(errs, txn.Record(e), txn.Commit(false))...); err == nil {
			t.Errorf("%s: recorded", name)
		}
		if _, ok, _ := x.Head(w.site); ok {
			t.Errorf("%s: there is a head", name)
		}
	}
	x := open(t)
	txn := x.Begin(w.site)
	if _, err := txn.Apply(e.Events[0]); err != nil {
		t.Fatal(err)
	}
	if err := txn.Commit(false); err == nil {
		t.Error("committed events without their entry")
	}
}

func TestUnknownEventTypesAreNotApplied(t *testing.T) {
	w, x := newWriter(t, "a"), open(t)
	e := w.add(seen("m.test/a", 1))
	e.Events[0].Type, e.Events[0].Body = "version.praised", nil
	txn := x.Begin(w.site)
	defer txn.Discard()
	if _, err := txn.Apply(e.Events[0]); err == nil {
		t.Error("applied")
	}
	if err := txn.Commit(false); err == nil {
		t.Error("committed")
	}
}

func TestTxnSeesItsOwnWrites(t *testing.T) {
	a, b, x := newWriter(t, "a"), newWriter(t, "b"), open(t)
	shared, added := version("m.test/b", 1), version("m.test/c", 1)
	apply(t, x, b.add(fill(shared, 1), fill(version("m.test/d", 1), 1)))
	apply(t, x, a.add(fill(version("m.test/a", 1), 1)))
	e := a.add(fill(shared, 1), fill(added, 2))

	txn := x.Begin(a.site)
	defer txn.Discard()
	for _, ev := range e.Events {
		if changed, err := txn.Apply(ev); err != nil || !changed {
			t.Fatal(changed, err)
		}
	}
	check := func(when string) {
		t.Helper()
		for mv, want := range map[string][]string{"m.test/b": {"a", "b"}, "m.test/c": {"a"}} {
			if got, err := txn.Get(events.KeyVersion(repo, version(mv, 1))); err != nil || !slices.Equal(sitesOf(got), want) {
				t.Errorf("%s: %s of %v, %v, want %v", when, mv, sitesOf(got), err, want)
			}
		}
		var got []string
		for rec, err := range txn.Prefix(events.VersionsPrefix(repo, "")) {
			if err != nil {
				t.Fatal(err)
			}
			_, mv, _ := rec.Key.Version()
			got = append(got, mv.Path)
			got = append(got, sitesOf(rec.Contributions)...)
		}
		want := []string{"m.test/a", "a", "m.test/b", "a", "b", "m.test/c", "a", "m.test/d", "b"}
		if !slices.Equal(got, want) {
			t.Errorf("%s: prefix %v, want %v", when, got, want)
		}
		for rec := range txn.Prefix(events.VersionsPrefix(repo, "m.test/c")) {
			if _, mv, _ := rec.Key.Version(); mv != added {
				t.Errorf("%s: prefix of one module has %v", when, mv)
			}
			break
		}
	}
	check("applied")
	if got, err := x.Get(events.KeyVersion(repo, added)); err != nil || got != nil {
		t.Errorf("before the commit others see %v, %v", got, err)
	}
	if err := txn.Record(e); err != nil {
		t.Fatal(err)
	}
	check("recorded")
	if err := txn.Commit(true); err != nil {
		t.Fatal(err)
	}
	if got, err := x.Get(events.KeyVersion(repo, shared)); err != nil || !slices.Equal(sitesOf(got), []string{"a", "b"}) {
		t.Errorf("after the commit others see %v, %v", got, err)
	}
	if _, err := txn.Get(events.KeyVersion(repo, shared)); err == nil {
		t.Error("a transaction that has ended still reads")
	}
	checkAudit(t, x, a, b)
}

func sitesOf(cs events.Contributions) (names []string) {
	for _, c := range cs {
		names = append(names, c.Site.String())
	}
	return names
}

func TestTwoWritersOfOneLogAreCaught(t *testing.T) {
	w, x := newWriter(t, "a"), open(t)
	apply(t, x, w.add(seen("m.test/a", 1)))
	e, f := w.draft(seen("m.test/a", 2)), w.draft(seen("m.test/a", 3))
	first, second := x.Begin(w.site), x.Begin(w.site)
	if err := errors.Join(first.Append(e), second.Append(f), first.Commit(false)); err != nil {
		t.Fatal(err)
	}
	if err := second.Commit(false); !errors.Is(err, index.ErrTwoWriters) {
		t.Errorf("second commit: %v, want ErrTwoWriters", err)
	}
	if h := head(t, x, w.site); h.Position != e.Position {
		t.Errorf("head %v, want %v", h.Position, e.Position)
	}
	checkAudit(t, x, w)
}

func TestOldStateHashesGo(t *testing.T) {
	w, x := newWriter(t, "a"), open(t)
	x.SetHistory(3)
	for i := range 10 {
		apply(t, x, w.add(seen("m.test/a", i)))
	}
	for _, e := range w.log {
		m := e.Position.Mark
		if _, ok, err := x.StateHashAt(w.site, m); err != nil || ok != (m.Seq > 7) {
			t.Errorf("state hash at %v: %v, %v", m, ok, err)
		}
	}
	if h, ok, err := x.StateHashAt(w.site, events.Mark{}); err != nil || !ok || h != (index.StateHash{}) {
		t.Errorf("state hash before the first entry: %v, %v, %v", h, ok, err)
	}
	if _, ok, err := x.StateHashAt(w.site, events.Mark{Epoch: 2, Seq: 10}); ok || err != nil {
		t.Errorf("state hash of another epoch: %v, %v", ok, err)
	}
}

// checkAudit fails the test if anything in the index is not as it must be. The
// writers are all there are.
func checkAudit(t *testing.T, x *index.Index, ws ...*writer) index.Report {
	t.Helper()
	r, err := x.Audit(t.Context(), keysOf(ws...), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Problems {
		t.Errorf("audit: %v", p)
	}
	return r
}
