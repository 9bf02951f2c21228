package replication

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"registry-node/events"
)

const (
	httpHeaderWait = 10 * time.Second // for the headers of a request
	httpIdle       = 90 * time.Second // of a connection between requests
	httpMaxHeader  = 32 << 10         // bytes
)

type peerKey struct{}

type peerOf struct {
	site events.Site
	cert []byte
}

// PeerOf says who sent a request that MeshConfig.HTTP answers: the member, as of
// when the request came, and the DER of the certificate whose key it holds. site
// is zero for a certificate of no member, cert is nil if there was none.
func PeerOf(r *http.Request) (site events.Site, cert []byte) {
	p, _ := r.Context().Value(peerKey{}).(peerOf)
	return p.site, p.cert
}

// ServeHTTP answers HTTPS on the listener.
func (d *door) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if !d.m.running.enter() {
		http.Error(rw, ErrMeshClosed.Error(), http.StatusServiceUnavailable)
		return
	}
	defer d.m.running.leave()
	var p peerOf
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		p.cert = r.TLS.PeerCertificates[0].Raw
		p.site = d.m.siteOf(events.DigestOf(p.cert))
	}
	d.m.cfg.HTTP.ServeHTTP(rw, r.WithContext(context.WithValue(r.Context(), peerKey{}, p)))
}

// HTTP returns a client for HTTPS to the listener of the site to, and the URL of
// its root, without a slash at the end. The client shows this site's certificate
// and accepts the peer's alone, tries the peer's addresses in turn, and follows
// no redirect. ok is false when the site is no member or has no address.
func (m *Mesh) HTTP(to events.Site) (client *http.Client, base string, ok bool) {
	peer, known := m.peer(to)
	p := m.member(to)
	if !known || p == nil || len(peer.Addresses) == 0 {
		return nil, "", false
	}
	return p.http, "https://" + to.String(), true
}

// newClient returns a client whose requests go to p, whatever host they name.
func (p *member) newClient() *http.Client {
	return newHTTPClient(func(ctx context.Context, _, _ string) (net.Conn, error) {
		peer, ok := p.m.peer(p.site)
		if !ok || p.ctx.Err() != nil {
			return nil, fmt.Errorf("site %v: %w: it is no member", p.site, ErrNotConnected)
		}
		var errs []error
		for _, addr := range peer.Addresses {
			tc, _, err := p.m.dialTLS(ctx, peer, addr, protoHTTP, kindClient)
			if err == nil {
				return tc, nil
			}
			errs = append(errs, fmt.Errorf("%s: %w", addr, err))
		}
		return nil, fmt.Errorf("site %v: %w: %w", p.site, ErrNotConnected, errors.Join(errs...))
	})
}

// PinnedClient returns a client for HTTPS to a listener whose certificate has the
// digest pin, for who is no member yet. It shows cert, or none if that is zero,
// and follows no redirect. It connects with the first of dial, if there is one.
func PinnedClient(cert tls.Certificate, pin events.Digest, dial ...DialFunc) *http.Client {
	connect := new(net.Dialer).DialContext
	if len(dial) > 0 && dial[0] != nil {
		connect = dial[0]
	}
	cfg := clientTLS(cert, protoHTTP, []events.Digest{pin})
	return newHTTPClient(func(ctx context.Context, _, addr string) (net.Conn, error) {
		tc, _, err := dialPinned(ctx, connect, addr, cfg)
		if err != nil {
			return nil, err
		}
		return tc, nil
	})
}

func newHTTPClient(dialTLS DialFunc) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Client{
		Transport: &http.Transport{
			DialTLSContext: dialTLS,
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				return nil, errors.New("peers are asked over https only")
			},
			Protocols:           protocols,
			DisableCompression:  true, // what is sent is compressed already
			MaxIdleConnsPerHost: 8,
			IdleConnTimeout:     httpIdle,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
