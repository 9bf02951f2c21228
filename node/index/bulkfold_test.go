package index_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"registry-node/node/index"
)

// An index that is folded in bulk is the one that is folded entry by entry, and
// once a synced commit has returned, a power loss takes nothing of it.
func TestBulkFoldsTheSameAndIsDurableOnceSynced(t *testing.T) {
	a, b := newWriter(t, "a"), newWriter(t, "b")
	r := rand.New(rand.NewPCG(5, 5))
	a.history(r, 60)
	b.history(r, 60)
	fs := vfs.NewCrashableMem()
	if err := index.CreateIn(fs, "index", registry); err != nil {
		t.Fatal(err)
	}
	opts := index.WithFS(fs)
	opts.Bulk = true
	x, err := index.Open("index", opts)
	if err != nil {
		t.Fatal(err)
	}
	plain := open(t)
	for _, w := range []*writer{a, b} {
		for i := 0; i < len(w.log); i += 7 {
			part := w.log[i:min(i+7, len(w.log))]
			apply(t, x, part...)
			apply(t, plain, part...)
			if i%21 == 0 { // so that rows are found in tables too
				done, err := x.Flush()
				if err != nil {
					t.Fatal(err)
				}
				<-done
			}
		}
	}
	if err := x.Begin(a.site).Commit(true); err != nil {
		t.Fatal(err)
	}
	after := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	y, err := index.Open("index", index.WithFS(after))
	if err != nil {
		t.Fatal(err)
	}
	checkAudit(t, y, a, b)
	for _, w := range []*writer{a, b} {
		if got, want := head(t, y, w.site), head(t, plain, w.site); got != want {
			t.Errorf("folded in bulk: %+v, want %+v", got, want)
		}
	}
	if !maps.EqualFunc(recordsOf(t, y), recordsOf(t, plain), slices.Equal) {
		t.Error("the records differ")
	}
	if err := y.Close(); err != nil {
		t.Error(err)
	}
}
