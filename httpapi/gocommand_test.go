package httpapi_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// goCommand runs the go command against the registry, with nothing in its
// caches and env in its environment, and returns what it prints.
func (g *registry) goCommand(t *testing.T, repo string, env []string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Fatal("there is no go command on PATH")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module main.test\n\ngo 1.21\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GOPATH=" + filepath.Join(dir, "gopath"), "GOCACHE=" + filepath.Join(dir, "cache"),
		"GOPROXY=" + g.base + "/go/" + repo, "GOSUMDB=off", "GOTOOLCHAIN=local", "GOFLAGS=-modcacherw -mod=mod", "GOENV=off",
	}, env...) // the last one of a name counts
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func TestGoCommand(t *testing.T) {
	g := filled(t)
	for _, tt := range []struct {
		repo, args string
		want       string
		fails      bool
	}{
		{"all", "list -m -versions up.test/m", "up.test/m v1.0.0 v1.2.0 v1.3.0-pre.1 v1.10.0", false},
		{"all", "list -m -versions corp.test/a", "corp.test/a v1.0.0 v1.1.0-RC1", false},
		{"all", "list -m corp.test/Acme/Tiny@latest", "corp.test/Acme/Tiny v1.0.0", false},
		{"all", "list -m up.test/Big/Case@v1.0.0-Beta", "up.test/Big/Case v1.0.0-Beta", false},
		{"all", "list -m up.test/m@upgrade", "up.test/m v1.10.0", false},
		{"all", "list -m up.test/m@v1.2", "up.test/m v1.2.0", false},
		{"all", "list -m up.test/m@0123456789ab", "up.test/m v1.2.0", false},
		{"all", "list -m up.test/pseudo@main", "up.test/pseudo " + pseudo, false},
		{"all", "list -m up.test/pseudo@latest", "up.test/pseudo " + pseudo, false},
		{"all", "list -m up.test/old@latest", "up.test/old v2.0.0+incompatible", false},
		{"all", "mod download -json corp.test/a@v1.1.0-RC1", `"Sum": "h1:`, false},
		{"all", "mod download -json up.test/m@v1.0.0", `"Sum": "h1:`, false},
		{"all", "mod download -json corp.test/a/v2@v2.3.4", `"Sum": "h1:`, false},
		{"all/cached-only", "mod download -json up.test/m@v1.0.0", `"Sum": "h1:`, false}, // as fetched above
		{"all", "get up.test/m/sub@v1.0.0", "module up.test/m@v1.0.0 found, but does not contain package up.test/m/sub", true},
		{"all", "get corp.test/a@v1.0.0", "added corp.test/a v1.0.0", false},
		// Errors are shown to who runs the command.
		{"all", "list -m corp.test/a@v1.9.9", "corp.test/a@v1.9.9: not found in repository local", true},
		{"nowhere", "list -m corp.test/a@v1.0.0", `there is no repository called "nowhere"`, true},
		{"public", "list -m corp.test/a@v1.0.0", "403 Forbidden", true},
		{"public", "list -m corp.test/a@v1.0.0", "corp.test/a belongs to the local repository local; no upstream is asked for it", true},
		{"dead", "list -m up.test/m@v1.1.1", "502 Bad Gateway", true},
	} {
		out, err := g.goCommand(t, tt.repo, nil, strings.Fields(tt.args)...)
		if (err != nil) != tt.fails || !strings.Contains(out, tt.want) {
			t.Errorf("go %s (%s): %v\n%s\nwant %q", tt.args, tt.repo, err, out, tt.want)
		}
	}
}
