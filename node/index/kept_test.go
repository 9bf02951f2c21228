package index_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"registry-node/events"
	"registry-node/node/index"
)

// addUnknown appends an entry that holds an event of a type which nobody knows.
func (w *writer) addUnknown() events.Entry {
	w.tb.Helper()
	e := w.draft(events.FeatureRaised{Level: 1})
	text, _, _ := bytes.Cut(e.Raw, []byte(`,"sig":"`))
	text = bytes.Replace(text, []byte("feature.raised"), []byte("feature.praised"), 1)
	sig := base64.StdEncoding.EncodeToString(ed25519.Sign(w.key, text))
	e, err := events.DecodeEntry([]byte(string(text) + `,"sig":"` + sig + `"}`))
	if err != nil {
		w.tb.Fatal(err)
	}
	w.last, w.time = e.Position, e.Time
	w.log = append(w.log, e)
	return e
}

// older returns an entry as a version of the code would see it that knows none
// of its types.
func older(e events.Entry) events.Entry {
	e.Events = slices.Clone(e.Events)
	for i := range e.Events {
		e.Events[i].Body = nil
	}
	return e
}

func keep(tb testing.TB, x *index.Index, entries ...events.Entry) {
	tb.Helper()
	if err := tryKeep(x, entries...); err != nil {
		tb.Fatal(err)
	}
}

func tryKeep(x *index.Index, entries ...events.Entry) error {
	t := x.Begin(entries[0].Position.Site)
	defer t.Discard()
	for _, e := range entries {
		if err := t.Keep(e); err != nil {
			return err
		}
	}
	return t.Commit(true)
}

// kept checks up to which entry a log is kept; the zero Entry for none.
func kept(t *testing.T, x *index.Index, s events.Site, want events.Entry) {
	t.Helper()
	p, at, ok, err := x.Kept(s)
	if err != nil || ok != !want.Position.Mark.IsZero() || p != want.Position || !at.Equal(want.Time) {
		t.Errorf("kept up to %v at %v, %t, %v, want %v at %v", p, at, ok, err, want.Position, want.Time)
	}
}

func TestKeptEntriesAreStoredAndNotApplied(t *testing.T) {
	w, x := newWriter(t, "a"), open(t)
	apply(t, x, w.add(seen("m.test/a", 1)))
	before, rows := head(t, x, w.site), recordsOf(t, x)
	kept(t, x, w.site, events.Entry{})

	txn := x.Begin(w.site) // what can be applied, and then what can't, in one
	if err := errors.Join(txn.Append(w.add(seen("m.test/a", 2))), txn.Keep(w.addUnknown()), txn.Keep(w.add(seen("m.test/a", 3))), txn.Commit(true)); err != nil {
		t.Fatal(err)
	}
	kept(t, x, w.site, w.log[3])
	if h := head(t, x, w.site); h.Position != w.log[1].Position || h.StateHash == before.StateHash {
		t.Errorf("head %+v, want it at %v", h, w.log[1].Position)
	}
	keep(t, x, w.add(seen("m.test/b", 1)))
	kept(t, x, w.site, w.log[4])
	if got := recordsOf(t, x); len(got) != len(rows) {
		t.Errorf("records %v, want none of what was kept", got)
	}
	if raws := rawsOf(t, x, w.site); len(raws) != 5 || raws[4] != string(w.log[4].Raw) {
		t.Errorf("%d entries, want all 5", len(raws))
	}
	if raw, ok, err := x.Entry(w.site, w.last.Mark); err != nil || !ok || !bytes.Equal(raw, w.log[4].Raw) {
		t.Errorf("entry %q, %v, %v", raw, ok, err)
	}
	checkAudit(t, x, w)

	if err := tryApply(x, w.add(seen("m.test/a", 4))); !errors.Is(err, index.ErrKept) {
		t.Errorf("append: %v, want ErrKept", err)
	}
	if n, err := x.ApplyKept(w.site, nothingElse); n != 0 || err != nil {
		t.Errorf("applied %d, %v, of what is still unknown", n, err)
	}
	kept(t, x, w.site, w.log[4])
	checkAudit(t, x, w)
}

