package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var errRedirect = errors.New("redirect refused")

const maxRedirects = 10 // as the go command

// guard decides where connections may go. Hosts that were configured (upstream
// entries, the checksum database, HTTP proxies) may be anywhere. Any other host
// was named by an upstream in a redirect: it may not be link-local, where clouds
// keep their metadata services, and it may be inside (loopback, private) only if
// a configured host is inside as well. The address is judged when it is dialed,
// so that no name can resolve to one thing for a check and another for use.
type guard struct {
	dialer net.Dialer
	known  sync.Map    // lower-case "host:port" → true
	inside atomic.Bool // a configured host was reached at an inside address
}

func newGuard(connect time.Duration) *guard {
	return &guard{dialer: net.Dialer{Timeout: connect, KeepAlive: 30 * time.Second}}
}

// trust adds u's host to the configured ones.
func (g *guard) trust(u *url.URL) {
	if u.Host != "" {
		g.known.Store(hostPort(u), true)
	}
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return strings.ToLower(net.JoinHostPort(u.Hostname(), port))
}

// proxy is http.ProxyFromEnvironment; the proxy it names is trusted.
func (g *guard) proxy(r *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(r)
	if u != nil {
		g.trust(u)
	}
	return u, err
}

func (g *guard) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if _, ok := g.known.Load(strings.ToLower(addr)); !ok {
		d := g.dialer
		d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			return g.check(address)
		}
		return d.DialContext(ctx, network, addr)
	}
	conn, err := g.dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if ap, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil && isInside(ap.Addr().Unmap()) {
		g.inside.Store(true)
	}
	return conn, nil
}

// check judges the address of a host that is not configured.
func (g *guard) check(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errAddress, address, err)
	}
	ip := ap.Addr().Unmap()
	if ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || ip == netip.IPv4Unspecified() {
		return fmt.Errorf("%w: a redirect leads to %s", errAddress, ip)
	}
	if isInside(ip) && !g.inside.Load() {
		return fmt.Errorf("%w: a redirect of an upstream outside leads to %s inside", errAddress, ip)
	}
	return nil
}

var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")

func isInside(ip netip.Addr) bool {
	return ip.IsLoopback() || ip.IsPrivate() || carrierNAT.Contains(ip)
}

// checkRedirect is the redirect policy: at most 10, http(s) only, never from
// https to http, and credentials only as long as scheme, host and port are those
// of the first request. (net/http would keep them for subdomains and ports.)
func checkRedirect(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) >= maxRedirects:
		return fmt.Errorf("%w: more than %d", errRedirect, maxRedirects)
	case r.URL.Scheme != "http" && r.URL.Scheme != "https":
		return fmt.Errorf("%w: to scheme %q", errRedirect, r.URL.Scheme)
	case first.Scheme == "https" && r.URL.Scheme == "http":
		return fmt.Errorf("%w: from https to http at %s", errRedirect, r.URL.Host)
	}
	r.URL.User = nil
	for _, hop := range slices.Concat(via[1:], []*http.Request{r}) {
		if hop.URL.Scheme != first.Scheme || hostPort(hop.URL) != hostPort(first) {
			r.Header.Del("Authorization")
		}
	}
	return nil
}
