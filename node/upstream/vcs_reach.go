package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// errPolicy: a rule of this node stops what was asked; the class is ErrForbidden.
var errPolicy = errors.New("not allowed")

// Bounds of requests of this node to VCS hosts.
const (
	vcsConnect   = 10 * time.Second
	vcsRequest   = 2 * time.Minute // body included
	vcsRequests  = 64              // at a time
	slotWait     = 30 * time.Second
	vcsRedirects = 5
	vcsHosts     = 4096                    // of which it is remembered whether they are down
	vcsUserAgent = "git/2 (registry-node)" // some hosts tell git and browsers apart by the name
)

// reach makes all connections of a VCS, its own and those of the commands, and
// judges the address of each when it is dialed, so that no name can resolve to
// one thing for a check and another for use.
//
// Behind an HTTP proxy of the environment the addresses are those that the proxy
// finds, and cannot be judged here; names and allow lists still are.
type reach struct {
	guard      *guard // knows the proxies; every other host was named by somebody outside
	insecure   []string
	through    Proxy
	credential func(*url.URL) (Credential, error)
	reroute    func(string) string
	tls        *tls.Config
	web        *http.Client
	breakers   *breakers // by host
	slots      *slots    // one for each page and list of refs that is being read
}

func newReach(c VCSConfig) (*reach, error) {
	config, err := tlsOf(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("authorities to trust: %w", err)
	}
	r := &reach{
		guard:   newGuard(vcsConnect, c.Inside),
		through: c.Proxy, credential: c.Credential, reroute: c.reroute, tls: config,
		slots:    newSlots("requests to VCS hosts", vcsRequests, slotWait, slotWait),
		breakers: newBreakers(offlineFor(c.OfflineFor)),
	}
	r.breakers.most = vcsHosts
	for _, h := range c.InsecureHosts {
		r.insecure = append(r.insecure, strings.ToLower(h))
	}
	r.web = &http.Client{
		Timeout:       vcsRequest,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  r.proxy,
			OnProxyConnectResponse: proxyAnswered,
			DialContext:            r.dial,
			TLSClientConfig:        config,
			TLSHandshakeTimeout:    vcsConnect,
			ResponseHeaderTimeout:  time.Minute,
			MaxIdleConnsPerHost:    8,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 256 << 10,
			ForceAttemptHTTP2:      true,
		},
	}
	return r, nil
}

// tlsOf returns the TLS settings for a PEM file of authorities, or for the
// system's if there is none.
func tlsOf(caFile string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return config, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM", caFile)
	}
	return config, nil
}

func (r *reach) close() { r.web.CloseIdleConnections() }

// proxy returns the proxy for a request, nil if there is none. The proxy may be
// anywhere.
func (r *reach) proxy(hr *http.Request) (*url.URL, error) {
	found, err := r.through.of(hr)
	if found == nil || err != nil {
		return nil, err
	}
	r.guard.trust(found)
	u := *found
	if r.credential != nil {
		c, err := r.credential(originURL(&u))
		if err != nil {
			return nil, err
		}
		if s := c.secret(); s != nil {
			if s.user == "" && s.password == "" {
				return nil, fmt.Errorf("the credential for the proxy %s is not user and password, the only kind for proxies", Origin(&u))
			}
			u.User = url.UserPassword(s.user, s.password)
			if sent, ok := hr.Context().Value(useKey{}).(*use); ok {
				sent.proxy = c
			}
		}
	}
	return &u, nil
}

// login returns the credential for u's origin, nil for none and for plain http.
// See classOfLogin for the error.
func (r *reach) login(u *url.URL) (*secret, error) {
	if r.credential == nil || u.Scheme != "https" {
		return nil, nil
	}
	c, err := r.credential(originURL(u))
	s := c.secret()
	if err != nil || s == nil {
		return nil, err
	}
	if s.header == "" {
		return nil, fmt.Errorf("%w: the credential for %s is a client certificate, which is not shown to VCS hosts", errPolicy, Origin(u))
	}
	return s, nil
}

// classOfLogin returns the class of an error of login: a credential that can't be
// used is a matter of policy, one that can't be had is a fault of this site.
func classOfLogin(err error) error {
	if errors.Is(err, errPolicy) {
		return ErrForbidden
	}
	return ErrUnavailable
}

// dial connects to addr, a host and port, if its address may be reached.
func (r *reach) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := r.guard.dialer
	configured := r.guard.trusts(addr)
	d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		if err := r.check(address, configured); err != nil {
			return &insideError{addr, err}
		}
		return nil
	}
	to := addr
	if r.reroute != nil {
		to = r.reroute(addr)
	}
	conn, err := d.DialContext(ctx, network, to)
	if inside, ok := errors.AsType[*insideError](err); ok {
		return nil, inside // the dialer's text has the address
	}
	return conn, withoutAddresses(err)
}

// check judges an address that is about to be dialed.
func (r *reach) check(address string, configured bool) error {
	if err := r.guard.check(address, configured); err != nil {
		return fmt.Errorf("%w: %w", errPolicy, err)
	}
	return nil
}

// checkHost refuses hosts by their text: literal addresses inside, localhost, and
// numbers in forms that only some take for addresses.
// What a name resolves to is judged when it is dialed; this is so that nothing
// inside is asked of a proxy either.
func (r *reach) checkHost(host string) error {
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return r.check(netip.AddrPortFrom(ip, 443).String(), false)
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return r.check("127.0.0.1:443", false)
	}
	if isNumber(host[strings.LastIndexByte(host, '.')+1:]) {
		return fmt.Errorf("%w: host %s ends with a number, so that it may be taken for an address in another form", errPolicy, clip(host))
	}
	return nil
}

