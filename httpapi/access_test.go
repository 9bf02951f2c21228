package httpapi_test

import (
	"bytes"
	"net"
	"net/http"
	"strings"
	"testing"

	"registry-node/httpapi"
)

func TestTrustOf(t *testing.T) {
	for _, tt := range []struct {
		addr net.Addr
		want httpapi.Trust
	}{
		{&net.UnixAddr{Name: "admin.sock", Net: "unix"}, httpapi.Admin},
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, httpapi.Loopback},
		{&net.TCPAddr{IP: net.IPv6loopback}, httpapi.Loopback},
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, httpapi.Public},
		{&net.TCPAddr{IP: net.IPv4zero}, httpapi.Public},
		{&net.TCPAddr{IP: net.IPv6unspecified}, httpapi.Public},
		{&net.TCPAddr{}, httpapi.Public},
	} {
		if got := httpapi.TrustOf(tt.addr); got != tt.want {
			t.Errorf("TrustOf(%v) = %v, want %v", tt.addr, got, tt.want)
		}
	}
}

// host sends a GET with a Host of its own.
func (g *registry) host(method, target, host string) answer {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), method, g.base+target, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		g.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, b.String()}
}

func TestHostMustBeThisMachine(t *testing.T) {
	g := newRegistry(t)
	seq := g.seq()
	for _, host := range []string{"evil.test", "evil.test:8080", "127.0.0.1.evil.test", "localhost.evil.test", "10.0.0.1", "0.0.0.0", "[fe80::1]"} {
		for _, req := range [][2]string{{"GET", "/api/v1/status"}, {"GET", "/api/v1/repos"}, {"POST", "/api/v1/verify"}, {"DELETE", "/api/v1/repos/dead"}, {"GET", "/metrics"}} {
			checkProblem(t, g.host(req[0], req[1], host), http.StatusUnauthorized, "credentials")
		}
		if a := g.host("GET", "/livez", host); a.status != http.StatusOK {
			t.Errorf("GET /livez with Host %s: %d", host, a.status)
		}
		if a := g.host("GET", "/go/local/corp.test/a/@v/list", host); a.status != http.StatusUnauthorized {
			t.Errorf("GET below /go/ with Host %s: %d", host, a.status)
		}
	}
	if g.seq() != seq {
		t.Errorf("a refused request wrote: entry %d, before %d", g.seq(), seq)
	}
	for _, host := range []string{"localhost", "LOCALHOST:99", "localhost.", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:8080", "[::ffff:127.0.0.1]:80"} {
		if a := g.host("GET", "/api/v1/status", host); a.status != http.StatusOK {
			t.Errorf("Host %s: %d %s", host, a.status, a.body)
		}
	}
}

func TestOtherOriginsAreRefused(t *testing.T) {
	g := newRegistry(t)
	const body = `{"name":"x","kind":"local"}`
	for _, header := range [][]string{{"Origin", "https://evil.test"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "null"}} {
		a := g.checked(t, func() answer { return g.do("POST", "/api/v1/repos", strings.NewReader(body), header...) })
		checkProblem(t, a, http.StatusForbidden, "another origin")
	}
	if a := g.do("POST", "/api/v1/repos", strings.NewReader(body), "Origin", g.base, "Sec-Fetch-Site", "same-origin"); a.status != http.StatusCreated {
		t.Errorf("from its own page: %d %s", a.status, a.body)
	}
}
