package upstream_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"registry-node/events"
	"registry-node/node/upstream"
)

const dbName = "sum.test"

// A dbServer is a checksum database over HTTP that can grow and misbehave. It
// stands at / and, as a proxy would have it, at /sumdb/sum.test/.
type dbServer struct {
	*httptest.Server
	key    string // of the verifier
	signer string

	mu       sync.Mutex
	log      *sumdb.TestServer
	asked    []string                                          // paths
	override func(w http.ResponseWriter, r *http.Request) bool // answers instead, if true
}

func newDB(t testing.TB) *dbServer {
	t.Helper()
	db := &dbServer{}
	db.newKey(t, dbName)
	db.Server = httptest.NewServer(db)
	t.Cleanup(db.Close)
	return db
}

func (db *dbServer) newKey(t testing.TB, name string) {
	t.Helper()
	var err error
	if db.signer, db.key, err = note.GenerateKey(nil, name); err != nil {
		t.Fatal(err)
	}
	db.log = newLog(db.signer, "")
}

// newLog returns an empty log; salt makes its content differ.
func newLog(signer, salt string) *sumdb.TestServer {
	return sumdb.NewTestServer(signer, func(path, version string) ([]byte, error) {
		if strings.HasPrefix(path, "unknown.test/") {
			return nil, fs.ErrNotExist
		}
		sums := sumsOf(module.Version{Path: path, Version: version}, salt)
		return fmt.Appendf(nil, "%s %s %s\n%s %s/go.mod %s\n", path, version, sums.Zip, path, version, sums.Mod), nil
	})
}

func sumsOf(mv module.Version, salt string) upstream.Sums {
	return upstream.Sums{
		Zip: events.H1(sha256.Sum256([]byte(salt + "zip of " + mv.String()))),
		Mod: events.H1(sha256.Sum256([]byte(salt + "mod of " + mv.String()))),
	}
}

func (db *dbServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	db.mu.Lock()
	db.asked = append(db.asked, r.URL.Path)
	override, log := db.override, db.log
	db.mu.Unlock()
	if override != nil && override(w, r) {
		return
	}
	answer(log, w, r)
}

// honest is the answer of db without faults.
func (db *dbServer) honest(path string) string {
	db.mu.Lock()
	log := db.log
	db.mu.Unlock()
	rec := httptest.NewRecorder()
	answer(log, rec, httptest.NewRequest(http.MethodGet, path, nil))
	return rec.Body.String()
}

func answer(log *sumdb.TestServer, w http.ResponseWriter, r *http.Request) {
	r.URL.Path = strings.TrimPrefix(r.URL.Path, "/sumdb/"+dbName)
	if r.URL.Path == "/supported" {
		return
	}
	sumdb.NewServer(wholeTiles{log}).ServeHTTP(w, r)
}

// wholeTiles has no tiles beyond the log, where a TestServer panics.
type wholeTiles struct{ *sumdb.TestServer }

func (l wholeTiles) ReadTileData(ctx context.Context, t tlog.Tile) (data []byte, err error) {
	defer func() {
		if recover() != nil {
			err = fs.ErrNotExist
		}
	}()
	return l.TestServer.ReadTileData(ctx, t)
}

