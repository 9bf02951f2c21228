package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"

	"registry-node/events"
	"registry-node/node"
)

// calls are what clients ask for, in the order of the columns of faultRows: the
// kind (see kindOf), and the file that has the honest answer.
var calls = []struct{ kind, file string }{
	{"l", "/" + wanted.Path + "/@v/list"},
	{"a", "/" + unnamed.Path + "/@latest"},
	{"i", "/" + wanted.Path + "/@v/v1.0.0.info"},
	{"m", "/" + wanted.Path + "/@v/v1.0.0.mod"},
	{"z", "/" + wanted.Path + "/@v/v1.0.0.zip"},
}

// upstreamTimeout is that of the repositories whose upstream is slow.
const upstreamTimeout = 3 * time.Second

// faultRow is a way in which an upstream goes wrong, and what clients see of it.
type faultRow struct {
	name string
	// want is the outcome for each of calls: a status, "cut" for an answer that
	// ends before it is complete, or several of these; "-" if the fault is none
	// for the call. 200 is an honest and complete answer.
	want string
	script
	options faultOptions
}

type faultOptions struct {
	hits  string // kinds of requests to the upstream, if not that of the call
	slow  bool   // the time-out of the repository is upstreamTimeout
	first string // a file that is fetched before, while the upstream is well
	noSum bool   // no checksum database vouches
	// lasting is that the node goes on refusing: it has seen the database sign
	// what contradicts what it says otherwise.
	lasting bool
}

const (
	headLength  = "HTTP/1.1 200 OK\r\nContent-Length: LENGTH\r\n\r\n"
	headChunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n"
	headOpen    = "HTTP/1.0 200 OK\r\n\r\n"
	headHuge    = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"
	page        = "<!DOCTYPE html>\n<html><body>Please log in\nmodule x\nv1.0.0\n"
)

