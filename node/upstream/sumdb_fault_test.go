package upstream_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"

	"registry-node/node/upstream"
)

// A fault answers instead of the database, if it returns true.
type fault = func(http.ResponseWriter, *http.Request) bool

func TestLookupErrors(t *testing.T) {
	lookup := func(h http.HandlerFunc) fault {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/lookup/") {
				h(w, r)
				return true
			}
			return false
		}
	}
	// instead answers with db's own answer to another lookup, changed by edit.
	instead := func(db *dbServer, path string, edit func(string) string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, edit(db.honest(path)))
		}
	}
	same := func(s string) string { return s }
	for _, test := range []struct {
		name  string
		fault func(db *dbServer) fault
		want  error
	}{
		{"404", func(*dbServer) fault { return lookup(status(404)) }, upstream.ErrNotInDatabase},
		{"410", func(*dbServer) fault { return lookup(status(410)) }, upstream.ErrNotInDatabase},
		{"500", func(*dbServer) fault { return lookup(status(500)) }, upstream.ErrUnavailable},
		{"403", func(*dbServer) fault { return lookup(status(403)) }, upstream.ErrForbidden},
		{"empty", func(*dbServer) fault { return lookup(body("")) }, upstream.ErrBadAnswer},
		{"HTML", func(*dbServer) fault { return lookup(body(html)) }, upstream.ErrBadAnswer},
		{"another module's record", func(db *dbServer) fault {
			return lookup(instead(db, "/lookup/m.test/other@v1.0.0", same))
		}, upstream.ErrBadAnswer},
		{"a version that begins alike", func(db *dbServer) fault {
			return lookup(instead(db, "/lookup/m.test/!a@v1.0.10", same))
		}, upstream.ErrBadAnswer},
		{"forged record", func(db *dbServer) fault {
			return lookup(instead(db, "/lookup/m.test/!a@v1.0.1", func(s string) string { return strings.Replace(s, "h1:", "h1:A", 1) }))
		}, upstream.ErrSecurity},
		{"forged id", func(db *dbServer) fault {
			return lookup(instead(db, "/lookup/m.test/!a@v1.0.1", func(s string) string { _, rest, _ := strings.Cut(s, "\n"); return "3\n" + rest }))
		}, upstream.ErrSecurity},
		{"id beyond the tree", func(db *dbServer) fault {
			return lookup(instead(db, "/lookup/m.test/!a@v1.0.1", func(s string) string { _, rest, _ := strings.Cut(s, "\n"); return "30000\n" + rest }))
		}, upstream.ErrBadAnswer},
		{"forged head", func(db *dbServer) fault {
			return lookup(instead(db, "/lookup/m.test/!a@v1.0.1", func(s string) string {
				return strings.Replace(s, "\ngo.sum database tree\n", "\ngo.sum database tree\n1", 1)
			}))
		}, upstream.ErrSecurity},
		{"unsigned head", func(db *dbServer) fault {
			return lookup(instead(db, "/lookup/m.test/!a@v1.0.1", func(s string) string { head, _, _ := strings.Cut(s, "— "); return head }))
		}, upstream.ErrSecurity},
		{"forged tiles", func(db *dbServer) fault {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/tile/8/0/") {
					return false
				}
				tile := []byte(db.honest(r.URL.Path))
				tile[5] ^= 1
				w.Write(tile)
				return true
			}
		}, upstream.ErrSecurity},
		{"short tiles", func(*dbServer) fault {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/tile/") {
					return false
				}
				io.WriteString(w, "x")
				return true
			}
		}, upstream.ErrBadAnswer},
		{"lost tiles", func(*dbServer) fault {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/tile/") {
					return false
				}
				http.NotFound(w, r)
				return true
			}
		}, upstream.ErrUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			db, state := newDB(t), newState(t)
			db.grow(t, "old", 20)
			s := db.open(t, state)
			checkLookup(t, s, mod(0))
			db.grow(t, "new", 5)
			db.setOverride(test.fault(db))
			size := s.HeadSize()
			sums, err := s.Lookup(t.Context(), mod(1))
			if !errors.Is(err, test.want) {
				t.Errorf("Lookup = %v, %v; want %v", sums, err, test.want)
			}
			if errors.Is(err, upstream.ErrNotFound) {
				t.Errorf("%v says that a module is absent", err)
			}
			if stored := state.keys("/lookup/"); len(stored) != 1 {
				t.Errorf("stored %q", stored)
			}
			if test.want == upstream.ErrSecurity && s.HeadSize() != size {
				t.Errorf("the head moved from %d to %d", size, s.HeadSize())
			}
			db.setOverride(nil)
			checkLookup(t, s, mod(1)) // nothing of the fault stays
		})
	}
}

