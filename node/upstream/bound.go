package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Origin returns scheme, host and port of u, to which a credential is bound, as
// a URL: lower case, and without the port that the scheme implies.
func Origin(u *url.URL) string { return originURL(u).String() }

func originURL(u *url.URL) *url.URL {
	o := &url.URL{Scheme: strings.ToLower(u.Scheme), Host: strings.ToLower(u.Host)}
	if port := u.Port(); port != "" && port == defaultPorts[o.Scheme] {
		o.Host = strings.TrimSuffix(o.Host, ":"+port)
	}
	return o
}

var defaultPorts = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}

// use is the credential of one request, which it is bound to, and that of the
// proxy it goes through.
type use struct {
	origin     string
	credential Credential
	// proxy is written while the request is sent and read when that is over.
	proxy Credential
}

type useKey struct{}

// use returns the credential for a request to e as it is now.
func (c *Client) use(e entry) (*use, error) {
	u := &use{origin: Origin(e.url)}
	if c.opts.Credential != nil && c.configured[u.origin] {
		var err error
		if u.credential, err = c.opts.Credential(originURL(e.url)); err != nil {
			return u, err
		}
	}
	if u.credential.secret() == nil && e.user != nil {
		password, _ := e.user.Password()
		u.credential = basic(e.user.Username(), password)
	}
	return u, u.check(e.url, c.opts.InsecureHosts)
}

// check refuses to send a secret where others can read it.
func (u *use) check(to *url.URL, insecure []string) error {
	s := u.credential.secret()
	switch {
	case s == nil || to.Scheme == "https":
		return nil
	case s.cert != nil:
		return fmt.Errorf("the credential for %s is a client certificate, which needs https", u.origin)
	case isLoopback(to.Hostname()) || slices.Contains(insecure, to.Hostname()) || slices.Contains(insecure, to.Host):
		return nil
	}
	return fmt.Errorf("the credential for %s would go over plain http, where others can read it: use https, or accept it for this host", u.origin)
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// stays reports whether r and all requests that were redirected to it are for
// the origin of u. Who left it has left it, also after coming back.
func (u *use) stays(r *http.Request) bool {
	for Origin(r.URL) == u.origin {
		if r.Response == nil {
			return true
		}
		r = r.Response.Request
	}
	return false
}

// withheld returns e without what repeats a secret: an upstream may echo what it
// was sent, or redirect to a name made of it.
func (u *use) withheld(e *Error) *Error {
	if u == nil {
		return e
	}
	for _, c := range []Credential{u.credential, u.proxy} {
		if c.isIn(e.Detail) || c.names(e.Detail) {
			e.Detail = ""
		}
		if e.Err != nil && c.isIn(e.Err.Error()) {
			e.Err = errEchoes
		}
	}
	return e
}

var errEchoes = errors.New("the reason is not shown, as it repeats the credential")

// bound is the transport of a Client. It adds the credential of a request, which
// is in the request's context and nowhere else, so that what is copied from one
// request to the next on a redirect never has it.
type bound struct {
	plain *http.Transport
	fresh func() *http.Transport // returns one like plain

	mu    sync.Mutex
	certs map[string]*certified // by origin; guarded by mu
}

// certified is a transport whose connections a client certificate was used for.
type certified struct {
	*http.Transport
	secret *secret
}

func newBound(fresh func() *http.Transport) *bound {
	return &bound{plain: fresh(), fresh: fresh, certs: make(map[string]*certified)}
}

// RoundTrip implements http.RoundTripper.
func (b *bound) RoundTrip(r *http.Request) (*http.Response, error) {
	u, _ := r.Context().Value(useKey{}).(*use)
	if u == nil || u.credential.secret() == nil || !u.stays(r) {
		return b.plain.RoundTrip(r)
	}
	s := u.credential.secret()
	if s.cert != nil {
		return b.roundTripCertified(r, u.origin, s)
	}
	out := r.Clone(r.Context())
	out.Header.Set(s.header, s.value)
	resp, err := b.plain.RoundTrip(out)
	if resp != nil {
		resp.Request = r
	}
	return resp, err
}

func (b *bound) roundTripCertified(r *http.Request, origin string, s *secret) (*http.Response, error) {
	// The handshake with an https proxy would use the certificate as well.
	if p, err := b.plain.Proxy(r); err != nil || p != nil && p.Scheme == "https" {
		return nil, cmp.Or(err, fmt.Errorf("the credential for %s is a client certificate, which can't be used through an https proxy", origin))
	}
	return b.certifiedFor(origin, s).RoundTrip(r)
}

// certifiedFor returns the transport for an origin. It is another one when the
// certificate has changed.
func (b *bound) certifiedFor(origin string, s *secret) *http.Transport {
	b.mu.Lock()
	defer b.mu.Unlock()
	have := b.certs[origin]
	if have != nil && have.secret.certID == s.certID {
		return have.Transport
	}
	if have != nil {
		have.CloseIdleConnections()
	}
	t := b.fresh()
	t.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.cert, nil }
	b.certs[origin] = &certified{t, s}
	return t
}

// CloseIdleConnections is what http.Client.CloseIdleConnections calls.
func (b *bound) CloseIdleConnections() {
	b.plain.CloseIdleConnections()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.certs {
		c.CloseIdleConnections()
	}
}

// withUse returns ctx for requests with u.
func withUse(ctx context.Context, u *use) context.Context {
	return context.WithValue(ctx, useKey{}, u)
}
