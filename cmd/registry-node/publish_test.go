package main

import (
	"archive/zip"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"registry-node/node"
)

// packModule returns the zip of a small module.
func packModule(t *testing.T, path, version string) *packed {
	t.Helper()
	dir := writeTree(t, t.TempDir(), map[string]string{"go.mod": "module " + path + "\n", "a.go": "package a\n"})
	p, err := packDir(dir, "", version)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.remove)
	return p
}

func TestPublish(t *testing.T) {
	fresh(t)
	dir := writeTree(t, t.TempDir(), map[string]string{"go.mod": "module corp.example/Up/a\n", "a.go": "package a\n"})
	publish := []string{"publish", dir, "--version", "v1.0.0"}
	refused(t, exitNo, publish, "registry-node: publish: ", "registry-node repo set local --owns 'corp.example/**'")
	ok(t, "repo", "set", "local", "--owns", "corp.example/**")

	first := ok(t, publish...)
	h1, position := field(t, first, "h1:"), field(t, first, "main/1/")
	if want := "published corp.example/Up/a@v1.0.0 " + h1 + " at " + position + "\n"; first != want {
		t.Errorf("got %q, want %q", first, want)
	}
	again := ok(t, publish...)
	if !strings.Contains(again, "already there since ") || field(t, again, "main/1/") != position {
		t.Errorf("the same content again: %q", again)
	}
	var p node.Published
	if err := json.Unmarshal([]byte(ok(t, append(publish, "--json")...)), &p); err != nil || !p.Existed || p.H1.String() != h1 {
		t.Errorf("--json: %+v, %v", p, err)
	}
	writeTree(t, dir, map[string]string{"b.go": "package a\n"})
	refused(t, exitNo, publish, h1, "A version can't be changed")
	ok(t, "publish", dir, "--version", "v1.0.1", "--repo", "all") // it deploys to local

	if r := try(t, "publish", dir, "--version", "v1.0.2", "--repo", "public"); r.code != exitNo || !strings.Contains(r.stderr, "takes no publications") {
		t.Errorf("published into a remote repository: %+v", r)
	}
	log := ok(t, "log", "--from", "1")
	if got := strings.Count(log, `"type":"version.published"`); got != 2 {
		t.Errorf("the log has %d publications, want 2:\n%s", got, log)
	}
}

// field returns the word of text that begins with prefix.
func field(t *testing.T, text, prefix string) string {
	t.Helper()
	for word := range strings.FieldsSeq(text) {
		if strings.HasPrefix(word, prefix) {
			return word
		}
	}
	t.Fatalf("no word with %q in %q", prefix, text)
	return ""
}

func TestPublishThroughTheAdminSocket(t *testing.T) {
	s := fresh(t)
	t.Setenv(serverEnv, "http://127.0.0.1:1") // nobody
	ok(t, "repo", "set", "local", "--owns", "corp.example/**", "--data", s.data)
	p := packModule(t, "corp.example/a", "v1.0.0")
	ok(t, "publish", p.file, "--version", "v1.0.0", "--data", s.data)
	if out := ok(t, "log", "--data", s.data, "--from", "5"); !strings.Contains(out, `"actor":"operator@main"`) {
		t.Errorf("the administrator is not recorded:\n%s", out)
	}
}

func TestPublishZip(t *testing.T) {
	fresh(t)
	ok(t, "repo", "set", "local", "--owns", "corp.example/**")
	p := packModule(t, "corp.example/a", "v1.0.0")
	refused(t, exitNo, []string{"publish", p.file, "--version", "v1.0.1"}, "holds corp.example/a@v1.0.0, not corp.example/a@v1.0.1")
	refused(t, exitNo, []string{"publish", p.file, "--version", "v1.0.0", "--module", "corp.example/b"}, "not corp.example/b@v1.0.0")
	if out := ok(t, "publish", p.file, "--version", "v1.0.0"); field(t, out, "h1:") != p.h1.String() {
		t.Errorf("got %q, want %v", out, p.h1)
	}
	dir := t.TempDir()
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"empty":       {nil, "the zip is empty"},
		"no prefix":   {map[string]string{"go.mod": "module corp.example/a\n"}, "no module zip"},
		"two modules": {map[string]string{"corp.example/a@v1.0.0/a.go": "", "corp.example/b@v1.0.0/a.go": ""}, "path does not have prefix"},
		"dots":        {map[string]string{"corp.example/a@v1.0.0/../a.go": ""}, "invalid path element"},
	} {
		file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".zip")
		writeZip(t, file, c.files)
		refused(t, exitNo, []string{"publish", file, "--version", "v1.0.0"}, c.want)
	}
	writeTree(t, dir, map[string]string{"not.zip": "PK"})
	refused(t, exitNo, []string{"publish", filepath.Join(dir, "not.zip"), "--version", "v1.0.0"}, "not a valid zip file")
	refused(t, exitNo, []string{"publish", filepath.Join(dir, "none.zip"), "--version", "v1.0.0"}, "no such file")
}

