package index_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"registry-node/node/index"
)

// TestLocalSynced holds that a power loss takes nothing of what was set, or deleted,
// synced, nor of what was written before.
func TestLocalSynced(t *testing.T) {
	fs := vfs.NewCrashableMem()
	if err := index.CreateIn(fs, "index", registry); err != nil {
		t.Fatal(err)
	}
	x, err := index.Open("index", index.WithFS(fs))
	if err != nil {
		t.Fatal(err)
	}
	// held returns what of a space is there after a power loss now.
	held := func() (keys string) {
		t.Helper()
		y, err := index.Open("index", index.WithFS(fs.CrashClone(vfs.CrashCloneCfg{})))
		if err != nil {
			t.Fatal(err)
		}
		defer y.Close()
		for r, err := range y.Local("rows").All("") {
			if err != nil {
				t.Fatal(err)
			}
			keys += r.Key
		}
		return keys
	}
	rows := x.Local("rows")
	for _, key := range []string{"a", "b"} {
		if err := rows.Set(key, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.SetSynced("c", nil); err != nil {
		t.Fatal(err)
	}
	if got := held(); got != "abc" {
		t.Errorf("after it was set there is %q", got)
	}
	if err := rows.DeleteSynced("a", "c", "none"); err != nil {
		t.Fatal(err)
	}
	if got := held(); got != "b" {
		t.Errorf("after it was deleted there is %q", got)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}
