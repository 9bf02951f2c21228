package node_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/sumdb/note"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

// tree is a module version as files; its go.mod may be left out.
type tree map[string]string

func goMod(path string) tree { return tree{"go.mod": "module " + path + "\n\ngo 1.21\n"} }

func (t tree) with(name, text string) tree {
	u := maps.Clone(t)
	u[name] = text
	return u
}

// zipOf returns the module zip of a tree.
func zipOf(t testing.TB, mv module.Version, files tree) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := w.Create(mv.Path + "@" + mv.Version + "/" + name)
		if err == nil {
			_, err = io.WriteString(f, files[name])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// proxy is an upstream that serves module versions over the GOPROXY protocol,
// with a checksum database that vouches for them. Its faults are scripted.
type proxy struct {
	*httptest.Server
	t      testing.TB
	key    string // of the checksum database, as GOSUMDB has it
	db     http.Handler
	mu     sync.Mutex // guards what follows
	trees  map[module.Version]tree
	asked  map[string]int // requests by path
	faults map[string]func(http.ResponseWriter, *http.Request)
	gate   chan struct{} // if not nil, requests wait until it is closed
}

const dbName = "sums.test"

func newProxy(t testing.TB) *proxy {
	skey, vkey, err := note.GenerateKey(rand.Reader, dbName)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, key: vkey, trees: map[module.Version]tree{}, asked: map[string]int{}, faults: map[string]func(http.ResponseWriter, *http.Request){}}
	p.db = sumdb.NewServer(sumdb.NewTestServer(skey, p.sums))
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) add(path, version string, files tree) module.Version {
	p.mu.Lock()
	defer p.mu.Unlock()
	mv := module.Version{Path: path, Version: version}
	p.trees[mv] = files
	return mv
}

// fault makes requests whose path ends in suffix go wrong.
func (p *proxy) fault(suffix string, f func(http.ResponseWriter, *http.Request)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults[suffix] = f
}

// count returns how many requests there were whose path contains part.
func (p *proxy) count(part string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for path, c := range p.asked {
		if strings.Contains(path, part) {
			n += c
		}
	}
	return n
}

func (p *proxy) mod(mv module.Version) []byte {
	if text, ok := p.trees[mv]["go.mod"]; ok {
		return []byte(text)
	}
	return []byte("module " + mv.Path + "\n")
}

// sums is what the checksum database says of a version.
func (p *proxy) sums(path, version string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	mv := module.Version{Path: path, Version: version}
	if _, ok := p.trees[mv]; !ok {
		return nil, errors.New("not found") // the server tests os.IsNotExist; anything else is 500
	}
	zipH1, err := zipH1(zipOf(p.t, mv, p.trees[mv]))
	if err != nil {
		return nil, err
	}
	modH1, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(p.mod(mv))), nil
	})
	return fmt.Appendf(nil, "%s %s %s\n%s %s/go.mod %s\n", path, version, zipH1, path, version, modH1), err
}

func zipH1(data []byte) (string, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return "", err
	}
	files := map[string]*zip.File{}
	var names []string
	for _, f := range z.File {
		files[f.Name] = f
		names = append(names, f.Name)
	}
	return dirhash.Hash1(names, func(name string) (io.ReadCloser, error) { return files[name].Open() })
}

func (p *proxy) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked[r.URL.Path]++
	gate := p.gate
	var fault func(http.ResponseWriter, *http.Request)
	for suffix, f := range p.faults {
		if strings.HasSuffix(r.URL.Path, suffix) {
			fault = f
		}
	}
	p.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if fault != nil {
		fault(w, r)
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/sumdb/"+dbName); ok {
		if rest != "/supported" {
			http.StripPrefix("/sumdb/"+dbName, p.db).ServeHTTP(w, r)
		}
		return
	}
	p.module(w, strings.TrimPrefix(r.URL.Path, "/"))
}

