package e2e

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"
)

// asked returns how many requests an upstream got for paths with some text in them.
func (u *upstream) askedFor(text string) (n int) {
	for path, c := range u.paths() {
		if strings.Contains(path, text) {
			n += c
		}
	}
	return n
}

// TestConfusedNames: what a local repository owns and has not got is asked of no
// upstream, whatever that has, and is absent.
func TestConfusedNames(t *testing.T) {
	up := newUpstream(t)
	for _, path := range []string{"corp.example/secret", "corp.example/secret/pkg", "corp.example/late", "corp.example/lib"} {
		up.add(path, "v1.9.0", library(path, "from outside"))
	}
	s := serve(t, up.settings()...)
	zipPath := "/go/all/corp.example/late/@v/v1.9.0.zip"
	if a := s.get(zipPath); a.status != http.StatusOK {
		t.Fatalf("before anybody owns it: %d %s", a.status, a.body)
	}
	s.owns()
	lib := module.Version{Path: "corp.example/lib", Version: "v1.0.0"}
	s.publish(lib, library(lib.Path, lib.Version))
	before := up.askedFor("corp.example")

	for _, file := range []string{
		"secret/@v/list", "secret/@latest", "secret/@v/v1.9.0.info", "secret/@v/v1.9.0.mod", "secret/@v/v1.9.0.zip", "secret/@v/main.info",
		"late/@v/list", "late/@latest", "late/@v/v1.9.0.info", "late/@v/v1.9.0.mod", "late/@v/v1.9.0.zip", "lib/@v/v1.9.0.zip",
	} {
		for repo, status := range map[string]int{"all": http.StatusNotFound, "local": http.StatusNotFound, "public": http.StatusForbidden} {
			if a := s.get("/go/" + repo + "/corp.example/" + file); a.status != status {
				t.Errorf("%s of repository %s: %d %.200q, want %d", file, repo, a.status, a.body, status)
			}
		}
	}
	if a := s.get("/go/all/sumdb/" + sumdbName + "/lookup/corp.example/secret@v1.9.0"); a.status/100 != 4 {
		t.Errorf("a lookup in the checksum database: %d %.200q", a.status, a.body)
	}
	c := newGoClient(t, emptyModule(), s.URL+"/go/all", "GOSUMDB="+up.sumdb, "GONOSUMDB=corp.example")
	c.refused(t, "corp.example/secret@v1.9.0", "404 Not Found", "corp.example/secret@v1.9.0: not found in repository local")
	for _, query := range []string{"corp.example/secret", "corp.example/secret/pkg@latest", "corp.example/secret@main", "corp.example/lib@v1.9.0"} {
		if r := c.run("get", query); r.code == 0 {
			t.Errorf("go get %s: it succeeds", query)
		}
	}
	if r := c.run("get", "corp.example/lib@latest"); r.code != 0 || !strings.Contains(r.stderr, "corp.example/lib v1.0.0") {
		t.Errorf("go get corp.example/lib: exit code %d, %s", r.code, r.stderr)
	}
	if n := up.askedFor("corp.example") - before; n != 0 {
		t.Errorf("the upstream was asked %d times for what a local repository owns: %v", n, up.paths())
	}
}

// TestFailureDoesNotFallThrough: while a local repository fails, a client that has
// another GOPROXY to ask next does not ask it.
func TestFailureDoesNotFallThrough(t *testing.T) {
	up, next := newUpstream(t), newUpstream(t)
	mv := module.Version{Path: "corp.example/lib", Version: "v1.0.0"}
	next.add(mv.Path, mv.Version, library(mv.Path, "from outside"))
	s := serve(t, up.settings()...)
	s.owns()
	s.publish(mv, library(mv.Path, mv.Version))
	for _, file := range filesBelow(t, filepath.Join(s.dir, "blobs", "sha256"), "") {
		if err := rewrite(file, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }); err != nil {
			t.Fatal(err)
		}
	}
	s.doesNotFallThrough(next, mv, "503 Service Unavailable", mv.String())
}

// doesNotFallThrough downloads a version, which must fail with texts that the user
// sees, and not be asked of the next entry of GOPROXY.
func (s *server) doesNotFallThrough(next *upstream, mv module.Version, texts ...string) {
	s.t.Helper()
	c := newGoClient(s.t, emptyModule(), s.URL+"/go/all,"+next.URL, "GONOSUMDB=corp.example")
	c.refused(s.t, mv.String(), texts...)
	if r := c.run("get", mv.String()); r.code == 0 {
		s.t.Errorf("go get %v: it succeeds: %s", mv, r.stderr)
	}
	if n := next.askedFor("corp.example"); n != 0 {
		s.t.Errorf("the next entry of GOPROXY was asked %d times: %v", n, next.paths())
	}
	if _, err := os.Stat(filepath.Join(c.downloads(), mv.Path, "@v", mv.Version+".zip")); !errors.Is(err, os.ErrNotExist) {
		s.t.Errorf("the client has a zip: %v", err)
	}
}

// TestHomeOutOfReach: while the home of a local repository can't be reached from a
// site, a zip that is only there, and a version of which the site may not have
// heard, are failures and no absences. When the home is back they are there.
func TestHomeOutOfReach(t *testing.T) {
	up, next := newUpstream(t), newUpstream(t)
	mv := module.Version{Path: "corp.example/lib", Version: "v1.0.0"}
	for _, u := range []*upstream{up, next} {
		u.add(mv.Path, mv.Version, library(mv.Path, "from outside"))
	}
	w := newWorld(t, up, "a", "b")
	a, b := w.sites["a"], w.sites["b"]
	a.must("repo", "set", "local", "--owns", "corp.example/**", "--blobs", "b:**=lazy")
	a.publish(mv, library(mv.Path, mv.Version))
	w.equal(healWithin)
	w.links.set(fault{cut: true}, between("a", "b")...)
	b.doesNotFallThrough(next, mv, "503 Service Unavailable", mv.String())
	unheard := module.Version{Path: mv.Path, Version: "v1.1.0"}
	next.add(unheard.Path, unheard.Version, library(unheard.Path, "from outside"))
	b.shows("that a is gone", hears("a", false))
	a.publish(unheard, library(unheard.Path, unheard.Version))
	b.doesNotFallThrough(next, unheard, "503 Service Unavailable", "it may lack what site a has written")
	if n := up.askedFor("corp.example"); n != 0 {
		t.Errorf("the upstream was asked %d times for what a local repository owns", n)
	}
	w.links.heal()
	w.equal(healWithin)
	c := newGoClient(t, emptyModule(), b.URL+"/go/all,"+next.URL, "GONOSUMDB=corp.example")
	eventually(t, healWithin, "site b gives the zip", func() error {
		if r := c.run("mod", "download", mv.String()); r.code != 0 {
			return errors.New(r.stderr)
		}
		return nil
	})
	for _, mv := range []module.Version{mv, unheard} {
		if d := c.download(mv.String()); d.Sum != h1(mv, library(mv.Path, mv.Version)) {
			t.Errorf("the zip of %v is %s, want the published one", mv, d.Sum)
		}
	}
}
