package upstream_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"registry-node/node/upstream"
)

const canary = "s3cret+/c4nary"

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// certificate returns a client certificate of a name.
func certificate(t testing.TB, name string) (certPEM, keyPEM []byte) {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))})
}

func TestMakeCredential(t *testing.T) {
	cert, key := certificate(t, "node")
	other, _ := certificate(t, "other")
	for name, test := range map[string]struct {
		err error
		ok  bool
	}{
		"basic":                {second(upstream.BasicCredential("bot", canary)), true},
		"empty password":       {second(upstream.BasicCredential("token", "")), true},
		"empty user":           {second(upstream.BasicCredential("", canary)), true},
		"nothing":              {second(upstream.BasicCredential("", "")), false},
		"user with a colon":    {second(upstream.BasicCredential("a:"+canary, "x")), false},
		"password of lines":    {second(upstream.BasicCredential("bot", canary+"\nX: y")), false},
		"bearer":               {second(upstream.BearerCredential(canary)), true},
		"empty bearer":         {second(upstream.BearerCredential("")), false},
		"bearer with a space":  {second(upstream.BearerCredential(canary + " x")), false},
		"header":               {second(upstream.HeaderCredential("private-token", canary)), true},
		"header of two words":  {second(upstream.HeaderCredential("X-Api-Key", "Token "+canary)), true},
		"header of lines":      {second(upstream.HeaderCredential("X-Api-Key", canary+"\r\nHost: x")), false},
		"header without value": {second(upstream.HeaderCredential("X-Api-Key", "")), false},
		"no header":            {second(upstream.HeaderCredential("", canary)), false},
		"header with a colon":  {second(upstream.HeaderCredential("X: y", canary)), false},
		"header of protocol":   {second(upstream.HeaderCredential("content-length", canary)), false},
		"host header":          {second(upstream.HeaderCredential("host", canary)), false},
		"certificate":          {second(upstream.CertificateCredential(cert, key)), true},
		"another's key":        {second(upstream.CertificateCredential(other, key)), false},
		"no certificate":       {second(upstream.CertificateCredential([]byte(canary), []byte(canary))), false},
	} {
		if test.ok != (test.err == nil) {
			t.Errorf("%s: %v, want ok %v", name, test.err, test.ok)
		}
		if test.err != nil && strings.Contains(test.err.Error(), canary) {
			t.Errorf("%s: the error shows the secret: %v", name, test.err)
		}
	}
}

func TestCredentialIsNotShown(t *testing.T) {
	cert, key := certificate(t, "node")
	for _, c := range []upstream.Credential{
		must(upstream.BasicCredential("bot", canary)),
		must(upstream.BearerCredential(canary)),
		must(upstream.HeaderCredential("X-Api-Key", canary)),
		must(upstream.CertificateCredential(cert, key)),
		{},
	} {
		if c.String() != "[redacted]" || c.GoString() != "[redacted]" {
			t.Errorf("String %q, GoString %q", c.String(), c.GoString())
		}
		var b bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			got := fmt.Sprintf(verb, c)
			if got != "[redacted]" {
				t.Errorf("%s: %q", verb, got)
			}
			fmt.Fprintf(&b, verb, struct{ c upstream.Credential }{c}) // no method is called
			fmt.Fprintf(&b, verb, &c)
			fmt.Fprintf(&b, verb, []any{c, &c, map[string]any{"c": c}})
		}
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", "c", c, "in", struct{ C upstream.Credential }{c})
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "c", c, "in", struct{ C upstream.Credential }{c})
		if err := json.NewEncoder(&b).Encode(map[string]any{"c": c}); err != nil {
			t.Error(err)
		}
		for _, secret := range []string{canary, "bot", "c4nary", "PRIVATE"} {
			if strings.Contains(b.String(), secret) {
				t.Errorf("shows %q: %s", secret, b.String())
			}
		}
	}
}

// wanting is an https server that wants one credential, and tells what it got.
type wanting struct {
	*httptest.Server
	got chan string
}

// sent describes what r carries of the credentials of these tests.
func sent(r *http.Request) string {
	text := r.Header.Get("Authorization") + r.Header.Get("X-Api-Key")
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		text += r.TLS.PeerCertificates[0].Subject.CommonName
	}
	return text
}

// newWanting starts an https server whose answer is that of h.
func newWanting(t testing.TB, h http.HandlerFunc) *wanting {
	w := &wanting{got: make(chan string, 100)}
	w.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.got <- sent(r)
		h(rw, r)
	}))
	w.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	w.EnableHTTP2 = true
	w.StartTLS()
	t.Cleanup(w.Close)
	return w
}

