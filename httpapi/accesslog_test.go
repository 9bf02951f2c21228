package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"registry-node/events"
	"registry-node/httpapi"
)

// withAccess serves a registry with an access log, as well.
func (g *registry) withAccess(cfg httpapi.AccessConfig) (base string, h http.Handler) {
	g.t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(g.dir, "access")
	}
	cfg.Logger = slog.New(slog.NewTextHandler(g.logs, nil))
	log, err := httpapi.OpenAccessLog(cfg)
	if err != nil {
		g.t.Fatal(err)
	}
	h = httpapi.New(g.node, httpapi.Options{AccessLog: log}).Handler(httpapi.Loopback)
	srv := httptest.NewServer(h)
	g.t.Cleanup(func() {
		srv.Close()
		if err := log.Close(); err != nil {
			g.t.Error(err)
		}
	})
	return srv.URL, h
}

func fetched(t testing.TB, base, query string) httpapi.Fetched {
	t.Helper()
	a := do(t, http.DefaultClient, "GET", base, "/api/v1/fetched?"+query, nil)
	if a.status != http.StatusOK {
		t.Fatalf("%s: %d %s", query, a.status, a.body)
	}
	return decode[httpapi.Fetched](t, a.body)
}

// gist is what a line of the access log says, in short.
func gist(f httpapi.Fetched) string {
	var lines []string
	for _, a := range f.Fetches {
		lines = append(lines, fmt.Sprintf("%s(%s) %s@%s %s %d %d", a.Repo, a.Via, a.Module, a.Version, a.Kind, a.Status, a.Bytes))
	}
	return strings.Join(lines, "\n")
}

func TestWhoFetched(t *testing.T) {
	g := filled(t)
	base, _ := g.withAccess(httpapi.AccessConfig{Kept: events.AllReads})
	get := func(target string, header ...string) answer {
		return do(t, http.DefaultClient, "GET", base, target, nil, header...)
	}
	start := time.Now()
	zip := get("/go/all/corp.test/a/@v/v1.0.0.zip")
	size := len(zip.body)
	get("/go/local/corp.test/a/@v/v1.0.0.zip", "Range", "bytes=0-9")
	get("/go/all/corp.test/a/@v/v1.0.0.zip", "If-None-Match", zip.header.Get("Etag"))
	mod := get("/go/all/corp.test/a/@v/v1.0.0.mod")
	info := get("/go/all/up.test/m/@v/v1.0.0.info")
	do(t, http.DefaultClient, "HEAD", base, "/go/all/corp.test/a/@v/v1.0.0.zip", nil)
	get("/go/all/corp.test/a/@v/list")
	missing := get("/go/all/corp.test/a/@v/v1.9.0.zip")
	do(t, http.DefaultClient, "POST", base, "/api/v1/blocks", strings.NewReader(`{"module":"up.test/**","reason":"x"}`))
	blocked := get("/go/all/up.test/m/@v/v1.0.0.zip")

	want := fmt.Sprintf(`all() corp.test/a@v1.0.0 mod 200 %d
all(local) corp.test/a@v1.0.0 zip 304 0
local() corp.test/a@v1.0.0 zip 206 10
all(local) corp.test/a@v1.0.0 zip 200 %d`, len(mod.body), size)
	f := fetched(t, base, "module=corp.test/a")
	if got := gist(f); got != want {
		t.Errorf("fetched:\n%s\nwant:\n%s", got, want)
	}
	for _, a := range f.Fetches {
		if a.Client != "127.0.0.1" || a.Time.Before(start.Add(-time.Second)) || a.Time.After(time.Now()) || a.Time.Location() != time.UTC || a.Cut {
			t.Errorf("line %+v", a)
		}
	}
	if got := gist(fetched(t, base, "module=corp.test/a&version=v1.9.0")); got != "" {
		t.Errorf("of a version that is not there: %s", got)
	}
	refused := fmt.Sprintf("all() corp.test/a@v1.9.0 zip 404 %d", len(missing.body))
	if got := gist(fetched(t, base, "module=corp.test/a&version=v1.9.*&refused=true")); got != refused {
		t.Errorf("who was refused: %s, want %s", got, refused)
	}
	want = fmt.Sprintf("all() up.test/m@v1.0.0 zip 403 %d\nall() up.test/m@v1.0.0 info 200 %d", len(blocked.body), len(info.body))
	if got := gist(fetched(t, base, "module=up.test/**&refused=true")); got != want {
		t.Errorf("by pattern:\n%s\nwant:\n%s", got, want)
	}
	if f := fetched(t, base, "module=corp.test/a&limit=2"); len(f.Fetches) != 2 || !f.More || f.Fetches[0].Kind != "mod" {
		t.Errorf("the newest two: %+v", f)
	}
	for query, part := range map[string]string{
		"": "the module is missing", "module=a": "missing dot", "module=a.test&since=soon": "soon", "module=a.test&limit=0": "from 1 to",
		"module=a.test&limit=99999": "from 1 to", "module=a.test&refused=perhaps": "perhaps", "module=a.test&x=y": "unknown parameter",
	} {
		a := do(t, http.DefaultClient, "GET", base, "/api/v1/fetched?"+query, nil)
		if a.status != http.StatusBadRequest || !strings.Contains(a.body, part) {
			t.Errorf("%s: %d %s, want %s", query, a.status, a.body, part)
		}
	}
	if a := g.get("/api/v1/fetched?module=a.test"); a.status != http.StatusNotFound || !strings.Contains(a.body, "keeps no access log") {
		t.Errorf("without a log: %d %s", a.status, a.body)
	}
}

