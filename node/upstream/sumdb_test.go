package upstream_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/node/upstream"
)

func mod(i int) module.Version {
	return module.Version{Path: "m.test/A", Version: fmt.Sprintf("v1.0.%d", i)}
}

func checkLookup(t testing.TB, s *upstream.Sumdb, mv module.Version) {
	t.Helper()
	if sums, err := s.Lookup(t.Context(), mv); err != nil || sums != sumsOf(mv, "") {
		t.Fatalf("Lookup(%s) = %v, %v", mv, sums, err)
	}
}

func TestLookup(t *testing.T) {
	db, state := newDB(t), newState(t)
	db.grow(t, "old", 1000)
	s := db.open(t, state)
	for i := range 3 {
		checkLookup(t, s, mod(i))
	}
	db.requests()
	checkLookup(t, s, mod(0))
	s.Close()
	s = db.open(t, state)
	checkLookup(t, s, mod(1))
	if asked := db.requests(); len(asked) > 0 {
		t.Errorf("asked %q for what is in state", asked)
	}
}

// TestOfflineClient: whatever was looked up once can be looked up by a go command
// with empty caches, through us alone, in any order, however the tree grew.
func TestOfflineClient(t *testing.T) {
	steps := []int{0, 1, 1, 2, 7, 100, 255, 256, 257, 300, 1000, 5000}
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			checkOffline(t, rand.New(rand.NewPCG(seed, 1)), 0, steps)
		})
	}
	t.Run("third level", func(t *testing.T) {
		t.Parallel()
		checkOffline(t, rand.New(rand.NewPCG(1, 2)), 65_500, []int{1, 40, 300, 700})
	})
}

func checkOffline(t *testing.T, rnd *rand.Rand, size int, steps []int) {
	db, state := newDB(t), newState(t)
	db.grow(t, "start", size)
	s := db.open(t, state)
	known := newGoCommand(t, s, db.key) // one that was there all along
	first := known                      // one that stopped after the first round
	var seen []module.Version
	for round := range 4 {
		db.grow(t, fmt.Sprint("r", round), steps[rnd.IntN(len(steps))])
		for range 1 + rnd.IntN(4) {
			mv := mod(rnd.IntN(30))
			if n := rnd.IntN(2000); rnd.IntN(3) == 0 { // an old record, if it is there
				mv = module.Version{Path: fmt.Sprint("grown.test/r", rnd.IntN(round+1)), Version: fmt.Sprintf("v1.0.%d", n)}
			}
			if rnd.IntN(2) == 0 {
				checkLookup(t, s, mv)
			} else if err := known.check(mv); err != nil {
				t.Fatal(err)
			}
			seen = append(seen, mv)
		}
		if round == 0 {
			first = known.again(s)
		}
		if rnd.IntN(2) == 0 { // restart
			s.Close()
			s = db.open(t, state)
			known = known.again(s)
		}
	}

	db.Close()
	s.Close()
	s = db.open(t, state)
	for _, g := range []*goCommand{newGoCommand(t, s, db.key), known.again(s), first.again(s)} {
		rnd.Shuffle(len(seen), func(i, j int) { seen[i], seen[j] = seen[j], seen[i] })
		for _, mv := range seen {
			if err := g.check(mv); err != nil {
				t.Fatalf("offline: %v\n%s", err, g.alarm)
			}
		}
	}
}

// TestCrashBetweenWrites: with the state cut off after any write, everything that
// was looked up successfully can be looked up offline.
func TestCrashBetweenWrites(t *testing.T) {
	for writes := 0; ; writes++ {
		db, state := newDB(t), newState(t)
		db.grow(t, "old", 300)
		s := db.open(t, state)
		checkLookup(t, s, mod(0))
		db.grow(t, "new", 600)

		state.left = writes
		seen := []module.Version{mod(0)}
		for i := range 3 {
			if sums, err := s.Lookup(t.Context(), mod(i)); err == nil && sums == sumsOf(mod(i), "") {
				seen = append(seen, mod(i))
			} else if !errors.Is(err, errState) {
				t.Fatalf("after %d writes: %v, %v", writes, sums, err)
			}
		}
		s.Close()
		db.Close()
		s = db.open(t, state.copy())
		g := newGoCommand(t, s, db.key)
		for _, mv := range seen {
			if err := g.check(mv); err != nil {
				t.Fatalf("after %d writes, offline: %v", writes, err)
			}
		}
		if len(seen) == 4 {
			return
		}
	}
}

