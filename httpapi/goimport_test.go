package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"registry-node/events"
	"registry-node/httpapi"
)

// open lets everybody read the local repository.
func (g *registry) open(t *testing.T) {
	t.Helper()
	grant := events.Grant{Principals: []string{events.Anonymous}, Repos: []string{"local"}, Actions: []string{"read"}}
	if _, _, err := g.node.PutPermission(t.Context(), op, "open", grant); err != nil {
		t.Fatal(err)
	}
}

// importOf asks a host where the modules of a path are.
func (g *registry) importOf(host, path string) answer {
	r := httptest.NewRequest("GET", path+"?go-get=1", nil)
	r.Host = host
	w := httptest.NewRecorder()
	g.server.Handler(httpapi.Public).ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// A host that leads to the registry serves the modules of its paths to a go command
// that has no GOPROXY.
func TestGoImport(t *testing.T) {
	g := filled(t)
	target, err := url.Parse(g.base)
	if err != nil {
		t.Fatal(err)
	}
	// It leads the host name to the registry, as DNS would.
	toRegistry := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = target.Scheme, target.Host, r.In.Host
	}}
	dns := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			http.Error(w, "no TLS here", http.StatusBadGateway)
			return
		}
		toRegistry.ServeHTTP(w, r)
	}))
	defer dns.Close()
	for _, path := range []string{"/a", "/none"} {
		if a := g.importOf("corp.test", path); a.status != http.StatusUnauthorized || strings.Contains(a.body, "local") {
			t.Errorf("%s before it may be read: %d %s", path, a.status, a.body)
		}
	}
	env := []string{"GOPROXY=direct", "GOINSECURE=corp.test", "GOVCS=*:off", "HTTP_PROXY=" + dns.URL, "HTTPS_PROXY=" + dns.URL}
	out, err := g.goCommand(t, "unused", env, "get", "corp.test/a@v1.0.0")
	if err == nil || !strings.Contains(out, "to read corp.test/a takes credentials") {
		t.Errorf("%v\n%s", err, out)
	}
	g.open(t)
	for _, tt := range []struct{ args, want string }{
		{"list -m -versions corp.test/a", "corp.test/a v1.0.0 v1.1.0-RC1"},
		{"mod download -json corp.test/a/v2@v2.3.4", `"Sum": "h1:`},
		{"list -m corp.test/Acme/Tiny@latest", "corp.test/Acme/Tiny v1.0.0"},
		{"get corp.test/a@v1.0.0", "added corp.test/a v1.0.0"},
	} {
		if out, err := g.goCommand(t, "unused", env, strings.Fields(tt.args)...); err != nil || !strings.Contains(out, tt.want) {
			t.Errorf("go %s: %v\n%s\nwant %q", tt.args, err, out, tt.want)
		}
	}
}

func TestGoImportAnswers(t *testing.T) {
	g := filled(t)
	g.open(t)
	for _, tt := range []struct {
		host, path string
		status     int
		want       string
	}{
		{"corp.test", "/a", 200, `<meta name="go-import" content="corp.test/a mod http://corp.test/go/local">`},
		{"corp.test", "/a/", 200, `content="corp.test/a mod `},
		{"Corp.Test:8080", "/Acme/x", 200, `content="corp.test/Acme/x mod http://Corp.Test:8080/go/local"`},
		{"corp.test", "/go/all/x/@v/list", 404, "@"},
		{"corp.test", "/a/%22%3E%3Cscript%3E", 400, "invalid"},
		{"up.test", "/m", 404, "belongs to no local repository"},
		{"corp.test", "/", 200, `content="corp.test mod `},
		{"..", "/a", 400, ""},
	} {
		a := g.importOf(tt.host, tt.path)
		if a.status != tt.status || !strings.Contains(a.body, tt.want) {
			t.Errorf("%s%s: %d %s, want %d with %s", tt.host, tt.path, a.status, a.body, tt.status, tt.want)
		}
	}
}
