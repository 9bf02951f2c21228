package httpapi_test

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/module"
)

// heldBack is how much of a zip clients get only once it was verified.
const heldBack = 64 << 10

// tap lets zips flow from a proxy as far as a test says.
type tap struct {
	proxy *proxy
	sized bool // with a Content-Length

	mu    sync.Mutex
	moved *sync.Cond
	zip   []byte // what is sent for each zip, if it isn't nil
	upTo  int    // guarded by mu; how much of it may be sent
	end   func(http.ResponseWriter)
	sent  int // guarded by mu
	asked int // guarded by mu
}

// newTap puts a tap, shut, on the zips of g's proxy.
func newTap(g *registry, sized bool, zip []byte) *tap {
	p := &tap{proxy: g.proxy, sized: sized, zip: zip}
	p.moved = sync.NewCond(&p.mu)
	g.proxy.setFault(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".zip") {
			p.serve(w)
			return
		}
		g.proxy.file(w, r)
	})
	g.t.Cleanup(func() {
		g.proxy.setFault(nil)
		p.open(len(zip))
	})
	return p
}

// file answers as if there were no fault.
func (p *proxy) file(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	body := p.files[r.URL.EscapedPath()]
	p.mu.Unlock()
	if body == "" {
		http.Error(w, "not here", http.StatusNotFound)
		return
	}
	io.WriteString(w, body)
}

// open lets the first n bytes through, in all.
func (p *tap) open(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upTo = n
	p.moved.Broadcast()
}

// ends has the answer end so, where it is open to.
func (p *tap) ends(f func(http.ResponseWriter)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end = f
	p.moved.Broadcast()
}

// waitSent waits until the upstream has been rid of n bytes.
func (p *tap) waitSent(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.sent < n {
		p.moved.Wait()
	}
}

func (p *tap) requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

func (p *tap) serve(w http.ResponseWriter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if p.sized {
		w.Header().Set("Content-Length", fmt.Sprint(len(p.zip)))
	}
	flush := http.NewResponseController(w)
	for at := 0; at < len(p.zip); {
		for p.upTo <= at && p.end == nil {
			p.moved.Wait()
		}
		if p.upTo <= at {
			break
		}
		part := p.zip[at:min(p.upTo, len(p.zip))]
		p.mu.Unlock()
		_, err := w.Write(part)
		err = errors.Join(err, flush.Flush())
		p.mu.Lock()
		if err != nil {
			break
		}
		at += len(part)
		p.sent = at
		p.moved.Broadcast()
	}
	if p.end != nil {
		p.end(w)
	}
}

// abort ends an answer as a broken connection does.
func abort(http.ResponseWriter) { panic(http.ErrAbortHandler) }

// noisyZip returns the zip of a module of one large file, not compressed, and the
// go.mod in it.
func noisyZip(t testing.TB, mv module.Version, goMod string, size int) []byte {
	t.Helper()
	data := make([]byte, size)
	rand.Read(data)
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, text := range map[string][]byte{"go.mod": []byte(goMod), "noise": data} {
		f, err := w.CreateHeader(&zip.FileHeader{Name: mv.Path + "@" + mv.Version + "/" + name, Method: zip.Store})
		if err == nil {
			_, err = f.Write(text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// download is a zip whose beginning is being read.
type download struct {
	t    testing.TB
	resp *http.Response
	got  []byte
}

// openZip asks for a zip, whose header must come.
func (g *registry) openZip(repo string, mv module.Version) *download {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), "GET", g.base+zipPath(repo, mv), nil)
	if err != nil {
		g.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		g.t.Fatalf("zip: %s: %s", resp.Status, body)
	}
	return &download{t: g.t, resp: resp}
}

func zipPath(repo string, mv module.Version) string {
	return "/go/" + repo + "/" + mv.Path + "/@v/" + mv.Version + ".zip"
}

// read reads up to n bytes in all.
func (s *download) read(n int) {
	s.t.Helper()
	buf := make([]byte, n-len(s.got))
	m, err := io.ReadFull(s.resp.Body, buf)
	s.got = append(s.got, buf[:m]...)
	if err != nil {
		s.t.Fatalf("after %d bytes: %v", len(s.got), err)
	}
}

// rest reads to the end.
func (s *download) rest() error {
	b, err := io.ReadAll(s.resp.Body)
	s.got = append(s.got, b...)
	return err
}

// repos are where the same zips come from: vouched for by a checksum database, or
// not.
var streamRepos = []string{"checked", "public"}

// eachWay runs a test for zips that are vouched for and not, with a length and
// without.
func eachWay(t *testing.T, f func(t *testing.T, g *registry, repo string, sized bool)) {
	g := newStreaming(t)
	for _, repo := range streamRepos {
		for _, sized := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s,sized=%v", repo, sized), func(t *testing.T) {
				g.t = t
				f(t, g, repo, sized)
			})
		}
	}
	g.t = t
}

// newStreaming makes a registry with the repositories streamRepos.
func newStreaming(t *testing.T) *registry {
	g := newRegistry(t)
	newDatabase(t, g)
	return g
}

// coldZip makes a zip that the registry lacks, of so many bytes and some more.
func (g *registry) coldZip(size int) (module.Version, []byte) {
	g.t.Helper()
	p := g.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	mv := module.Version{Path: fmt.Sprintf("up.test/cold%d", len(p.files)), Version: "v1.0.0"}
	data := noisyZip(g.t, mv, "module "+mv.Path+"\n", size)
	base := "/" + mv.Path + "/@v/" + mv.Version
	p.files[base+".info"], p.files[base+".mod"], p.files[base+".zip"] = infoOf(mv.Version), "module "+mv.Path+"\n", string(data)
	return mv, data
}

// waitHeld waits until a zip is recorded and kept here.
func (g *registry) waitHeld(repo string, mv module.Version) {
	g.t.Helper()
	waitFor(g.t, func() error {
		if a := g.do("HEAD", zipPath(repo, mv), nil, "Disable-Module-Fetch", "true"); a.status != http.StatusOK {
			return fmt.Errorf("the zip is not held: %d", a.status)
		}
		return nil
	})
}

// waitUnstaged waits until nothing is on its way in.
func (g *registry) waitUnstaged() {
	g.t.Helper()
	waitFor(g.t, func() error {
		if left := g.staged(); len(left) > 0 {
			return fmt.Errorf("stages are left: %v", left)
		}
		return nil
	})
}
