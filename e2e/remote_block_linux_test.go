package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
)

// soonEverywhere is how soon the other sites know of what one has decided.
const soonEverywhere = 10 * time.Second

// publicClient returns a client of a site for modules of an upstream.
func (s *site) publicClient(up *upstream) *goClient {
	s.t.Helper()
	return newGoClient(s.t, emptyModule(), s.URL+"/go/all", "GOSUMDB="+up.sumdb, "GONOSUMDB=corp.example")
}

// TestBlocks: what is blocked at one site nobody gets at any, cached or not, and
// is told why. Its bytes stay, and so does who has fetched it; an unblock brings it
// back.
func TestBlocks(t *testing.T) {
	up := newUpstream(t)
	const path = "pub.example/m"
	for _, v := range []string{"v1.0.0", "v1.1.0", "v1.1.1"} {
		up.add(path, v, library(path, v))
	}
	bad := module.Version{Path: path, Version: "v1.1.0"}
	evil := up.add("pub.example/evil/tool", "v1.0.0", library("pub.example/evil/tool", "v1.0.0"))
	w := newWorld(t, up, "a", "b")
	a, b := w.sites["a"], w.sites["b"]
	a.publicClient(up).download(bad.String())

	b.must("block", path+"@v1.1.*", "--reason", "it steals keys (CVE-2026-1)")
	b.must("block", "pub.example/evil/**", "--reason", "typosquatting")
	b.publicClient(up).refused(t, bad.String(), "403 Forbidden", "it steals keys (CVE-2026-1)")
	eventually(t, soonEverywhere, "site a knows of the blocks", func() error {
		if list := a.must("block", "list"); !strings.Contains(list, path+"@v1.1.*") || !strings.Contains(list, "pub.example/evil/**") {
			return errors.New(list)
		}
		return nil
	})
	for _, s := range []*site{a, b} {
		for _, v := range []string{bad.String(), path + "@v1.1.1"} {
			s.publicClient(up).refused(t, v, "403 Forbidden", "it steals keys (CVE-2026-1)")
		}
		s.publicClient(up).refused(t, evil.String(), "403 Forbidden", "typosquatting")
		s.publicClient(up).picks(t, path+"@latest", "v1.0.0")
		if got := s.publicClient(up).versions(path); got != "v1.0.0" {
			t.Errorf("site %s: listed are %q", s.name, got)
		}
		for _, kind := range []string{".info", ".mod", ".zip"} {
			if got := s.get("/go/all/" + path + "/@v/v1.1.0" + kind); got.status != http.StatusForbidden || !strings.Contains(string(got.body), "it steals keys") {
				t.Errorf("site %s: %s: %d %s", s.name, kind, got.status, got.body)
			}
		}
	}
	if n := up.askedFor("/evil/"); n != 0 {
		t.Errorf("the upstream was asked %d times for what is blocked", n)
	}
	if who := a.fetched(bad); len(who) != 1 || who[0] != "127.0.0.1" {
		t.Errorf("it was fetched by %q, want one client", who)
	}

	zips := up.count("/v1.1.0.zip")
	b.must("unblock", path+"@v1.1.*")
	eventually(t, soonEverywhere, "it is given out again", func() error {
		if r := a.publicClient(up).run("mod", "download", bad.String()); r.code != 0 {
			return errors.New(r.stderr)
		}
		return nil
	})
	if n := up.count("/v1.1.0.zip") - zips; n != 0 {
		t.Errorf("the upstream was asked %d times for a zip that was held", n)
	}
	a.publicClient(up).refused(t, evil.String(), "403 Forbidden", "typosquatting")
}