// faultRows returns the table. inner is a server that nobody may be led to.
func faultRows(t *testing.T, up *scripted, inner string) []faultRow {
	other := tree(wanted.Path)
	other["evil.go"] = "package a\n"
	otherZip, _ := zipOf(t, wanted, other)
	prefixZip, _ := zipOf(t, warm, tree(wanted.Path))
	flip := func(at func(n int) int) script {
		return changed(func(b []byte) []byte { b[at(len(b))] ^= 1; return b })
	}
	same := func(b []byte) []byte { return b }
	bomb := gzipped(bytes.Repeat([]byte("v1.0.0 aaaaaaaaa\n"), 5<<18)) // more than a list may have
	sums := faultOptions{hits: "d"}
	slow := faultOptions{slow: true}
	unvouched := faultOptions{noSum: true}
	at := wanted.Path + "@" + wanted.Version + "/"
	rows := []faultRow{
		{"an honest redirect", "200 200 200 200 200", movedWithin, faultOptions{}},

		{"500", "502 502 502 502 502", says(500), faultOptions{}},
		{"502", "502 502 502 502 502", says(502), faultOptions{}},
		{"503", "502 502 502 502 502", says(503), faultOptions{}},
		{"503 with Retry-After", "502 502 502 502 502", says(503, "Retry-After", "1"), faultOptions{}},
		{"429", "502 502 502 502 502", says(429, "Retry-After", "1"), faultOptions{}},
		{"400", "502 502 502 502 502", says(400), faultOptions{}},
		{"401", "403 403 403 403 403", says(401, "WWW-Authenticate", "Basic"), faultOptions{}},
		{"403", "403 403 403 403 403", says(403), faultOptions{}},
		{"404 for one file", "404 404 - 404 404", says(404), faultOptions{}},
		{"410 for one file", "404 404 - 404 404", says(410), faultOptions{}},
		{"204", "502 502 502 502 502", says(204), faultOptions{}},
		{"206", "502 502 502 502 502", says(206), faultOptions{}},
		{"304", "502 502 502 502 502", says(304), faultOptions{}},

		{"reset before the header", "502 502 502 502 502", wire(nothing, reset), faultOptions{}},
		{"closed before the header", "502 502 502 502 502", wire(nothing, closed), faultOptions{}},
		{"no HTTP", "502 502 502 502 502", wire(half("SSH-2.0-OpenSSH\r\n"), closed), faultOptions{}},
		{"reset in the body", "502 502 502 502 502/cut", wire(half(headLength), reset), faultOptions{}},
		{"truncated, with length", "502 502 502 502 502/cut", wire(half(headLength), closed), faultOptions{}},
		{"truncated, in chunks", "502 502 502 502 502/cut", wire(half(headChunked), closed), faultOptions{}},
		{"truncated, without length", "502 502 502 502 502/cut", wire(half(headOpen), closed), faultOptions{}},
		{"cut late, with length", "- - - - cut", up.late(headLength, "", closed), faultOptions{}},
		{"cut late, in chunks", "- - - - cut", up.late(headChunked, "", closed), faultOptions{}},
		{"cut late, without length", "- - - - cut", up.late(headOpen, "", closed), faultOptions{}},
		{"reset late, in chunks", "- - - - cut", up.late(headChunked, "", reset), faultOptions{}},
		{"a wrong end, late", "- - - - cut", up.late(headOpen, strings.Repeat("x", wantedSize/2), closed), faultOptions{}},
		{"stalls late", "- - - - cut", up.late(headLength, "", gone), slow},
		{"a length that is too large", "502 502 502 502 502", wire(half(headHuge), closed), faultOptions{}},
		{"a length that is too small", "- 502 502 502 502/cut", wire(func(c net.Conn, honest []byte) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(honest)-5, honest)
		}, closed), faultOptions{}},
		{"a huge header", "502 502 502 502 502", says(200, "X-Huge", strings.Repeat("x", 1<<20)), faultOptions{}},
		{"endless interim answers", "502 502 502 502 502", wire(func(c net.Conn, _ []byte) {
			for {
				if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"); err != nil {
					return
				}
			}
		}, closed), faultOptions{}},

		{"stalls before the header", "504 504 504 504 504", wire(nothing, gone), slow},
		{"stalls in the header", "504 504 504 504 504", wire(func(c net.Conn, _ []byte) { io.WriteString(c, "HTTP/1.1 200 OK\r\nX: ") }, gone), slow},
		{"a slow header", "504 504 504 504 504", wire(trickle, closed), slow},
		{"stalls in the body", "504 504 504 504 504/cut", wire(half(headLength), gone), slow},
		{"a dripping body", "504 504 504 504 -", drips, slow},

		{"an endless body", "502 502 502 502 -", endlessly("", strings.Repeat("v1.0.0 aaaaaaaaa\n", 4096)), faultOptions{}},
		{"a gzip bomb", "502 502 502 502 502", encoded("gzip", func([]byte) []byte { return bomb }), faultOptions{}},
		{"gzip that was not asked for", "- - - - 502", encoded("gzip", gzipped), faultOptions{}},
		{"truncated gzip", "502 502 502 502 502", encoded("gzip", func(b []byte) []byte { z := gzipped(b); return z[:len(z)-6] }), faultOptions{}},
		{"no gzip", "502 502 502 502 502", encoded("gzip", same), faultOptions{}},
		{"an encoding that was not asked for", "502 502 502 502 502", encoded("br", same), faultOptions{}},

		{"a redirect loop", "502 502 502 502 502", func(w http.ResponseWriter, r *http.Request, _ []byte) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}, faultOptions{}},
		{"a redirect to loopback", "502 502 502 502 502", moved(inner), faultOptions{}},
		{"a redirect to localhost", "502 502 502 502 502", moved(strings.Replace(inner, "127.0.0.1", "localhost", 1)), faultOptions{}},
		{"a redirect to the metadata service", "502 502 502 502 502", moved("http://169.254.169.254/latest/meta-data/"), faultOptions{}},
		{"a redirect to the metadata service in IPv6", "502 502 502 502 502", moved("http://[::ffff:169.254.169.254]/"), faultOptions{}},
		{"a redirect to a private address", "502 502 502 502 502", moved("http://10.0.0.1/"), faultOptions{}},
		{"a redirect to a file", "502 502 502 502 502", moved("file:///etc/hostname"), faultOptions{}},

		{"HTML with 200", "502 502 502 502 502", text(page), faultOptions{}},
		{"an error as JSON with 200", "502 502 502 502 502", text(`{"error":"not found"}`), faultOptions{}},
		{"nothing with 200", "- 502 502 502 502", text(""), faultOptions{}},
		{"no UTF-8", "502 502 502 502 502", text("v1.0.0\nv1.\xff\n"), faultOptions{}},
		{"junk in a list", "200 - - - -", changed(func(b []byte) []byte { return append([]byte("junk\nv1\nv2.0.0\n../x v1.0.0\n\n"), b...) }), faultOptions{}},
		{"another version in the info", "- - 502 - -", text(infoOf("v1.0.1")), faultOptions{}},
		{"no canonical version", "- 502 502 - -", text(`{"Version":"v1"}`), faultOptions{}},
		{"a version of another major", "- 502 502 - -", text(infoOf("v2.0.0")), faultOptions{}},
		{"an info that is too large to be recorded", "- - 502 - -", changed(func(b []byte) []byte {
			return append(b, strings.Repeat(" ", 100<<10)...)
		}), faultOptions{}},
		{"two answers in one", "- 502 502 - -", changed(func(b []byte) []byte { return append(b, b...) }), faultOptions{}},

		{"another go.mod", "- - 502 502 502/cut", text("module " + wanted.Path + "\n\nrequire evil.test v1.0.0\n"), faultOptions{hits: "m"}},
		{"a zip of another tree", "- - - - 502/cut", changed(func([]byte) []byte { return otherZip }), faultOptions{}},
		{"a zip of another module", "- - - - 502/cut", changed(func([]byte) []byte { return prefixZip }), faultOptions{}},
		{"a bit flipped in the middle of the zip", "- - - - 502/cut", flip(func(n int) int { return n / 2 }), faultOptions{}},
		{"a bit flipped at the end of the zip", "- - - - 502/cut", flip(func(n int) int { return n - 30 }), faultOptions{}},
		{"a tag that was moved", "- - - - 502/cut", changed(func([]byte) []byte {
			z, _ := zipOf(t, wanted, map[string]string{"go.mod": "module " + wanted.Path + "\n\ngo 1.22\n"})
			return z
		}), faultOptions{first: calls[3].file, noSum: true}},

		{"an empty go.mod that nobody vouches for", "- - - 502 -", text(""), unvouched},
		{"a zip of another module that nobody vouches for", "- - - - 502/cut", zipped(t, warm.Path+"@v1.0.0/go.mod", "module "+wanted.Path), unvouched},
		{"a zip with a file outside", "- - - - 502/cut", zipped(t, at+"a.go", "package a", "../a.go", "package a"), unvouched},
		{"a zip with two names that differ in case", "- - - - 502/cut", zipped(t, at+"a.go", "package a", at+"A.go", "package a"), unvouched},
		{"a zip with a file twice", "- - - - 502/cut", zipped(t, at+"a.go", "package a", at+"a.go", "package b"), unvouched},
		{"a zip with a module in a module", "- - - - 502/cut", zipped(t, at+"a.go", "package a", at+"b/go.mod", "module b"), unvouched},
		{"a zip with a directory", "- - - - 502/cut", zipped(t, at+"a.go", "package a", at+"b/", ""), unvouched},
		{"a zip bomb", "- - - - 502/cut", zipped(t, at+"a.go", strings.Repeat("\x00", 65<<20)), unvouched},

		{"no checksum database", "- - 502 502 502/cut", says(500), sums},
		{"a slow checksum database", "- - 504 504 504/cut", wire(nothing, gone), faultOptions{hits: "d", slow: true}},
		{"unknown to the checksum database", "- - 502 502 502/cut", says(404), sums},
		{"an empty checksum answer", "- - 502 502 502/cut", text(""), sums},
		{"HTML as checksum answer", "- - 502 502 502/cut", text(page), sums},
		{"a truncated checksum answer", "- - 502 502 502/cut", wire(half(headLength), closed), sums},
		{"the checksums of another module", "- - 502 502 502/cut", func(w http.ResponseWriter, r *http.Request, _ []byte) {
			_, body := up.db.get(r.Context(), "/lookup/"+warm.Path+"@"+warm.Version)
			w.Write(body)
		}, sums},
		{"a forged checksum answer", "- - 502 502 502/cut", changed(func(b []byte) []byte {
			return bytes.Replace(b, []byte("h1:"), []byte("h1:A"), 1)
		}), sums},
		{"forged tiles", "- - 502 502 502/cut", flip(func(n int) int { return n / 2 }), faultOptions{hits: "t"}},
	}
	return append(rows, faultDatabases(t, up, otherZip)...)
}

