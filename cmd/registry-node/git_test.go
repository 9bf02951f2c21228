package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// gitRepo makes a git repository with one commit of files, and tags on it.
func gitRepo(t *testing.T, files map[string]string, tags ...string) string {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("there is no git on this machine, and the project needs one")
	}
	dir := writeTree(t, t.TempDir(), files)
	t.Setenv("GIT_AUTHOR_DATE", "2021-03-04T05:06:07Z") // not what counts
	t.Setenv("GIT_COMMITTER_DATE", "2022-03-04T05:06:07+02:00")
	runGit(t, dir, "init", "-q")
	runGit(t, dir, "add", "-f", ".")
	runGit(t, dir, "commit", "-q", "-m", "all")
	for i, tag := range tags {
		if i%2 == 0 {
			runGit(t, dir, "tag", "-a", "-m", tag, tag) // annotated ones are objects of their own
		} else {
			runGit(t, dir, "tag", tag)
		}
	}
	return dir
}

func runGit(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}

// dryRun returns what publish would publish.
func dryRun(t *testing.T, dir, version string, args ...string) (p struct {
	Module, H1 string
	Time       time.Time
	Files      []packedFile
}) {
	t.Helper()
	out := ok(t, append([]string{"publish", dir, "--version", version, "--dry-run", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTagOrDirectory(t *testing.T) {
	dir := gitRepo(t, map[string]string{"go.mod": "module corp.example/a\n", "a.go": "package a\n"}, "v1.0.0", "v9.9.9")
	writeTree(t, dir, map[string]string{"b.go": "package a\n"})
	for _, c := range []struct {
		args  []string
		says  string
		files int
		dated bool
	}{
		{[]string{"--version", "v1.0.0"}, "corp.example/a@v1.0.0 from git tag v1.0.0, commit ", 2, true},
		{[]string{"--version", "v1.0.0", "--worktree"}, "from the directory as it is", 3, false},
		{[]string{"--version", "v1.0.1"}, "from the directory as it is", 3, false},
	} {
		r := try(t, append([]string{"publish", dir, "--dry-run"}, c.args...)...)
		if r.code != exitOK || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%q: exit code %d\n%s", c.args, r.code, r.stderr)
		}
		p := dryRun(t, dir, c.args[1], c.args[2:]...)
		if len(p.Files) != c.files || p.Time.IsZero() == c.dated {
			t.Errorf("%q: %d files, time %v", c.args, len(p.Files), p.Time)
		}
	}
	refused(t, exitNo, []string{"publish", dir, "--version", "v1.0.0", "--module", "corp.example/b", "--dry-run"}, "tag v1.0.0 says module corp.example/a")
}

// TestTagTime publishes from a tag and looks what time go clients see.
func TestTagTime(t *testing.T) {
	s := fresh(t)
	ok(t, "repo", "set", "local", "--owns", "corp.example/**")
	dir := gitRepo(t, map[string]string{"go.mod": "module corp.example/a\n"}, "v1.0.0")
	ok(t, "publish", dir, "--version", "v1.0.0")
	if got := get(t, s.url+"/go/all/corp.example/a/@v/v1.0.0.info"); !strings.Contains(got, "2022-03-04T03:06:07Z") {
		t.Errorf("info is %s, want the commit's time in UTC", got)
	}
}

// TestTagInUnusualCheckouts packs from what is no plain clone.
func TestTagInUnusualCheckouts(t *testing.T) {
	dir := gitRepo(t, map[string]string{"go.mod": "module corp.example/a\n", "x/go.mod": "module corp.example/a/x\n"}, "v1.0.0", "x/v1.0.0")
	want := dryRun(t, dir, "v1.0.0").H1
	linked := filepath.Join(t.TempDir(), "linked")
	runGit(t, dir, "worktree", "add", "-q", linked, "v1.0.0")
	shallow := filepath.Join(t.TempDir(), "shallow")
	runGit(t, dir, "clone", "-q", "--depth=1", "--branch=v1.0.0", "file://"+dir, shallow)
	borrowing := filepath.Join(t.TempDir(), "borrowing")
	runGit(t, dir, "clone", "-q", "--shared", dir, borrowing)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, checkout := range []string{linked, shallow, borrowing, link} {
		if got := dryRun(t, checkout, "v1.0.0"); got.H1 != want || got.Time.IsZero() {
			t.Errorf("%s: h1 %s from %v, want %s", filepath.Base(checkout), got.H1, got.Time, want)
		}
	}
	if got := dryRun(t, filepath.Join(linked, "x"), "v1.0.0"); got.Module != "corp.example/a/x" || got.Time.IsZero() {
		t.Errorf("subdirectory of a linked worktree: %+v", got)
	}
}

func TestGitThatDoesNotWorkIsNoReasonToGuess(t *testing.T) {
	dir := gitRepo(t, map[string]string{"go.mod": "module corp.example/a\n"}, "v1.0.0")
	t.Run("GIT_DIR", func(t *testing.T) {
		t.Setenv("GIT_DIR", filepath.Join(dir, ".git"))
		refused(t, exitNo, []string{"publish", dir, "--version", "v1.0.0", "--dry-run"}, "GIT_DIR is set", "--worktree")
	})
	t.Run("no git", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		refused(t, exitNo, []string{"publish", dir, "--version", "v1.0.0", "--dry-run"}, "git", "--worktree publishes the directory without git")
		ok(t, "publish", dir, "--version", "v1.0.0", "--dry-run", "--worktree")
	})
	t.Run("damaged", func(t *testing.T) {
		writeTree(t, dir, map[string]string{".git/HEAD": "nonsense"})
		refused(t, exitNo, []string{"publish", dir, "--version", "v1.0.0", "--dry-run"}, "--worktree")
	})
}

func TestTagNames(t *testing.T) {
	for _, c := range []struct {
		subdir, version string
		want            []string
	}{
		{"", "v1.2.3", []string{"v1.2.3"}},
		{"", "v2.0.0+incompatible", []string{"v2.0.0"}},
		{"sub/dir", "v1.2.3", []string{"sub/dir/v1.2.3"}},
		{"v2", "v2.1.0", []string{"v2.1.0", "v2/v2.1.0"}},
		{"sub/v2", "v2.1.0", []string{"sub/v2.1.0", "sub/v2/v2.1.0"}},
		{"sub/v2", "v3.0.0", []string{"sub/v2/v3.0.0"}},
		{"sub/v1", "v1.0.0", []string{"sub/v1/v1.0.0"}},
	} {
		if got := tagNames(c.subdir, c.version); !slices.Equal(got, c.want) {
			t.Errorf("tagNames(%q, %q) = %q, want %q", c.subdir, c.version, got, c.want)
		}
	}
}
