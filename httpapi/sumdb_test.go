package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/sumdb/note"

	"registry-node/events"
)

// newDatabase starts a checksum database that knows what the proxy of g serves,
// and makes a repository called checked that fetches only what is in there. It
// returns the database's key, for clients.
func newDatabase(t *testing.T, g *registry) (key string) {
	t.Helper()
	signer, key, err := note.GenerateKey(nil, "sum.test")
	if err != nil {
		t.Fatal(err)
	}
	sums := sumdb.NewServer(sumdb.NewTestServer(signer, func(path, version string) ([]byte, error) {
		return g.proxy.sums(t, module.Version{Path: path, Version: version})
	}))
	db := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := g.sumsFault.Load(); status != 0 {
			http.Error(w, "says so", int(status))
			return
		}
		sums.ServeHTTP(w, r)
	}))
	t.Cleanup(db.Close)
	a := g.do("POST", "/api/v1/repos", strings.NewReader(
		`{"name":"checked","kind":"remote","settings":{"upstream":"`+g.proxy.url+`","sumdb":"`+key+` `+db.URL+`"}}`))
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	return key
}

// sums returns the lines of go.sum for what the proxy serves.
func (p *proxy) sums(t *testing.T, mv module.Version) ([]byte, error) {
	p.mu.Lock()
	base := "/" + mv.Path + "/@v/" + mv.Version
	zip, mod := p.files[base+".zip"], p.files[base+".mod"]
	p.mu.Unlock()
	if zip == "" {
		return nil, os.ErrNotExist
	}
	file := filepath.Join(t.TempDir(), "zip")
	if err := os.WriteFile(file, []byte(zip), 0o600); err != nil {
		return nil, err
	}
	h1, err := dirhash.HashZip(file, dirhash.Hash1)
	what := mv.Path + " " + mv.Version
	return []byte(what + " " + h1 + "\n" + what + "/go.mod " + events.HashMod([]byte(mod)).String() + "\n"), err
}

// TestChecksumDatabase has the go command verify a download through us, against
// a database that it can't reach itself.
func TestChecksumDatabase(t *testing.T) {
	g := filled(t)
	key := newDatabase(t, g)
	out, err := g.goCommand(t, "checked", []string{"GOSUMDB=" + key}, "mod", "download", "-json", "up.test/m@v1.2.0")
	if err != nil || !strings.Contains(out, `"Sum": "h1:`) {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, tt := range []struct{ path, contentType, cache string }{
		{"sum.test/supported", "text/plain; charset=UTF-8", "private, max-age=86400"},
		{"sum.test/latest", "text/plain; charset=UTF-8", "private, max-age=3600"},
		{"sum.test/lookup/up.test/m@v1.2.0", "text/plain; charset=UTF-8", "private, max-age=86400"},
		{"sum.test/tile/8/0/000.p/1", "application/octet-stream", forever},
	} {
		target := "/go/checked/sumdb/" + tt.path
		a := g.get(target)
		if a.status != http.StatusOK || a.header.Get("Content-Type") != tt.contentType || a.header.Get("Cache-Control") != tt.cache {
			t.Errorf("%s: %d %q %v", tt.path, a.status, a.body, a.header)
		}
		checkHead(t, g, target, a)
	}
	for _, tt := range []struct {
		path   string
		status int
		part   string
	}{
		{"sum.test/lookup/up.test/none@v1.0.0", 404, "up.test/none"},
		{"sum.test/lookup/up.test/m", 404, "up.test/m"},
		{"sum.test/tile/9/0/000", 404, "tile"},
		{"sum.test/what", 404, "what"},
		{"other.test/supported", 404, "no such checksum database"},
		{"sum.test/lookup/corp.test/a@v1.0.0", 403, "GONOSUMDB"},
	} {
		a := g.get("/go/checked/sumdb/" + tt.path)
		if a.status != tt.status || !strings.Contains(a.body, tt.part) {
			t.Errorf("%s: %d %q, want %d with %q", tt.path, a.status, a.body, tt.status, tt.part)
		}
		checkShown(t, a.body)
	}
}
