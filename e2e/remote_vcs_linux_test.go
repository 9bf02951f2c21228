package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// vcsModules makes repositories of each kind, and returns the queries that are
// asked of their modules, by path.
func vcsModules(h *vcsHost) map[string][]string {
	plain := h.repo(publicHost, "plain")
	plain.commit(library(plain.path, "v1.0.0"), "v1.0.0")
	plain.commit(tree{"more.go": "package plain\n", "vendor/x/x.go": "package x\n"}, "a:v1.1.0", "v1.1", "vx")
	plain.commit(tree{"go.mod": "module " + plain.path + "\n\ngo 1.21\n\nretract v1.1.0 // it loses data\n"}, "v1.2.0", "v1.3.0-rc.1")
	plain.run("checkout", "-q", "-b", "dev")
	dev := plain.commit(tree{"dev.go": "package plain\n"})

	two := h.repo(publicHost, "two")
	two.commit(library(two.path, "v1.0.0"), "v1.0.0")
	two.run("checkout", "-q", "-b", "v2")
	two.commit(tree{"go.mod": "module " + two.path + "/v2\n"}, "v2.0.0")

	nested := h.repo(publicHost, "nested")
	files := library(nested.path, "v1.0.0")
	for name, text := range library(nested.path+"/sub", "v0.1.0") {
		files["sub/"+name] = text
	}
	for name, text := range library(nested.path+"/v2", "v2.1.0") {
		files["v2/"+name] = text
	}
	nested.commit(files, "v1.0.0", "v2.1.0", "sub/v0.1.0", "a:sub/v0.2.0")

	old := h.repo(publicHost, "old")
	old.commit(library(old.path, "v1.0.0").without("go.mod"), "v1.0.0")
	old.commit(tree{"LICENSE": "all\n"}, "v2.0.0")

	untagged := h.repo(publicHost, "untagged")
	untagged.commit(library(untagged.path, "no release"))

	deep := h.repo(publicHost, "deep", "src")
	files = tree{"outside.go": "package outside\n"}
	for name, text := range library(deep.path, "v1.4.0") {
		files["src/"+name] = text
	}
	deep.commit(files, "src/v1.4.0")

	private := h.repo(privateHost, "private")
	private.commit(library(private.path, "v1.0.0"), "v1.0.0")
	return map[string][]string{
		plain.path:           {"v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0-rc.1", "main", "dev", dev[:12], "latest"},
		two.path:             {"v1.0.0"},
		two.path + "/v2":     {"v2.0.0"},
		nested.path:          {"v1.0.0"},
		nested.path + "/v2":  {"v2.1.0"},
		nested.path + "/sub": {"v0.1.0", "v0.2.0", "main"},
		old.path:             {"v1.0.0", "v2.0.0+incompatible"},
		untagged.path:        {"main", "latest"},
		deep.path:            {"v1.4.0"},
		private.path:         {"v1.0.0", "main"},
	}
}

// directClient returns a client in direct mode that has the host for an Internet.
// Its user has the password.
func (h *vcsHost) directClient(files tree) *goClient {
	h.t.Helper()
	home := h.t.TempDir()
	netrc := "machine " + privateHost + " login git password " + h.password + "\n"
	if err := os.WriteFile(filepath.Join(home, ".netrc"), []byte(netrc), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return newGoClient(h.t, files, "direct", append(noGitConfig(), "GOSUMDB=off", "HOME="+home, "GIT_TERMINAL_PROMPT=0", "NO_PROXY=",
		"SSL_CERT_FILE="+h.caFile, "GIT_SSL_CAINFO="+h.caFile, "HTTPS_PROXY="+h.proxy)...)
}

// serveVCS starts a node whose repository git has the host for an upstream.
func serveVCS(t testing.TB, h *vcsHost, settings ...string) *server {
	t.Helper()
	s := serve(t, "GOPROXY=off", "SSL_CERT_FILE="+h.caFile)
	s.must(append([]string{"repo", "create", "git", "--kind", "remote", "--upstream", "vcs", "--sumdb", "off", "--proxy", h.proxy}, settings...)...)
	return s
}

// keep keeps a password for a host at the node's site, as a secret of a name.
func (s *server) keep(name, password string) {
	s.t.Helper()
	text, err := json.Marshal(map[string]any{"basic": map[string]string{"user": "git", "password": password}})
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), program(s.t), "secret", "set", name, "--data", s.dir)
	cmd.Env, cmd.Stdin = s.env, strings.NewReader(string(text))
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("secret set: %v\n%s", err, out)
	}
}

// gitProgram is a program that uses a package of each public repository.
func gitProgram() tree {
	paths := []string{"plain", "two", "two/v2", "nested", "nested/v2", "nested/sub", "old", "untagged", "deep"}
	var imports, uses strings.Builder
	for _, path := range paths {
		name := strings.ReplaceAll(path, "/", "")
		imports.WriteString("\t" + name + " \"" + publicHost + "/" + path + "\"\n")
		uses.WriteString("\tprintln(" + name + ".What)\n")
	}
	return tree{
		"go.mod":  "module app.example/app\n\ngo 1.21\n",
		"main.go": "package main\n\nimport (\n" + imports.String() + ")\n\nfunc main() {\n" + uses.String() + "}\n",
	}
}

