package index_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"registry-node/events"
	"registry-node/node/index"
)

// A fault is what operations on files with a suffix meet while it is on.
type fault struct {
	*errorfs.Toggle
	mem *vfs.MemFS
}

func newFault(err error, suffix string, kinds ...errorfs.OpKind) fault {
	f := fault{&errorfs.Toggle{}, vfs.NewCrashableMem()}
	f.Toggle.Injector = errorfs.InjectorFunc(func(op errorfs.Op) error {
		for _, k := range kinds {
			if op.Kind == k && strings.Contains(op.Path, suffix) {
				return err
			}
		}
		return nil
	})
	return f
}

// open opens a new index that will meet the fault.
func (f fault) open(t *testing.T) *index.Index {
	t.Helper()
	fs := errorfs.Wrap(f.mem, f.Toggle)
	if err := index.CreateIn(fs, "index", registry); err != nil {
		t.Fatal(err)
	}
	x, err := index.Open("index", index.WithFS(fs))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// restart opens what a new process would find, with the fault gone.
func (f fault) restart(t *testing.T) *index.Index {
	t.Helper()
	x, err := index.Open("index", index.WithFS(f.mem.CrashClone(vfs.CrashCloneCfg{})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

func commit(x *index.Index, sync bool, e events.Entry) error {
	txn := x.Begin(e.Position.Site)
	return errors.Join(txn.Append(e), txn.Commit(sync))
}

// After a write failed, the index answers reads, refuses writes, and what the
// next process finds is whole.
func TestADiskThatFailsStopsTheWriting(t *testing.T) {
	tests := map[string]fault{
		"log write": newFault(syscall.EIO, ".log", errorfs.OpFileWrite),
		"log sync":  newFault(syscall.EIO, ".log", errorfs.OpFileSync, errorfs.OpFileSyncData),
		// A sync that found no room has lost data as any other that failed.
		"log sync without room": newFault(syscall.ENOSPC, ".log", errorfs.OpFileSync, errorfs.OpFileSyncData),
		"table create":          newFault(syscall.EROFS, ".sst", errorfs.OpCreate),
		"table write":           newFault(syscall.EIO, ".sst", errorfs.OpFileWrite),
		"table sync":            newFault(syscall.EIO, ".sst", errorfs.OpFileSync, errorfs.OpFileSyncData),
		"manifest write":        newFault(syscall.EIO, "MANIFEST", errorfs.OpFileWrite),
		"manifest sync":         newFault(syscall.EIO, "MANIFEST", errorfs.OpFileSync, errorfs.OpFileSyncData),
		"remove":                newFault(syscall.EIO, "", errorfs.OpRemove),
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x, w := f.open(t), newWriter(t, "a")
			if err := commit(x, true, w.add(fill(version("m.test/a", 0), 1))); err != nil {
				t.Fatal(err)
			}
			f.On()
			synced := uint64(1)
			var err error
			for err == nil {
				e := w.add(fill(version("m.test/a", len(w.log)), 1))
				if err = commit(x, true, e); err == nil {
					synced = e.Position.Mark.Seq
				}
				_, _ = x.Flush() // tables and manifest are written
			}
			if !errors.Is(err, index.ErrStopped) || !errors.Is(x.Err(), index.ErrStopped) {
				t.Errorf("commit: %v, state: %v, want ErrStopped", err, x.Err())
			}
			if !strings.Contains(x.Err().Error(), "index/") {
				t.Errorf("%q does not name the file", x.Err())
			}
			if cs, err := x.Get(events.KeyVersion(repo, version("m.test/a", 0))); err != nil || len(cs) != 1 {
				t.Errorf("read after the fault: %v, %v", cs, err)
			}
			for range x.Entries(w.site, events.Mark{}) {
			}
			if err := x.Local("x").Set("a", nil); !errors.Is(err, index.ErrStopped) {
				t.Errorf("local write after the fault: %v", err)
			}
			if err := x.Close(); !errors.Is(err, index.ErrStopped) {
				t.Errorf("close: %v", err)
			}
			y := f.restart(t)
			checkAudit(t, y, w)
			if h := head(t, y, w.site); h.Position.Mark.Seq < synced {
				t.Errorf("head at %v, %d was synced", h.Position.Mark, synced)
			}
		})
	}
}

func TestAFullDiskRefusesAndGoesOn(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		f := newFault(errno, ".sst", errorfs.OpFileWrite)
		x, w := f.open(t), newWriter(t, "a")
		if err := commit(x, true, w.add(seen("m.test/a", 1))); err != nil {
			t.Fatal(err)
		}
		f.On()
		flushed, err := x.Flush()
		if err != nil {
			t.Fatal(err)
		}
		var e events.Entry
		for err == nil {
			if e = w.draft(seen("m.test/a", len(w.log)+1)); !x.Full() {
				w.add(seen("m.test/a", len(w.log)+1))
			}
			err = commit(x, true, e)
		}
		if !errors.Is(err, index.ErrFull) || x.Err() != nil || !x.Full() {
			t.Fatalf("commit: %v, state %v, full %v, want ErrFull alone", err, x.Err(), x.Full())
		}
		at := head(t, x, w.site).Position
		f.Off()
		<-flushed // what waited for room goes on by itself
		if err := x.Refill(); err != nil || x.Full() {
			t.Fatalf("refill: %v, full %v", err, x.Full())
		}
		w.last, w.log = at, w.log[:at.Mark.Seq]
		if err := commit(x, true, w.add(seen("m.test/b", 1))); err != nil {
			t.Fatal(err)
		}
		checkAudit(t, x, w)
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A commit that found no room, and no ballast to make some, does not hang.
func TestACommitDoesNotWaitForRoomForEver(t *testing.T) {
	f := newFault(syscall.ENOSPC, ".log", errorfs.OpFileWrite)
	x, w := f.open(t), newWriter(t, "a")
	if err := commit(x, true, w.add(seen("m.test/a", 1))); err != nil {
		t.Fatal(err)
	}
	f.On()
	start := time.Now()
	if err := commit(x, true, w.add(seen("m.test/a", 2))); !errors.Is(err, index.ErrStopped) {
		t.Errorf("commit: %v, want ErrStopped", err)
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
	if h := head(t, f.restart(t), w.site); h.Position.Mark.Seq != 1 {
		t.Errorf("head at %v", h.Position)
	}
}

func TestAfterAFatalErrorNothingIsBelieved(t *testing.T) {
	f := newFault(nil, "")
	x, w := f.open(t), newWriter(t, "a")
	if err := commit(x, true, w.add(fill(version("m.test/a", 1), 1))); err != nil {
		t.Fatal(err)
	}
	txn := x.Begin(w.site)
	defer txn.Discard()
	x.Fatalf("table %d is gone", 7)
	fails := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, index.ErrStopped) || !strings.Contains(fmt.Sprint(err), "table 7 is gone") {
			t.Errorf("%s: %v, want ErrStopped and why", what, err)
		}
	}
	key := events.KeyVersion(repo, version("m.test/a", 1))
	_, err := x.Get(key)
	fails("get", err)
	_, err = txn.Get(key)
	fails("get in a transaction", err)
	_, err = txn.Apply(w.draft(fill(version("m.test/b", 1), 1)).Events[0])
	fails("apply", err)
	_, _, err = x.Head(w.site)
	fails("head", err)
	for _, err = range x.Prefix("") {
	}
	fails("prefix", err)
	_, err = x.Audit(t.Context(), keysOf(w), nil)
	fails("audit", err)
	fails("commit", txn.Commit(true))
	fails("sync", x.Sync())
	fails("refill", x.Refill())
}
