package upstream_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/node/upstream"
)

var mv = module.Version{Path: "example.com/M", Version: "v1.2.3"}

// loopback lets redirects lead to another server of the test.
var loopback = upstream.Inside{netip.MustParsePrefix("127.0.0.0/8")}

// serve starts a server for one test.
func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

func newClient(t testing.TB, list string, opts upstream.Options) *upstream.Client {
	t.Helper()
	c := upstream.New(parseList(t, list), opts)
	t.Cleanup(c.Close)
	return c
}

// files serves a GOPROXY tree of texts by escaped path, 404 for others.
func files(tree map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text, ok := tree[r.URL.Path]
		if !ok {
			http.Error(w, "not here", http.StatusNotFound)
			return
		}
		w.Write([]byte(text))
	}
}

var exampleTree = map[string]string{
	"/example.com/!m/@v/list":             "v1.10.0\nv1.2.3 2020-01-01T00:00:00Z\n\nv1.2.3\njunk\nv1.3.0-rc.1\nv1.0.0-20200101000000-abcdefabcdef\nv1\nv2.0.0\nv2.1.0+incompatible\nv1.0.0+meta\n",
	"/example.com/!m/@latest":             `{"Version":"v1.10.0"}`,
	"/example.com/!m/@v/v1.2.3.info":      `{"Version":"v1.2.3","Time":"2020-01-02T03:04:05Z","Origin":{"VCS":"git"}}` + "\n",
	"/example.com/!m/@v/v1.2.3-!r!c.info": `{"Version":"v1.2.3-RC"}`,
	"/example.com/!m/@v/main.info":        `{"Version":"v1.10.1-0.20200101000000-abcdefabcdef"}`,
	"/example.com/!m/@v/v2.0.0.info":      `{"Version":"v2.0.0+incompatible"}`,
	"/example.com/!m/@v/v1.2.3.mod":       "module example.com/original // a fork\n",
	"/example.com/!m/@v/v1.2.3.zip":       "PK...",
}

func TestClient(t *testing.T) {
	var header http.Header
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		if r.URL.RawQuery != "" || !strings.HasPrefix(r.URL.EscapedPath(), "/base/example.com/") || strings.Contains(r.URL.EscapedPath(), "!") {
			t.Errorf("asked for %s", r.URL)
		}
		http.StripPrefix("/base", files(exampleTree)).ServeHTTP(w, r)
	})
	checkClient(t, newClient(t, srv.URL+"/base/", upstream.Options{Via: "node-1"}))
	if header.Get(upstream.ViaHeader) != "node-1" || header.Get("User-Agent") != "registry-node" || header.Get("Accept-Encoding") != "identity" {
		t.Errorf("headers of the zip request: %v", header)
	}
}

func TestClientOfFiles(t *testing.T) {
	root := t.TempDir()
	for name, text := range exampleTree {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	c := newClient(t, "file://"+filepath.ToSlash(root), upstream.Options{})
	checkClient(t, c)

	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	if _, err := c.List(t.Context(), "example.com/none"); !errors.Is(err, upstream.ErrUnavailable) {
		t.Errorf("with the tree gone: %v, want %v", err, upstream.ErrUnavailable)
	}
}

func checkClient(t *testing.T, c *upstream.Client) {
	t.Helper()
	ctx := t.Context()
	list, err := c.List(ctx, mv.Path)
	if want := []string{"v1.2.3", "v1.3.0-rc.1", "v1.10.0", "v2.1.0+incompatible"}; err != nil || !slices.Equal(list, want) {
		t.Errorf("List = %q, %v; want %q", list, err, want)
	}
	if info, err := c.Latest(ctx, mv.Path); err != nil || info.Version != "v1.10.0" || !info.Time.IsZero() {
		t.Errorf("Latest = %+v, %v", info, err)
	}
	info, err := c.Info(ctx, mv)
	if err != nil || info.Version != mv.Version || !info.Time.Equal(time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)) ||
		string(info.Raw) != exampleTree["/example.com/!m/@v/v1.2.3.info"] {
		t.Errorf("Info = %+v, %v", info, err)
	}
	for version, want := range map[string]string{
		"v1.2.3-RC": "v1.2.3-RC",
		"v2.0.0":    "v2.0.0+incompatible", // does not fit the path, so the upstream may answer with what does
	} {
		if info, err := c.Info(ctx, module.Version{Path: mv.Path, Version: version}); err != nil || info.Version != want {
			t.Errorf("Info(%s) = %+v, %v; want %s", version, info, err, want)
		}
	}
	if info, err := c.Query(ctx, mv.Path, "main"); err != nil || info.Version != "v1.10.1-0.20200101000000-abcdefabcdef" {
		t.Errorf("Query(main) = %+v, %v", info, err)
	}
	for name, err := range map[string]error{
		"list":             second(c.List(ctx, "example.com/none")),
		"malformed path":   second(c.List(ctx, "example.com/a b")),
		"malformed query":  second(c.Query(ctx, mv.Path, "feature/x")),
		"version":          second(c.Info(ctx, module.Version{Path: mv.Path, Version: "v1.9.9"})),
		"go.mod of branch": second(c.Mod(ctx, module.Version{Path: mv.Path, Version: "main"})),
	} {
		if !errors.Is(err, upstream.ErrNotFound) {
			t.Errorf("%s: %v, want %v", name, err, upstream.ErrNotFound)
		}
	}
	if data, err := c.Mod(ctx, mv); err != nil || string(data) != exampleTree["/example.com/!m/@v/v1.2.3.mod"] {
		t.Errorf("Mod = %q, %v", data, err)
	}
	var zip bytes.Buffer
	if n, err := c.Zip(ctx, mv, &zip, nil); err != nil || n != 5 || zip.String() != "PK..." {
		t.Errorf("Zip = %d, %v, %q", n, err, zip.String())
	}
}

