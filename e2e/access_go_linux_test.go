package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// credentialWays are how the go command comes to a user's token: each returns the
// URL of the registry and the settings.
var credentialWays = map[string]func(r *teams, user string) (url string, settings []string){
	"netrc":  (*teams).byNetrc,
	"goauth": (*teams).byGoauth,
	"url":    (*teams).byURL,
}

// byNetrc has a file with the token, for the host with its port.
func (r *teams) byNetrc(user string) (string, []string) {
	file := filepath.Join(r.t.TempDir(), "netrc")
	host := strings.TrimPrefix(r.url, "https://")
	if err := os.WriteFile(file, fmt.Appendf(nil, "machine %s login %s password %s\n", host, user, r.tokens[user]), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return r.url, []string{"NETRC=" + file, "GOAUTH=netrc"}
}

// byGoauth stores the token with login, and has this program give it to the go
// command.
func (r *teams) byGoauth(user string) (string, []string) {
	config := r.t.TempDir()
	login := exec.CommandContext(r.t.Context(), program(r.t), "login", "--server", r.url, "--token-stdin")
	login.Env = environment("XDG_CONFIG_HOME="+config, "SSL_CERT_FILE="+r.ca)
	login.Stdin = strings.NewReader(r.tokens[user] + "\n")
	out, err := login.CombinedOutput()
	if said := string(out); err != nil || !strings.Contains(said, user) || strings.Contains(said, r.tokens[user]) {
		r.t.Fatalf("login as %s: %v\n%s", user, err, said)
	}
	return r.url, []string{"XDG_CONFIG_HOME=" + config, "GOAUTH=" + program(r.t) + " goauth"}
}

// byURL has the token in GOPROXY.
func (r *teams) byURL(user string) (string, []string) {
	return strings.Replace(r.url, "https://", "https://"+user+":"+r.tokens[user]+"@", 1), []string{"GOAUTH=off"}
}

// TestTeamsBuild builds each team's program with each way in which the go command
// shows credentials. Each team gets what it may and nothing of the other's.
func TestTeamsBuild(t *testing.T) {
	asSeenByTheGoCommand(t)
	r := newTeams(t)
	for way, shown := range credentialWays {
		for team, other := range map[string]string{"amber": "cobalt", "cobalt": "amber"} {
			t.Run(way+"/"+team, func(t *testing.T) {
				url, settings := shown(r, team+"-ci")
				c := r.goClient(teamProgram(team), url, settings...)
				if res := c.run("build", "-o", os.DevNull, "."); res.code != 0 {
					t.Errorf("go build: %s", res.stderr)
				}
				if res, want := c.run("list", "-m", "-versions", teamLib(team).Path), teamLib(team).Path+" v1.0.0\n"; res.stdout != want {
					t.Errorf("go list -versions: %q %s, want %q", res.stdout, res.stderr, want)
				}
				if res := c.run("mod", "download", teamLib(other).String()); res.code == 0 || !strings.Contains(res.stderr, "403 Forbidden") {
					t.Errorf("the other team's: go mod download: exit code %d, want a refusal with 403: %s", res.code, res.stderr)
				}
			})
		}
	}
	for _, token := range r.tokens {
		if strings.Contains(r.said.String(), token) {
			t.Error("a token is in the node's log")
		}
	}
}

// refuses checks what the go command makes of a module that it may not read, and of
// one that is not there: it tells them apart by nothing.
func (r *teams) refuses(c *goClient, status, path string) {
	c.t.Helper()
	said := map[string]string{}
	for _, p := range []string{path, strings.TrimSuffix(path, "lib") + "nil"} {
		for _, query := range []string{"@v1.0.0", "@latest", "@main", "/deep/er@v1.0.0"} {
			res := c.run("get", p+query)
			text := strings.ReplaceAll(res.stderr, p, "M")
			switch {
			case res.code == 0 || !strings.Contains(text, status):
				c.t.Errorf("go get %s%s: exit code %d, want a refusal with %s: %s", p, query, res.code, status, res.stderr)
			case said[query] == "":
				said[query] = text
			case said[query] != text:
				c.t.Errorf("go get …%s says of a module that is there\n%s\nand of one that is not\n%s", query, said[query], text)
			}
		}
	}
}

// TestTeamsProbePackages has the go command look for packages below modules that a
// team may read. For that it asks for each prefix of the import path.
func TestTeamsProbePackages(t *testing.T) {
	asSeenByTheGoCommand(t)
	r := newTeams(t)
	url, settings := r.byURL("amber-ci")
	c := r.goClient(emptyModule(), url, settings...)
	for _, pkg := range []string{"corp.example/amber/lib/deep/er", "pub.example/lib/sub"} {
		if res := c.run("get", pkg+"@v1.0.0"); res.code != 0 {
			t.Errorf("go get %s: %s", pkg, res.stderr)
		}
	}
	for path := range r.up.paths() {
		if strings.Contains(path, "amber") {
			t.Errorf("the upstream is asked for %s", path)
		}
	}
	r.refuses(c, "403 Forbidden", teamLib("cobalt").Path)
	r.refuses(r.goClient(emptyModule(), r.url, "GOAUTH=off"), "401 Unauthorized", teamLib("amber").Path)
}