func TestOnlyWhatFollowsAndCannotBeAppliedIsKept(t *testing.T) {
	w := newWriter(t, "a")
	w.add(seen("m.test/a", 1))
	w.addUnknown()
	w.addUnknown()
	w.addUnknown()
	fork := newWriter(t, "a")
	fork.addUnknown()
	fork.addUnknown()
	fork.addUnknown()
	x := open(t)
	apply(t, x, w.log[0])
	for name, entries := range map[string][]events.Entry{
		"gap":              {w.log[2]},
		"gap behind kept":  {w.log[1], w.log[3]},
		"again":            {w.log[1], w.log[1]},
		"fork":             {fork.log[1]},
		"fork behind kept": {w.log[1], fork.log[2]},
	} {
		if err := tryKeep(x, entries...); err == nil {
			t.Errorf("%s: kept", name)
		}
		kept(t, x, w.site, events.Entry{})
	}
	known := newWriter(t, "b")
	if err := tryKeep(open(t), known.add(seen("m.test/a", 1))); err == nil {
		t.Error("kept what can be applied")
	}
	if err := tryKeep(open(t), w.log[1]); err == nil {
		t.Error("a log was started in its middle")
	}
	txn := x.Begin(w.site)
	defer txn.Discard()
	ahead := w.log[1]
	if _, err := txn.Apply(older(ahead).Events[0]); err == nil {
		t.Error("applied an unknown type")
	}
	if err := txn.Keep(ahead); err == nil {
		t.Error("a transaction went on after an error")
	}
}

func TestTwoWritersThatKeepAreCaught(t *testing.T) {
	w, x := newWriter(t, "a"), open(t)
	e := w.addUnknown()
	first, second := x.Begin(w.site), x.Begin(w.site)
	if err := errors.Join(first.Keep(e), second.Keep(e), first.Commit(false)); err != nil {
		t.Fatal(err)
	}
	if err := second.Commit(false); !errors.Is(err, index.ErrTwoWriters) {
		t.Errorf("second commit: %v, want ErrTwoWriters", err)
	}
}

// After an upgrade the log goes on, to the same state as one that was applied as
// it came; a log whose first entry already was unknown too.
func TestKeptEntriesAreAppliedOnceTheyAreKnown(t *testing.T) {
	for from := range 3 {
		w, x, fresh := newWriter(t, "a"), open(t), open(t)
		w.history(rand.New(rand.NewPCG(7, uint64(from))), 30)
		apply(t, fresh, w.log...)
		known := len(w.log)
		w.addUnknown()
		w.add(seen("m.test/a", 1))
		if from > 0 {
			apply(t, x, w.log[:from]...)
		}
		for _, e := range w.log[from:] {
			keep(t, x, older(e))
		}
		kept(t, x, w.site, w.log[len(w.log)-1])
		checkAudit(t, x, w)

		n, err := x.ApplyKept(w.site, nothingElse)
		if err != nil || n != known-from {
			t.Errorf("applied %d, %v, want %d", n, err, known-from)
		}
		if got, want := head(t, x, w.site), head(t, fresh, w.site); got != want {
			t.Errorf("head %+v, want %+v", got, want)
		}
		kept(t, x, w.site, w.log[len(w.log)-1])
		checkAudit(t, x, w)
	}
	w, x := newWriter(t, "a"), open(t)
	keep(t, x, older(w.add(seen("m.test/a", 1))), older(w.add(seen("m.test/a", 2))))
	if n, err := x.ApplyKept(w.site, nothingElse); n != 2 || err != nil {
		t.Errorf("applied %d, %v", n, err)
	}
	kept(t, x, w.site, events.Entry{})
	apply(t, x, w.add(seen("m.test/a", 3)))
	checkAudit(t, x, w)
	if n, err := x.ApplyKept(w.site, nothingElse); n != 0 || err != nil {
		t.Errorf("applied %d, %v, though nothing was kept", n, err)
	}
}

// Many entries are applied in several batches.
func TestManyKeptEntriesAreApplied(t *testing.T) {
	w, x := newWriter(t, "a"), open(t)
	big := bytes.Repeat([]byte("x"), events.MaxInline)
	for i := range 20 {
		var bodies []events.Body
		for k := range 4 {
			b := fill(version("m.test/a", i), uint64(k))
			b.Mod, b.ModH1 = big, events.HashMod(big)
			b.Info = append([]byte(nil), big[:1000+k]...)
			bodies = append(bodies, b)
		}
		keep(t, x, older(w.add(bodies...)))
	}
	if n, err := x.ApplyKept(w.site, nothingElse); n != 20 || err != nil {
		t.Errorf("applied %d, %v", n, err)
	}
	fresh := open(t)
	apply(t, fresh, w.log...)
	if got, want := head(t, x, w.site), head(t, fresh, w.site); got != want {
		t.Errorf("head %+v, want %+v", got, want)
	}
}