func second[T any](_ T, err error) error { return err }

// tlsServer starts an https server and returns options that trust it.
func tlsServer(t testing.TB, h http.HandlerFunc) (*httptest.Server, upstream.Options) {
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return srv, upstream.Options{TLS: &tls.Config{RootCAs: roots}}
}

func TestCredentials(t *testing.T) {
	var elsewhere http.Header
	other, _ := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		elsewhere = r.Header
		w.Write([]byte("v1.0.0\n"))
	})
	srv, opts := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case strings.HasPrefix(r.URL.Path, "/moved/"):
			http.Redirect(w, r, other.URL+"/list", http.StatusFound)
		case user+":"+password != "bot:s3cret":
			t.Errorf("credentials %q:%q", user, password)
		case strings.HasPrefix(r.URL.Path, "/echo/"):
			http.Error(w, "bad password s3cret", http.StatusForbidden)
		default:
			w.Write([]byte("v1.0.0\n"))
		}
	})
	opts.Inside = loopback
	withUser := func(path string) string {
		return "https://bot:s3cret@" + strings.TrimPrefix(srv.URL, "https://") + path
	}

	c := newClient(t, withUser(""), opts)
	if _, err := c.List(t.Context(), mv.Path); err != nil {
		t.Error(err)
	}
	if _, err := newClient(t, withUser("/moved"), opts).List(t.Context(), mv.Path); err != nil {
		t.Error(err)
	}
	if elsewhere == nil || elsewhere.Get("Authorization") != "" {
		t.Errorf("header after a redirect to another port: %v, want no credentials", elsewhere)
	}
	_, err := newClient(t, withUser("/echo"), opts).List(t.Context(), mv.Path)
	if !errors.Is(err, upstream.ErrForbidden) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "bot") {
		t.Errorf("error %v, want %v without the secret", err, upstream.ErrForbidden)
	}
	// A dead upstream's error comes from deep below.
	srv.Close()
	if _, err := c.List(t.Context(), mv.Path); !errors.Is(err, upstream.ErrUnavailable) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error %v, want %v without the secret", err, upstream.ErrUnavailable)
	}
}

func TestErrorDetail(t *testing.T) {
	for _, test := range []struct{ contentType, body, want string }{
		{"text/plain; charset=utf-8", "no such module\nask elsewhere\n\nstack trace", "no such module\nask elsewhere"},
		{"text/plain", strings.Repeat("line\n", 20), strings.Repeat("line\n", 7) + "line"},
		{"text/plain", "first\n" + strings.Repeat("x", 700), "first"},
		{"text/plain", "bell \a", ""},
		{"text/plain; charset=latin1", "x", ""},
		{"text/html", "<p>no", ""},
		{"", "x", ""},
	} {
		srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = []string{test.contentType}
			w.WriteHeader(http.StatusForbidden)
			w.Write([]byte(test.body))
		})
		_, err := newClient(t, srv.URL, upstream.Options{}).List(t.Context(), mv.Path)
		var e *upstream.Error
		if !errors.As(err, &e) || e.Detail != test.want || e.Status != http.StatusForbidden {
			t.Errorf("%q, %q: error %#v, want detail %q", test.contentType, test.body, err, test.want)
		}
	}
}

func TestCallerGivesUp(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	c := newClient(t, srv.URL+"|"+srv.URL, upstream.Options{MaxRequests: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.List(ctx, mv.Path); !errors.Is(err, upstream.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the caller's deadline: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := c.List(ctx, mv.Path); !errors.Is(err, context.Canceled) || errors.Is(err, upstream.ErrTimeout) {
		t.Errorf("after cancellation: %v", err)
	}
}
