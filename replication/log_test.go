package replication_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/replication"
)

func mustSite(t testing.TB, name string) events.Site {
	t.Helper()
	site, err := events.ParseSite(name)
	if err != nil {
		t.Fatal(err)
	}
	return site
}

// open opens the log of site a in dir and closes it when the test ends.
func open(t testing.TB, dir string) *replication.Log {
	t.Helper()
	return openWith(t, replication.Config{Dir: dir})
}

func openWith(t testing.TB, cfg replication.Config) *replication.Log {
	t.Helper()
	cfg.Site = mustSite(t, "a")
	l, err := replication.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// entry returns the bytes that the tests append as entry n.
func entry(n uint64) []byte { return fmt.Appendf(nil, `{"entry":"number %d of the test"}`, n) }

// fill appends the entries from first to last.
func fill(t testing.TB, l *replication.Log, first, last uint64) {
	t.Helper()
	for n := first; n <= last; n++ {
		if err := l.Append(t.Context(), n, entry(n)); err != nil {
			t.Fatalf("append %d: %v", n, err)
		}
	}
}

// readAll returns what Read yields from entry 1 on, and its error.
func readAll(t testing.TB, l *replication.Log) ([]string, error) {
	t.Helper()
	var got []string
	for r, err := range l.Read(t.Context(), 1) {
		if err != nil {
			return got, err
		}
		if want := uint64(len(got) + 1); r.Seq != want {
			t.Fatalf("Read yielded sequence %d, want %d", r.Seq, want)
		}
		got = append(got, string(r.Data))
	}
	return got, nil
}

// checkWhole fails unless l holds exactly the entries 1 to last.
func checkWhole(t testing.TB, l *replication.Log, last uint64) {
	t.Helper()
	st, err := l.Check(t.Context())
	if err != nil || !st.Whole() || st.Last != last {
		t.Fatalf("Check = %+v, %v, want whole up to %d", st, err, last)
	}
	if got, err := l.Last(t.Context()); err != nil || got != last {
		t.Fatalf("Last = %d, %v, want %d", got, err, last)
	}
	got, err := readAll(t, l)
	if err != nil || uint64(len(got)) != last {
		t.Fatalf("read %d entries, %v, want %d", len(got), err, last)
	}
	for i, data := range got {
		if want := string(entry(uint64(i + 1))); data != want {
			t.Fatalf("entry %d = %q, want %q", i+1, data, want)
		}
	}
}

func TestAppendedEntriesSurviveReopening(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	checkWhole(t, l, 0)
	fill(t, l, 1, 30)
	checkWhole(t, l, 30)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	checkWhole(t, l, 30)
	fill(t, l, 31, 40)
	checkWhole(t, l, 40)

	got := 0
	for r, err := range l.Read(t.Context(), 36) {
		if err != nil || string(r.Data) != string(entry(r.Seq)) {
			t.Fatalf("Read(36): %d %q, %v", r.Seq, r.Data, err)
		}
		got++
	}
	if got != 5 {
		t.Errorf("Read(36) of 40 yielded %d entries, want 5", got)
	}
	for range l.Read(t.Context(), 41) {
		t.Error("Read behind the end yielded something")
	}
}

func TestReadGoesOverManyBatches(t *testing.T) {
	l := open(t, t.TempDir())
	rewrite(t, l, 4500)
	checkWhole(t, l, 4500)
	for r, err := range l.Read(t.Context(), 1) { // a reader may stop early
		if err != nil {
			t.Fatal(err)
		}
		if r.Seq == 2500 {
			break
		}
	}
}

func TestReadEndsAtTheLastEntryKnownWhenItBegan(t *testing.T) {
	l := open(t, t.TempDir())
	fill(t, l, 1, 10)
	n := uint64(0)
	for r, err := range l.Read(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		n = r.Seq
		fill(t, l, 10+n, 10+n)
	}
	if n != 10 {
		t.Errorf("Read ended at %d, want 10", n)
	}
}

func TestGet(t *testing.T) {
	l := open(t, t.TempDir())
	fill(t, l, 1, 3)
	for _, tt := range []struct {
		seq uint64
		ok  bool
	}{{0, false}, {1, true}, {3, true}, {4, false}} {
		got, ok, err := l.Get(t.Context(), tt.seq)
		if err != nil || ok != tt.ok || ok && string(got) != string(entry(tt.seq)) {
			t.Errorf("Get(%d) = %q, %t, %v", tt.seq, got, ok, err)
		}
	}
}

func TestAppendAgainIsIdempotent(t *testing.T) {
	l := open(t, t.TempDir())
	fill(t, l, 1, 2)
	fill(t, l, 1, 2) // known to be there
	// The first send was stored, but its answer was lost.
	if err := l.PublishRaw(t.Context(), 3, entry(3)); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 3, 4)
	checkWhole(t, l, 4)
}

