package e2e

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// fault is what happens to the bytes that one site sends to another. The zero
// fault is a good link.
type fault struct {
	cut    bool          // connections are closed, and new ones too
	silent bool          // nothing arrives, and nobody is told
	delay  time.Duration // of every byte
	rate   int           // bytes per second; 0: as fast as they come
}

// flow is a direction between two sites.
type flow struct{ from, to string }

// links are the connections between the sites of a world. Each site is dialled
// through a proxy, which does to the bytes what the faults say.
type links struct {
	ctx  context.Context // ends with the test
	wg   sync.WaitGroup
	who  func(dialled net.Conn) string // names the site that dials
	mu   sync.Mutex                    // guards what follows
	all  map[flow]fault
	next chan struct{} // closed when a fault changes
	open map[*passage]bool
}

// passage is one connection through a proxy.
type passage struct {
	dialler, dialled string
	near, far        net.Conn // of the one who dials, and of the one dialled
}

func (p *passage) close() { p.near.Close(); p.far.Close() }

func newLinks(t testing.TB, who func(net.Conn) string) *links {
	ctx, cancel := context.WithCancel(context.Background())
	l := &links{ctx: ctx, who: who, all: map[flow]fault{}, next: make(chan struct{}), open: map[*passage]bool{}}
	t.Cleanup(func() {
		cancel()
		l.mu.Lock()
		for p := range l.open {
			p.close()
		}
		l.mu.Unlock()
		l.wg.Wait()
	})
	return l
}

// proxy passes to a site what is dialled at an address.
func (l *links) proxy(t testing.TB, listener net.Listener, site, address string) {
	context.AfterFunc(l.ctx, func() { listener.Close() })
	l.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				if l.ctx.Err() == nil {
					t.Errorf("proxy of site %s: %v", site, err)
				}
				return
			}
			l.wg.Go(func() { l.pass(conn, site, address) })
		}
	})
}

// pass is one connection through a proxy, to its end.
func (l *links) pass(near net.Conn, site, address string) {
	defer near.Close()
	dialler := l.who(near)
	if dialler == "" {
		return // it is gone, or dials again: nobody passes a cut unnamed
	}
	far, err := new(net.Dialer).DialContext(l.ctx, "tcp", address)
	if err != nil {
		return // the site is down
	}
	defer far.Close()
	p := &passage{dialler: dialler, dialled: site, near: near, far: far}
	if !l.enter(p) {
		return
	}
	defer l.leave(p)
	var both sync.WaitGroup
	both.Go(func() { l.carry(p.far, p.near, flow{dialler, site}); p.close() })
	both.Go(func() { l.carry(p.near, p.far, flow{site, dialler}); p.close() })
	both.Wait()
}

// enter reports whether a connection may be made.
func (l *links) enter(p *passage) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil || l.all[flow{p.dialler, p.dialled}].cut || l.all[flow{p.dialled, p.dialler}].cut {
		return false
	}
	l.open[p] = true
	return true
}

func (l *links) leave(p *passage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, p)
}

// parcel is some bytes on their way.
type parcel struct {
	text []byte
	due  time.Time
}

// carry carries bytes in one direction until either end is closed.
func (l *links) carry(to io.Writer, from io.Reader, f flow) {
	way := make(chan parcel, 256)
	gone := make(chan struct{}) // closed when nothing can be delivered any more
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(way)
	wg.Go(func() {
		defer close(gone)
		for p := range way {
			if !l.deliver(to, p, f) {
				return
			}
		}
	})
	for {
		text := make([]byte, 16<<10)
		n, err := from.Read(text)
		if n > 0 {
			now, _ := l.now(f)
			select {
			case way <- parcel{text[:n], time.Now().Add(now.delay)}:
			case <-gone:
				return
			case <-l.ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// deliver writes a parcel when its time has come and the way is not silent.
func (l *links) deliver(to io.Writer, p parcel, f flow) bool {
	for {
		now, changed := l.now(f)
		wait := time.Until(p.due)
		if now.rate > 0 {
			wait = max(wait, time.Duration(len(p.text))*time.Second/time.Duration(now.rate))
		}
		if now.silent {
			wait = time.Hour
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
			_, err := to.Write(p.text)
			return err == nil
		case <-changed:
			timer.Stop()
		case <-l.ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// now returns the fault of a direction, and what is closed when it changes.
func (l *links) now(f flow) (fault, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[f], l.next
}

// set gives directions a fault.
func (l *links) set(f fault, flows ...flow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range flows {
		l.all[d] = f
	}
	for p := range l.open {
		if l.all[flow{p.dialler, p.dialled}].cut || l.all[flow{p.dialled, p.dialler}].cut {
			p.close()
		}
	}
	close(l.next)
	l.next = make(chan struct{})
}

// heal makes all links good.
func (l *links) heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.all)
	close(l.next)
	l.next = make(chan struct{})
}

// between returns both directions between two sites.
func between(a, b string) []flow { return []flow{{a, b}, {b, a}} }