func writeZip(t *testing.T, file string, files map[string]string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := zip.NewWriter(f)
	for name, text := range files {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestPublishDirectoriesThatAreNoModules(t *testing.T) {
	dir := t.TempDir()
	refused(t, exitUsage, []string{"publish", dir, "--version", "v1.0.0"}, "has no go.mod", "--module")
	writeTree(t, dir, map[string]string{"go.mod": "go 1.26\n"})
	refused(t, exitNo, []string{"publish", dir, "--version", "v1.0.0"}, "has no module line")
	writeTree(t, dir, map[string]string{"go.mod": "module corp.example/a\n"})
	refused(t, exitNo, []string{"publish", dir, "--version", "v1.0.0", "--module", "corp.example/b"}, "says module corp.example/a, not corp.example/b")
	refused(t, exitNo, []string{"publish", dir, "--version", "v2.0.0"}, "should be v0 or v1")
}

func TestPublishWithoutGoMod(t *testing.T) {
	fresh(t)
	ok(t, "repo", "set", "local", "--owns", "corp.example/**")
	dir := writeTree(t, t.TempDir(), map[string]string{"a.go": "package a\n"})
	out := ok(t, "publish", dir, "--version", "v2.0.0+incompatible", "--module", "corp.example/old")
	if !strings.Contains(out, "corp.example/old@v2.0.0+incompatible") {
		t.Errorf("got %q", out)
	}
}

func TestDryRun(t *testing.T) {
	t.Setenv(serverEnv, "http://127.0.0.1:1") // nobody is asked
	dir := writeTree(t, t.TempDir(), map[string]string{"go.mod": "module corp.example/a\n", "x/a.go": "package a\n", "y/go.mod": "module corp.example/a/y\n"})
	out := ok(t, "publish", dir, "--version", "v1.0.0", "--dry-run")
	if !strings.Contains(out, "10  x/a.go\n") || strings.Contains(out, "y/go.mod") || !strings.Contains(out, " 2 files, zip of ") {
		t.Errorf("--dry-run prints\n%s", out)
	}
	var p struct {
		H1    string
		Files []packedFile
	}
	if err := json.Unmarshal([]byte(ok(t, "publish", dir, "--version", "v1.0.0", "--dry-run", "--json")), &p); err != nil {
		t.Fatal(err)
	}
	if len(p.Files) != 2 || p.H1 != field(t, strings.ReplaceAll(out, ",", ""), "h1:") {
		t.Errorf("--dry-run --json: %+v", p)
	}
}

// TestPublishLeavesNoTemporaryFiles looks after success and after refusals.
func TestPublishLeavesNoTemporaryFiles(t *testing.T) {
	fresh(t)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Setenv("TMP", tmp)
	dir := writeTree(t, t.TempDir(), map[string]string{"go.mod": "module corp.example/a\n", "b.go": "package a", "B.go": "package a"})
	refused(t, exitNo, []string{"publish", dir, "--version", "v1.0.0"}, "case-insensitive")
	os.Remove(filepath.Join(dir, "B.go"))
	refused(t, exitNo, []string{"publish", dir, "--version", "v1.0.0"}, "does not own")
	ok(t, "repo", "set", "local", "--owns", "corp.example/**")
	ok(t, "publish", dir, "--version", "v1.0.0")
	ok(t, "publish", dir, "--version", "v1.0.0", "--dry-run")
	if entries, err := os.ReadDir(tmp); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// TestRefusalComesBeforeTheUpload publishes what the node refuses by its name,
// and looks how much of the zip was sent for that.
func TestRefusalComesBeforeTheUpload(t *testing.T) {
	fresh(t)
	p := packModule(t, "corp.example/a", "v1.0.0")
	tg := target{}
	c, err := tg.client()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	var sent countingReader
	c.http.Transport = roundTrip(func(next http.RoundTripper) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) {
			if got := r.URL.Query().Get("h1"); got != p.h1.String() {
				t.Errorf("the request says h1 %q, want %v", got, p.h1)
			}
			sent = countingReader{r: r.Body, progress: countProgress(nil)}
			r.Body = readCloser{&sent, r.Body}
			return next.RoundTrip(r)
		}
	}(c.http.Transport))
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // a node that waits for the zip waits longer
	defer cancel()
	_, err = c.publish(ctx, repoName("local"), p, url.Values{}, byteProgress(nil, p.size))
	if err == nil || !strings.Contains(err.Error(), "does not own") {
		t.Errorf("error %v", err)
	}
	if sent.done != 0 {
		t.Errorf("%d bytes were sent in vain", sent.done)
	}
}

func TestPublishWaitsForSites(t *testing.T) {
	fresh(t)
	dir := writeTree(t, t.TempDir(), map[string]string{"go.mod": "module corp.example/w\n", "w.go": "package w\n"})
	ok(t, "repo", "set", "local", "--owns", "corp.example/**")
	publish := []string{"publish", dir, "--version", "v1.0.0"}
	if out := ok(t, append(publish, "--sites", "1", "--json")...); !strings.Contains(out, `"sites_have": 1`) {
		t.Errorf("prints %s", out)
	}
	ok(t, append(publish, "--sites", "all", "--timeout", "1s")...)
	refused(t, exitNo, append(publish, "--sites", "2"), "the registry has 1")
}

// TestPublishThatIsLate is decided, but not where it was to be.
func TestPublishThatIsLate(t *testing.T) {
	dir := writeTree(t, t.TempDir(), map[string]string{"go.mod": "module corp.example/w\n", "w.go": "package w\n"})
	for body, c := range map[string]struct {
		code int
		want string
	}{
		`{"module":"corp.example/w","version":"v1.0.0","sites_have":1}`: {exitNo, "only 1 of the sites hold it by now"},
		`{"module":"corp.example/w","version":"v1.0.0"}`:                {exitOK, "decided at the repository's home"},
	} {
		url := answers(t, http.StatusAccepted, "application/json", body)
		r := try(t, "publish", dir, "--version", "v1.0.0", "--server", url)
		if r.code != c.code || !strings.Contains(r.stderr, c.want) || !strings.HasPrefix(r.stdout, "published corp.example/w@v1.0.0") {
			t.Errorf("%s: %+v", body, r)
		}
	}
}