func TestCancelledAppendIsSettled(t *testing.T) {
	l := open(t, t.TempDir())
	fill(t, l, 1, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
	defer cancel()
	err := l.Append(ctx, 2, entry(2))
	if err != nil && !errors.Is(err, replication.ErrUnavailable) {
		t.Fatalf("Append = %v, want ErrUnavailable", err)
	}
	stored, err := l.Settle(t.Context(), 2, entry(2))
	if err != nil {
		t.Fatal(err)
	}
	want := uint64(1)
	if stored {
		want = 2
	}
	checkWhole(t, l, want)
	fill(t, l, 2, 3)
	checkWhole(t, l, 3)
}

func TestSettle(t *testing.T) {
	l := open(t, t.TempDir())
	fill(t, l, 1, 3)
	for _, tt := range []struct {
		seq    uint64
		data   []byte
		stored bool
	}{{3, entry(3), true}, {3, []byte("other"), false}, {4, entry(4), false}, {9, entry(9), false}} {
		got, err := l.Settle(t.Context(), tt.seq, tt.data)
		if err != nil || got != tt.stored {
			t.Errorf("Settle(%d, %q) = %t, %v, want %t", tt.seq, tt.data, got, err, tt.stored)
		}
	}
}

func TestTakenSequenceIsConflict(t *testing.T) {
	l := open(t, t.TempDir())
	fill(t, l, 1, 3)
	if err := l.PublishRaw(t.Context(), 4, []byte("of another node")); err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{2, 4} {
		err := l.Append(t.Context(), seq, []byte("mine"))
		var conflict *replication.ConflictError
		if !errors.As(err, &conflict) || !errors.Is(err, replication.ErrConflict) {
			t.Fatalf("Append(%d) = %v, want ErrConflict", seq, err)
		}
		if want := (replication.ConflictError{Seq: seq, Last: 4}); seq == 4 && *conflict != want {
			t.Errorf("Append(%d): %+v, want %+v", seq, *conflict, want)
		}
	}
	fill(t, l, 5, 5) // a conflict is no rollback
}

func TestAppendAfterAMissingEntryIsRollback(t *testing.T) {
	l := open(t, t.TempDir())
	fill(t, l, 1, 3)
	err := l.Append(t.Context(), 6, entry(6))
	var rollback *replication.RollbackError
	if !errors.As(err, &rollback) || *rollback != (replication.RollbackError{Known: 5, Last: 3}) {
		t.Fatalf("Append(6) after 3 = %v, want a rollback from 5 to 3", err)
	}
	fill(t, l, 4, 4) // this log never held 5, so it is not frozen
}

func TestOneOfConcurrentAppendsWins(t *testing.T) {
	l := open(t, t.TempDir())
	for seq := uint64(1); seq <= 20; seq++ {
		var wg sync.WaitGroup
		var won atomic.Int32
		for i := range 8 {
			wg.Go(func() {
				err := l.Append(t.Context(), seq, fmt.Appendf(nil, "writer %d at %d", i, seq))
				switch {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, replication.ErrConflict):
					t.Errorf("append %d: %v", seq, err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d writers won sequence %d, want 1", won.Load(), seq)
		}
	}
	if last, err := l.Last(t.Context()); err != nil || last != 20 {
		t.Errorf("Last = %d, %v, want 20", last, err)
	}
}

func TestAppendRefusesWhatCannotBe(t *testing.T) {
	l := open(t, t.TempDir())
	if err := l.Append(t.Context(), 0, entry(1)); err == nil {
		t.Error("sequence 0 was taken")
	}
	if err := l.Append(t.Context(), 1, make([]byte, replication.MaxEntry+1)); !errors.Is(err, replication.ErrTooLarge) {
		t.Errorf("append of a too large entry = %v, want ErrTooLarge", err)
	}
	if err := l.Append(t.Context(), 1, make([]byte, replication.MaxEntry)); err != nil {
		t.Errorf("append of the largest entry: %v", err)
	}
}

func TestClosedLogSaysSo(t *testing.T) {
	l := open(t, t.TempDir())
	fill(t, l, 1, 1)
	for range 2 {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, lastErr := l.Last(t.Context())
	_, checkErr := l.Check(t.Context())
	_, _, getErr := l.Get(t.Context(), 1)
	_, readErr := readAll(t, l)
	for name, err := range map[string]error{
		"Last": lastErr, "Check": checkErr, "Get": getErr, "Read": readErr,
		"Append":  l.Append(t.Context(), 2, entry(2)),
		"Recover": l.Recover(t.Context()),
		"Rewrite": l.Rewrite(t.Context(), entries(1), nil),
	} {
		if !errors.Is(err, replication.ErrClosed) {
			t.Errorf("%s on a closed log = %v, want ErrClosed", name, err)
		}
	}
}

func TestOpenRefusesAnotherSitesLog(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	_, err := replication.Open(t.Context(), replication.Config{Dir: dir, Site: mustSite(t, "b")})
	if err == nil || !strings.Contains(err.Error(), `site "a"`) {
		t.Errorf("Open = %v, want an error that names site a", err)
	}
}

func TestOpenRefusesABadGenerationFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "generation"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := replication.Open(t.Context(), replication.Config{Dir: dir, Site: mustSite(t, "a")}); err == nil {
		_ = l.Close()
		t.Error("Open succeeded")
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	l := open(t, t.TempDir())
	fill(t, l, 1, 10)
	if err := l.Fail(t.Context()); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 11, 11) // after a new start
	checkWhole(t, l, 11)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// Goroutines that have been told to end may need a moment.
	deadline := time.Now().Add(5 * time.Second)
	for {
		left := natsGoroutines()
		if left == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still running after Close:\n%s", left)
		}
		runtime.Gosched()
	}
}

// natsGoroutines returns the stacks of what runs in NATS or in this package.
func natsGoroutines() string {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for _, g := range strings.Split(string(buf), "\n\n") {
		if strings.Contains(g, "nats-io/") || strings.Contains(g, "replication.(*") {
			left = append(left, g)
		}
	}
	return strings.Join(left, "\n\n")
}

func TestStateWhole(t *testing.T) {
	for _, tt := range []struct {
		state replication.State
		want  bool
	}{
		{replication.State{}, true},
		{replication.State{First: 1}, true}, // as JetStream shows an empty stream that was once opened
		{replication.State{Entries: 3, First: 1, Last: 3}, true},
		{replication.State{Entries: 2, First: 1, Last: 3}, false}, // a hole
		{replication.State{Entries: 2, First: 2, Last: 3}, false}, // the beginning is lost
		{replication.State{Entries: 3, First: 2, Last: 4}, false},
		{replication.State{First: 4, Last: 3}, false}, // all is lost
	} {
		if got := tt.state.Whole(); got != tt.want {
			t.Errorf("%+v: Whole = %t, want %t", tt.state, got, tt.want)
		}
	}
}
