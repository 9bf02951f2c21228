package httpapi

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// farConn is a connection from an address that this machine does not have.
type farConn struct {
	net.Conn
	from   net.Addr
	closed bool
}

func (c *farConn) RemoteAddr() net.Addr { return c.from }
func (c *farConn) Close() error         { c.closed = true; return nil }

// crowd is a conns with connections in it, by name.
type crowd struct {
	*conns
	named map[string]*farConn
}

func newCrowd(l connLimits) crowd {
	return crowd{newConns(&Server{conns: l, proxies: proxies{netip.MustParsePrefix("10.0.0.0/8")}}), map[string]*farConn{}}
}

// come has connections come from an address and get into a state.
func (c crowd) come(from string, state http.ConnState, names ...string) {
	for _, name := range names {
		one := &farConn{from: &net.TCPAddr{IP: net.ParseIP(from), Port: 1}}
		c.named[name] = one
		c.changed(one, http.StateNew)
		if state != http.StateNew {
			c.changed(one, http.StateActive)
		}
		if state == http.StateIdle {
			c.changed(one, http.StateIdle)
			c.open[one].idle = time.Now().Add(time.Duration(len(c.named)) * time.Millisecond) // the clock may not have ticked
		}
	}
}

func (c crowd) closed(t *testing.T, want ...string) {
	t.Helper()
	shut := map[string]bool{}
	for name, one := range c.named {
		shut[name] = one.closed
	}
	for _, name := range want {
		if !shut[name] {
			t.Errorf("%s is not closed", name)
		}
		delete(shut, name)
	}
	for name, is := range shut {
		if is {
			t.Errorf("%s is closed", name)
		}
	}
}

const (
	here  = "192.0.2.1"
	there = "192.0.2.2"
)

// TestConnsSpareThoseAtWork fills a listener, and says for each new connection who
// has to go.
func TestConnsSpareThoseAtWork(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   connLimits
		fill func(crowd)
		want []string
	}{
		{"room", connLimits{3, 3, 3, 0}, func(c crowd) { c.come(here, http.StateNew, "a", "b", "c") }, nil},
		{"half-open", connLimits{9, 9, 2, 0}, func(c crowd) { c.come(here, http.StateNew, "a", "b", "c", "d") }, []string{"a", "b"}},
		{"half-open, of others first", connLimits{99, 99, 16, 0}, func(c crowd) {
			c.come(there, http.StateNew, "t")
			c.come(here, http.StateNew, names("h", 15)...)
			c.come(there, http.StateNew, "u") // no more than its share: the oldest of all
		}, []string{"t"}},
		{"half-open, own first", connLimits{99, 99, 16, 0}, func(c crowd) {
			c.come(there, http.StateNew, "t")
			c.come(here, http.StateNew, names("h", 17)...)
		}, []string{"h0", "h1"}},
		{"all half-open", connLimits{3, 9, 9, 0}, func(c crowd) {
			c.come(here, http.StateIdle, "i")
			c.come(here, http.StateNew, "n")
			c.come(there, http.StateActive, "a", "b")
		}, []string{"n"}},
		{"all half-open lately", connLimits{3, 9, 9, time.Hour}, func(c crowd) {
			c.come(here, http.StateIdle, "i")
			c.come(there, http.StateNew, "n", "o", "p", "q")
		}, []string{"i", "n"}},
		{"one client half-open lately", connLimits{9, 3, 9, time.Hour}, func(c crowd) {
			c.come(there, http.StateIdle, "t")
			c.come(here, http.StateIdle, "i", "j")
			c.come(here, http.StateNew, "n", "o", "p", "q")
		}, []string{"i", "j", "n"}},
		{"all idle", connLimits{3, 9, 9, 0}, func(c crowd) {
			c.come(here, http.StateActive, "a")
			c.come(here, http.StateIdle, "i", "j")
			c.come(there, http.StateActive, "b")
		}, []string{"i"}},
		{"all at work", connLimits{3, 9, 9, 0}, func(c crowd) {
			c.come(here, http.StateActive, "a", "b", "c")
			c.come(there, http.StateNew, "d")
		}, []string{"d"}},
		{"one client", connLimits{9, 2, 9, 0}, func(c crowd) {
			c.come(there, http.StateNew, "t")
			c.come(here, http.StateActive, "a", "b")
			c.come(here, http.StateNew, "c")
			c.come(there, http.StateActive, "u")
		}, []string{"c"}},
		{"one client idle", connLimits{9, 2, 9, 0}, func(c crowd) {
			c.come(there, http.StateIdle, "t")
			c.come(here, http.StateIdle, "a", "b", "c")
		}, []string{"a"}},
		{"one network", connLimits{9, 2, 9, 0}, func(c crowd) {
			c.come("2001:db8::1", http.StateActive, "a")
			c.come("2001:db8::2", http.StateActive, "b")
			c.come("2001:db8::3", http.StateNew, "c")
			c.come("2001:db8:1::3", http.StateNew, "d")
		}, []string{"c"}},
		{"this machine and proxies", connLimits{99, 1, 99, 0}, func(c crowd) {
			c.come("127.0.0.1", http.StateActive, "a", "b", "c")
			c.come("10.1.2.3", http.StateActive, "d", "e", "f")
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCrowd(tt.in)
			tt.fill(c)
			c.closed(t, tt.want...)
			for _, one := range c.named {
				c.changed(one, http.StateClosed)
			}
			if len(c.open)+len(c.clients)+c.halves != 0 || c.half.next != &c.half || c.half.prev != &c.half {
				t.Errorf("not all is forgotten: %d open, %d clients, %d half-open", len(c.open), len(c.clients), c.halves)
			}
		})
	}
}

func names(prefix string, n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprint(prefix, i))
	}
	return list
}
