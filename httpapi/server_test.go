package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/httpapi"
)

// noise returns text that can't be compressed.
func noise(n int) string {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return string(b)
}

// publishLarge publishes a module whose zip has about size bytes, however fast
// the server under test wants clients to be.
func (g *registry) publishLarge(path string, size int) {
	g.t.Helper()
	zip := noisyZip(g.t, module.Version{Path: path, Version: "v1.0.0"}, "module "+path+"\n", size)
	r := httptest.NewRequest("PUT", "/api/v1/repos/local/modules/"+path+"/@v/v1.0.0", bytes.NewReader(zip))
	r.Host = "localhost"
	w := httptest.NewRecorder()
	httpapi.New(g.node, httpapi.Options{}).Handler(httpapi.Loopback).ServeHTTP(w, r)
	if w.Code != http.StatusCreated {
		g.t.Fatalf("publish %s: %d %s", path, w.Code, w.Body)
	}
}

// spyListener notes what connections are given to copy from.
type spyListener struct {
	*net.TCPListener
	mu      sync.Mutex // guards sources
	sources []string
}

func (l *spyListener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	return &spyConn{c, l}, err
}

type spyConn struct {
	*net.TCPConn
	l *spyListener
}

func (c *spyConn) ReadFrom(r io.Reader) (int64, error) {
	source := fmt.Sprintf("%T", r)
	if lim, ok := r.(*io.LimitedReader); ok {
		source = fmt.Sprintf("limited %T", lim.R)
	}
	c.l.mu.Lock()
	c.l.sources = append(c.l.sources, source)
	c.l.mu.Unlock()
	return c.TCPConn.ReadFrom(r)
}

// TestZipGoesFromFileToSocket shows that the connection gets the file itself, as
// sendfile needs it.
func TestZipGoesFromFileToSocket(t *testing.T) {
	g := newRegistry(t)
	g.publishLarge("corp.test/big", 1<<20)
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	spy := &spyListener{TCPListener: tcp}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { g.server.Serve(ctx, spy) })
	defer wg.Wait()
	defer cancel()
	a := do(t, http.DefaultClient, "GET", "http://"+tcp.Addr().String(), "/go/all/corp.test/big/@v/v1.0.0.zip", nil)
	if want := g.get("/go/all/corp.test/big/@v/v1.0.0.zip"); a.status != http.StatusOK || a.body != want.body || len(a.body) < 1<<20 {
		t.Fatalf("%d, %d bytes, want %d", a.status, len(a.body), len(want.body))
	}
	spy.mu.Lock()
	defer spy.mu.Unlock()
	if len(spy.sources) == 0 {
		t.Fatal("the connection was not given anything to copy from")
	}
	for _, s := range spy.sources {
		if s != "limited *os.File" {
			t.Errorf("the connection was given a %s", s)
		}
	}
}

// TestCutBodyIsNotPublished cuts the connection in the middle of a zip, with and
// without a Content-Length.
func TestCutBodyIsNotPublished(t *testing.T) {
	g := newRegistry(t)
	zip, _ := zipOf(t, module.Version{Path: "corp.test/x", Version: "v1.0.0"}, tree("corp.test/x"))
	const head = "PUT /api/v1/repos/local/modules/corp.test/x/@v/v1.0.0 HTTP/1.1\r\nHost: localhost\r\n"
	for _, request := range []string{
		fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(zip)+1, zip),
		fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", head, len(zip), zip),
		fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s", head, len(zip), zip[:10]),
	} {
		a := g.checked(t, func() answer { return answer{body: g.raw(request, closeWrite)} })
		cut := strings.HasPrefix(a.body, "HTTP/1.1 400") && strings.Contains(a.body, "before its end")
		gone := strings.HasPrefix(a.body, "HTTP/1.1 499") // net/http took it so, before the body was read
		if !cut && !gone {
			t.Errorf("%q", a.body)
		}
	}
	if a := g.get("/go/local/corp.test/x/@v/list"); a.status != http.StatusNotFound {
		t.Errorf("corp.test/x is there: %d %q", a.status, a.body)
	}
}