// TestZipsAreKept holds that, by default, zips are written down and nothing else,
// in files for their owner.
func TestZipsAreKept(t *testing.T) {
	g := filled(t)
	base, _ := g.withAccess(httpapi.AccessConfig{})
	for _, file := range []string{"v1.0.0.info", "v1.0.0.mod", "v1.0.0.zip", "list"} {
		do(t, http.DefaultClient, "GET", base, "/go/all/corp.test/a/@v/"+file, nil)
	}
	if f := fetched(t, base, "module=corp.test/a"); len(f.Fetches) != 1 || f.Fetches[0].Kind != "zip" {
		t.Errorf("%+v", f)
	}
	dir := filepath.Join(g.dir, "access")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v", entries, err)
	}
	for path, mode := range map[string]os.FileMode{dir: os.ModeDir | 0o700, filepath.Join(dir, entries[0].Name()): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

// TestRepositoriesSayWhatIsKept holds that a repository's own setting counts, that
// of the one which was asked, and that a node which keeps nothing has a log from
// when one wants it.
func TestRepositoriesSayWhatIsKept(t *testing.T) {
	g := filled(t)
	base, _ := g.withAccess(httpapi.AccessConfig{Kept: events.NoReads})
	read := func(repo string) {
		for _, file := range []string{"v1.0.0.info", "v1.0.0.mod", "v1.0.0.zip"} {
			do(t, http.DefaultClient, "GET", base, "/go/"+repo+"/corp.test/a/@v/"+file, nil)
		}
	}
	set := func(repo, kept string) {
		t.Helper()
		if a := g.do("PATCH", "/api/v1/repos/"+repo, strings.NewReader(`{"access_log":"`+kept+`"}`)); a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", kept, a.status, a.body)
		}
	}
	read("all")
	set("local", "off")
	if a := do(t, http.DefaultClient, "GET", base, "/api/v1/fetched?module=corp.test/a", nil); a.status != http.StatusNotFound {
		t.Errorf("a log of nothing: %d %s", a.status, a.body)
	}
	set("all", "all")
	read("all")
	read("local")
	set("all", "zip")
	set("local", "")
	read("all")
	read("local")
	var got []string
	for _, a := range fetched(t, base, "module=corp.test/a").Fetches {
		got = append(got, a.Repo+" "+a.Kind)
	}
	if want := "all zip, all zip, all mod, all info"; strings.Join(got, ", ") != want {
		t.Errorf("kept: %s, want %s", strings.Join(got, ", "), want)
	}
	if a := g.do("PATCH", "/api/v1/repos/all", strings.NewReader(`{"access_log":"some"}`)); a.status != http.StatusBadRequest {
		t.Errorf("some: %d %s", a.status, a.body)
	}
}

