package replication

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"registry-node/events"
)

// A wire is a connection below TLS. Closing it ends everything above it at once:
// unlike closing the TLS session, it never waits for the other side.
type wire struct {
	net.Conn
	idle    atomic.Int64 // longest wait for a byte, a time.Duration; 0: no bound
	closing sync.Once
	closed  chan struct{}
}

func newWire(c net.Conn) *wire { return &wire{Conn: c, closed: make(chan struct{})} }

// limit bounds every wait for a byte from now on. Deadlines for reading that
// others set are ignored then.
func (w *wire) limit(idle time.Duration) {
	w.idle.Store(int64(idle))
	_ = w.Conn.SetReadDeadline(time.Now().Add(idle)) // of a Read under way
}

func (w *wire) Read(b []byte) (int, error) {
	if idle := w.idle.Load(); idle > 0 {
		if err := w.Conn.SetReadDeadline(time.Now().Add(time.Duration(idle))); err != nil {
			return 0, err
		}
	}
	n, err := w.Conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) && w.idle.Load() > 0 {
		_ = w.Close() // who reads may wait for who writes, and that for the network
	}
	return n, err
}

// SetDeadline sets the deadline for writing, and for reading unless that is
// limited.
func (w *wire) SetDeadline(t time.Time) error {
	if err := w.SetReadDeadline(t); err != nil {
		return err
	}
	return w.SetWriteDeadline(t)
}

// SetReadDeadline does nothing while reading is limited.
func (w *wire) SetReadDeadline(t time.Time) error {
	if w.idle.Load() > 0 {
		return nil
	}
	return w.Conn.SetReadDeadline(t)
}

func (w *wire) Close() (err error) {
	w.closing.Do(func() {
		close(w.closed)
		err = w.Conn.Close()
	})
	return err
}

// maxConns is how many connections with one member, of each kind, may be open.
const maxConns = 64

// pins are the open connections that rest on somebody being a member.
type pins struct {
	siteOf func(events.Digest) events.Site // whose certificate it is now

	mu     sync.Mutex    // guards the following
	closed bool          // nothing is added any more
	conns  map[*wire]pin // closed ones go when another is added
}

type pin struct {
	site events.Site
	cert events.Digest
	kind connKind
}

type connKind int

const (
	kindAccepted connKind = iota // by the listener, HTTPS
	kindSession                  // by the listener, NATS
	kindDialled                  // by this site, NATS
	kindClient                   // by this site, HTTPS
)

// add keeps w open for as long as cert is a certificate of site's. It reports
// false, and closes w, when it is not, or site has too many connections of this
// kind. Membership is asked after w is on the list, so that no sweep misses it.
func (p *pins) add(w *wire, site events.Site, cert events.Digest, kind connKind) bool {
	if !p.list(w, pin{site, cert, kind}) {
		_ = w.Close()
		return false
	}
	if p.siteOf(cert) != site {
		_ = w.Close()
		return false
	}
	return true
}

func (p *pins) list(w *wire, as pin) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for v, q := range p.conns {
		if isClosed(v.closed) {
			delete(p.conns, v)
		} else if q.site == as.site && q.kind == as.kind {
			n++
		}
	}
	if p.closed || n >= maxConns {
		return false
	}
	if p.conns == nil {
		p.conns = make(map[*wire]pin)
	}
	p.conns[w] = as
	return true
}

// sweep closes the connections whose certificate is not their member's any more.
func (p *pins) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w, as := range p.conns {
		if p.siteOf(as.cert) != as.site {
			_ = w.Close()
			delete(p.conns, w)
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// closeAll closes all connections, and those that come later.
func (p *pins) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for w := range p.conns {
		_ = w.Close()
	}
	clear(p.conns)
}
