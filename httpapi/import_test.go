package httpapi_test

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

// part is a part of a multipart body.
type part struct{ name, text string }

// form returns a multipart body of parts, and its content type.
func form(t testing.TB, parts ...part) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		to, err := w.CreateFormField(p.name)
		if err == nil {
			_, err = to.Write([]byte(p.text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), w.FormDataContentType()
}

// imports sends the parts of a version to a repository. The query begins with a ?,
// or is empty.
func (g *registry) imports(repo, path, version, query string, parts ...part) answer {
	g.t.Helper()
	body, contentType := form(g.t, parts...)
	return g.do("PUT", "/api/v1/repos/"+repo+"/imports/"+path+"/@v/"+version+query, strings.NewReader(body), "Content-Type", contentType)
}

// TestImport imports a version in two steps, asks what is missing in between, and
// has the go command get it from a repository whose upstream is dead.
func TestImport(t *testing.T) {
	g := newRegistry(t)
	mv := module.Version{Path: "up.test/Sub/m", Version: "v1.0.0"}
	zip, mod := zipOf(t, mv, tree(mv.Path))
	modH1 := events.HashMod([]byte(mod)).String()
	parts := []part{{"info", infoOf(mv.Version)}, {"mod", mod}, {"zip", string(zip)}}
	h1 := ""
	missing := func(zipH1 string) string {
		t.Helper()
		a := g.do("POST", "/api/v1/repos/dead/imports/missing", strings.NewReader(fmt.Sprintf(
			`{"versions":[{"module":%q,"version":%q,"mod_h1":%q,"zip_h1":%q}]}`, mv.Path, mv.Version, modH1, zipH1)))
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return strings.TrimSpace(a.body)
	}
	const wanted = `{"missing":[{"module":"up.test/Sub/m","version":"v1.0.0"}],"refused":[]}`
	const nothing = `{"missing":[],"refused":[]}`
	if got := missing(""); got != wanted {
		t.Errorf("before: %s", got)
	}
	for i, tt := range []struct {
		path, query string
		parts       []part
		status      int
	}{
		{"up.test/!sub/m", "?mod_h1=" + url.QueryEscape(modH1), parts[:2], 201},
		{"up.test/Sub/m", "", parts[1:2], 200},
		{"up.test/Sub/m", "?unproved=true&mod_h1=" + modH1, parts, 201}, // a + in it is not escaped
		{"up.test/Sub/m", "", parts[1:], 200},
	} {
		seq := g.seq()
		a := g.imports("dead", tt.path, mv.Version, tt.query, tt.parts...)
		if a.status != tt.status || a.status == 200 != (g.seq() == seq) {
			t.Fatalf("%d: %d %s, want %d; the log is at %d, was at %d", i, a.status, a.body, tt.status, g.seq(), seq)
		}
		got := decode[node.Imported](t, a.body)
		if got.Module != mv.Path || got.Version != mv.Version || got.ModH1.String() != modH1 || a.header.Get("Registry-Position") == "" {
			t.Errorf("%d: %s %v", i, a.body, a.header)
		}
		h1 = got.H1.String()
	}
	if got := missing(h1); got != nothing {
		t.Errorf("after: %s", got)
	}
	if got := missing(modH1); !strings.Contains(got, `"missing":[],"refused":[{"module":"up.test/Sub/m","version":"v1.0.0","code":"exists","message":"`) {
		t.Errorf("other content: %s", got)
	}
	out, err := g.goCommand(t, "dead", []string{"GOSUMDB=off"}, "mod", "download", "-json", "up.test/Sub/m@v1.0.0")
	if err != nil || !strings.Contains(out, h1) {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestImportIsProved has a version checked by a checksum database.
func TestImportIsProved(t *testing.T) {
	g := newRegistry(t)
	newDatabase(t, g)
	mv := module.Version{Path: "up.test/m", Version: "v1.0.0"}
	g.proxy.add(t, mv.Path, mv.Version, tree(mv.Path))
	zip, mod := zipOf(t, mv, tree(mv.Path))
	forged := tree(mv.Path)
	forged["evil.go"] = "package evil"
	bad, _ := zipOf(t, mv, forged)
	a := g.imports("checked", mv.Path, mv.Version, "", part{"mod", mod}, part{"zip", string(bad)})
	if a.status != 422 || !strings.Contains(a.body, "SECURITY ERROR") {
		t.Errorf("forged: %d %s", a.status, a.body)
	}
	g.sumsFault.Store(503)
	a = g.imports("checked", mv.Path, mv.Version, "", part{"mod", mod}, part{"zip", string(zip)})
	if a.status != 422 && a.status != 201 { // it has been asked of it before
		t.Errorf("%d %s", a.status, a.body)
	}
	a = g.imports("checked", "up.test/other", "v1.0.0", "", part{"mod", "module up.test/other\n"})
	if a.status != 503 || !strings.Contains(a.body, "--unproved") {
		t.Errorf("the database is away: %d %s", a.status, a.body)
	}
	g.sumsFault.Store(0)
	if a := g.imports("checked", mv.Path, mv.Version, "", part{"mod", mod}, part{"zip", string(zip)}); a.status >= 300 || !strings.Contains(a.body, `"checked_by":"sum.test"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestImportRefusals sends what is no import.
func TestImportRefusals(t *testing.T) {
	g := newRegistry(t)
	const path = "up.test/m"
	zip, mod := zipOf(t, module.Version{Path: path, Version: "v1.0.0"}, tree(path))
	whole, contentType := form(t, part{"mod", mod}, part{"zip", string(zip)})
	seq := g.seq()
	for what, tt := range map[string]struct {
		query, body, contentType string
		status                   int
		part                     string
	}{
		"no form":            {"", "x", "text/plain", 400, "multipart"},
		"no boundary":        {"", whole, "multipart/form-data", 400, "multipart"},
		"nothing":            {"", "", contentType, 400, "not whole"},
		"cut in the zip":     {"", whole[:len(whole)-200], contentType, 400, "not whole"},
		"cut behind the zip": {"", whole[:len(whole)-4], contentType, 400, "not whole"},
		"unknown parameter":  {"?h1=x", whole, contentType, 400, "unknown parameter"},
		"parameter no hash":  {"?zip_h1=x", whole, contentType, 400, "zip_h1"},
		"parameter no truth": {"?unproved=yes", whole, contentType, 400, "unproved"},
		"other go.mod":       {"?mod_h1=h1:47DEQpj8HBSa%2B/TImW%2B5JCeuQeRkm5NMpJWZG3hSuFU=", whole, contentType, 422, "as the request says"},
		"other zip":          {"?zip_h1=h1:47DEQpj8HBSa%2B/TImW%2B5JCeuQeRkm5NMpJWZG3hSuFU=", whole, contentType, 422, "as the request says"},
	} {
		a := g.do("PUT", "/api/v1/repos/dead/imports/"+path+"/@v/v1.0.0"+tt.query, strings.NewReader(tt.body), "Content-Type", tt.contentType)
		if a.status != tt.status || !strings.Contains(a.body, tt.part) {
			t.Errorf("%s: %d %s, want %d with %q", what, a.status, a.body, tt.status, tt.part)
		}
	}
	for what, parts := range map[string][]part{
		"no go.mod":     {{"zip", string(zip)}},
		"other order":   {{"mod", mod}, {"info", infoOf("v1.0.0")}},
		"two zips":      {{"mod", mod}, {"zip", string(zip)}, {"zip", string(zip)}},
		"large info":    {{"info", noise(events.MaxInline + 1)}, {"mod", mod}},
		"large go.mod":  {{"mod", "module up.test/m\n//" + strings.Repeat("x", 16<<20)}},
		"unknown parts": {{"mod", mod}, {"sum", "x"}},
	} {
		if a := g.imports("dead", path, "v1.0.0", "", parts...); a.status != 400 && a.status != 413 {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	for _, target := range []string{"nowhere/imports/up.test/m/@v/v1.0.0", "dead/imports/up.test/m", "dead/imports/up.test/m/@v/main", "local/imports/up.test/m/@v/v1.0.0", "dead/imports/missing"} {
		if a := g.do("PUT", "/api/v1/repos/"+target, strings.NewReader(whole), "Content-Type", contentType); a.status < 400 || a.status >= 500 {
			t.Errorf("%s: %d %s", target, a.status, a.body)
		}
	}
	for _, body := range []string{``, `{}`, `{"versions":[]}`, `{"versions":[{"module":"m.test/a","version":"v1.0.0","mod_h1":"x"}]}`, `[]`} {
		if a := g.do("POST", "/api/v1/repos/dead/imports/missing", strings.NewReader(body)); a.status != 400 {
			t.Errorf("missing %s: %d %s", body, a.status, a.body)
		}
	}
	if got := g.seq(); got != seq {
		t.Errorf("the log grew from %d to %d", seq, got)
	}
	if left := g.staged(); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
