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

// TestTagIsWhatTheGoCommandMakesOfIt compares h1 and time with what the go
// command computes of the same repository.
func TestTagIsWhatTheGoCommandMakesOfIt(t *testing.T) {
	const root = "corp.example/mod.git" // an import path that needs no discovery
	dir := gitRepo(t, map[string]string{
		"go.mod":           "module " + root + "\n\ngo 1.26\n",
		"a.go":             "package a // $Format:%H$\n",
		"crlf.bat":         "rem\n",
		"secret.txt":       "not ignored by the go command\n",
		".gitattributes":   "secret.txt export-ignore\na.go export-subst\n*.bat text eol=crlf\n",
		".gitignore":       "*.log\n",
		"kept.log":         "in the tree nevertheless\n",
		"vendor/v/v.go":    "package v\n",
		"LICENSE":          "do as you like\n",
		"sub/dir/go.mod":   "module " + root + "/sub/dir\n\ngo 1.26\n",
		"sub/dir/s.go":     "package s\n",
		"own/go.mod":       "module " + root + "/own\n\ngo 1.26\n",
		"own/LICENSE":      "mine\n",
		"major/v2/go.mod":  "module " + root + "/major/v2\n\ngo 1.26\n",
		"major/v2/m.go":    "package m\n",
		"branch/go.mod":    "module " + root + "/branch/v3\n\ngo 1.26\n",
		"branch/b.go":      "package b\n",
		"nomod/only/me.go": "package me\n",
	}, "v1.2.3", "v1.2.4-pre", "sub/dir/v0.1.0", "own/v1.0.0", "major/v2.0.0", "branch/v3.1.0")
	for _, c := range []struct{ subdir, path, version string }{
		{"", root, "v1.2.3"},
		{"", root, "v1.2.4-pre"},
		{"sub/dir", root + "/sub/dir", "v0.1.0"},
		{"own", root + "/own", "v1.0.0"},
		{"major/v2", root + "/major/v2", "v2.0.0"},
		{"branch", root + "/branch/v3", "v3.1.0"},
	} {
		want := goDownload(t, dir, c.path, c.version)
		// What the working tree holds does not matter.
		writeTree(t, dir, map[string]string{filepath.Join(c.subdir, "later.go"): "package later\n"})
		got := dryRun(t, filepath.Join(dir, filepath.FromSlash(c.subdir)), c.version)
		if got.Module != c.path || got.H1 != want.Sum || !got.Time.Equal(want.Time) {
			t.Errorf("%s@%s: got %s %s, the go command has %s %s; files %v", c.path, c.version, got.H1, got.Time, want.Sum, want.Time, got.Files)
		}
	}
	sub := dryRun(t, filepath.Join(dir, "sub", "dir"), "v0.1.0")
	if !slices.ContainsFunc(sub.Files, func(f packedFile) bool { return f.Path == "LICENSE" }) {
		t.Errorf("the LICENSE of the repository is not inherited: %v", sub.Files)
	}
}

type download struct {
	Sum, Info, Error string
	Time             time.Time
}

// goDownload has the go command fetch a module from a git repository, in place
// of the host that its path names.
func goDownload(t *testing.T, repo, path, version string) (d download) {
	t.Helper()
	config := writeTree(t, t.TempDir(), map[string]string{
		"gitconfig": "[url \"file://" + filepath.ToSlash(repo) + "\"]\n\tinsteadOf = https://corp.example/mod\n",
	})
	cmd := exec.Command("go", "mod", "download", "-json", path+"@"+version)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "GOPROXY=direct", "GOSUMDB=off", "GOFLAGS=-modcacherw", "GOTOOLCHAIN=local",
		"GOMODCACHE="+t.TempDir(), "GIT_CONFIG_GLOBAL="+filepath.Join(config, "gitconfig"))
	out, err := cmd.Output()
	if jsonErr := json.Unmarshal(out, &d); err != nil || jsonErr != nil {
		t.Fatalf("go mod download %s@%s: %v, %v: %s", path, version, err, jsonErr, d.Error)
	}
	info, err := os.ReadFile(d.Info)
	if err == nil {
		err = json.Unmarshal(info, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
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