func TestPowerLossWhileKeptEntriesAreApplied(t *testing.T) {
	for percent := 0; percent <= 100; percent += 25 {
		fs := vfs.NewCrashableMem()
		x := openFS(t, fs, true)
		w := newWriter(t, "a")
		w.history(rand.New(rand.NewPCG(9, uint64(percent))), 20)
		for _, e := range w.log {
			keep(t, x, older(e))
		}
		after := func() *vfs.MemFS {
			return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(1, 1))})
		}
		y := openFS(t, after(), false)
		kept(t, y, w.site, w.log[len(w.log)-1])
		if n, err := x.ApplyKept(w.site, nothingElse); n != len(w.log) || err != nil {
			t.Fatalf("applied %d, %v", n, err)
		}
		z := openFS(t, after(), false)
		kept(t, z, w.site, events.Entry{})
		if got, want := head(t, z, w.site), head(t, x, w.site); got != want {
			t.Errorf("head after the crash %+v, want %+v", got, want)
		}
		checkAudit(t, z, w)
	}
}

// openFS opens an index in another file system, which it makes first if create
// is set; it is closed when the test ends.
func openFS(t *testing.T, fs vfs.FS, create bool) *index.Index {
	t.Helper()
	if create {
		if err := index.CreateIn(fs, "index", registry); err != nil {
			t.Fatal(err)
		}
	}
	x, err := index.Open("index", index.WithFS(fs))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return x
}

func TestAuditFindsWhatIsBrokenOfKeptEntries(t *testing.T) {
	tests := map[string]func(db *pebble.DB, w *writer) error{
		"lost entry":  func(db *pebble.DB, w *writer) error { return db.Delete(index.EntryKey(w.site, w.last.Mark), nil) },
		"lost row":    func(db *pebble.DB, w *writer) error { return db.Delete([]byte("ka"), nil) },
		"broken row":  func(db *pebble.DB, w *writer) error { return db.Set([]byte("ka"), []byte("{"), nil) },
		"row of none": func(db *pebble.DB, w *writer) error { return db.Set([]byte("kA"), []byte("{}"), nil) },
		"another's row": func(db *pebble.DB, w *writer) error {
			return errors.Join(db.Set([]byte("kb"), []byte(`{"epoch":1,"seq":3}`), nil))
		},
		"row behind head": func(db *pebble.DB, w *writer) error { return edit(db, []byte("ka"), `"seq":3`, `"seq":1`) },
		"head apart": func(db *pebble.DB, w *writer) error {
			return edit(db, []byte("pa"), w.log[0].Position.Hash.String(), w.log[1].Position.Hash.String())
		},
	}
	for name, harm := range tests {
		w, x := newWriter(t, "a"), open(t)
		apply(t, x, w.add(seen("m.test/a", 1)))
		keep(t, x, w.addUnknown(), w.add(seen("m.test/a", 2)))
		checkAudit(t, x, w)
		if err := harm(x.DB(), w); err != nil {
			t.Fatal(err)
		}
		r, err := x.Audit(t.Context(), keysOf(w), nil)
		if err != nil || len(r.Problems) == 0 || r.Problems[0].Kind != index.BadHead {
			t.Errorf("%s: %+v, %v, want a bad head", name, r.Problems, err)
		}
	}
}

func TestApplyKeptMeetsDamage(t *testing.T) {
	for name, harm := range map[string]func(db *pebble.DB, e events.Entry) error{
		"lost": func(db *pebble.DB, e events.Entry) error {
			return db.Delete(index.EntryKey(e.Position.Site, e.Position.Mark), nil)
		},
		"broken": func(db *pebble.DB, e events.Entry) error {
			return edit(db, index.EntryKey(e.Position.Site, e.Position.Mark), "{", "[")
		},
	} {
		w, x := newWriter(t, "a"), open(t)
		apply(t, x, w.add(seen("m.test/a", 1)))
		e := w.add(seen("m.test/a", 2))
		keep(t, x, older(e))
		if err := harm(x.DB(), e); err != nil {
			t.Fatal(err)
		}
		if n, err := x.ApplyKept(w.site, nothingElse); n != 0 || !errors.Is(err, index.ErrCorrupt) {
			t.Errorf("%s: applied %d, %v, want ErrCorrupt", name, n, err)
		}
	}
}

func nothingElse(*index.Txn, events.Entry) error { return nil }
