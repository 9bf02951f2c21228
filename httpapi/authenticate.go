package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/labstack/echo/v4"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

// Trust says what a listener tells of those who ask there without credentials.
type Trust int

const (
	// Public requests come from anywhere.
	Public Trust = iota
	// Loopback requests come over TCP from this machine.
	Loopback
	// Admin requests come through the socket in the data directory. Who can open
	// that is the operator of the site.
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

// authenticate finds out who asks, and refuses wrong credentials, and what goes
// beyond the limits of who asks, on all paths.
func (s *Server) authenticate(t Trust) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			w, r := c.Response().Writer.(*writer), c.Request()
			who, err := s.whoAsks(r, t)
			w.who = who
			if err != nil {
				s.loginFailed(c, err)
			}
			if e := s.turn(w, r); e != nil {
				return e
			}
			if err != nil {
				return err
			}
			return next(c)
		}
	}
}

func (s *Server) whoAsks(r *http.Request, t Trust) (*access.Caller, error) {
	if t == Admin {
		return access.Operator(s.node.Site()), nil
	}
	from := s.clientAddr(r)
	c, err := credential(r)
	switch {
	case err == nil && c.IsZero() && t == Loopback && s.ownCaller(r):
		return access.LoopbackCaller(from), nil
	case err == nil && c.IsZero():
		return access.Anonymous(from), nil
	}
	kind := byToken
	if _, _, ok := c.Password(); ok {
		kind = byPassword
		done, ok := s.failures.tryPassword(r.Context(), from)
		if !ok {
			return nil, fail(errThrottled, throttledText)
		}
		defer done()
	}
	var who *access.Caller
	if err == nil {
		who, err = s.node.Authenticate(r.Context(), c, from)
	}
	if errors.Is(err, node.ErrUnauthorized) && s.failures.failed(from, kind, sha256.Sum256([]byte(r.Header.Get("Authorization")+"\n"+r.Header.Get(apiKeyHeader)))) {
		err = fail(errThrottled, throttledText)
	}
	return who, err
}

// ownCaller reports whether a request that came over a loopback listener is of
// somebody on this machine, as far as the node can tell: no page from elsewhere led
// a browser here, and nobody forwards it. Trusted proxies do nothing else.
func (s *Server) ownCaller(r *http.Request) bool {
	return (r.Host == "" || isLoopback(r.Host)) && !forwarded(r) && !s.proxies.trust(peerAddr(r.RemoteAddr))
}

// caller returns who asks.
func caller(c echo.Context) *access.Caller { return c.Response().Writer.(*writer).who }

// apiKeyHeader is where clients of an Artifactory show a token, too. It counts below
// /artifactory/ alone.
const apiKeyHeader = "X-Jfrog-Art-Api"

// credential returns what the Authorization header shows: a token as Bearer, or as
// the password in Basic with whatever user name, or as the user name with no
// password, since clients differ in what they let people write; else a user name
// with a password. A token may have the shape of a JWT. In the place of that header
// there may be apiKeyHeader.
func credential(r *http.Request) (access.Credential, error) {
	values, keys := r.Header["Authorization"], r.Header[apiKeyHeader]
	if !isArtifactory(r) {
		keys = nil
	}
	switch {
	case len(keys) > 1, len(keys) > 0 && len(values) > 0:
		return access.Credential{}, fail(node.ErrUnauthorized, "the request shows more than one credential")
	case len(keys) > 0:
		return tokenCredential(keys[0])
	case len(values) == 0:
		return access.Credential{}, nil
	}
	bad := fail(node.ErrUnauthorized, "the Authorization header has neither a token as Bearer, nor Basic with a token for the password, nor a user name with a password")
	scheme, rest, _ := strings.Cut(values[0], " ")
	rest = strings.TrimLeft(rest, " ")
	switch {
	case len(values) > 1:
		return access.Credential{}, fail(node.ErrUnauthorized, "the request has more than one Authorization header")
	case strings.EqualFold(scheme, "Bearer"):
		return tokenCredential(rest)
	case !strings.EqualFold(scheme, "Basic"):
		return access.Credential{}, bad
	}
	text, err := base64.StdEncoding.DecodeString(rest)
	user, password, ok := strings.Cut(string(text), ":")
	name := strings.ToLower(user) // ours are, and the JFrog CLI sends others, too
	switch {
	case err != nil || !ok:
		return access.Credential{}, bad
	case strings.HasPrefix(access.Bare(password), access.TokenPrefix):
		return tokenCredential(password)
	case password == "" && strings.HasPrefix(access.Bare(user), access.TokenPrefix):
		return tokenCredential(user)
	case password == "" || events.CheckUserName(name) != nil:
		return access.Credential{}, bad
	}
	return access.PasswordCredential(name, password), nil
}

func tokenCredential(s string) (access.Credential, error) {
	t, err := access.ParseToken(access.Bare(s))
	if err != nil {
		return access.Credential{}, &node.Error{Kind: node.ErrUnauthorized, Text: "what the request shows is no token of a registry: it is cut short, or a character of it is wrong", Err: err}
	}
	return access.TokenCredential(t), nil
}

// ownPages refuses requests that a page from elsewhere sent by way of somebody's
// browser.
func ownPages() echo.MiddlewareFunc {
	origins := http.NewCrossOriginProtection()
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if err := origins.Check(c.Request()); err != nil {
				return fail(node.ErrForbidden, "this request comes from a page of another origin")
			}
			return next(c)
		}
	}
}

// isLoopback reports whether a Host header names this machine itself. A page from
// elsewhere may lead a browser on this machine here under another name.
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

const throttledText = "too many wrong credentials came from this address; tokens that are right are taken all the same, passwords again in a minute"
