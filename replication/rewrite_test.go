package replication_test

import (
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"registry-node/replication"
)

// entries yields the entries 1 to last, as a copy of the log would.
func entries(last uint64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for n := uint64(1); n <= last; n++ {
			if !yield(entry(n), nil) {
				return
			}
		}
	}
}

func rewrite(t testing.TB, l *replication.Log, last uint64) {
	t.Helper()
	if err := l.Rewrite(t.Context(), entries(last), nil); err != nil {
		t.Fatalf("rewrite %d entries: %v", last, err)
	}
}

// streams returns the names of the streams that have a directory.
func streams(t testing.TB, dir string) []string {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(dir, "jetstream", "$G", "streams"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		if f.Name()[0] != '.' { // the server is removing it
			names = append(names, f.Name())
		}
	}
	return names
}

func TestRewriteMakesANewGeneration(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	fill(t, l, 1, 5)
	var seen []uint64
	err := l.Rewrite(t.Context(), entries(1234), func(n uint64) { seen = append(seen, n) })
	if err != nil {
		t.Fatal(err)
	}
	if want := []uint64{500, 1000, 1234}; !slices.Equal(seen, want) {
		t.Errorf("progress %v, want %v", seen, want)
	}
	checkWhole(t, l, 1234)
	fill(t, l, 1235, 1240)
	if st, err := l.Check(t.Context()); err != nil || st.Generation != 2 || st.Stream != "LOG_a_2" {
		t.Errorf("Check = %+v, %v, want generation 2", st, err)
	}
	if got := streams(t, dir); !slices.Equal(got, []string{"LOG_a_2"}) {
		t.Errorf("streams %v, want the new one alone", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	checkWhole(t, l, 1240)
	rewrite(t, l, 0) // of nothing
	checkWhole(t, l, 0)
	fill(t, l, 1, 3)
	checkWhole(t, l, 3)
}

func TestRewriteBoundsItsBatchesByBytes(t *testing.T) {
	l := open(t, t.TempDir())
	large := make([]byte, replication.MaxEntry)
	var seen []uint64
	err := l.Rewrite(t.Context(), func(yield func([]byte, error) bool) {
		for range 12 {
			if !yield(large, nil) {
				return
			}
		}
	}, func(n uint64) { seen = append(seen, n) })
	if err != nil {
		t.Fatal(err)
	}
	if want := []uint64{5, 10, 12}; !slices.Equal(seen, want) {
		t.Errorf("progress %v, want %v", seen, want)
	}
}

func TestFailedRewriteLeavesTheLogAsItWas(t *testing.T) {
	broken := errors.New("broken copy")
	for name, tt := range map[string]struct {
		entry []byte
		err   error
		want  error
	}{
		"the source fails":   {nil, broken, broken},
		"an entry too large": {make([]byte, replication.MaxEntry+1), nil, replication.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir)
			fill(t, l, 1, 5)
			err := l.Rewrite(t.Context(), func(yield func([]byte, error) bool) {
				for n := uint64(1); n <= 600; n++ {
					if !yield(entry(n), nil) {
						return
					}
				}
				yield(tt.entry, tt.err)
			}, nil)
			if !errors.Is(err, tt.want) {
				t.Fatalf("Rewrite = %v, want %v", err, tt.want)
			}
			checkWhole(t, l, 5)
			fill(t, l, 6, 7)
			if got := streams(t, dir); !slices.Equal(got, []string{"LOG_a_1"}) {
				t.Errorf("streams %v, want the old one alone", got)
			}
			rewrite(t, l, 20)
			checkWhole(t, l, 20)
		})
	}
}

func TestReadingGoesOnDuringRewrite(t *testing.T) {
	l := open(t, t.TempDir())
	fill(t, l, 1, 5)
	l.SetHook(func(step string) {
		if step == "batch" {
			checkWhole(t, l, 5)
		}
	})
	rewrite(t, l, 700)
	checkWhole(t, l, 700)
}

// TestRewriteCountsWhatItWrote: a stream that does not hold what was written does
// not become the log.
func TestRewriteCountsWhatItWrote(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	fill(t, l, 1, 5)
	l.SetHook(func(step string) {
		if step == "batch" {
			if err := l.Intrude(t.Context(), "log.a.2"); err != nil {
				t.Error(err)
			}
		}
	})
	if err := l.Rewrite(t.Context(), entries(10), nil); !errors.Is(err, replication.ErrUnavailable) {
		t.Errorf("Rewrite = %v, want ErrUnavailable", err)
	}
	checkWhole(t, l, 5)
	if got := streams(t, dir); !slices.Equal(got, []string{"LOG_a_1"}) {
		t.Errorf("streams %v, want the old one alone", got)
	}
}
