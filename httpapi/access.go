package httpapi

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/labstack/echo/v4"

	"registry-node/node"
)

// Trust says what the requests of a listener may do, as long as users have no
// identities. Everybody may read modules, health, status and replication.
type Trust int

const (
	// Public requests come from anywhere: they may not manage or publish.
	Public Trust = iota
	// Loopback requests come over TCP from this machine, so they may do
	// everything; but a browser on this machine may be led here by a page from
	// elsewhere, so the Host must be one of this machine.
	Loopback
	// Admin requests come through the socket in the data directory. Who can open
	// that is an administrator.
	Admin
)

// TrustOf returns the trust of a listener at addr.
func TrustOf(addr net.Addr) Trust {
	switch a := addr.(type) {
	case *net.UnixAddr:
		return Admin
	case *net.TCPAddr:
		if a.IP.IsLoopback() {
			return Loopback
		}
	}
	return Public
}

// actor is the name under which what these requests write is recorded.
func (t Trust) actor() string {
	if t == Admin {
		return "admin"
	}
	return "local"
}

// local refuses requests that a page from elsewhere sent by way of somebody's
// browser.
func (s *Server) local(t Trust) echo.MiddlewareFunc {
	origins := http.NewCrossOriginProtection()
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			if err := origins.Check(r); err != nil {
				return fail(node.ErrForbidden, "this request comes from a page of another origin")
			}
			if t == Loopback && !isLoopback(r.Host) {
				return fail(node.ErrForbidden, "the Host of this request is "+quote(r.Host)+", which is not one of this machine; use 127.0.0.1, [::1] or localhost")
			}
			return next(c)
		}
	}
}

// admin refuses what Public requests may not do.
func (s *Server) admin(t Trust) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		if t != Public {
			return next
		}
		return func(echo.Context) error {
			return fail(node.ErrForbidden, "this address takes no writes and no management; on the node's own machine, use registry-node … --data DIR")
		}
	}
}

// isLoopback reports whether a Host header names this machine itself.
func isLoopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
