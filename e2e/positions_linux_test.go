package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
)

// putTo publishes to the repository of a home, through s, with a query.
func (s *site) putTo(t testing.TB, home, version, query string) answer {
	t.Helper()
	mv := module.Version{Path: home + ".example/at", Version: version}
	a, err := s.ask(http.MethodPut, "/api/v1/repos/"+homeRepo(home)+"/modules/"+mv.Path+"/@v/"+version+query, zipOf(mv, library(mv.Path, version)))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// deploy publishes the same as clients of an Artifactory do, and returns the answer to
// the last file of the version.
func (s *site) deploy(t testing.TB, home, version, query string) (last answer) {
	t.Helper()
	mv := module.Version{Path: home + ".example/at", Version: version}
	files := library(mv.Path, version)
	for file, content := range map[string][]byte{"mod": []byte(files["go.mod"]), "zip": zipOf(mv, files)} {
		a, err := s.ask(http.MethodPut, "/artifactory/"+homeRepo(home)+"/"+mv.Path+"/@v/"+version+"."+file+query, content)
		if err != nil {
			t.Fatal(err)
		}
		if last = a; file == "mod" && a.status/100 != 2 {
			t.Errorf("%s: %d %s", file, a.status, a.body)
		}
	}
	return last
}

// info reads the info of such a version at s.
func (s *site) info(t testing.TB, home, version, prefix string) int {
	t.Helper()
	a, err := s.ask(http.MethodGet, prefix+"/go/"+homeRepo(home)+"/"+home+".example/at/@v/"+version+".info", nil)
	if err != nil {
		t.Fatal(err)
	}
	return a.status
}

// atLeast is the path below which a site answers with what stood in the log when
// a was given.
func atLeast(t testing.TB, a answer) string {
	t.Helper()
	at := a.header.Get("Registry-Position")
	if a.status != http.StatusCreated || strings.Count(at, "/") < 2 {
		t.Fatalf("%d %s at %q", a.status, a.body, at)
	}
	return "/at-least/" + at
}

// TestReadYourWrites publishes at one site and reads at others, with the
// position that the publisher was told, and without.
func TestReadYourWrites(t *testing.T) {
	w := newWorld(t, newUpstream(t), "a", "b", "c")
	w.makeRepos()
	a, b, c := w.sites["a"], w.sites["b"], w.sites["c"]
	for i := range 20 {
		v := fmt.Sprintf("v1.0.%d", i)
		at := atLeast(t, a.putTo(t, "b", v, "")) // decided at b
		for _, s := range []*site{a, b, c} {
			if status := s.info(t, "b", v, at); status != http.StatusOK {
				t.Errorf("%s: site %s at the position of the publication: %d", v, s.name, status)
			}
		}
		if status := a.info(t, "b", v, ""); status != http.StatusOK {
			t.Errorf("%s: site a, where it was published: %d", v, status)
		}
	}

	w.links.set(fault{cut: true}, append(between("a", "b"), between("b", "c")...)...)
	b.shows("that a is gone", hears("a", false))
	at := atLeast(t, a.putTo(t, "a", "v1.0.0", ""))
	if status := b.info(t, "a", "v1.0.0", at); status != http.StatusServiceUnavailable {
		t.Errorf("a site that is cut off, asked for what it can't have yet: %d, want 503", status)
	}
	if status := c.info(t, "a", "v1.0.0", at); status != http.StatusOK {
		t.Errorf("a site that is not cut off: %d, want 200", status)
	}
	w.links.heal()
	w.equal(healWithin)
	if status := b.info(t, "a", "v1.0.0", at); status != http.StatusOK {
		t.Errorf("the site after the heal: %d, want 200", status)
	}
}

// TestPublishToSites has publishers wait until so many sites have a version.
func TestPublishToSites(t *testing.T) {
	w := newWorld(t, newUpstream(t), "a", "b", "c")
	w.makeRepos()
	a := w.sites["a"]
	if got := a.putTo(t, "a", "v1.0.0", "?sites=all&timeout=10s"); got.status != http.StatusCreated {
		t.Errorf("all sites: %d %s", got.status, got.body)
	}
	for _, name := range w.names {
		if status := w.sites[name].info(t, "a", "v1.0.0", ""); status != http.StatusOK {
			t.Errorf("site %s has not what all sites had: %d", name, status)
		}
	}
	c := w.sites["c"]
	c.fall(c.kill)
	if got := a.putTo(t, "a", "v1.1.0", "?sites=2&timeout=10s"); got.status != http.StatusCreated {
		t.Errorf("two sites of two that run: %d %s", got.status, got.body)
	}
	begin := time.Now()
	got := a.putTo(t, "a", "v1.2.0", "?sites=all&timeout=500ms")
	if took := time.Since(begin); got.status != http.StatusAccepted || took < 500*time.Millisecond || took > 5*time.Second {
		t.Errorf("three sites of two that run: %d %s after %v, want 202 after 500ms", got.status, got.body, took)
	}
	var said struct {
		Have int `json:"sites_have"`
	}
	if err := json.Unmarshal(got.body, &said); err != nil || said.Have != 2 {
		t.Errorf("the answer %s names not the two sites that have it: %v", got.body, err)
	}
	for query, want := range map[string]int{"?sites=2&timeout=10s": http.StatusCreated, "?sites=all&timeout=200ms": http.StatusAccepted} {
		if got := a.deploy(t, "a", "v1.3.0", query); got.status != want {
			t.Errorf("deployed with %s: %d %s, want %d", query, got.status, got.body, want)
		}
	}
	c.rise()
	w.equal(healWithin)
	if got := a.putTo(t, "a", "v1.2.0", "?sites=all&timeout=10s"); got.status != http.StatusOK {
		t.Errorf("the same content again, with all sites: %d %s", got.status, got.body)
	}
}

// TestStatusStream reads one site's stream of changes while another goes and
// comes back.
func TestStatusStream(t *testing.T) {
	w := newWorld(t, newUpstream(t), "a", "b")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.sites["a"].URL+"/api/v1/replication/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := new(http.Client).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		t.Fatalf("%d, %s", resp.StatusCode, kind)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	await := func(what string, check func(standing) error) {
		t.Helper()
		begin, late := time.Now(), lateness(t)
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			var st standing
			if err := json.Unmarshal([]byte(data), &st); err != nil {
				t.Fatalf("%v: %s", err, data)
			}
			if check(st) == nil {
				if took := time.Since(begin); took > shownWithin+late() {
					t.Errorf("the stream shows %s after %v", what, took)
				}
				return
			}
		}
		t.Fatalf("the stream ended without showing %s: %v", what, lines.Err())
	}
	await("that all are equal", allEqual)
	b := w.sites["b"]
	b.fall(b.kill)
	await("that b is gone", hears("b", false))
	b.rise()
	await("that b is back", allEqual)
}

