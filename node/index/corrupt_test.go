package index_test

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"registry-node/events"
	"registry-node/node/index"
)

var silent = index.Options{Logger: slog.New(slog.DiscardHandler)}

// damaged returns the directory of a closed index that holds the log in tables.
func damaged(t *testing.T, w *writer) string {
	t.Helper()
	dir := t.TempDir()
	if err := index.Create(dir, registry); err != nil {
		t.Fatal(err)
	}
	with(t, dir, silent, func(x *index.Index) {
		apply(t, x, w.log[:len(w.log)-3]...)
		done, err := x.Flush()
		if err != nil {
			t.Fatal(err)
		}
		<-done
		apply(t, x, w.log[len(w.log)-3:]...) // these stay in Pebble's log
	})
	return dir
}

func filesOf(t *testing.T, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s in %s, %v", pattern, dir, err)
	}
	return names
}

func TestADamagedTableIsNamedAndNeverReadsAsAbsent(t *testing.T) {
	w := longLog(t, 40)
	key := events.KeyVersion(repo, version("m.test/0", 0))
	for name, harm := range map[string]func(table string) error{
		"flipped": func(table string) error {
			b, err := os.ReadFile(table)
			for i := 100; i < len(b)*3/4; i += 500 { // in every block of data
				b[i] ^= 1
			}
			return errors.Join(err, os.WriteFile(table, b, 0o600))
		},
		"gone":  os.Remove,
		"short": func(table string) error { return os.Truncate(table, 1000) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := damaged(t, w)
			table := filesOf(t, dir, "*.sst")[0]
			if err := harm(table); err != nil {
				t.Fatal(err)
			}
			number := strings.TrimSuffix(filepath.Base(table), ".sst")
			x, err := index.Open(dir, silent)
			if err == nil {
				var cs events.Contributions
				if cs, err = x.Get(key); err == nil {
					t.Errorf("get returned %v", cs)
				}
				if !errors.Is(err, index.ErrCorrupt) {
					t.Errorf("get: %v, want ErrCorrupt", err)
				}
				if werr := commit(x, true, w.draft(seen("m.test/a", 1))); werr == nil || !errors.Is(x.Err(), index.ErrStopped) {
					t.Errorf("commit: %v, state: %v, want ErrStopped", werr, x.Err())
				}
				err = errors.Join(err, x.Err())
			}
			if !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), number) {
				t.Errorf("%v does not name table %s of %s", err, number, dir)
			}
		})
	}
}

// Whatever a flipped bit hits: the index refuses to open, or a read or the audit
// says that something is wrong, or nothing is lost but unsynced last entries.
func TestAFlippedBitIsNeverALoss(t *testing.T) {
	w := longLog(t, 30)
	want := open(t)
	apply(t, want, w.log...)
	outcomes := map[string]int{}
	whole := damaged(t, w)
	if err := os.Remove(filepath.Join(whole, "ballast")); err != nil { // it holds no data
		t.Fatal(err)
	}
	for seed := range uint64(30) {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		file := flip(t, dir, rand.New(rand.NewPCG(seed, 0)))
		outcome, err := judge(t, dir, w, want)
		if err != nil {
			t.Errorf("seed %d, %s: %v", seed, filepath.Base(file), err)
		}
		outcomes[outcome]++
	}
	t.Logf("outcomes: %v", outcomes)
}

// flip changes one bit of one file in dir and returns its name.
func flip(t *testing.T, dir string, r *rand.Rand) string {
	t.Helper()
	files := slices.DeleteFunc(filesOf(t, dir, "*"), func(name string) bool {
		info, err := os.Stat(name)
		return err != nil || info.Size() == 0
	})
	file := files[r.IntN(len(files))]
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// judge returns what became of an index, or an error if it lies.
func judge(t *testing.T, dir string, w *writer, want *index.Index) (string, error) {
	x, err := index.Open(dir, silent)
	if err != nil {
		if !strings.Contains(err.Error(), dir) {
			return "", fmt.Errorf("%w does not name the directory", err)
		}
		return "refused", nil
	}
	defer func() { _ = x.Close() }() // it may have stopped
	rep, err := x.Audit(t.Context(), keysOf(w), nil)
	if err != nil {
		return "read error", nil
	}
	if !rep.OK() {
		return "audit", nil
	}
	h, ok, err := x.Head(w.site)
	if err != nil || !ok {
		return "", fmt.Errorf("no head: %w", err)
	}
	seq := h.Position.Mark.Seq
	if int(seq) < len(w.log)-3 {
		return "", fmt.Errorf("entries that were in tables are lost: the head is at %d", seq)
	}
	if hash, ok, err := want.StateHashAt(w.site, h.Position.Mark); err != nil || !ok || hash != h.StateHash {
		return "", fmt.Errorf("state hash at %d differs", seq)
	}
	if int(seq) < len(w.log) {
		return "shorter", nil
	}
	return "no effect", nil
}

func TestADamagedManifestIsNotAnEmptyIndex(t *testing.T) {
	w := longLog(t, 10)
	for _, pattern := range []string{"MANIFEST-*", "marker.manifest.*"} {
		dir := damaged(t, w)
		for _, f := range filesOf(t, dir, pattern) {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
		x, err := index.Open(dir, silent)
		if err == nil {
			_ = x.Close()
			t.Errorf("opened without %s", pattern)
			continue
		}
		if errors.Is(err, fs.ErrNotExist) && errors.Is(err, index.ErrNotIndex) {
			t.Errorf("%v reads as absence", err)
		}
		if err := index.Create(dir, registry); err == nil {
			t.Errorf("created an index over the damaged one without %s", pattern)
		}
		t.Log(err)
	}
}
