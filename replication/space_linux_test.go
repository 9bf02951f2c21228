package replication_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"registry-node/replication"
)

// smallDisk mounts a file system of size bytes for the test.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("a full disk cannot be tested: mount a tmpfs: %v", err)
		}
		t.Skipf("mounting a tmpfs is not permitted here (%v): a full disk is not tested", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// fillDisk takes all that is free but leave bytes. It returns what frees it.
func fillDisk(t *testing.T, dir string, leave int64) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, block := int64(0), make([]byte, 4096)
	for err == nil {
		var n int
		n, err = f.Write(block)
		size += int64(n)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Truncate(max(0, size-leave)); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// large returns entries of 100 KiB that differ.
func large(n uint64) []byte {
	return append(entry(n), make([]byte, 100<<10)...)
}

// appendUntilFull appends from seq on until the disk is full, and returns the
// last sequence that was acknowledged.
func appendUntilFull(t *testing.T, l *replication.Log, seq uint64) uint64 {
	t.Helper()
	for ; ; seq++ {
		begin := time.Now()
		err := l.Append(t.Context(), seq, large(seq))
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("append %d took %s", seq, took)
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, replication.ErrNoSpace) {
			t.Fatalf("append %d on a full disk = %v, want ErrNoSpace", seq, err)
		}
		t.Logf("append %d after %s: %v", seq, time.Since(begin), err)
		return seq - 1
	}
}

func checkLarge(t *testing.T, l *replication.Log, last uint64) {
	t.Helper()
	got, err := readAll(t, l)
	if err != nil || uint64(len(got)) != last {
		t.Fatalf("read %d entries, %v, want %d", len(got), err, last)
	}
	for i, data := range got {
		if data != string(large(uint64(i+1))) {
			t.Fatalf("entry %d has other bytes", i+1)
		}
	}
}

// appendWithin appends entry seq, which must succeed within d.
func appendWithin(t *testing.T, l *replication.Log, seq uint64, d time.Duration) {
	t.Helper()
	begin, retry := time.Now(), time.NewTicker(10*time.Millisecond)
	defer retry.Stop()
	for {
		err := l.Append(t.Context(), seq, large(seq))
		if err == nil {
			t.Logf("append %d works again after %s", seq, time.Since(begin))
			return
		}
		if time.Since(begin) > d {
			t.Fatalf("append %d after space is back: %v", seq, err)
		}
		<-retry.C
	}
}

// RELIABILITY M10, twice over in one process.
func TestFullDisk(t *testing.T) {
	for _, leave := range []int64{0, 50 << 10, 250 << 10, 1 << 20} {
		t.Run(fmt.Sprint(leave), func(t *testing.T) {
			dir := smallDisk(t, 32<<20)
			l := openWith(t, replication.Config{Dir: filepath.Join(dir, "log"), MinFree: 1})
			for n := uint64(1); n <= 10; n++ {
				if err := l.Append(t.Context(), n, large(n)); err != nil {
					t.Fatal(err)
				}
			}
			last := uint64(10)
			for range 2 {
				free := fillDisk(t, dir, leave)
				last = appendUntilFull(t, l, last+1)
				for range 3 { // it stays readable, refused, and quick
					checkLarge(t, l, last)
					appendUntilFull(t, l, last+1)
				}
				if err := l.Recover(t.Context()); leave == 0 && !errors.Is(err, replication.ErrNoSpace) {
					t.Errorf("Recover = %v, want ErrNoSpace", err)
				}
				free()
				last++
				appendWithin(t, l, last, 10*time.Second)
				checkLarge(t, l, last)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			checkLarge(t, openWith(t, replication.Config{Dir: filepath.Join(dir, "log")}), last)
		})
	}
}

func TestFullDiskIsSettled(t *testing.T) {
	dir := smallDisk(t, 16<<20)
	l := openWith(t, replication.Config{Dir: filepath.Join(dir, "log"), MinFree: 1})
	free := fillDisk(t, dir, 250<<10)
	last := appendUntilFull(t, l, 1)
	if _, err := l.Settle(t.Context(), last+1, large(last+1)); !errors.Is(err, replication.ErrNoSpace) {
		t.Errorf("Settle on a full disk = %v, want ErrNoSpace", err)
	}
	free()
	if stored, err := l.Settle(t.Context(), last+1, large(last+1)); err != nil || stored {
		t.Errorf("Settle = %t, %v, want not stored", stored, err)
	}
	checkLarge(t, l, last)
}

// TestImpatientAppendOnAFullDiskIsSettled: the caller left before it could be
// known that no answer would come.
func TestImpatientAppendOnAFullDiskIsSettled(t *testing.T) {
	dir := smallDisk(t, 16<<20)
	l := openWith(t, replication.Config{Dir: filepath.Join(dir, "log"), MinFree: 1})
	free := fillDisk(t, dir, 50<<10)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := l.Append(ctx, 1, large(1)); !errors.Is(err, replication.ErrUnavailable) {
		t.Fatalf("Append = %v, want ErrUnavailable", err)
	}
	if stored, err := l.Settle(t.Context(), 1, large(1)); stored || !errors.Is(err, replication.ErrNoSpace) {
		t.Errorf("Settle = %t, %v, want ErrNoSpace: what is on disk is not known", stored, err)
	}
	free()
	if stored, err := l.Settle(t.Context(), 1, large(1)); stored || err != nil {
		t.Errorf("Settle = %t, %v, want not stored", stored, err)
	}
	appendWithin(t, l, 1, 10*time.Second)
}

func TestReserveIsKeptFree(t *testing.T) {
	dir := smallDisk(t, 32<<20)
	l := openWith(t, replication.Config{Dir: filepath.Join(dir, "log")})
	free := fillDisk(t, dir, 17<<20)
	last := appendUntilFull(t, l, 1)
	if last == 0 {
		t.Error("nothing was appended above the reserve")
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if left := st.Bavail * uint64(st.Bsize); left < 15<<20 {
		t.Errorf("%d bytes are left free, want about 16 MiB", left)
	}
	if err := l.Recover(t.Context()); !errors.Is(err, replication.ErrNoSpace) {
		t.Errorf("Recover = %v, want ErrNoSpace", err)
	}
	checkLarge(t, l, last)
	free()
	if err := l.Append(t.Context(), last+1, large(last+1)); err != nil {
		t.Errorf("append after space is back: %v", err) // at once: the server never failed
	}
}

// TestOpenOnAFullDisk: a node that starts on a full disk is readable.
func TestOpenOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, 16<<20)
	cfg := replication.Config{Dir: filepath.Join(dir, "log"), MinFree: 1}
	l := openWith(t, cfg)
	for n := uint64(1); n <= 20; n++ {
		if err := l.Append(t.Context(), n, large(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	free := fillDisk(t, dir, 0)
	l = openWith(t, cfg)
	checkLarge(t, l, 20)
	appendUntilFull(t, l, 21)
	if err := l.Close(); err != nil { // on a full disk, too
		t.Fatal(err)
	}
	l = openWith(t, cfg)
	checkLarge(t, l, 20)
	appendUntilFull(t, l, 21)
	free()
	appendWithin(t, l, 21, 10*time.Second)
	checkLarge(t, l, 21)
}

func TestRewriteOnAFullDiskLeavesTheLogAsItWas(t *testing.T) {
	dir := smallDisk(t, 16<<20)
	l := openWith(t, replication.Config{Dir: filepath.Join(dir, "log"), MinFree: 1})
	for n := uint64(1); n <= 20; n++ {
		if err := l.Append(t.Context(), n, large(n)); err != nil {
			t.Fatal(err)
		}
	}
	copyTwo := func(yield func([]byte, error) bool) {
		for n := uint64(1); n <= 20; n++ {
			if !yield(large(n), nil) {
				return
			}
		}
	}
	for _, leave := range []int64{1 << 20, 5 << 20, 6 << 20} {
		free := fillDisk(t, dir, leave)
		begin := time.Now()
		err := l.Rewrite(t.Context(), copyTwo, nil)
		t.Logf("with %d bytes left, after %s: %v", leave, time.Since(begin), err)
		if err != nil && !errors.Is(err, replication.ErrNoSpace) {
			t.Errorf("Rewrite with %d bytes left = %v, want ErrNoSpace", leave, err)
		}
		checkLarge(t, l, 20)
		free()
	}
	if err := l.Rewrite(t.Context(), copyTwo, nil); err != nil {
		t.Fatal(err)
	}
	checkLarge(t, l, 20)
}
