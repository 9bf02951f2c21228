package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// link passes connections to an address, every byte as late as the delay says,
// and none while it is cut. It ends with its context.
type link struct {
	listener net.Listener
	to       string
	delay    time.Duration // each way
	ctx      context.Context
	wg       sync.WaitGroup

	mu   sync.Mutex // guards the following
	cut  bool
	open map[net.Conn]bool
}

// newLink listens at an address of this machine. A link to port 0 goes to its
// own port at the other address.
func newLink(ctx context.Context, at, to string, delay time.Duration) (*link, error) {
	listener, err := net.Listen("tcp", at)
	if err != nil {
		return nil, err
	}
	if host, port, err := net.SplitHostPort(to); err == nil && port == "0" {
		to = fmt.Sprintf("%s:%d", host, listener.Addr().(*net.TCPAddr).Port)
	}
	l := &link{listener: listener, to: to, delay: delay, ctx: ctx, open: map[net.Conn]bool{}}
	context.AfterFunc(ctx, func() { l.setCut(true); listener.Close() })
	l.wg.Go(l.accept)
	return l, nil
}

func (l *link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.wg.Go(func() { l.pass(near) })
	}
}

// setCut cuts the link, with the connections that go over it, or mends it.
func (l *link) setCut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	if cut {
		for c := range l.open {
			c.Close()
		}
	}
}

// keep notes an end of a connection; it reports whether there may be any.
func (l *link) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[c] = true
	return !l.cut
}

func (l *link) drop(c net.Conn) {
	c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
}

func (l *link) pass(near net.Conn) {
	defer l.drop(near)
	far, err := new(net.Dialer).DialContext(l.ctx, "tcp", l.to)
	if err != nil {
		return
	}
	defer l.drop(far)
	if !l.keep(near) || !l.keep(far) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.carry(far, near); far.Close(); near.Close() })
	both.Go(func() { l.carry(near, far); far.Close(); near.Close() })
	both.Wait()
}

// parcel is some bytes on their way.
type parcel struct {
	text []byte
	due  time.Time
}

// carry carries bytes in one direction until an end is closed.
func (l *link) carry(to io.Writer, from io.Reader) {
	way := make(chan parcel, 4096)
	gone := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(way)
	wg.Go(func() {
		defer close(gone)
		for p := range way {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.text); err != nil {
				return
			}
		}
	})
	for {
		text := make([]byte, 64<<10)
		n, err := from.Read(text)
		if n > 0 {
			select {
			case way <- parcel{text[:n], time.Now().Add(l.delay)}:
			case <-gone:
				return
			}
		}
		if err != nil {
			return
		}
	}
}
