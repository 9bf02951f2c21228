package httpapi

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"testing"
)

// TestStrictTransport holds who is told to come by TLS alone: by the certificate in
// use at that time, or by a trusted proxy that does TLS.
func TestStrictTransport(t *testing.T) {
	lasting := false
	s := &Server{hsts: func() bool { return lasting }, proxies: proxies{netip.MustParsePrefix("10.0.0.0/8")}}
	ask := func(remote, proto string, own *tls.ConnectionState) bool {
		h := http.Header{}
		s.harden(h, &http.Request{RemoteAddr: remote, TLS: own, Header: http.Header{"X-Forwarded-Proto": {proto}}})
		return h.Get("Strict-Transport-Security") != ""
	}
	over := &tls.ConnectionState{}
	if ask("192.0.2.1:1", "", over) || ask("192.0.2.1:1", "https", nil) || ask("10.0.0.1:1", "http", nil) || !ask("10.0.0.1:1", "https", nil) {
		t.Error("with a certificate for trials")
	}
	lasting = true
	if !ask("192.0.2.1:1", "", over) || ask("192.0.2.1:1", "https", nil) {
		t.Error("with one that lasts")
	}
}

// TestConnsOptions: what is not given is the default.
func TestConnsOptions(t *testing.T) {
	if got := (Conns{}).limits(); got != defaultConns {
		t.Errorf("%+v", got)
	}
	if got := (Conns{All: 7, Address: 3}).limits(); got.all != 7 || got.address != 3 || got.halfOpen != defaultConns.halfOpen {
		t.Errorf("%+v", got)
	}
}
