package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// vcsHost is a VCS host on loopback, under three names: git repositories behind
// git's own HTTP backend and TLS, and the pages with go-import tags that lead to
// them. The names are known to nobody but its HTTP proxy.
type vcsHost struct {
	t        testing.TB
	git      string // the program
	dir      string // of the repositories
	caFile   string // what to trust for its names
	proxy    string // URL of an HTTP proxy that leads to it
	password string // that privateHost asks for

	mu    sync.Mutex        // guards what follows
	pages map[string]string // go-import content by host and path
	asked int               // requests
}

// Names of a VCS host.
const (
	publicHost  = "vcs.test"
	otherHost   = "other.test"
	privateHost = "private.test" // it asks for a password
)

func newVCSHost(t testing.TB) *vcsHost {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		unavailable(t, "there is no git here: %v", err)
	}
	h := &vcsHost{
		t: t, git: git, dir: t.TempDir(), caFile: filepath.Join(t.TempDir(), "ca.pem"),
		password: "canary-5e1f", pages: map[string]string{},
	}
	server := httptest.NewUnstartedServer(h)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{h.certificate()}}
	server.StartTLS()
	proxy := httptest.NewServer(connectProxy(server.Listener.Addr().String()))
	h.proxy = proxy.URL
	t.Cleanup(func() {
		proxy.Close()
		server.CloseClientConnections()
		server.Close()
	})
	return h
}

// certificate makes a certificate for the names, and writes what to trust for it.
func (h *vcsHost) certificate() tls.Certificate {
	h.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{publicHost, otherHost, privateHost}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err == nil {
		err = os.WriteFile(h.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// connectProxy is an HTTP proxy that knows names below .test alone: all of them
// are at one address.
func connectProxy(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil || r.Method != http.MethodConnect || !strings.HasSuffix(host, ".test") {
			http.Error(w, "no such host: "+r.Host, http.StatusBadGateway)
			return
		}
		out, err := net.Dial("tcp", to)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer out.Close()
		in, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer in.Close()
		io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
		var back sync.WaitGroup
		back.Go(func() {
			io.Copy(in, out)
			in.Close()
		})
		io.Copy(out, buffered)
		out.Close()
		back.Wait()
	}
}

// ServeHTTP serves /git/NAME as repositories, and else pages.
func (h *vcsHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.asked++
	content, ok := h.page(r.Host + r.URL.Path)
	h.mu.Unlock()
	_, password, _ := r.BasicAuth()
	switch {
	case r.Host == privateHost && password != h.password:
		w.Header().Set("WWW-Authenticate", `Basic realm="private"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
	case strings.HasPrefix(r.URL.Path, "/git/"):
		h.backend().ServeHTTP(w, r)
	case ok && r.URL.Query().Get("go-get") == "1":
		fmt.Fprintf(w, "<!DOCTYPE html><html><head><meta name=\"go-import\" content=\"%s\"></head></html>", content)
	default:
		http.NotFound(w, r)
	}
}

// page returns the go-import content of a path, or of one that it is below. h.mu
// is held.
func (h *vcsHost) page(path string) (string, bool) {
	for ; strings.Contains(path, "/"); path = path[:strings.LastIndexByte(path, '/')] {
		if content, ok := h.pages[path]; ok {
			return content, true
		}
	}
	return "", false
}

// requests returns how many requests there were.
func (h *vcsHost) requests() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

// backend is git's own server.
func (h *vcsHost) backend() http.Handler {
	return &cgi.Handler{
		Path: h.git, Args: []string{"http-backend"}, Root: "/git", Stderr: io.Discard,
		Env: append(noGitConfig(), "GIT_PROJECT_ROOT="+h.dir, "GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"),
	}
}

// noGitConfig keeps the settings of who runs the tests from git.
func noGitConfig() []string {
	return []string{"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1"}
}

// gitRepo is a repository of a VCS host, and a clone of it to write in.
type gitRepo struct {
	host  *vcsHost
	path  string // of the module at its root: HOST/NAME
	tree  string
	clock int64 // of the commits, in seconds
}

// repo makes a repository, https://HOST/git/NAME, and the page of HOST/NAME that
// leads there, to a directory of it if one is given.
func (h *vcsHost) repo(host, name string, subdirectory ...string) *gitRepo {
	h.t.Helper()
	r := &gitRepo{host: h, path: host + "/" + name, tree: filepath.Join(h.t.TempDir(), name), clock: 1_600_000_000}
	if err := os.MkdirAll(r.tree, 0o700); err != nil {
		h.t.Fatal(err)
	}
	bare := filepath.Join(h.dir, name)
	r.run("init", "-q", "-b", "main")
	r.run("init", "-q", "--bare", "-b", "main", bare)
	r.run("remote", "add", "origin", bare)
	content := append([]string{r.path, "git", "https://" + host + "/git/" + name}, subdirectory...)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pages[r.path] = strings.Join(content, " ")
	return r
}

func (r *gitRepo) run(args ...string) string {
	r.host.t.Helper()
	date := fmt.Sprintf("%d +0000", r.clock)
	env := append(environment(noGitConfig()...),
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@vcs.test", "GIT_AUTHOR_DATE="+date,
		"GIT_COMMITTER_NAME=c", "GIT_COMMITTER_EMAIL=c@vcs.test", "GIT_COMMITTER_DATE="+date)
	out := execute(r.host.t, r.tree, env, r.host.git, args...)
	if out.code != 0 {
		r.host.t.Fatalf("git %s: %s%s", strings.Join(args, " "), out.stdout, out.stderr)
	}
	return strings.TrimSpace(out.stdout)
}

// commit writes files, commits and pushes them with tags. A tag that begins with
// "a:" is annotated. It returns the commit.
func (r *gitRepo) commit(files tree, tags ...string) string {
	r.host.t.Helper()
	if err := files.writeTo(r.tree); err != nil {
		r.host.t.Fatal(err)
	}
	r.clock += 1000
	r.run("add", ".")
	r.run("commit", "-q", "--allow-empty", "-m", "change")
	for _, tag := range tags {
		if name, ok := strings.CutPrefix(tag, "a:"); ok {
			r.run("tag", "-a", "-m", "release", name)
		} else {
			r.run("tag", "-f", tag)
		}
	}
	r.run("push", "-q", "-f", "--all", "origin")
	r.run("push", "-q", "-f", "--tags", "origin")
	return r.run("rev-parse", "HEAD")
}