// isNumber reports whether the last label of a host makes it a number to
// resolvers that know more forms of addresses (127.1, 0x7f.1, 2130706433).
func isNumber(label string) bool {
	digits := "0123456789"
	if rest, ok := strings.CutPrefix(label, "0x"); ok {
		label, digits = "0"+rest, "0123456789abcdef"
	}
	return label != "" && strings.Trim(label, digits) == ""
}

// plainHTTP reports whether u's host may be asked by plain http.
func (r *reach) plainHTTP(u *url.URL) bool {
	return slices.Contains(r.insecure, strings.ToLower(u.Host)) ||
		slices.Contains(r.insecure, strings.ToLower(u.Hostname()))
}

// checkURL judges the scheme and the host of a URL that is about to be asked.
func (r *reach) checkURL(u *url.URL) error {
	if u.Scheme != "https" && !(u.Scheme == "http" && r.plainHTTP(u)) {
		return fmt.Errorf("%w: %s is neither https nor plain http to a host for which this repository allows that", errPolicy, safeURL(u))
	}
	return r.checkHost(u.Hostname())
}

// ask has read ask u's host, in one of the slots, unless the host is assumed
// offline (see breaker). The caller calls answered once there is a good header.
func ask[T any](ctx context.Context, r *reach, op string, u *url.URL, read func(answered func()) (T, error)) (T, error) {
	var zero T
	pass, err := r.breakers.of(strings.ToLower(u.Host)).enter()
	if err != nil {
		return zero, &Error{Op: op, URL: safeURL(u), Class: ErrUnavailable, Err: err}
	}
	leave, err := r.slots.enter(ctx, u.Host)
	if err != nil {
		e := requestError(ctx, op, u, err)
		e.gaveUp = true // that says nothing of the host
		pass.leave(e)
		return zero, e
	}
	value, err := read(pass.answered)
	leave()
	pass.leave(err)
	return value, err
}

// get sends a GET request and follows its redirects, each of which is judged by
// checkURL and by hop. The credential for u's origin goes there only. The
// answer's Request is the last one that was sent. Errors are *Error, without
// what was sent; for those of the answer see usedFor.
func (r *reach) get(ctx context.Context, op string, u *url.URL, hop func(*url.URL) error) (*http.Response, error) {
	user, err := r.login(u)
	if err != nil {
		return nil, &Error{Op: op, URL: safeURL(u), Class: classOfLogin(err), Err: err, gaveUp: true}
	}
	sent := &use{origin: Origin(u)}
	if user != nil {
		sent.credential = conceal(*user)
	}
	resp, err := r.follow(withUse(ctx, sent), op, u, user, hop)
	return resp, sent.hidden(err)
}

// follow is get with a credential. A redirect that repeats it is refused, since
// where it leads is shown later on.
func (r *reach) follow(ctx context.Context, op string, u *url.URL, user *secret, hop func(*url.URL) error) (*http.Response, error) {
	at := u
	for n := 0; ; n++ {
		if err := errors.Join(r.checkURL(at), hop(at)); err != nil {
			return nil, &Error{Op: op, URL: safeURL(u), Class: ErrForbidden, Err: err}
		}
		resp, err := r.getOnce(ctx, at, user)
		if err != nil {
			return nil, requestError(ctx, op, u, err)
		}
		next, err := redirectOf(resp)
		if next == nil && err == nil {
			return resp, nil
		}
		resp.Body.Close()
		if n == vcsRedirects {
			err = fmt.Errorf("%w: more than %d", errRedirect, vcsRedirects)
		}
		if err == nil && usedFor(resp).repeats(next.String(), next.Path) {
			err = fmt.Errorf("%w: it repeats the credential", errRedirect)
		}
		if err != nil {
			return nil, &Error{Op: op, URL: safeURL(u), Class: ErrBadAnswer, Err: err}
		}
		if Origin(next) != Origin(at) {
			user = nil // and never again, even if a later hop leads back
		}
		at = next
	}
}

func (r *reach) getOnce(ctx context.Context, u *url.URL, user *secret) (*http.Response, error) {
	hr, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	hr.Header.Set("User-Agent", vcsUserAgent)
	if user != nil {
		hr.Header.Set(user.header, user.value)
	}
	return r.web.Do(hr)
}

// redirectOf returns where resp leads, nil if it is no redirect.
func redirectOf(resp *http.Response) (*url.URL, error) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	next, err := resp.Location()
	if err != nil {
		return nil, fmt.Errorf("%w: %s without a location", errRedirect, resp.Status)
	}
	next.User = nil
	if resp.Request.URL.Scheme == "https" && next.Scheme == "http" {
		return nil, fmt.Errorf("%w: from https to http at %s", errRedirect, clip(next.Host))
	}
	return next, nil
}

// requestError is the *Error of a request to u, with the class of a failure on
// the way, or ErrForbidden where a rule of this node stopped it.
func requestError(ctx context.Context, op string, u *url.URL, err error) *Error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // its text would repeat the URL
	}
	if errors.Is(err, errPolicy) {
		return &Error{Op: op, URL: safeURL(u), Class: ErrForbidden, Err: err}
	}
	return asError(failure{ctx: ctx, during: ctx, op: op, url: safeURL(u)}.of(err))
}

// bodyError is the *Error of an answer of u that could not be read to its end or
// is not what it should be.
func bodyError(ctx context.Context, op string, u *url.URL, err error) *Error {
	return asError(failure{ctx: ctx, during: ctx, op: op, url: safeURL(u), body: true}.of(err))
}

// asError returns the *Error that err is or wraps.
func asError(err error) *Error {
	var e *Error
	errors.As(err, &e)
	return e
}

// safeURL is u's text without what may be a secret, and not too long.
func safeURL(u *url.URL) string { return clip(withoutQuery(u)) }
