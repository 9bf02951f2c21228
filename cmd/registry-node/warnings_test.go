package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWarningsAboutWhatIsNotCommitted(t *testing.T) {
	t.Setenv(serverEnv, "http://127.0.0.1:1") // nobody is asked
	dir := gitRepo(t, map[string]string{
		"m/go.mod": "module corp.example/m\n", "m/a.go": "package m\n", "m/b.go": "package m\n", "m/x/x.go": "package x\n", ".gitignore": "*.log\n", "other/o.go": "package o\n",
	})
	m := filepath.Join(dir, "m")
	publish := []string{"publish", m, "--version", "v1.0.0", "--dry-run"}
	if r := try(t, append(publish, "--strict")...); r.code != exitOK || strings.Contains(r.stderr, "warning") {
		t.Fatalf("warns of what is committed: %+v", r)
	}
	writeTree(t, dir, map[string]string{"m/a.go": "package m // changed\n", "m/new.go": "package m\n", "m/x/built.log": "ignored\n", "m/staged.go": "package m\n", "other/o.go": "package o // changed\n"})
	runGit(t, dir, "add", "m/staged.go")
	r := try(t, publish...)
	for _, want := range []string{"a.go: it differs", "staged.go: it differs", "new.go: git does not track it", "x/built.log: git does not track it"} {
		if !strings.Contains(r.stderr, "warning: corp.example/m: "+want) {
			t.Errorf("lacks %q:\n%s", want, r.stderr)
		}
	}
	if n := strings.Count(r.stderr, "warning"); r.code != exitOK || n != 4 {
		t.Errorf("exit code %d, %d warnings:\n%s", r.code, n, r.stderr)
	}
	refused(t, exitNo, append(publish, "--strict"), "nothing is published: --strict", "got 4")
	var p plan
	if err := json.Unmarshal([]byte(ok(t, append(publish, "--json")...)), &p); err != nil || len(p.Warnings) != 4 || p.Warnings[0] != (warning{"uncommitted", "a.go", 0, "it differs from what is committed"}) {
		t.Errorf("--json: %+v, %v", p.Warnings, err)
	}

	// What a tag says is committed; without a commit nothing is; and without git
	// nobody knows.
	runGit(t, dir, "tag", "m/v1.0.0")
	ok(t, append(publish, "--strict")...)
	refused(t, exitNo, append(publish, "--strict", "--worktree"), "--strict wants")
	t.Run("GIT_DIR", func(t *testing.T) {
		t.Setenv("GIT_DIR", filepath.Join(dir, ".git"))
		refused(t, exitNo, append(publish, "--strict", "--worktree"), "git can't say which of the files it tracks: GIT_DIR is set")
	})
	t.Run("no git", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		refused(t, exitNo, append(publish, "--strict", "--worktree"), "git can't say")
	})
	empty := moduleDir(t, "corp.example/empty", "")
	runGit(t, empty, "init", "-q")
	runGit(t, empty, "add", ".")
	refused(t, exitNo, []string{"publish", empty, "--version", "v1.0.0", "--dry-run", "--strict"}, "got 2")
}

// TestWarningsArePublished: without --strict they are no more than that.
func TestWarningsArePublished(t *testing.T) {
	fresh(t)
	ok(t, "repo", "set", "local", "--owns", "corp.example/**")
	dir := moduleDir(t, "corp.example/a", "")
	writeTree(t, dir, map[string]string{".env": "PASSWORD=x\n"})
	publish := []string{"publish", dir, "--version", "v1.0.0"}
	refused(t, exitNo, append(publish, "--strict"), ".env: by its name it holds secrets", "nothing is published")
	var p publication
	if err := json.Unmarshal([]byte(ok(t, append(publish, "--json")...)), &p); err != nil || p.Existed || len(p.Warnings) != 1 || p.Warnings[0].Kind != "secret" {
		t.Errorf("published: %+v, %v", p, err)
	}
}

func TestManyWarningsAreCut(t *testing.T) {
	files := map[string]string{"go.mod": "module corp.example/a\n"}
	for i := range 30 {
		files[fmt.Sprintf("%d.key", i)] = ""
	}
	r := try(t, "publish", writeTree(t, t.TempDir(), files), "--version", "v1.0.0", "--dry-run")
	if n := strings.Count(r.stderr, "by its name"); n != 20 || !strings.Contains(r.stderr, "and 10 more") {
		t.Errorf("%d shown:\n%s", n, r.stderr)
	}
}

func TestWarningsOfSubmodules(t *testing.T) {
	lib := gitRepo(t, map[string]string{"lib.go": "package lib\n"})
	dir := gitRepo(t, map[string]string{"go.mod": "module corp.example/a\n"})
	runGit(t, dir, "-c", "protocol.file.allow=always", "submodule", "add", "-q", lib, "lib")
	runGit(t, dir, "commit", "-q", "-m", "lib")
	publish := []string{"publish", dir, "--version", "v1.0.0", "--dry-run"}
	if r := try(t, publish...); strings.Count(r.stderr, "warning") != 1 || !strings.Contains(r.stderr, "lib/.git: git does not track it") {
		t.Errorf("warns of what a submodule has:\n%s", r.stderr)
	}
	if err := os.WriteFile(filepath.Join(dir, "lib", "lib.go"), []byte("package lib // changed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, exitOK, publish, "lib/lib.go: it differs from what is committed")
}