// roots trusts httptest's servers, which all have one certificate.
func (w *wanting) roots() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(w.Certificate())
	return &tls.Config{RootCAs: pool}
}

// only is Options.Credential for one origin.
func only(rawURL string, c upstream.Credential) func(*url.URL) (upstream.Credential, error) {
	return func(u *url.URL) (upstream.Credential, error) {
		if u.String() != rawURL {
			return upstream.Credential{}, nil
		}
		return c, nil
	}
}

func TestCredentialsAreBoundToTheirOrigin(t *testing.T) {
	cert, key := certificate(t, "node certificate")
	for name, test := range map[string]struct {
		credential upstream.Credential
		want       string
	}{
		"basic":       {must(upstream.BasicCredential("bot", "s3cret")), "Basic Ym90OnMzY3JldA=="},
		"bearer":      {must(upstream.BearerCredential(canary)), "Bearer " + canary},
		"header":      {must(upstream.HeaderCredential("X-Api-Key", canary)), canary},
		"certificate": {must(upstream.CertificateCredential(cert, key)), "node certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			var home *wanting
			other := newWanting(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/back/") {
					http.Redirect(w, r, home.URL+"/list", http.StatusTemporaryRedirect)
					return
				}
				io.WriteString(w, "v1.0.0\n")
			})
			home = newWanting(t, func(w http.ResponseWriter, r *http.Request) {
				switch first, _, _ := strings.Cut(r.URL.Path[1:], "/"); first {
				case "within":
					http.Redirect(w, r, "/list", http.StatusFound)
				case "away", "back":
					http.Redirect(w, r, other.URL+r.URL.Path, http.StatusPermanentRedirect)
				default:
					io.WriteString(w, "v1.0.0\n")
				}
			})
			for _, step := range []struct {
				base, home, other string // what each gets, in order
			}{
				{"", test.want, ""},
				{"/within", test.want + "," + test.want, ""},
				{"/away", test.want, "-"},
				{"/back", test.want + ",-", "-"},
			} {
				c := newClient(t, home.URL+step.base, upstream.Options{
					TLS: home.roots(), Inside: loopback, Credential: only(home.URL, test.credential),
				})
				if _, err := c.List(t.Context(), mv.Path); err != nil {
					t.Errorf("%q: %v", step.base, err)
				}
				if got := home.all(); got != step.home {
					t.Errorf("%q: its origin got %q, want %q", step.base, got, step.home)
				}
				if got := other.all(); got != step.other {
					t.Errorf("%q: another got %q, want %q", step.base, got, step.other)
				}
			}
		})
	}
}

// all returns what was got since the last call, "-" for nothing in a request.
func (w *wanting) all() string {
	var all []string
	for len(w.got) > 0 {
		got := <-w.got
		if got == "" {
			got = "-"
		}
		all = append(all, got)
	}
	return strings.Join(all, ",")
}

