package httpapi_test

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// attack is what no client of a registry sends, and how it is answered.
type attack struct {
	request string // as it goes over the wire
	want    string // the statuses that it may have, with bars between them
	text    string // is in the answer
	public  bool   // sent to the listener that is not on this machine alone
}

// plain makes the bytes of a request with a body, on a connection of its own. Each
// header ends in a line feed.
func plain(method, target, body string, header ...string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s", method, target, strings.Join(header, ""), len(body), body)
}

// asAdmin stands for the header of an administrator, whom no right keeps from what
// has to be refused.
const asAdmin = "Authorization: ADMIN\r\n"

// hostile is a registry under attack. Beside its data directory lies what nobody
// may be shown.
type hostile struct {
	*roles
	canary string
	beside []string // what lies beside the data directory
	opened func() []string
}

func newHostile(t *testing.T) *hostile {
	if testing.Short() {
		t.Skip("hundreds of requests, one after the other; not with -short")
	}
	w := newRoles(t)
	beside := filepath.Dir(w.dir)
	h := &hostile{roles: w, canary: "canary-" + strings.ToLower(rand.Text())}
	for _, name := range []string{"canary", "canary.info", "canary.zip", filepath.Join("outside", "canary")} {
		name = filepath.Join(beside, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(h.canary), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.beside = listing(t, beside)
	h.opened = watchOpens(t, beside, filepath.Join(beside, "outside"))
	if _, err := os.ReadFile(filepath.Join(beside, "outside", "canary")); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "linux" && !slices.Equal(h.opened(), []string{"canary"}) {
		t.Fatal("nobody tells that a file was opened")
	}
	return h
}

// listing is what lies in a directory, and since when, the data directory left out.
func listing(t *testing.T, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Name() == "data" {
			return filepath.SkipDir
		}
		info, err := d.Info()
		if err == nil {
			list = append(list, fmt.Sprintln(path, info.Size(), info.Mode(), info.ModTime()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// run sends attacks of a class, of which there must be so many, and holds that each
// is answered as it should be and changes nothing.
func (h *hostile) run(t *testing.T, count int, attacks []attack) {
	t.Helper()
	if len(attacks) != count {
		t.Errorf("%d attacks, not %d", len(attacks), count)
	}
	seq := h.seq()
	for _, a := range attacks {
		got := h.send(t, a)
		h.judge(t, a, got)
		if now := h.seq(); now != seq {
			t.Errorf("%.200q took the log from entry %d to %d", a.request, seq, now)
			seq = now
		}
	}
	h.unharmed(t)
}

// send returns all that comes back until the server closes the connection.
func (h *hostile) send(t *testing.T, a attack) string {
	t.Helper()
	base := h.base
	if a.public {
		base = h.public
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	sent := make(chan struct{})
	go func() { // ends with the connection
		defer close(sent)
		io.WriteString(conn, strings.ReplaceAll(a.request, asAdmin, "Authorization: "+h.shown[admin]+"\r\n"))
	}()
	all, err := io.ReadAll(conn)
	if err != nil && len(all) == 0 {
		t.Errorf("%.200q: no answer: %v", a.request, err)
	}
	conn.Close()
	<-sent
	return string(all)
}

// judge holds that there is one answer, that it is the right one, and that nobody
// takes it for anything else.
func (h *hostile) judge(t *testing.T, a attack, got string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), nil)
	if err != nil {
		t.Errorf("%.200q: %v in %.200q", a.request, err, got)
		return
	}
	status := fmt.Sprint(resp.StatusCode)
	if !slices.Contains(strings.Split(a.want, "|"), status) || !strings.Contains(got, a.text) {
		t.Errorf("%.200q: %.400q, want %s with %q", a.request, got, a.want, a.text)
	}
	if n := strings.Count(got, "HTTP/1.1 "); n != 1 {
		t.Errorf("%.200q: %d answers", a.request, n)
	}
	if strings.Contains(got, h.canary) || strings.Contains(got, "root:") || strings.Contains(got, "internal error") {
		t.Errorf("%.200q: shows what it must not: %.400q", a.request, got)
	}
	checkInert(t, a.request, resp.Header)
}

// checkInert holds that an answer is one that no browser makes anything of. What
// net/http refuses by itself is text, and has nothing of the request in it.
func checkInert(t *testing.T, what string, h http.Header) {
	t.Helper()
	kind := h.Get("Content-Type")
	ours := h.Get("X-Content-Type-Options") == "nosniff" && h.Get("Content-Security-Policy") == "default-src 'none'; frame-ancestors 'none'"
	if !ours && (kind != "text/plain; charset=utf-8" || h.Get("Cache-Control") != "") {
		t.Errorf("%.200q: not hardened: %v", what, h)
	}
	switch kind {
	case "", textType, jsonType, "application/json", "application/x-ndjson", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores":
	default:
		if kind == "application/zip" && h.Get("Content-Disposition") == "attachment" {
			break
		}
		t.Errorf("%.200q: Content-Type %s", what, kind)
	}
	for _, name := range []string{"Injected", "Set-Cookie", "Location", "Refresh", "Access-Control-Allow-Origin", "Server"} {
		if v := h.Values(name); len(v) > 0 {
			t.Errorf("%.200q: the header %s: %q", what, name, v)
		}
	}
}

// unharmed holds that nothing beside the data directory has been touched, that
// nothing is left on its way into the store, and that nothing has gone wrong within.
func (h *hostile) unharmed(t *testing.T) {
	t.Helper()
	if now := listing(t, filepath.Dir(h.dir)); !slices.Equal(now, h.beside) {
		t.Errorf("beside the data directory there was\n%v\nand now is\n%v", h.beside, now)
	}
	if files := h.opened(); len(files) > 0 {
		t.Errorf("opened beside the data directory: %v", files)
	}
	if left := h.staged(); len(left) > 0 {
		t.Errorf("staged files are left: %v", left)
	}
	for line := range strings.Lines(h.logs.String()) {
		if strings.Contains(line, "level=ERROR") || strings.Contains(line, "panic") || strings.Contains(line, h.canary) {
			t.Errorf("logged: %.300s", line)
		}
	}
}

// TestHostile attacks a registry. The counts are of each class; TestDoor,
// TestBadModulePaths, TestBadPublications, TestBadManagement and TestMalformedHTTP
// have more.
func TestHostile(t *testing.T) {
	h := newHostile(t)
	total := 0
	for _, class := range []struct {
		name  string
		count int
		make  func() []attack
	}{
		{"traversal", 338, traversals}, {"methods", 83, methods}, {"smuggling", 25, smugglings}, {"sizes", 11, sizes}, {"hosts", 48, hosts},
		{"credentials", 56, h.credentials}, {"json", 189, malformedJSON}, {"origins", 48, origins}, {"injection", 36, injections}, {"null bytes", 28, nullBytes},
	} {
		t.Run(class.name, func(t *testing.T) {
			attacks := class.make()
			total += len(attacks)
			h.run(t, class.count, attacks)
		})
	}
	t.Logf("%d attacks", total)
	if total < 800 {
		t.Errorf("%d attacks", total)
	}
}
