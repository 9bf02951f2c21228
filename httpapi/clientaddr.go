package httpapi

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// proxies are the networks of the reverse proxies that are believed when they say
// for whom they ask. Nobody else is: whoever sends a request can write such a
// header. No header says who somebody is.
type proxies []netip.Prefix

// clientAddr returns the address of the client that sent a request, without a
// zone: that of the connection, unless that is a trusted proxy's; then the
// nearest one in X-Forwarded-For that isn't. It is the zero Addr for the admin
// socket, which has no addresses.
func (s *Server) clientAddr(r *http.Request) netip.Addr {
	addr := peerAddr(r.RemoteAddr)
	if !s.proxies.trust(addr) {
		return addr
	}
	for _, line := range slices.Backward(r.Header["X-Forwarded-For"]) {
		for rest, more := line, true; more; {
			var one string
			if i := strings.LastIndexByte(rest, ','); i >= 0 {
				rest, one = rest[:i], rest[i+1:]
			} else {
				one, more = rest, false
			}
			next := forwardedAddr(strings.TrimSpace(one))
			// What stands before one that is none nobody vouches for. Nor has a client an
			// address that is this machine's own, or the proxy's; another proxy may.
			if !next.IsValid() || next.IsLoopback() && !s.proxies.trust(next) {
				return addr
			}
			if addr = next; !s.proxies.trust(addr) {
				return addr
			}
		}
	}
	return addr
}

// unlimited reports whether who sent a request has no limits: it came through the
// admin socket, or over a connection from this machine that is no trusted proxy's.
func (s *Server) unlimited(r *http.Request) bool {
	peer := peerAddr(r.RemoteAddr)
	return !peer.IsValid() || peer.IsLoopback() && !s.proxies.trust(peer)
}

// overTLS reports whether the client's own connection is encrypted: that to this
// node, or that to a trusted proxy, as that says.
func (s *Server) overTLS(r *http.Request) bool {
	return r.TLS != nil || s.proxiedTLS(r)
}

// proxiedTLS reports whether a trusted proxy says that it was asked over TLS.
func (s *Server) proxiedTLS(r *http.Request) bool {
	said := r.Header["X-Forwarded-Proto"]
	return len(said) == 1 && strings.EqualFold(said[0], "https") && s.proxies.trust(peerAddr(r.RemoteAddr))
}

func (p proxies) trust(addr netip.Addr) bool {
	for _, network := range p {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// peerAddr returns the address of the other end of a connection, zero if it has
// none.
func peerAddr(hostport string) netip.Addr {
	ap, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return netip.Addr{}
	}
	return plainAddr(ap.Addr())
}

// forwardedAddr parses an element of X-Forwarded-For, which some proxies write
// with a port or in brackets. It is zero if it is none.
func forwardedAddr(text string) netip.Addr {
	if addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")); err == nil {
		return plainAddr(addr)
	}
	return peerAddr(text)
}

// plainAddr gives each address one form.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// forwarded reports whether a request says that it comes from somebody else than
// who sent it, trusted or not: then its connection does not tell who asks.
func forwarded(r *http.Request) bool {
	for _, name := range [...]string{
		"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server",
		"X-Real-Ip", "X-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "X-Original-Forwarded-For",
	} {
		if r.Header[name] != nil {
			return true
		}
	}
	return false
}

// clientNet returns what stands for a client in limits: its address, or with IPv6
// the /64 of it, of which each client has as many addresses as it likes.
func clientNet(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return a
	}
	p, _ := a.Prefix(64) // fails only for more bits than there are
	return p.Addr()
}