// TestRefusalDoesNotWaitForTheBody refuses a body that the client holds back
// until it has leave to send it.
func TestRefusalDoesNotWaitForTheBody(t *testing.T) {
	g := newRegistry(t)
	for _, tt := range []struct{ target, status string }{
		{"public/modules/corp.test/x/@v/v1.0.0", "403"},
		{"local/modules/corp.test/x/@v/v1", "400"},
	} {
		start := time.Now()
		a := g.checked(t, func() answer {
			return answer{body: g.raw("PUT /api/v1/repos/" + tt.target + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n")}
		})
		if !strings.HasPrefix(a.body, "HTTP/1.1 "+tt.status) {
			t.Errorf("%s: %q", tt.target, a.body)
		}
		if d := time.Since(start); d >= 5*time.Second { // that is what net/http is given to read a body
			t.Errorf("%s: it took %v", tt.target, d)
		}
	}
}

// TestSlowUploadIsCut sends a body that stops to move.
func TestSlowUploadIsCut(t *testing.T) {
	g := newRegistry(t, func(s *httpapi.Server) { s.SetPace(100 * time.Millisecond) })
	body, kind := newForm().plain(t, "corp.test/x", "v1.0.0").plain(t, "corp.test/y", "v1.0.0").end()
	form := fmt.Sprintf("POST /api/v1/repos/local/publications HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", kind, len(body), body)
	for _, request := range []string{
		"PUT /api/v1/repos/local/modules/corp.test/x/@v/v1.0.0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc",
		"POST /api/v1/repos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
		form[:len(form)/4], form[:len(form)-10],
	} {
		a := g.checked(t, func() answer { return answer{body: g.raw(request)} })
		if !strings.HasPrefix(a.body, "HTTP/1.1 408") || !strings.Contains(a.body, "too slowly") {
			t.Errorf("%q", a.body)
		}
	}
}

// TestSlowDownloadIsCut reads nothing of an answer that is larger than what the
// kernel keeps.
func TestSlowDownloadIsCut(t *testing.T) {
	g := newRegistry(t, func(s *httpapi.Server) { s.SetPace(100 * time.Millisecond) })
	g.publishLarge("corp.test/big", 20<<20)
	g.do("HEAD", "/go/all/corp.test/big/@v/v1.0.0.zip", nil) // so that it is verified, and the next answer begins at once
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(conn, "GET /go/all/corp.test/big/@v/v1.0.0.zip HTTP/1.1\r\nHost: localhost\r\n\r\n")
	waitFor(t, func() error { // counted when the handler has given up
		if !strings.Contains(g.get("/metrics").body, `{kind="zip",repository="virtual",status="2xx"} 2`) {
			return fmt.Errorf("the download is still under way")
		}
		return nil
	})
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Errorf("all %d bytes came", n)
	}
}

// TestSteadyDownloadIsNotCut takes longer than the pace in all, and moves.
func TestSteadyDownloadIsNotCut(t *testing.T) {
	const pace = time.Second // a process may stand still for a good part of that
	g := newRegistry(t, func(s *httpapi.Server) { s.SetPace(pace) })
	g.publishLarge("corp.test/big", 20<<20)
	resp, err := http.Get(g.base + "/go/all/corp.test/big/@v/v1.0.0.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	start, got := time.Now(), int64(0)
	tick := time.NewTicker(pace / 16)
	defer tick.Stop()
	for { // 1 MiB each tick
		n, err := io.CopyN(io.Discard, resp.Body, 1<<20)
		got += n
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("cut after %d bytes, %v: %v", got, time.Since(start), err)
		}
		<-tick.C
	}
	if got != resp.ContentLength || time.Since(start) < pace {
		t.Errorf("%d of %d bytes in %v", got, resp.ContentLength, time.Since(start))
	}
}

// TestStopWaitsForRequests stops a server while a request is under way.
func TestStopWaitsForRequests(t *testing.T) {
	g := newRegistry(t)
	asked, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	g.proxy.setFault(func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(asked) })
		<-release
		http.Error(w, "no", http.StatusNotFound)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- g.server.Serve(ctx, l) }()
	got := make(chan answer, 1)
	go func() {
		got <- do(t, http.DefaultClient, "GET", "http://"+l.Addr().String(), "/go/public/up.test/m/@v/list", nil)
	}()
	<-asked
	cancel()
	waitFor(t, func() error {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			c.Close()
			return fmt.Errorf("it still listens")
		}
		return nil
	})
	select {
	case <-stopped:
		t.Error("it stopped with a request under way")
	default:
	}
	close(release)
	if a := <-got; a.status != http.StatusNotFound {
		t.Errorf("the last request: %d %q", a.status, a.body)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// stuckListener's connections take no zip until they are released, closed or
// not.
type stuckListener struct {
	*net.TCPListener
	reached, closed, release chan struct{}
	once                     sync.Once // closes closed
}

func (l *stuckListener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	return &stuckConn{c, l}, err
}

type stuckConn struct {
	*net.TCPConn
	l *stuckListener
}

func (c *stuckConn) ReadFrom(io.Reader) (int64, error) {
	close(c.l.reached)
	<-c.l.release
	return 0, net.ErrClosed
}

func (c *stuckConn) Close() error {
	c.l.once.Do(func() { close(c.l.closed) })
	return c.TCPConn.Close()
}

// TestStopCutsWhatDoesNotEnd stops a server whose request goes on. It is cut
// when the grace period is over, but Serve returns only when it has ended.
func TestStopCutsWhatDoesNotEnd(t *testing.T) {
	g := newRegistry(t)
	g.publishLarge("corp.test/big", 1<<20)
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	l := &stuckListener{TCPListener: tcp, reached: make(chan struct{}), closed: make(chan struct{}), release: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stopped := make(chan error, 1)
	s := httpapi.New(g.node, httpapi.Options{Grace: 10 * time.Millisecond})
	go func() { stopped <- s.Serve(ctx, l) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /go/all/corp.test/big/@v/v1.0.0.zip HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-l.reached
	cancel()
	<-l.closed
	select {
	case <-stopped:
		t.Error("Serve returned with a request running")
	case <-time.After(50 * time.Millisecond): // that it does not can't be waited for
	}
	close(l.release)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if got, _ := io.ReadAll(conn); len(got) >= 1<<20 {
		t.Errorf("%d bytes came", len(got))
	}
}

func TestGate(t *testing.T) {
	g := httpapi.NewGate()
	for range 2 {
		if !g.Enter() {
			t.Fatal("an open gate lets nobody in")
		}
	}
	g.Leave()
	closed := make(chan struct{})
	go func() { g.Close(); close(closed) }()
	waitFor(t, func() error {
		if g.Enter() {
			g.Leave()
			return fmt.Errorf("a closed gate lets somebody in")
		}
		return nil
	})
	select {
	case <-closed:
		t.Error("the gate closed with somebody inside")
	default:
	}
	g.Leave()
	<-closed
	if g.Enter() {
		t.Error("a closed gate lets somebody in")
	}
}

// TestInternalErrorShowsNothing makes the blob store fail in a way that no user
// should be told of.
func TestInternalErrorShowsNothing(t *testing.T) {
	g := newRegistry(t)
	p := g.publish("corp.test/a", "v1.0.0", tree("corp.test/a"))
	file := g.dir + "/blobs/sha256/" + p.Digest.Hex()[:2] + "/" + p.Digest.Hex()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	a := g.get("/go/all/corp.test/a/@v/v1.0.0.zip")
	if a.status != http.StatusInternalServerError || strings.Contains(a.body, g.dir) || strings.Contains(a.body, "sha256") || a.header.Get("Cache-Control") != never {
		t.Errorf("%d %q", a.status, a.body)
	}
	if log := g.logs.String(); !strings.Contains(log, "not a regular file") {
		t.Errorf("the log does not say why: %s", log)
	}
}

// waitFor waits until ok returns nil.
func waitFor(t testing.TB, ok func() error) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal(err)
		}
	}
}

// TestMetricsAreNotCached, as callers see different ones.
func TestMetricsAreNotCached(t *testing.T) {
	h := newRegistry(t).get("/metrics").header
	if h.Get("Cache-Control") != never || h.Get("Vary") != "Authorization, X-Jfrog-Art-Api" {
		t.Errorf("%v", h)
	}
}
