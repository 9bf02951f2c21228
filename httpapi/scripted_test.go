package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/sumdb/note"

	"registry-node/events"
)

// What a scripted upstream serves: a module with a zip that is large enough to
// be cut in the middle, and one that only @latest knows the version of.
var (
	wanted  = module.Version{Path: "pub.test/m", Version: "v1.0.0"}
	unnamed = module.Version{Path: "pub.test/unnamed", Version: pseudo}
	warm    = module.Version{Path: "pub.test/warm", Version: "v1.0.0"}
)

const wantedSize = 300 << 10 // bytes of a file that does not shrink

// scripted is an upstream with a checksum database, at a path of its own for
// each case of a test, so that each can have another fault.
type scripted struct {
	*httptest.Server
	key    string            // of the database
	signer string            // the secret half of it
	files  map[string][]byte // by path below that of a case
	db     *database

	mu     sync.Mutex // guards what follows
	faults map[string]*armed
}

// armed is a fault that answers the requests of some kinds.
type armed struct {
	script
	hits  string        // kinds, see kindOf
	hit   int           // requests that it has answered
	began chan struct{} // closed when the client has the header of its answer
}

// kindOf says what a request is for: l list, a @latest, i info, m go.mod, z zip,
// d a lookup in the checksum database, t a tile of it, s whether it is there.
func kindOf(path string) string {
	switch {
	case strings.HasSuffix(path, "/supported"):
		return "s"
	case strings.Contains(path, "/sumdb/") && strings.Contains(path, "/lookup/"):
		return "d"
	case strings.Contains(path, "/sumdb/"):
		return "t"
	case strings.HasSuffix(path, "/@latest"):
		return "a"
	}
	ext := filepath.Ext(path)
	if ext == "" {
		return "l"
	}
	return ext[1:2]
}

func newScripted(t *testing.T) *scripted {
	t.Helper()
	s := &scripted{files: map[string][]byte{}, faults: map[string]*armed{}}
	noise := rand.New(rand.NewPCG(1, 2))
	filler := make([]byte, wantedSize)
	for i := range filler {
		filler[i] = byte(noise.Uint32())
	}
	large := tree(wanted.Path)
	large["filler.bin"] = string(filler)
	s.add(t, wanted, large)
	s.add(t, unnamed, tree(unnamed.Path))
	s.add(t, warm, tree(warm.Path))
	s.files["/"+wanted.Path+"/@v/list"] = []byte("v1.0.0\nv1.1.0\nv1.2.0\n") // half of it is cut within a line
	s.files["/"+unnamed.Path+"/@v/list"] = []byte("\n")
	s.files["/"+unnamed.Path+"/@latest"] = []byte(infoOf(pseudo))
	signer, key, err := note.GenerateKey(nil, "sum.test")
	if err != nil {
		t.Fatal(err)
	}
	s.key, s.signer, s.db = key, signer, newTestDatabase(t, signer, s.files, warm, unnamed, wanted)
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *scripted) add(t *testing.T, mv module.Version, files map[string]string) {
	base := "/" + mv.Path + "/@v/" + mv.Version
	zip, mod := zipOf(t, mv, files)
	s.files[base+".zip"], s.files[base+".mod"], s.files[base+".info"] = zip, []byte(mod), []byte(infoOf(mv.Version))
}

// arm gives a case its fault.
func (s *scripted) arm(name, hits string, f script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[name] = &armed{script: f, hits: hits, began: make(chan struct{})}
}

// heal ends the fault of a case, and returns how many requests it answered.
func (s *scripted) heal(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	hit := s.faults[name].hit
	delete(s.faults, name)
	return hit
}

// begin says that the client of a case has the header of its answer.
func (s *scripted) begin(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.faults[name]; f != nil && f.began != nil {
		close(f.began)
		f.began = nil
	}
}

// late is a script that sends header and half of the honest body, and the rest
// and the end only when the client has begun to receive.
func (s *scripted) late(header, rest string, end func(net.Conn)) script {
	return func(w http.ResponseWriter, r *http.Request, honest []byte) {
		name, _, _ := strings.Cut(r.URL.Path[1:], "/")
		s.mu.Lock()
		began := s.faults[name].began
		s.mu.Unlock()
		wire(func(c net.Conn, honest []byte) {
			half(header)(c, honest)
			select {
			case <-began:
			case <-time.After(10 * time.Second): // then the outcome is another one
			}
			io.WriteString(c, rest)
		}, end)(w, r, honest)
	}
}

func (s *scripted) faultFor(name, kind string) script {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.faults[name]
	if f == nil || !strings.Contains(f.hits, kind) {
		return nil
	}
	f.hit++
	return f.script
}

func (s *scripted) serve(w http.ResponseWriter, r *http.Request) {
	name, path, _ := strings.Cut(r.URL.Path[1:], "/")
	path = "/" + strings.TrimPrefix(path, "honest/")
	status, honest := s.honest(r.Context(), path)
	if f := s.faultFor(name, kindOf(path)); f != nil && !strings.Contains(r.URL.Path, "/honest/") {
		f(w, r, honest)
		return
	}
	w.WriteHeader(status)
	w.Write(honest)
}

func (s *scripted) honest(ctx context.Context, path string) (int, []byte) {
	if rest, ok := strings.CutPrefix(path, "/sumdb/sum.test"); ok {
		return s.db.get(ctx, rest)
	}
	if body, ok := s.files[path]; ok {
		return http.StatusOK, body
	}
	return http.StatusNotFound, []byte("not here")
}

// database is a checksum database.
type database struct{ http.Handler }

// newTestDatabase returns a database that has the versions of files, in the
// order given.
func newTestDatabase(t *testing.T, signer string, files map[string][]byte, order ...module.Version) *database {
	t.Helper()
	dir := t.TempDir()
	log := sumdb.NewTestServer(signer, func(path, version string) ([]byte, error) {
		base := "/" + path + "/@v/" + version
		zip, ok := files[base+".zip"]
		if !ok {
			return nil, fs.ErrNotExist
		}
		file := filepath.Join(dir, strings.ReplaceAll(path, "/", "_")+version)
		if err := os.WriteFile(file, zip, 0o600); err != nil {
			return nil, err
		}
		h1, err := dirhash.HashZip(file, dirhash.Hash1)
		return fmt.Appendf(nil, "%s %s %s\n%s %s/go.mod %s\n", path, version, h1, path, version, events.HashMod(files[base+".mod"])), err
	})
	for _, mv := range order {
		if _, err := log.Lookup(t.Context(), mv); err != nil {
			t.Fatal(err)
		}
	}
	return &database{sumdb.NewServer(log)}
}

// get returns what the database answers at a path.
func (d *database) get(ctx context.Context, path string) (status int, body []byte) {
	defer func() {
		if recover() != nil { // a tile beyond the tree
			status, body = http.StatusNotFound, nil
		}
	}()
	if path == "/supported" {
		return http.StatusOK, nil
	}
	rec := httptest.NewRecorder()
	d.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil))
	return rec.Code, rec.Body.Bytes()
}

// answer is a script: it answers from this database instead of the right one.
func (d *database) answer(w http.ResponseWriter, r *http.Request, _ []byte) {
	_, path, _ := strings.Cut(r.URL.Path, "/sumdb/sum.test")
	status, body := d.get(r.Context(), path)
	w.WriteHeader(status)
	w.Write(body)
}