// grow adds n records to the log.
func (db *dbServer) grow(t testing.TB, name string, n int) {
	t.Helper()
	for i := range n {
		if _, err := db.log.Lookup(t.Context(), module.Version{Path: "grown.test/" + name, Version: fmt.Sprintf("v1.0.%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
}

func (db *dbServer) setLog(log *sumdb.TestServer) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.log = log
}

func (db *dbServer) setOverride(f func(w http.ResponseWriter, r *http.Request) bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.override = f
}

// requests returns the paths asked since the last call.
func (db *dbServer) requests() []string {
	db.mu.Lock()
	defer db.mu.Unlock()
	asked := db.asked
	db.asked = nil
	return asked
}

// open returns a Sumdb that asks db at its URL.
func (db *dbServer) open(t testing.TB, state upstream.State) *upstream.Sumdb {
	t.Helper()
	return openSumdb(t, db.key+" "+db.URL, "private.test,*.corp.test/secret", noUpstream(t), state)
}

func openSumdb(t testing.TB, database, nosumdb string, client *upstream.Client, state upstream.State) *upstream.Sumdb {
	t.Helper()
	d, err := upstream.ParseDatabase(database)
	if err != nil {
		t.Fatal(err)
	}
	s, err := upstream.NewSumdb(upstream.SumdbConfig{
		Database: d, NoSumdb: nosumdb, Client: client, State: state,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// memState is a State in memory that checks that tiles never become narrower. It
// can fail, and what it holds then is what a crash leaves.
type memState struct {
	t testing.TB

	mu    sync.Mutex
	m     map[string][]byte
	left  int // Sets before all fail; negative: no limit
	heads int // Sets of a head
}

var errState = errors.New("state: disk full")

func newState(t testing.TB) *memState { return &memState{t: t, m: make(map[string][]byte), left: -1} }

func (s *memState) Get(key string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.m[key]
	return v, ok, nil
}

func (s *memState) Set(key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == 0 {
		return errState
	}
	s.left--
	if strings.HasSuffix(key, "/latest") {
		s.heads++
	}
	if strings.Contains(key, "/tile/") && len(value) < len(s.m[key]) {
		s.t.Errorf("%s shrinks from %d to %d bytes", key, len(s.m[key]), len(value))
	}
	s.m[key] = value
	return nil
}

func (s *memState) copy() *memState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &memState{t: s.t, m: maps.Clone(s.m), left: -1}
}

func (s *memState) keys(part string) (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.m {
		if strings.Contains(k, part) {
			keys = append(keys, k)
		}
	}
	return keys
}

// A goCommand is what the go command is to a checksum database: the client of
// x/mod, with a cache, asking a Sumdb.
type goCommand struct {
	*sumdb.Client
	ctx context.Context
	s   *upstream.Sumdb
	key string

	mu     sync.Mutex
	config map[string][]byte // survives a clean cache
	cache  map[string][]byte
	alarm  string
}

func newGoCommand(t testing.TB, s *upstream.Sumdb, key string) *goCommand {
	g := &goCommand{ctx: t.Context(), s: s, key: key, config: make(map[string][]byte), cache: make(map[string][]byte)}
	g.Client = sumdb.NewClient(g)
	return g
}

// again is the next run of the same go command, against s.
func (g *goCommand) again(s *upstream.Sumdb) *goCommand {
	h := &goCommand{ctx: g.ctx, s: s, key: g.key, config: maps.Clone(g.config), cache: maps.Clone(g.cache)}
	h.Client = sumdb.NewClient(h)
	return h
}

// check looks mv up as the go command does.
func (g *goCommand) check(mv module.Version) error {
	sums := sumsOf(mv, "")
	for version, h := range map[string]events.H1{mv.Version: sums.Zip, mv.Version + "/go.mod": sums.Mod} {
		lines, err := g.Lookup(mv.Path, version)
		if err != nil {
			return err
		}
		if want := fmt.Sprintf("%s %s %s", mv.Path, version, h); len(lines) != 1 || lines[0] != want {
			return fmt.Errorf("lookup gives %q, want %q", lines, want)
		}
	}
	return nil
}

func (g *goCommand) ReadRemote(path string) ([]byte, error) {
	a, err := g.s.Serve(g.ctx, dbName+path)
	return a.Body, err
}

func (g *goCommand) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return []byte(g.key), nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.config[file], nil
}

func (g *goCommand) WriteConfig(file string, old, new []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if string(g.config[file]) != string(old) {
		return sumdb.ErrWriteConflict
	}
	g.config[file] = new
	return nil
}

func (g *goCommand) ReadCache(file string) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if data, ok := g.cache[file]; ok {
		return data, nil
	}
	return nil, fs.ErrNotExist
}

func (g *goCommand) WriteCache(file string, data []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cache[file] = data
}

func (g *goCommand) Log(string) {}

func (g *goCommand) SecurityError(msg string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.alarm = msg
}