// TestNothingIsAskedWithoutTheCredential holds that a credential that can't be
// had makes no anonymous request, neither of the upstream nor of the proxy, and
// that this is no absence.
func TestNothingIsAskedWithoutTheCredential(t *testing.T) {
	srv := newWanting(t, body("v1.0.0\n"))
	errLost := errors.New("it is lost")
	lost := func(*url.URL) (upstream.Credential, error) { return upstream.Credential{}, errLost }
	for name, opts := range map[string]upstream.Options{
		"upstream": {TLS: srv.roots(), Credential: lost},
		"proxy": {TLS: srv.roots(), Proxy: must(upstream.ParseProxy("http://127.0.0.1:1")), Credential: func(u *url.URL) (upstream.Credential, error) {
			if u.Port() == "1" {
				return lost(u)
			}
			return upstream.Credential{}, nil
		}},
	} {
		c := newClient(t, srv.URL, opts)
		if _, err := c.List(t.Context(), mv.Path); !errors.Is(err, errLost) || !errors.Is(err, upstream.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
		if got := srv.all(); got != "" {
			t.Errorf("%s: asked with %q", name, got)
		}
	}
}

func TestCredentialIsReadAtEachRequest(t *testing.T) {
	srv := newWanting(t, body("v1.0.0\n"))
	var now atomic.Pointer[upstream.Credential]
	c := newClient(t, srv.URL, upstream.Options{TLS: srv.roots(), Credential: func(*url.URL) (upstream.Credential, error) {
		return *now.Load(), nil
	}})
	cert1, key1 := certificate(t, "first")
	cert2, key2 := certificate(t, "second")
	for _, step := range []struct {
		credential upstream.Credential
		want       string
	}{
		{must(upstream.BearerCredential("one")), "Bearer one"},
		{must(upstream.BearerCredential("two")), "Bearer two"},
		{must(upstream.CertificateCredential(cert1, key1)), "first"},
		{must(upstream.CertificateCredential(cert2, key2)), "second"},
		{upstream.Credential{}, "-"},
	} {
		now.Store(&step.credential)
		if _, err := c.List(t.Context(), mv.Path); err != nil {
			t.Error(err)
		}
		if got := srv.all(); got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
}

func TestNoCredentialOverPlainHTTP(t *testing.T) {
	var got string
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = sent(r)
		io.WriteString(w, "v1.0.0\n")
	})
	cert, key := certificate(t, "node")
	bearer := must(upstream.BearerCredential(canary))
	for _, test := range []struct {
		list       string
		credential upstream.Credential
		insecure   []string
		ok         bool
	}{
		{"http://upstream.test", bearer, nil, false},
		{"http://upstream.test", bearer, []string{"other.test", "upstream.test:81"}, false},
		{"http://upstream.test", bearer, []string{"upstream.test"}, true},
		{"http://upstream.test:81", bearer, []string{"upstream.test:81"}, true},
		{"http://127.0.0.1:1", bearer, nil, true},
		{"http://localhost:1", bearer, nil, true},
		{"http://localhost.test", bearer, nil, false},
		{"http://127.0.0.1:1", must(upstream.CertificateCredential(cert, key)), nil, false},
	} {
		got = ""
		c := newClient(t, test.list, upstream.Options{
			Proxy: must(upstream.ParseProxy(proxy.URL)), InsecureHosts: test.insecure, Credential: only(test.list, test.credential),
		})
		_, err := c.List(t.Context(), mv.Path)
		switch {
		case test.ok && (err != nil || got != "Bearer "+canary):
			t.Errorf("%s, accepted %q: got %q, %v", test.list, test.insecure, got, err)
		case !test.ok && (!errors.Is(err, upstream.ErrUnavailable) || !strings.Contains(err.Error(), "https") || got != ""):
			t.Errorf("%s, accepted %q: got %q, %v; want a refusal", test.list, test.insecure, got, err)
		}
	}
}

func TestEchoedCredentialsAreNotShown(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"as it is": func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no: "+sent(r), http.StatusForbidden) },
		"decoded": func(w http.ResponseWriter, r *http.Request) {
			_, password, _ := r.BasicAuth()
			http.Error(w, "wrong: "+password, http.StatusInternalServerError)
		},
		"escaped": func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "see /login?password="+url.QueryEscape(canary), http.StatusUnauthorized)
		},
		"in a version": func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, `{"Version":%q}`, canary) },
		"in a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+url.PathEscape(canary)+".test/", http.StatusFound)
		},
		"in a bad header": func(w http.ResponseWriter, r *http.Request) {
			raw("HTTP/1.1 200 "+canary+"\r\n"+canary+"\r\n\r\n", cut)(w, r)
		},
	} {
		srv, opts := tlsServer(t, answer)
		for _, c := range []upstream.Credential{
			must(upstream.BasicCredential("bot", canary)),
			must(upstream.BearerCredential(canary)),
			must(upstream.HeaderCredential("X-Api-Key", canary)),
		} {
			opts.Credential = only(srv.URL, c)
			client := newClient(t, srv.URL, opts)
			_, err := client.Info(t.Context(), mv)
			if err == nil {
				t.Fatalf("%s: no error", name)
			}
			for _, text := range []string{fmt.Sprintf("%+v %#v", err, err), client.Health()[0].LastError} {
				if strings.Contains(text, "c4nary") {
					t.Errorf("%s: shows the secret: %s", name, text)
				}
			}
		}
	}
}

func TestDatabaseGetsTheCredentialOfItsOrigin(t *testing.T) {
	db := newDB(t)
	var unauthorised atomic.Int32
	srv, opts := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		if sent(r) != "Bearer "+canary {
			unauthorised.Add(1)
		}
		db.ServeHTTP(w, r)
	})
	opts.Credential = only(srv.URL, must(upstream.BearerCredential(canary)))
	checkLookup(t, openSumdb(t, db.key, "", newClient(t, srv.URL, opts), newState(t)), mod(0))
	if n := unauthorised.Load(); n > 0 {
		t.Errorf("%d requests without the credential", n)
	}

	apart := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := sent(r); got != "" {
			t.Errorf("the database elsewhere got %q", got)
		}
		db.ServeHTTP(w, r)
	})
	opts.Credential = func(*url.URL) (upstream.Credential, error) { return must(upstream.BearerCredential(canary)), nil }
	checkLookup(t, openSumdb(t, db.key+" "+apart.URL, "", newClient(t, srv.URL, opts), newState(t)), mod(0))
}
