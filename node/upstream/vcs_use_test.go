package upstream_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/node/upstream"
)

// TestVCSTogether: many callers of one repository and of several are all served,
// and lists that are asked at the same time ask the host once.
func TestVCSTogether(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	vcsModules(w)
	v := w.vcs(func(c *upstream.VCSConfig) { c.MaxParallel = 2 })
	w.requests()
	var lists sync.WaitGroup
	for range 20 {
		lists.Go(func() {
			if list, err := v.List(soon(t), "vcs.test/two"); err != nil || !slices.Equal(list, []string{"v1.0.0"}) {
				t.Errorf("list %v, %v", list, err)
			}
		})
	}
	lists.Wait()
	// The page, the refs, and what one command asks.
	if asked := w.requests(); len(asked) < 2 || len(asked) > 8 {
		t.Errorf("20 lists asked %d times: %q", len(asked), asked)
	}
	if _, err := v.List(soon(t), "vcs.test/two"); err != nil || len(w.requests()) > 0 {
		t.Errorf("the list was asked for again: %v", err)
	}
	var all sync.WaitGroup
	for _, mv := range []module.Version{
		{Path: "vcs.test/plain", Version: "v1.0.0"}, {Path: "vcs.test/plain", Version: "v1.1.0"},
		{Path: "vcs.test/nested", Version: "v1.0.0"}, {Path: "vcs.test/nested/sub", Version: "v0.1.0"}, {Path: "vcs.test/nested/v2", Version: "v2.1.0"},
		{Path: "vcs.test/old", Version: "v3.1.0+incompatible"},
	} {
		all.Go(func() {
			if info, err := v.Info(soon(t), mv); err != nil || info.Version != mv.Version {
				t.Errorf("info of %s: %s, %v", mv, info.Version, err)
			}
			if _, err := v.Zip(soon(t), mv, io.Discard, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// TestVCSAfterACrash: what a command that was killed together with the node has
// left is not used.
func TestVCSAfterACrash(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("r")
	dir := filepath.Join(t.TempDir(), "vcs")
	at := func(c *upstream.VCSConfig) { c.Dir = dir }
	v := w.vcs(at)
	if _, err := v.Info(soon(t), one("vcs.test/r")); err != nil {
		t.Fatal(err)
	}
	v.Close()
	books, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(books) != 1 {
		t.Fatalf("directories %q, %v", books, err)
	}
	// Half a download, and git's lock beside it.
	if err := os.WriteFile(filepath.Join(books[0], "running"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mods, _ := filepath.Glob(filepath.Join(books[0], "mod", "cache", "download", "vcs.test", "r", "@v", "*.mod"))
	repos, _ := filepath.Glob(filepath.Join(books[0], "mod", "cache", "vcs", "*", "HEAD"))
	if len(mods) != 1 || len(repos) != 1 {
		t.Fatalf("the cache has %q, %q", mods, repos)
	}
	for _, file := range []string{mods[0], filepath.Join(filepath.Dir(repos[0]), "shallow.lock")} {
		if err := os.WriteFile(file, []byte("module half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := w.vcs(at)
	mod, err := again.Mod(soon(t), one("vcs.test/r"))
	if err != nil || string(mod) != "module vcs.test/r\n" {
		t.Errorf("go.mod %q, %v", mod, err)
	}
}

// TestVCSEmpty: nothing of what was fetched stays, and all can be fetched again.
func TestVCSEmpty(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("r")
	dir := filepath.Join(t.TempDir(), "vcs")
	v := w.vcs(func(c *upstream.VCSConfig) { c.Dir = dir })
	before := zipH1(t, v, one("vcs.test/r"))
	if err := v.Empty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 0 {
		t.Errorf("left is %q, %v", left, err)
	}
	if after := zipH1(t, v, one("vcs.test/r")); after != before {
		t.Errorf("zip %s after %s", after, before)
	}
}

// TestVCSBelowAModule: a go.mod above the cache directory is none of the
// commands' business.
func TestVCSBelowAModule(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("r")
	above := t.TempDir()
	if err := os.WriteFile(filepath.Join(above, "go.mod"), []byte("module above\n\ngo 9.99\n\nexclude vcs.test/r v1.0.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	v := w.vcs(func(c *upstream.VCSConfig) { c.Dir = filepath.Join(above, "data", "vcs") })
	if zipH1(t, v, one("vcs.test/r")) == "" {
		t.Error("no zip")
	}
	info, err := os.Stat(filepath.Join(above, "data", "vcs"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("cache directory: %v, %v", info.Mode(), err)
	}
}

// TestVCSNewerGo: a module that needs a newer go command than there is has its
// info and its go.mod; the zip says what to install.
func TestVCSNewerGo(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.repo("r").commit([]string{"go.mod", "module vcs.test/r\n\ngo 9.99\n"}, "v1.0.0")
	v := w.vcs()
	if _, err := v.Info(soon(t), one("vcs.test/r")); err != nil {
		t.Error(err)
	}
	if mod, err := v.Mod(soon(t), one("vcs.test/r")); err != nil || !strings.Contains(string(mod), "go 9.99") {
		t.Errorf("go.mod %q, %v", mod, err)
	}
	_, err := v.Zip(soon(t), one("vcs.test/r"), io.Discard, nil)
	wantClass(t, "zip", err, upstream.ErrOldGo, "this node's go command is", "needs 9.99")
}

// TestVCSDumbHost: a repository on a host that only serves files.
func TestVCSDumbHost(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("r").run("-C", filepath.Join(w.dir, "r"), "update-server-info")
	w.page("vcs.test/r", "vcs.test/r git https://vcs.test/files/r")
	files := http.StripPrefix("/files", http.FileServer(http.Dir(w.dir)))
	w.before(func(rw http.ResponseWriter, hr *http.Request) bool {
		if !strings.HasPrefix(hr.URL.Path, "/files/") {
			return false
		}
		files.ServeHTTP(rw, hr)
		return true
	})
	v := w.vcs()
	want, err := w.direct("mod", "download", "-json", "vcs.test/r@v1.0.0")
	if h1 := zipH1(t, v, one("vcs.test/r")); err != nil || h1 != want.Sum {
		t.Errorf("zip %s, %v, want %s", h1, err, want.Sum)
	}
}

// TestVCSWriterFails: the error of the writer is no error of the upstream.
func TestVCSWriterFails(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("r")
	full := errors.New("the stage is full")
	r, pipe := io.Pipe()
	r.CloseWithError(full)
	_, err := w.vcs().Zip(soon(t), one("vcs.test/r"), pipe, nil)
	var e *upstream.Error
	if !errors.Is(err, full) || errors.As(err, &e) {
		t.Errorf("got %v, want the writer's error", err)
	}
}

// TestVCSThroughAProxy: pages, refs and git go through the proxy of the
// repository, which alone knows the host.
func TestVCSThroughAProxy(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("r")
	proxy, err := upstream.ParseProxy(w.resolverProxy())
	if err != nil {
		t.Fatal(err)
	}
	v := w.vcs(func(c *upstream.VCSConfig) {
		c.Proxy, c.Inside = proxy, nil
		c.Reroute(nil)
	})
	if zipH1(t, v, one("vcs.test/r")) == "" {
		t.Error("no zip through the proxy")
	}
	w.page("vcs.test/evil", "vcs.test/evil git https://169.254.169.254/r")
	_, err = v.Info(soon(t), one("vcs.test/evil"))
	wantClass(t, "an address inside through the proxy", err, upstream.ErrForbidden, "169.254.169.254")
}

// TestVCSByItsPath: a module path that tells its repository by .git.
func TestVCSByItsPath(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("r")
	w.requests()
	info, err := w.vcs().Info(soon(t), one("vcs.test/git/r.git"))
	if err != nil || !strings.Contains(string(info.Raw), `"https://vcs.test/git/r"`) {
		t.Errorf("info %s, %v", info.Raw, err)
	}
	for _, asked := range w.requests() {
		if strings.Contains(asked, "go-get=1") {
			t.Errorf("asked %s for a path that tells", asked)
		}
	}
}

// TestVCSOldFlaws: commits that git's fsck finds flaws in, of who and when, are
// fetched as the go command does.
func TestVCSOldFlaws(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	r := w.repo("r")
	r.commit([]string{"go.mod", "module vcs.test/r\n", "a.go", "package a\n"})
	tree := r.run("rev-parse", "HEAD^{tree}")
	file := filepath.Join(t.TempDir(), "commit")
	for i, author := range []string{
		"a <a@x> 1600000000 -7000000", // badTimezone
		"a <a@x> 01600000000 +0000",   // zeroPaddedDate
		"a <a@x>1600000000 +0000",     // missingSpaceBeforeDate
		"a 1600000000 +0000",          // missingEmail
		"<a@x> 1600000000 +0000",      // missingNameBeforeEmail
		"a <a@x> 99999999999999999999999 +0000",
	} {
		text := "tree " + tree + "\nauthor " + author + "\ncommitter c <c@x> 1600000000 +0000\n\nx\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r.run("tag", fmt.Sprintf("v1.0.%d", i), r.run("hash-object", "-t", "commit", "-w", "--literally", file))
	}
	r.run("push", "-q", "-f", "--tags", "origin")
	v := w.vcs()
	for i := range 6 {
		mv := module.Version{Path: "vcs.test/r", Version: fmt.Sprintf("v1.0.%d", i)}
		if _, err := v.Info(soon(t), mv); err != nil {
			t.Error(err)
		}
	}
}

// TestVCSProxyCredential: a proxy knows users and passwords only.
func TestVCSProxyCredential(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("r")
	proxy, err := upstream.ParseProxy(w.resolverProxy())
	if err != nil {
		t.Fatal(err)
	}
	v := w.vcs(func(c *upstream.VCSConfig) {
		c.Proxy = proxy
		c.Reroute(nil)
		c.Credential = func(u *url.URL) (upstream.Credential, error) {
			if u.String() != proxy.String() {
				return upstream.Credential{}, nil
			}
			return upstream.BearerCredential(vcsCanary)
		}
	})
	_, err = v.List(soon(t), "vcs.test/r")
	wantClass(t, "a token for a proxy", err, upstream.ErrUnavailable, "not user and password")
}

// TestVCSLatestThatDoesNotParse: a query is answered though the go.mod of the
// latest version, which may retract the answer, can't be read.
func TestVCSLatestThatDoesNotParse(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	r := w.small("r")
	r.run("branch", "old")
	r.commit([]string{"go.mod", "module vcs.test/r\n\nrequire x y z\n"}, "v1.1.0")
	r.run("checkout", "-q", "old")
	hash := r.commit([]string{"b.go", "package a\n"})
	info, err := w.vcs().Query(soon(t), "vcs.test/r", "old")
	if err != nil || !strings.HasSuffix(info.Version, hash[:12]) {
		t.Errorf("info %v, %v, want commit %s", info, err, hash)
	}
}
