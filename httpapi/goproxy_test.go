package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"golang.org/x/mod/module"
)

const (
	textType = "text/plain; charset=utf-8"
	jsonType = "application/json; charset=utf-8"

	forever = "private, max-age=604800, immutable"
	briefly = "private, max-age=60"
	never   = "no-store"

	pseudo = "v0.0.0-20240102030405-0123456789ab"
)

// filled returns a registry with modules in it and upstream of it.
func filled(t testing.TB) *registry {
	g := newRegistry(t)
	g.publish("corp.test/a", "v1.0.0", tree("corp.test/a"))
	g.publish("corp.test/a", "v1.1.0-RC1", tree("corp.test/a"))
	g.publish("corp.test/Acme/Tiny", "v1.0.0", tree("corp.test/Acme/Tiny"))
	g.publish("corp.test/a/v2", "v2.3.4", tree("corp.test/a/v2"))
	for _, v := range []string{"v1.0.0", "v1.2.0", "v1.10.0", "v1.3.0-pre.1"} {
		g.proxy.add(t, "up.test/m", v, tree("up.test/m"))
	}
	g.proxy.add(t, "up.test/old", "v2.0.0+incompatible", map[string]string{"old.go": "package old\n"})
	g.proxy.add(t, "up.test/Big/Case", "v1.0.0-Beta", tree("up.test/Big/Case"))
	g.proxy.add(t, "up.test/pseudo", pseudo, tree("up.test/pseudo"))
	g.proxy.files["/up.test/pseudo/@v/list"] = "\n"
	g.proxy.files["/up.test/pseudo/@latest"] = infoOf(pseudo)
	g.proxy.files["/up.test/pseudo/@v/main.info"] = infoOf(pseudo)
	g.proxy.files["/up.test/m/@v/0123456789ab.info"] = infoOf("v1.2.0")
	return g
}