func TestForkIsRefused(t *testing.T) {
	for _, size := range []int{20, 300} { // 300: with a stored full tile, which the fork's head does not fit
		db, state := newDB(t), newState(t)
		db.grow(t, "old", size)
		s := db.open(t, state)
		checkLookup(t, s, mod(0))
		honest := db.log

		db.setLog(newLog(db.signer, "fork"))
		db.grow(t, "old", 900)
		_, err := s.Lookup(t.Context(), mod(1))
		if !errors.Is(err, upstream.ErrSecurity) {
			t.Errorf("Lookup in a fork: %v, want %v", err, upstream.ErrSecurity)
		}
		if size == 20 && !strings.Contains(err.Error(), "proof of misbehavior") {
			t.Errorf("Lookup in a fork: %v, want the proof", err)
		}
		// What the fork sent has spoilt nothing.
		db.setLog(honest)
		db.grow(t, "new", 300)
		checkLookup(t, s, mod(1))
		db.Close()
		g := newGoCommand(t, s, db.key)
		for i := range 2 {
			if err := g.check(mod(i)); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestHeadNeverGoesBack(t *testing.T) {
	db, state := newDB(t), newState(t)
	db.grow(t, "old", 300)
	s := db.open(t, state)
	checkLookup(t, s, mod(0))
	size := s.HeadSize()
	// A lookup from a mirror that lags behind: as of ten records.
	lagging := newLog(db.signer, "")
	old := module.Version{Path: "grown.test/old", Version: "v1.0.3"}
	for i := range 10 {
		if _, err := lagging.Lookup(t.Context(), module.Version{Path: old.Path, Version: fmt.Sprint("v1.0.", i)}); err != nil {
			t.Fatal(err)
		}
	}
	db.setOverride(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/lookup/") {
			sumdb.NewServer(lagging).ServeHTTP(w, r)
			return true
		}
		return false
	})
	checkLookup(t, s, old)
	if s.HeadSize() != size {
		t.Errorf("head moved from %d to %d", size, s.HeadSize())
	}
}

func TestStoredHeadOfAnotherKeyIsRefused(t *testing.T) {
	db, other, state := newDB(t), newDB(t), newState(t)
	checkLookup(t, db.open(t, state), mod(0))
	d, err := upstream.ParseDatabase(other.key)
	if err != nil {
		t.Fatal(err)
	}
	_, err = upstream.NewSumdb(upstream.SumdbConfig{Database: d, Client: noUpstream(t), State: state})
	if !errors.Is(err, upstream.ErrSecurity) {
		t.Errorf("NewSumdb: %v, want %v", err, upstream.ErrSecurity)
	}
}

func TestSpoiltStoredTileIsFetchedAgain(t *testing.T) {
	db, state := newDB(t), newState(t)
	db.grow(t, "old", 700)
	s := db.open(t, state)
	checkLookup(t, s, module.Version{Path: "grown.test/old", Version: "v1.0.3"})
	for _, key := range state.keys("/tile/8/0/000") {
		spoilt := slices.Clone(state.m[key])
		spoilt[77] ^= 1
		state.m[key] = spoilt
	}
	checkLookup(t, s, module.Version{Path: "grown.test/old", Version: "v1.0.4"})
	db.Close()
	if err := newGoCommand(t, s, db.key).check(module.Version{Path: "grown.test/old", Version: "v1.0.3"}); err != nil {
		t.Errorf("after mending: %v", err)
	}
}
