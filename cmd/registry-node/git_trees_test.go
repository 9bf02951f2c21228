package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// treeHost is where the go command finds the git repositories of these tests: paths
// that end in .git need no discovery.
const treeHost = "corp.example/"

// tagged is a version of a module in a git repository.
type tagged struct {
	path, version string
	subdir        string // of the module
}

// gitTree is a git repository with several modules.
type gitTree struct {
	dir      string
	versions []tagged
}

// commit commits all that is in the working tree, and tags it.
func (g *gitTree) commit(t *testing.T, tags ...string) {
	t.Helper()
	runGit(t, g.dir, "add", "-f", ".")
	runGit(t, g.dir, "commit", "-q", "-m", "more")
	for _, tag := range tags {
		runGit(t, g.dir, "tag", tag)
	}
}

func (g *gitTree) link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, filepath.Join(g.dir, filepath.FromSlash(name))); err != nil {
		t.Fatal(err)
	}
}

// vendored are files below dir that are vendored, or look like it: which of them
// are part of a module depends on its go line.
func vendored(dir string, files map[string]string) map[string]string {
	for _, name := range []string{"vendor/modules.txt", "vendor/x.test/x/x.go", "vendor/x.go", "pkg/vendor/vendor.go", "pkg/vendor/modules.txt", "pkg/vendor/foo/foo.go",
		"vendor/a/vendor/b/b.go", "pkg/vendor/vendor/v.go", "vendored/v.go"} {
		files[dir+name] = "package v // " + name + "\n"
	}
	return files
}

