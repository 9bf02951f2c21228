package index_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"registry-node/events"
	"registry-node/node/index"
)

func TestAuditFindsWhatIsBroken(t *testing.T) {
	mv := version("m.test/a", 1)
	key := events.KeyVersion(repo, mv)
	blob := content(1, 120).Zip
	tests := []struct {
		name string
		harm func(db *pebble.DB, w *writer) error
		want []index.ProblemKind // all that is reported, in any order
		text string              // in one of them
	}{
		{"nothing", func(*pebble.DB, *writer) error { return nil }, nil, ""},
		{"flipped row", func(db *pebble.DB, w *writer) error {
			return edit(db, index.ContributionKey(key, w.site), "ann", "bob")
		}, []index.ProblemKind{index.BadStateHash, index.BadRecord}, "m.test/a v1.1.0"},
		{"row that is not JSON", func(db *pebble.DB, w *writer) error {
			return edit(db, index.ContributionKey(key, w.site), `"data"`, `"data`)
		}, []index.ProblemKind{index.BadStateHash, index.BadRecord, index.BadBlobRef}, "m.test/a v1.1.0"},
		{"missing row", func(db *pebble.DB, w *writer) error {
			return db.Delete(index.ContributionKey(key, w.site), nil)
		}, []index.ProblemKind{index.BadStateHash, index.BadRecord, index.BadBlobRef}, "a/1/1/0"},
		{"row of nobody", func(db *pebble.DB, w *writer) error {
			facts, _, err := events.Apply(nil, w.log[0].Events[0])
			return errors.Join(err, db.Set(index.ContributionKey(key, site(t, "zoe")), facts.Encode(), nil))
		}, []index.ProblemKind{index.BadHead}, "site zoe"},
		{"flipped entry", func(db *pebble.DB, w *writer) error {
			return edit(db, index.EntryKey(w.site, w.log[2].Position.Mark), "m.test", "n.test")
		}, []index.ProblemKind{index.BadEntry}, "at 1/3"},
		{"missing entry", func(db *pebble.DB, w *writer) error {
			return db.Delete(index.EntryKey(w.site, w.log[2].Position.Mark), nil)
		}, []index.ProblemKind{index.BadChain}, "at 1/4"},
		{"missing last entry", func(db *pebble.DB, w *writer) error {
			return db.Delete(index.EntryKey(w.site, w.log[5].Position.Mark), nil)
		}, []index.ProblemKind{index.BadHead}, "at 1/6"},
		{"entry of another chain", func(db *pebble.DB, w *writer) error {
			fork := newWriter(t, "a")
			fork.last, fork.time = w.log[1].Position, w.log[1].Time
			e := fork.add(seen("m.test/fork", 1))
			return db.Set(index.EntryKey(w.site, e.Position.Mark), e.Raw, nil)
		}, []index.ProblemKind{index.BadChain}, "at 1/4"},
		{"entry in a wrong place", func(db *pebble.DB, w *writer) error {
			return db.Set(index.EntryKey(w.site, w.log[2].Position.Mark), w.log[3].Raw, nil)
		}, []index.ProblemKind{index.BadEntry, index.BadChain}, "at 1/3"},
		{"missing blob reference", func(db *pebble.DB, _ *writer) error {
			return db.Delete(index.BlobKey(blob, key), nil)
		}, []index.ProblemKind{index.BadBlobRef}, blob.Digest.String()},
		{"blob reference without ground", func(db *pebble.DB, _ *writer) error {
			return db.Set(index.BlobKey(content(99, 1).Zip, key), nil, nil)
		}, []index.ProblemKind{index.BadBlobRef}, content(99, 1).Zip.Digest.String()},
		{"blob reference with another size", func(db *pebble.DB, _ *writer) error {
			other := blob
			other.Size++
			return errors.Join(db.Delete(index.BlobKey(blob, key), nil), db.Set(index.BlobKey(other, key), nil, nil))
		}, []index.ProblemKind{index.BadBlobRef}, blob.Digest.String()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x, w := open(t), newWriter(t, "a")
			apply(t, x, w.add(publish(mv, 1)))
			w.history(rand.New(rand.NewPCG(3, 3)), 5)
			apply(t, x, w.log[1:]...)
			if err := test.harm(x.DB(), w); err != nil {
				t.Fatal(err)
			}
			r, err := x.Audit(t.Context(), keysOf(w), nil)
			if err != nil {
				t.Fatal(err)
			}
			got, text := map[index.ProblemKind]bool{}, ""
			for _, p := range r.Problems {
				got[p.Kind] = true
				text += p.String() + "\n"
			}
			if len(got) != len(test.want) || !strings.Contains(text, test.text) {
				t.Fatalf("problems:\n%swant %v naming %q", text, test.want, test.text)
			}
			for _, k := range test.want {
				if !got[k] {
					t.Errorf("problems:\n%swant one of kind %q", text, k)
				}
			}
		})
	}
}

// edit replaces old by new in the value of a key.
func edit(db *pebble.DB, key []byte, old, new string) error {
	value, closer, err := db.Get(key)
	if err != nil {
		return err
	}
	edited := bytes.Replace(value, []byte(old), []byte(new), 1)
	if bytes.Equal(edited, value) {
		return errors.New("there is nothing to edit in " + string(value))
	}
	return errors.Join(closer.Close(), db.Set(key, edited, nil))
}

func TestAuditChecksSignatures(t *testing.T) {
	x, w, other := open(t), newWriter(t, "a"), newWriter(t, "b")
	other.site, other.last.Site = w.site, w.site // signs as a with the key of b
	apply(t, x, other.add(seen("m.test/a", 1)))
	r, err := x.Audit(t.Context(), keysOf(w), nil)
	if err != nil || len(r.Problems) == 0 || r.Problems[0].Kind != index.BadEntry {
		t.Errorf("%+v, %v, want a bad entry", r, err)
	}
	checkAudit(t, x) // no key is known, so nothing is verified
}

func TestAuditCanBeStopped(t *testing.T) {
	x, w := open(t), newWriter(t, "a")
	apply(t, x, w.add(seen("m.test/a", 1)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := x.Audit(ctx, keysOf(w), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was cancelled", err)
	}
}

func TestAuditSaysWhereLogsStart(t *testing.T) {
	x, a, b := open(t), newWriter(t, "a"), newWriter(t, "b")
	apply(t, x, a.add(seen("m.test/a", 1)), a.add(seen("m.test/a", 2)))
	b.last.Hash = a.last.Hash // where it joined
	apply(t, x, b.add(seen("m.test/b", 1)), b.add(seen("m.test/b", 2)))
	want := map[events.Site]events.Digest{a.site: registry, b.site: a.last.Hash}
	if r := checkAudit(t, x, a, b); !maps.Equal(r.Starts, want) {
		t.Errorf("logs start from %v, want %v", r.Starts, want)
	}
}