// faultDatabases are the rows whose checksum database is another one.
func faultDatabases(t *testing.T, up *scripted, otherZip []byte) []faultRow {
	evil := &scripted{files: maps.Clone(up.files)}
	evil.files["/"+wanted.Path+"/@v/v1.0.0.zip"] = otherZip
	var forked []module.Version // more than the right one has, so that its head is beyond
	for _, name := range []string{"x1", "x2", "x3", "x4"} {
		mv := module.Version{Path: "pub.test/" + name, Version: "v1.0.0"}
		evil.add(t, mv, tree(mv.Path))
		forked = append(forked, mv)
	}
	signer, _, err := note.GenerateKey(nil, "sum.test")
	if err != nil {
		t.Fatal(err)
	}
	stranger := newTestDatabase(t, signer, evil.files, wanted)
	liar := newTestDatabase(t, up.signer, evil.files, wanted)
	fork := newTestDatabase(t, up.signer, evil.files, append(forked, wanted)...)
	warmed := "/" + warm.Path + "/@v/" + warm.Version + ".mod"
	return []faultRow{
		{"a checksum database with another key", "- - 502 502 502/cut", stranger.answer, faultOptions{hits: "dt"}},
		{"a checksum database that lies", "- - - - 502/cut", liar.answer, faultOptions{hits: "dt", lasting: true}},
		{"a forked checksum database", "- - 502 502 502/cut", fork.answer, faultOptions{hits: "dt", first: warmed}},
	}
}

