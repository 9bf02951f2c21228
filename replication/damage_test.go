package replication_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"registry-node/replication"
)

// msgsDir is where generation 1 of the log in dir keeps its messages.
func msgsDir(dir string) string {
	return filepath.Join(dir, "jetstream", "$G", "streams", "LOG_a_1", "msgs")
}

// flipBit flips one bit of the stored data, wherever in the stream's blocks it is.
func flipBit(t testing.TB, dir string, data []byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(msgsDir(dir), "*.blk"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		i := bytes.Index(b, data)
		if i < 0 {
			continue
		}
		b[i+len(data)/2] ^= 1
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("%.40q is in none of %v", data, files)
}

func removeIndex(t testing.TB, dir string) {
	t.Helper()
	if err := os.Remove(filepath.Join(msgsDir(dir), "index.db")); err != nil {
		t.Fatal(err)
	}
}

// showsLoss reports whether something tells the caller, who knows that the log
// ended at last, that entries are lost.
func showsLoss(t testing.TB, l *replication.Log, last uint64) bool {
	t.Helper()
	st, err := l.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, readErr := readAll(t, l)
	t.Logf("state %+v, read %d, %v", st, len(got), readErr)
	for i, data := range got {
		if data[0] == '{' && data != string(entry(uint64(i+1))) {
			t.Fatalf("entry %d = %q, which was never appended", i+1, data)
		}
	}
	if readErr == nil && uint64(len(got)) == last {
		return false
	}
	return !st.Whole() || st.Last != last || errors.Is(readErr, replication.ErrGap)
}

// RELIABILITY M6: one bit in the newest block.
func TestFlippedBitShows(t *testing.T) {
	for name, before := range map[string]func(testing.TB, string){
		"with index.db":    func(testing.TB, string) {},
		"without index.db": removeIndex,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir)
			fill(t, l, 1, 50)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			before(t, dir)
			flipBit(t, dir, entry(25))

			l = open(t, dir)
			if !showsLoss(t, l, 50) {
				t.Fatal("nothing shows that entries are lost")
			}
			// A committer that knows of 50 gets 51 in only where 51 belongs.
			err := l.Append(t.Context(), 51, entry(51))
			if last, lerr := l.Last(t.Context()); lerr != nil || (err == nil) != (last == 51) || err != nil && !errors.Is(err, replication.ErrRollback) {
				t.Errorf("Append(51) = %v, then Last = %d, %v", err, last, lerr)
			}
			if !showsLoss(t, l, 51) {
				t.Error("nothing shows after the append that entries are lost")
			}
			rewrite(t, l, 50)
			checkWhole(t, l, 50)
			fill(t, l, 51, 52)
		})
	}
}

// RELIABILITY M7: one bit in a block that is not the newest makes a hole.
func TestHoleInTheMiddleShows(t *testing.T) {
	const last = 40 // of 700 KiB: four blocks
	data := func(n uint64) []byte { return append(bytes.Repeat([]byte{'x'}, 700<<10), entry(n)...) }
	for name, before := range map[string]func(testing.TB, string){
		"with index.db":    func(testing.TB, string) {},
		"without index.db": removeIndex,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir)
			for n := uint64(1); n <= last; n++ {
				if err := l.Append(t.Context(), n, data(n)); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			before(t, dir)
			flipBit(t, dir, entry(5))

			l = open(t, dir)
			if !showsLoss(t, l, last) {
				t.Fatal("nothing shows that entries are lost")
			}
			_, err := readAll(t, l)
			var gap *replication.GapError
			if !errors.As(err, &gap) || gap.Seq != 5 {
				t.Fatalf("Read = %v, want a gap at 5", err)
			}
			if _, ok, err := l.Get(t.Context(), 5); ok || err != nil {
				t.Errorf("Get(5) = %t, %v, want nothing", ok, err)
			}
			// What is lost inside the log is not appended anew behind its end.
			if err := l.Append(t.Context(), 5, data(5)); !errors.Is(err, replication.ErrGap) {
				t.Errorf("Append(5) = %v, want ErrGap", err)
			}
		})
	}
}

func TestLostStoreShows(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	fill(t, l, 1, 9)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "jetstream")); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	if last, err := l.Last(t.Context()); err != nil || last != 0 {
		t.Errorf("Last = %d, %v, want 0", last, err)
	}
	if err := l.Append(t.Context(), 10, entry(10)); !errors.Is(err, replication.ErrRollback) {
		t.Errorf("Append(10) = %v, want ErrRollback", err)
	}
	rewrite(t, l, 9)
	checkWhole(t, l, 9)
}

