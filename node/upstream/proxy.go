package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

// Proxy says through which proxy upstreams are reached. The zero Proxy is the
// one that the environment names (HTTPS_PROXY, HTTP_PROXY, NO_PROXY), if any.
//
// A proxy looks up the names of hosts itself. So what a redirect may lead to
// beyond it is judged here only where the host is an address; for names the
// proxy's own rules hold.
type Proxy struct {
	text string
	url  *url.URL // nil: of the environment, or none
}

// ParseProxy parses an http, https, socks5 or socks5h URL of host and port;
// "none", which ignores the environment; or "", which is the environment's.
// Userinfo is refused: a proxy's user and password come from
// Options.Credential. Errors never show it.
func ParseProxy(text string) (Proxy, error) {
	if text == "" || text == "none" {
		return Proxy{text: text}, nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.Host == "":
		return Proxy{}, errors.New(`proxy: it must be "none" or a URL scheme://host:port`)
	case u.User != nil:
		return Proxy{}, fmt.Errorf("proxy %s: its URL holds user or password, which belong among the credentials", withoutQuery(u))
	case !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme):
		return Proxy{}, fmt.Errorf("proxy %s: its scheme must be http, https, socks5 or socks5h", withoutQuery(u))
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return Proxy{}, fmt.Errorf("proxy %s: its URL has more than scheme, host and port", withoutQuery(u))
	}
	return Proxy{text: text, url: u}, nil
}

// String returns the text that p was parsed from.
func (p Proxy) String() string { return p.text }

// MarshalText returns the text that p was parsed from.
func (p Proxy) MarshalText() ([]byte, error) { return []byte(p.text), nil }

// UnmarshalText is ParseProxy.
func (p *Proxy) UnmarshalText(text []byte) error {
	v, err := ParseProxy(string(text))
	if err != nil {
		return err
	}
	*p = v
	return nil
}

// of returns the URL of the proxy for r, nil if there is none.
func (p Proxy) of(r *http.Request) (*url.URL, error) {
	switch {
	case p.text == "none":
		return nil, nil
	case p.url != nil:
		return p.url, nil
	}
	return http.ProxyFromEnvironment(r)
}

// proxyFor is what the transports of c ask. The proxy is a configured host, and
// its user and password are those of Options.Credential, else of the
// environment.
func (c *Client) proxyFor(r *http.Request) (*url.URL, error) {
	found, err := c.opts.Proxy.of(r)
	if found == nil || err != nil {
		return nil, err
	}
	c.guard.trust(found)
	u := *found
	var credential Credential
	if u.User != nil {
		password, _ := u.User.Password()
		credential = basic(u.User.Username(), password)
	}
	if c.opts.Credential != nil {
		own, err := c.opts.Credential(originURL(&u))
		if err != nil {
			return nil, err
		}
		if s := own.secret(); s != nil {
			if s.user == "" && s.password == "" {
				return nil, fmt.Errorf("the credential for the proxy %s is not user and password, the only kind for proxies", Origin(&u))
			}
			u.User, credential = url.UserPassword(s.user, s.password), own
		}
	}
	if use, ok := r.Context().Value(useKey{}).(*use); ok {
		use.proxy = credential
	}
	return &u, nil
}

// proxyAnswered makes an error that names the proxy of one that refuses.
func proxyAnswered(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return fmt.Errorf("the proxy %s answers %s", Origin(proxy), clip(resp.Status))
}
