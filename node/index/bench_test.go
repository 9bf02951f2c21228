package index_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/node/index"
)

// longLog returns n entries of 16 fills each, of about 500 bytes.
func longLog(tb testing.TB, n int) *writer {
	w := newWriter(tb, "a")
	for i := range n {
		var bodies []events.Body
		for j := range 16 {
			k := i*16 + j
			bodies = append(bodies, fill(version(fmt.Sprintf("m.test/%d", k/20), k%20), uint64(k)))
		}
		w.add(bodies...)
	}
	return w
}

// replay folds a log into an index as a start-up does: many entries a
// transaction, synced at the end.
func replay(ctx context.Context, x *index.Index, w *writer) error {
	verify := func(e events.Entry) error { return e.Verify(w.public()) }
	t := x.Begin(w.site)
	defer func() { t.Discard() }()
	for e, err := range index.DecodeAll(ctx, w.raws(), verify) {
		if err != nil {
			return err
		}
		if err := t.Append(e); err != nil {
			return err
		}
		if t.Size() > 4<<20 {
			if err := t.Commit(false); err != nil {
				return err
			}
			t = x.Begin(w.site)
		}
	}
	return t.Commit(true)
}

func BenchmarkReplay(b *testing.B)     { benchmarkReplay(b, index.Options{}) }
func BenchmarkReplayBulk(b *testing.B) { benchmarkReplay(b, index.Options{Bulk: true}) }

func benchmarkReplay(b *testing.B, opts index.Options) {
	w := longLog(b, 6000)
	cpu := cpuTime(b)
	for b.Loop() {
		dir := b.TempDir()
		if err := index.Create(dir, registry); err != nil {
			b.Fatal(err)
		}
		x, err := index.Open(dir, opts)
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(replay(b.Context(), x, w), x.Close()); err != nil {
			b.Fatal(err)
		}
	}
	n := float64(len(w.log) * 16 * b.N)
	b.ReportMetric(n/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/n, "cpu-µs/event")
}

func BenchmarkGet(b *testing.B) {
	w := longLog(b, 6000)
	x := open(b)
	if err := replay(b.Context(), x, w); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		k := i * 7919 % (len(w.log) * 16)
		cs, err := x.Get(events.KeyVersion(repo, version(fmt.Sprintf("m.test/%d", k/20), k%20)))
		if err != nil || len(cs) != 1 {
			b.Fatal(cs, err)
		}
	}
}

func BenchmarkGetAbsent(b *testing.B) {
	w := longLog(b, 6000)
	x := open(b)
	if err := replay(b.Context(), x, w); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		cs, err := x.Get(events.KeyVersion(repo, version(fmt.Sprintf("m.test/%d", i%4800), 21)))
		if err != nil || len(cs) != 0 {
			b.Fatal(cs, err)
		}
	}
}

func BenchmarkCommitSynced(b *testing.B) {
	x := open(b)
	w := newWriter(b, "a")
	var worst time.Duration
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		e := w.add(fill(version("m.test/a", i), uint64(i)))
		b.StartTimer()
		start := time.Now()
		t := x.Begin(w.site)
		if err := t.Append(e); err != nil {
			b.Fatal(err)
		}
		if err := t.Commit(true); err != nil {
			b.Fatal(err)
		}
		worst = max(worst, time.Since(start))
	}
	b.ReportMetric(float64(worst.Microseconds()), "µs-worst")
}

func BenchmarkAudit(b *testing.B) {
	w := longLog(b, 3000)
	x := open(b)
	if err := replay(b.Context(), x, w); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if r, err := x.Audit(b.Context(), keysOf(w), nil); err != nil || !r.OK() {
			b.Fatal(r.Problems, err)
		}
	}
	b.ReportMetric(float64(len(w.log)*16*b.N)/b.Elapsed().Seconds(), "events/s")
}