func TestReads(t *testing.T) {
	g := filled(t)
	upZip, upMod := zipOf(t, module.Version{Path: "up.test/m", Version: "v1.2.0"}, tree("up.test/m"))
	tests := []struct {
		target      string
		contentType string
		cache       string
		body        string // exact; a leading ~ asks for a part of it
	}{
		// Local.
		{"/go/local/corp.test/a/@v/list", textType, briefly, "v1.0.0\nv1.1.0-RC1\n"},
		{"/go/local/corp.test/a/@v/v1.0.0.info", jsonType, forever, `~"Version":"v1.0.0","Time":"20`},
		{"/go/local/corp.test/a/@v/v1.0.0.mod", textType, forever, tree("corp.test/a")["go.mod"]},
		{"/go/local/corp.test/a/@latest", jsonType, briefly, `~"Version":"v1.0.0"`},
		{"/go/local/corp.test/a/@v/latest.info", jsonType, briefly, `~"Version":"v1.0.0"`},
		{"/go/local/corp.test/a/v2/@v/v2.3.4.info", jsonType, forever, `~v2.3.4`},
		// Upper case, in the path and in the version, escaped once or twice.
		{"/go/local/corp.test/!acme/!tiny/@v/list", textType, briefly, "v1.0.0\n"},
		{"/go/local/corp.test/%21acme/%21tiny/@v/list", textType, briefly, "v1.0.0\n"},
		{"/go/local/corp.test/%21acme/%21tiny/@v/v1.0.0.mod", textType, forever, tree("corp.test/Acme/Tiny")["go.mod"]},
		{"/go/local/corp.test/a/@v/v1.1.0-!r!c1.info", jsonType, forever, `~"Version":"v1.1.0-RC1"`},
		{"/go/local/corp.test/a/@v/v1.1.0-%21r%21c1.info", jsonType, forever, `~"Version":"v1.1.0-RC1"`},
		{"/go/local/corp%2Etest/%61/@v/v1%2E0%2e0.mod", textType, forever, tree("corp.test/a")["go.mod"]},
		// Remote.
		{"/go/public/up.test/m/@v/list", textType, briefly, "v1.0.0\nv1.2.0\nv1.3.0-pre.1\nv1.10.0\n"},
		{"/go/public/up.test/m/@v/v1.2.0.info", jsonType, forever, infoOf("v1.2.0")},
		{"/go/public/up.test/m/@v/v1.2.0.mod", textType, forever, upMod},
		{"/go/public/up.test/m/@v/v1.2.0.zip", "application/zip", forever, string(upZip)},
		{"/go/public/up.test/m/@latest", jsonType, briefly, infoOf("v1.10.0")},
		{"/go/public/up.test/m/@v/0123456789ab.info", jsonType, briefly, infoOf("v1.2.0")},
		{"/go/public/up.test/old/@v/list", textType, briefly, "v2.0.0+incompatible\n"},
		{"/go/public/up.test/old/@v/v2.0.0+incompatible.mod", textType, forever, "module up.test/old\n"},
		{"/go/public/up.test/old/@v/v2.0.0%2Bincompatible.info", jsonType, forever, infoOf("v2.0.0+incompatible")},
		{"/go/public/up.test/%21big/!case/@v/v1.0.0-!beta.info", jsonType, forever, infoOf("v1.0.0-Beta")},
		{"/go/public/up.test/pseudo/@v/list", textType, briefly, ""},
		{"/go/public/up.test/pseudo/@latest", jsonType, briefly, infoOf(pseudo)},
		{"/go/public/up.test/pseudo/@v/main.info", jsonType, briefly, infoOf(pseudo)},
		{"/go/public/up.test/pseudo/@v/" + pseudo + ".info", jsonType, forever, infoOf(pseudo)},
		// Virtual.
		{"/go/all/corp.test/a/@v/v1.0.0.mod", textType, forever, tree("corp.test/a")["go.mod"]},
		{"/go/all/up.test/m/@v/v1.2.0.zip", "application/zip", forever, string(upZip)},
		{"/go/all/up.test/m/@v/list", textType, briefly, "v1.0.0\nv1.2.0\nv1.3.0-pre.1\nv1.10.0\n"},
		// Cached only, for what the rows above have fetched.
		{"/go/all/cached-only/up.test/m/@v/v1.2.0.zip", "application/zip", forever, string(upZip)},
		{"/go/all/cached-only/up.test/m/@v/v1.2.0.info", jsonType, forever, infoOf("v1.2.0")},
	}
	for _, tt := range tests {
		t.Run(tt.target, func(t *testing.T) {
			a := g.get(tt.target)
			if a.status != http.StatusOK {
				t.Fatalf("status %d: %s", a.status, a.body)
			}
			if part, ok := strings.CutPrefix(tt.body, "~"); ok && !strings.Contains(a.body, part) || !ok && a.body != tt.body {
				t.Errorf("body %q, want %q", a.body, tt.body)
			}
			want := map[string]string{
				"Content-Type": tt.contentType, "Cache-Control": tt.cache, "X-Content-Type-Options": "nosniff", "Server": "",
			}
			for name, v := range want {
				if got := a.header.Get(name); got != v {
					t.Errorf("%s is %q, want %q", name, got, v)
				}
			}
			tag := a.header.Get("ETag")
			if len(tag) < 34 || tag[0] != '"' {
				t.Errorf("ETag is %q, want a strong one", tag)
			}
			checkHead(t, g, tt.target, a)
			checkConditional(t, g, tt.target, a)
		})
	}
}

// checkHead checks that HEAD answers like GET.
func checkHead(t *testing.T, g *registry, target string, get answer) {
	t.Helper()
	head := g.do("HEAD", target, nil)
	if head.status != get.status || head.body != "" {
		t.Errorf("HEAD: %d %q, GET: %d", head.status, head.body, get.status)
	}
	for name := range get.header {
		if name != "Date" && head.header.Get(name) != get.header.Get(name) {
			t.Errorf("%s: %q on HEAD, %q on GET", name, head.header.Get(name), get.header.Get(name))
		}
	}
}