// TestLookupsRunInParallel: the database answers no lookup before all are there.
func TestLookupsRunInParallel(t *testing.T) {
	db := newDB(t)
	const n = 50
	var arrived sync.WaitGroup
	arrived.Add(n)
	db.setOverride(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/lookup/") {
			arrived.Done()
			arrived.Wait()
		}
		return false
	})
	s := db.open(t, newState(t))
	var wg sync.WaitGroup
	for i := range n {
		for range 3 { // joined
			wg.Go(func() {
				if sums, err := s.Lookup(t.Context(), mod(i)); err != nil || sums != sumsOf(mod(i), "") {
					t.Errorf("%s: %v, %v", mod(i), sums, err)
				}
			})
		}
	}
	wg.Wait()
	var lookups []string
	for _, path := range db.requests() {
		if strings.HasPrefix(path, "/lookup/") {
			lookups = append(lookups, path)
		}
	}
	if len(lookups) != n {
		t.Errorf("%d lookups reached the database, want %d", len(lookups), n)
	}
}

// TestHeadMovesForManyAtOnce: lookups of new records, each with a newer head, do
// not wait for one move of the head each.
func TestHeadMovesForManyAtOnce(t *testing.T) {
	db, state := newDB(t), newState(t)
	const n = 50
	var answered sync.WaitGroup
	answered.Add(n)
	var inOrder sync.Mutex
	db.setOverride(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/lookup/") {
			answered.Wait() // the first move has to wait
			return false
		}
		inOrder.Lock()
		defer inOrder.Unlock()
		defer answered.Done()
		io.WriteString(w, db.honest(r.URL.Path))
		w.(http.Flusher).Flush()
		return true
	})
	s := db.open(t, state)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { checkLookup(t, s, mod(i)) })
	}
	wg.Wait()
	if state.heads > 4 {
		t.Errorf("the head moved %d times for %d lookups", state.heads, n)
	}
}

// TestLookupOutlivesItsFirstCaller: a caller that gives up takes nobody along.
func TestLookupOutlivesItsFirstCaller(t *testing.T) {
	db := newDB(t)
	arrived, proceed := make(chan bool), make(chan bool)
	db.setOverride(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/lookup/") {
			arrived <- true
			<-proceed
		}
		return false
	})
	s := db.open(t, newState(t))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	first := make(chan error)
	go func() { _, err := s.Lookup(ctx, mod(0)); first <- err }()
	<-arrived
	if err := <-first; !errors.Is(err, upstream.ErrTimeout) {
		t.Errorf("the caller that gave up: %v, want %v", err, upstream.ErrTimeout)
	}
	close(proceed)
	checkLookup(t, s, mod(0)) // joins, or finds it in state: there is no second lookup
}

func TestCloseEndsLookups(t *testing.T) {
	db := newDB(t)
	arrived := make(chan bool, 1)
	db.setOverride(func(w http.ResponseWriter, r *http.Request) bool {
		arrived <- true
		<-r.Context().Done()
		return true
	})
	s := db.open(t, newState(t))
	result := make(chan error)
	go func() { _, err := s.Lookup(context.Background(), mod(0)); result <- err }()
	<-arrived
	s.Close()
	if err := <-result; err == nil {
		t.Error("a lookup succeeded although the Sumdb was closed")
	}
	if _, err := s.Lookup(t.Context(), mod(1)); err == nil {
		t.Error("a lookup succeeded after Close")
	}
}

