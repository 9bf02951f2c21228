package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
)

// mirror makes a repository of an upstream without a checksum database.
func (s *server) mirror(up *upstream, settings ...string) {
	s.t.Helper()
	s.must(append([]string{"repo", "create", "mirror", "--kind", "remote", "--upstream", up.URL, "--sumdb", "off"}, settings...)...)
}

// TestDrift: what was removed from the cache is fetched again, and must be what it
// was. An upstream that gives something else is refused and reported, until it
// gives what is recorded.
func TestDrift(t *testing.T) {
	up := newUpstream(t)
	const path = "pub.example/m"
	mv := up.add(path, "v1.0.0", library(path, "v1.0.0"))
	other := up.add(path, "v1.1.0", library(path, "v1.1.0"))
	s := serve(t, "GOPROXY=off")
	s.mirror(up)
	client := func() *goClient { return newGoClient(t, emptyModule(), s.URL+"/go/mirror", "GOSUMDB=off") }
	first := client().download(mv.String())
	client().download(other.String())

	if said := s.must("repo", "clean", "mirror", mv.String()); !strings.Contains(said, "removed the zips of 1 versions") {
		t.Errorf("repo clean: %s", said)
	}
	if r := s.command("status"); r.code != 0 {
		t.Errorf("status calls a removed zip trouble: %s", r.stdout)
	}
	s.must("verify")
	if again := client().download(mv.String()); again.Sum != first.Sum || up.count("/v1.0.0.zip") != 2 {
		t.Errorf("after it was removed it is %s, before it was %s; the upstream was asked %d times", again.Sum, first.Sum, up.count("/v1.0.0.zip"))
	}

	s.must("repo", "clean", "mirror", "pub.example/**")
	up.add(path, "v1.0.0", library(path, "moved"))
	moved := h1(mv, library(path, "moved"))
	client().refused(t, mv.String(), "502 Bad Gateway", mv.String(), moved, first.Sum)
	for _, args := range [][]string{{"status"}, {"repo", "drift"}} {
		eventually(t, time.Minute, strings.Join(args, " ")+" shows the drift", func() error {
			r := s.command(args...)
			for _, text := range []string{mv.String(), moved, first.Sum, "mirror"} {
				if !strings.Contains(r.stdout, text) {
					return fmt.Errorf("no %q:\n%s%s", text, r.stdout, r.stderr)
				}
			}
			if want := map[bool]int{true: 1}[args[0] == "status"]; r.code != want {
				return fmt.Errorf("exit code %d, want %d", r.code, want)
			}
			return nil
		})
	}
	client().download(other.String())
	// Without the zip the version is still what it was.
	if a := s.get("/go/mirror/" + path + "/@v/list"); a.status != http.StatusOK || string(a.body) != "v1.0.0\nv1.1.0\n" {
		t.Errorf("the list: %d %q", a.status, a.body)
	}
	if a := s.get("/go/mirror/" + path + "/@v/v1.0.0.mod"); a.status != http.StatusOK || string(a.body) != string(library(path, "")["go.mod"]) {
		t.Errorf("the go.mod: %d %q", a.status, a.body)
	}

	up.add(path, "v1.0.0", library(path, "v1.0.0"))
	if again := client().download(mv.String()); again.Sum != first.Sum {
		t.Errorf("from an upstream that is right again: %s, want %s", again.Sum, first.Sum)
	}
	eventually(t, time.Minute, "status shows that it is over", func() error {
		if r := s.command("status"); r.code != 0 {
			return fmt.Errorf("exit code %d\n%s", r.code, r.stdout)
		}
		return nil
	})
	if said := s.must("repo", "drift"); strings.Contains(said, path) {
		t.Errorf("repo drift, with none left: %s", said)
	}
}

// TestRemovedAndGoneUpstream: what was removed from the cache and can't be had from
// the upstream is no absence, and the user is told what became of it.
func TestRemovedAndGoneUpstream(t *testing.T) {
	up := newUpstream(t)
	mv := up.add("pub.example/m", "v1.0.0", library("pub.example/m", "v1.0.0"))
	s := serve(t, "GOPROXY=off")
	s.mirror(up)
	client := func() *goClient { return newGoClient(t, emptyModule(), s.URL+"/go/mirror", "GOSUMDB=off") }
	client().download(mv.String())
	s.must("repo", "clean", "mirror", mv.String())
	up.fault("/v1.0.0.zip", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "busy", http.StatusServiceUnavailable) })
	client().refused(t, mv.String(), "502 Bad Gateway", "503 Service Unavailable")
	up.fault("/v1.0.0.zip", http.NotFound)
	client().refused(t, mv.String(), "502 Bad Gateway", "its zip was removed from the cache of repository mirror, and the upstream, which had it, says that it is not there")
	up.fault("/v1.0.0.zip", nil)
	s.must("repo", "refresh", "mirror") // or the absence stands for a minute
	client().download(mv.String())
}

// TestCleanIsForRemotes: what is published, and what is not there, is not removed.
func TestCleanIsForRemotes(t *testing.T) {
	s := serve(t, "GOPROXY=off")
	s.owns()
	mv := module.Version{Path: "corp.example/lib", Version: "v1.0.0"}
	s.publish(mv, library(mv.Path, mv.Version))
	s.mirror(newUpstream(t))
	for _, repo := range []string{"local", "mirror", "nosuch"} {
		if r := s.command("repo", "clean", repo, mv.String()); r.code != 1 || !strings.Contains(r.stderr, repo) {
			t.Errorf("repo clean %s: exit code %d, %s", repo, r.code, r.stderr)
		}
	}
	newGoClient(t, emptyModule(), s.URL+"/go/all", "GONOSUMDB=corp.example").download(mv.String())
}
