package upstream

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"
)

// TestGate: the gate serves who has a permit, as far as it goes, and nobody else.
func TestGate(t *testing.T) {
	t.Parallel()
	inside := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	defer inside.Close()
	r, err := newReach(VCSConfig{
		Inside:  Inside{netip.MustParsePrefix("127.0.0.0/8")},
		reroute: func(string) string { return inside.Listener.Addr().String() },
	})
	if err != nil {
		t.Fatal(err)
	}
	g, err := openGate(r)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	target, _ := url.Parse("https://example.com/git/r")
	s := source{path: "a.test/r/sub", url: target, tag: goImport{"a.test/r", "git", target.String(), ""}}
	p := g.admit(context.Background(), s, target)
	// ask returns the status of a request through the gate, or of CONNECT.
	ask := func(proxy *url.URL, to string) int {
		client := inside.Client()
		transport := client.Transport.(*http.Transport).Clone()
		defer transport.CloseIdleConnections()
		status := 0
		transport.Proxy = http.ProxyURL(proxy)
		transport.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
			status = resp.StatusCode
			return nil
		}
		resp, err := (&http.Client{Transport: transport}).Get(to)
		if err != nil {
			return status
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	nobody := &url.URL{Scheme: "http", Host: g.addr}
	guess := &url.URL{Scheme: "http", Host: g.addr, User: url.UserPassword(p.tunnel.User.Username(), "guess")}
	for _, test := range []struct {
		what  string
		proxy *url.URL
		to    string
		want  int
	}{
		{"nobody's tunnel", nobody, "https://example.com/", 407},
		{"nobody's discovery", nobody, "http://a.test/r?go-get=1", 407},
		{"a guess", guess, "https://example.com/", 407},
		{"the tunnel", p.tunnel, "https://example.com/", 200},
		{"another host", p.tunnel, "https://other.example/", 403},
		{"another port", p.tunnel, "https://example.com:8443/", 403},
		{"plain http", p.tunnel, "http://example.com/", 403},
		{"discovery", p.discovery, "http://a.test/r?go-get=1", 200},
		{"discovery of the module", p.discovery, "http://a.test/r/sub?go-get=1", 200},
		{"another path", p.discovery, "http://a.test/x?go-get=1", 403},
		{"no discovery", p.discovery, "http://a.test/r", 403},
		{"a tunnel for discovery", p.discovery, "https://example.com/", 403},
	} {
		if got := ask(test.proxy, test.to); got != test.want {
			t.Errorf("%s: %d, want %d", test.what, got, test.want)
		}
	}
	if p.refused() == nil {
		t.Error("it is not noted that git asked for another host")
	}
	g.dismiss(p)
	if got := ask(p.tunnel, "https://example.com/"); got != 407 {
		t.Errorf("after the permit has ended: %d, want 407", got)
	}
}
