package e2e

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
)

// upstream is a GOPROXY with a checksum database for all that it serves. It
// counts requests and fails as it is told to.
type upstream struct {
	*httptest.Server
	sumdb string // its checksum database, as GOSUMDB has it
	db    http.Handler

	mu      sync.Mutex // guards what follows
	trees   map[module.Version]tree
	queries map[module.Version]string // branch or commit → version
	asked   map[string]int            // requests by path
	faults  map[string]http.HandlerFunc
	gate    <-chan struct{} // if not nil, requests wait until it is closed
}

// commitTime is that of every version that is not a pseudo-version.
var commitTime = time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)

const sumdbName = "sums.test"

func newUpstream(t testing.TB) *upstream {
	t.Helper()
	signer, verifier, err := note.GenerateKey(rand.Reader, sumdbName)
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{
		sumdb: verifier, trees: map[module.Version]tree{}, queries: map[module.Version]string{},
		asked: map[string]int{}, faults: map[string]http.HandlerFunc{},
	}
	u.db = sumdb.NewServer(sumdb.NewTestServer(signer, u.sums))
	u.Server = httptest.NewServer(u)
	t.Cleanup(u.Close)
	return u
}

// settings make a new registry use this upstream.
func (u *upstream) settings() []string { return []string{"GOPROXY=" + u.URL, "GOSUMDB=" + u.sumdb} }

func (u *upstream) add(path, version string, t tree) module.Version {
	u.mu.Lock()
	defer u.mu.Unlock()
	mv := module.Version{Path: path, Version: version}
	u.trees[mv] = t
	return mv
}

// fault makes requests whose path ends in suffix go wrong; nil heals it.
func (u *upstream) fault(suffix string, f http.HandlerFunc) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.faults[suffix] = f
}

// count returns how many requests there were whose path ends in suffix.
func (u *upstream) count(suffix string) (n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for path, c := range u.asked {
		if strings.HasSuffix(path, suffix) {
			n += c
		}
	}
	return n
}

// sums is what the checksum database says of a version.
func (u *upstream) sums(path, version string) ([]byte, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	mv := module.Version{Path: path, Version: version}
	t, ok := u.trees[mv]
	if !ok {
		return nil, os.ErrNotExist
	}
	return fmt.Appendf(nil, "%s %s %s\n%s %s/go.mod %s\n", path, version, h1(mv, t), path, version, goModH1(t.goMod(path))), nil
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault, gate := u.arrive(r.URL.Path)
	if gate != nil {
		<-gate
	}
	db, ofDB := strings.CutPrefix(r.URL.Path, "/sumdb/"+sumdbName)
	switch {
	case fault != nil:
		fault(w, r)
	case db == "/supported":
	case ofDB:
		http.StripPrefix("/sumdb/"+sumdbName, u.db).ServeHTTP(w, r)
	default:
		if err := u.module(w, strings.TrimPrefix(r.URL.Path, "/")); err != nil {
			http.Error(w, "not found: "+err.Error(), http.StatusNotFound)
		}
	}
}

// arrive counts a request and returns what is to be done to it.
func (u *upstream) arrive(path string) (fault http.HandlerFunc, gate <-chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked[path]++
	for suffix, f := range u.faults {
		if strings.HasSuffix(path, suffix) {
			fault = f
		}
	}
	return fault, u.gate
}

// module answers for a module; an error says what is not there.
func (u *upstream) module(w http.ResponseWriter, path string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	escaped, latest := strings.CutSuffix(path, "/@latest")
	file := ""
	if !latest {
		escaped, file, _ = strings.Cut(path, "/@v/")
	}
	mod, err := module.UnescapePath(escaped)
	if err != nil {
		return err
	}
	versions := u.versions(mod)
	if len(versions) == 0 {
		return errors.New("no such module")
	}
	if latest {
		return u.file(w, module.Version{Path: mod, Version: highest(versions)}, "info")
	}
	if file == "list" {
		for _, v := range versions {
			if !module.IsPseudoVersion(v) {
				fmt.Fprintln(w, v)
			}
		}
		return nil
	}
	dot := strings.LastIndexByte(file, '.')
	if dot < 0 {
		return errors.New("no such file")
	}
	version, err := module.UnescapeVersion(file[:dot])
	if err != nil {
		return err
	}
	mv := module.Version{Path: mod, Version: version}
	if file[dot:] == ".info" {
		mv.Version = cmp.Or(u.queries[mv], mv.Version)
	}
	return u.file(w, mv, file[dot+1:])
}

// versions returns the versions of a module in their order. u.mu is held.
func (u *upstream) versions(mod string) (list []string) {
	for mv := range u.trees {
		if mv.Path == mod {
			list = append(list, mv.Version)
		}
	}
	slices.SortFunc(list, semver.Compare)
	return list
}

// highest returns the highest release, else the highest version.
func highest(versions []string) string {
	for _, v := range slices.Backward(versions) {
		if semver.Prerelease(v) == "" {
			return v
		}
	}
	return versions[len(versions)-1]
}

// file answers with one file of a version. u.mu is held.
func (u *upstream) file(w http.ResponseWriter, mv module.Version, kind string) error {
	t, ok := u.trees[mv]
	if !ok {
		return fmt.Errorf("unknown revision %s", mv.Version)
	}
	var err error
	switch kind {
	case "info":
		at := commitTime
		if module.IsPseudoVersion(mv.Version) {
			at, err = module.PseudoVersionTime(mv.Version)
		}
		fmt.Fprintf(w, `{"Version":%q,"Time":%q}`, mv.Version, at.Format(time.RFC3339))
	case "mod":
		_, err = w.Write(t.goMod(mv.Path))
	case "zip":
		_, err = w.Write(zipOf(mv, t))
	default:
		err = errors.New("no such file")
	}
	return err
}