// monoTree has modules in subdirectories, of different ages, and all that git and
// the go command treat in a way of their own.
func monoTree(t *testing.T) gitTree {
	const root = treeHost + "mono.git"
	files := map[string]string{
		"go.mod":               "module " + root + "\n\ngo 1.26\n",
		"LICENSE":              "do as you like\n",
		"a.go":                 "package a // $Format:%H$\n",
		"crlf.bat":             "rem\n",
		"secret.txt":           "not ignored by the go command\n",
		".gitattributes":       "secret.txt export-ignore\nsub export-ignore\na.go export-subst\n*.bat text eol=crlf\n",
		".gitignore":           "*.log\n",
		"kept.log":             "in the tree nevertheless\n",
		"größe/Groß.go":        "package gross\n",
		"empty/none.txt":       "",
		"nested/deep/go.mod":   "module " + root + "/nested/deep\n\ngo 1.21\n",
		"nested/deep/d.go":     "package d\n",
		"nested/out.go":        "package nested // of the root, around a module\n",
		"old/go.mod":           "module " + root + "/old\n\ngo 1.23.4\n",
		"new/go.mod":           "module " + root + "/new\n\ngo 1.24\n",
		"ageless/go.mod":       "module " + root + "/ageless\n",
		"own/go.mod":           "module " + root + "/own\n\ngo 1.26\n",
		"own/LICENSE":          "mine\n",
		"linked/go.mod":        "module " + root + "/linked\n\ngo 1.26\n",
		"sub/go.mod":           "module " + root + "/sub\n\ngo 1.26\n",
		"sub/s.go":             "package s\n",
		"sub/vendor/none.txt":  "at the root of a module\n",
		"sub2/s.go":            "package sub2 // of the root\n",
		"sub.go":               "package a // of the root, as well\n",
		"Upper/Case/go.mod":    "module " + root + "/Upper/Case\n\ngo 1.26\n",
		"Upper/Case/README.MD": "capitals\n",
	}
	for _, dir := range []string{"", "old/", "new/", "ageless/"} {
		vendored(dir, files)
	}
	g := gitTree{dir: gitRepo(t, files)}
	g.link(t, "a.go", "link.go")
	g.link(t, "sub2", "sub3")
	g.link(t, "../LICENSE", "linked/LICENSE") // is not inherited, and no file either
	if err := os.Chmod(filepath.Join(g.dir, "a.go"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", "nested/deep", "old", "new", "ageless", "own", "linked", "sub", "Upper/Case"} {
		g.versions = append(g.versions, tagged{strings.TrimSuffix(root+"/"+dir, "/"), "v0.3.1", dir})
	}
	g.versions = append(g.versions, tagged{root, "v1.2.0-RC.1", ""})
	var tags []string
	for _, v := range g.versions {
		tags = append(tags, strings.TrimPrefix(v.subdir+"/"+v.version, "/"))
	}
	g.commit(t, tags...)
	return g
}

// majorTree has major versions in directories and on branches.
func majorTree(t *testing.T) gitTree {
	const root = treeHost + "Major.git"
	g := gitTree{dir: gitRepo(t, map[string]string{
		"go.mod":        "module " + root + "\n\ngo 1.22\n",
		"LICENSE":       "do as you like\n",
		"a.go":          "package a\n",
		"v2/go.mod":     "module " + root + "/v2\n\ngo 1.22\n",
		"v2/a.go":       "package a // v2\n",
		"sub/go.mod":    "module " + root + "/sub\n\ngo 1.22\n",
		"sub/s.go":      "package s\n",
		"sub/v2/go.mod": "module " + root + "/sub/v2\n\ngo 1.22\n",
		"sub/v2/s.go":   "package s // v2\n",
	}, "v1.0.0", "v2.0.0", "sub/v1.5.0", "sub/v2.1.0")}
	runGit(t, g.dir, "checkout", "-q", "-b", "v3")
	writeTree(t, g.dir, map[string]string{"go.mod": "module " + root + "/v3\n\ngo 1.24\n", "sub/go.mod": "module " + root + "/sub/v4\n\ngo 1.24\n", "a.go": "package a // v3\n"})
	writeTree(t, g.dir, vendored("", map[string]string{}))
	g.commit(t, "v3.0.0", "sub/v4.0.0")
	runGit(t, g.dir, "checkout", "-q", "-") // what is checked out does not matter
	g.versions = []tagged{
		{root, "v1.0.0", ""}, {root + "/v2", "v2.0.0", "v2"}, {root + "/v3", "v3.0.0", ""},
		{root + "/sub", "v1.5.0", "sub"}, {root + "/sub/v2", "v2.1.0", "sub/v2"}, {root + "/sub/v4", "v4.0.0", "sub"},
	}
	return g
}

// oldTree is older than modules, in its beginning, and has a LICENSE that is a link.
func oldTree(t *testing.T) gitTree {
	const root = treeHost + "old.git"
	g := gitTree{dir: gitRepo(t, vendored("", map[string]string{"a.go": "package a\n", "COPYING": "do as you like\n"}), "v1.0.0", "v2.0.0")}
	g.link(t, "COPYING", "LICENSE")
	writeTree(t, g.dir, map[string]string{"sub/go.mod": "module " + root + "/sub\n\ngo 1.20\n", "sub/s.go": "package s\n"})
	g.commit(t, "v3.1.0", "sub/v0.1.0")
	g.versions = []tagged{{root, "v1.0.0", ""}, {root, "v2.0.0+incompatible", ""}, {root, "v3.1.0+incompatible", ""}, {root + "/sub", "v0.1.0", "sub"}}
	return g
}

// TestTreesAreWhatTheGoCommandMakesOfThem publishes the versions of three
// repositories from their tags, those of each with one command, and compares h1 and
// time with what the go command computes of the same tags without a registry.
func TestTreesAreWhatTheGoCommandMakesOfThem(t *testing.T) {
	fresh(t)
	ok(t, "repo", "set", "local", "--owns", treeHost+"**")
	trees := map[string]gitTree{"mono": monoTree(t), "Major": majorTree(t), "old": oldTree(t)}
	want := goDownloads(t, trees)
	for name, g := range trees {
		for _, v := range g.versions { // what the working tree holds does not matter
			writeTree(t, filepath.Join(g.dir, filepath.FromSlash(v.subdir)), map[string]string{"later.go": "package later\n"})
		}
		for _, v := range g.published(t) {
			what := v.Module + "@" + v.Version
			if expected, ok := want[what]; !ok || v.Existed || v.H1 != expected.Sum {
				t.Errorf("%s: %s: published %+v, the go command has %q", name, what, v, expected.Sum)
			}
			delete(want, what)
		}
	}
	if len(want) > 0 {
		t.Errorf("not published: %v", want)
	}
	trees["mono"].has(t, "sub", "v0.3.1", "LICENSE", "s.go", "vendor/none.txt")
	trees["mono"].has(t, "linked", "v0.3.1")
	trees["mono"].has(t, "new", "v0.3.1", "LICENSE", "pkg/vendor/vendor.go", "pkg/vendor/modules.txt", "vendor/x.go")
	trees["mono"].has(t, "old", "v0.3.1", "LICENSE", "vendor/modules.txt", "vendor/x.go")
	trees["Major"].has(t, "v2", "v2.0.0", "LICENSE", "a.go")
	trees["old"].has(t, "sub", "v0.1.0", "LICENSE", "s.go")
}

// has checks which files a version has beside its go.mod and what is vendored or not
// in every version of Go, and that its time is that of the commit.
func (g gitTree) has(t *testing.T, subdir, version string, files ...string) {
	t.Helper()
	p := dryRun(t, filepath.Join(g.dir, filepath.FromSlash(subdir)), version)
	var got []string
	for _, f := range p.Files {
		if f.Path != "go.mod" && f.Path != "vendored/v.go" {
			got = append(got, f.Path)
		}
	}
	slices.Sort(files)
	slices.Sort(got)
	if !slices.Equal(got, files) || !p.Time.Equal(commitTime) {
		t.Errorf("%s@%s has %q, of %s; want %q", p.Module, version, got, p.Time, files)
	}
}

// commitTime is that of what gitRepo commits.
var commitTime = time.Date(2022, 3, 4, 3, 6, 7, 0, time.UTC)

// publishedTag is what publish answers about a version.
type publishedTag struct {
	Module, Version, H1 string
	Existed             bool
}

// published publishes the versions of a tree: those that have a go.mod together.
func (g *gitTree) published(t *testing.T) (list []publishedTag) {
	t.Helper()
	together := []string{"publish", "--json"}
	for _, v := range g.versions {
		dir := filepath.Join(g.dir, filepath.FromSlash(v.subdir)) + "@" + v.version
		if strings.HasPrefix(v.path, treeHost+"old.git") && v.subdir == "" { // has none
			var one publishedTag
			if err := json.Unmarshal([]byte(ok(t, "publish", dir, "--module", v.path, "--json")), &one); err != nil {
				t.Fatal(err)
			}
			list = append(list, one)
			continue
		}
		together = append(together, dir)
	}
	out := ok(t, together...)
	if len(together) == 3 {
		var one publishedTag
		if err := json.Unmarshal([]byte(out), &one); err != nil {
			t.Fatal(err)
		}
		return append(list, one)
	}
	var all struct{ Published []publishedTag }
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatal(err)
	}
	return append(list, all.Published...)
}

