package access

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

const (
	// issuerPatience is how long an issuer may take for all that is asked of it at a
	// time.
	issuerPatience = 10 * time.Second
	// maxAnswer bounds an issuer's answer, in bytes.
	maxAnswer    = 1 << 20
	maxRedirects = 3
)

// NewIssuerClient returns a client that trusts issuers with nothing: neither with
// its time nor its memory, nor to lead it anywhere but to another https server, or
// one on this machine. It asks over rt; nil is the network.
func NewIssuerClient(rt http.RoundTripper) *http.Client {
	if rt == nil {
		rt = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:   issuerPatience,
			ResponseHeaderTimeout: issuerPatience,
			DisableKeepAlives:     true, // it is asked twice an hour
		}
	}
	return &http.Client{Transport: bounded{rt}, Timeout: issuerPatience, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		return stillHTTPS(via[0].URL, req.URL)
	}}
}

// bounded bounds what is asked and answered.
type bounded struct{ http.RoundTripper }

// RoundTrip asks over https alone, but for servers on this machine.
func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	if !trustworthy(req.URL) {
		return nil, fmt.Errorf("%s: keys come over https alone", req.URL.Redacted())
	}
	resp, err := b.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	}
	return resp, err
}

// stillHTTPS reports why a server may not lead to another one: what is asked over http
// is on this machine, where nobody from elsewhere leads.
func stillHTTPS(from, to *url.URL) error {
	if from.Scheme == "https" && to.Scheme != "https" {
		return fmt.Errorf("%s leads to %s: keys come over https alone", from.Redacted(), to.Redacted())
	}
	return nil
}

func trustworthy(u *url.URL) bool {
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && addr.IsLoopback())
}
