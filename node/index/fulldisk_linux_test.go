package index_test

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"registry-node/events"
	"registry-node/node/index"
)

// smallDisk returns a directory on a file system of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount a tmpfs: %v", err)
		}
		t.Skipf("a small file system can't be mounted, so a full disk can't be tried: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// fillUp writes to a file until the disk is full.
func fillUp(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, block := range []int{1 << 20, 4096} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, block))
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

func TestARealFullDisk(t *testing.T) {
	disk := smallDisk(t, "72m")
	dir, filler := filepath.Join(disk, "index"), filepath.Join(disk, "filler")
	if err := index.Create(dir, registry); err != nil {
		t.Fatal(err)
	}
	silent := index.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	x, err := index.Open(dir, silent)
	if err != nil {
		t.Fatal(err)
	}
	w := newWriter(t, "a")
	big := func() []events.Body {
		bodies := make([]events.Body, 0, 8)
		for range cap(bodies) {
			n := uint64(len(w.log)*cap(bodies) + len(bodies))
			bodies = append(bodies, events.VersionFilled{
				ModuleVersion: events.Of(repo, version("m.test/a", int(n))), Content: content(n, 20_000)})
		}
		return bodies
	}
	for round := range 3 {
		fillUp(t, filler)
		for !x.Full() {
			e := w.draft(big()...)
			if err := commit(x, true, e); err != nil {
				t.Fatalf("round %d: a commit that started before the disk was known to be full: %v", round, err)
			}
			w.last, w.time, w.log = e.Position, e.Time, append(w.log, e)
		}
		if err := commit(x, true, w.draft(big()...)); !errors.Is(err, index.ErrFull) {
			t.Errorf("commit on a full disk: %v, want ErrFull", err)
		}
		if err := x.Local("x").Set("k", nil); !errors.Is(err, index.ErrFull) {
			t.Errorf("local write on a full disk: %v, want ErrFull", err)
		}
		fillUp(t, filler) // somebody else takes the ballast's room
		if err := x.Refill(); !errors.Is(err, index.ErrFull) || !x.Full() {
			t.Errorf("refill on a full disk: %v, want ErrFull", err)
		}
		checkAudit(t, x, w)
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		if err := x.Refill(); err != nil || x.Full() {
			t.Fatalf("refill after there is room: %v, full %v", err, x.Full())
		}
		if info, err := os.Stat(filepath.Join(dir, "ballast")); err != nil || info.Size() != x.BallastSize() {
			t.Errorf("ballast: %v, %v", info, err)
		}
	}
	fillUp(t, filler)
	if err := x.Close(); err != nil { // makes use of the ballast if it has to
		t.Errorf("close on a full disk: %v", err)
	}
	y, err := index.Open(dir, silent)
	if err != nil {
		t.Fatalf("open on a full disk: %v", err)
	}
	if h := head(t, y, w.site); h.Position != w.last {
		t.Errorf("head %v, want %v", h.Position, w.last)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := y.Refill(); err != nil {
		t.Error(err)
	}
	apply(t, y, w.add(seen("m.test/z", 1)))
	checkAudit(t, y, w)
	if err := y.Close(); err != nil {
		t.Error(err)
	}
}
