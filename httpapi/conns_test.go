package httpapi_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
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

// secured is a listener with TLS in front of a registry.
type secured struct {
	addr string
	conf *tls.Config // of clients
}

// withTLS serves over TLS, until the end of the test.
func (g *registry) withTLS() secured {
	g.t.Helper()
	known := httptest.NewTLSServer(nil) // has a certificate for 127.0.0.1
	known.Close()
	roots := x509.NewCertPool()
	roots.AddCert(known.Certificate())
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	l := tls.NewListener(tcp, &tls.Config{Certificates: known.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12})
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := g.server.Serve(ctx, l); err != nil {
			g.t.Error(err)
		}
	})
	g.t.Cleanup(func() { cancel(); serving.Wait() })
	return secured{tcp.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}}
}

// client returns one that makes a connection for each request, of HTTP/2 or
// HTTP/1.1.
func (s secured) client(h2 bool) *http.Client {
	t := &http.Transport{TLSClientConfig: s.conf.Clone(), Protocols: new(http.Protocols), DisableKeepAlives: true}
	t.Protocols.SetHTTP1(!h2)
	t.Protocols.SetHTTP2(h2)
	return &http.Client{Transport: t}
}

// halfOpen are the ways to connect and then to hold back the request.
func (s secured) halfOpen(plain string) []func() (net.Conn, error) {
	text := func(addr, what string) func() (net.Conn, error) {
		return func() (net.Conn, error) {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				_, err = io.WriteString(c, what)
			}
			return c, err
		}
	}
	crypted := func(proto, what string) func() (net.Conn, error) {
		return func() (net.Conn, error) {
			conf := s.conf.Clone()
			conf.NextProtos = []string{proto}
			c, err := tls.Dial("tcp", s.addr, conf)
			if errors.As(err, new(*net.OpError)) { // shed within the handshake
				return nil, nil
			}
			if err != nil {
				return nil, nil
			}
			io.WriteString(c, what) // it may have been shed by now
			return c, nil
		}
	}
	return []func() (net.Conn, error){
		text(plain, ""), text(plain, "GET /livez HTTP/1.1\r\nHost: "), text(s.addr, ""), text(s.addr, "\x16\x03\x01\x02\x00\x01"),
		crypted("http/1.1", "GET /livez HTTP/1.1\r\n"), crypted("h2", ""),
		crypted("h2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"), // and empty SETTINGS
	}
}

