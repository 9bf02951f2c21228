package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

// TestBadSiteRequests is the corpus of what is wrong in requests about sites,
// homes and blocks. None of it changes anything.
func TestBadSiteRequests(t *testing.T) {
	g := newRegistry(t)
	long := strings.Repeat("x", 2000)
	for _, tt := range []struct{ method, target, body, part string }{
		{"POST", "/api/v1/sites", ``, "it is empty"},
		{"POST", "/api/v1/sites", `{}`, "lacks the name"},
		{"POST", "/api/v1/sites", `{"name":""}`, "lacks the name"},
		{"POST", "/api/v1/sites", `{"name":"Oslo"}`, "may only have"},
		{"POST", "/api/v1/sites", `{"name":"oslo","valid":"soon"}`, `valid is \"soon\"`},
		{"POST", "/api/v1/sites", `{"name":"oslo","valid":"0s"}`, "more than none"},
		{"POST", "/api/v1/sites", `{"name":"oslo","valid":"-1h"}`, "more than none"},
		{"POST", "/api/v1/sites", `{"name":"oslo","valid":"1000h"}`, "at most 168h"},
		{"POST", "/api/v1/sites", `{"name":"oslo","valid":3600}`, "JSON object"},
		{"POST", "/api/v1/sites", `{"name":"oslo","role":"x"}`, "unknown field"},
		{"POST", "/api/v1/sites", `{"name":"oslo"}{}`, "something follows"},
		{"DELETE", "/api/v1/sites/Oslo", ``, "site name"},
		{"DELETE", "/api/v1/sites/a%2fb", ``, "site name"},
		{"DELETE", "/api/v1/sites/oslo?why=x", ``, "unknown parameter"},
		{"DELETE", "/api/v1/sites/oslo?reason=a&reason=b", ``, "more than once"},
		{"POST", "/api/v1/homes", `{"to":"oslo"}`, "lacks the repository"},
		{"POST", "/api/v1/homes", `{"repository":null,"to":"oslo"}`, "lacks the repository"},
		{"POST", "/api/v1/homes", `{"repository":"local"}`, "lacks the site"},
		{"POST", "/api/v1/homes", `{"repository":"LOCAL","to":"oslo"}`, "may only have"},
		{"POST", "/api/v1/homes", `{"repository":"local","to":"Oslo"}`, "may only have"},
		{"POST", "/api/v1/homes", `{"repository":"local","to":"oslo","force":"yes"}`, "JSON object"},
		{"GET", "/api/v1/diff/Oslo", ``, "site name"},
		{"POST", "/api/v1/blocks", `{"reason":"x"}`, "the module is missing"},
		{"POST", "/api/v1/blocks", `{"module":"evil","reason":"x"}`, "missing dot"},
		{"POST", "/api/v1/blocks", `{"module":"evil.test/a"}`, "lacks the reason"},
		{"POST", "/api/v1/blocks", `{"module":"evil.test/a","version":"v1","reason":"x"}`, "v1"},
		{"POST", "/api/v1/blocks", `{"module":"evil.test/a","version":"v2.0.0","reason":"x"}`, "v2.0.0"},
		{"POST", "/api/v1/blocks", `{"module":"evil.test/a","reason":"` + long + `"}`, "longer than"},
		{"POST", "/api/v1/blocks", `{"module":"evil.test/a","reason":"a\u0000b"}`, "control character"},
		{"POST", "/api/v1/blocks", `{"module":"evil.test/**","version":"1.*","reason":"x"}`, "does not begin with v"},
		{"POST", "/api/v1/blocks", `{"module":"evil.test/**x","reason":"x"}`, "** beside other characters"},
		{"POST", "/api/v1/blocks", `{"module":"evil.test/a@v1.0.0","version":"v1.1.0","reason":"x"}`, "v1.0.0@v1.1.0"},
		{"POST", "/api/v1/repos/local/refresh", ``, "this is for remote ones"},
		{"POST", "/api/v1/repos/public/refresh?module=evil", ``, "missing dot"},
		{"POST", "/api/v1/repos/PUBLIC/refresh", ``, "may only have"},
		{"POST", "/api/v1/repos/public/refresh?modul=evil.test", ``, "unknown parameter"},
		{"DELETE", "/api/v1/repos/public/cached", ``, "the module is missing"},
		{"DELETE", "/api/v1/repos/public/cached?module=evil.test/**&version=x", ``, "version"},
		{"DELETE", "/api/v1/repos/local/cached?module=evil.test/a", ``, "this is for remote ones"},
		{"GET", "/api/v1/repos/local/pending", ``, "this is for remote ones"},
		{"POST", "/api/v1/repos/public/times", `{"times":[{"Path":"m.test","Version":"v1","Timestamp":"2020-01-01T00:00:00Z"}]}`, "m.test@v1"},
		{"POST", "/api/v1/repos/public/times", `{"times":[{"Path":"m.test","Version":"v1.0.0","Timestamp":"2999-01-01T00:00:00Z"}]}`, "no time in the past"},
		{"POST", "/api/v1/repos/public/times", `{"times":[{"Path":"m.test","Version":"v1.0.0"}]}`, "no time in the past"},
		{"POST", "/api/v1/repos/public/times", `{}`, "names no times"},
		{"POST", "/api/v1/repos/public/settle", `{"module":"m.test/a","version":"v1.0.0","reason":"x"}`, "lacks mod_h1"},
		{"POST", "/api/v1/repos/public/settle", `{"module":"m.test/a","version":"v1.0.0","mod_h1":"h1:x","reason":"x"}`, "hash"},
		{"POST", "/api/v1/repos/public/settle", `{"module":"m.test/a","reason":"x"}`, "the version is missing"},
		{"POST", "/api/v1/purges", `{"module":"m.test/a","version":"v1.*","reason":"x"}`, "v1.*"},
		{"POST", "/api/v1/purges", `{"module":"m.test/a","version":"v1.0.0"}`, "lacks the reason"},
		{"POST", "/api/v1/purges", `{"module":"m.test/a","reason":"x"}`, "the version is missing"},
		{"PUT", "/api/v1/offline", `{}`, "does not say"},
		{"PUT", "/api/v1/offline", `{"offline":"yes"}`, "offline"},
		{"DELETE", "/api/v1/blocks", ``, "the module is missing"},
		{"DELETE", "/api/v1/blocks?module=evil.test/../a", ``, "malformed"},
		{"DELETE", "/api/v1/blocks?module=evil.test/a&versions=v1", ``, "unknown parameter"},
	} {
		a := g.checked(t, func() answer { return g.do(tt.method, tt.target, strings.NewReader(tt.body)) })
		if a.status != http.StatusBadRequest || !strings.Contains(a.body, tt.part) {
			t.Errorf("%s %s %.100s: %d %s, want 400 with %q", tt.method, tt.target, tt.body, a.status, a.body, tt.part)
		}
	}
}

