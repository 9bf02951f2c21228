package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"registry-node/httpapi"
)

// sink is a ResponseWriter that costs nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkHandler measures what a hot read costs from net/http's call on.
func BenchmarkHandler(b *testing.B) {
	g := filled(b)
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
		b.Run(target[len("/go/"):], func(b *testing.B) {
			r := httptest.NewRequest("GET", target, nil)
			w := &sink{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				h.ServeHTTP(w, r)
			}
		})
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
