package httpapi_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"registry-node/events"
	"registry-node/httpapi"
	"registry-node/node"
)

// sink is a ResponseWriter that costs nothing.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkHandler measures what a hot read costs from net/http's call on, without
// credentials, and as a user who shows a token.
func BenchmarkHandler(b *testing.B) {
	g := filled(b)
	_, _, err := g.node.PutUser(b.Context(), op, "ann", node.UserChange{})
	token, err2 := g.node.IssueToken(b.Context(), op, node.NewToken{User: "ann"})
	_, _, err3 := g.node.PutPermission(b.Context(), op, "ann", events.Grant{Principals: []string{"user:ann"}, Repos: []string{"*"}, Actions: []string{"read"}})
	if err := errors.Join(err, err2, err3); err != nil {
		b.Fatal(err)
	}
	for i := range 50 {
		g.proxy.add(b, "up.test/many", fmt.Sprintf("v1.%d.0", i), tree("up.test/many"))
	}
	h := g.server.Handler(httpapi.Loopback)
	for _, target := range []string{
		"/go/local/corp.test/a/@v/v1.0.0.info",
		"/go/all/corp.test/a/@v/v1.0.0.info",
		"/go/all/up.test/m/@v/v1.0.0.info",
		"/go/all/up.test/m/@v/v1.0.0.mod",
		"/go/all/up.test/%21big/%21case/@v/v1.0.0-%21beta.mod",
		"/go/all/corp.test/a/@v/list",
		"/go/all/up.test/m/@v/list",
		"/go/all/up.test/many/@v/list",
		"/go/all/up.test/m/@v/v1.0.0.zip",
	} {
		for _, secret := range []string{"", token.Token} {
			b.Run(fmt.Sprintf("%s token=%t", target[len("/go/"):], secret != ""), func(b *testing.B) {
				r := httptest.NewRequest("GET", target, nil)
				r.Host, r.RemoteAddr = "localhost", "127.0.0.1:1"
				if secret != "" {
					r.Header.Set("Authorization", "Bearer "+secret)
				}
				w := &sink{header: http.Header{}}
				b.ReportAllocs()
				for b.Loop() {
					clear(w.header)
					h.ServeHTTP(w, r)
				}
				if w.status != http.StatusOK && w.status != 0 {
					b.Errorf("status %d", w.status)
				}
			})
		}
	}
}

// BenchmarkServer measures whole requests over loopback, with a client that does
// next to nothing. The first row is what net/http costs by itself.
func BenchmarkServer(b *testing.B) {
	g := filled(b)
	g.publishLarge("corp.test/small", 100<<10)
	g.publishLarge("corp.test/large", 10<<20)
	bare := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, infoOf("v1.0.0"))
	}))
	defer bare.Close()
	for _, t := range []struct{ name, base, target string }{
		{"bare", bare.URL, "/"},
		{"info", g.base, "/go/all/up.test/m/@v/v1.0.0.info"},
		{"mod", g.base, "/go/all/up.test/m/@v/v1.0.0.mod"},
		{"list", g.base, "/go/all/up.test/m/@v/list"},
		{"zip 100 KiB", g.base, "/go/all/corp.test/small/@v/v1.0.0.zip"},
		{"zip 10 MiB", g.base, "/go/all/corp.test/large/@v/v1.0.0.zip"},
	} {
		b.Run(t.name, func(b *testing.B) {
			b.SetBytes(int64(len(do(b, http.DefaultClient, "GET", t.base, t.target, nil).body)))
			b.RunParallel(func(pb *testing.PB) { repeat(b, pb, t.base, t.target) })
		})
	}
}

// repeat sends a request again and again on one connection.
func repeat(b *testing.B, pb *testing.PB, base, target string) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		b.Error(err)
		return
	}
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 64<<10)
	request := []byte("GET " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
	for pb.Next() {
		if _, err := conn.Write(request); err != nil {
			b.Error(err)
			return
		}
		length := 0
		for line := ""; line != "\r\n"; {
			if line, err = in.ReadString('\n'); err != nil {
				b.Error(err)
				return
			}
			if v, ok := strings.CutPrefix(line, "Content-Length: "); ok {
				length, _ = strconv.Atoi(strings.TrimSpace(v))
			}
		}
		if _, err := in.Discard(length); err != nil {
			b.Error(err)
			return
		}
	}
}

func BenchmarkParsePath(b *testing.B) {
	for _, p := range []string{"up.test/m/@v/v1.0.0.info", "up.test/%21m/@v/v1.0.0-%21b.info"} {
		b.Run(p, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := httpapi.ParsePath(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
