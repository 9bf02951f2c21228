package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// moduleDir makes the directory of a small module.
func moduleDir(t *testing.T, path, text string) string {
	t.Helper()
	return writeTree(t, t.TempDir(), map[string]string{"go.mod": "module " + path + "\n", "a.go": "package a // " + text + "\n"})
}

func TestPublishSeveral(t *testing.T) {
	s := fresh(t)
	ok(t, "repo", "set", "local", "--owns", "corp.example/**")
	one, two := moduleDir(t, "corp.example/Up/one", ""), moduleDir(t, "corp.example/two/v2", "")
	zip := packModule(t, "corp.example/three", "v0.3.0")

	// One that fails has none published.
	other := moduleDir(t, "other.example/x", "")
	refused(t, exitNo, []string{"publish", one, two + "@v2.1.0", other, "--version", "v1.0.0"}, "other.example/x@v1.0.0: ", "does not own", "repo set local --owns 'other.example/**'")
	if log := ok(t, "log", "--from", "1"); strings.Contains(log, "version.published") {
		t.Fatalf("half of a call is published:\n%s", log)
	}

	publish := []string{"publish", one, two + "@v2.1.0", zip.file + "@v0.3.0", "--version", "v1.0.0"}
	out := ok(t, publish...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "published corp.example/Up/one@v1.0.0 h1:") || !strings.HasPrefix(lines[1], "published corp.example/two/v2@v2.1.0 h1:") ||
		!strings.HasPrefix(lines[2], "published corp.example/three@v0.3.0 "+zip.h1.String()) {
		t.Fatalf("prints\n%s", out)
	}
	if got := get(t, s.url+"/go/all/corp.example/!up/one/@v/list"); got != "v1.0.0\n" {
		t.Errorf("list: %q", got)
	}
	var entries []struct{ Type, ID string }
	for line := range strings.Lines(ok(t, "log", "--from", "1")) {
		var e struct{ Type, ID string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if e.Type == "version.published" {
			entries = append(entries, e)
		}
	}
	if len(entries) != 3 || entries[0].ID[:strings.LastIndex(entries[0].ID, "/")] != entries[2].ID[:strings.LastIndex(entries[2].ID, "/")] {
		t.Errorf("not in one entry: %v", entries)
	}
	if again := ok(t, publish...); strings.Count(again, "already there since ") != 3 {
		t.Errorf("again: %s", again)
	}
	var answer struct {
		Published []struct {
			Module, Position string
			Existed          bool
		}
	}
	four := moduleDir(t, "corp.example/four", "")
	if err := json.Unmarshal([]byte(ok(t, append(publish, four, "--json")...)), &answer); err != nil {
		t.Fatal(err)
	}
	if p := answer.Published; len(p) != 4 || !p[0].Existed || p[3].Existed || p[3].Module != "corp.example/four" || p[3].Position == "" {
		t.Errorf("--json: %+v", answer)
	}
	refused(t, exitUsage, append(publish, one+"@v1.0.0"), "are both corp.example/Up/one@v1.0.0")
	refused(t, exitNo, []string{"publish", one, filepath.Join(one, "nowhere"), "--version", "v1.0.0"}, "nowhere")
}

func TestDryRunOfSeveral(t *testing.T) {
	t.Setenv(serverEnv, "http://127.0.0.1:1") // nobody is asked
	one, two := moduleDir(t, "corp.example/one", ""), moduleDir(t, "corp.example/two", "")
	publish := []string{"publish", one, two, "--version", "v1.0.0", "--dry-run"}
	if out := ok(t, publish...); strings.Count(out, " 2 files, zip of ") != 2 || strings.Count(out, "  a.go\n") != 2 {
		t.Errorf("prints\n%s", out)
	}
	var plans struct{ Versions []plan }
	if err := json.Unmarshal([]byte(ok(t, append(publish, "--json")...)), &plans); err != nil || len(plans.Versions) != 2 || plans.Versions[1].Module != "corp.example/two" || plans.Versions[1].H1.IsZero() {
		t.Errorf("--json: %+v, %v", plans, err)
	}
}

// TestVersionsAfterAt: what is there under all of an argument is meant.
func TestVersionsAfterAt(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "a@v1.0.0")
	writeTree(t, dir, map[string]string{"go.mod": "module corp.example/a\n"})
	writeTree(t, filepath.Join(parent, "b"), map[string]string{"go.mod": "module corp.example/b\n"})
	refused(t, exitUsage, []string{"publish", dir, "--dry-run"}, "--version is missing")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{dir, "--version", "v1.2.0"}, "corp.example/a@v1.2.0 "},
		{[]string{dir + "@v1.3.0"}, "corp.example/a@v1.3.0 "},
		{[]string{filepath.Join(parent, "b@v0.4.0"), "--version", "v1.2.0"}, "corp.example/b@v0.4.0 "},
	} {
		if out := ok(t, append([]string{"publish", "--dry-run"}, c.args...)...); !strings.Contains(out, c.want) {
			t.Errorf("%q prints\n%s", c.args, out)
		}
	}
}

