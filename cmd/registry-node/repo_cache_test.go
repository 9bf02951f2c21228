package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"registry-node/node"
)

// up is an upstream GOPROXY whose files can be replaced, and that can be down.
type up struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string]string // guarded by mu; nil: it is down
}

func newUp(t *testing.T) *up {
	u := &up{files: map[string]string{}}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		defer u.mu.Unlock()
		switch text, ok := u.files[strings.TrimPrefix(r.URL.Path, "/")]; {
		case u.files == nil:
			http.Error(w, "down", http.StatusBadGateway)
		case !ok:
			http.Error(w, "not here", http.StatusNotFound)
		default:
			io.WriteString(w, text)
		}
	}))
	t.Cleanup(u.Close)
	return u
}

// add puts a version there, or another content in its place.
func (u *up) add(t *testing.T, mv module.Version, text string) {
	t.Helper()
	dir := writeTree(t, t.TempDir(), map[string]string{"go.mod": "module " + mv.Path + "\n", "a.go": "package a // " + text + "\n"})
	var zip bytes.Buffer
	if err := modzip.CreateFromDir(&zip, mv, dir); err != nil {
		t.Fatal(err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	base := mv.Path + "/@v/"
	u.files[base+mv.Version+".info"] = fmt.Sprintf(`{"Version":%q,"Time":"2024-01-02T03:04:05Z"}`, mv.Version)
	u.files[base+mv.Version+".mod"] = "module " + mv.Path + "\n"
	u.files[base+mv.Version+".zip"] = zip.String()
	if !strings.Contains(u.files[base+"list"], mv.Version+"\n") {
		u.files[base+"list"] += mv.Version + "\n"
	}
}

// down makes it fail, until what it returns is called.
func (u *up) down() (again func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	files := maps.Clone(u.files)
	u.files = nil
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.files = files
	}
}

// get returns what the node answers below /go/public/.
func (s *running) get(t *testing.T, file string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(s.url + "/go/public/" + file)
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

// withUp returns a node whose repository public caches u.
func withUp(t *testing.T, u *up) *running {
	t.Helper()
	s := fresh(t)
	ok(t, "repo", "set", "public", "--upstream", u.URL, "--sumdb", "off")
	return s
}

func TestRefreshCleanAndDrift(t *testing.T) {
	u := newUp(t)
	one, two := module.Version{Path: "up.example/m", Version: "v1.0.0"}, module.Version{Path: "up.example/m", Version: "v1.1.0"}
	u.add(t, one, "one")
	s := withUp(t, u)
	ok(t, "repo", "set", "public", "--list-ttl", "1h")
	if _, list := s.get(t, "up.example/m/@v/list"); list != "v1.0.0\n" {
		t.Fatalf("list %q", list)
	}
	u.add(t, two, "two")
	if _, list := s.get(t, "up.example/m/@v/list"); list != "v1.0.0\n" {
		t.Errorf("within its time, list %q", list)
	}
	if out := ok(t, "repo", "refresh", "public", "up.example/m"); !strings.Contains(out, "v1.0.0, v1.1.0") {
		t.Errorf("refresh: %s", out)
	}
	if _, list := s.get(t, "up.example/m/@v/list"); list != "v1.0.0\nv1.1.0\n" {
		t.Errorf("refreshed, list %q", list)
	}
	ok(t, "repo", "refresh", "public")
	refused(t, exitNo, []string{"repo", "refresh", "public", "up.example/none"}, "no such module")
	refused(t, exitNo, []string{"repo", "refresh", "local"}, "this is for remote ones")

	if status, body := s.get(t, "up.example/m/@v/v1.0.0.zip"); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	refused(t, exitNo, []string{"repo", "clean", "public", "up.example/m@v2.*"}, "nothing that matches")
	if out := ok(t, "repo", "clean", "public", "up.example/**"); !strings.Contains(out, "of 1 versions") {
		t.Errorf("clean: %s", out)
	}
	u.add(t, one, "moved")
	if status, body := s.get(t, "up.example/m/@v/v1.0.0.zip"); status == http.StatusOK {
		t.Errorf("another content is served: %q", body)
	}
	out := ok(t, "repo", "drift")
	if !strings.Contains(out, "up.example/m@v1.0.0") || strings.Count(out, "h1:") < 3 {
		t.Errorf("drift:\n%s", out)
	}
	var l driftList
	if err := json.Unmarshal([]byte(ok(t, "repo", "drift", "--json")), &l); err != nil || len(l.Drifts) != 1 || l.Drifts[0].Repo.String() != "public" {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestPendingAndSeedTimes(t *testing.T) {
	u := newUp(t)
	for _, v := range []string{"v1.0.0", "v1.1.0"} {
		u.add(t, module.Version{Path: "up.example/m", Version: v}, v)
	}
	s := withUp(t, u)
	refused(t, exitNo, []string{"repo", "pending", "public"}, "has no minimum age")
	ok(t, "repo", "set", "public", "--min-age", "7d")
	s.get(t, "up.example/m/@v/list")
	if status, body := s.get(t, "up.example/m/@v/v1.0.0.zip"); status != http.StatusForbidden {
		t.Errorf("too young: %d %s", status, body)
	}
	if out := ok(t, "repo", "pending", "public"); !strings.Contains(out, "up.example/m@v1.0.0") || !strings.Contains(out, "up.example/m@v1.1.0") {
		t.Errorf("pending:\n%s", out)
	}
	file := filepath.Join(t.TempDir(), "feed")
	feed := `{"Path":"up.example/m","Version":"v1.0.0","Timestamp":"2020-01-02T03:04:05.678+01:00","More":1}` + "\n\n"
	for i := range node.MaxDates + 10 { // more than one batch
		feed += fmt.Sprintf(`{"Path":"other.example/m","Version":"v0.0.%d","Timestamp":"2020-01-02T03:04:05Z"}`+"\n", i)
	}
	if err := os.WriteFile(file, []byte(feed), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf("%d versions are recorded; 0 were known", node.MaxDates+11), fmt.Sprintf("0 versions are recorded; %d were known", node.MaxDates+11),
	} {
		if out := ok(t, "repo", "seed-times", "public", file); !strings.Contains(out, want) {
			t.Errorf("seed-times: %s, want %s", out, want)
		}
	}
	if status, body := s.get(t, "up.example/m/@v/v1.0.0.zip"); status != http.StatusOK {
		t.Errorf("old enough: %d %s", status, body)
	}
	if out := ok(t, "repo", "pending", "public"); strings.Contains(out, "v1.0.0") || !strings.Contains(out, "v1.1.0") {
		t.Errorf("pending:\n%s", out)
	}
	for text, want := range map[string]string{
		"{\n": "line 1: ", `{"Path":"a.example"}`: "line 1 lacks", "\n" + `{"Path":"a.example/m","Version":"main","Timestamp":"2020-01-02T03:04:05Z"}`: "main",
		`{"Path":"a.example/m","Version":"v1.0.0","Timestamp":"2999-01-02T03:04:05Z"}`: "no time in the past",
	} {
		if r := fed(t, text, "repo", "seed-times", "public", "-"); r.code != exitNo || !strings.Contains(r.stderr, want) || !strings.Contains(r.stderr, "0 versions before that are done") {
			t.Errorf("%q: %+v", text, r)
		}
	}
}

func TestOfflineAndUpstreams(t *testing.T) {
	u := newUp(t)
	u.add(t, module.Version{Path: "up.example/m", Version: "v1.0.0"}, "x")
	s := withUp(t, u)
	if status, _ := s.get(t, "up.example/m/@v/v1.0.0.info"); status != http.StatusOK {
		t.Fatal(status)
	}
	if out := ok(t, "repo", "upstreams"); !strings.Contains(out, u.URL) || !strings.Contains(squeezed(out), " up, last answer 0s ago") {
		t.Errorf("upstreams:\n%s", out)
	}
	if out := ok(t, "offline", "on"); !strings.Contains(out, "no upstream is asked") {
		t.Errorf("offline on: %s", out)
	}
	if status, body := s.get(t, "up.example/m/@v/v1.1.0.info"); status != http.StatusServiceUnavailable || !strings.Contains(body, "registry-node offline off") {
		t.Errorf("offline: %d %s", status, body)
	}
	if out := ok(t, "repo", "upstreams"); !strings.Contains(out, "switched offline") {
		t.Errorf("upstreams:\n%s", out)
	}
	if out := ok(t, "status"); !strings.Contains(out, "- this node is switched offline") { // and needs no person
		t.Errorf("status:\n%s", out)
	}
	s.end(t)
	s = serving(t, s.data)
	t.Setenv(serverEnv, s.url)
	if out := ok(t, "offline", "show", "--json"); !strings.Contains(out, "true") {
		t.Errorf("after a restart: %s", out)
	}
	if out := ok(t, "offline", "off"); !strings.Contains(out, "upstreams are asked") {
		t.Errorf("offline off: %s", out)
	}

	again := u.down()
	for i := range 8 {
		if status, _ := s.get(t, fmt.Sprintf("up.example/m/@v/v1.2.%d.info", i)); status < 500 {
			t.Errorf("down: %d", status)
		}
	}
	if out := ok(t, "repo", "upstreams"); !strings.Contains(out, "assumed offline until") || !strings.Contains(out, "502") {
		t.Errorf("upstreams:\n%s", out)
	}
	if out := ok(t, "status"); !strings.Contains(out, "- repository public: its upstream "+u.URL) {
		t.Errorf("status:\n%s", out)
	}
	again()
	var l remoteList
	if err := json.Unmarshal([]byte(ok(t, "repo", "upstreams", "--json")), &l); err != nil || len(l.Remotes) != 1 || l.Remotes[0].FailingSince.Before(time.Now().Add(-time.Minute)) {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestPurge(t *testing.T) {
	u := newUp(t)
	leak := module.Version{Path: "up.example/leak", Version: "v1.0.0"}
	u.add(t, leak, "s3cret")
	s := withUp(t, u)
	if status, _ := s.get(t, "up.example/leak/@v/v1.0.0.zip"); status != http.StatusOK {
		t.Fatal(status)
	}
	refused(t, exitUsage, []string{"purge", "up.example/leak@v1.0.0", "--reason", "a secret"}, "say --yes")
	refused(t, exitUsage, []string{"purge", "up.example/leak@v1.0.0", "--yes"}, "--reason is missing")
	for _, text := range []string{"up.example/leak", "up.example/leak@v1.*", "up.example/**@v1.0.0", "up.example/leak@"} {
		refused(t, exitUsage, []string{"purge", text, "--reason", "a secret", "--yes"}, text)
	}
	refused(t, exitNo, []string{"purge", "up.example/none@v1.0.0", "--reason", "a secret", "--yes"}, "in no repository")
	if out := ok(t, "purge", "up.example/leak@v1.0.0", "--reason", "a secret", "--yes"); !strings.Contains(out, "from public") {
		t.Errorf("purge: %s", out)
	}
	if status, body := s.get(t, "up.example/leak/@v/v1.0.0.zip"); status != http.StatusForbidden || !strings.Contains(body, "a secret") {
		t.Errorf("purged: %d %s", status, body)
	}
	if out := ok(t, "fetched", "up.example/leak@v1.0.0"); !strings.Contains(out, "zip  200") {
		t.Errorf("fetched:\n%s", out)
	}
	var blobs []string
	err := filepath.WalkDir(filepath.Join(s.data, "blobs", "sha256"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			blobs = append(blobs, path)
		}
		return err
	})
	if err != nil || len(blobs) > 0 {
		t.Errorf("blobs are left: %v, %v", blobs, err)
	}
}

func TestSettleUsage(t *testing.T) {
	s := fresh(t)
	h1 := "h1:" + strings.Repeat("Q", 43) + "="
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"a.example/m"}, exitUsage, "write MODULE@VERSION"},
		{[]string{"a.example/m@v1.0.0"}, exitUsage, "--repo"},
		{[]string{"a.example/m@v1.0.0", "--repo", "public"}, exitUsage, "--reason is missing"},
		{[]string{"a.example/m@v1.0.0", "--repo", "public", "--reason", "x"}, exitUsage, "--mod-h1"},
		{[]string{"a.example/m@v1.0.0", "--repo", "public", "--reason", "x", "--mod-h1", h1, "--h1", "sha256:1"}, exitUsage, "--h1"},
		{[]string{"a.example/m@v1.0.0", "--repo", "public", "--reason", "x", "--mod-h1", h1}, exitNo, "not in repository public"},
		{[]string{"a.example/m@v1.0.0", "--repo", "local", "--reason", "x", "--mod-h1", h1}, exitNo, "only what remote ones fetched"},
	} {
		refused(t, c.code, slices.Concat([]string{"settle", "--server", s.url}, c.args), c.want)
	}
}
