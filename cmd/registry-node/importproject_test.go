package main

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// goEnvironment is how the go command is set up for a project: where it fetches
// from, and its cache.
func goEnvironment(t *testing.T, goproxy string) []string {
	t.Helper()
	return []string{"GOPROXY=" + goproxy, "GONOPROXY=none", "GOSUMDB=off", "GOTOOLCHAIN=local", "GOWORK=", "GOFLAGS=-modcacherw", "GOMODCACHE=" + t.TempDir()}
}

// runGo runs the go command in a directory.
func runGo(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s%s", strings.Join(args, " "), err, out, &stderr)
	}
	return string(out)
}

// app is a project that builds with what is in h: with a and, by way of it, with c.
// The b that a requires is an older one, of which only the go.mod matters (and matters
// at all, since the go line of a is from before graphs were pruned); replaced is replaced by
// a fork, and there is a module in a directory beside.
func app(t *testing.T, h *hoard) (dir string) {
	t.Helper()
	h.add("up.example/b", "v1.0.0")
	h.add("up.example/b", "v1.1.0", "up.example/leaf v0.1.0")
	h.add("up.example/leaf", "v0.1.0")
	h.add("up.example/Cap/c", "v2.0.0+incompatible")
	h.add("up.example/fork", "v1.0.0")
	h.add("up.example/a", "v1.0.0", "up.example/b v1.0.0", "up.example/Cap/c v2.0.0+incompatible", "up.example/replaced v1.0.0")
	return writeTree(t, t.TempDir(), map[string]string{
		"go.mod": `module corp.example/app

go 1.21

require (
	corp.example/beside v0.0.0
	up.example/Cap/c v2.0.0+incompatible
	up.example/a v1.0.0
	up.example/b v1.1.0
	up.example/leaf v0.1.0 // indirect
	up.example/replaced v1.0.0
)

replace (
	corp.example/beside => ./beside
	up.example/replaced => up.example/fork v1.0.0
)
`,
		"go.sum":        h.sums.String(),
		"beside/go.mod": "module corp.example/beside\n",
		"beside/x.go":   "package beside\n",
		"main.go": `package main

import (
	_ "corp.example/beside"
	"up.example/Cap/c"
	"up.example/a"
	"up.example/b"
	_ "up.example/replaced"
)

func main() { println(a.Version, b.Version, c.Version) }
`,
	})
}

// What a project needs is imported from it, so that it builds in a network that
// reaches nothing else, with nothing cached; the project stays as it is.
func TestImportProject(t *testing.T) {
	h := newHoard(t)
	dir := app(t, h)
	before := filesIn(t, dir)
	s := closedNetwork(t)
	h.isUpstream()
	r := imports(t, exitOK, dir, "--repo", "public")
	if r.Imported != 6 || r.Mods != 1 || len(r.Refused) != 0 || r.Left["that the directory ./beside replaces: corp.example/beside@v0.0.0"] != 1 {
		t.Errorf("%+v", r)
	}
	if after := filesIn(t, dir); after != before {
		t.Errorf("the project was changed: %s, it was %s", after, before)
	}
	alone := goEnvironment(t, s.url+"/go/public")
	if out := runGo(t, dir, alone, "list", "-m", "all"); !strings.Contains(out, "up.example/b v1.1.0") || !strings.Contains(out, "up.example/fork v1.0.0") {
		t.Errorf("go list -m all: %s", out)
	}
	runGo(t, dir, alone, "build", "-o", filepath.Join(t.TempDir(), "app"), ".")
	runGo(t, dir, alone, "mod", "verify")

	seq := lastSeq(t)
	if r := imports(t, exitOK, dir, "--repo", "public"); r.Imported != 0 || r.Existed != 6 || lastSeq(t) != seq {
		t.Errorf("again: %+v, and the log is at %s, was at %s", r, lastSeq(t), seq)
	}
	writeTree(t, dir, map[string]string{"go.sum": strings.ReplaceAll(h.sums.String(), h.h1("up.example/b", "v1.1.0"), h.h1("up.example/leaf", "v0.1.0"))})
	refused(t, exitNo, []string{"import", dir, "--repo", "public"}, "up.example/b@v1.1.0", "checksum mismatch")
	writeTree(t, dir, map[string]string{"go.mod": "module corp.example/app\n\nrequire up.example/none v1.0.0\n"})
	refused(t, exitNo, []string{"import", dir, "--repo", "public"}, "up.example/none@v1.0.0")
}

