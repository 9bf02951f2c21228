package index_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"registry-node/events"
	"registry-node/node/index"
)

func TestOpenNeverCreates(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	empty := t.TempDir()
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "notes.txt"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{missing, empty, other} {
		before, _ := os.ReadDir(dir)
		if _, err := index.Open(dir, index.Options{}); !errors.Is(err, index.ErrNotIndex) || !strings.Contains(err.Error(), dir) {
			t.Errorf("open %s: %v, want ErrNotIndex naming it", dir, err)
		}
		if after, _ := os.ReadDir(dir); len(after) != len(before) {
			t.Errorf("open left something in %s: %v", dir, after)
		}
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("open made the directory")
	}
}

func TestCreateOnlyWhereNothingIs(t *testing.T) {
	dir := t.TempDir()
	if err := index.Create(dir, registry); err != nil {
		t.Fatal(err)
	}
	if err := index.Create(dir, registry); !errors.Is(err, index.ErrExists) {
		t.Errorf("second create: %v, want ErrExists", err)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "notes.txt"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := index.Create(other, registry); !errors.Is(err, index.ErrExists) {
		t.Errorf("create beside a file: %v, want ErrExists", err)
	}
	if err := index.Create(filepath.Join(t.TempDir(), "new"), registry); err != nil {
		t.Errorf("create in a new directory: %v", err)
	}
}

func TestWhatACreateLeftThatWasCutShortGoes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "index")
	if err := os.MkdirAll(filepath.Join(dir+".new", "rest"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := index.Open(dir, index.Options{}); !errors.Is(err, index.ErrNotIndex) {
		t.Errorf("open: %v, want ErrNotIndex", err)
	}
	if err := index.Create(dir, registry); err != nil {
		t.Fatal(err)
	}
	if x := reopen(t, dir); x.Registry() != registry {
		t.Errorf("registry %v, want %v", x.Registry(), registry)
	}
	if left, err := filepath.Glob(dir + "*"); err != nil || len(left) != 1 {
		t.Errorf("left %q, %v", left, err)
	}
}

func TestAStoreOfSomebodyElseIsNoIndex(t *testing.T) {
	dir := t.TempDir()
	db, err := pebble.Open(dir, &pebble.Options{Comparer: index.Comparer, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := index.Open(dir, index.Options{}); !errors.Is(err, index.ErrNotIndex) {
		t.Errorf("open: %v, want ErrNotIndex", err)
	}
	if err := index.Create(dir, registry); !errors.Is(err, index.ErrExists) {
		t.Errorf("create: %v, want ErrExists", err)
	}
}

// quiet is a logger of Pebble that says nothing.
type quiet struct{}

func (quiet) Infof(string, ...any)         {}
func (quiet) Errorf(string, ...any)        {}
func (quiet) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }

func TestOtherVersionsAreRefused(t *testing.T) {
	dir := t.TempDir()
	if err := index.Create(dir, registry); err != nil {
		t.Fatal(err)
	}
	anyVersion := index.Options{AnyApplyVersion: true}
	w := newWriter(t, "a")
	with(t, dir, anyVersion, func(x *index.Index) {
		apply(t, x, w.add(seen("m.test/a", 1)))
		if err := x.SetStamp(1, 7); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := index.Open(dir, index.Options{}); !errors.Is(err, index.ErrApplyVersion) || !strings.Contains(err.Error(), "7") {
		t.Errorf("other apply version: %v, want ErrApplyVersion with the number", err)
	}
	with(t, dir, anyVersion, func(x *index.Index) {
		if got := rawsOf(t, x, w.site); len(got) != 1 || got[0] != string(w.log[0].Raw) {
			t.Errorf("entries %q, want the one that was recorded", got)
		}
		if err := tryApply(x, w.add(seen("m.test/a", 2))); !errors.Is(err, index.ErrApplyVersion) {
			t.Errorf("commit: %v, want ErrApplyVersion", err)
		}
		if err := x.SetStamp(9, 1); err != nil {
			t.Fatal(err)
		}
	})
	_, err := index.Open(dir, anyVersion)
	if !errors.Is(err, index.ErrFormat) || !strings.Contains(err.Error(), "format 9") || !strings.Contains(err.Error(), "knows 1") {
		t.Errorf("other format: %v, want ErrFormat with both numbers", err)
	}
}

// with opens an index for one use.
func with(t *testing.T, dir string, opts index.Options, use func(*index.Index)) {
	t.Helper()
	x, err := index.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	use(x)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}

func rawsOf(t *testing.T, x *index.Index, s events.Site) (raws []string) {
	t.Helper()
	for raw, err := range x.Entries(s, events.Mark{}) {
		if err != nil {
			t.Fatal(err)
		}
		raws = append(raws, string(raw))
	}
	return raws
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	if err := index.Create(dir, registry); err != nil {
		t.Fatal(err)
	}
	reopen(t, dir)
	if _, err := index.Open(dir, index.Options{}); err == nil {
		t.Error("a second open succeeded")
	}
}