// TestHalfOpenConnectionsAreShed opens 500 connections that never send a whole
// request, while others send theirs, each on a connection of its own. The time-out
// of headers does nothing here.
func TestHalfOpenConnectionsAreShed(t *testing.T) {
	g := newRegistry(t, func(s *httpapi.Server) { s.SetHeaderTime(time.Hour) })
	s := g.withTLS()
	plain := strings.TrimPrefix(g.base, "http://")
	ways := s.halfOpen(plain)
	ended := make(chan struct{}, 500)
	var watching sync.WaitGroup
	var held []net.Conn
	defer func() {
		for _, c := range held {
			c.Close()
		}
		watching.Wait()
	}()
	clients := []*http.Client{{Transport: &http.Transport{DisableKeepAlives: true}}, s.client(false), s.client(true)}
	shed := 0
	for i := range 500 {
		c, err := ways[i%len(ways)]()
		if err != nil {
			t.Fatal(err)
		}
		if c == nil {
			shed++
		} else {
			held = append(held, c)
			watching.Go(func() { io.Copy(io.Discard, c); ended <- struct{}{} })
		}
		if i%10 != 0 {
			continue
		}
		for k, client := range clients {
			base := "https://" + s.addr
			if k == 0 {
				base = g.base
			}
			resp, err := client.Get(base + "/livez")
			if err != nil {
				t.Fatalf("with %d half-open connections: %v", i+1, err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 1+k/2 {
				t.Errorf("with %d half-open connections: %s %s", i+1, resp.Proto, resp.Status)
			}
		}
	}
	// 5/7 of them came to the listener with TLS, which keeps 256 when they are no
	// longer young and others come.
	deadline := time.After(20 * time.Second)
	for want := 95; shed < want; {
		select {
		case <-ended:
			shed++
		case <-time.After(50 * time.Millisecond):
			if resp, err := clients[1].Get("https://" + s.addr + "/livez"); err != nil {
				t.Fatal(err)
			} else {
				resp.Body.Close()
			}
			clients[1].CloseIdleConnections()
		case <-deadline:
			t.Fatalf("%d connections are shed, want %d", shed, want)
		}
	}
}

// TestHalfOpenConnectionsTimeOut lets each way to hold back a request run into its
// time-out. (That of HTTP/2 without a request is another one, idleTimeout.)
func TestHalfOpenConnectionsTimeOut(t *testing.T) {
	g := newRegistry(t, func(s *httpapi.Server) { s.SetHeaderTime(time.Second) }) // enough for a handshake
	s := g.withTLS()
	var waiting sync.WaitGroup
	for i, way := range s.halfOpen(strings.TrimPrefix(g.base, "http://"))[:5] {
		waiting.Go(func() {
			c, err := way()
			if err != nil || c == nil {
				t.Errorf("way %d does not begin: %v", i, err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("way %d stays open", i)
			}
		})
	}
	waiting.Wait()
}

// TestSlowUploadIsCutHTTP2 is TestSlowUploadIsCut over HTTP/2.
func TestSlowUploadIsCutHTTP2(t *testing.T) {
	g := newRegistry(t, func(s *httpapi.Server) { s.SetPace(200 * time.Millisecond) })
	s := g.withTLS()
	for _, target := range []string{"POST /api/v1/repos", "GET /livez"} {
		method, path, _ := strings.Cut(target, " ")
		body, feed := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+s.addr+path, body)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = 1000
		go io.WriteString(feed, "{") // ends when the pipe is closed
		resp, err := s.client(true).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		feed.Close()
		if method == "POST" && (resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusRequestTimeout) {
			t.Errorf("%s: %s %s %s", target, resp.Proto, resp.Status, text)
		}
	}
}

// stuckReader is a connection that takes nothing any more from some byte on.
type stuckReader struct {
	net.Conn
	left int
	stop <-chan struct{}
}

func (c *stuckReader) Read(p []byte) (int, error) {
	if c.left <= 0 {
		<-c.stop
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// TestSlowDownloadIsCutHTTP2 takes nothing of a large answer: not from its stream,
// and, which holds up the whole connection, not from the socket.
func TestSlowDownloadIsCutHTTP2(t *testing.T) {
	g := newRegistry(t, func(s *httpapi.Server) { s.SetPace(500 * time.Millisecond) })
	s := g.withTLS()
	g.publishLarge("corp.test/big", 8<<20)
	g.do("HEAD", "/go/all/corp.test/big/@v/v1.0.0.zip", nil) // so that it is verified, and the next answer begins at once
	for i, left := range []int{1 << 30, 64 << 10} {
		stop := make(chan struct{})
		c := s.client(true)
		c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialLoopback(ctx, network, addr)
			return &stuckReader{conn, left, stop}, err
		}
		resp, err := c.Get("https://" + s.addr + "/go/all/corp.test/big/@v/v1.0.0.zip")
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() error { // counted when the handler has given up
			if want := fmt.Sprintf(`{kind="zip",repository="virtual",status="2xx"} %d`, i+2); !strings.Contains(g.get("/metrics").body, want) {
				return fmt.Errorf("the download is still under way, with %d bytes taken from the socket", left)
			}
			return nil
		})
		close(stop)
		if n, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Errorf("all %d bytes came", n)
		}
		resp.Body.Close()
	}
}

// TestStreamsOfHTTP2HaveTheLimits sends over HTTP/2 what TestDoor sends over
// HTTP/1.1, as far as a client can be made to.
func TestStreamsOfHTTP2HaveTheLimits(t *testing.T) {
	g := filled(t)
	s := g.withTLS()
	c := s.client(true)
	for _, tt := range []struct {
		method, target, header string
		status                 int
	}{
		{"GET", "/livez", "", 200},
		{"GET", "/api/v1/status?" + strings.Repeat("a", 4<<10), "", 414},
		{"GET", "/go/all/" + strings.Repeat("a", 4<<10), "", 404},
		{"GET", "/livez", strings.Repeat("a", 40<<10), 431},
		{"TRACE", "/livez", "", 405},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "https://"+s.addr+tt.target, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("A", tt.header)
		resp, err := c.Do(req)
		if err != nil && tt.status == 431 {
			continue // one that is much too large ends the connection
		}
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.status || resp.ProtoMajor != 2 {
			t.Errorf("%s %.20s: %s %s", tt.method, tt.target, resp.Proto, resp.Status)
		}
	}
}

// TestPlainTextOnTLS says HTTP where TLS is spoken.
func TestPlainTextOnTLS(t *testing.T) {
	g := newRegistry(t)
	conn, err := net.Dial("tcp", g.withTLS().addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Error(resp.Status)
	}
}

// TestSteadyUploadIsNotCutHTTP2 sends a body that takes longer than the pace in
// all, and moves.
func TestSteadyUploadIsNotCutHTTP2(t *testing.T) {
	const pace = time.Second // a process may stand still for a good part of that
	g := newRegistry(t, func(s *httpapi.Server) { s.SetPace(pace) })
	s := g.withTLS()
	mv := module.Version{Path: "corp.test/big", Version: "v1.0.0"}
	zip := noisyZip(t, mv, "module "+mv.Path+"\n", 4<<20)
	body, feed := io.Pipe()
	defer body.Close()
	go func() { // ends with the pipe
		tick := time.NewTicker(pace / 6)
		defer tick.Stop()
		for rest := zip; len(rest) > 0; <-tick.C {
			n := min(len(rest), 512<<10)
			if _, err := feed.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
		feed.Close()
	}()
	start := time.Now()
	req, err := http.NewRequestWithContext(t.Context(), "PUT", "https://"+s.addr+"/api/v1/repos/local/modules/corp.test/big/@v/v1.0.0", body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.client(true).Do(req)
	if err != nil {
		t.Fatalf("after %v: %v", time.Since(start), err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusCreated || time.Since(start) < pace {
		t.Errorf("%s after %v: %s, %v", resp.Status, time.Since(start), text, err)
	}
}
