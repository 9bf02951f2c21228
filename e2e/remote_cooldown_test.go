package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
)

// seed tells repository public since when versions are known. It returns what the
// command says.
func (s *server) seed(at time.Time, versions ...module.Version) string {
	s.t.Helper()
	var feed strings.Builder
	for _, mv := range versions {
		fmt.Fprintf(&feed, `{"Path":%q,"Version":%q,"Timestamp":%q}`+"\n", mv.Path, mv.Version, at.UTC().Format(time.RFC3339Nano))
	}
	file := filepath.Join(s.t.TempDir(), "index.ndjson")
	if err := os.WriteFile(file, []byte(feed.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return s.must("repo", "seed-times", "public", file)
}

// pending returns the versions that repository public does not give out yet, and
// when it will.
func (s *server) pending() map[string]time.Time {
	s.t.Helper()
	var list struct {
		Pending []struct {
			Module, Version string
			Opens           time.Time
		}
	}
	if err := json.Unmarshal([]byte(s.must("repo", "pending", "public", "--json")), &list); err != nil {
		s.t.Fatal(err)
	}
	opens := map[string]time.Time{}
	for _, p := range list.Pending {
		opens[p.Module+"@"+p.Version] = p.Opens
	}
	return opens
}

// picks has a client get a module and checks which version it is.
func (c *goClient) picks(t testing.TB, query, version string) {
	t.Helper()
	r := c.run("get", query)
	if r.code != 0 {
		t.Errorf("go get %s: exit code %d, %s", query, r.code, r.stderr)
	}
	path, _, _ := strings.Cut(query, "@")
	if got := c.run("list", "-m", "-f", "{{.Version}}", path); got.stdout != version+"\n" {
		t.Errorf("go get %s picks %s%s, want %s", query, got.stdout, got.stderr, version)
	}
}

// versions are what "go list" shows of a module.
func (c *goClient) versions(path string) string {
	c.t.Helper()
	r := c.run("list", "-m", "-versions", path)
	if r.code != 0 {
		c.t.Errorf("go list -m -versions %s: %s", path, r.stderr)
	}
	return strings.TrimSpace(strings.TrimPrefix(r.stdout, path))
}

// TestYoungVersions: what the registry has not known for long enough is in no list
// and is not what a query picks; asked for by name, its zip is refused with the
// time from which on it is given out.
func TestYoungVersions(t *testing.T) {
	up := newUpstream(t)
	const path = "pub.example/m"
	old := []module.Version{up.add(path, "v1.0.0", library(path, "v1.0.0")), up.add(path, "v1.1.0", library(path, "v1.1.0"))}
	young := up.add(path, "v1.2.0", library(path, "v1.2.0"))
	s := serve(t, up.settings()...)
	s.must("repo", "set", "public", "--min-age", "7d")
	client := func() *goClient {
		return newGoClient(t, emptyModule(), s.URL+"/go/all", "GOSUMDB="+up.sumdb)
	}

	// A new registry has seen nothing before today.
	r := client().run("get", path+"@latest")
	if r.code == 0 || !strings.Contains(r.stderr, "403 Forbidden") || !strings.Contains(r.stderr, path+"@v1.2.0 is too new: repository public gives versions out 7d after they were first seen, this one from ") {
		t.Errorf("go get of a module that is new as a whole: exit code %d, %s", r.code, r.stderr)
	}

	longAgo := time.Now().AddDate(0, 0, -30)
	for _, want := range []string{"2 versions are recorded; 0 were known", "0 versions are recorded; 2 were known"} {
		if said := s.seed(longAgo, old...); !strings.Contains(said, want) {
			t.Errorf("seed-times says %q, want %q", said, want)
		}
	}
	c := client()
	if got := c.versions(path); got != "v1.0.0 v1.1.0" {
		t.Errorf("listed are %q", got)
	}
	for _, query := range []string{"@latest", "@upgrade", "@v1", "@>v1.0.0"} {
		client().picks(t, path+query, "v1.1.0")
	}
	if r := client().run("mod", "download", path+"@v1.1.0"); r.code != 0 {
		t.Errorf("an old version: %s", r.stderr)
	}
	opens, ok := s.pending()[young.String()]
	if left := time.Until(opens); !ok || left < 6*24*time.Hour || left > 7*24*time.Hour {
		t.Errorf("%v opens at %v, want 7 days after now; pending are %v", young, opens, s.pending())
	}
	if n := len(s.pending()); n != 1 {
		t.Errorf("%d versions are pending: %v", n, s.pending())
	}
	client().refused(t, young.String(), "403 Forbidden", young.String()+" is too new",
		"this one from "+opens.UTC().Format("2006-01-02 15:04:05 MST")+" on", "repo set public --no-min-age")
	if n := up.count("/" + young.Version + ".zip"); n != 0 {
		t.Errorf("the upstream was asked %d times for a zip that is not given out", n)
	}
	// What a branch stands for is as young as that.
	branch := up.add(path, branchPseudo, library(path, branchPseudo))
	up.mu.Lock()
	up.queries[module.Version{Path: path, Version: "main"}] = branch.Version
	up.mu.Unlock()
	for _, args := range [][]string{{"get", path + "@main"}, {"list", "-m", path + "@main"}} {
		if r := client().run(args...); r.code == 0 || !strings.Contains(r.stderr, branch.String()+" is too new") && !strings.Contains(r.stderr, branch.String()+": repository public gives versions out 7d after") {
			t.Errorf("go %s: exit code %d, %s", strings.Join(args, " "), r.code, r.stderr)
		}
	}
	// Info and go.mod stay readable, so that requirements resolve.
	if r := client().run("list", "-m", young.String()); r.code != 0 || strings.TrimSpace(r.stdout) != path+" v1.2.0" {
		t.Errorf("go list -m %v: exit code %d, %s%s", young, r.code, r.stdout, r.stderr)
	}

	s.must("repo", "set", "public", "--no-min-age", path+"@v1.2.*")
	client().picks(t, path+"@latest", "v1.2.0")
	if _, ok := s.pending()[young.String()]; ok {
		t.Errorf("with an exemption it is pending")
	}
	s.must("repo", "set", "public", "--no-min-age", "")
	client().picks(t, path+"@latest", "v1.1.0")
	s.seed(time.Now(), old...) // what was known before stays known
	client().picks(t, path+"@latest", "v1.1.0")
	s.seed(time.Now().AddDate(0, 0, -8), young)
	client().picks(t, path+"@latest", "v1.2.0")
}

// TestYoungVersionOpens: a version is given out once its time has come.
func TestYoungVersionOpens(t *testing.T) {
	t.Parallel() // it waits for that time
	up := newUpstream(t)
	const path = "pub.example/m"
	mv := up.add(path, "v1.0.0", library(path, "v1.0.0"))
	s := serve(t, up.settings()...)
	s.must("repo", "set", "public", "--min-age", "5s")
	c := newGoClient(t, emptyModule(), s.URL+"/go/all", "GOSUMDB="+up.sumdb)
	c.refused(t, mv.String(), "403 Forbidden", "is too new", "5s after")
	opens := s.pending()[mv.String()]
	eventually(t, time.Minute, "it opens", func() error {
		if r := c.run("mod", "download", mv.String()); r.code != 0 {
			return errors.New(r.stderr)
		}
		return nil
	})
	if now := time.Now(); opens.IsZero() || now.Before(opens) {
		t.Errorf("it is given out at %v, and opens at %v", now, opens)
	}
	c.picks(t, path+"@latest", "v1.0.0")
}

// TestYoungRetraction: what a version that is left out retracts is not what a query
// picks. Who asks for it by name gets it.
func TestYoungRetraction(t *testing.T) {
	up := newUpstream(t)
	const path = "pub.example/m"
	var old []module.Version
	for _, v := range []string{"v1.0.0", "v1.1.0"} {
		old = append(old, up.add(path, v, library(path, v)))
	}
	up.add(path, "v1.2.0", library(path, "v1.2.0").with("go.mod", "module "+path+"\n\ngo 1.21\n\nretract [v1.1.0, v1.2.0] // they lose data\n"))
	s := serve(t, up.settings()...)
	s.must("repo", "set", "public", "--min-age", "7d")
	s.seed(time.Now().AddDate(0, 0, -30), old...)
	client := func() *goClient {
		return newGoClient(t, emptyModule(), s.URL+"/go/all", "GOSUMDB="+up.sumdb)
	}
	client().picks(t, path+"@latest", "v1.0.0")
	client().picks(t, path+"@upgrade", "v1.0.0")
	if got := client().versions(path); got != "v1.0.0" {
		t.Errorf("listed are %q", got)
	}
	client().picks(t, path+"@v1.1.0", "v1.1.0")

	// Once it is given out, the go command sees to it by itself.
	s.must("repo", "set", "public", "--min-age", "")
	c := client()
	c.picks(t, path+"@latest", "v1.0.0")
	r := c.run("get", path+"@v1.1.0")
	if r.code != 0 || !slices.ContainsFunc(strings.Split(r.stderr, "\n"), func(line string) bool {
		return strings.Contains(line, "retracted by module author: they lose data")
	}) {
		t.Errorf("go get of what is retracted: exit code %d, %s", r.code, r.stderr)
	}
}