// checkConditional checks that nothing is sent to who has it, and that a range
// is a part of the whole.
func checkConditional(t *testing.T, g *registry, target string, get answer) {
	t.Helper()
	tag := get.header.Get("ETag")
	if a := g.get(target, "If-None-Match", `"other", `+tag); a.status != http.StatusNotModified || a.body != "" || a.header.Get("ETag") != tag || a.header.Get("Cache-Control") != get.header.Get("Cache-Control") {
		t.Errorf("If-None-Match with its tag: %d %q %v", a.status, a.body, a.header)
	}
	if a := g.get(target, "If-None-Match", `"other"`); a.status != http.StatusOK || a.body != get.body {
		t.Errorf("If-None-Match with another tag: %d %q", a.status, a.body)
	}
	if len(get.body) < 5 {
		return
	}
	a := g.get(target, "Range", "bytes=2-4", "If-Range", tag)
	if a.status != http.StatusPartialContent || a.body != get.body[2:5] {
		t.Errorf("Range: %d %q, want %q", a.status, a.body, get.body[2:5])
	}
	if a := g.get(target, "Range", "bytes=99999999-"); a.status != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("Range after the end: %d", a.status)
	}
}

func TestZipETagIsItsDigest(t *testing.T) {
	g := newRegistry(t)
	p := g.publish("corp.test/a", "v1.0.0", tree("corp.test/a"))
	a := g.get("/go/all/corp.test/a/@v/v1.0.0.zip")
	if got := a.header.Get("ETag"); got != `"`+p.Digest.Hex()+`"` {
		t.Errorf("ETag %s, want the digest %v", got, p.Digest)
	}
	if a.header.Get("Last-Modified") == "" {
		t.Error("no Last-Modified")
	}
}

func TestHeldOnlyNeverFetches(t *testing.T) {
	g := filled(t)
	before := g.proxy.asked.Load()
	for _, repo := range []string{"public", "all"} {
		for _, file := range []string{"@v/v1.2.0.info", "@v/v1.2.0.mod", "@v/v1.2.0.zip", "@v/list", "@latest", "@v/main.info"} {
			if a := g.get("/go/" + repo + "/cached-only/up.test/m/" + file); a.status != http.StatusNotFound {
				t.Errorf("cached-only %s %s: %d %q", repo, file, a.status, a.body)
			}
			if a := g.get("/go/"+repo+"/up.test/m/"+file, "Disable-Module-Fetch", "true"); a.status != http.StatusNotFound {
				t.Errorf("Disable-Module-Fetch %s %s: %d %q", repo, file, a.status, a.body)
			}
		}
	}
	if n := g.proxy.asked.Load() - before; n != 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
	if a := g.get("/go/all/up.test/m/@v/v1.2.0.info", "Disable-Module-Fetch", "false"); a.status != http.StatusOK {
		t.Errorf("Disable-Module-Fetch: false: %d", a.status)
	}
}

// An answer that depends on a header of the request is for no cache; one that
// depends on the path alone may be.
func TestHeldOnlyByHeaderIsNotCached(t *testing.T) {
	g := filled(t)
	g.get("/go/public/up.test/m/@v/v1.2.0.zip")
	for target, status := range map[string]int{
		"up.test/m/@v/v1.2.0.mod":  http.StatusOK,
		"up.test/m/@v/v1.2.0.info": http.StatusOK,
		"up.test/m/@v/v1.2.0.zip":  http.StatusOK,
		"up.test/m/@v/list":        http.StatusOK,
		"up.test/m/@v/v1.0.0.mod":  http.StatusNotFound,
		"up.test/old/@v/list":      http.StatusNotFound,
	} {
		a := g.get("/go/public/"+target, "Disable-Module-Fetch", "true")
		if a.status != status || a.header.Get("Cache-Control") != never {
			t.Errorf("%s: %d, Cache-Control %q", target, a.status, a.header.Get("Cache-Control"))
		}
		if a := g.get("/go/public/cached-only/" + target); a.status != status || a.header.Get("Cache-Control") == never {
			t.Errorf("cached-only %s: %d, Cache-Control %q", target, a.status, a.header.Get("Cache-Control"))
		}
	}
}

