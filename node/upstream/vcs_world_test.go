package upstream_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"registry-node/node/upstream"
)

// vcsWorld is a VCS host on loopback: real git repositories behind git's own
// HTTP backend and TLS, and go-import pages. All names below .test lead to it.
type vcsWorld struct {
	t      *testing.T
	dir    string // of the repositories
	caFile string
	server *httptest.Server
	plain  *httptest.Server // the same without TLS
	git    string
	user   string // home of who runs direct

	mu    sync.Mutex
	pages map[string]string                                  // go-import content by host and path; guarded by mu
	first func(w http.ResponseWriter, hr *http.Request) bool // may answer before all; guarded by mu
	asked []string                                           // guarded by mu
}

func newVCSWorld(t *testing.T) *vcsWorld {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal("the tests of VCS need git:", err)
	}
	w := &vcsWorld{t: t, dir: t.TempDir(), git: git, user: t.TempDir(), pages: make(map[string]string)}
	cert, ca := testAuthority(t)
	w.caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(w.caFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	w.server = httptest.NewUnstartedServer(w)
	w.server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	w.server.StartTLS()
	w.plain = httptest.NewServer(w)
	t.Cleanup(func() {
		w.server.CloseClientConnections()
		w.server.Close()
		w.plain.Close()
	})
	return w
}

// testAuthority returns a certificate for names below .test, and in PEM what to
// trust for it.
func testAuthority(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"vcs.test", "other.test", "mods.test"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// ServeHTTP serves /git/<name> as repositories, and else pages.
func (w *vcsWorld) ServeHTTP(rw http.ResponseWriter, hr *http.Request) {
	w.mu.Lock()
	w.asked = append(w.asked, hr.Method+" "+hr.Host+hr.URL.RequestURI())
	first := w.first
	content, ok := w.pageLocked(strings.TrimSuffix(hr.Host+hr.URL.Path, "/"))
	w.mu.Unlock()
	switch {
	case first != nil && first(rw, hr):
	case hr.URL.Query().Get("go-get") == "1" && ok:
		fmt.Fprint(rw, "<!DOCTYPE html><html><head>\n")
		for c := range strings.SplitSeq(content, "\n") {
			fmt.Fprintf(rw, "<meta name=\"go-import\" content=\"%s\">\n", c)
		}
		fmt.Fprint(rw, "</head><body>Nothing & more</html>")
	case strings.HasPrefix(hr.URL.Path, "/git/"):
		w.backend().ServeHTTP(rw, hr)
	default:
		http.NotFound(rw, hr)
	}
}

// pageLocked returns the go-import content of a path, or of a path it is below.
func (w *vcsWorld) pageLocked(path string) (string, bool) {
	for ; strings.Contains(path, "/"); path = path[:strings.LastIndexByte(path, '/')] {
		if content, ok := w.pages[path]; ok {
			return content, true
		}
	}
	return "", false
}

func (w *vcsWorld) backend() http.Handler {
	return &cgi.Handler{
		Path: w.git, Args: []string{"http-backend"}, Root: "/git", Logger: nil,
		Env:    []string{"GIT_PROJECT_ROOT=" + w.dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
		Stderr: io.Discard,
	}
}

// page makes a path answer with go-import tags of these contents, one a line.
func (w *vcsWorld) page(path, content string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pages[path] = content
}

// before sets what may answer before all.
func (w *vcsWorld) before(f func(http.ResponseWriter, *http.Request) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.first = f
}

// requests returns what was asked since the last call.
func (w *vcsWorld) requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := w.asked
	w.asked = nil
	return asked
}

// route is where a host and port of the world is.
func (w *vcsWorld) route(hostport string) string {
	host, port, err := net.SplitHostPort(hostport)
	switch {
	case err != nil || !strings.HasSuffix(host, ".test"):
		return hostport
	case port == "80":
		return w.plain.Listener.Addr().String()
	}
	return w.server.Listener.Addr().String()
}

// vcs returns a VCS that reaches the world.
func (w *vcsWorld) vcs(change ...func(*upstream.VCSConfig)) *upstream.VCS {
	w.t.Helper()
	c := upstream.VCSConfig{
		Dir:     filepath.Join(w.t.TempDir(), "vcs"),
		CAFile:  w.caFile,
		Inside:  upstream.Inside{netip.MustParsePrefix("127.0.0.0/8")},
		Timeout: time.Minute,
	}
	c.Reroute(w.route)
	for _, f := range change {
		f(&c)
	}
	v, err := upstream.NewVCS(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(v.Close)
	return v
}

// gitTree is a repository of the world with a working tree.
type gitTree struct {
	w     *vcsWorld
	name  string
	tree  string
	clock int64 // of the commits
}

// repo makes a repository that is served as https://vcs.test/git/<name>, and the
// page of vcs.test/<name> that leads there.
func (w *vcsWorld) repo(name string) *gitTree {
	w.t.Helper()
	r := &gitTree{w: w, name: name, tree: filepath.Join(w.t.TempDir(), name), clock: 1_600_000_000}
	if err := os.MkdirAll(r.tree, 0o700); err != nil {
		w.t.Fatal(err)
	}
	r.run("init", "-q", "-b", "main")
	bare := filepath.Join(w.dir, name)
	r.run("init", "-q", "--bare", "-b", "main", bare)
	r.run("remote", "add", "origin", bare)
	w.page("vcs.test/"+name, "vcs.test/"+name+" git "+r.url())
	return r
}

func (r *gitTree) url() string { return "https://vcs.test/git/" + r.name }

func (r *gitTree) run(args ...string) string {
	r.w.t.Helper()
	cmd := exec.Command(r.w.git, args...)
	cmd.Dir = r.tree
	date := fmt.Sprintf("%d +0000", r.clock)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@vcs.test", "GIT_AUTHOR_DATE="+date,
		"GIT_COMMITTER_NAME=c", "GIT_COMMITTER_EMAIL=c@vcs.test", "GIT_COMMITTER_DATE="+date)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.w.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes files, given as name, content, name, content…, commits and
// pushes them, with tags. A tag that begins with "a:" is annotated.
func (r *gitTree) commit(files []string, tags ...string) (hash string) {
	r.w.t.Helper()
	for i := 0; i < len(files); i += 2 {
		file := filepath.Join(r.tree, filepath.FromSlash(files[i]))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(files[i+1]), 0o600)); err != nil {
			r.w.t.Fatal(err)
		}
	}
	r.clock += 1000
	r.run("add", ".")
	r.run("commit", "-q", "--allow-empty", "-m", "change")
	for _, tag := range tags {
		if name, ok := strings.CutPrefix(tag, "a:"); ok {
			r.run("tag", "-a", "-m", "release", name)
		} else {
			r.run("tag", tag)
		}
	}
	r.run("push", "-q", "-f", "--all", "origin")
	r.run("push", "-q", "-f", "--tags", "origin")
	return r.run("rev-parse", "HEAD")
}

