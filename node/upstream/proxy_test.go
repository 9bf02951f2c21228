package upstream_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"registry-node/node/upstream"
)

func TestParseProxy(t *testing.T) {
	for text, ok := range map[string]bool{
		"": true, "none": true, "http://proxy.test": true, "https://proxy.test:8443/": true,
		"socks5://127.0.0.1:1080": true, "socks5h://[::1]:1080": true,
		"proxy.test:80": false, "http://": false, "ftp://proxy.test": false, "direct": false,
		"http://bot:s3cret@proxy.test": false, "http://proxy.test/path": false, "http://proxy.test?x": false, "http://%zz": false,
	} {
		var p upstream.Proxy
		err := p.UnmarshalText([]byte(text))
		if ok != (err == nil) || err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v, want ok %v", text, err, ok)
		}
		if back, _ := p.MarshalText(); ok && (string(back) != text || p.String() != text) {
			t.Errorf("%q: text %q", text, back)
		}
	}
}

// connectProxy is an HTTP proxy for what comes plain and for tunnels, all to one
// place. It wants a password.
func connectProxy(t testing.TB, to string) (proxyURL string, asked func() []string) {
	var mu sync.Mutex
	var all []string
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		all = append(all, r.Method+" "+r.Host)
		mu.Unlock()
		if got := r.Header.Get("Proxy-Authorization"); got != "Basic Ym90OnMzY3JldA==" {
			http.Error(w, "not with "+got, http.StatusProxyAuthRequired)
			return
		}
		if r.Method != http.MethodConnect {
			if got := r.Header.Get("Authorization"); got != "" {
				t.Errorf("the upstream gets %q", got)
			}
			io.WriteString(w, "v1.0.0\n")
			return
		}
		w.WriteHeader(http.StatusOK)
		client, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		splice(client, buffered, to)
	})
	return srv.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// splice joins a client to a server until one of them closes.
func splice(client net.Conn, from io.Reader, to string) {
	defer client.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		io.Copy(server, from)
		server.Close()
	}()
	io.Copy(client, server)
}

func TestProxy(t *testing.T) {
	srv, opts := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		if got := sent(r) + r.Header.Get("Proxy-Authorization"); got != "" {
			t.Errorf("the upstream gets %q", got)
		}
		io.WriteString(w, "v1.0.0\n")
	})
	opts.TLS.ServerName = "example.com" // as the certificate of httptest
	proxyURL, asked := connectProxy(t, srv.Listener.Addr().String())
	opts.Proxy = must(upstream.ParseProxy(proxyURL))
	opts.Credential = only(proxyURL, must(upstream.BasicCredential("bot", "s3cret")))
	for _, list := range []string{"https://upstream.test", "http://upstream.test"} {
		if _, err := newClient(t, list, opts).List(t.Context(), mv.Path); err != nil {
			t.Errorf("%s: %v", list, err)
		}
	}
	if got := strings.Join(asked(), ", "); got != "CONNECT upstream.test:443, GET upstream.test" {
		t.Errorf("the proxy was asked %s", got)
	}

	for name, wrong := range map[string]upstream.Credential{
		"none":   {},
		"wrong":  must(upstream.BasicCredential("bot", canary)),
		"bearer": must(upstream.BearerCredential(canary)),
	} {
		opts.Credential = only(proxyURL, wrong)
		_, err := newClient(t, "https://upstream.test", opts).List(t.Context(), mv.Path)
		if !errors.Is(err, upstream.ErrUnavailable) || !strings.Contains(err.Error(), proxyURL) || strings.Contains(err.Error(), "c4nary") {
			t.Errorf("credential %s: %v, want an error that names the proxy", name, err)
		}
	}

	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // may not be read any more; it must not matter
	opts.Proxy, opts.Credential = must(upstream.ParseProxy("none")), nil
	if _, err := newClient(t, srv.URL, opts).List(t.Context(), mv.Path); err != nil {
		t.Errorf("without a proxy: %v", err)
	}
}

// TestRedirectsThroughAProxy: the proxy dials, so the address is judged where it
// is named.
func TestRedirectsThroughAProxy(t *testing.T) {
	for _, to := range []string{"http://169.254.169.254/latest", "http://[fe80::1]/", "http://10.0.0.1/", "http://127.0.0.1:9/"} {
		var asked []string
		proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.Host)
			redirect(to)(w, r)
		})
		c := newClient(t, "http://upstream.test", upstream.Options{Proxy: must(upstream.ParseProxy(proxy.URL))})
		_, err := c.List(t.Context(), mv.Path)
		if !errors.Is(err, upstream.ErrBadAnswer) || !strings.Contains(err.Error(), "--allow-inside") || len(asked) != 1 {
			t.Errorf("redirect to %s: %v, the proxy was asked for %q", to, err, asked)
		}
	}
}

func TestSOCKSProxy(t *testing.T) {
	srv := serve(t, body("v1.0.0\n"))
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		client, err := l.Accept()
		if err == nil {
			err = socks(client, "bot", "s3cret", srv.Listener.Addr().String())
		}
		served <- err
	}()
	proxyURL := "socks5://" + l.Addr().String()
	c := newClient(t, "http://upstream.test", upstream.Options{
		Proxy: must(upstream.ParseProxy(proxyURL)), Credential: only(proxyURL, must(upstream.BasicCredential("bot", "s3cret"))),
	})
	if _, err := c.List(t.Context(), mv.Path); err != nil {
		t.Error(err)
	}
	c.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// socks serves one client of SOCKS5 (RFC 1928, 1929) and joins it to a server.
func socks(client net.Conn, user, password, to string) error {
	defer client.Close()
	read := func(n int) []byte {
		b := make([]byte, n)
		io.ReadFull(client, b)
		return b
	}
	read(int(read(2)[1])) // version, methods
	client.Write([]byte{5, 2})
	gotUser := string(read(int(read(2)[1])))
	gotPassword := string(read(int(read(1)[0])))
	if gotUser != user || gotPassword != password {
		return fmt.Errorf("user %q, password %q", gotUser, gotPassword)
	}
	client.Write([]byte{1, 0})
	host := string(read(int(read(5)[4])))
	if port := binary.BigEndian.Uint16(read(2)); host != "upstream.test" || port != 80 {
		return fmt.Errorf("asked for %s:%d", host, port)
	}
	client.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	splice(client, client, to)
	return nil
}

func TestOrigin(t *testing.T) {
	for text, want := range map[string]string{
		"https://Proxy.Test:443/a/b?c": "https://proxy.test", "http://x:80": "http://x", "https://x:80": "https://x:80",
		"HTTPS://[2001:DB8::1]:443/": "https://[2001:db8::1]", "socks5://x:1080": "socks5://x", "https://u:p@x/": "https://x",
	} {
		if got := upstream.Origin(must(url.Parse(text))); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
