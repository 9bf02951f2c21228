package httpapi

import (
	"cmp"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// connLimits bound the TCP connections of a listener. A connection is half-open
// until a whole request header has come; the TLS handshake belongs to that.
type connLimits struct {
	all      int
	address  int // of one address, or /64 of IPv6; those of proxies and of this machine stand for many
	halfOpen int
	// young is for how long one may be half-open before it goes ahead of those that
	// are idle: clients come in crowds, and send what they want at once.
	young time.Duration
}

// Conns say how many connections of clients a listener keeps. Zero is the default:
// 2000 in all, 500 of an address (a /64 of IPv6) that is no trusted proxy's and not
// this machine's.
type Conns struct{ All, Address int }

func (c Conns) limits() connLimits {
	l := defaultConns
	l.all, l.address = cmp.Or(c.All, l.all), cmp.Or(c.Address, l.address)
	return l
}

// defaultConns lets an office behind one address have builds on all its machines.
var defaultConns = connLimits{all: 2000, address: 500, halfOpen: 256, young: time.Second}

// fairShare is the part of all half-open connections that one address may have
// before its own are closed first.
const fairShare = 8

// conns are the connections of a listener. Where there are too many, one that
// waits for its client is closed for the new one: the oldest half-open one if it is
// no longer young, else the one that is idle for longest, else the oldest half-open
// one; the new one only where all others are at work.
type conns struct {
	connLimits
	server *Server

	mu   sync.Mutex // guards what follows
	open map[net.Conn]*conn
	// half are those that are half-open; in the order in which they came, as far as
	// next and prev go.
	half    conn // the ends of the list: next is the oldest
	halves  int
	clients map[netip.Addr]*clientConns
}

// conn is a connection, guarded by conns.mu.
type conn struct {
	net.Conn
	client     netip.Addr // zero if it has no limit of its own
	since      time.Time  // when it came
	next, prev *conn      // in conns.half; nil if it isn't half-open
	preface    bool       // it speaks HTTP/2, and has said so
	idle       time.Time  // since when; zero if it isn't
}

// clientConns counts the connections of a client.
type clientConns struct{ all, half int }

func newConns(s *Server) *conns {
	c := &conns{connLimits: s.conns, server: s, open: map[net.Conn]*conn{}, clients: map[netip.Addr]*clientConns{}}
	c.half.next, c.half.prev = &c.half, &c.half
	return c
}

// changed is the ConnState hook of an http.Server.
func (c *conns) changed(nc net.Conn, state http.ConnState) {
	var victim net.Conn
	c.mu.Lock()
	switch state {
	case http.StateNew:
		victim = c.add(nc)
	case http.StateActive:
		if one := c.open[nc]; one != nil {
			c.active(one)
		}
	case http.StateIdle:
		if one := c.open[nc]; one != nil && one.next == nil {
			one.idle = time.Now()
		}
	case http.StateClosed, http.StateHijacked:
		c.remove(nc)
	}
	c.mu.Unlock()
	if victim != nil {
		closeNow(victim)
	}
}

// add takes a new connection in, and returns the one that has to go for it, which
// may be the new one itself.
func (c *conns) add(nc net.Conn) (victim net.Conn) {
	one := &conn{Conn: nc, client: c.clientOf(nc), since: time.Now()}
	c.open[nc] = one
	c.halves++
	one.next, one.prev = &c.half, c.half.prev
	one.prev.next, one.next.prev = one, one
	of := c.clients[one.client]
	if of == nil {
		of = &clientConns{}
		c.clients[one.client] = of
	}
	of.all++
	of.half++
	own := one.client.IsValid()
	var v *conn
	switch {
	case own && of.all > c.address:
		v = c.pick(one, true)
	case c.halves > c.halfOpen && one.since.Sub(c.half.next.since) >= c.young:
		v = c.oldestHalf(one, own && of.half > c.halfOpen/fairShare)
	case len(c.open) > c.all:
		v = c.pick(one, false)
	}
	if v == nil {
		return nil
	}
	c.remove(v.Conn) // it counts no more, though its goroutine may take a moment to end
	return v.Conn
}

// pick returns the connection that can be spared most: of the same client only, or
// of all. It is the new one if there is no other.
func (c *conns) pick(one *conn, own bool) *conn {
	half := c.oldestHalf(one, own)
	if half != one && one.since.Sub(half.since) >= c.young {
		return half
	}
	v := one
	for _, o := range c.open {
		if !o.idle.IsZero() && (!own || o.client == one.client) && (v == one || o.idle.Before(v.idle)) {
			v = o
		}
	}
	if v == one {
		return half
	}
	return v
}

// oldestHalf returns the half-open connection that came first: of the same client
// only, or of all.
func (c *conns) oldestHalf(one *conn, own bool) *conn {
	v := c.half.next
	for v != one && own && v.client != one.client {
		v = v.next
	}
	return v
}

// active notes that a request has come in whole. HTTP/2 says so once before the
// first request, too, when the client has said that it speaks it.
func (c *conns) active(one *conn) {
	one.idle = time.Time{}
	if one.next == nil {
		return
	}
	if t, ok := one.Conn.(*tls.Conn); ok && !one.preface && t.ConnectionState().NegotiatedProtocol == "h2" {
		one.preface = true
		return
	}
	c.settle(one)
}

// settle takes a connection out of those that are half-open.
func (c *conns) settle(one *conn) {
	one.next.prev, one.prev.next = one.prev, one.next
	one.next, one.prev = nil, nil
	c.halves--
	c.clients[one.client].half--
}

// remove forgets a connection, if it is still known.
func (c *conns) remove(nc net.Conn) {
	one := c.open[nc]
	if one == nil {
		return
	}
	if one.next != nil {
		c.settle(one)
	}
	delete(c.open, nc)
	of := c.clients[one.client]
	if of.all--; of.all == 0 {
		delete(c.clients, one.client)
	}
}

// clientOf returns whose connection it is, zero if it is of a proxy, which speaks
// for many, or of this machine.
func (c *conns) clientOf(nc net.Conn) netip.Addr {
	remote, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	a := plainAddr(remote.AddrPort().Addr())
	if a.IsLoopback() || c.server.proxies.trust(a) {
		return netip.Addr{}
	}
	return clientNet(a)
}

// closeNow closes a connection without a word to the client, for which a TLS
// connection would wait.
func closeNow(nc net.Conn) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	nc.Close() // whatever it says, it is gone
}
