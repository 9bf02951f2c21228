package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

var errRedirect = errors.New("redirect refused")

const maxRedirects = 10 // as the go command

// guard decides where connections may go. Hosts that were configured (upstream
// entries, the checksum database, proxies) come under Inside.CheckConfigured;
// any other host and port was named by an upstream in a redirect and comes under
// Inside.Check. The address is judged when it is dialed, so that no name can
// resolve to one thing for a check and another for use.
type guard struct {
	dialer net.Dialer
	inside Inside
	known  sync.Map // lower-case "host:port" → true
}

func newGuard(connect time.Duration, inside Inside) *guard {
	return &guard{dialer: net.Dialer{Timeout: connect, KeepAlive: 30 * time.Second}, inside: inside}
}

// trust adds u's host to the configured ones.
func (g *guard) trust(u *url.URL) {
	if u.Host != "" {
		g.known.Store(hostPort(u), true)
	}
}

func (g *guard) trusts(addr string) bool {
	_, ok := g.known.Load(strings.ToLower(addr))
	return ok
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = defaultPorts[u.Scheme]
	}
	return strings.ToLower(net.JoinHostPort(u.Hostname(), port))
}

func (g *guard) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := g.dialer
	configured := g.trusts(addr)
	d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		return g.check(address, configured)
	}
	return d.DialContext(ctx, network, addr)
}

// check judges an address that is about to be connected to.
func (g *guard) check(address string, configured bool) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errAddress, address, err)
	}
	if configured {
		return g.inside.CheckConfigured(ap.Addr())
	}
	return g.inside.Check(ap.Addr())
}

// checkRedirect is the redirect policy: at most 10, http(s) only, never from
// https to http, and to no address that the guard refuses, which the dialer
// does not see if the way leads through a proxy. Credentials are none of its
// business (see bound).
func (g *guard) checkRedirect(r *http.Request, via []*http.Request) error {
	switch {
	case len(via) >= maxRedirects:
		return fmt.Errorf("%w: more than %d", errRedirect, maxRedirects)
	case r.URL.Scheme != "http" && r.URL.Scheme != "https":
		return fmt.Errorf("%w: to scheme %q", errRedirect, clip(r.URL.Scheme))
	case via[0].URL.Scheme == "https" && r.URL.Scheme == "http":
		return fmt.Errorf("%w: from https to http at %s", errRedirect, r.URL.Host)
	}
	r.URL.User = nil // an upstream's own idea of a credential
	if ip, err := netip.ParseAddr(r.URL.Hostname()); err == nil && !g.trusts(hostPort(r.URL)) {
		return g.inside.Check(ip)
	}
	return nil
}
