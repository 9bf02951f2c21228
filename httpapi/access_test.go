package httpapi_test

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/mod/module"

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

// unasked stands for the answer to what can't be taken back.
const unasked = 0

// TestWhoMayDoWhat asks each endpoint on each kind of listener.
func TestWhoMayDoWhat(t *testing.T) {
	g := newRegistry(t)
	public := httptest.NewServer(g.server.Handler(httpapi.Public))
	defer public.Close()
	zip, _ := zipOf(t, module.Version{Path: "corp.test/a", Version: "v1.0.0"}, tree("corp.test/a"))
	tests := []struct {
		method, target string
		body           []byte
		public         int // status on a public listener
		local          int // status elsewhere
	}{
		{"PUT", "/api/v1/repos/local/modules/corp.test/a/@v/v1.0.0", zip, 401, 201},
		{"POST", "/api/v1/repos", []byte(`{"name":"x","kind":"local"}`), 401, 201},
		{"PATCH", "/api/v1/repos/x", []byte(`{"description":"x"}`), 401, 200},
		{"DELETE", "/api/v1/repos/x", nil, 401, 204},
		{"POST", "/api/v1/repos/x/restore", nil, 401, 200},
		{"POST", "/api/v1/verify", nil, 401, 200},
		{"POST", "/api/v1/rebuild", nil, 401, 200},
		{"GET", "/api/v1/repos", nil, 401, 200},
		{"GET", "/api/v1/repos/local", nil, 401, 200},
		{"GET", "/api/v1/log", nil, 401, 200},
		{"GET", "/metrics", nil, 401, 200},
		{"GET", "/api/v1/sites", nil, 401, 200},
		{"POST", "/api/v1/sites", []byte(`{"name":"oslo"}`), 401, 503},
		{"DELETE", "/api/v1/sites/oslo", nil, 401, 404},
		{"POST", "/api/v1/leave", nil, 401, unasked},
		{"POST", "/api/v1/homes", []byte(`{"repository":"local","to":"oslo"}`), 401, 400},
		{"POST", "/api/v1/epoch", nil, 401, unasked},
		{"GET", "/api/v1/diff/oslo", nil, 401, 404},
		{"GET", "/api/v1/blocks", nil, 401, 200},
		{"POST", "/api/v1/blocks", []byte(`{"module":"evil.test/a","reason":"x"}`), 401, 201},
		{"DELETE", "/api/v1/blocks?module=evil.test/a", nil, 401, 204},
		{"GET", "/api/v1/fetched?module=evil.test/a", nil, 401, 404}, // there is no access log
		{"POST", "/api/v1/repos/public/refresh", nil, 401, 200},
		{"DELETE", "/api/v1/repos/public/cached?module=evil.test/a", nil, 401, 404},
		{"GET", "/api/v1/repos/public/pending", nil, 401, 400},
		{"POST", "/api/v1/repos/public/times", []byte(`{"times":[{"Path":"m.test/a","Version":"v1.0.0","Timestamp":"2020-01-01T00:00:00Z"}]}`), 401, 200},
		{"POST", "/api/v1/repos/public/settle", []byte(`{"module":"m.test/a","version":"v1.0.0","mod_h1":"h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=","reason":"x"}`), 401, 404},
		{"GET", "/api/v1/upstreams", nil, 401, 200},
		{"GET", "/api/v1/drift", nil, 401, 200},
		{"POST", "/api/v1/purges", []byte(`{"module":"evil.test/a","version":"v1.0.0","reason":"x"}`), 401, 404},
		{"GET", "/api/v1/offline", nil, 401, 200},
		{"PUT", "/api/v1/offline", []byte(`{"offline":false}`), 401, 200},
		{"GET", "/api/v1/status", nil, 401, 200},
		{"GET", "/api/v1/replication", nil, 401, 200},
		{"GET", "/livez", nil, 200, 200},
		{"GET", "/readyz", nil, 200, 200},
		{"HEAD", "/api/v1/replication/stream", nil, 401, 200},
		{"GET", "/go/local/corp.test/a/@v/list", nil, 401, 200},
		{"GET", "/at-least/here/1/1/go/local/corp.test/a/@v/list", nil, 401, 200},
	}
	seq := g.seq()
	for _, tt := range tests {
		if tt.public != http.StatusUnauthorized {
			continue
		}
		a := do(t, http.DefaultClient, tt.method, public.URL, tt.target, bytes.NewReader(tt.body))
		if a.status != tt.public || !strings.HasPrefix(a.header.Get("Www-Authenticate"), "Basic ") {
			t.Errorf("public: %s %s: %d %s", tt.method, tt.target, a.status, a.body)
		}
	}
	if g.seq() != seq {
		t.Errorf("a public request wrote: entry %d, before %d", g.seq(), seq)
	}
	for _, tt := range tests {
		if tt.local == unasked {
			continue
		}
		if a := do(t, g.admin, tt.method, "http://anything.test", tt.target, bytes.NewReader(tt.body)); a.status != tt.local {
			t.Errorf("admin socket: %s %s: %d %s", tt.method, tt.target, a.status, a.body)
		}
	}
	for _, tt := range tests {
		if tt.public == http.StatusUnauthorized {
			continue
		}
		a := do(t, http.DefaultClient, tt.method, public.URL, tt.target, nil)
		if a.status != tt.public {
			t.Errorf("public: %s %s: %d %s", tt.method, tt.target, a.status, a.body)
		}
		if b := g.do(tt.method, tt.target, nil); b.status != tt.local {
			t.Errorf("loopback: %s %s: %d %s", tt.method, tt.target, b.status, b.body)
		}
	}
	if log := g.get("/api/v1/log").body; !strings.Contains(log, `"actor":"operator@here"`) {
		t.Errorf("no actor in %s", log)
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
