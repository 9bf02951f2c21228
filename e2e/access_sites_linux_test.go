package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
)

// as sends a request with a token, without which this machine may do everything in
// a world.
func (s *site) as(token, method, path string, body []byte) answer {
	s.t.Helper()
	req, err := http.NewRequest(method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := requests.Do(req)
	if err != nil {
		s.t.Fatalf("site %s: %s %s: %v", s.name, method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("site %s: %s %s: %v", s.name, method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

// operator runs a command through the site's admin socket.
func (s *site) operator(args ...string) string {
	s.t.Helper()
	return strings.TrimSpace(s.must(append(args, "--data", s.dir)...))
}

// gets checks the answer to who reads the list of corp.example/team-a/x.
func (s *site) gets(token string, status int, when string) {
	s.t.Helper()
	if err := s.gives(token, status); err != nil {
		s.t.Errorf("%s: %v", when, err)
	}
}

func (s *site) gives(token string, status int) error {
	a := s.as(token, http.MethodGet, "/go/team-a/corp.example/team-a/x/@v/list", nil)
	if a.status != status {
		return fmt.Errorf("site %s: %d %s, want %d", s.name, a.status, a.body, status)
	}
	return nil
}

// publishes publishes v1.0.0 of a module with a token.
func (s *site) publishes(token, repo, path string) answer {
	s.t.Helper()
	mv := module.Version{Path: path, Version: "v1.0.0"}
	return s.as(token, http.MethodPut, "/api/v1/repos/"+repo+"/modules/"+path+"/@v/v1.0.0", zipOf(mv, library(mv.Path, mv.Version)))
}

// behind waits until a site says that another has entries to receive, and can't be
// reached.
func (s *site) behind(other string) {
	s.t.Helper()
	eventually(s.t, healWithin, "status says how far "+other+" is behind", func() error {
		st, err := s.standing()
		if err != nil {
			return err
		}
		if of := st.of(other); of.LagEntries == 0 || of.Connected {
			return fmt.Errorf("site %s says of %s: connected %v, %d entries behind", s.name, other, of.Connected, of.LagEntries)
		}
		return nil
	})
}

// TestRightsBetweenSites takes rights away at one site of two. They end there with
// the next request, whether or not the other can be reached, and at the other when
// it has received that, for which status says how far it is behind.
func TestRightsBetweenSites(t *testing.T) {
	w := newWorld(t, newUpstream(t), "a", "b")
	a, b := w.sites["a"], w.sites["b"] // a is the registry's home, and that of both repositories
	a.operator("repo", "create", "team-a", "--kind", "local", "--owns", "corp.example/team-a/**")
	a.operator("repo", "create", "shared", "--kind", "local", "--owns", "corp.example/shared/**")
	a.operator("group", "set", "team-a")
	a.operator("user", "create", "ci", "--service", "--groups", "team-a")
	a.operator("user", "create", "alice", "--groups", "admins")
	a.operator("permission", "set", "team-a", "--to", "group:team-a", "--repos", "team-a,shared", "--actions", "read,publish")
	token := func(user string, limits ...string) string {
		return a.operator(append([]string{"token", "create", "--user", user}, limits...)...)
	}
	whole, limited, admin := token("ci"), token("ci", "--modules", "corp.example/team-a/**", "--actions", "publish"), token("alice")
	w.equal(healWithin)

	for i, s := range []*site{a, b} {
		mine, elsewhere := fmt.Sprint("corp.example/team-a/x", i), fmt.Sprint("corp.example/shared/x", i)
		if a := s.publishes(limited, "team-a", mine); a.status != http.StatusCreated {
			t.Errorf("site %s: the token publishes within its limits: %d %s, want 201", s.name, a.status, a.body)
		}
		if a := s.publishes(limited, "shared", elsewhere); a.status != http.StatusForbidden {
			t.Errorf("site %s: the token publishes beyond its limits: %d %s, want 403", s.name, a.status, a.body)
		}
		if a := s.publishes(whole, "shared", elsewhere); a.status != http.StatusCreated {
			t.Errorf("site %s: its user may: %d %s, want 201", s.name, a.status, a.body)
		}
		s.gets(limited, http.StatusForbidden, "a token for publishing reads")
	}
	if a := a.publishes(whole, "team-a", "corp.example/team-a/x"); a.status != http.StatusCreated {
		t.Fatalf("publish: %d %s", a.status, a.body)
	}
	w.equal(healWithin)

	t.Run("a token is revoked", func(t *testing.T) { w.revoked(t, token("ci")) })
	t.Run("a member leaves", func(t *testing.T) { w.leaves(t, whole, admin) })
	t.Run("a token expires", func(t *testing.T) {
		short := token("ci", "--expires", "2s")
		eventually(t, 10*time.Second, "the token expires", func() error { return a.gives(short, http.StatusUnauthorized) })
		if a := a.as(short, http.MethodGet, "/api/v1/whoami", nil); !strings.Contains(string(a.body), "expired at") {
			t.Errorf("an expired token: %s, want that it says so", a.body)
		}
	})
}

// revoked revokes a token at b, which can't reach a.
func (w *world) revoked(t *testing.T, token string) {
	a, b := w.sites["a"], w.sites["b"]
	w.equal(healWithin)
	a.gets(token, http.StatusOK, "before")
	b.gets(token, http.StatusOK, "before")
	w.links.set(fault{cut: true}, between("a", "b")...)
	id := strings.Split(token, "_")[1]
	b.operator("token", "revoke", id, "--reason", "it leaked")
	b.gets(token, http.StatusUnauthorized, "revoked here")
	b.behind("a")
	a.gets(token, http.StatusOK, "revoked where this site can't hear of it")
	w.links.heal()
	eventually(t, healWithin, "the revocation arrives", func() error { return a.gives(token, http.StatusUnauthorized) })
}

// leaves takes a user out of a group, at the registry's home while it can't reach
// the other site, and then from the other.
func (w *world) leaves(t *testing.T, token, admin string) {
	a, b := w.sites["a"], w.sites["b"]
	w.equal(healWithin)
	w.links.set(fault{cut: true}, between("a", "b")...)
	a.operator("group", "remove", "team-a", "ci")
	a.gets(token, http.StatusForbidden, "taken out here")
	a.behind("b")
	b.gets(token, http.StatusOK, "taken out where this site can't hear of it")
	if r := b.as(admin, http.MethodPut, "/api/v1/groups/team-a", []byte(`{"remove":["ci"]}`)); r.status != http.StatusServiceUnavailable {
		t.Errorf("b takes a user out of a group without the home: %d %s, want 503", r.status, r.body)
	}
	w.links.heal()
	eventually(t, healWithin, "it arrives", func() error { return b.gives(token, http.StatusForbidden) })

	for _, c := range []struct {
		change string
		status int
	}{{`{"add":["ci"]}`, http.StatusOK}, {`{"remove":["ci"]}`, http.StatusForbidden}} {
		if r := b.as(admin, http.MethodPut, "/api/v1/groups/team-a", []byte(c.change)); r.status != http.StatusOK {
			t.Fatalf("b: %s: %d %s", c.change, r.status, r.body)
		}
		a.gets(token, c.status, c.change+" by way of b")
		b.gets(token, c.status, c.change+" here")
	}
	b.operator("group", "add", "team-a", "ci")
}
