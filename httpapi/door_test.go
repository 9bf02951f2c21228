package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// exchange sends bytes on a connection of their own and returns all that comes
// back until the server closes it, which it must.
func (g *registry) exchange(request string) string {
	g.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.base, "http://"))
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		g.t.Fatal(err)
	}
	all, err := io.ReadAll(conn)
	if err != nil {
		g.t.Errorf("%.80q: the connection stays open: %v", request, err)
	}
	return string(all)
}

const (
	hostLine  = "Host: localhost\r\n"
	closeLine = "Connection: close\r\n"
)

// TestDoor sends what no client of a registry does. What stands below /go/ is
// never refused with a 400 by us, which would end the go command's list of
// proxies; net/http refuses what is malformed before it has a path.
func TestDoor(t *testing.T) {
	g := filled(t)
	long := strings.Repeat("a", 4<<10)
	head := hostLine + closeLine + "\r\n"
	for _, tt := range []struct{ name, request, want, text string }{
		{"long URL", "GET /api/v1/status?" + long + " HTTP/1.1\r\n" + head, "414", "url_too_long"},
		{"long module path", "GET /go/all/" + long + "/@v/list HTTP/1.1\r\n" + head, "404", "4 KiB"},
		{"URL that is not too long", "GET /api/v1/status?" + long[:4000] + " HTTP/1.1\r\n" + head, "200", ""},
		{"large header", "GET /livez HTTP/1.1\r\nA: " + strings.Repeat("a", 40<<10) + "\r\n" + head, "431", ""},
		{"many headers", "GET /livez HTTP/1.1\r\n" + strings.Repeat("A: a\r\n", 8<<10) + head, "431", ""},
		{"many parameters", "GET /api/v1/log?" + strings.Repeat("a=&", 40) + " HTTP/1.1\r\n" + head, "400", "parameters"},
		{"many parameters of a module", "GET /go/all/up.test/m/@v/list?" + strings.Repeat("&", 40) + " HTTP/1.1\r\n" + head, "404", "parameters"},
		{"absolute form", "GET http://elsewhere.test/api/v1/status HTTP/1.1\r\n" + head, "400", "no proxy"},
		{"absolute form of a module", "GET http://elsewhere.test/go/all/up.test/m/@v/list HTTP/1.1\r\n" + head, "404", "no proxy"},
		{"asterisk form", "OPTIONS * HTTP/1.1\r\n" + head, "400", "no path"},
		{"GET *", "GET * HTTP/1.1\r\n" + head, "400", "no path"},
		{"CONNECT", "CONNECT elsewhere.test:443 HTTP/1.1\r\n" + head, "405", "CONNECT"},
		{"CONNECT a path", "CONNECT /livez HTTP/1.1\r\n" + head, "405", "CONNECT"},
		{"TRACE", "TRACE /livez HTTP/1.1\r\nCookie: secret\r\n" + head, "405", "TRACE"},
		{"TRACE a module", "TRACE /go/all/up.test/m/@v/list HTTP/1.1\r\n" + head, "405", "TRACE"},
		{"two hosts", "GET /livez HTTP/1.1\r\nHost: elsewhere.test\r\n" + head, "400", ""},
		{"one host twice", "GET /livez HTTP/1.1\r\n" + hostLine + head, "400", ""},
		{"no host", "GET /livez HTTP/1.1\r\n" + closeLine + "\r\n", "400", ""},
		{"malformed host", "GET /livez HTTP/1.1\r\nHost: a b\r\n" + closeLine + "\r\n", "400", ""},
		{"two lengths", "POST /api/v1/repos HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n" + head + "{}", "400", ""},
		{"length with a sign", "POST /api/v1/repos HTTP/1.1\r\nContent-Length: +2\r\n" + head + "{}", "400", ""},
		{"other transfer coding", "POST /api/v1/repos HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n" + head + "0\r\n\r\n", "501", ""},
		{"hidden transfer coding", "POST /api/v1/repos HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n" + head + "0\r\n\r\n", "501", ""},
		{"space before the colon", "GET /livez HTTP/1.1\r\nA : b\r\n" + head, "400", ""},
		{"folded header", "GET /livez HTTP/1.1\r\nA: b\r\n c\r\n" + closeLine + "Host: \x00\r\n\r\n", "400", ""},
		{"bare line feed in a chunk", "POST /api/v1/repos HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + head + "2\n{}\r\n0\r\n\r\n", "400", ""},
		{"HTTP/2 in plain text", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400", "no path"},
		{"upgrade to HTTP/2", "GET /livez HTTP/1.1\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nConnection: Upgrade, HTTP2-Settings, close\r\n" + hostLine + "\r\n", "200", ""},
		{"HTTP/3.0", "GET /livez HTTP/3.0\r\n" + head, "505", ""},
	} {
		got := g.exchange(tt.request)
		if !strings.HasPrefix(got, "HTTP/1.1 "+tt.want) || !strings.Contains(got, tt.text) || strings.Contains(got, "secret") {
			t.Errorf("%s: %.200q, want %s %q", tt.name, got, tt.want, tt.text)
		}
	}
}

// TestNothingFollowsAnAmbiguousEnd sends a request with both lengths. Who stands
// before us may have taken the other one for its end, so what follows is no
// request.
func TestNothingFollowsAnAmbiguousEnd(t *testing.T) {
	g := filled(t)
	next := "GET /go/all/up.test/m/@v/list HTTP/1.1\r\n" + hostLine + closeLine + "\r\n"
	for _, lengths := range []string{"Content-Length: 7\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 7\r\n"} {
		for _, target := range []string{"POST /api/v1/repos", "GET /livez"} {
			got := g.exchange(target + " HTTP/1.1\r\n" + hostLine + lengths + "\r\n0\r\n\r\n" + next)
			if strings.Count(got, "HTTP/1.1 ") != 1 || !strings.Contains(got, "Connection: close\r\n") {
				t.Errorf("%s: %q", target, got)
			}
		}
	}
}

// TestHardened holds that every kind of answer has the headers that keep browsers
// from making anything of it.
func TestHardened(t *testing.T) {
	g := filled(t)
	for _, target := range []string{
		"/livez", "/nothing", "/metrics", "/api/v1/status", "/api/v1/repos/none", "/go/all/up.test/m/@v/list", "/go/all/up.test/m/@v/v1.0.0.info",
		"/go/all/up.test/m/@v/v1.0.0.zip", "/go/all/up.test/none/@v/list", "/go/" + strings.Repeat("a", 5000),
	} {
		a := g.get(target)
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Server": "", "X-Powered-By": "", "Strict-Transport-Security": "",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%.40s: %s: %q, want %q", target, name, got, want)
			}
		}
		disposition := ""
		if strings.HasSuffix(target, ".zip") {
			disposition = "attachment"
		}
		if got := a.header.Get("Content-Disposition"); got != disposition {
			t.Errorf("%.40s: Content-Disposition %q", target, got)
		}
	}
}

// TestDeepJSON sends what would take a decoder deep.
func TestDeepJSON(t *testing.T) {
	g := newRegistry(t)
	for n, text := range map[int]string{33: "objects and arrays", 32: "unknown field", 1 << 18: "objects and arrays"} {
		a := g.do("POST", "/api/v1/repos", strings.NewReader(fmt.Sprintf(`{"none":%s%s}`, strings.Repeat("[", n-1), strings.Repeat("]", n-1))))
		if a.status != http.StatusBadRequest || !strings.Contains(a.body, text) {
			t.Errorf("depth %d: %d %s", n, a.status, a.body)
		}
	}
}

// TestLargeJSON sends a body of which only the size is wrong.
func TestLargeJSON(t *testing.T) {
	g := newRegistry(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /api/v1/repos HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", hostLine, 2<<20, strings.Repeat(" ", 2<<20))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Error(resp.Status)
	}
}
