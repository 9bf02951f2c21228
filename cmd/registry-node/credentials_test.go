package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"registry-node/node/access"
)

// configured gives the test a user's configuration directory of its own, and
// returns the file that login stores tokens in.
func configured(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"XDG_CONFIG_HOME", "AppData"} {
		t.Setenv(name, dir)
	}
	if runtime.GOOS == "darwin" {
		t.Setenv("HOME", dir)
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		t.Fatal(err)
	}
	// The go command counts what it does there, also when it has ended; not here.
	writeTree(t, dir, map[string]string{"go/telemetry/mode": "off"})
	return filepath.Join(dir, "registry-node", "credentials.json")
}

// storing stores a token for a server, as login does.
func storing(t *testing.T, server string, s stored) {
	t.Helper()
	err := changeCredentials(t.Context(), func(c *credentials) error {
		c.Servers[server] = s
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// whoami is a server that knows nothing but who has which token. It passes on the
// credentials that it gets.
func whoami(t *testing.T, users map[string]string) (server string, got chan string) {
	t.Helper()
	got = make(chan string, 16)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("Authorization")
		token, err := access.ParseToken(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		user, ok := users[token.Secret()]
		if err != nil || !ok {
			w.WriteHeader(http.StatusUnauthorized)
			json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"code": "unauthorized", "message": "wrong token"}})
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"name": user, "token": token.ID(), "expires": "2030-01-02T03:04:05Z", "repositories": []any{}})
	}))
	t.Cleanup(s.Close)
	return s.URL, got
}

// last returns the last of what a server got, which has answered by now.
func last(got chan string) (s string) {
	for len(got) > 0 {
		s = <-got
	}
	return s
}