// isUpstream has the go command of this process fetch from h alone.
func (h *hoard) isUpstream() {
	h.t.Helper()
	url := "file://" + filepath.ToSlash(h.dir)
	if !strings.HasPrefix(filepath.ToSlash(h.dir), "/") { // a drive
		url = "file:///" + filepath.ToSlash(h.dir)
	}
	for _, v := range goEnvironment(h.t, url) {
		name, value, _ := strings.Cut(v, "=")
		h.t.Setenv(name, value)
	}
}

// What is published with what it needs builds from the registry alone. It is the
// go.mod of what is published that says what that is.
func TestPublishWithDeps(t *testing.T) {
	h := newHoard(t)
	h.add("up.example/b", "v1.0.0")
	h.add("up.example/a", "v1.0.0", "up.example/b v1.0.0")
	s := closedNetwork(t)
	h.isUpstream()
	ok(t, "repo", "set", "local", "--owns", "corp.example/**")
	lib := gitRepo(t, map[string]string{
		"go.mod": "module corp.example/lib\n\ngo 1.16\n\nrequire up.example/a v1.0.0\n",
		"go.sum": h.sums.String(),
		"lib.go": "package lib\n\nimport \"up.example/a\"\n\nconst Version = a.Version\n",
	}, "v1.0.0")
	writeTree(t, lib, map[string]string{"go.mod": "module corp.example/lib\n\nrequire up.example/none v0.9.0\n"})
	refused(t, exitNo, []string{"publish", lib, "--version", "v1.0.0", "--deps", "--deps-repo", "none"}, "no repository called")
	refused(t, exitNo, []string{"publish", lib, "--version", "v1.0.0", "--deps", "--deps-repo", "all"}, "virtual")
	if status, _ := s.getFrom(t, "all", "corp.example/lib/@v/v1.0.0.info"); status != 404 {
		t.Errorf("it was published, although there is nowhere to import into: %d", status)
	}
	var got struct {
		Module       string
		Dependencies importReport
	}
	if out := ok(t, "publish", lib, "--version", "v1.0.0", "--deps", "--json"); json.Unmarshal([]byte(out), &got) != nil || got.Module != "corp.example/lib" || got.Dependencies.Imported != 2 {
		t.Errorf("%s", out)
	}
	dir := writeTree(t, t.TempDir(), map[string]string{
		"go.mod":  "module corp.example/app\n\ngo 1.16\n\nrequire corp.example/lib v1.0.0\n",
		"main.go": "package main\n\nimport \"corp.example/lib\"\n\nfunc main() { println(lib.Version) }\n",
	})
	env := append(goEnvironment(t, s.url+"/go/all"), "GOFLAGS=-mod=mod -modcacherw")
	runGo(t, dir, env, "build", "-o", filepath.Join(t.TempDir(), "app"), ".")

	if out := ok(t, "publish", lib, "--version", "v1.0.0", "--deps"); !strings.Contains(out, "is already there") || !strings.Contains(out, "2 were there already") {
		t.Errorf("again: %s", out)
	}
	refused(t, exitNo, []string{"publish", lib, "--version", "v1.0.1", "--worktree", "--deps"}, "up.example/none@v0.9.0")
	if status, _ := s.getFrom(t, "all", "corp.example/lib/@v/v1.0.1.info"); status != 200 {
		t.Errorf("what is published stays so: %d", status)
	}
}

// getFrom returns what the node answers below a repository.
func (s *running) getFrom(t *testing.T, repo, file string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(s.url + "/go/" + repo + "/" + file)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// filesIn returns names and content of what lies below a directory.
func filesIn(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	if err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(file)
		all.WriteString(file + ":" + string(data) + "\n")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all.String()
}
