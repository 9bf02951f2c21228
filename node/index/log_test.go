package index_test

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"
	"time"

	mod "golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/index"
)

var registry = events.DigestOf([]byte("registry"))

// A writer makes the log of one site, with a key that depends only on the name.
type writer struct {
	tb   testing.TB
	site events.Site
	key  ed25519.PrivateKey
	last events.Position
	// epoch of the entries that follow, if it is not that of the last one
	epoch uint32
	time  time.Time
	log   []events.Entry
}

func site(tb testing.TB, name string) events.Site {
	tb.Helper()
	s, err := events.ParseSite(name)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func newWriter(tb testing.TB, name string) *writer {
	seed := events.DigestOf([]byte(name))
	return &writer{
		tb: tb, site: site(tb, name), key: ed25519.NewKeyFromSeed(seed[:]),
		last: events.Position{Site: site(tb, name), Hash: registry},
		time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func (w *writer) public() ed25519.PublicKey { return w.key.Public().(ed25519.PublicKey) }

// draft returns the entry that would come next in the log.
func (w *writer) draft(bodies ...events.Body) events.Entry {
	w.tb.Helper()
	m := w.last.Mark
	d := events.Draft{
		Registry: registry, Site: w.site, Mark: events.Mark{Epoch: max(m.Epoch, w.epoch, 1), Seq: m.Seq + 1},
		Time: w.time.Add(time.Second), Prev: w.last.Hash, Bodies: bodies,
	}
	e, err := d.Seal(w.key)
	if err != nil {
		w.tb.Fatal(err)
	}
	return e
}

func (w *writer) add(bodies ...events.Body) events.Entry {
	w.tb.Helper()
	e := w.draft(bodies...)
	w.last, w.time = e.Position, e.Time
	w.log = append(w.log, e)
	return e
}

func (w *writer) raws() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, e := range w.log {
			if !yield(e.Raw, nil) {
				return
			}
		}
	}
}

var repo = func() events.RepoID {
	id, err := events.ParseRepoID("a/1/1/0")
	if err != nil {
		panic(err)
	}
	return id
}()

func module(path, version string) mod.Version { return mod.Version{Path: path, Version: version} }

func version(path string, n int) mod.Version {
	return module(path, fmt.Sprintf("v1.%d.0", n))
}

// content returns what could be a version's content, from a seed.
func content(seed uint64, modSize int) events.Content {
	var b [32]byte
	binary.LittleEndian.PutUint64(b[:], seed)
	r := rand.NewChaCha8(b)
	mod := make([]byte, modSize)
	r.Read(mod)
	c := events.Content{Info: []byte(`{"Version":"v1.0.0","Time":"2026-01-02T03:04:05Z"}`), Mod: mod}
	c.ModH1 = events.HashMod(mod)
	r.Read(c.ZipH1[:])
	r.Read(c.Zip.Digest[:])
	c.Zip.Size = int64(r.Uint64() % 1e6)
	return c
}

func publish(mv mod.Version, seed uint64) events.VersionPublished {
	return events.VersionPublished{ModuleVersion: events.Of(repo, mv), Content: content(seed, 120), Actor: "ann"}
}

func fill(mv mod.Version, seed uint64) events.VersionFilled {
	return events.VersionFilled{ModuleVersion: events.Of(repo, mv), Content: content(seed, 120), Upstream: "https://m.test"}
}

func seen(path string, n int) events.VersionSeen {
	return events.VersionSeen{Repo: repo, Module: path, Versions: []string{fmt.Sprintf("v1.%d.0", n)}}
}

// history appends n entries of mixed events: new records, records written again
// in the same and in later entries, and events that add nothing.
func (w *writer) history(r *rand.Rand, n int) {
	for range n {
		var bodies []events.Body
		for range 1 + r.IntN(6) {
			path := fmt.Sprintf("m.test/%d", r.IntN(8))
			k := r.IntN(12)
			switch r.IntN(5) {
			case 0:
				bodies = append(bodies, publish(version(path, k), uint64(k+r.IntN(2))))
			case 1:
				bodies = append(bodies, fill(version(path, k), uint64(k+r.IntN(3))))
			case 2:
				bodies = append(bodies, seen(path, k))
			case 3:
				bodies = append(bodies, events.VersionHidden{ModuleVersion: events.Of(repo, version(path, k)), Reason: "bad"})
			case 4:
				bodies = append(bodies, events.VersionBlocked{Module: path, Reason: "bad"})
			}
		}
		w.add(bodies...)
	}
}

// open makes an index and opens it; it is closed when the test ends.
func open(tb testing.TB) *index.Index {
	tb.Helper()
	dir := tb.TempDir()
	if err := index.Create(dir, registry); err != nil {
		tb.Fatal(err)
	}
	return reopen(tb, dir)
}

func reopen(tb testing.TB, dir string) *index.Index {
	tb.Helper()
	x, err := index.Open(dir, index.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := x.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	return x
}

// apply folds entries in one transaction.
func apply(tb testing.TB, x *index.Index, entries ...events.Entry) {
	tb.Helper()
	if err := tryApply(x, entries...); err != nil {
		tb.Fatal(err)
	}
}

func tryApply(x *index.Index, entries ...events.Entry) error {
	t := x.Begin(entries[0].Position.Site)
	defer t.Discard()
	for _, e := range entries {
		if err := t.Append(e); err != nil {
			return err
		}
	}
	return t.Commit(false)
}

// keysOf returns the function that tells the keys of these writers' sites.
func keysOf(ws ...*writer) func(events.Site, events.Mark) ed25519.PublicKey {
	return func(s events.Site, _ events.Mark) ed25519.PublicKey {
		for _, w := range ws {
			if w.site == s {
				return w.public()
			}
		}
		return nil
	}
}