// TestRollbackFreezesAppends damages the log while the server is started anew
// under a log that has acknowledged more.
func TestRollbackFreezesAppends(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	fill(t, l, 1, 50)
	l.SetHook(func(step string) {
		if step == "stopped" {
			removeIndex(t, dir)
			flipBit(t, dir, entry(25))
		}
	})
	if err := l.Fail(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := replication.RollbackError{Known: 50, Last: 24}
	for _, seq := range []uint64{51, 25, 51} { // 25 would fit into the stream
		err := l.Append(t.Context(), seq, entry(seq))
		var rollback *replication.RollbackError
		if !errors.As(err, &rollback) || *rollback != want {
			t.Fatalf("Append(%d) = %v, want %v", seq, err, &want)
		}
	}
	if last, err := l.Last(t.Context()); last != 24 || !errors.Is(err, replication.ErrRollback) {
		t.Errorf("Last = %d, %v, want 24 and ErrRollback", last, err)
	}
	if err := l.Recover(t.Context()); !errors.Is(err, replication.ErrRollback) {
		t.Errorf("Recover = %v, want ErrRollback", err)
	}
	if _, err := l.Settle(t.Context(), 51, entry(51)); !errors.Is(err, replication.ErrRollback) {
		t.Errorf("Settle = %v, want ErrRollback", err)
	}
	if got, err := readAll(t, l); err != nil || len(got) != 24 {
		t.Errorf("read %d, %v, want the 24 that are left", len(got), err)
	}
	rewrite(t, l, 50)
	fill(t, l, 51, 52)
	checkWhole(t, l, 52)
}

// TestDamagedDescriptionLosesNoMessage: a stream whose meta files are torn is not
// recognised by the server, but its messages are there.
func TestDamagedDescriptionLosesNoMessage(t *testing.T) {
	for _, name := range []string{"meta.inf", "meta.sum"} {
		for what, damage := range map[string]func(string) error{
			"removed": os.Remove,
			"emptied": func(name string) error { return os.Truncate(name, 0) },
			"garbled": func(name string) error { return os.WriteFile(name, []byte("{}"), 0o600) },
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				dir := t.TempDir()
				l := open(t, dir)
				fill(t, l, 1, 12)
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				if err := damage(filepath.Join(msgsDir(dir), "..", name)); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					l = open(t, dir)
					checkWhole(t, l, 12)
					if err := l.Close(); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}

func TestLostGenerationFile(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	fill(t, l, 1, 3)
	rewrite(t, l, 12)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "generation")); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	checkWhole(t, l, 12)
	if got := streams(t, dir); !slices.Equal(got, []string{"LOG_a_2"}) {
		t.Errorf("streams %v, want the one there was", got)
	}
}

// TestNewStartKeepsTheLog also shows that readers get errors, not hangs, while
// the server is down.
func TestNewStartKeepsTheLog(t *testing.T) {
	l := open(t, t.TempDir())
	fill(t, l, 1, 10)
	l.SetHook(func(step string) {
		if step != "stopped" {
			return
		}
		_, err := l.Last(t.Context())
		_, _, getErr := l.Get(t.Context(), 1)
		_, readErr := readAll(t, l)
		for _, err := range []error{err, getErr, readErr} {
			if !errors.Is(err, replication.ErrUnavailable) {
				t.Errorf("reading without a server: %v, want ErrUnavailable", err)
			}
		}
	})
	if err := l.Fail(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkWhole(t, l, 10)
	fill(t, l, 11, 11)
}

// TestAppendDuringANewStartIsBounded: the caller's context ends, the start goes on.
func TestAppendDuringANewStartIsBounded(t *testing.T) {
	l := open(t, t.TempDir())
	fill(t, l, 1, 1)
	ctx, cancel := context.WithCancel(t.Context())
	goOn := make(chan struct{})
	l.SetHook(func(step string) {
		if strings.HasPrefix(step, "stopped") {
			cancel()
			<-goOn
		}
	})
	if err := l.Fail(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := l.Append(ctx, 2, entry(2))
	if !errors.Is(err, replication.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("Append = %v, want ErrUnavailable and the context's end", err)
	}
	close(goOn)
	fill(t, l, 2, 2)
	checkWhole(t, l, 2)
}

// TestCloseWaitsForANewStart: nothing of the log runs when Close has returned.
func TestCloseWaitsForANewStart(t *testing.T) {
	l := open(t, t.TempDir())
	fill(t, l, 1, 1)
	stopped, goOn := make(chan struct{}), make(chan struct{})
	l.SetHook(func(step string) {
		if step == "stopped" {
			close(stopped)
			<-goOn
		}
	})
	if err := l.Fail(t.Context()); err != nil {
		t.Fatal(err)
	}
	recovered, closed := make(chan error, 1), make(chan error, 1)
	go func() { recovered <- l.Recover(context.Background()) }()
	<-stopped
	go func() { closed <- l.Close() }()
	if err := <-recovered; !errors.Is(err, replication.ErrClosed) { // Close has begun
		t.Errorf("Recover = %v, want ErrClosed", err)
	}
	select {
	case <-closed:
		t.Error("Close returned during a new start")
	case <-time.After(50 * time.Millisecond):
	}
	close(goOn)
	if err := <-closed; err != nil {
		t.Error(err)
	}
}