// TestCutAnswersAreKeptAsCut: who was given a part was given a part.
func TestCutAnswersAreKeptAsCut(t *testing.T) {
	g := filled(t)
	g.proxy.add(t, "up.test/cut", "v1.0.0", tree("up.test/cut"))
	began := make(chan struct{})
	g.proxy.setFault(func(w http.ResponseWriter, r *http.Request) {
		g.proxy.mu.Lock()
		body := g.proxy.files[r.URL.EscapedPath()]
		g.proxy.mu.Unlock()
		if !strings.HasSuffix(r.URL.Path, ".zip") {
			io.WriteString(w, body)
			return
		}
		w.Header().Set("Content-Length", "10000000")
		io.WriteString(w, body[:4]+strings.Repeat("x", 1<<20)) // it begins as a zip
		http.NewResponseController(w).Flush()
		<-began
	})
	base, _ := g.withAccess(httpapi.AccessConfig{})
	resp, err := http.Get(base + "/go/public/up.test/cut/@v/v1.0.0.zip")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	defer resp.Body.Close()
	_, err = io.ReadFull(resp.Body, make([]byte, 1))
	close(began)
	if _, cut := io.Copy(io.Discard, resp.Body); err != nil || cut == nil {
		t.Fatalf("begun: %v, cut: %v", err, cut)
	}
	f := fetched(t, base, "module=up.test/cut&refused=true")
	if len(f.Fetches) != 1 || !f.Fetches[0].Cut || f.Fetches[0].Bytes == 0 {
		t.Errorf("%+v", f.Fetches)
	}
}