// fetched returns the addresses of those who fetched a version from a site.
func (s *site) fetched(mv module.Version) (clients []string) {
	s.t.Helper()
	out := ""
	eventually(s.t, time.Minute, "the access log is written", func() error {
		if out = s.must("fetched", mv.String(), "--json"); !strings.Contains(out, mv.Path) {
			return errors.New(out)
		}
		return nil
	})
	var list struct {
		Fetches []struct{ Client string }
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	for _, f := range list.Fetches {
		clients = append(clients, f.Client)
	}
	return clients
}

// TestPurge: a version with a secret in it is purged at one site. Its bytes go at
// all sites, whether it was published or fetched, and nothing brings them back. What
// is left are its hashes and the reason.
func TestPurge(t *testing.T) {
	up := newUpstream(t)
	w := newWorld(t, up, "a", "b")
	a, b := w.sites["a"], w.sites["b"]
	a.owns()
	published := module.Version{Path: "corp.example/leak", Version: "v1.0.0"}
	next := module.Version{Path: published.Path, Version: "v1.0.1"}
	a.publish(published, content(published, "secret"))
	a.publish(next, content(next, ""))
	remote := up.add("pub.example/leak", "v1.0.0", content(module.Version{Path: "pub.example/leak", Version: "v1.0.0"}, "secret"))
	w.equal(healWithin)
	for _, s := range []*site{a, b} {
		s.publicClient(up).download(published.String())
		s.publicClient(up).download(remote.String())
		for _, mv := range []module.Version{published, remote} {
			if found := s.holds(mv); len(found) == 0 {
				t.Fatalf("site %s: no file has the zip of %v", s.name, mv)
			}
		}
	}
	if r := b.command("purge", published.String(), "--reason", "x"); r.code == 0 {
		t.Error("a purge asks nobody")
	}
	before := up.askedFor("leak/@v/v1.0.0")
	for _, mv := range []module.Version{published, remote} {
		b.must("purge", mv.String(), "--reason", "it has the key of the mint", "--yes")
		if found := b.holds(mv); len(found) > 0 {
			t.Errorf("site b: the zip of %v is in %q", mv, found)
		}
		eventually(t, soonEverywhere, fmt.Sprintf("the zip of %v is gone from site a", mv), func() error {
			if found := a.holds(mv); len(found) > 0 {
				return fmt.Errorf("it is in %q", found)
			}
			return nil
		})
	}
	w.equal(healWithin)
	w.purged(up, published, remote)
	// No unblocking, no restart and no rebuild brings anything back.
	for _, mv := range []module.Version{published, remote} {
		if r := a.command("unblock", mv.String()); r.code != 1 || !strings.Contains(r.stderr, mv.String()+" was purged: it has the key of the mint") {
			t.Errorf("unblock %v: exit code %d, %s", mv, r.code, r.stderr)
		}
	}
	b.fall(b.stop)
	b.rise()
	b.must("rebuild")
	w.equal(healWithin)
	w.purged(up, published, remote)
	if n := up.askedFor("leak/@v/v1.0.0") - before; n != 0 {
		t.Errorf("the upstream was asked %d times for what is purged", n)
	}
	for _, s := range []*site{a, b} {
		for _, tag := range []string{"secret", ""} {
			answer, err := s.put(published, zipOf(published, content(published, tag)))
			if err != nil || answer.status != http.StatusForbidden || !strings.Contains(string(answer.body), "it has the key of the mint") {
				t.Errorf("site %s: content %q is published again: %d %s, %v", s.name, tag, answer.status, answer.body, err)
			}
		}
	}
	b.publicClient(up).download(next.String())
	for _, s := range []*site{a, b} {
		s.must("verify")
	}
}

// purged checks that all sites refuse versions with the reason of their purge, and
// that their logs still have the hashes.
func (w *world) purged(up *upstream, versions ...module.Version) {
	w.t.Helper()
	for _, name := range w.names {
		s := w.sites[name]
		log := s.must("log", "--site", "a") // which decides, and was the first to fetch
		for _, mv := range versions {
			s.publicClient(up).refused(w.t, mv.String(), "403 Forbidden", "it has the key of the mint")
			for _, kind := range []string{".info", ".mod", ".zip"} {
				got := s.get("/go/all/" + mv.Path + "/@v/" + mv.Version + kind)
				if got.status != http.StatusForbidden || !strings.Contains(string(got.body), "it has the key of the mint") {
					w.t.Errorf("site %s: %v%s: %d %s", name, mv, kind, got.status, got.body)
				}
			}
			if a := s.get("/go/all/" + mv.Path + "/@v/list"); strings.Contains(string(a.body), mv.Version+"\n") {
				w.t.Errorf("site %s: the list has %v", name, mv)
			}
			if found := s.holds(mv); len(found) > 0 {
				w.t.Errorf("site %s: the zip of %v is in %q", name, mv, found)
			}
			if !strings.Contains(log, h1(mv, content(mv, "secret"))) {
				w.t.Errorf("site %s: the log lacks the hash of %v", name, mv)
			}
			if !slices.ContainsFunc(strings.Split(log, "\n"), func(e string) bool {
				return strings.Contains(e, `"type":"version.purged"`) && strings.Contains(e, `"module":"`+mv.Path+`"`) && strings.Contains(e, `"reason":"it has the key of the mint"`)
			}) {
				w.t.Errorf("site %s: the log lacks the purge of %v with its reason", name, mv)
			}
		}
	}
}

// holds returns the files of a site that have a part of a zip in them, of those
// that were published or fetched with a secret.
func (s *site) holds(mv module.Version) (found []string) {
	s.t.Helper()
	zip := zipOf(mv, content(mv, "secret"))
	part := string(zip[len(zip)/2:][:64])
	err := fs.WalkDir(os.DirFS(s.dir), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return ifThere(err) // the node makes and removes files meanwhile
		}
		b, err := os.ReadFile(filepath.Join(s.dir, file))
		if strings.Contains(string(b), part) {
			found = append(found, file)
		}
		return ifThere(err)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// ifThere passes over the error that a file is not there.
func ifThere(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
