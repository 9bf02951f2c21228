package index_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"registry-node/events"
	"registry-node/node/index"
)

func TestGenerationChangesWithTheRecord(t *testing.T) {
	w, x := newWriter(t, "a"), open(t)
	v, m := events.KeyVersion(repo, version("m.test/a", 1)), events.KeyModule(repo, "m.test/a")
	if x.Generation(v) != x.Generation(m) || x.Generation(v) != x.Generation(events.KeyVersion(repo, version("m.test/a", 2))) {
		t.Error("keys of one module have different generations")
	}
	for _, body := range []events.Body{fill(version("m.test/a", 1), 1), seen("m.test/a", 1)} {
		before := x.Generation(m)
		txn := x.Begin(w.site)
		if err := txn.Append(w.add(body)); err != nil {
			t.Fatal(err)
		}
		if x.Generation(m) != before {
			t.Error("changed before the commit")
		}
		if err := txn.Commit(false); err != nil {
			t.Fatal(err)
		}
		if x.Generation(m) == before {
			t.Errorf("%T left the generation as it was", body)
		}
	}
}

// A reader that keeps what Get said as long as the generation stays the same
// never shows less than what was committed before it looked.
func TestCachingByGenerationIsNeverStale(t *testing.T) {
	w, x := newWriter(t, "a"), open(t)
	k := events.KeyModule(repo, "m.test/a")
	const n = 120
	for i := range n {
		w.add(seen("m.test/a", i))
	}
	var committed atomic.Int64
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			var cached events.Contributions
			gen := x.Generation(k) - 1
			for {
				must := int(committed.Load())
				if g := x.Generation(k); g != gen {
					cs, err := x.Get(k)
					if err != nil {
						t.Error(err)
						return
					}
					cached, gen = cs, g
				}
				if got := len(cached.Of(w.site)); got < must {
					t.Errorf("the reader shows %d facts after %d were committed", got, must)
					return
				}
				if must == n {
					return
				}
			}
		})
	}
	for i, e := range w.log {
		apply(t, x, e)
		committed.Store(int64(i + 1))
	}
	readers.Wait()
}

func TestLogsAreWrittenAtTheSameTime(t *testing.T) {
	x := open(t)
	var ws []*writer
	for _, name := range []string{"a", "b", "c"} {
		w := newWriter(t, name)
		for i := range 40 {
			w.add(fill(version("m.test/a", i%7), uint64(i%7)), seen("m.test/a", i))
		}
		ws = append(ws, w)
	}
	var writers sync.WaitGroup
	for _, w := range ws {
		writers.Go(func() {
			for i, e := range w.log {
				txn := x.Begin(w.site)
				if err := txn.Append(e); err != nil {
					t.Error(err)
				}
				if err := txn.Commit(i%8 == 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	checkAudit(t, x, ws...)
	var alone index.Head
	y := open(t)
	apply(t, y, ws[1].log...)
	if alone = head(t, y, ws[1].site); head(t, x, ws[1].site) != alone {
		t.Errorf("head %+v beside other logs, %+v alone", head(t, x, ws[1].site), alone)
	}
}
