package index_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"registry-node/node/index"
)

// The machine loses power at any moment, with any part of what was not synced:
// what is found afterwards is a prefix of the log, whole, and holds all that a
// synced commit answered for.
func TestPowerLossLosesASuffixOfWhatWasNotSynced(t *testing.T) {
	const rounds = 4
	for _, percent := range []int{0, 10, 50, 90, 100} {
		t.Run(fmt.Sprintf("unsynced %d percent", percent), func(t *testing.T) {
			for round := range uint64(rounds) {
				crashWhileWriting(t, percent, rand.New(rand.NewPCG(uint64(percent), round)))
			}
		})
	}
}

func crashWhileWriting(t *testing.T, percent int, r *rand.Rand) {
	fs := vfs.NewCrashableMem()
	if err := index.CreateIn(fs, "index", registry); err != nil {
		t.Fatal(err)
	}
	x, err := index.Open("index", index.WithFS(fs))
	if err != nil {
		t.Fatal(err)
	}
	w := newWriter(t, "a")
	w.history(r, 60)

	var synced atomic.Uint64 // seq that a synced commit answered for
	var writer sync.WaitGroup
	crashAt := 1 + r.IntN(len(w.log)-1)
	reached := make(chan struct{})
	plan := rand.New(rand.NewPCG(r.Uint64(), 1))
	writer.Go(func() {
		for i := 0; i < len(w.log); {
			n := min(1+plan.IntN(3), len(w.log)-i)
			txn, sync := x.Begin(w.site), plan.IntN(3) == 0
			for _, e := range w.log[i : i+n] {
				if err := txn.Append(e); err != nil {
					t.Error(err)
				}
			}
			if err := txn.Commit(sync); err != nil {
				t.Error(err)
			}
			if i += n; sync {
				synced.Store(uint64(i))
			}
			if plan.IntN(8) == 0 {
				if _, err := x.Flush(); err != nil {
					t.Error(err)
				}
			}
			if i >= crashAt && i-n < crashAt {
				close(reached)
			}
		}
	})
	<-reached
	must := synced.Load()
	after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: r})
	writer.Wait()
	if err := x.Close(); err != nil {
		t.Error(err)
	}

	y, err := index.Open("index", index.WithFS(after))
	if err != nil {
		t.Fatalf("after the crash: %v", err)
	}
	checkAudit(t, y, w)
	h, _, err := y.Head(w.site)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.Position.Mark.Seq; got < must {
		t.Errorf("the head is at %d, %d was synced", got, must)
	}
	for _, e := range w.log[h.Position.Mark.Seq:] { // goes on from there to the same state
		apply(t, y, e)
	}
	fresh := open(t)
	apply(t, fresh, w.log...)
	if got, want := head(t, y, w.site), head(t, fresh, w.site); got != want {
		t.Errorf("replayed to %+v, want %+v", got, want)
	}
	if err := y.Close(); err != nil {
		t.Error(err)
	}
}

// A crash in the middle of Create leaves no index, or a whole one, and Create
// can be called again.
func TestPowerLossInCreate(t *testing.T) {
	for percent := 0; percent <= 100; percent += 20 {
		fs := vfs.NewCrashableMem()
		var clones []*vfs.MemFS
		var mu sync.Mutex // guards clones
		// Before every operation on a file the power may go.
		each := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			r := rand.New(rand.NewPCG(uint64(percent), uint64(len(clones))))
			clones = append(clones, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: r}))
			return nil
		})
		if err := index.CreateIn(errorfs.Wrap(fs, each), "index", registry); err != nil {
			t.Fatal(err)
		}
		done := fs.CrashClone(vfs.CrashCloneCfg{})
		openIn(t, done)
		for _, clone := range clones {
			if x, err := index.Open("index", index.WithFS(clone)); err == nil {
				if err := x.Close(); err != nil {
					t.Error(err)
				}
				continue
			}
			if err := index.CreateIn(clone, "index", registry); err != nil {
				t.Errorf("create again at %d percent: %v", percent, err)
				continue
			}
			openIn(t, clone)
		}
	}
}

func openIn(t *testing.T, fs vfs.FS) {
	t.Helper()
	x, err := index.Open("index", index.WithFS(fs))
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}