// typed runs the program with text on its standard input.
func typed(t *testing.T, text string, args ...string) result {
	t.Helper()
	var stdout, stderr strings.Builder
	code := run(t.Context(), args, strings.NewReader(text), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

func TestLoginStoresATokenForItsUserAlone(t *testing.T) {
	file := configured(t)
	token, wrong := access.NewToken(false), access.NewToken(false)
	server, got := whoami(t, map[string]string{token.Secret(): "alice"})

	for name, text := range map[string]string{
		"none": "\n", "no token": "hunter2", "a wrong one": wrong.Secret(), "a character is wrong": token.Secret()[:74] + "1",
	} {
		r := typed(t, text, "login", "--server", server)
		if _, err := os.Stat(file); r.code != exitNo || err == nil || strings.Contains(r.stderr, token.Secret()[20:60]) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	r := typed(t, " "+token.Secret()+" \n", "login", "--server", server, "--token-stdin")
	if r.code != exitOK || !strings.Contains(r.stdout, "alice") || !strings.Contains(r.stdout, "2030-01-0") || strings.Contains(r.stdout+r.stderr, token.Secret()) {
		t.Fatalf("%+v", r)
	}
	for _, path := range []string{file, filepath.Dir(file)} {
		if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}

	// Commands use it, unless they are given another.
	for _, c := range []struct{ env, flag, want string }{
		{"", "", "Bearer " + token.Secret()}, {"fromenv", "", "Bearer fromenv"}, {"", "fromflag", "Bearer fromflag"},
	} {
		t.Setenv(tokenEnv, c.env)
		try(t, "repo", "list", "--server", server, "--token", c.flag)
		if auth := last(got); auth != c.want {
			t.Errorf("token %q in the environment and %q as a flag: sent %q, want %q", c.env, c.flag, auth, c.want)
		}
	}
	t.Setenv(tokenEnv, "fromenv")
	dir := writeTree(t, t.TempDir(), map[string]string{"token": "fromfile\n"})
	try(t, "repo", "list", "--server", server, "--token-file", filepath.Join(dir, "token"))
	if auth := last(got); auth != "Bearer fromfile" {
		t.Errorf("sent %q", auth)
	}
	typed(t, "fromstdin\n", "repo", "list", "--server", server, "--token-file", "-")
	if auth := last(got); auth != "Bearer fromstdin" {
		t.Errorf("sent %q", auth)
	}
	refused(t, exitNo, []string{"repo", "list", "--server", server, "--token-file", filepath.Join(dir, "none")}, "--token-file")
	t.Setenv(tokenEnv, "")

	refused(t, exitNo, []string{"logout", "--server", "https://other.test"}, "no token is stored for https://other.test:443; there are tokens for "+server)
	if out := ok(t, "logout", "--server", server+"/"); !strings.Contains(out, "token revoke "+token.ID()) {
		t.Errorf("logout prints %q", out)
	}
	if text, err := os.ReadFile(file); err != nil || strings.Contains(string(text), "rn_") {
		t.Errorf("after logout: %s, %v", text, err)
	}
	refused(t, exitNo, []string{"logout", "--server", server}, "there is none for any")
}

// TestCredentialsAreChangedInTurn has many change them at once; none is lost.
func TestCredentialsAreChangedInTurn(t *testing.T) {
	configured(t)
	var changing sync.WaitGroup
	const n = 8
	for i := range n {
		changing.Go(func() {
			err := changeCredentials(t.Context(), func(c *credentials) error {
				c.Servers[fmt.Sprintf("https://%d.test:443", i)] = stored{Token: "x"}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	changing.Wait()
	c, err := readCredentials()
	if err != nil || len(c.Servers) != n {
		t.Errorf("%d of %d are stored, %v", len(c.Servers), n, err)
	}
}

// TestLinkToCredentialsIsKept, as some keep their configuration elsewhere.
func TestLinkToCredentialsIsKept(t *testing.T) {
	file := configured(t)
	storing(t, "https://a.test:443", stored{Token: "x"})
	target := filepath.Join(t.TempDir(), "elsewhere.json")
	if err := os.Rename(file, target); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, file); err != nil {
		if runtime.GOOS == "windows" {
			t.Skipf("links take a privilege there: %v", err)
		}
		t.Fatal(err)
	}
	storing(t, "https://b.test:443", stored{Token: "y"})
	if info, err := os.Lstat(file); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
	if text, err := os.ReadFile(target); err != nil || !strings.Contains(string(text), "b.test") {
		t.Errorf("%s, %v", text, err)
	}
}

// TestNoHomeHasNoTokens: a job without a home directory needs none.
func TestNoHomeHasNoTokens(t *testing.T) {
	for _, name := range []string{"XDG_CONFIG_HOME", "AppData", "HOME"} {
		t.Setenv(name, "")
	}
	server, got := whoami(t, nil)
	if try(t, "repo", "list", "--server", server); len(got) != 1 {
		t.Error("nothing was asked")
	}
	token := access.NewToken(false)
	server, _ = whoami(t, map[string]string{token.Secret(): "alice"})
	if r := typed(t, token.Secret(), "login", "--server", server); r.code != exitNo || !strings.Contains(r.stderr, "no place") {
		t.Errorf("login: %+v", r)
	}
}

func TestCredentialsThatOthersCanReadAreNotUsed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no mode there")
	}
	file := configured(t)
	server, _ := whoami(t, nil)
	storing(t, server, stored{Token: "x", User: "alice"})
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		refused(t, exitNo, []string{"repo", "list", "--server", server}, "can be read by others", "chmod 600 "+file)
		if r := try(t, "goauth"); r.code != exitOK || r.stdout != "" || !strings.Contains(r.stderr, "can be read by others") {
			t.Errorf("goauth: %+v", r)
		}
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil || os.Chmod(file, 0o600) != nil {
		t.Fatal(err)
	}
	refused(t, exitNo, []string{"repo", "list", "--server", server}, "the tokens that login stored", "JSON")
}

func TestExpiredTokenIsNotSent(t *testing.T) {
	configured(t)
	server, got := whoami(t, nil)
	storing(t, server, stored{Token: "x", User: "alice", Expires: time.Now().Add(-time.Second), Issuer: "sso"})
	refused(t, exitNo, []string{"repo", "list", "--server", server}, "expired at", "login --server "+server+" --oidc --issuer sso")
	if len(got) > 0 {
		t.Error("it was sent")
	}
}

// Over plain http a token goes to this machine alone.
func TestNoTokenOverPlainHTTP(t *testing.T) {
	configured(t)
	token := access.NewToken(false).Secret()
	const server = "http://registry.test:8080"
	refused(t, exitNo, []string{"repo", "list", "--server", server, "--token", token}, "plain http", "use https")
	t.Setenv(tokenEnv, token)
	refused(t, exitNo, []string{"repo", "list", "--server", server}, "plain http")
	t.Setenv(tokenEnv, "")
	if r := typed(t, token, "login", "--server", server); r.code != exitNo || !strings.Contains(r.stderr, "plain http") {
		t.Errorf("login: %+v", r)
	}
	storing(t, server, stored{Token: token, User: "alice"}) // as somebody may who edits the file
	for text, want := range map[string]string{server: "", "http://127.0.0.1:80": "", "https://registry.test": ""} {
		u := must1(url.Parse(text))
		if got, err := tokenFor(u, ""); err != nil || got != want {
			t.Errorf("token for %s: %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]bool{
		"https://a.test": true, "http://a.test": false, "http://localhost:1": true, "http://127.0.0.1": true, "http://127.1.2.3:80": true,
		"http://[::1]:80": true, "http://[::ffff:127.0.0.1]:80": true, "http://127.0.0.1.a.test": false, "http://0.0.0.0": false, "http://10.0.0.1": false, "http://localhost.a.test": false,
	} {
		if got := secure(must1(url.Parse(text))); got != want {
			t.Errorf("a token may go to %s: %t, want %t", text, got, want)
		}
	}
}
