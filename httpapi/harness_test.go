package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"registry-node/events"
	"registry-node/httpapi"
	"registry-node/node"
	"registry-node/node/access"
)

// TestMain makes the tests hermetic: no proxies, no settings of the go command,
// and a dial to anywhere but this machine fails.
func TestMain(m *testing.M) {
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "GO") && name != "GOROOT" && name != "GOCACHE" && name != "GOMAXPROCS" || strings.HasSuffix(strings.ToUpper(name), "_PROXY") {
			os.Unsetenv(name)
		}
	}
	http.DefaultTransport.(*http.Transport).DialContext = dialLoopback
	os.Exit(m.Run())
}

func dialLoopback(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("a test dialed %s", addr)
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// zipOf returns the module zip of a tree, and its go.mod.
func zipOf(t testing.TB, mv module.Version, files map[string]string) (zip []byte, mod string) {
	t.Helper()
	var tree []modzip.File
	for _, name := range slices.Sorted(maps.Keys(files)) { // the same bytes each time
		tree = append(tree, memFile{name, files[name]})
	}
	mod = files["go.mod"]
	if mod == "" {
		mod = "module " + mv.Path + "\n"
	}
	var b bytes.Buffer
	if err := modzip.Create(&b, mv, tree); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), mod
}

type memFile struct{ name, text string }

func (f memFile) Path() string                { return f.name }
func (f memFile) Lstat() (os.FileInfo, error) { return fileInfo{f}, nil }
func (f memFile) Open() (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(f.text)), nil
}

type fileInfo struct{ f memFile }

func (i fileInfo) Name() string       { return filepath.Base(i.f.name) }
func (i fileInfo) Size() int64        { return int64(len(i.f.text)) }
func (i fileInfo) Mode() os.FileMode  { return 0o644 }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return false }
func (i fileInfo) Sys() any           { return nil }

// tree returns the files of a small module.
func tree(path string) map[string]string {
	return map[string]string{"go.mod": "module " + path + "\n\ngo 1.21\n", "a.go": "package a\n\nconst Path = \"" + path + "\"\n"}
}

// proxy is an upstream GOPROXY. Its answers can be replaced by a fault.
type proxy struct {
	*http.Server
	url   string
	asked atomic.Int64
	mu    sync.Mutex // guards what follows
	files map[string]string
	fault http.HandlerFunc
}

func newProxy(t testing.TB) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{url: "http://" + l.Addr().String(), files: map[string]string{}}
	p.Server = &http.Server{Handler: p}
	var wg sync.WaitGroup
	wg.Go(func() { p.Serve(l) })
	t.Cleanup(func() { p.Close(); wg.Wait() })
	return p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked.Add(1)
	p.mu.Lock()
	fault, body := p.fault, p.files[r.URL.EscapedPath()]
	p.mu.Unlock()
	switch {
	case fault != nil:
		fault(w, r)
	case body == "":
		http.Error(w, "not here", http.StatusNotFound)
	default:
		io.WriteString(w, body)
	}
}