// reference is what the go command says in direct mode.
type reference struct {
	Version  string
	Versions []string
	GoMod    string
	Zip      string
	Sum      string
	GoModSum string
	Time     time.Time
	Error    any
}

// direct runs the go command as a user would who has the world for an Internet:
// in direct mode, through a proxy that only stands for the resolver.
func (w *vcsWorld) direct(args ...string) (reference, error) {
	w.t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = w.user
	proxy := w.resolverProxy()
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.user, "GOPATH=" + filepath.Join(w.user, "go"), "GOFLAGS=-modcacherw",
		"GOPROXY=direct", "GOSUMDB=off", "GOENV=off", "GOTOOLCHAIN=local",
		"SSL_CERT_FILE=" + w.caFile, "GIT_SSL_CAINFO=" + w.caFile, "HTTPS_PROXY=" + proxy, "https_proxy=" + proxy,
		"GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL=" + os.DevNull,
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var r reference
	if jsonErr := json.Unmarshal(out, &r); err == nil && jsonErr != nil {
		err = jsonErr
	}
	if err != nil {
		return r, fmt.Errorf("go %s: %w\n%s%v", strings.Join(args, " "), err, &stderr, r.Error)
	}
	return r, nil
}

// resolverProxy is an HTTP proxy that connects to the world.
func (w *vcsWorld) resolverProxy() string {
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, hr *http.Request) {
		out, err := net.Dial("tcp", w.route(hr.Host))
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadGateway)
			return
		}
		defer out.Close()
		in, buffered, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			return
		}
		defer in.Close()
		io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			io.Copy(in, out)
			in.Close()
		}()
		io.Copy(out, buffered)
	}))
	w.t.Cleanup(s.Close)
	return s.URL
}

// wantClass fails the test unless err has a class and says all of the texts.
func wantClass(t *testing.T, what string, err, class error, texts ...string) {
	t.Helper()
	if !errors.Is(err, class) {
		t.Errorf("%s: %v, want the class %q", what, err, class)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: the error does not say %q: %v", what, text, err)
		}
	}
}

// soon is a context that ends before the test's patience does.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