// TestMovedHomes moves homes as an operator does, with the old home up and gone,
// and removes the site that is gone.
func TestMovedHomes(t *testing.T) {
	w := newWorld(t, newUpstream(t), "a", "b", "c")
	w.makeRepos()
	a, b, c := w.sites["a"], w.sites["b"], w.sites["c"]
	a.must("home", "move", homeRepo("b"), "--to", "c")
	w.equal(healWithin)
	if got := b.putTo(t, "b", "v1.0.0", ""); got.status != http.StatusCreated || !strings.HasPrefix(got.header.Get("Registry-Position"), "c/") {
		t.Errorf("publish after the home moved to c: %d %s at %s", got.status, got.body, got.header.Get("Registry-Position"))
	}
	w.equal(healWithin)

	c.fall(c.kill)
	a.shows("that c is gone", hears("c", false))
	if got := b.putTo(t, "b", "v1.1.0", ""); got.status != http.StatusServiceUnavailable || !strings.Contains(string(got.body), "site c") {
		t.Errorf("publish while the home is gone: %d %s, want 503 that names it", got.status, got.body)
	}
	a.must("home", "move", homeRepo("b"), "--to", "b", "--force", "--yes", "--reason", "a test")
	eventually(t, healWithin, "b publishes what it is home of again", func() error {
		if got := b.putTo(t, "b", "v1.1.0", ""); got.status != http.StatusCreated {
			return fmt.Errorf("%d %s", got.status, got.body)
		}
		return nil
	})
	c.rise()
	w.equal(healWithin)
	if status := c.info(t, "b", "v1.1.0", ""); status != http.StatusOK {
		t.Errorf("the old home, back again: %d", status)
	}

	c.fall(c.stop)
	a.shows("that c is gone", hears("c", false))
	if r := a.command("site", "remove", "c", "--reason", "a test"); r.code != 1 || !strings.Contains(r.stderr, "registry-node home move "+homeRepo("c")) {
		t.Errorf("removal of a site that is home of something: exit code %d, %s", r.code, r.stderr)
	}
	a.must("home", "move", homeRepo("c"), "--to", "a", "--force", "--yes", "--reason", "a test")
	a.must("site", "remove", "c", "--reason", "a test")
	if list := a.must("site", "list"); !strings.Contains(list, "left") {
		t.Errorf("site list after a removal:\n%s", list)
	}
	w.names = slices.DeleteFunc(w.names, func(name string) bool { return name == "c" })
	w.equal(healWithin)
	if r := a.command("diff", "b"); r.code != 0 {
		t.Errorf("diff b: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}