// download is what the go command says of a version.
type download struct{ Sum, Error string }

// goDownloads has the go command fetch all versions of trees from git, and returns
// what it says, by path@version.
func goDownloads(t *testing.T, trees map[string]gitTree) map[string]download {
	t.Helper()
	var config strings.Builder
	args := []string{"mod", "download", "-json"}
	for name, g := range trees {
		fmt.Fprintf(&config, "[url \"file://%s\"]\n\tinsteadOf = https://%s%s\n", filepath.ToSlash(g.dir), treeHost, name)
		for _, v := range g.versions {
			args = append(args, v.path+"@"+v.version)
		}
	}
	file := filepath.Join(writeTree(t, t.TempDir(), map[string]string{"gitconfig": config.String()}), "gitconfig")
	cmd := exec.Command("go", args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "GOPROXY=direct", "GOSUMDB=off", "GOFLAGS=-modcacherw", "GOTOOLCHAIN=local",
		"GOMODCACHE="+t.TempDir(), "GIT_CONFIG_GLOBAL="+file)
	out, err := cmd.Output()
	got := map[string]download{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var one struct {
			Path, Version string
			download
		}
		if jsonErr := d.Decode(&one); jsonErr == io.EOF {
			break
		} else if jsonErr != nil || one.Error != "" {
			t.Fatalf("go mod download: %v, %v: %s@%s: %s", err, jsonErr, one.Path, one.Version, one.Error)
		}
		got[one.Path+"@"+one.Version] = one.download
	}
	if err != nil || len(got) != len(args)-3 {
		t.Fatalf("go mod download: %v, %d of %d versions", err, len(got), len(args)-3)
	}
	return got
}