func (p *proxy) setFault(f http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

func (p *proxy) add(t testing.TB, path, version string, files map[string]string) {
	t.Helper()
	mv := module.Version{Path: path, Version: version}
	zip, mod := zipOf(t, mv, files)
	ep, err := module.EscapePath(path)
	if err != nil {
		t.Fatal(err)
	}
	ev, err := module.EscapeVersion(version)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	ep = strings.ReplaceAll(ep, "!", "%21")
	ev = strings.ReplaceAll(ev, "!", "%21")
	base := "/" + ep + "/@v/"
	p.files[base+ev+".info"] = infoOf(version)
	p.files[base+ev+".mod"] = mod
	p.files[base+ev+".zip"] = string(zip)
	if !module.IsPseudoVersion(version) {
		p.files[base+"list"] += version + "\n"
	}
}

func infoOf(version string) string {
	return fmt.Sprintf(`{"Version":%q,"Time":"2024-01-02T03:04:05Z"}`, version)
}

// registry is a node with a server on a loopback listener and on an admin
// socket. Its repositories are local (owns corp.test/**), public (remote), all
// (virtual: both) and dead (remote: an upstream that refuses connections).
type registry struct {
	t      testing.TB
	dir    string
	node   *node.Node
	server *httpapi.Server
	proxy  *proxy
	base   string // of the loopback listener
	admin  *http.Client
	logs   *lockedBuffer
	// sumsFault is the status of the checksum database, if it has one and that
	// is not to work.
	sumsFault atomic.Int32
}

func repoName(t testing.TB, s string) events.RepoName {
	t.Helper()
	n, err := events.ParseRepoName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func newRegistry(t testing.TB, configure ...func(*httpapi.Server)) *registry {
	t.Helper()
	return registryWith(t, node.Options{}, httpapi.AccessConfig{}, configure...)
}

// registryWith is newRegistry with what else a node is told, and with an access
// log if a directory for it is named.
func registryWith(t testing.TB, opts node.Options, access httpapi.AccessConfig, configure ...func(*httpapi.Server)) *registry {
	t.Helper()
	site, err := events.ParseSite("here")
	if err != nil {
		t.Fatal(err)
	}
	owns, err := events.ParsePattern("corp.test/**")
	if err != nil {
		t.Fatal(err)
	}
	g := &registry{t: t, dir: filepath.Join(t.TempDir(), "data"), proxy: newProxy(t), logs: &lockedBuffer{}}
	repos := []node.NewRepo{
		{Name: repoName(t, "local"), Kind: events.Local, Settings: events.RepoSettings{Owns: []events.Pattern{owns}}},
		{Name: repoName(t, "public"), Kind: events.Remote, Settings: events.RepoSettings{Upstream: g.proxy.url, Sumdb: "off"}},
		{Name: repoName(t, "dead"), Kind: events.Remote, Settings: events.RepoSettings{Upstream: deadURL, Sumdb: "off"}},
		{Name: repoName(t, "all"), Kind: events.Virtual, Settings: events.RepoSettings{
			Members: []events.RepoName{repoName(t, "local"), repoName(t, "public")}, Deploy: repoName(t, "local"),
		}},
	}
	logger := slog.New(slog.NewTextHandler(g.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if _, err := node.Init(t.Context(), g.dir, site, node.Fresh{Repos: repos, Rules: map[string]events.Grant{"tests": {
		Principals: []string{events.Loopback}, Repos: []string{"*"}, Actions: []string{"read", "publish", "delete", "block", "manage"},
	}}}, node.Options{Logger: logger}); err != nil {
		t.Fatal(err)
	}
	audit := httpapi.NewAuditLog(httpapi.AuditConfig{Dir: filepath.Join(g.dir, "audit"), Logger: logger})
	opts.Logger, opts.Version, opts.Audit = logger, "test", audit.Event
	if g.node, err = node.Open(t.Context(), g.dir, opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(g.node.Close(), audit.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := audit.Open(g.node.HasSpace); err != nil {
		t.Fatal(err)
	}
	o := httpapi.Options{Logger: logger, AuditLog: audit}
	if access.Dir != "" {
		access.Dir = filepath.Join(g.dir, access.Dir)
		if o.AccessLog, err = httpapi.OpenAccessLog(access); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := o.AccessLog.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	g.server = httpapi.New(g.node, o)
	for _, f := range configure {
		f(g.server)
	}
	g.serve()
	return g
}

// serve starts the server on both kinds of listener, and stops it at the end of
// the test. Then none of its goroutines may be left.
func (g *registry) serve() {
	t := g.t
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(g.dir, "admin.sock")
	unix, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	g.base = "http://" + tcp.Addr().String()
	g.admin = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, l := range []net.Listener{tcp, unix} {
		wg.Go(func() {
			if err := g.server.Serve(ctx, l); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		g.admin.CloseIdleConnections()
		http.DefaultClient.CloseIdleConnections()
		cancel()
		wg.Wait()
		if left := handlers(); len(left) > 0 {
			t.Errorf("%d goroutines are left:\n%s", len(left), left[0])
		}
	})
}

// handlers returns the stacks of goroutines that serve.
func handlers() (stacks []string) {
	all := make([]byte, 4<<20)
	all = all[:runtime.Stack(all, true)]
	for _, s := range strings.Split(string(all), "\n\n") {
		if strings.Contains(s, "httpapi.(*handler)") {
			stacks = append(stacks, s)
		}
	}
	return stacks
}

// deadURL is the URL of a port that nobody listens on: one that no listener is
// given who asks for any.
const deadURL = "http://127.0.0.1:1"

// answer is what came back on a request.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request whose target is sent as it stands.
func (g *registry) do(method, target string, body io.Reader, header ...string) answer {
	g.t.Helper()
	return do(g.t, http.DefaultClient, method, g.base, target, body, header...)
}

func do(t testing.TB, c *http.Client, method, base, target string, body io.Reader, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, base+"/", body)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque = target // sent as it is
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func (g *registry) get(target string, header ...string) answer {
	g.t.Helper()
	return g.do("GET", target, nil, header...)
}

// raw sends bytes on a connection of their own, does what is to be done with it
// then, and returns what comes back until the server closes it, or the end of
// what looks like a whole answer.
func (g *registry) raw(request string, then ...func(net.Conn)) string {
	g.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.base, "http://"))
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	sent := make(chan struct{})
	go func() { // ends with the connection
		defer close(sent)
		io.WriteString(conn, request)
		for _, f := range then {
			f(conn)
		}
	}()
	defer func() { conn.Close(); <-sent }()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return fmt.Sprintf("HTTP/1.1 %d\n%s", resp.StatusCode, body)
}

// closeWrite ends what a client sends, and leaves it listening.
func closeWrite(c net.Conn) { c.(*net.TCPConn).CloseWrite() }

// publish puts a module into the local repository.
func (g *registry) publish(path, version string, files map[string]string) node.Published {
	g.t.Helper()
	zip, _ := zipOf(g.t, module.Version{Path: path, Version: version}, files)
	a := g.do("PUT", "/api/v1/repos/local/modules/"+path+"/@v/"+version, bytes.NewReader(zip))
	if a.status != http.StatusCreated {
		g.t.Fatalf("publish %s@%s: %d %s", path, version, a.status, a.body)
	}
	return decode[node.Published](g.t, a.body)
}

func decode[T any](t testing.TB, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return v
}

// op is the operator of the site.
var op = access.Operator(events.Site{})

// seq returns how far the site's log is.
func (g *registry) seq() uint64 {
	g.t.Helper()
	r, err := g.node.Replication(op)
	if err != nil {
		g.t.Fatal(err)
	}
	return r.Sites[0].Logs[g.node.Site()].Seq
}

// staged returns the files that are on their way into the blob store.
func (g *registry) staged() []string {
	g.t.Helper()
	entries, err := os.ReadDir(filepath.Join(g.dir, "blobs", "tmp"))
	if err != nil {
		g.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
