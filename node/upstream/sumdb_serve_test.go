package upstream_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"

	"registry-node/node/upstream"
)

func noUpstream(t testing.TB) *upstream.Client { return newClient(t, "off", upstream.Options{}) }

func TestServeWithoutAsking(t *testing.T) {
	db := newDB(t)
	s := db.open(t, newState(t))
	off := openSumdb(t, "off", "", noUpstream(t), newState(t))
	for _, test := range []struct {
		s    *upstream.Sumdb
		path string
		want error
	}{
		{s, "sum.test/supported", nil},
		{off, "sum.test/supported", upstream.ErrNotFound},
		{off, "/supported", upstream.ErrNotFound},
		{s, "sum.golang.org/supported", upstream.ErrNotFound},
		{s, "127.0.0.1:80/lookup/m.test/a@v1.0.0", upstream.ErrNotFound},
		{s, "sum.test.evil.test/lookup/m.test/a@v1.0.0", upstream.ErrNotFound},
		{s, "sum.test@evil.test/latest", upstream.ErrNotFound},
		{s, "sum.test", upstream.ErrNotFound},
		{s, "sum.test/", upstream.ErrNotFound},
		{s, "sum.test/other", upstream.ErrNotFound},
		{s, "sum.test/supported/x", upstream.ErrNotFound},
		{s, "sum.test/../supported", upstream.ErrNotFound},
		{s, "sum.test/lookup/m.test/a", upstream.ErrNotFound},
		{s, "sum.test/lookup/m.test/a@v1", upstream.ErrNotFound},
		{s, "sum.test/lookup/m.test/a@v1.0.0/go.mod", upstream.ErrNotFound},
		{s, "sum.test/lookup/m.test/A@v1.0.0", upstream.ErrNotFound},
		{s, "sum.test/lookup/../a@v1.0.0", upstream.ErrNotFound},
		{s, "sum.test/lookup/m.test/a@v2.0.0", upstream.ErrNotFound},
		{s, "sum.test/tile/8/0/000.p/256", upstream.ErrNotFound},
		{s, "sum.test/tile/8/0/0", upstream.ErrNotFound},
		{s, "sum.test/tile/9/0/000", upstream.ErrNotFound},
		{s, "sum.test/tile/8/0/../../../latest", upstream.ErrNotFound},
		{s, "sum.test/lookup/private.test/a@v1.0.0", upstream.ErrPrivate},
		{s, "sum.test/lookup/private.test@v1.0.0", upstream.ErrPrivate},
		{s, "sum.test/lookup/git.corp.test/secret/x@v1.0.0", upstream.ErrPrivate},
	} {
		a, err := test.s.Serve(t.Context(), test.path)
		if !errors.Is(err, test.want) || test.want == nil && (err != nil || len(a.Body) > 0) {
			t.Errorf("%s: %q, %v; want %v", test.path, a.Body, err, test.want)
		}
		if test.want == upstream.ErrPrivate && !strings.Contains(err.Error(), "GONOSUMDB=") {
			t.Errorf("%s: %v does not name GONOSUMDB", test.path, err)
		}
	}
	if _, err := s.Lookup(t.Context(), module.Version{Path: "private.test/a", Version: "v1.0.0"}); !errors.Is(err, upstream.ErrPrivate) {
		t.Errorf("Lookup of a private module: %v", err)
	}
	if asked := db.requests(); len(asked) > 0 {
		t.Errorf("the database was asked %q", asked)
	}
	db.Close()
	if _, err := s.Serve(t.Context(), "sum.test/supported"); err != nil {
		t.Errorf("supported with the database down: %v", err)
	}
}

func TestToolchainIsAlwaysVerified(t *testing.T) {
	toolchain := module.Version{Path: "golang.org/toolchain", Version: "v0.0.1-go1.26.8.linux-amd64"}
	db := newDB(t)
	s := openSumdb(t, db.key+" "+db.URL, "golang.org,*", noUpstream(t), newState(t))
	if !s.Covers(toolchain.Path) || s.Covers("golang.org/x/mod") {
		t.Error("patterns hold for the toolchain, or don't for others")
	}
	checkLookup(t, s, toolchain)
	off := openSumdb(t, "off", "", noUpstream(t), newState(t))
	if _, err := off.Lookup(t.Context(), toolchain); !off.Covers(toolchain.Path) || !errors.Is(err, upstream.ErrPrivate) {
		t.Errorf("with the database off: covered %v, %v", off.Covers(toolchain.Path), err)
	}
}

