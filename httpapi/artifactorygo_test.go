package httpapi_test

import (
	"bytes"
	"encoding/pem"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"registry-node/httpapi"
)

// overTLS serves the registry over TLS too, and returns the URL and the environment
// by which clients trust its certificate.
func (j *jfrog) overTLS() (base string, env []string) {
	j.t.Helper()
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		j.t.Skip("no SSL_CERT_FILE on " + runtime.GOOS)
	}
	front := httptest.NewTLSServer(j.server.Handler(httpapi.Public))
	j.t.Cleanup(front.Close)
	file := filepath.Join(j.t.TempDir(), "cert.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw}), 0o600); err != nil {
		j.t.Fatal(err)
	}
	return front.URL, []string{"SSL_CERT_FILE=" + file}
}

// goProxy is GOPROXY as jf go sets it with --no-fallback.
func goProxy(base, user, password, repo string) string {
	u, _ := url.Parse(base) // of this test
	u.User = url.UserPassword(user, password)
	return u.String() + "/artifactory/api/go/" + repo
}

// TestJFrogGo is jf go over TLS, with each kind of credential that it writes into
// GOPROXY, and with those that are refused.
func TestJFrogGo(t *testing.T) {
	j := newJFrog(t).withPassword()
	base, env := j.overTLS()
	token := j.token(`{"user":"alice"}`)
	alice := j.as("Bearer " + token)
	p := j.parts("corp.test/Acme/Tiny", "v1.2.3")
	for _, file := range []string{"zip", "mod", "info"} {
		if a := alice.gp("all", p, file); a.status != 201 {
			t.Fatalf("%s: %d %s", file, a.status, a.body)
		}
	}
	j.proxy.add(t, "up.test/Big/m", "v1.0.0", tree("up.test/Big/m"))
	jwt := decode[issued](t, alice.exchange().body).AccessToken
	// A password that was right is remembered. The go command asks for much at a time,
	// and under the race detector a password takes seconds.
	if a := j.as(basic("alice", jfrogPassword)).ask("GET", "/artifactory/api/go/all/corp.test/%21acme/%21tiny/@v/list"); a.status != 200 {
		t.Fatalf("with the password: %d %s", a.status, a.body)
	}
	for _, tt := range []struct {
		user, password, repo, args string
		want                       string
		fails                      bool
	}{
		{"Alice", jfrogPassword, "all", "get corp.test/Acme/Tiny", "added corp.test/Acme/Tiny v1.2.3", false},
		{"alice", jwt, "all", "mod download -json corp.test/Acme/Tiny@v1.2.3", `"Sum": "h1:`, false},
		{"", jwt, "all", "list -m -versions corp.test/Acme/Tiny", "corp.test/Acme/Tiny v1.2.3", false},
		{"", token, "all", "mod download -json up.test/Big/m@v1.0.0", `"Sum": "h1:`, false},
		{"whoever", token, "local", "list -m corp.test/Acme/Tiny@latest", "corp.test/Acme/Tiny v1.2.3", false},
		{"", token, "all", "get corp.test/Acme/Tiny/sub", "does not contain package corp.test/Acme/Tiny/sub", true},
		{"", token, "all", "list -m corp.test/Acme/Tiny@v1.9.9", "corp.test/Acme/Tiny@v1.9.9: not found in repository", true},
		{"alice", "wrong", "all", "list -m corp.test/Acme/Tiny@v1.2.3", "these credentials are wrong", true},
		{"", token, "nowhere", "list -m corp.test/Acme/Tiny@v1.2.3", "403 Forbidden", true},
	} {
		out, err := j.goCommand(t, "", append(env, "GOPROXY="+goProxy(base, tt.user, tt.password, tt.repo)), strings.Fields(tt.args)...)
		if (err != nil) != tt.fails || !strings.Contains(out, tt.want) {
			t.Errorf("go %s as %q in %s: %v\n%s\nwant %q", tt.args, tt.user, tt.repo, err, out, tt.want)
		}
	}
	j.keepsSecret(token, jfrogPassword)
}

