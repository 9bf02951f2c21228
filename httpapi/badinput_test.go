package httpapi_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode"
)

// checked does what a bad request asks for and checks that it leaves nothing:
// no entry in the log, no staged file.
func (g *registry) checked(t *testing.T, do func() answer) answer {
	t.Helper()
	seq := g.seq()
	a := do()
	if now := g.seq(); now != seq {
		t.Errorf("the log went from entry %d to %d", seq, now)
	}
	if left := g.staged(); len(left) > 0 {
		t.Errorf("staged files are left: %v", left)
	}
	return a
}

// TestBadModulePaths is the corpus of what is wrong below /go/. All of it is 404,
// with a text that the go command shows.
func TestBadModulePaths(t *testing.T) {
	g := filled(t)
	long := strings.Repeat("a", 1100)
	tests := []struct{ target, part string }{
		// No repository.
		{"/go", "lacks a repository"},
		{"/go/", "is empty"},
		{"/go/nowhere/m.test/a/@v/list", `no repository called "nowhere"`},
		{"/go/ALL/m.test/a/@v/list", "may only have a-z"},
		{"/go/-all/m.test/a/@v/list", "may only have a-z"},
		{"/go/%61ll/m.test/a/@v/list", "may only have a-z"},
		{"/go/a%2fb/m.test/a/@v/list", "may only have a-z"},
		{"/go/../go/all/m.test/a/@v/list", "may only have a-z"},
		{"/go/" + strings.Repeat("a", 33) + "/m.test/a/@v/list", "longer than 32"},
		{"/go//m.test/a/@v/list", "is empty"},
		// No request.
		{"/go/all", "empty element"},
		{"/go/all/", "empty element"},
		{"/go/all/m.test/a", "none of <module>/@v/list"},
		{"/go/all/m.test/a/", "empty element"},
		{"/go/all/m.test/a/@v", "none of <module>/@v/list"},
		{"/go/all/m.test/a/@v/", "empty element"},
		{"/go/all/m.test/a/@latest/", "empty element"},
		{"/go/all/@v/list", "none of <module>/@v/list"},
		{"/go/all/@latest", "none of <module>/@v/list"},
		{"/go/all/m.test/a/@v/lists", "neither list nor a version"},
		{"/go/all/m.test/a/@v/List", "neither list nor a version"},
		{"/go/all/m.test/a/@v/v1.0.0", "ends in none of .info, .mod, .zip"},
		{"/go/all/m.test/a/@v/v1.0.0.tar", "ends in none of .info, .mod, .zip"},
		{"/go/all/m.test/a/@v/v1.0.0.ZIP", "ends in none of .info, .mod, .zip"},
		{"/go/all/m.test/a/@v/v1.0.0.ziphash", "ends in none of .info, .mod, .zip"},
		{"/go/all/cached-only", "none of <module>/@v/list"},
		{"/go/all/cached-only/m.test/a", "none of <module>/@v/list"},
		{"/go/all/cached-only/cached-only/m.test/a/@v/list", "missing dot"},
		{"/go/all/index", "none of <module>/@v/list"},
		// Bad bytes.
		{"/go/all/m.test//a/@v/list", "empty element"},
		{"/go/all//m.test/a/@v/list", "empty element"},
		{"/go/all/m.test/../a/@v/list", `element ".."`},
		{"/go/all/../../etc/passwd", `element ".."`},
		{"/go/all/m.test/%2e%2e/a/@v/list", `element ".."`},
		{"/go/all/m.test/./a/@v/list", `element "."`},
		{"/go/all/m.test/a%2fb/@v/list", "%2f"},
		{"/go/all/m.test%2Fa/@v/list", "%2F"},
		{"/go/all/m.test/a/@v/x%2Fy.info", "%2F"},
		{"/go/all/m.test/a%5cb/@v/list", "%5c"},
		{"/go/all/m.test/a\\b/@v/list", "%5C"},
		{"/go/all/m.test/a%00/@v/list", "%00"},
		{"/go/all/m.test/a%0a/@v/list", `'\n'`},
		{"/go/all/m.test/a%20b/@v/list", "' '"},
		{"/go/all/m.test/%C3%A4/@v/list", "the character"},
		{"/go/all/m.test/\u00e4/@v/list", "the character"},
		{"/go/all/m.test/a%7f/@v/list", "the character"},
		{"/go/all/m.test/%2521a/@v/list", "'%'"}, // encoded twice
		{"/go/all/m.test/" + long + "/@v/list", "longer than 1024"},
		{"/go/all/m.test/a/@v/v1.0.0-" + long[:122] + ".zip", "longer than 128"},
		// Bad module paths.
		{"/go/all/m.test/Acme/@v/list", "m.test/Acme"},
		{"/go/all/m.test/!Acme/@v/list", "!Acme"},
		{"/go/all/m.test/!/@v/list", "m.test/!"},
		{"/go/all/m.test/!!a/@v/list", "!!a"},
		{"/go/all/m.test/!1/@v/list", "!1"},
		{"/go/all/nodot/a/@v/list", "missing dot"},
		{"/go/all/.test/a/@v/list", "leading dot"},
		{"/go/all/-m.test/a/@v/list", "leading dash"},
		{"/go/all/m.test/a./@v/list", "trailing dot"},
		{"/go/all/m.test/con/@v/list", "con"},
		{"/go/all/m.test/a:b/@v/list", "':'"},
		{"/go/all/m.test/a@b/@v/list", "'@'"},
		{"/go/all/m.test/a/@v/x/@v/list", "'@'"},
		{"/go/all/m.test/a/v1/@v/list", "v1"},
		{"/go/all/m.test/a/v02/@v/list", "v02"},
		{"/go/all/gopkg.in/yaml/@v/list", "gopkg.in/yaml"},
		// Bad versions.
		{"/go/all/m.test/a/@v/.info", "version"},
		{"/go/all/m.test/a/@v/.zip", "version"},
		{"/go/all/m.test/a/@v/V1.0.0.info", "V1.0.0"},
		{"/go/all/m.test/a/@v/feature/x.info", "feature/x"},
		{"/go/all/m.test/a/@v/v1.mod", "m.test/a@v1"},
		{"/go/all/m.test/a/@v/v1.0.zip", "m.test/a@v1.0"},
		{"/go/all/m.test/a/@v/1.0.0.zip", "m.test/a@1.0.0"},
		{"/go/all/m.test/a/@v/main.zip", "m.test/a@main"},
		{"/go/all/m.test/a/@v/v01.0.0.zip", "m.test/a@v01.0.0"},
		{"/go/all/m.test/a/@v/v1.0.0+meta.zip", "m.test/a@v1.0.0+meta"},
		{"/go/all/m.test/a/@v/v2.0.0.zip", "should be v0 or v1, not v2"},
		{"/go/all/m.test/a/v2/@v/v1.0.0.mod", "should be v2, not v1"},
		{"/go/all/m.test/a/v2/@v/v2.0.0+incompatible.mod", "incompatible"},
		// Checksum databases that are not proxied.
		{"/go/all/sumdb", "none of <module>/@v/list"},
		{"/go/all/sumdb/", "empty element"},
		{"/go/all/sumdb/evil.test/supported", "proxies no such checksum database"},
		{"/go/all/sumdb/evil.test/lookup/m.test/a@v1.0.0", "proxies no such checksum database"},
		{"/go/all/sumdb/127.0.0.1:1/latest", "proxies no such checksum database"},
		// Well-formed, and known not to be there.
		{"/go/local/corp.test/a/@v/v1.9.9.zip", "corp.test/a@v1.9.9: not found in repository local"},
		{"/go/local/corp.test/none/@v/list", "corp.test/none: no such module in repository local"},
		{"/go/local/corp.test/a/@v/main.info", "corp.test/a@main"},
		{"/go/public/up.test/none/@v/list", "up.test/none: no such module in repository public"},
		{"/go/public/up.test/m/@v/v1.9.9.mod", "up.test/m@v1.9.9: not found upstream of repository public"},
		{"/go/all/up.test/none/@latest", "up.test/none"},
	}
	for _, tt := range tests {
		t.Run(clipName(tt.target), func(t *testing.T) {
			a := g.checked(t, func() answer { return g.get(tt.target) })
			if a.status != http.StatusNotFound || !strings.Contains(a.body, tt.part) {
				t.Errorf("%d %q, want 404 with %q", a.status, a.body, tt.part)
			}
			if got := a.header.Get("Content-Type"); got != textType {
				t.Errorf("Content-Type %q", got)
			}
			if got := a.header.Get("Cache-Control"); got != briefly {
				t.Errorf("Cache-Control %q", got)
			}
			checkShown(t, a.body)
			checkHead(t, g, tt.target, a)
		})
	}
}