// faultCase is one row for one of the calls, with a repository of its own.
type faultCase struct {
	row        faultRow
	name       string // of the repository, and of the upstream's part for it
	file       string
	honest     []byte
	kind, want string
}

// faulty is a registry with repositories of an upstream that fails.
type faulty struct {
	*registry
	up *scripted
}

// TestUpstreamFaults has an upstream fail in every way there is while a client
// asks a node for each kind of file. The right status comes back in time,
// nothing wrong is completed or recorded, and when the upstream is well again,
// so is the answer.
func TestUpstreamFaults(t *testing.T) {
	var led atomic.Int32
	inner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { led.Add(1) }))
	defer inner.Close()
	up := newScripted(t)
	rows := faultRows(t, up, inner.URL)
	g := faulty{newRegistry(t), up}
	var cases, slow, quick []*faultCase
	for i, row := range rows {
		for j, want := range strings.Fields(row.want) {
			if want == "-" {
				continue
			}
			c := &faultCase{row: row, name: fmt.Sprintf("f%d%s", i, calls[j].kind), file: calls[j].file, kind: calls[j].kind, want: want}
			c.honest = up.files[c.file]
			cases = append(cases, c)
			if row.options.slow {
				slow = append(slow, c)
			} else {
				quick = append(quick, c)
			}
		}
	}
	if len(rows) < 30 {
		t.Errorf("%d faults", len(rows))
	}
	each(cases, g.add) // at once, as each entry of the log has its cost
	each(slow, g.fail) // by themselves: what comes before the fault has to come in time
	each(quick, g.fail)
	if n := led.Load(); n > 0 {
		t.Errorf("%d redirects led inside", n)
	}
	g.checkOnlyGood()
	for _, c := range cases {
		if up.heal(c.name) == 0 {
			t.Errorf("%s, %s: the fault was never met", c.row.name, c.file)
		}
	}
	each(slices.DeleteFunc(cases, func(c *faultCase) bool { return c.row.options.lasting }), g.recovers)
	g.checkOnlyGood()
	if left := g.staged(); len(left) > 0 {
		t.Errorf("left in the blob store: %q", left)
	}
}

// each calls f for all cases, some at a time.
func each(cases []*faultCase, f func(*faultCase)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 24)
	for _, c := range cases {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(c)
		})
	}
	wg.Wait()
}

// add makes the repository of a case.
func (g faulty) add(c *faultCase) {
	settings := events.RepoSettings{Upstream: g.up.URL + "/" + c.name, Sumdb: g.up.key}
	settings.AbsentTTL, settings.OfflineFor = events.SpanOf(time.Second), events.SpanOf(time.Second)
	if c.row.options.noSum {
		settings.Sumdb = "off"
	}
	if c.row.options.slow {
		settings.Timeout = events.SpanOf(upstreamTimeout)
	}
	repo := node.NewRepo{Name: repoName(g.t, c.name), Kind: events.Remote, Settings: settings}
	if _, err := g.node.CreateRepo(g.t.Context(), op, repo); err != nil {
		g.t.Error(err)
	}
}

