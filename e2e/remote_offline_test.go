package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

// pubProgram is a program that uses one package of an upstream.
func pubProgram() tree {
	return emptyModule().with("main.go", "package main\n\nimport \"pub.example/m\"\n\nfunc main() { println(m.What) }\n")
}

// pubGoMod requires a version of it.
func pubGoMod(version string) string {
	return "module app.example/app\n\ngo 1.21\n\nrequire pub.example/m " + version + "\n"
}

// TestOffline: a node, or a repository, that is switched offline asks no upstream.
// Builds from what is held go on; who wants something else is told why.
func TestOffline(t *testing.T) {
	up := newUpstream(t)
	for _, v := range []string{"v1.0.0", "v1.1.0"} {
		up.add("pub.example/m", v, library("pub.example/m", v))
	}
	s := serve(t, up.settings()...)
	client := func(goMod string) *goClient {
		return newGoClient(t, pubProgram().with("go.mod", goMod), s.URL+"/go/all", "GOSUMDB="+up.sumdb)
	}
	if r := client(pubGoMod("v1.0.0")).run("run", "."); r.code != 0 {
		t.Fatalf("while online: %s", r.stderr)
	}
	if got := client(pubGoMod("v1.0.0")).versions("pub.example/m"); got != "v1.0.0 v1.1.0" {
		t.Fatalf("while online, listed are %q", got)
	}
	check := func(what, text string) {
		t.Helper()
		before := len(up.paths())
		if r := client(pubGoMod("v1.0.0")).run("run", "."); r.code != 0 || r.stderr != "go: downloading pub.example/m v1.0.0\npub.example/m v1.0.0\n" {
			t.Errorf("%s: a program from what is held: exit code %d, %s", what, r.code, r.stderr)
		}
		if got := client(pubGoMod("v1.0.0")).versions("pub.example/m"); got != "v1.0.0 v1.1.0" {
			t.Errorf("%s: listed are %q", what, got)
		}
		client(pubGoMod("v1.0.0")).refused(t, "pub.example/m@v1.1.0", "503 Service Unavailable", text)
		if r := client(pubGoMod("v1.0.0")).run("get", "pub.example/other"); r.code == 0 || !strings.Contains(r.stderr, text) {
			t.Errorf("%s: go get of what is not held: exit code %d, %s", what, r.code, r.stderr)
		}
		if n := len(up.paths()) - before; n != 0 {
			t.Errorf("%s: the upstream was asked: %v", what, up.paths())
		}
	}
	s.must("offline", "on")
	check("the node", "this node is switched offline and asks no upstream; an administrator ends that with: registry-node offline off")
	s.stop()
	s.start()
	check("the node, after a restart", "this node is switched offline")
	s.must("repo", "set", "public", "--offline")
	s.must("offline", "off")
	check("the repository", "repository public is switched offline and asks no upstream; an administrator ends that with: registry-node repo set public --offline=false")
	s.must("repo", "set", "public", "--offline=false")
	if r := client(pubGoMod("v1.1.0")).run("build", "-o", os.DevNull, "."); r.code != 0 {
		t.Errorf("online again: %s", r.stderr)
	}
}

// TestUpstreamGoesAndComesBack: while an upstream is down, the go command works
// with what is held and with the lists that it gave last, which say so; the
// upstream is left alone, and asked again in time.
func TestUpstreamGoesAndComesBack(t *testing.T) {
	t.Parallel() // it waits for the upstream to be tried again
	up := newUpstream(t)
	for _, v := range []string{"v1.0.0", "v1.1.0"} {
		up.add("pub.example/m", v, library("pub.example/m", v))
	}
	to, err := url.Parse(up.URL)
	if err != nil {
		t.Fatal(err)
	}
	link := newRelay(t, to)
	s := serve(t, "GOPROXY="+link.URL, "GOSUMDB="+up.sumdb)
	s.must("repo", "set", "public", "--list-ttl", "1s", "--offline-for", "2s")
	client := func() *goClient {
		return newGoClient(t, pubProgram().with("go.mod", pubGoMod("v1.0.0")), s.URL+"/go/all", "GOSUMDB="+up.sumdb)
	}
	if r := client().run("run", "."); r.code != 0 {
		t.Fatalf("with the upstream: %s", r.stderr)
	}
	if got := client().versions("pub.example/m"); got != "v1.0.0 v1.1.0" {
		t.Fatalf("with the upstream, listed are %q", got)
	}
	if a := s.get("/go/all/pub.example/m/@v/list"); a.header.Get("Warning") != "" {
		t.Errorf("a fresh list has the warning %q", a.header.Get("Warning"))
	}

	link.cut.Store(true)
	eventually(t, time.Minute, "the list is marked as stale", func() error {
		a := s.get("/go/all/pub.example/m/@v/list")
		if a.status != http.StatusOK || string(a.body) != "v1.0.0\nv1.1.0\n" {
			t.Fatalf("the list without the upstream: %d %q", a.status, a.body)
		}
		if got := a.header.Get("Warning"); got != `110 - "Response is Stale"` {
			return fmt.Errorf("warning %q", got)
		}
		return nil
	})
	if r := client().run("run", "."); r.code != 0 {
		t.Errorf("a program from what is held: %s", r.stderr)
	}
	if got := client().versions("pub.example/m"); got != "v1.0.0 v1.1.0" {
		t.Errorf("listed are %q", got)
	}
	const trials = 100
	before := link.requests.Load()
	for i := range trials {
		if a := s.get(fmt.Sprintf("/go/all/pub.example/none%d/@v/v1.0.0.info", i)); a.status/100 != 5 {
			t.Errorf("what may be upstream: %d %s", a.status, a.body)
		}
	}
	if n := link.requests.Load() - before; n > trials/4 {
		t.Errorf("an upstream that is down got %d requests for %d questions", n, trials)
	}
	client().refused(t, "pub.example/m@v1.1.0", "502 Bad Gateway", "assumed offline")
	if said := s.must("repo", "upstreams"); !strings.Contains(said, "public") || !strings.Contains(said, link.URL) || !strings.Contains(said, "offline until") && !strings.Contains(said, "probing") {
		t.Errorf("repo upstreams: %s", said)
	}

	s.must("repo", "set", "public", "--stale-for", "1s")
	eventually(t, time.Minute, "the list is too old", func() error {
		a := s.get("/go/all/pub.example/m/@v/list")
		if a.status != http.StatusBadGateway || !strings.Contains(string(a.body), "older than may be given out") {
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		return nil
	})
	s.must("repo", "set", "public", "--stale-for", "default")

	link.cut.Store(false)
	c := client()
	eventually(t, time.Minute, "the upstream is asked again", func() error {
		if r := c.run("mod", "download", "pub.example/m@v1.1.0"); r.code != 0 {
			return errors.New(r.stderr)
		}
		return nil
	})
	eventually(t, time.Minute, "the list is fresh", func() error {
		if got := s.get("/go/all/pub.example/m/@v/list").header.Get("Warning"); got != "" {
			return errors.New(got)
		}
		return nil
	})
}