// TestJFrogGoGet is what jf go get with a build name asks after the go command has
// run: the version of what was typed, which may be a package in a module, with its
// capitals. The go command itself gets no such answer.
func TestJFrogGoGet(t *testing.T) {
	j := newJFrog(t)
	alice := j.as("Bearer " + j.token(`{"user":"alice"}`))
	p := j.parts("corp.test/Acme/Tiny", "v1.2.3")
	for _, file := range []string{"zip", "mod", "info"} {
		alice.gp("all", p, file)
	}
	j.proxy.add(t, "up.test/m", "v1.0.0", tree("up.test/m"))
	j.proxy.mu.Lock()
	j.proxy.files["/up.test/m/@latest"], j.proxy.files["/up.test/m/@v/main.info"] = infoOf("v1.0.0"), infoOf("v1.0.0")
	j.proxy.mu.Unlock()
	for _, tt := range []struct {
		path   string
		status int
		want   string
	}{
		{"corp.test/Acme/Tiny/@v/latest.info", 200, `"Version":"v1.2.3"`},
		{"corp.test/%21acme/%21tiny/@v/latest.info", 200, `"Version":"v1.2.3"`},
		{"corp.test/Acme/Tiny/pkg/Sub/@v/latest.info", 200, `"Version":"v1.2.3"`},
		{"up.test/m/cmd/tool/@v/main.info", 200, `"Version":"v1.0.0"`},
		{"corp.test/Nothing/@v/latest.info", 404, "corp.test/Nothing"},
		{"corp.test/Acme/Tiny/pkg/@v/v1.2.3.info", 404, "corp.test/Acme/Tiny/pkg@v1.2.3"},
		{"corp.test/@v/list", 404, "corp.test"},
		{"github.com/@v/v1.0.0.info", 404, "github.com"},
		{"corp.test/ACME!x/@v/list", 404, "corp.test"},
	} {
		a := alice.ask("GET", "/artifactory/api/go/all/"+tt.path)
		if a.status != tt.status || !strings.Contains(a.body, tt.want) {
			t.Errorf("%s: %d %s", tt.path, a.status, a.body)
		}
		if a.status != 200 {
			alice.refusal(a)
		}
	}
	// The go command asks so about each path that might be a module.
	for _, path := range []string{"corp.test/Acme/Tiny/pkg/Sub/@v/latest.info", "up.test/m/cmd/tool/@v/main.info"} {
		a := do(t, j.admin, "GET", "http://localhost", "/artifactory/api/go/all/"+path, nil)
		if a.status != 404 || strings.HasPrefix(a.body, "{") {
			t.Errorf("%s, for the go command: %d %s", path, a.status, a.body)
		}
	}
}