// TestInviteWithoutAPeerListener is refused: nobody could join.
func TestInviteWithoutAPeerListener(t *testing.T) {
	g := newRegistry(t)
	a := g.checked(t, func() answer { return g.do("POST", "/api/v1/sites", strings.NewReader(`{"name":"oslo"}`)) })
	if a.status < 400 || a.status >= 600 || strings.Contains(a.body, "token") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestBlocks(t *testing.T) {
	g := newRegistry(t)
	if a := g.get("/api/v1/blocks"); a.body != `{"blocks":[]}`+"\n" {
		t.Errorf("at first: %s", a.body)
	}
	g.publish("corp.test/a", "v1.0.0", tree("corp.test/a"))
	g.publish("corp.test/a", "v1.1.0", tree("corp.test/a"))
	a := g.do("POST", "/api/v1/blocks", strings.NewReader(`{"module":"corp.test/a","version":"v1.0.0","reason":"steals secrets"}`))
	if b := decode[events.Block](t, a.body); a.status != http.StatusCreated || b.Reason != "steals secrets" || b.Actor != "loopback" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := g.get("/go/local/corp.test/a/@v/v1.0.0.zip"); a.status != http.StatusForbidden || !strings.Contains(a.body, "steals secrets") {
		t.Errorf("blocked: %d %s", a.status, a.body)
	}
	if a := g.get("/go/local/corp.test/a/@v/v1.1.0.zip"); a.status != http.StatusOK {
		t.Errorf("not blocked: %d %s", a.status, a.body)
	}
	if a := g.do("DELETE", "/api/v1/blocks?module=corp.test/a", nil); a.status != http.StatusNotFound {
		t.Errorf("unblock what is not blocked: %d %s", a.status, a.body)
	}
	if a := g.do("DELETE", "/api/v1/blocks?module=corp.test/a&version=v1.0.0", nil); a.status != http.StatusNoContent {
		t.Errorf("unblock: %d %s", a.status, a.body)
	}
	if a := g.get("/go/local/corp.test/a/@v/v1.0.0.zip"); a.status != http.StatusOK {
		t.Errorf("after the unblock: %d %s", a.status, a.body)
	}
}

// TestBlocksByPattern holds that a pattern forbids what is held as what is not,
// at each endpoint, and until it is taken back by the same words.
func TestBlocksByPattern(t *testing.T) {
	g := filled(t)
	g.proxy.add(t, "up.test/m", "v1.2.0", tree("up.test/m"))
	g.proxy.add(t, "up.test/other", "v1.2.0", tree("up.test/other"))
	block := func(body string) answer { return g.do("POST", "/api/v1/blocks", strings.NewReader(body)) }
	if a := block(`{"module":"up.test/m","version":"v1.*","reason":"bad series"}`); a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, file := range []string{"v1.0.0.info", "v1.0.0.mod", "v1.0.0.zip", "v1.2.0.info", "v1.2.0.zip"} { // held, and not
		if a := g.get("/go/all/up.test/m/@v/" + file); a.status != http.StatusForbidden || !strings.Contains(a.body, "bad series") {
			t.Errorf("%s: %d %s", file, a.status, a.body)
		}
	}
	if a := g.get("/go/all/up.test/m/@v/list"); strings.Contains(a.body, "v1.") {
		t.Errorf("list: %d %s", a.status, a.body)
	}
	if a := g.get("/go/all/up.test/other/@v/v1.2.0.zip"); a.status != http.StatusOK {
		t.Errorf("another module: %d %s", a.status, a.body)
	}
	if a := block(`{"module":"up.test/**","reason":"all of it"}`); a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := g.get("/go/all/up.test/other/@v/v1.2.0.zip"); a.status != http.StatusForbidden {
		t.Errorf("below a pattern: %d %s", a.status, a.body)
	}
	if a := g.do("DELETE", "/api/v1/blocks?module=up.test/**", nil); a.status != http.StatusNoContent {
		t.Errorf("unblock: %d %s", a.status, a.body)
	}
	if a := g.get("/go/all/up.test/m/@v/v1.0.0.zip"); a.status != http.StatusForbidden {
		t.Errorf("the other pattern is taken back with it: %d %s", a.status, a.body)
	}
	if a := g.do("DELETE", "/api/v1/blocks?module=up.test/m&version=v1.*", nil); a.status != http.StatusNoContent {
		t.Errorf("unblock: %d %s", a.status, a.body)
	}
	if a := g.get("/go/all/up.test/m/@v/v1.0.0.zip"); a.status != http.StatusOK {
		t.Errorf("after the unblock: %d %s", a.status, a.body)
	}
}

func TestSites(t *testing.T) {
	g := newRegistry(t)
	l := decode[struct{ Sites []node.SiteInfo }](t, g.get("/api/v1/sites").body)
	if len(l.Sites) != 1 || l.Sites[0].Name.String() != "here" || l.Sites[0].State != "member" || !l.Sites[0].Self || !l.Sites[0].Home {
		t.Errorf("%+v", l)
	}
	for _, req := range [][2]string{{"DELETE", "/api/v1/sites/oslo?reason=x"}, {"GET", "/api/v1/diff/oslo"}} {
		if a := g.do(req[0], req[1], nil); a.status < 400 || !strings.Contains(a.body, "message") {
			t.Errorf("%s %s: %d %s", req[0], req[1], a.status, a.body)
		}
	}
}

// TestPublishAcknowledged waits for the one site that there is.
func TestPublishAcknowledged(t *testing.T) {
	g := newRegistry(t)
	zip, _ := zipOf(t, module.Version{Path: "corp.test/a", Version: "v1.0.0"}, tree("corp.test/a"))
	const target = "/api/v1/repos/local/modules/corp.test/a/@v/v1.0.0"
	for _, tt := range []struct{ query, part string }{
		{"?sites=0", "neither all nor a number"},
		{"?sites=-1", "neither all nor a number"},
		{"?sites=ALL", "neither all nor a number"},
		{"?sites=2", "the registry has 1"},
		{"?sites=99999999", "neither all nor a number"},
		{"?timeout=1s", "sites is missing"},
		{"?sites=1&timeout=1", "a time like 30s"},
		{"?sites=1&timeout=0s", "more than none"},
		{"?sites=1&timeout=11m", "at most 10m"},
		{"?sites=1&sites=1", "more than once"},
	} {
		a := g.checked(t, func() answer { return g.do("PUT", target+tt.query, strings.NewReader(string(zip))) })
		checkProblem(t, a, http.StatusBadRequest, tt.part)
	}
	for i, query := range []string{"?sites=1", "?sites=all&timeout=10m", ""} {
		a := g.do("PUT", target+query, strings.NewReader(string(zip)))
		if want := []int{http.StatusCreated, http.StatusOK, http.StatusOK}[i]; a.status != want {
			t.Errorf("%s: %d %s, want %d", query, a.status, a.body, want)
		}
		if got := strings.Contains(a.body, `"sites_have":1`); got != (query != "") {
			t.Errorf("%s: %s", query, a.body)
		}
		p := decode[node.Published](t, a.body)
		if got := a.header.Get("Registry-Position"); got != p.Position.Site.String()+"/"+p.Position.Mark.String() {
			t.Errorf("%s: Registry-Position %q, want that of %v", query, got, p.Position)
		}
	}
}

// TestAtLeast reads at and beyond the end of the own log.
func TestAtLeast(t *testing.T) {
	g := newRegistry(t)
	g.publish("corp.test/a", "v1.0.0", tree("corp.test/a"))
	zip, _ := zipOf(t, module.Version{Path: "corp.test/a", Version: "v1.1.0"}, tree("corp.test/a"))
	at := g.do("PUT", "/api/v1/repos/local/modules/corp.test/a/@v/v1.1.0", strings.NewReader(string(zip))).header.Get("Registry-Position")
	reached := "/at-least/" + at + "/go/"
	for _, tt := range []struct {
		target string
		status int
		part   string
	}{
		{reached + "local/corp.test/a/@v/list", 200, "v1.1.0"},
		{"/at-least/" + at + "/0/go/local/corp.test/a/@v/v1.1.0.info", 200, "v1.1.0"},
		{reached + "local/corp.test/a/@v/v1.1.0.mod", 200, "module corp.test/a"},
		{reached + "local/corp.test/a/@v/v9.0.0.info", 404, "v9.0.0"},
		{reached + "nowhere/corp.test/a/@v/list", 404, "no repository"},
		{reached + "local/corp.test/a/@v/lists", 404, "neither list"},
		// What this node has not heard of is not absent.
		{"/at-least/here/1/999/go/local/corp.test/a/@v/list", 503, ""},
		{"/at-least/here/1/999/go/local/corp.test/a/@latest", 503, ""},
		{"/at-least/here/1/999/go/local/corp.test/a/@v/main.info", 503, ""},
		{"/at-least/here/1/999/go/nowhere/corp.test/a/@v/v1.0.0.info", 503, ""},
		{"/at-least/oslo/1/1/go/local/corp.test/a/@v/list", 503, ""},
		// But what is held is what it is.
		{"/at-least/here/1/999/go/local/corp.test/a/@v/v1.0.0.mod", 200, "module corp.test/a"},
		// A position that nobody can wait for promises nothing.
		{"/at-least/", 400, "not of the form"},
		{"/at-least/here/1/1", 400, "not of the form"},
		{"/at-least/here/1/1/og/local/corp.test/a/@v/list", 400, "not of the form"},
		{"/at-least/here/1/go/local/corp.test/a/@v/list", 400, "no position"},
		{"/at-least/Here/1/1/go/local/corp.test/a/@v/list", 400, "no position"},
		{"/at-least/here/0/0/go/local/corp.test/a/@v/list", 400, "no position"},
		{"/at-least/here/01/1/go/local/corp.test/a/@v/list", 400, "no position"},
		{"/at-least/here/1/-1/go/local/corp.test/a/@v/list", 400, "no position"},
		{"/at-least/here/1/1/1/1/go/local/corp.test/a/@v/list", 400, "no position"},
		{"/at-least/here/1/99999999999999999999/go/local/corp.test/a/@v/list", 400, "no position"},
		{"/at-least//1/1/go/local/corp.test/a/@v/list", 400, "no position"},
	} {
		a := g.get(tt.target)
		if a.status != tt.status || !strings.Contains(a.body, tt.part) {
			t.Errorf("GET %s: %d %s, want %d with %q", tt.target, a.status, a.body, tt.status, tt.part)
		}
		if tt.status >= 400 && !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
			t.Errorf("GET %s: an error in %s", tt.target, a.header.Get("Content-Type"))
		}
	}
}