// TestRefusalOfSeveralIsTold has the node refuse the first of two versions while the
// second, which is large, is on its way.
func TestRefusalOfSeveralIsTold(t *testing.T) {
	fresh(t)
	file := filepath.Join(t.TempDir(), "large.zip")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := zip.NewWriter(f)
	w, err := z.CreateHeader(&zip.FileHeader{Name: "corp.example/large@v1.0.0/large.bin", Method: zip.Store}) // to deflate it takes long
	if err == nil {
		_, err = io.CopyN(w, rand.NewChaCha8([32]byte{}), 12<<20)
	}
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	refused(t, exitNo, []string{"publish", moduleDir(t, "corp.example/a", ""), file, "--version", "v1.0.0"}, "corp.example/a@v1.0.0: ", "does not own")
}

// TestUploadIsAsLongAsItSays: the length is sent before the zips are read.
func TestUploadIsAsLongAsItSays(t *testing.T) {
	u, err := newUpload(packedList{packModule(t, "corp.example/a", "v1.0.0"), packModule(t, "corp.example/b", "v1.0.0")})
	if err != nil {
		t.Fatal(err)
	}
	defer u.close()
	var text bytes.Buffer
	if n, err := io.Copy(&text, io.MultiReader(u.pieces...)); err != nil || n != u.size {
		t.Errorf("%d bytes, not %d: %v", n, u.size, err)
	}
}

// TestAnswerAboutOthers is of a node that speaks of another number of versions.
func TestAnswerAboutOthers(t *testing.T) {
	url := answers(t, 201, "application/json", `{"published":[{"module":"corp.example/a","version":"v1.0.0"}]}`)
	refused(t, exitNo, []string{"publish", moduleDir(t, "corp.example/a", ""), moduleDir(t, "corp.example/b", ""), "--version", "v1.0.0", "--server", url}, "about 1 versions, and 2 were sent")
	url = answers(t, 202, "application/json", `{"published":[{"module":"corp.example/a","version":"v1.0.0","sites_have":2},{"module":"corp.example/b","version":"v1.0.0","sites_have":1}]}`)
	refused(t, exitNo, []string{"publish", moduleDir(t, "corp.example/a", ""), moduleDir(t, "corp.example/b", ""), "--version", "v1.0.0", "--server", url}, "only 1 of the sites hold it by now")
}

// TestPublishOfSeveralLeavesNoTemporaryFiles looks after a success and a failure.
func TestPublishOfSeveralLeavesNoTemporaryFiles(t *testing.T) {
	fresh(t)
	one, two := moduleDir(t, "corp.example/one", ""), moduleDir(t, "corp.example/two", "")
	bad := writeTree(t, t.TempDir(), map[string]string{"go.mod": "module corp.example/bad\n", "b.go": "", "B.go": ""})
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Setenv("TMP", tmp)
	refused(t, exitNo, []string{"publish", one, two, bad, "--version", "v1.0.0"}, bad+": ", "case-insensitive")
	refused(t, exitNo, []string{"publish", one, two, "--version", "v1.0.0"}, "does not own")
	ok(t, "repo", "set", "local", "--owns", "corp.example/**")
	ok(t, "publish", one, two, "--version", "v1.0.0")
	if entries, err := os.ReadDir(tmp); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	tg := target{}
	c, err := tg.client()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	gone := packModule(t, "corp.example/gone", "v1.0.0")
	gone.file += ".gone"
	if _, err := c.publishAll(t.Context(), repoName("local"), packedList{packModule(t, "corp.example/x", "v1.0.0"), gone}, url.Values{}, byteProgress(nil, 1)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a zip that is gone: %v", err)
	}
}