// TestUpstreamTrouble shows that no failure becomes an absence, and that what is
// held is served nonetheless.
func TestUpstreamTrouble(t *testing.T) {
	g := filled(t)
	for _, file := range []string{"m/@v/v1.0.0.zip", "m/@v/list", "old/@v/v2.0.0+incompatible.zip"} {
		if a := g.get("/go/all/up.test/" + file); a.status != http.StatusOK || a.header["Warning"] != nil {
			t.Fatalf("%s: %d %s %v", file, a.status, a.body, a.header)
		}
	}
	g.proxy.setFault(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "broken", http.StatusInternalServerError) })
	if a := g.get("/go/all/up.test/old/@v/list"); a.body != "v2.0.0+incompatible\n" || a.header.Get("Warning") != `110 - "Response is Stale"` {
		t.Errorf("a list that the upstream could not be asked for: %d %q %v", a.status, a.body, a.header)
	}
	for _, tt := range []struct {
		target string
		status int
		part   string
	}{
		{"/go/all/up.test/m/@v/v1.0.0.zip", 200, ""},
		{"/go/all/up.test/m/@v/v1.0.0.info", 200, ""},
		{"/go/all/up.test/m/@v/list", 200, "v1.10.0"},
		{"/go/all/up.test/m/@v/v1.2.0.info", 502, "up.test/m@v1.2.0"},
		{"/go/all/up.test/m/@v/v1.2.0.zip", 502, "up.test/m@v1.2.0"},
		{"/go/all/up.test/other/@v/list", 502, "up.test/other"},
		{"/go/all/up.test/other/@latest", 502, "up.test/other"},
		{"/go/all/up.test/other/@v/main.info", 502, "up.test/other@main"},
		{"/go/all/up.test/m/sub/@v/list", 404, "up.test/m/sub"},
		{"/go/dead/up.test/m/@v/v1.0.0.info", 502, "up.test/m@v1.0.0"},
	} {
		a := g.get(tt.target)
		if a.status != tt.status || !strings.Contains(a.body, tt.part) {
			t.Errorf("%s: %d %q, want %d with %q", tt.target, a.status, a.body, tt.status, tt.part)
		}
		if a.status >= 500 && a.header.Get("Cache-Control") != never {
			t.Errorf("%s: %d has Cache-Control %q", tt.target, a.status, a.header.Get("Cache-Control"))
		}
	}
}

func TestPrivateNameNeverLeaves(t *testing.T) {
	g := filled(t)
	before := g.proxy.asked.Load()
	for _, repo := range []string{"public", "all", "local"} {
		for _, file := range []string{"@v/v9.0.0.info", "@v/v9.0.0.zip", "@v/list", "@latest", "@v/main.info"} {
			a := g.get("/go/" + repo + "/corp.test/unknown/" + file)
			if a.status != http.StatusNotFound && a.status != http.StatusForbidden {
				t.Errorf("%s %s: %d %q", repo, file, a.status, a.body)
			}
		}
	}
	if n := g.proxy.asked.Load() - before; n != 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
}

func TestLoopIsRefused(t *testing.T) {
	g := filled(t)
	for _, via := range []string{g.node.Via(), "other, " + g.node.Via()} {
		a := g.get("/go/all/up.test/m/@v/list", "Registry-Node-Via", via)
		if a.status != http.StatusLoopDetected || !strings.Contains(a.body, "leads back") || a.header.Get("Cache-Control") != never {
			t.Errorf("via %q: %d %q", via, a.status, a.body)
		}
	}
	if a := g.get("/go/all/up.test/m/@v/list", "Registry-Node-Via", "0000/elsewhere"); a.status != http.StatusOK {
		t.Errorf("via another node: %d %q", a.status, a.body)
	}
	// A repository whose upstream is this very node, by way of its URL.
	g.do("POST", "/api/v1/repos", strings.NewReader(`{"name":"loop","kind":"remote","settings":{"upstream":"`+g.base+`/go/loop","sumdb":"off"}}`))
	if a := g.get("/go/loop/up.test/m/@v/v1.0.0.info"); a.status != http.StatusBadGateway {
		t.Errorf("through a loop: %d %q", a.status, a.body)
	}
}