func TestServeLookup(t *testing.T) {
	db := newDB(t)
	db.grow(t, "old", 300)
	s := db.open(t, newState(t))
	if _, err := s.Serve(t.Context(), "sum.test/lookup/unknown.test/a@v1.0.0"); !errors.Is(err, upstream.ErrNotInDatabase) {
		t.Errorf("unknown module: %v, want %v", err, upstream.ErrNotInDatabase)
	}
	// Later answers carry the head of the first, as long as it proves them.
	old := module.Version{Path: "grown.test/old", Version: "v1.0.5"}
	checkLookup(t, s, mod(0))
	db.grow(t, "new", 300)
	first, err := s.Serve(t.Context(), "sum.test/lookup/m.test/!a@v1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Serve(t.Context(), "sum.test/lookup/"+old.Path+"@"+old.Version)
	if err != nil {
		t.Fatal(err)
	}
	_, head1, _ := strings.Cut(string(first.Body), "\n\n")
	_, head2, _ := strings.Cut(string(second.Body), "\n\n")
	if head1 != head2 || !strings.HasPrefix(head1, "go.sum database tree\n301\n") {
		t.Errorf("heads %q and %q", head1, head2)
	}
	if a, err := s.Serve(t.Context(), "sum.test/latest"); err != nil || string(a.Body) != head1 {
		t.Errorf("latest = %q, %v; want the same head", a.Body, err)
	}
}

func TestServeTiles(t *testing.T) {
	db, state := newDB(t), newState(t)
	db.grow(t, "old", 1000)
	s := db.open(t, state)
	get := func(path string) (upstream.Answer, []byte, error) {
		rec := httptest.NewRecorder()
		db.ServeHTTP(rec, httptest.NewRequest("GET", "/"+path, nil))
		db.requests()
		a, err := s.Serve(t.Context(), dbName+"/"+path)
		return a, rec.Body.Bytes(), err
	}
	// Without a head nothing can be proven: passed on, not kept.
	if a, want, err := get("tile/8/0/001"); err != nil || string(a.Body) != string(want) || a.Immutable || len(state.keys("tile")) > 0 {
		t.Errorf("without a head: immutable %v, kept %q, %v", a.Immutable, state.keys("tile"), err)
	}
	checkLookup(t, s, mod(0)) // 1001 records
	for path, kept := range map[string]bool{
		"tile/8/0/001":       true,
		"tile/8/0/000.p/17":  true, // of a full one
		"tile/8/0/003.p/233": true, // the edge
		"tile/8/0/003.p/5":   true,
		"tile/8/1/000.p/3":   true,
		"tile/8/data/000":    false,
	} {
		a, want, err := get(path)
		if err != nil || string(a.Body) != string(want) || a.Immutable != kept {
			t.Errorf("%s: equal %v, immutable %v, %v; want kept %v", path, string(a.Body) == string(want), a.Immutable, err, kept)
		}
	}
	db.grow(t, "new", 1000) // beyond the pinned head
	for _, path := range []string{"tile/8/0/003", "tile/8/0/004", "tile/8/1/000.p/7"} {
		if a, want, err := get(path); err != nil || string(a.Body) != string(want) || a.Immutable {
			t.Errorf("%s beyond the head: immutable %v, %v", path, a.Immutable, err)
		}
	}
	db.setOverride(func(w http.ResponseWriter, r *http.Request) bool {
		w.Write(make([]byte, 256*tlog.HashSize))
		return true
	})
	if a, err := s.Serve(t.Context(), dbName+"/tile/8/0/002"); !errors.Is(err, upstream.ErrSecurity) {
		t.Errorf("forged tile below the head: %d bytes, %v", len(a.Body), err)
	}
	db.Close()
	for _, path := range []string{"tile/8/0/000", "tile/8/0/001.p/9", "tile/8/0/003.p/233"} {
		if _, err := s.Serve(t.Context(), dbName+"/"+path); err != nil {
			t.Errorf("offline: %s: %v", path, err)
		}
	}
}

// TestStoredTileNeverShrinks: a verification under an older head may finish after
// one under a newer.
func TestStoredTileNeverShrinks(t *testing.T) {
	s := newDB(t).open(t, newState(t)) // the state checks
	wide := make([]byte, 9*tlog.HashSize)
	for i, w := range []int{3, 9, 5, 5} {
		if err := s.StoreTile(tlog.Tile{H: 8, L: 0, N: 7, W: w}, wide[:w*tlog.HashSize], i == 3); err != nil {
			t.Error(err)
		}
	}
}

// TestClientThatIsAhead: a go command that saw a newer head elsewhere gets the
// tiles to compare through us.
func TestClientThatIsAhead(t *testing.T) {
	db := newDB(t)
	db.grow(t, "old", 700)
	behind := db.open(t, newState(t))
	checkLookup(t, behind, mod(0))
	db.grow(t, "new", 700)
	ahead := newGoCommand(t, db.open(t, newState(t)), db.key)
	if err := ahead.check(mod(1)); err != nil {
		t.Fatal(err)
	}
	if err := ahead.again(behind).check(mod(0)); err != nil {
		t.Error(err)
	}
}

func FuzzServe(f *testing.F) {
	for _, path := range []string{
		"sum.test/lookup/m.test/!a@v1.0.0", "sum.test/tile/8/0/000", "sum.test/tile/8/0/x001/234.p/5",
		"sum.test/tile/8/63/999", "sum.test/tile/8/data/000.p/1", "sum.test/latest", "evil.test/latest",
	} {
		f.Add(path)
	}
	db := newDB(f)
	db.grow(f, "old", 300)
	s := db.open(f, newState(f))
	checkLookup(f, s, mod(0))
	db.Close()
	f.Fuzz(func(t *testing.T, path string) {
		a, err := s.Serve(t.Context(), path)
		if err != nil && len(a.Body) > 0 {
			t.Fatalf("%d bytes beside %v", len(a.Body), err)
		}
		if !strings.HasPrefix(path, dbName+"/") && !errors.Is(err, upstream.ErrNotFound) {
			t.Fatalf("%q: %v", path, err)
		}
		if errors.Is(err, upstream.ErrSecurity) {
			t.Fatal(fmt.Errorf("%q: %w", path, err))
		}
	})
}
