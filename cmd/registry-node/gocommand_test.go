package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"registry-node/node/access"
)

// goCommand is a way to run the go command for one module of a registry.
type goCommand struct {
	t   *testing.T
	env []string
}

// fetch has the go command fetch the module by a GOPROXY, with nothing cached, and
// returns what it says if that fails.
func (g goCommand) fetch(goproxy string, env ...string) (string, error) {
	g.t.Helper()
	dir := g.t.TempDir()
	cmd := exec.CommandContext(g.t.Context(), "go", "mod", "download", "corp.example/app@v1.0.0")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY="+goproxy, "GONOPROXY=none", "GONOSUMDB=corp.example", "GOTOOLCHAIN=local", "GOFLAGS=-modcacherw",
		"GOMODCACHE="+filepath.Join(dir, "cache"), "NETRC="+filepath.Join(dir, "none"), asProgram+"=1")
	cmd.Env = append(append(cmd.Env, g.env...), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// The go command shows who asks in each of its ways, and over TLS alone.
func TestGoCommandShowsWhoAsks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there the system says which certificates are trusted, not SSL_CERT_FILE")
	}
	configured(t)
	dir := t.TempDir()
	makeCertificate(t, dir)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	s := startedClosed(t, "serve", filepath.Join(t.TempDir(), "data"), "--init", "--tls-cert", cert, "--tls-key", key)
	url := "https://" + s.addr
	ok(t, "repo", "set", "local", "--owns", "corp.example/**", "--data", s.data)
	src := writeTree(t, t.TempDir(), map[string]string{"go.mod": "module corp.example/app\n", "a.go": "package app\n"})
	ok(t, "publish", src, "--version", "v1.0.0", "--repo", "local", "--data", s.data)
	ok(t, "user", "create", "alice", "--data", s.data)
	ok(t, "permission", "set", "alice", "--to", "user:alice", "--repos", "local", "--actions", "read", "--data", s.data)
	token := strings.TrimSpace(ok(t, "token", "create", "--user", "alice", "--data", s.data))
	ok(t, "permission", "delete", "trial", "--data", s.data) // which lets this machine read

	login := command(t, "login", "--server", url)
	login.Stdin = strings.NewReader(token + "\n")
	login.Env = append(login.Env, "SSL_CERT_FILE="+cert)
	if out, err := login.CombinedOutput(); err != nil || !strings.Contains(string(out), "alice") {
		t.Fatalf("login: %v\n%s", err, out)
	}
	netrc := filepath.Join(t.TempDir(), "netrc")
	if err := os.WriteFile(netrc, fmt.Appendf(nil, "machine %s login alice password %s\n", s.addr, token), 0o600); err != nil {
		t.Fatal(err)
	}
	goauth := "GOAUTH=" + quoteWord(must1(os.Executable())) + " goauth;netrc"
	g := goCommand{t, []string{"SSL_CERT_FILE=" + cert}}
	ways := []struct{ name, goproxy, env string }{
		{"netrc", url + "/go/all", "NETRC=" + netrc},
		{"goauth", url + "/go/all", goauth},
		{"token in the URL", "https://x:" + token + "@" + s.addr + "/go/all", ""},
	}
	for _, way := range ways {
		if out, err := g.fetch(way.goproxy, way.env); err != nil {
			t.Errorf("%s: %v\n%s", way.name, err, out)
		}
	}
	if out, err := g.fetch(url + "/go/all"); err == nil || !strings.Contains(out, "401 Unauthorized") {
		t.Errorf("without: %v\n%s", err, out)
	}
	parsed := must1(access.ParseToken(token))
	ok(t, "token", "revoke", parsed.ID(), "--data", s.data)
	for _, way := range ways {
		if out, err := g.fetch(way.goproxy, way.env); err == nil || !strings.Contains(out, "401 Unauthorized") || strings.Contains(out, token) {
			t.Errorf("%s, revoked: %v\n%s", way.name, err, out)
		}
	}
}

func TestGoCommandShowsNothingOverPlainHTTP(t *testing.T) {
	configured(t)
	token := access.NewToken(false).Secret()
	var got []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusUnauthorized)
	}))
	storing(t, s.URL, stored{Token: token, User: "alice"})
	addr := strings.TrimPrefix(s.URL, "http://")
	storing(t, "https://"+addr, stored{Token: token, User: "alice"})
	netrc := filepath.Join(t.TempDir(), "netrc")
	if err := os.WriteFile(netrc, fmt.Appendf(nil, "machine %s login alice password %s\n", addr, token), 0o600); err != nil {
		t.Fatal(err)
	}
	g := goCommand{t, []string{"NETRC=" + netrc, "GOAUTH=" + quoteWord(must1(os.Executable())) + " goauth;netrc"}}
	if out, err := g.fetch(s.URL + "/go/all"); err == nil || !strings.Contains(out, "401") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := g.fetch("http://x:" + token + "@" + addr + "/go/all"); err == nil || !strings.Contains(out, "refusing to pass credentials to insecure URL") {
		t.Errorf("%v\n%s", err, out)
	}
	s.Close() // and its requests
	if len(got) == 0 || strings.Join(got, "") != "" {
		t.Errorf("it sent %q", got)
	}
}