// TestVCSThroughANode holds a repository of VCS hosts to the go command in direct
// mode: whatever a client asks, with either it says and writes the same.
func TestVCSThroughANode(t *testing.T) {
	asSeenByTheGoCommand(t)
	t.Parallel() // git and the go command take their time
	h := newVCSHost(t)
	modules := vcsModules(h)
	s := serveVCS(t, h, "--secrets", privateHost+"=git")
	s.keep("git", h.password)
	proxy := s.URL + "/go/git"
	here, there := newGoClient(t, gitProgram(), proxy, "GOSUMDB=off"), h.directClient(gitProgram())
	for path, queries := range modules {
		for _, query := range queries {
			got, want := here.download(path+"@"+query), there.download(path+"@"+query)
			if got.Version != want.Version || got.Sum != want.Sum || got.GoModSum != want.GoModSum {
				t.Errorf("%s@%s: through the node %+v, in direct mode %+v", path, query, got, want)
			}
			if got, want := got.info(t), want.info(t); got != want || got.Origin.Hash == "" {
				t.Errorf("%s@%s: info %+v, in direct mode %+v", path, query, got, want)
			}
		}
	}
	dev := modules[publicHost+"/plain"][6]
	for _, args := range [][]string{
		{"list", "-m", "-versions", publicHost + "/plain"},
		{"list", "-m", "-versions", "-retracted", publicHost + "/plain"},
		{"list", "-m", "-versions", publicHost + "/nested/sub"},
		{"list", "-m", "-versions", publicHost + "/old"},
		{"list", "-m", "-versions", privateHost + "/private"},
		{"get", publicHost + "/plain@main"},
		{"get", publicHost + "/plain@" + dev},
		{"get", publicHost + "/plain@v1.1.0"},
		{"list", "-m", "-u", "-retracted", publicHost + "/plain"},
		{"get", publicHost + "/plain@latest"},
		{"get", publicHost + "/untagged@latest"},
		{"mod", "tidy"}, {"mod", "verify"}, {"build", "-o", os.DevNull, "."}, {"run", "."},
	} {
		got, want := here.observe(proxy, args), there.observe(proxy, args)
		if got != want {
			t.Errorf("go %s: through the node:\n%s\nin direct mode:\n%s", strings.Join(args, " "), got, want)
		}
	}
	if r := here.run("run", "."); r.code != 0 || !strings.Contains(r.stderr, publicHost+"/nested/sub v0.1.0\n") {
		t.Errorf("the program prints %q, exit code %d: %s", r.stdout, r.code, r.stderr)
	}
	if said := s.said.String() + s.must("log"); strings.Contains(said, h.password) {
		t.Error("what the node says has the password in it")
	}
}

// TestVCSHeldWithoutHost: what was fetched from a VCS host stays when the host is
// gone, and a moved tag is not taken.
func TestVCSHeldWithoutHost(t *testing.T) {
	t.Parallel() // git and the go command take their time
	h := newVCSHost(t)
	r := h.repo(publicHost, "m")
	r.commit(library(r.path, "v1.0.0"), "v1.0.0")
	s := serveVCS(t, h)
	first := newGoClient(t, tree{"go.mod": "module app.example/app\n"}, s.URL+"/go/git", "GOSUMDB=off").download(r.path + "@v1.0.0")
	r.commit(library(r.path, "moved"), "v1.0.0")
	before := h.requests()
	again := newGoClient(t, tree{"go.mod": "module app.example/app\n"}, s.URL+"/go/git", "GOSUMDB=off").download(r.path + "@v1.0.0")
	if first.Sum == "" || again.Sum != first.Sum {
		t.Errorf("with a moved tag: %s, before it was %s", again.Sum, first.Sum)
	}
	if n := h.requests() - before; n != 0 {
		t.Errorf("the host was asked %d times for what is held", n)
	}
}

// TestVCSRefusals: what a repository of VCS hosts does not give is refused with a
// text that the user of the go command can act upon.
func TestVCSRefusals(t *testing.T) {
	t.Parallel() // git and the go command take their time
	h := newVCSHost(t)
	for _, host := range []string{publicHost, otherHost, privateHost} {
		r := h.repo(host, strings.TrimSuffix(host, ".test"))
		r.commit(library(r.path, "v1.0.0"), "v1.0.0")
	}
	s := serveVCS(t, h, "--secrets", privateHost+"=git", "--allow-targets", publicHost+"/git/**", "--allow-targets", privateHost+"/**")
	c := newGoClient(t, tree{"go.mod": "module app.example/app\n"}, s.URL+"/go/git", "GOSUMDB=off")
	c.download(publicHost + "/vcs@v1.0.0")

	c.refused(t, otherHost+"/other@v1.0.0", "403 Forbidden",
		`go-import of other.test/other leads to "https://other.test/git/other"`, "allow list of this repository (vcs.test/git/**, private.test/**)")
	c.refused(t, "github.com/corp/secret@v1.0.0", "403 Forbidden", "https://github.com/corp/secret", "allow list")
	c.refused(t, publicHost+"/vcs@v1.9.0", "404 Not Found", "v1.9.0")
	c.refused(t, privateHost+"/private@v1.0.0", "503 Service Unavailable", "registry-node secret set git")
	s.keep("git", "wrong")
	c.refused(t, privateHost+"/private@v1.0.0", "403 Forbidden", privateHost)
	s.keep("git", h.password)
	c.download(privateHost + "/private@v1.0.0")
}
