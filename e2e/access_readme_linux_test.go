package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/mod/module"
)

var printedToken = regexp.MustCompile(`(?m)^rn_[a-z2-7]+_[a-z2-7]+$`)

// TestReadmeSecuringIt begins with "make run" and runs what README's "Securing it"
// tells people to run. What was open is closed then, and two teams build and publish
// over TLS, each what it may.
func TestReadmeSecuringIt(t *testing.T) {
	asSeenByTheGoCommand(t)
	up := newUpstream(t)
	up.add("pub.example/lib", "v1.0.0", library("pub.example/lib", "v1.0.0"))
	r := newReader(t, up.settings()...)
	blocks := codeBlocks(t, "## Securing it")
	if n := strings.Count(strings.Join(blocks, ""), "bin/registry-node "); len(blocks) != 2 || n > 10 {
		t.Fatalf("README has %d blocks with %d commands, want two with ten at most", len(blocks), n)
	}

	end := r.serve(makeRun(t), "./data")
	if a, err := send(http.MethodGet, "http://127.0.0.1:"+r.port("8080")+"/go/all/pub.example/lib/@v/list", nil); err != nil || a.status != http.StatusOK {
		t.Errorf("the trial: %d %s, %v, want that everybody here may read", a.status, a.body, err)
	}
	end()
	r.run(blocks[0])
	tokens := printedToken.FindAllString(r.run(blocks[1]), -1)
	if len(tokens) != 2 {
		t.Fatalf("README's commands print %d tokens, want one for each team", len(tokens))
	}
	host := "127.0.0.1:" + r.port("8443")
	if a, err := send(http.MethodGet, "http://"+host+"/go/all/pub.example/lib/@v/list", nil); err != nil || a.status != http.StatusBadRequest {
		t.Errorf("over plain http: %d %s, %v, want 400", a.status, a.body, err)
	}
	teams := []string{"team-a", "team-b"}
	for i, team := range teams {
		r.publish(team, tokens[i])
	}
	for i, team := range teams {
		r.builds(team, teams[1-i], tokens[i])
	}
	r.closed()
}

// makeRun returns the command that "make run" runs.
func makeRun(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	_, rule, _ := strings.Cut(string(text), "\nrun: build\n\t")
	command, _, _ := strings.Cut(rule, "\n")
	if !strings.Contains(command, " serve --init --data ./data") {
		t.Fatalf("make run runs %q", command)
	}
	return command
}

// publish publishes a team's library with its token.
func (r *reader) publish(team, token string) {
	r.t.Helper()
	lib := teamLib(team)
	r.files(team, library(lib.Path, lib.Version))
	env := append(r.env[:len(r.env):len(r.env)], "REGISTRY_NODE_SERVER=https://127.0.0.1:"+r.port("8443"), "REGISTRY_NODE_CA="+r.certificate(), "REGISTRY_NODE_TOKEN="+token)
	if res := execute(r.t, r.dir, env, program(r.t), "publish", team, "--version", lib.Version, "--repo", team+"-lib"); res.code != 0 {
		r.t.Fatalf("%s publishes: %s", team, res.stderr)
	}
}

// builds has a team build with its own library, and not get the other's.
func (r *reader) builds(team, other, token string) {
	r.t.Helper()
	c := newGoClient(r.t, teamProgram(team), fmt.Sprintf("https://x:%s@127.0.0.1:%s/go/all", token, r.port("8443")),
		"GONOSUMDB=corp.example,pub.example", "SSL_CERT_FILE="+r.certificate())
	if res := c.run("build", "-o", os.DevNull, "."); res.code != 0 {
		r.t.Errorf("%s: go build: %s", team, res.stderr)
	}
	for _, mv := range []module.Version{teamLib(other), {Path: teamLib(other).Path + "nil", Version: "v1.0.0"}} {
		if res := c.run("mod", "download", mv.String()); res.code == 0 || !strings.Contains(res.stderr, "403 Forbidden") {
			r.t.Errorf("%s: go mod download %v: exit code %d, want 403: %s", team, mv, res.code, res.stderr)
		}
	}
}

// closed checks that who shows no credentials gets nothing.
func (r *reader) closed() {
	r.t.Helper()
	client := trusting(r.t, r.certificate())
	for _, path := range []string{"/go/all/pub.example/lib/@v/list", "/go/public/pub.example/lib/@latest", "/go/local/x.example/x/@v/list", "/api/v1/repos", "/api/v1/status", "/metrics"} {
		resp, err := client.Get("https://127.0.0.1:" + r.port("8443") + path)
		if err != nil {
			r.t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			r.t.Errorf("GET %s: %d, want 401", path, resp.StatusCode)
		}
	}
}

// certificate is the file with the node's own certificate.
func (r *reader) certificate() string { return filepath.Join(r.dir, "data", "tls", "cert.pem") }
