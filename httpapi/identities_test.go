package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"registry-node/node"
)

// asOperator sends a request over the admin socket.
func (g *registry) asOperator(method, target, body string) answer {
	g.t.Helper()
	return do(g.t, g.admin, method, "http://localhost", target, strings.NewReader(body))
}

func TestIdentitiesOverHTTP(t *testing.T) {
	g := newRegistry(t)
	if a := g.asOperator("DELETE", "/api/v1/permissions/tests", ""); a.status != http.StatusNoContent {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, c := range []struct {
		method, target, body string
		status               int
		has                  string
	}{
		{"PUT", "users/alice", `{"display":"Alice"}`, 201, `"name":"alice"`},
		{"PUT", "users/alice", `{"service":true}`, 200, `"service":true`},
		{"PUT", "users/alice", `{"if":"absent"}`, 409, "already"},
		{"PUT", "users/bob", `{"if":"present"}`, 404, "no user"},
		{"PUT", "users/bob", `{"if":"perhaps"}`, 400, "condition"},
		{"PUT", "users/bob", `{"pass":"x"}`, 400, "unknown field"},
		{"PUT", "users/bob", `{"password":"short"}`, 400, "at least 12"},
		{"PUT", "users/bob", `{"password":""}`, 400, "at least 12"},
		{"PUT", "users/bob", `{"password":"correct horse battery","no_password":true}`, 400, "one too many"},
		{"PUT", "users/A", `{}`, 400, "may only have"},
		{"PUT", "users/x%2Fy", `{}`, 400, "may only have"},
		{"GET", "users/alice", "", 200, `"groups":[]`},
		{"GET", "users/nobody", "", 404, "no user"},
		{"GET", "users?limit=0", "", 400, "limit"},
		{"GET", "users?page=1", "", 400, "unknown parameter"},
		{"GET", "users", "", 200, `{"users":[{"name":"alice"`},
		{"PUT", "groups/team", `{"members":["alice"]}`, 201, `{"name":"team","members":["alice"]}`},
		{"PUT", "groups/team", `{"remove":["alice"]}`, 200, `"members":[]`},
		{"PUT", "groups/team", `{"add":["alice"]}`, 200, `"members":["alice"]`},
		{"PUT", "groups/team", `{"add":["carol"]}`, 400, "no user"},
		{"PUT", "groups/team", `{}`, 400, "names no members"},
		{"PUT", "groups/team", `{"members":[],"add":["alice"]}`, 400, "either"},
		{"PUT", "groups/none", `{"add":["alice"]}`, 404, "no group"},
		{"GET", "groups", "", 200, `{"groups":[{"name":"team","members":["alice"]}]}`},
		{"PUT", "permissions/team", `{"principals":["group:team"],"repos":["local"],"include":["corp.test/**"],"actions":["read"]}`, 201, `"changed"`},
		{"PUT", "permissions/team", `{"principals":["group:team"],"repos":["local"],"actions":["read","publish"]}`, 200, `"publish"`},
		{"PUT", "permissions/x", `{"principals":["group:team"],"repos":["local"],"actions":["fly"]}`, 400, "fly"},
		{"PUT", "permissions/x", `{"principals":["group:team"],"repos":["local"],"actions":["read"],"include":["//"]}`, 400, "empty element"},
		{"GET", "permissions", "", 200, `{"permissions":[{"name":"team"`},
		{"GET", "permissions/team", "", 200, `"repos":["local"]`},
		{"GET", "permissions/check?user=alice&action=publish&repo=local&module=corp.test/x", "", 200, `{"allowed":true,"rule":"team"`},
		{"GET", "permissions/check?user=alice&action=block&repo=local", "", 200, `{"allowed":false`},
		{"GET", "permissions/check?user=alice&action=fly&repo=local", "", 400, "fly"},
		{"GET", "permissions/check?user=alice&action=read", "", 400, "missing"},
		{"GET", "permissions/check?user=carol&action=read&repo=local", "", 404, "no user"},
		{"POST", "tokens", `{}`, 400, "name of its user"},
		{"POST", "tokens", `{"user":"alice","expires":"soon"}`, 400, "soon"},
		{"POST", "tokens", `{"user":"alice","expires":"3651d"}`, 400, "3650d"},
		{"POST", "tokens", `{"user":"carol"}`, 400, "no user"},
		{"GET", "tokens?all=perhaps", "", 400, "neither"},
		{"DELETE", "tokens/tabcdefghijk", "", 404, "no token"},
		{"DELETE", "permissions/none", "", 404, "no rule"},
		{"DELETE", "groups/none", "", 404, "no group"},
		{"DELETE", "users/none", "", 404, "no user"},
	} {
		if a := g.asOperator(c.method, "/api/v1/"+c.target, c.body); a.status != c.status || !strings.Contains(a.body, c.has) {
			t.Errorf("%s %s %s: %d %s, want %d with %s", c.method, c.target, c.body, a.status, a.body, c.status, c.has)
		}
	}
}

func TestTokenOverHTTP(t *testing.T) {
	g := newRegistry(t)
	g.asOperator("PUT", "/api/v1/users/alice", `{}`)
	a := g.asOperator("POST", "/api/v1/tokens", `{"user":"alice","repos":["local"],"actions":["read"],"expires":"1d","description":"a test"}`)
	issued := decode[node.IssuedToken](t, a.body)
	if a.status != http.StatusCreated || !strings.HasPrefix(issued.Token, "rn_"+issued.ID+"_") || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	bearer := []string{"Authorization", "Bearer " + issued.Token}
	who := decode[node.WhoAmI](t, g.get("/api/v1/whoami", bearer...).body)
	if who.Name != "alice" || who.Token != issued.ID || len(who.Repos) != 1 || who.Expires.IsZero() {
		t.Errorf("whoami: %+v", who)
	}
	list := g.get("/api/v1/tokens", bearer...).body
	if !strings.Contains(list, `"description":"a test"`) || !strings.Contains(list, `"last_used"`) || strings.Contains(list, issued.Token) {
		t.Errorf("tokens: %s", list)
	}
	g.asOperator("PUT", "/api/v1/users/bob", `{}`)
	if a := g.get("/api/v1/users", bearer...); a.status != 200 || !strings.HasPrefix(a.body, `{"users":[{"name":"alice"`) || strings.Contains(a.body, "bob") {
		t.Errorf("users: %d %s", a.status, a.body)
	}
	for _, c := range []struct{ method, target, body string }{
		{"PUT", "users/bob", `{}`}, {"GET", "users/bob", ""}, {"GET", "users/alicex", ""}, {"DELETE", "users/alice", ""}, {"PUT", "groups/x", `{"members":[]}`},
		{"PUT", "permissions/x", `{"principals":["user:alice"],"repos":["local"],"actions":["read"]}`}, {"GET", "permissions/tests", ""},
		{"POST", "tokens", `{"user":"alice","expires":"never"}`}, {"GET", "tokens?user=bob", ""}, {"GET", "permissions/check?user=bob&action=read&repo=local", ""},
	} {
		if a := g.do(c.method, "/api/v1/"+c.target, strings.NewReader(c.body), bearer...); a.status != http.StatusForbidden {
			t.Errorf("%s %s: %d %s", c.method, c.target, a.status, a.body)
		}
	}
	if a := g.do("DELETE", "/api/v1/tokens/"+issued.ID+"?reason=done", nil, bearer...); a.status != http.StatusNoContent {
		t.Errorf("revoke: %d %s", a.status, a.body)
	}
	if a := g.get("/api/v1/whoami", bearer...); a.status != http.StatusUnauthorized {
		t.Errorf("after it was revoked: %d %s", a.status, a.body)
	}
	if strings.Contains(g.logs.String(), issued.Token) || strings.Contains(g.get("/api/v1/log").body, issued.Token[len(issued.Token)-20:]) {
		t.Error("a log has the token")
	}
}