// TestSetupGo is jf setup go, and what jf go-config asks for its lists.
func TestSetupGo(t *testing.T) {
	j := newJFrog(t)
	bob := j.as("Bearer " + j.token(`{"user":"bob"}`))
	for _, tt := range []struct{ query, want string }{
		{"?packageType=go&type=virtual", "all=VIRTUAL "},
		{"?packageType=go&type=virtual&project=K", "all=VIRTUAL "},
		{"?type=local", "local=LOCAL "},
		{"?type=REMOTE", "public=REMOTE "},
		{"?type=federated", ""},
		{"?packageType=maven", ""},
		{"", "all=VIRTUAL local=LOCAL public=REMOTE "},
	} {
		a := bob.ask("GET", "/artifactory/api/repositories"+tt.query)
		got := ""
		for _, r := range decode[[]struct{ Key, Type, PackageType, URL string }](t, a.body) {
			got += r.Key + "=" + r.Type + " "
			if r.PackageType != "Go" || r.URL != "http://"+j.base+"/artifactory/"+r.Key {
				t.Errorf("%+v", r)
			}
		}
		if a.status != 200 || got != tt.want {
			t.Errorf("%q: %d %s, want %s", tt.query, a.status, got, tt.want)
		}
	}
	one := bob.ask("GET", "/artifactory/api/repositories/all")
	r := decode[struct {
		Key, RClass, PackageType, DefaultDeploymentRepo string
		Repositories                                    []string
	}](t, one.body)
	if one.status != 200 || r.Key != "all" || r.RClass != "virtual" || r.PackageType != "go" || r.DefaultDeploymentRepo != "local" || len(r.Repositories) != 2 {
		t.Errorf("%d %+v", one.status, r)
	}
	for path, want := range map[string]int{"nowhere": 404, "dead": 404, "No-Name": 404} {
		if a := bob.ask("GET", "/artifactory/api/repositories/"+path); a.status != want || bob.refusal(a) == "" {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := j.ask("GET", "/artifactory/api/repositories/all"); a.status != 401 {
		t.Errorf("nobody: %d", a.status)
	}
}

// TestReports: what clients report of themselves is taken at once, from everybody.
func TestReports(t *testing.T) {
	j := newJFrog(t)
	for _, r := range [][2]string{
		{"/artifactory/api/system/usage", `{"productId":"jfrog-cli-go/2.112.0","features":[{"featureId":"rt_go"}]}`},
		{"/jfconnect/api/v1/backoffice/metrics/log", `{"value":1,"metrics_name":"jfcli_commands_count","labels":{}}`},
	} {
		if a := j.post(r[0], "application/json", r[1]); a.status != 200 {
			t.Errorf("%s: %d %s", r[0], a.status, a.body)
		}
	}
	if a := j.ask("GET", "/artifactory/api/system/ping"); a.status != 200 || a.body != "OK" {
		t.Errorf("ping: %d %q", a.status, a.body)
	}
	if a := j.ask("GET", "/artifactory/api/none/such"); a.status != 404 || j.refusal(a) == "" {
		t.Errorf("no such path: %d", a.status)
	}
}

// TestJFrogCLI drives the real JFrog CLI, where there is one.
func TestJFrogCLI(t *testing.T) {
	jf, err := exec.LookPath("jf")
	if err != nil {
		t.Skip("no jf on PATH: what it sends is replayed by the other tests alone")
	}
	j := newJFrog(t).withPassword()
	base, env := j.overTLS()
	home := t.TempDir()
	module := filepath.Join(home, "m")
	for name, text := range map[string]string{"go.mod": "module corp.test/Acme/Real\n\ngo 1.21\n", "a.go": "package real\n"} {
		if err := os.MkdirAll(module, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(module, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(want string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), jf, args...)
		cmd.Dir = module
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "JFROG_CLI_HOME_DIR=" + home, "CI=true", "JFROG_CLI_AVOID_NEW_VERSION_WARNING=true",
			"GOPATH=" + filepath.Join(home, "go"), "GOFLAGS=-modcacherw", "GOSUMDB=off", "GOTOOLCHAIN=local", "GOCACHE=" + filepath.Join(home, "cache")}, env...)
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte(want)) {
			t.Errorf("jf %s: %v\n%s", args[0], err, out)
		}
	}
	run("", "config", "add", "here", "--url="+base, "--user=alice", "--password="+jfrogPassword, "--interactive=false")
	run("OK", "rt", "ping")
	run("", "go-config", "--repo-resolve=all", "--repo-deploy=all")
	run("", "go-publish", "v1.0.0")
	run("corp.test/Acme/Real", "go", "--no-fallback", "list", "-m", "corp.test/Acme/Real@v1.0.0")
	run("v1.0.0.zip", "rt", "search", "local/corp.test/*.zip")
	run("", "rt", "download", "local/corp.test/*.zip", "out/")
}
