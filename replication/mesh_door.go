package replication

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"registry-node/events"
)

// maxStrangers is how many connections may be open that are not known to be a
// member's: during the handshake, and later those without a member's certificate.
const maxStrangers = 128

// A door is the listener of a site: it shakes hands, and leads members to the
// hub and the rest to HTTP.
type door struct {
	m    *Mesh
	lis  net.Listener
	tls  *tls.Config
	http *http.Server
	in   chan net.Conn // to http

	mu        sync.Mutex          // guards the following
	strangers []*wire             // oldest first
	sessions  map[string]*session // by token
}

func newDoor(m *Mesh, lis net.Listener) *door {
	d := &door{m: m, lis: lis, in: make(chan net.Conn), sessions: make(map[string]*session)}
	d.tls = serverTLS(m.cfg.Certificate, func(c events.Digest) bool { return !m.siteOf(c).IsZero() })
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	d.http = &http.Server{
		Handler:           d,
		Protocols:         protocols,
		ReadHeaderTimeout: httpHeaderWait,
		IdleTimeout:       httpIdle,
		MaxHeaderBytes:    httpMaxHeader,
		BaseContext:       func(net.Listener) context.Context { return m.life },
		ErrorLog:          slog.NewLogLogger(m.log.Handler(), slog.LevelDebug),
	}
	return d
}

// close ends listening and all connections; who runs them finds out.
func (d *door) close() {
	_ = d.lis.Close()
	_ = d.http.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.strangers {
		_ = w.Close()
	}
}

// accept takes connections until the listener is closed.
func (d *door) accept() {
	for {
		c, err := d.lis.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, most likely
			d.m.log.Warn("accept", "error", err)
			if !pause(d.m.life, nil, 100*time.Millisecond) {
				return
			}
			continue
		}
		w := newWire(c)
		d.enter(w)
		if !d.m.running.start(func() { d.admit(w) }) {
			_ = w.Close()
		}
	}
}

// enter notes a stranger. When there are too many, the host with most of them
// loses its oldest, so that a flood from one host pushes out only its own.
func (d *door) enter(w *wire) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.strangers = append(d.strangers, w)
	if d.m.life.Err() != nil {
		_ = w.Close()
	}
	if len(d.strangers) <= maxStrangers {
		return
	}
	count, most := make(map[string]int), ""
	for _, s := range d.strangers {
		host := hostOf(s)
		if count[host]++; count[host] > count[most] {
			most = host
		}
	}
	i := slices.IndexFunc(d.strangers, func(s *wire) bool { return hostOf(s) == most })
	_ = d.strangers[i].Close()
	d.strangers = slices.Delete(d.strangers, i, i+1)
}

// known takes w off the strangers.
func (d *door) known(w *wire) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.Index(d.strangers, w); i >= 0 {
		d.strangers = slices.Delete(d.strangers, i, i+1)
	}
}

func hostOf(c net.Conn) string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return ""
	}
	return host
}

// admit shakes hands and runs the connection until it ends.
func (d *door) admit(w *wire) {
	defer d.known(w)
	defer w.Close()
	tc := tls.Server(w, d.tls)
	ctx, cancel := context.WithTimeout(d.m.life, acceptWait)
	err := tc.HandshakeContext(ctx)
	cancel()
	if err != nil {
		d.m.log.Debug("handshake failed", "remote", w.RemoteAddr(), "error", err)
		return
	}
	cs := tc.ConnectionState()
	cert := peerDigest(cs)
	site := d.m.siteOf(cert)
	if cs.NegotiatedProtocol == protoMesh {
		d.runSession(tc, w, site, cert)
		return
	}
	if !site.IsZero() {
		if !d.m.pins.add(w, site, cert, kindAccepted) {
			return
		}
		d.known(w)
	}
	select {
	case d.in <- tc:
		<-w.closed
	case <-d.m.life.Done():
	}
}

// runSession leads a member to the hub.
func (d *door) runSession(tc *tls.Conn, w *wire, site events.Site, cert events.Digest) {
	if site.IsZero() || !d.m.pins.add(w, site, cert, kindSession) {
		return
	}
	d.known(w)
	token, err := binding(tc.ConnectionState())
	if err != nil {
		d.m.log.Error("admit peer", "peer", site, "error", err)
		return
	}
	s := &session{site: site, token: token, wire: w}
	d.mu.Lock()
	d.sessions[token] = s
	d.mu.Unlock()
	w.limit(silence)

	if hc, err := d.m.hub.srv.InProcessConn(); err == nil {
		d.pipe(tc, hc, s)
	}

	d.m.hub.forbid(token)
	d.mu.Lock()
	delete(d.sessions, token)
	d.mu.Unlock()
	if p := d.m.member(site); p != nil {
		p.left(s)
	}
}

// pipe copies in both directions between s and the hub until one ends, closes
// both and returns when nothing is copied any more.
func (d *door) pipe(tc *tls.Conn, hc net.Conn, s *session) {
	var wg sync.WaitGroup
	wg.Go(func() {
		defer hc.Close()
		if err := d.login(tc, hc, s); err != nil {
			d.m.log.Warn("login of a peer refused", "peer", s.site, "error", err)
			return
		}
		_, _ = io.Copy(hc, tc)
	})
	_, _ = io.Copy(tc, hc)
	_ = s.wire.Close()
	_ = hc.Close()
	wg.Wait()
}

// login passes on what the member says first, if that is a login with the token
// of this very connection. The token is good at the hub only from here to there,
// so no other connection can log in with it, not even another member's to which
// it was given.
func (d *door) login(tc io.Reader, hc io.Writer, s *session) error {
	r := bufio.NewReader(tc)
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	var opts struct {
		Token string `json:"auth_token"`
	}
	args, found := bytes.CutPrefix(line, []byte("CONNECT "))
	if err := json.Unmarshal(args, &opts); !found || err != nil || opts.Token != s.token {
		return errors.New("it is not by the token of its connection")
	}
	line = bytes.Clone(line)
	rest, err := r.Peek(r.Buffered())
	if err != nil {
		return err
	}
	d.m.hub.allow(s.token, s.site)
	_, err = hc.Write(append(line, rest...))
	return err
}

// greet has p use the connection with this token, if p made it.
func (d *door) greet(p *member, token string) bool {
	d.mu.Lock()
	s := d.sessions[token]
	d.mu.Unlock()
	if s == nil || s.site != p.site {
		return false
	}
	p.greeted(s)
	return true
}

// serveHTTP runs the HTTP server until it is closed.
func (d *door) serveHTTP() { _ = d.http.Serve(doorListener{d}) }

// doorListener gives the HTTP server the connections that are for it.
type doorListener struct{ d *door }

// Accept waits for a connection that has shaken hands.
func (l doorListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.d.in:
		return c, nil
	case <-l.d.m.life.Done():
		return nil, net.ErrClosed
	}
}

// Close does nothing: the listener belongs to the door.
func (l doorListener) Close() error { return nil }

// Addr returns the address of the door.
func (l doorListener) Addr() net.Addr { return l.d.lis.Addr() }