// checkShown checks that the go command shows the text, see the GOPROXY
// client's rules for error bodies.
func checkShown(t *testing.T, body string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
	if len(body) > 648 || len(lines) > 3 {
		t.Errorf("text of %d bytes, %d lines", len(body), len(lines))
	}
	for _, l := range lines {
		if strings.TrimSpace(l) == "" || strings.ContainsFunc(l, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("line %q is not shown", l)
		}
	}
}

func clipName(s string) string { return s[:min(len(s), 60)] }

// rawZip makes a zip of any entries, in order: name, text, name, text, …
func rawZip(t *testing.T, entries ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		f, err := w.Create(entries[i])
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(entries[i+1]))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestBadPublications is the corpus of what can be wrong with a publication.
func TestBadPublications(t *testing.T) {
	g := filled(t)
	mod := func(text string) []string { return []string{"corp.test/x@v1.0.0/go.mod", text} }
	good := rawZip(t, mod("module corp.test/x\n")...)
	const x = "local/modules/corp.test/x/@v/v1.0.0"
	tests := []struct {
		target string // after /api/v1/repos/
		body   string
		status int
		part   string
	}{
		// Path.
		{"nowhere/modules/corp.test/x/@v/v1.0.0", good, 404, `no repository called \"nowhere\"`},
		{"LOCAL/modules/corp.test/x/@v/v1.0.0", good, 400, "may only have a-z"},
		{"public/modules/corp.test/x/@v/v1.0.0", good, 403, "local repositories here: local"},
		{"local/modules/corp.test/x", good, 400, "lacks /@v/<version>"},
		{"local/modules/corp.test/x/@v/", good, 400, "empty element"},
		{"local/modules/corp.test//x/@v/v1.0.0", good, 400, "empty element"},
		{"local/modules/corp.test/../x/@v/v1.0.0", good, 400, `element \"..\"`},
		{"local/modules/corp.test%2Fx/@v/v1.0.0", good, 400, "%2F"},
		{"local/modules/corp.test/x%00/@v/v1.0.0", good, 400, "%00"},
		{"local/modules/corp.test/%C3%A4/@v/v1.0.0", good, 400, "the character"},
		{"local/modules/corp.test/!X/@v/v1.0.0", good, 400, "!X"},
		{"local/modules/nodot/@v/v1.0.0", good, 400, "missing dot"},
		{"local/modules/corp.test/" + strings.Repeat("a", 1100) + "/@v/v1.0.0", good, 400, "longer than 1024"},
		{"local/modules/corp.test/x/@v/1.0.0", good, 400, "1.0.0"},
		{"local/modules/corp.test/x/@v/v1.0", good, 400, "v1.0"},
		{"local/modules/corp.test/x/@v/main", good, 400, "main"},
		{"local/modules/corp.test/x/@v/v1.0.0.zip", good, 400, "v1.0.0.zip"},
		{"local/modules/corp.test/x/@v/v1.0.0+meta", good, 400, "v1.0.0+meta"},
		{"local/modules/corp.test/x/@v/v2.0.0", good, 400, "should be v0 or v1"},
		{"local/modules/corp.test/x/v2/@v/v1.0.0", good, 400, "should be v2"},
		{"local/modules/corp.test/x/@v/v1.0.0-" + strings.Repeat("a", 125), good, 400, "longer than 128"},
		{"local/modules/other.test/x/@v/v1.0.0", good, 403, "registry-node repo set local --owns 'other.test/**'"},
		// Parameters.
		{x + "?time=yesterday", good, 400, "RFC 3339"},
		{x + "?time=1969-01-01T00:00:00Z", good, 400, "before 1970"},
		{x + "?time=9999-12-31T23:59:59-23:59", good, 400, "after 9999"},
		{x + "?h1=abc", good, 400, "has no prefix h1"},
		{x + "?h1=h1:abc", good, 400, "base64"},
		{x + "?what=this", good, 400, `unknown parameter \"what\"`},
		{x + "?time=2024-01-01T00:00:00Z&time=2024-01-01T00:00:00Z", good, 400, "more than once"},
		{x + "?h1=h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=", good, 422, "as the request says"},
		{x + "?%zz", good, 400, "%zz"},
		// Zip.
		{x, "", 422, "corp.test/x@v1.0.0"},
		{x, "<html>no zip</html>", 422, "corp.test/x@v1.0.0"},
		{x, good[:len(good)/2], 422, "corp.test/x@v1.0.0"},
		{x, rawZip(t, "go.mod", "module corp.test/x\n"), 422, "corp.test/x@v1.0.0/"},
		{x, rawZip(t, "corp.test/x@v1.0.1/go.mod", "module corp.test/x\n"), 422, "corp.test/x@v1.0.0/"},
		{x, rawZip(t, append(mod("module corp.test/x\n"), "corp.test/x@v1.0.0/../evil", "x")...), 422, "evil"},
		{x, rawZip(t, append(mod("module corp.test/x\n"), "/etc/passwd", "x")...), 422, "/etc/passwd"},
		{x, rawZip(t, append(mod("module corp.test/x\n"), "corp.test/x@v1.0.0/A", "x", "corp.test/x@v1.0.0/a", "y")...), 422, "case"},
		{x, rawZip(t, append(mod("module corp.test/x\n"), "corp.test/x@v1.0.0/a", "x", "corp.test/x@v1.0.0/a", "y")...), 422, "a"},
		{x, rawZip(t, append(mod("module corp.test/x\n"), "corp.test/x@v1.0.0/dir/", "")...), 422, "dir/"},
		{x, rawZip(t, append(mod("module corp.test/x\n"), "corp.test/x@v1.0.0/con", "x")...), 422, "con"},
		{x, rawZip(t, append(mod("module corp.test/x\n"), "corp.test/x@v1.0.0/sub/go.mod", "module y.test\n")...), 422, "go.mod"},
		{x, rawZip(t, "corp.test/x@v1.0.0/GO.MOD", "module corp.test/x\n"), 422, "GO.MOD"},
		// go.mod.
		{x, rawZip(t, mod("module corp.test/y\n")...), 422, "says module corp.test/y"},
		{x, rawZip(t, mod("")...), 422, "go.mod"},
		{x, rawZip(t, mod("go 1.21\n")...), 422, "no module line"},
		{x, rawZip(t, mod("module corp.test/x\n"+strings.Repeat("/", 17<<20))...), 422, "go.mod"},
		{"local/modules/corp.test/x/@v/v2.0.0+incompatible", rawZip(t, "corp.test/x@v2.0.0+incompatible/go.mod", "module corp.test/x\n"), 422, "is not +incompatible"},
		// Taken.
		{"local/modules/corp.test/a/@v/v1.0.0", rawZip(t, "corp.test/a@v1.0.0/go.mod", "module corp.test/a\n"), 409, "already with other content: h1:"},
		{"all/modules/corp.test/a/@v/v1.0.0", rawZip(t, "corp.test/a@v1.0.0/go.mod", "module corp.test/a\n"), 409, "published at 20"},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprintf("%02d %s", i, clipName(tt.target)), func(t *testing.T) {
			a := g.checked(t, func() answer { return g.do("PUT", "/api/v1/repos/"+tt.target, strings.NewReader(tt.body)) })
			checkProblem(t, a, tt.status, tt.part)
		})
	}
	if a := g.get("/go/local/corp.test/x/@v/list"); a.status != http.StatusNotFound {
		t.Errorf("corp.test/x is there: %d %q", a.status, a.body)
	}
}