func (p *proxy) module(w http.ResponseWriter, path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	escaped, file, ok := strings.Cut(path, "/@v/")
	mod, err := module.UnescapePath(escaped)
	if !ok || err != nil {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	if file == "list" {
		found := false
		for mv := range p.trees {
			if mv.Path == mod {
				found = true
				if !module.IsPseudoVersion(mv.Version) {
					fmt.Fprintln(w, mv.Version)
				}
			}
		}
		if !found {
			http.Error(w, "not found: no such module", http.StatusNotFound)
		}
		return
	}
	ext := file[strings.LastIndexByte(file, '.')+1:]
	version, _ := module.UnescapeVersion(strings.TrimSuffix(file, "."+ext))
	if version == "main" {
		version = "v0.0.0-20240102030405-0123456789ab"
	}
	mv := module.Version{Path: mod, Version: version}
	files, ok := p.trees[mv]
	switch {
	case !ok:
		http.Error(w, "not found: unknown revision "+version, http.StatusNotFound)
	case ext == "info":
		fmt.Fprintf(w, `{"Version":%q,"Time":"2024-01-02T03:04:05Z"}`, version)
	case ext == "mod":
		w.Write(p.mod(mv))
	case ext == "zip":
		w.Write(zipOf(p.t, mv, files))
	default:
		http.Error(w, "not found", http.StatusNotFound)
	}
}

// name and pattern parse what tests write as constants.
func name(s string) events.RepoName {
	n, err := events.ParseRepoName(s)
	if err != nil {
		panic(err)
	}
	return n
}

func pattern(s string) events.Pattern {
	p, err := events.ParsePattern(s)
	if err != nil {
		panic(err)
	}
	return p
}

// defaults are the repositories of a fresh node: local, public (if up is not
// nil) and all.
func defaults(up *proxy) []node.NewRepo {
	repos := []node.NewRepo{{Name: name("local"), Kind: events.Local, Settings: events.RepoSettings{Owns: []events.Pattern{pattern("corp.example/**")}}}}
	members := []events.RepoName{name("local")}
	if up != nil {
		repos = append(repos, node.NewRepo{Name: name("public"), Kind: events.Remote,
			Settings: events.RepoSettings{Upstream: up.URL, Sumdb: up.key, NoSumdb: []events.Pattern{pattern("nosum.example")}}})
		members = append(members, name("public"))
	}
	return append(repos, node.NewRepo{Name: name("all"), Kind: events.Virtual, Settings: events.RepoSettings{Members: members, Deploy: name("local")}})
}

// testLog passes what a node logs to the test and keeps it.
type testLog struct {
	t    testing.TB
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	l.t.Logf("%s", bytes.TrimSpace(p))
	return len(p), nil
}

func (l *testLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func options(t testing.TB) (node.Options, *testLog) {
	l := &testLog{t: t}
	return node.Options{Logger: slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelInfo})), Version: "test"}, l
}

func site(s string) events.Site {
	v, err := events.ParseSite(s)
	if err != nil {
		panic(err)
	}
	return v
}

// newNode makes a registry in a directory of the test and opens it.
func newNode(t testing.TB, up *proxy) (*node.Node, string) {
	t.Helper()
	dir := t.TempDir()
	opts, _ := options(t)
	if made, err := node.Init(t.Context(), dir, site("a"), node.Fresh{Repos: defaults(up)}, opts); err != nil || !made {
		t.Fatalf("Init: %v, %v", made, err)
	}
	return openNode(t, dir), dir
}

func openNode(t testing.TB, dir string) *node.Node {
	t.Helper()
	opts, _ := options(t)
	n, err := node.Open(t.Context(), dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func repo(t testing.TB, n *node.Node, repoName string) *node.Repository {
	t.Helper()
	r, err := n.Repository(op, name(repoName))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func publish(t testing.TB, n *node.Node, path, version string, files tree) (node.Published, error) {
	t.Helper()
	mv := module.Version{Path: path, Version: version}
	return n.Publish(context.WithoutCancel(t.Context()), op, node.Publication{
		Repo: name("local"), Version: mv, Zip: bytes.NewReader(zipOf(t, mv, files)),
	})

}

func mustPublish(t testing.TB, n *node.Node, path, version string) node.Published {
	t.Helper()
	p, err := publish(t, n, path, version, goMod(path).with("a.go", "package a // "+version+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// stateHash returns the state hash and the length of the site's log.
func stateHash(t testing.TB, n *node.Node) string {
	t.Helper()
	waitFor(t, "what was seen upstream to be recorded", n.NothingToRecord)
	r, err := n.Replication(op)
	if err != nil {
		t.Fatal(err)
	}
	l := r.Sites[0].Logs[n.Site()]
	return fmt.Sprintf("%d/%d %v", l.Epoch, l.Seq, l.StateHash)
}

// patience is how long tests wait for what is to come: much longer than it takes, as
// only a fault has it end.
const patience = time.Minute

// waitFor polls until ok or a deadline; for what has no event to wait for.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// op is the operator of the node that a test opens.
var op = access.Operator(site("a"))

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
