package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// link makes a symbolic link, where that can be done.
func link(t *testing.T, to, name string) string {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	return name
}

// planned is what is found in a source: the versions, how many are refused, and what
// is left out.
func planned(t *testing.T, path, from string) string {
	t.Helper()
	p, err := planImport(t.Context(), path, from, goSums{})
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	var found []string
	for _, it := range p.items {
		found = append(found, it.mv.String())
	}
	return fmt.Sprint(strings.Join(found, " "), " ", len(p.refused), p.leftOutText())
}

// athens puts a version of h into an Athens store, without some of its files.
func (h *hoard) athens(store, dir, path, version string, without ...string) {
	h.t.Helper()
	files := map[string]string{}
	for ext, name := range map[string]string{"info": filepath.Base(dir) + ".info", "mod": "go.mod", "zip": "source.zip"} {
		if strings.Contains(strings.Join(without, " "), ext) {
			continue
		}
		data, err := os.ReadFile(h.file(path, version, ext))
		if err != nil {
			h.t.Fatal(err)
		}
		files[name] = string(data)
	}
	writeTree(h.t, filepath.Join(store, filepath.FromSlash(dir)), files)
}

// Symbolic links are followed wherever they stand in a source; those in a circle end,
// and those that lead nowhere are said.
func TestImportFollowsLinks(t *testing.T) {
	h := newHoard(t)
	h.add("up.example/a", "v1.0.0")
	const found = "up.example/a@v1.0.0 0"
	dir := t.TempDir()
	if got := planned(t, link(t, h.dir, filepath.Join(dir, "root")), fromCache); got != found {
		t.Errorf("a root that is a link: %s", got)
	}
	cache := filepath.Join(dir, "mod", "cache")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, h.dir, filepath.Join(cache, "download"))
	if got := planned(t, filepath.Dir(cache), ""); got != found {
		t.Errorf("cache/download that is a link: %s", got)
	}

	store, aside := filepath.Join(dir, "store"), filepath.Join(dir, "aside")
	h.athens(aside, "v1.0.0", "up.example/a", "v1.0.0")
	if err := os.MkdirAll(filepath.Join(store, "up.example"), 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, aside, filepath.Join(store, "up.example", "a"))
	link(t, store, filepath.Join(aside, "circle"))
	nowhere := link(t, filepath.Join(dir, "none"), filepath.Join(store, "nowhere"))
	if got := planned(t, link(t, store, filepath.Join(dir, "athens")), ""); !strings.HasPrefix(got, found) || !strings.Contains(got, "nowhere: "+filepath.Join(dir, "athens", filepath.Base(nowhere))) {
		t.Errorf("links in a store: %s", got)
	}
}

// Of a version in an Athens store any file may be missing, and what is there twice is
// there once, if it is the same.
func TestImportPlanOfAthens(t *testing.T) {
	h, other := newHoard(t), newHoard(t)
	h.add("up.example/Cap", "v1.0.0")
	other.add("up.example/Cap", "v1.0.0", "up.example/evil v1.0.0")
	for _, tt := range []struct {
		fill func(store string)
		want string // part of what is planned
	}{
		{func(s string) { h.athens(s, "up.example/Cap/v1.0.0", "up.example/Cap", "v1.0.0", "info") }, "up.example/Cap@v1.0.0 0"},
		{func(s string) { h.athens(s, "up.example/Cap/v1.0.0", "up.example/Cap", "v1.0.0", "info", "mod") }, "up.example/Cap@v1.0.0 0"},
		{func(s string) { h.athens(s, "up.example/Cap/v1.0.0", "up.example/Cap", "v1.0.0", "mod", "zip") }, " 0; left out: 1 " + onlyInfo},
		{func(s string) {
			h.athens(s, "up.example/Cap/v1.0.0", "up.example/Cap", "v1.0.0")
			h.athens(s, "up.example/!cap/v1.0.0", "up.example/Cap", "v1.0.0", "zip")
		}, "up.example/Cap@v1.0.0 0; left out: 1 that the source has twice"},
		{func(s string) {
			h.athens(s, "up.example/Cap/v1.0.0", "up.example/Cap", "v1.0.0")
			other.athens(s, "up.example/!cap/v1.0.0", "up.example/Cap", "v1.0.0")
		}, "up.example/Cap@v1.0.0 1"},
	} {
		store := t.TempDir()
		tt.fill(store)
		if got := planned(t, store, ""); !strings.HasPrefix(got, tt.want) {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// impatient has import wait hardly at all.
func impatient(t *testing.T) {
	waits := importWaits
	importWaits = []time.Duration{time.Millisecond, time.Millisecond}
	t.Cleanup(func() { importWaits = waits })
}

// What the node can't do at the moment is tried again, not refused. A source without
// any version is no success.
func TestImportTriesAgain(t *testing.T) {
	s := closedNetwork(t)
	impatient(t)
	h := newHoard(t)
	h.add("up.example/a", "v1.0.0")
	refused(t, exitNo, []string{"import", filepath.Join(h.dir, "up.example", "a", "@v"), "--repo", "public", "--from", "athens"}, "there are no versions in it")
	to, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	var sent atomic.Int32
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = to.Host // as if it came from this machine directly
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && sent.Add(1) == 1 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"error":{"code":"unavailable","message":"in a moment"}}`)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	if r := imports(t, exitOK, h.dir, "--repo", "public", "--server", front.URL); r.Imported != 1 || sent.Load() != 2 {
		t.Errorf("%+v, sent %d times", r, sent.Load())
	}
}