// checkProblem checks that a is an error of the API that says what is wrong.
func checkProblem(t *testing.T, a answer, status int, part string) {
	t.Helper()
	if a.status != status || !strings.Contains(a.body, part) {
		t.Errorf("%d %s, want %d with %q", a.status, a.body, status, part)
	}
	p := decode[struct {
		Error struct{ Code, Message string }
	}](t, a.body)
	if p.Error.Code == "" || p.Error.Message == "" || a.header.Get("Content-Type") != jsonType || a.header.Get("Cache-Control") != never {
		t.Errorf("not an error of the API: %q, %v", a.body, a.header)
	}
	if status != http.StatusInternalServerError && strings.Contains(a.body, "internal") {
		t.Errorf("says no more than that it is internal: %s", a.body)
	}
}

// TestBadManagement is the corpus of what can be wrong with management.
func TestBadManagement(t *testing.T) {
	g := newRegistry(t)
	const repos = "/api/v1/repos"
	big := `{"name":"x","kind":"local","settings":{"description":"` + strings.Repeat("a", 1<<20) + `"}}`
	tests := []struct {
		method, target, body string
		status               int
		part                 string
	}{
		{"POST", repos, "", 400, "it is empty"},
		{"POST", repos, "null", 400, "needs a name"},
		{"POST", repos, "[]", 400, "array"},
		{"POST", repos, "{", 400, "JSON"},
		{"POST", repos, `{"name":"x"}`, 400, "needs a name and a kind"},
		{"POST", repos, `{"kind":"local"}`, 400, "needs a name and a kind"},
		{"POST", repos, `{"name":"X","kind":"local"}`, 400, "may only have a-z"},
		{"POST", repos, `{"name":"x","kind":"npm"}`, 400, "none of local, remote, virtual"},
		{"POST", repos, `{"name":"x","kind":"local","colour":"red"}`, 400, `colour`},
		{"POST", repos, `{"name":"x","kind":"local"} {}`, 400, "follows the JSON value"},
		{"POST", repos, `{"name":1,"kind":"local"}`, 400, "name"},
		{"POST", repos, big, 413, "larger than 1 MiB"},
		{"POST", repos, `{"name":"local","kind":"local"}`, 409, `called \"local\" already`},
		{"POST", repos, `{"name":"x","kind":"local","settings":{"owns":["a//b"]}}`, 400, "a//b"},
		{"POST", repos, `{"name":"x","kind":"local","settings":{"owns":["corp.test/**"]}}`, 400, "owned by repository local"},
		{"POST", repos, `{"name":"x","kind":"local","settings":{"upstream":"http://127.0.0.1:1"}}`, 400, "only a remote repository"},
		{"POST", repos, `{"name":"x","kind":"remote"}`, 400, "needs an upstream"},
		{"POST", repos, `{"name":"x","kind":"remote","settings":{"upstream":"http://127.0.0.1:1"}}`, 400, "checksum database"},
		{"POST", repos, `{"name":"x","kind":"remote","settings":{"upstream":"http://u:secret@127.0.0.1:1","sumdb":"off"}}`, 400, "credentials"},
		{"POST", repos, `{"name":"x","kind":"remote","settings":{"upstream":"http://127.0.0.1:1,direct","sumdb":"off"}}`, 400, "direct"},
		{"POST", repos, `{"name":"x","kind":"remote","settings":{"upstream":"http://127.0.0.1:1","sumdb":"evil"}}`, 400, "evil"},
		{"POST", repos, `{"name":"x","kind":"virtual"}`, 400, "1 to 64 members"},
		{"POST", repos, `{"name":"x","kind":"virtual","settings":{"members":["none"]}}`, 400, `no repository called \"none\"`},
		{"POST", repos, `{"name":"x","kind":"virtual","settings":{"members":["all"]}}`, 400, "is virtual"},
		{"GET", repos + "/none", "", 404, "none"},
		{"GET", repos + "/NONE", "", 400, "may only have a-z"},
		{"PATCH", repos + "/local", "{}", 400, "nothing to change"},
		{"PATCH", repos + "/local", `{"owns":["a.test"]}`, 400, "owns"},
		{"PATCH", repos + "/local", `{"upstream":"http://127.0.0.1:1"}`, 400, "only a remote repository"},
		{"PATCH", repos + "/none", `{"description":"x"}`, 404, "none"},
		{"DELETE", repos + "/local", "", 409, "is a member of all"},
		{"DELETE", repos + "/none", "", 404, "none"},
		{"DELETE", repos + "/dead?why=x", "", 400, `unknown parameter \"why\"`},
		{"POST", repos + "/local/restore", "", 409, "is not deleted"},
		{"POST", repos + "/none/restore", "", 404, "none"},
		{"GET", "/api/v1/log?from=x", "", 400, "not the number of an entry"},
		{"GET", "/api/v1/log?from=-1", "", 400, "not the number of an entry"},
		{"GET", "/api/v1/log?site=THERE", "", 400, "may only have a-z"},
		{"GET", "/api/v1/log?site=there", "", 404, "there"},
		{"GET", "/api/v1/log?seq=1", "", 400, "known are: site, from"},
		{"GET", "/", "", 404, "nothing at this path"},
		{"GET", "/api/v1", "", 404, "nothing at this path"},
		{"GET", "/api/v1/none", "", 404, "nothing at this path"},
		{"GET", "/gone/x", "", 404, "nothing at this path"},
		{"PUT", repos, "{}", 405, "Allow"},
		{"GET", "/api/v1/verify", "", 405, "Allow"},
		{"POST", "/api/v1/status", "", 405, "Allow"},
		{"DELETE", "/livez", "", 405, "Allow"},
		{"GET", repos + "/local/modules/corp.test/a/@v/v1.0.0", "", 405, "Allow"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.target+" "+clipName(tt.body), func(t *testing.T) {
			a := g.checked(t, func() answer { return g.do(tt.method, tt.target, strings.NewReader(tt.body)) })
			checkProblem(t, a, tt.status, tt.part)
			if strings.Contains(a.body, "secret") {
				t.Errorf("shows a secret: %s", a.body)
			}
			if (a.status == http.StatusMethodNotAllowed) != (a.header.Get("Allow") != "") {
				t.Errorf("%d with Allow %q", a.status, a.header.Get("Allow"))
			}
		})
	}
	unsized := io.MultiReader(strings.NewReader(big)) // sent in chunks
	checkProblem(t, g.checked(t, func() answer { return g.do("POST", repos, unsized) }), 413, "larger than 1 MiB")
	a := g.do("PUT", "/go/all/m.test/a/@v/v1.0.0.zip", strings.NewReader("x"))
	if a.status != http.StatusMethodNotAllowed || !strings.Contains(a.header.Get("Allow"), "GET") || a.header.Get("Content-Type") != textType {
		t.Errorf("PUT below /go/: %d %q %v", a.status, a.body, a.header)
	}
}

// TestMalformedHTTP sends what net/http itself refuses.
func TestMalformedHTTP(t *testing.T) {
	g := newRegistry(t)
	for _, tt := range []struct{ request, status string }{
		{"GET /go/all/m.test/%zz/@v/list HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"},
		{"GET /go/all/m.test/a b/@v/list HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"},
		{"GET /go/all/m.test/a\x01/@v/list HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"},
		{"GET /livez HTTP/1.1\r\n\r\n", "400"},
		{"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", "431"},
		{"PUT /api/v1/repos/local/modules/corp.test/x/@v/v1.0.0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", "400"},
		{"PUT /api/v1/repos/local/modules/corp.test/x/@v/v1.0.0 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
		{"PUT /api/v1/repos/local/modules/corp.test/x/@v/v1.0.0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 600000000\r\n\r\n", "413"},
	} {
		a := g.checked(t, func() answer { return answer{body: g.raw(tt.request)} })
		if !strings.HasPrefix(a.body, "HTTP/1.1 "+tt.status) {
			t.Errorf("%q: %q, want %s", clipName(tt.request), clipName(a.body), tt.status)
		}
	}
}
