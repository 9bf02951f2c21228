package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"registry-node/node"
)

// TestSecretOfAnUpstream follows a secret through a registry: without it nothing
// is asked, with it what is asked carries it, and it shows nowhere.
func TestSecretOfAnUpstream(t *testing.T) {
	const canary = "canary-9b3d77"
	g := newRegistry(t)
	g.proxy.add(t, "up.test/m", "v1.0.0", tree("up.test/m"))
	var asked []string
	g.proxy.setFault(func(w http.ResponseWriter, r *http.Request) {
		g.proxy.mu.Lock()
		defer g.proxy.mu.Unlock()
		asked = append(asked, r.Header.Get("X-Key"))
		if r.Header.Get("X-Key") != canary {
			http.Error(w, "no such key: "+r.Header.Get("X-Key"), http.StatusForbidden)
			return
		}
		if body, ok := g.proxy.files[r.URL.EscapedPath()]; ok {
			http.Error(w, body, http.StatusOK)
			return
		}
		w.Header().Set("X-Key", canary)
		http.Error(w, "you sent "+canary, http.StatusInternalServerError)
	})
	var shown strings.Builder
	get := func(target string) answer {
		a := g.get(target)
		shown.WriteString(a.body)
		return a
	}
	host := strings.TrimPrefix(g.proxy.url, "http://")
	a := g.do("PATCH", "/api/v1/repos/public", strings.NewReader(`{"secrets":[{"host":"`+host+`","name":"mirror"}],"absent_ttl":"1s"}`))
	if info := decode[node.RepoInfo](t, a.body); !strings.Contains(info.Problem, "the secret mirror is missing") {
		t.Errorf("%d %s", a.status, a.body)
	}

	for _, file := range []string{"@v/v1.0.0.info", "@v/v1.0.0.mod", "@v/v1.0.0.zip", "@v/list", "@latest", "@v/main.info"} {
		a := get("/go/all/up.test/m/" + file)
		if a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "registry-node secret set mirror --data DIR") {
			t.Errorf("%s: %d %s", file, a.status, a.body)
		}
	}
	if len(asked) > 0 {
		t.Errorf("the upstream is asked with %q", asked)
	}
	if st := decode[node.Status](t, get("/api/v1/status").body); len(st.Reasons) != 1 || !strings.Contains(st.Reasons[0], "secret mirror") {
		t.Errorf("status: %q", st.Reasons)
	}

	set := func(value string) { g.secret("mirror", `{"header":{"name":"X-Key","value":"`+value+`"}}`) }
	set("wrong-" + canary)
	if a := get("/go/all/up.test/m/@v/v1.0.0.zip"); a.status != http.StatusForbidden {
		t.Errorf("with a wrong key: %d %s", a.status, a.body)
	}
	set(canary)
	if a := get("/go/all/up.test/m/@v/v1.0.0.info"); a.status != http.StatusOK {
		t.Errorf("with the key: %d %s", a.status, a.body)
	}
	if a := get("/go/all/up.test/m/@v/v1.1.0.info"); a.status != http.StatusBadGateway {
		t.Errorf("an upstream that echoes: %d %s", a.status, a.body)
	}
	for _, target := range []string{"/api/v1/repos", "/api/v1/repos/public", "/api/v1/status", "/api/v1/replication", "/api/v1/log", "/metrics"} {
		get(target)
	}
	if asked[len(asked)-1] != canary {
		t.Errorf("the upstream is asked with %q", asked)
	}
	for what, text := range map[string]string{"an answer": shown.String(), "the node's log": g.logs.String()} {
		if strings.Contains(text, canary) {
			t.Errorf("%s shows the secret:\n%s", what, text)
		}
	}
}

// secret gives the node a secret.
func (g *registry) secret(name, text string) {
	g.t.Helper()
	secrets, err := node.OpenSecrets(g.dir)
	if err != nil {
		g.t.Fatal(err)
	}
	secret, err := node.ParseSecret([]byte(text))
	if err == nil {
		err = secrets.Set(repoName(g.t, name), secret)
	}
	if err != nil {
		g.t.Fatal(err)
	}
}