// TestAccessLogAfterACrash holds that a line that was cut spoils no other, that
// old files go, and that those of others stay.
func TestAccessLogAfterACrash(t *testing.T) {
	g := filled(t)
	dir := t.TempDir()
	day := func(ago int) string { return time.Now().UTC().AddDate(0, 0, -ago).Format(time.DateOnly) + ".ndjson" }
	line := func(ago int, version string) string {
		b, err := json.Marshal(httpapi.Access{Time: time.Now().AddDate(0, 0, -ago), Client: "192.0.2.1", Repo: "all", Module: "corp.test/a", Version: version, Kind: "zip", Status: 200})
		if err != nil {
			t.Fatal(err)
		}
		return string(b) + "\n"
	}
	for name, text := range map[string]string{
		day(5): line(5, "v0.0.5"), day(3): line(3, "v0.0.3"), day(2): line(2, "v0.0.2"), day(0): line(0, "v0.0.0") + `{"time":"2`,
		"notes.txt": "mine", "9.ndjson": "mine",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	base, _ := g.withAccess(httpapi.AccessConfig{Dir: dir, Days: 4})
	do(t, http.DefaultClient, "GET", base, "/go/local/corp.test/a/@v/v1.0.0.zip", nil)
	versions := func(query string) string {
		var all []string
		for _, a := range fetched(t, base, query).Fetches {
			all = append(all, a.Version)
		}
		return strings.Join(all, " ")
	}
	if got := versions("module=corp.test/a"); got != "v1.0.0 v0.0.0 v0.0.2 v0.0.3" {
		t.Errorf("versions %s", got)
	}
	if got := versions("module=corp.test/a&since=2d12h"); got != "v1.0.0 v0.0.0 v0.0.2" {
		t.Errorf("of the last two days: %s", got)
	}
	if f := fetched(t, base, "module=corp.test/a&limit=2"); !f.More || f.Fetches[1].Version != "v0.0.0" {
		t.Errorf("the newest two: %+v", f)
	}
	for name, want := range map[string]bool{day(5): false, day(3): true, "notes.txt": true, "9.ndjson": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFullDiskDropsLines holds that nothing waits for a log that can't be
// written, and that what is missing is told.
func TestFullDiskDropsLines(t *testing.T) {
	g := filled(t)
	var full atomic.Bool
	base, _ := g.withAccess(httpapi.AccessConfig{Full: func() error {
		if full.Load() {
			return errors.New("no room")
		}
		return nil
	}})
	get := func() {
		t.Helper()
		if a := do(t, http.DefaultClient, "GET", base, "/go/local/corp.test/a/@v/v1.0.0.zip", nil); a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	find := func() httpapi.Fetched { return fetched(t, base, "module=corp.test/a") } // writes what is queued
	get()
	full.Store(true)
	find()
	get()
	get()
	if f := find(); len(f.Fetches) != 1 {
		t.Errorf("while the disk is full: %+v", f)
	}
	full.Store(false)
	find()
	get()
	if f := find(); len(f.Fetches) != 2 || f.Dropped != 2 {
		t.Errorf("after it: %+v", f)
	}
	if a := do(t, http.DefaultClient, "GET", base, "/metrics", nil); !strings.Contains(a.body, "registry_node_access_log_dropped_total 2\n") {
		t.Error("the metric does not tell of 2 lines")
	}
	if !strings.Contains(g.logs.String(), "lines are missing in the access log") || !strings.Contains(g.logs.String(), "no room") {
		t.Errorf("the node's log does not tell:\n%s", g.logs)
	}
}

// TestSlowDiskHoldsUpNobody holds that requests go on while the log does not.
func TestSlowDiskHoldsUpNobody(t *testing.T) {
	g := filled(t)
	stuck, release := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	base, h := g.withAccess(httpapi.AccessConfig{Kept: events.AllReads, Full: func() error {
		if once.CompareAndSwap(false, true) {
			close(stuck)
			<-release
		}
		return nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	finding := make(chan struct{})
	go func() { // ends with ctx
		defer close(finding)
		req, err := http.NewRequestWithContext(ctx, "GET", base+"/api/v1/fetched?module=corp.test/a", nil)
		if err != nil {
			t.Error(err)
			return
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	<-stuck
	r := httptest.NewRequest("GET", "/go/local/corp.test/a/@v/v1.0.0.mod", nil)
	r.Host = "localhost"
	for range 5000 {
		h.ServeHTTP(&sink{header: http.Header{}}, r)
	}
	cancel()
	<-finding
	close(release)
	f := fetched(t, base, "module=corp.test/a&limit=10000")
	h.ServeHTTP(&sink{header: http.Header{}}, r)
	if f = fetched(t, base, "module=corp.test/a&limit=10000"); f.Dropped < 500 || int64(len(f.Fetches))+f.Dropped != 5001 {
		t.Errorf("%d lines, %d dropped", len(f.Fetches), f.Dropped)
	}
}

// TestNothingBreaksOutOfALine holds that whatever a client is called, a request
// is one line of JSON without control characters.
func TestNothingBreaksOutOfALine(t *testing.T) {
	g := filled(t)
	base, h := g.withAccess(httpapi.AccessConfig{})
	addrs := []string{"192.0.2.1:80", "[2001:db8::1]:80", "@", "a\n{}:1", "\x1b[2J:1", "\u2028\x00\xff:1", `"}:1`}
	for _, addr := range addrs {
		r := httptest.NewRequest("GET", "/go/local/corp.test/a/@v/v1.0.0.zip", nil)
		r.RemoteAddr, r.Host = addr, "localhost"
		h.ServeHTTP(&sink{header: http.Header{}}, r)
	}
	if f := fetched(t, base, "module=corp.test/a"); len(f.Fetches) != len(addrs) || f.Fetches[len(addrs)-2].Client != "2001:db8::1" || f.Fetches[len(addrs)-3].Client != "admin.sock" {
		t.Errorf("%+v", f)
	}
	text, err := os.ReadFile(filepath.Join(g.dir, "access", time.Now().UTC().Format(time.DateOnly)+".ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range bytes.Lines(text) {
		lines++
		line = bytes.TrimSuffix(line, []byte("\n"))
		if !json.Valid(line) || bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("line %q", line)
		}
	}
	if lines != len(addrs) {
		t.Errorf("%d lines", lines)
	}
}

// FuzzAccessLine holds that a line is what package encoding/json makes of it.
func FuzzAccessLine(f *testing.F) {
	f.Add("192.0.2.1", "", "all", "m.test", int64(1), int64(0), false)
	f.Add("a\n\x1b\u2028\x7f\xff<&>\"\\", "é", "", "", int64(-1), int64(7), true)
	f.Fuzz(func(t *testing.T, client, actor, repo, path string, bytes, dropped int64, cut bool) {
		a := httpapi.Access{
			Time: time.Unix(bytes%1e9, dropped%1e9).UTC(), Client: client, Actor: actor, Token: path, Repo: repo, Via: actor, Module: path, Version: repo,
			Kind: client, Status: int(dropped), Bytes: bytes, Cut: cut, Dropped: dropped,
		}
		want, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(a.Line()); got != string(want)+"\n" {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// TestLinesAreWrittenWithinASecond holds what a crash may lose.
func TestLinesAreWrittenWithinASecond(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		log, err := httpapi.OpenAccessLog(httpapi.AccessConfig{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		file := func() string {
			b, err := os.ReadFile(filepath.Join(dir, time.Now().UTC().Format(time.DateOnly)+".ndjson"))
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		for i := range 3 {
			log.Note(httpapi.Access{Time: time.Now(), Client: "192.0.2.1:1", Module: "m.test", Kind: "zip"})
			time.Sleep(time.Second + time.Millisecond) // by the clock of the bubble
			synctest.Wait()
			if got := strings.Count(file(), "\n"); got != i+1 {
				t.Errorf("%d lines after %d", got, i+1)
			}
		}
		time.Sleep(24 * time.Hour)
		log.Note(httpapi.Access{Time: time.Now(), Client: "192.0.2.1:1", Module: "m.test", Kind: "zip"})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := strings.Count(file(), "\n"); got != 1 {
			t.Errorf("%d lines in the next day's file", got)
		}
	})
}

// BenchmarkAccessLog measures what the access log adds to a hot zip, as a whole
// request over loopback.
func BenchmarkAccessLog(b *testing.B) {
	g := filled(b)
	g.publishLarge("corp.test/small", 100<<10)
	for _, on := range []bool{false, true} {
		name := "off"
		base := g.base
		if on {
			name = "on"
			base = g.serveAccess()
		}
		b.Run(name, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) { repeat(b, pb, base, "/go/all/corp.test/small/@v/v1.0.0.zip") })
		})
	}
}

// BenchmarkAccessLine measures what a line costs in all: on one processor, the
// request's part of it and the writer's.
func BenchmarkAccessLine(b *testing.B) {
	log, err := httpapi.OpenAccessLog(httpapi.AccessConfig{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	line := httpapi.Access{
		Time: time.Now(), Client: "192.0.2.1:54321", Repo: "all", Via: "public", Module: "up.test/some/module", Version: "v1.2.3", Kind: "zip", Status: 200, Bytes: 123456,
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		log.Note(line)
		if n%1000 == 0 {
			if err := log.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// serveAccess serves as g.serve does, with an access log.
func (g *registry) serveAccess() string {
	log, err := httpapi.OpenAccessLog(httpapi.AccessConfig{Dir: filepath.Join(g.dir, "access")})
	if err != nil {
		g.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- httpapi.New(g.node, httpapi.Options{AccessLog: log}).Serve(ctx, l) }()
	g.t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-served, log.Close()); err != nil {
			g.t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}
