package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
	modzip "golang.org/x/mod/zip"

	"registry-node/events"
)

// hoard is a directory that looks like cache/download of the go command, and the
// go.sum of what is in there.
type hoard struct {
	t    *testing.T
	dir  string
	sums strings.Builder
}

func newHoard(t *testing.T) *hoard { return &hoard{t: t, dir: t.TempDir()} }

// file returns the name of a file of a version: its base is escaped.
func (h *hoard) file(path, version, ext string) string {
	escaped, err := module.EscapePath(path)
	if err != nil {
		h.t.Fatal(err)
	}
	v, err := module.EscapeVersion(version)
	if err != nil {
		h.t.Fatal(err)
	}
	return filepath.Join(h.dir, filepath.FromSlash(escaped), "@v", v+"."+ext)
}

// write writes a file of a version.
func (h *hoard) write(path, version, ext, text string) {
	h.t.Helper()
	file := h.file(path, version, ext)
	writeTree(h.t, filepath.Dir(file), map[string]string{filepath.Base(file): text})
}

// add adds a whole version with a go.mod that requires others, as PATH VERSION.
func (h *hoard) add(path, version string, requires ...string) {
	h.t.Helper()
	mod := "module " + path + "\n\ngo 1.16\n"
	for _, r := range requires {
		mod += "\nrequire " + r + "\n"
	}
	files := map[string]string{"go.mod": mod, "a.go": "package " + strings.ToLower(path[strings.LastIndex(path, "/")+1:]) + "\n\nconst Version = `" + version + "`\n"}
	if strings.HasSuffix(version, "+incompatible") {
		delete(files, "go.mod")
		mod = "module " + path + "\n"
	}
	var zip bytes.Buffer
	if err := modzip.CreateFromDir(&zip, module.Version{Path: path, Version: version}, writeTree(h.t, h.t.TempDir(), files)); err != nil {
		h.t.Fatal(err)
	}
	h.write(path, version, "info", fmt.Sprintf(`{"Version":%q,"Time":"2024-01-02T03:04:05Z"}`, version))
	h.write(path, version, "mod", mod)
	h.write(path, version, "zip", zip.String())
	h1, err := hashZip(h.file(path, version, "zip"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.write(path, version, "ziphash", h1.String())
	fmt.Fprintf(&h.sums, "%s %s %v\n%s %s/go.mod %v\n", path, version, h1, path, version, events.HashMod([]byte(mod)))
}

// h1 returns what go.sum says of a zip.
func (h *hoard) h1(path, version string) string {
	h.t.Helper()
	_, rest, ok := strings.Cut(h.sums.String(), path+" "+version+" ")
	if !ok {
		h.t.Fatalf("there is no %s@%s", path, version)
	}
	h1, _, _ := strings.Cut(rest, "\n")
	return h1
}

// goSum writes the go.sum to a file.
func (h *hoard) goSum() string {
	h.t.Helper()
	return filepath.Join(writeTree(h.t, h.t.TempDir(), map[string]string{"go.sum": h.sums.String()}), "go.sum")
}

// full is a hoard with all that is found in a real one.
func full(t *testing.T) *hoard {
	h := newHoard(t)
	h.add("up.example/a", "v1.0.0", "up.example/b v1.0.0", "up.example/Cap/c v2.0.0+incompatible")
	h.add("up.example/b", "v1.0.0")
	h.add("up.example/b", "v1.1.0-RC1")
	h.add("up.example/Cap/c", "v2.0.0+incompatible")
	h.add("up.example/d/v2", "v2.0.1-0.20240102030405-0123456789ab")
	h.write("up.example/old", "v0.1.0", "mod", "module up.example/old\n")
	h.write("up.example/old", "v0.0.0-20230102030405-0123456789ab", "mod", "module up.example/old\n")
	h.write("up.example/old", "v0.2.0", "info", `{"Version":"v0.2.0"}`)
	h.write("up.example/old", "main", "info", `{"Version":"v0.2.0"}`)
	if err := os.Remove(h.file("up.example/b", "v1.0.0", "mod")); err != nil { // nobody had to know its requirements
		t.Fatal(err)
	}
	writeTree(t, h.dir, map[string]string{
		"up.example/b/@v/list": "v1.0.0\n", "up.example/b/@v/v1.0.0.lock": "", "up.example/b/@v/v1.0.0.zip1234.tmp": "PK",
		"sumdb/sum.example/tile/8/0/000": "x", "sumdb/sum.example/@v/v1.0.0.mod": "module x\n",
	})
	return h
}

// imports runs import, which has to end with a code, and returns what it reports.
func imports(t *testing.T, code int, args ...string) (r importReport) {
	t.Helper()
	got := try(t, append([]string{"import", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || got.code != code {
		t.Fatalf("import %q: exit code %d, want %d, %v\n%s%s", args, got.code, code, err, got.stdout, got.stderr)
	}
	return r
}

// lastSeq returns how far the log of the node is.
func lastSeq(t *testing.T) (seq string) {
	t.Helper()
	_, rest, _ := strings.Cut(ok(t, "status", "--json"), `"seq": `)
	seq, _, _ = strings.Cut(rest, ",")
	return seq
}

// closedNetwork returns a node whose repository public has an upstream that nobody
// reaches.
func closedNetwork(t *testing.T) *running {
	t.Helper()
	s := fresh(t)
	away := httptest.NewServer(http.NotFoundHandler())
	away.Close()
	ok(t, "repo", "set", "public", "--upstream", away.URL, "--sumdb", "off")
	return s
}

func TestImportCache(t *testing.T) {
	s := closedNetwork(t)
	h := full(t)
	sum := h.goSum()
	outer := t.TempDir() // GOMODCACHE itself
	if err := os.MkdirAll(filepath.Join(outer, "cache"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(h.dir, filepath.Join(outer, "cache", "download")); err != nil {
		t.Fatal(err)
	}
	h.dir = filepath.Join(outer, "cache", "download")

	if r := imports(t, exitOK, outer, "--repo", "public", "--dry-run"); r.Imported != 7 || r.Mods != 2 || len(r.Versions) != 7 || r.Versions[0] != "up.example/Cap/c@v2.0.0+incompatible" {
		t.Errorf("dry run: %+v", r)
	}
	r := imports(t, exitOK, outer, "--repo", "public", "--go-sum", sum)
	if r.Imported != 7 || r.Mods != 2 || r.Existed != 0 || len(r.Refused) != 0 || len(r.Left) != 2 {
		t.Errorf("%+v", r)
	}
	before := lastSeq(t)
	if r := imports(t, exitOK, h.dir, "--repo", "public", "--from", "cache"); r.Imported != 0 || r.Existed != 7 {
		t.Errorf("again: %+v", r)
	}
	if after := lastSeq(t); after != before {
		t.Errorf("importing again brought the log from %s to %s", before, after)
	}
	for _, mv := range []module.Version{{Path: "up.example/a", Version: "v1.0.0"}, {Path: "up.example/b", Version: "v1.0.0"}, {Path: "up.example/b", Version: "v1.1.0-RC1"}, {Path: "up.example/Cap/c", Version: "v2.0.0+incompatible"}, {Path: "up.example/d/v2", Version: "v2.0.1-0.20240102030405-0123456789ab"}} {
		if got := goSumOf(t, s.url+"/go/public", mv); got != h.h1(mv.Path, mv.Version) {
			t.Errorf("%v: the go command gets %s, go.sum has %s", mv, got, h.h1(mv.Path, mv.Version))
		}
	}
	if _, info := s.get(t, "up.example/old/@v/v0.0.0-20230102030405-0123456789ab.info"); !strings.Contains(info, "2023-01-02T03:04:05Z") {
		t.Errorf("info of a pseudo-version: %s", info)
	}
	if out := ok(t, "import", outer, "--repo", "public"); !strings.Contains(out, "imported 0 versions into public (of 0 the go.mod alone); 7 were there already, 0 refused") {
		t.Errorf("%s", out)
	}
}

// goSumOf has the go command download a version, with nothing cached, and returns
// the hash of its zip.
func goSumOf(t *testing.T, goproxy string, mv module.Version) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", mv.Path+"@"+mv.Version)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY="+goproxy, "GONOPROXY=none", "GOSUMDB=off", "GOTOOLCHAIN=local", "GOFLAGS=-modcacherw", "GOMODCACHE="+filepath.Join(dir, "cache"))
	out, err := cmd.Output()
	var got struct{ Sum, Error string }
	if json.Unmarshal(out, &got) != nil || got.Sum == "" {
		t.Errorf("go mod download %v: %v\n%s", mv, err, out)
	}
	return got.Sum
}

// What is damaged is refused with its name and the reason, and the rest gets in.
func TestImportDamagedCache(t *testing.T) {
	closedNetwork(t)
	h := newHoard(t)
	names := []string{"good", "flipped", "hashed", "unhashed", "cut", "modless", "summed", "modsum", "page", "info"}
	for _, name := range names {
		h.add("up.example/"+name, "v1.0.0")
	}
	change := func(name, ext string, f func([]byte) []byte) {
		t.Helper()
		file := h.file("up.example/"+name, "v1.0.0", ext)
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, f(data), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	text := func(s string) func([]byte) []byte { return func([]byte) []byte { return []byte(s) } }
	flip := func(b []byte) []byte { b[30+int(b[26])+int(b[28])+1] ^= 1; return b }
	change("flipped", "zip", flip)
	change("hashed", "ziphash", text(h.h1("up.example/good", "v1.0.0")))
	change("unhashed", "ziphash", text("what"))
	change("cut", "zip", func(b []byte) []byte { return b[:len(b)-40] })
	change("cut", "ziphash", text(""))
	if err := os.Remove(h.file("up.example/modless", "v1.0.0", "mod")); err != nil {
		t.Fatal(err)
	}
	change("modless", "zip", text("PK"))
	change("page", "mod", text("<html>"))
	change("info", "info", text(`{"Version":"v9.0.0"}`))
	sums := strings.ReplaceAll(h.sums.String(), h.h1("up.example/summed", "v1.0.0"), h.h1("up.example/good", "v1.0.0"))
	lines := strings.Split(sums, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "up.example/modsum v1.0.0/go.mod ") {
			lines[i] = "up.example/modsum v1.0.0/go.mod " + h.h1("up.example/good", "v1.0.0")
		}
		if strings.HasPrefix(l, "up.example/hashed v1.0.0 ") || strings.HasPrefix(l, "up.example/page v1.0.0/") {
			lines[i] = "" // go.sum can't tell
		}
	}
	sum := filepath.Join(writeTree(t, t.TempDir(), map[string]string{"go.sum": strings.Join(lines, "\n")}), "go.sum")
	r := imports(t, exitNo, h.dir, "--repo", "public", "--go-sum", sum)
	if r.Imported != 1 || len(r.Refused) != len(names)-1 {
		t.Errorf("%+v", r)
	}
	for name, want := range map[string]string{
		"flipped": "the imported zip is refused", "hashed": "as the request says", "unhashed": "its .ziphash is damaged",
		"cut": "its zip can't be read", "modless": "its zip can't be read", "summed": "SECURITY ERROR: its zip is", "modsum": "SECURITY ERROR: its go.mod is",
		"page": "the imported go.mod", "info": "v9.0.0",
	} {
		found := false
		for _, x := range r.Refused {
			found = found || x.Module == "up.example/"+name && x.Version == "v1.0.0" && x.Code != "" && strings.Contains(x.Message, want)
		}
		if !found {
			t.Errorf("%s is not refused with %q: %+v", name, want, r.Refused)
		}
	}
	refused(t, exitNo, []string{"import", h.dir, "--repo", "public", "--go-sum", sum}, "refused: up.example/flipped@v1.0.0: ")
}

func TestImportAthens(t *testing.T) {
	s := closedNetwork(t)
	h := newHoard(t)
	h.add("up.example/Cap/c", "v1.0.0-RC1")
	h.add("up.example/b", "v1.0.0")
	h.add("up.example/cut", "v1.0.0")
	store := t.TempDir()
	put := func(dir, path, version string) { h.athens(store, dir, path, version) }
	put("up.example/Cap/c/v1.0.0-RC1", "up.example/Cap/c", "v1.0.0-RC1")
	put("up.example/b/v1.0.0", "up.example/b", "v1.0.0")
	put("up.example/cut/v1.0.0", "up.example/cut", "v1.0.0")
	writeTree(t, store, map[string]string{"up.example/cut/v1.0.0/source.zip": "PK"})
	r := imports(t, exitNo, store, "--repo", "public", "--go-sum", h.goSum())
	if r.Imported != 2 || len(r.Refused) != 1 || r.Refused[0].Module != "up.example/cut" {
		t.Errorf("%+v", r)
	}
	if got, want := goSumOf(t, s.url+"/go/public", module.Version{Path: "up.example/Cap/c", Version: "v1.0.0-RC1"}), h.h1("up.example/Cap/c", "v1.0.0-RC1"); got != want {
		t.Errorf("the go command gets %s, want %s", got, want)
	}
	before := lastSeq(t)
	if r := imports(t, exitNo, store, "--repo", "public"); r.Existed != 2 || lastSeq(t) != before {
		t.Errorf("again: %+v, the log is at %s, was at %s", r, lastSeq(t), before)
	}
}

// A local repository takes what it owns, whole versions only.
func TestImportIntoLocal(t *testing.T) {
	fresh(t)
	ok(t, "repo", "set", "local", "--owns", "up.example/**")
	h := full(t)
	h.add("other.example/x", "v1.0.0")
	r := imports(t, exitNo, h.dir, "--repo", "local")
	if r.Imported != 5 || len(r.Refused) != 1 || r.Refused[0].Module != "other.example/x" || r.Refused[0].Code != "forbidden" || len(r.Left) != 3 {
		t.Errorf("%+v", r)
	}
	if r := imports(t, exitNo, h.dir, "--repo", "local"); r.Existed != 5 {
		t.Errorf("again: %+v", r)
	}
	// What the local repository owns and has is no refusal of the cache that depends on it.
	if r := imports(t, exitNo, h.dir, "--repo", "public", "--unproved"); r.Existed != 5 {
		t.Errorf("into public: %+v", r)
	}
	refused(t, exitNo, []string{"import", h.dir, "--repo", "all"}, "virtual", "local, public")
}

func TestImportUsage(t *testing.T) {
	fresh(t)
	empty := t.TempDir()
	broken := filepath.Join(writeTree(t, t.TempDir(), map[string]string{"go.sum": "x y\n"}), "go.sum")
	refused(t, exitUsage, []string{"import", empty}, "--repo is missing")
	refused(t, exitUsage, []string{"import", empty, "--repo", "A"}, "may only have a-z")
	refused(t, exitUsage, []string{"import", empty, "--repo", "public", "-j", "0"}, "-j is 0")
	refused(t, exitUsage, []string{"import", empty, "--repo", "public", "--from", "what"}, "project, cache and athens")
	refused(t, exitUsage, []string{"import", empty, "--repo", "public"}, "holds neither a project", "--from")
	refused(t, exitUsage, []string{"import", broken, "--repo", "public"}, "is no directory")
	refused(t, exitNo, []string{"import", empty, "--repo", "public", "--go-sum", broken}, "is no line of a go.sum")
	refused(t, exitNo, []string{"import", empty, "--repo", "none"}, "no repository called")
}

// front is a node's server, at which something happens when the nth version is sent.
func front(t *testing.T, s *running, n int64, then func()) (server string) {
	t.Helper()
	to, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = to.Host // as if it came from this machine directly
	}}
	var puts atomic.Int64
	f := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && puts.Add(1) == n {
			then()
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f.URL
}

// An import that is interrupted, killed, or survived by its node goes on where it
// was.
func TestImportGoesOn(t *testing.T) {
	h := newHoard(t)
	const all = 12
	for i := range all {
		h.add(fmt.Sprintf("up.example/m%02d", i), "v1.0.0")
	}
	s := closedNetwork(t)
	ctx, interrupt := context.WithCancel(t.Context())
	var stdout, stderr bytes.Buffer
	args := []string{"import", h.dir, "--repo", "public", "-j", "1", "--json", "--server"}
	if code := run(ctx, append(args, front(t, s, 3, interrupt)), strings.NewReader(""), &stdout, &stderr); code != exitNo || !strings.Contains(stderr.String(), "interrupted; what was imported stays") {
		t.Errorf("interrupted: exit code %d\n%s", code, &stderr)
	}
	var r importReport
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || r.Imported < 2 || r.Imported+r.Unsent != all {
		t.Errorf("interrupted: %+v, %v", r, err)
	}

	killed := make(chan *os.Process, 1)
	cmd := command(t, append(args, front(t, s, 3, func() { (<-killed).Kill() }))...)
	if runtime.GOOS == "windows" {
		cmd.Env = append(cmd.Env, "SystemRoot="+os.Getenv("SystemRoot"))
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed <- cmd.Process
	if err := cmd.Wait(); err == nil {
		t.Error("it was not killed")
	}

	s.end(t)
	s = serving(t, s.data)
	t.Setenv(serverEnv, s.url)
	r = imports(t, exitOK, h.dir, "--repo", "public")
	if r.Existed < 4 || r.Imported == 0 || r.Existed+r.Imported != all {
		t.Errorf("it went on with %+v", r)
	}
	if r := imports(t, exitOK, h.dir, "--repo", "public"); r.Existed != all {
		t.Errorf("again: %+v", r)
	}

	s.end(t)
	h.add("up.example/late", "v1.0.0")
	refused(t, exitNo, []string{"import", h.dir, "--repo", "public"}, "can't reach")
}

// Where the checksum database can't be asked go.sum vouches, if it is told to, and for
// nothing that it does not have.
func TestImportUnproved(t *testing.T) {
	closedNetwork(t)
	impatient(t)
	_, key, err := note.GenerateKey(nil, "sum.example")
	if err != nil {
		t.Fatal(err)
	}
	ok(t, "repo", "set", "public", "--sumdb", key+" http://127.0.0.1:1")
	h := newHoard(t)
	h.add("up.example/known", "v1.0.0")
	sum := h.goSum()
	h.add("up.example/other", "v1.0.0")
	if r := imports(t, exitNo, h.dir, "--repo", "public", "--go-sum", sum); r.Imported != 0 || len(r.Refused) != 2 || !strings.Contains(r.Refused[0].Message, "--unproved") {
		t.Errorf("proved by nobody: %+v", r)
	}
	r := imports(t, exitNo, h.dir, "--repo", "public", "--go-sum", sum, "--unproved")
	if r.Imported != 1 || len(r.Refused) != 1 || r.Refused[0].Module != "up.example/other" || r.Refused[0].Code != "unavailable" {
		t.Errorf("vouched for by go.sum: %+v", r)
	}
}

// Real modules, of those that this program is made of, have at the end the hashes
// that its go.sum has.
func TestImportRealModules(t *testing.T) {
	const most, size = 20, 64 << 10 // how many, and the bytes of a zip
	sum, err := filepath.Abs(filepath.Join("..", "..", "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	sums := goSums{}
	if err := sums.read(sum); err != nil {
		t.Fatal(err)
	}
	plan, err := planImport(t.Context(), strings.TrimSpace(runGo(t, t.TempDir(), nil, "env", "GOMODCACHE")), fromCache, sums)
	if err != nil {
		t.Fatal(err)
	}
	few := newHoard(t)
	var taken []importItem
	for _, it := range plan.items {
		st, err := os.Stat(it.zip)
		if err != nil || st.Size() > size || !it.vouched || len(taken) == most {
			continue
		}
		for ext, file := range map[string]string{"info": it.info, "mod": it.mod, "zip": it.zip, "ziphash": strings.TrimSuffix(it.zip, "zip") + "ziphash"} {
			if data, err := os.ReadFile(file); err == nil {
				few.write(it.mv.Path, it.mv.Version, ext, string(data))
			}
		}
		taken = append(taken, it)
	}
	if len(taken) == 0 {
		t.Fatal("the module cache holds none of the modules that this test was built from")
	}
	s := closedNetwork(t)
	if r := imports(t, exitOK, few.dir, "--repo", "public", "--go-sum", sum); r.Imported != len(taken) {
		t.Errorf("%d of them: %+v", len(taken), r)
	}
	args := []string{"mod", "download", "-json"}
	for _, it := range taken {
		args = append(args, it.mv.String())
	}
	got := json.NewDecoder(strings.NewReader(runGo(t, t.TempDir(), goEnvironment(t, s.url+"/go/public"), args...)))
	for range taken {
		var m downloaded
		if err := got.Decode(&m); err != nil {
			t.Fatal(err)
		}
		want := sums[module.Version{Path: m.Path, Version: m.Version}]
		if m.Sum != want.zip.String() || m.GoModSum != want.mod.String() {
			t.Errorf("%s@%s: the go command gets zip %s go.mod %s, go.sum has %v and %v", m.Path, m.Version, m.Sum, m.GoModSum, want.zip, want.mod)
		}
	}
}