// TestWayToTheDatabase follows the go command: the first upstream that supports
// the database stands in for it.
func TestWayToTheDatabase(t *testing.T) {
	db := newDB(t)
	proxy := db.URL
	no := serve(t, status(404)).URL
	broken := serve(t, status(500)).URL
	dead := httptest.NewServer(status(200))
	dead.Close()
	for _, test := range []struct {
		list string
		want error
	}{
		{proxy, nil},
		{no + "," + proxy, nil},
		{broken + "|" + proxy, nil},
		{dead.URL + "|" + proxy, nil},
		{broken + "," + proxy, upstream.ErrUnavailable},
		{dead.URL + "," + proxy, upstream.ErrUnavailable},
		{proxy + "," + broken, nil},
		{no + "," + proxy + ",off", nil},
	} {
		s := openSumdb(t, db.key, "", newClient(t, test.list, upstream.Options{}), newState(t))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		sums, err := s.Lookup(ctx, mod(0))
		cancel()
		if !errors.Is(err, test.want) || err == nil && sums != sumsOf(mod(0), "") {
			t.Errorf("%s: %v, %v; want %v", test.list, sums, err, test.want)
		}
	}
	db.requests()
	s := openSumdb(t, db.key, "", newClient(t, proxy, upstream.Options{}), newState(t))
	checkLookup(t, s, mod(1))
	checkLookup(t, s, mod(2))
	asked := 0
	for _, path := range db.requests() {
		if strings.HasSuffix(path, "/supported") {
			asked++
		}
		if !strings.HasPrefix(path, "/sumdb/"+dbName+"/") {
			t.Errorf("asked for %s", path)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times what is supported, want once", asked)
	}
}

// TestDatabaseItself: no upstream supports the database, so it is asked at its
// name, with https.
func TestDatabaseItself(t *testing.T) {
	db := &dbServer{}
	srv := httptest.NewUnstartedServer(db)
	db.newKey(t, srv.Listener.Addr().String())
	srv.StartTLS()
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	opts := upstream.Options{TLS: &tls.Config{RootCAs: roots}}
	no, gone := serve(t, status(404)).URL, serve(t, status(410)).URL
	for _, list := range []string{no, no + "|" + gone + ",direct", gone + ",off", serve(t, status(500)).URL + "|" + no} {
		checkLookup(t, openSumdb(t, db.key, "", newClient(t, list, opts), newState(t)), mod(0))
	}
}

func TestParseDatabase(t *testing.T) {
	db := newDB(t)
	for text, name := range map[string]string{
		"sum.golang.org":                       "sum.golang.org",
		"sum.golang.org https://mirror.test/x": "sum.golang.org",
		"sum.golang.google.cn":                 "sum.golang.org",
		db.key:                                 dbName,
		"  " + db.key + "  http://db.test ":    dbName,
		"off":                                  "",
	} {
		d, err := upstream.ParseDatabase(text)
		if err != nil || d.Name() != name || d.Off() != (name == "") {
			t.Errorf("%q: %q, %v; want %q", text, d.Name(), err, name)
		}
		back, err := d.MarshalText()
		var same upstream.Database
		if err != nil || same.UnmarshalText(back) != nil || same.Name() != name {
			t.Errorf("%q: text form %q, %v", text, back, err)
		}
	}
	_, slash, _ := strings.Cut(db.key, "+")
	for _, text := range []string{
		"", " ", "off off", "example.test", db.key + " a b", db.key + "x", "../x+" + slash,
		db.key + " ftp://x", db.key + " https://u:secret@x", db.key + " https://x?secret", db.key + " :secret",
	} {
		if d, err := upstream.ParseDatabase(text); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, %v; want an error", text, d, err)
		}
	}
}

// BenchmarkColdLookups is 250 lookups of an empty node at once, each request
// taking 20 ms: of modules that the database has, and of ones that it adds.
func BenchmarkColdLookups(b *testing.B) {
	for name, modules := range map[string]func(int) module.Version{
		"new": mod,
		"old": func(i int) module.Version {
			return module.Version{Path: "grown.test/old", Version: fmt.Sprint("v1.0.", 397*i)}
		},
	} {
		b.Run(name, func(b *testing.B) {
			db := newDB(b)
			db.grow(b, "old", 100_000)
			db.setOverride(func(http.ResponseWriter, *http.Request) bool {
				time.Sleep(20 * time.Millisecond)
				return false
			})
			for b.Loop() {
				s := db.open(b, newState(b))
				var wg sync.WaitGroup
				for i := range 250 {
					wg.Go(func() { checkLookup(b, s, modules(i)) })
				}
				wg.Wait()
				s.Close()
			}
			b.ReportMetric(float64(len(db.requests()))/float64(b.N), "requests/op")
		})
	}
}