// fail asks for the file of a case while the upstream is at fault.
func (g faulty) fail(c *faultCase) {
	if first := c.row.options.first; first != "" {
		if got := g.outcome(c.name, first, g.up.files[first]); got != "200" {
			g.t.Errorf("%s: %s before the fault: %s", c.row.name, first, got)
		}
	}
	hits := c.row.options.hits
	if hits == "" {
		hits = c.kind
	}
	g.up.arm(c.name, hits, c.row.script)
	asked := time.Now()
	got := g.outcome(c.name, c.file, c.honest)
	if !slices.Contains(strings.Split(c.want, "/"), got) {
		g.t.Errorf("%s: %s: %s, want %s", c.row.name, c.file, got, c.want)
	}
	// Twice the time-out, to the header and to the end, and some for a busy machine.
	if took := time.Since(asked); c.row.options.slow && took > 2*upstreamTimeout+10*time.Second {
		g.t.Errorf("%s: %s: answered after %v", c.row.name, c.file, took)
	}
}

// recovers asks until the honest answer comes.
func (g faulty) recovers(c *faultCase) {
	ctx, cancel := context.WithTimeout(g.t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		got := g.outcome(c.name, c.file, c.honest)
		if got == "200" {
			return
		}
		select {
		case <-tick.C: // what the upstream said is remembered for a while
		case <-ctx.Done():
			g.t.Errorf("%s: %s: %s long after the fault", c.row.name, c.file, got)
			return
		}
	}
}

// outcome asks a repository for a file, and says what came: a status, "cut", or
// 200 if it is honest and complete.
func (g faulty) outcome(repo, file string, honest []byte) string {
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.base+"/go/"+repo+file, nil)
	if err != nil {
		return err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	g.up.begin(repo)
	body, err := io.ReadAll(resp.Body)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "too late"
	case err != nil:
		return "cut"
	case resp.StatusCode != http.StatusOK:
		return fmt.Sprint(resp.StatusCode)
	case !bytes.Equal(body, honest):
		return fmt.Sprintf("complete, but %d other bytes", len(body))
	}
	return "200"
}

// checkOnlyGood checks that all that was recorded, from the first entry of the
// log on, is what the upstream has when it is well.
func (g faulty) checkOnlyGood() {
	g.t.Helper()
	entries, err := g.node.Log(op, events.Site{}, 1)
	if err != nil {
		g.t.Fatal(err)
	}
	zips := map[events.Digest]bool{}
	for e, err := range entries {
		if err != nil {
			g.t.Fatal(err)
		}
		for _, ev := range e.Events {
			filled, ok := ev.Body.(events.VersionFilled)
			if !ok {
				continue
			}
			base := "/" + filled.Module + "/@v/" + filled.Version
			if mod := g.up.files[base+".mod"]; filled.ModH1 != events.HashMod(mod) || filled.HasMod() && !bytes.Equal(filled.Mod, mod) {
				g.t.Errorf("recorded as go.mod of %s: %q", base, filled.Mod)
			}
			if filled.HasMod() && !bytes.Equal(filled.Info, g.up.files[base+".info"]) {
				g.t.Errorf("recorded as info of %s: %q", base, filled.Info)
			}
			if want := events.DigestOf(g.up.files[base+".zip"]); filled.HasZip() && filled.Zip.Digest != want {
				g.t.Errorf("recorded as zip of %s: %v", base, filled.Zip.Digest)
			} else if filled.HasZip() {
				zips[want] = true
			}
		}
	}
	for _, file := range g.blobFiles() {
		if d, err := events.ParseDigest("sha256:" + file); err != nil || !zips[d] {
			g.t.Errorf("the blob store has %s, which no one vouched for: %v", file, err)
		}
	}
}

// blobFiles returns the names of the blobs.
func (g *registry) blobFiles() (names []string) {
	err := filepath.WalkDir(filepath.Join(g.dir, "blobs", "sha256"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, d.Name())
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		g.t.Fatal(err)
	}
	return names
}
