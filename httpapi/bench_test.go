package httpapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
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

// BenchmarkServer measures whole requests over loopback, client included.
func BenchmarkServer(b *testing.B) {
	g := filled(b)
	g.publishLarge("corp.test/large", 100<<10)
	for _, target := range []string{"/livez", "/go/all/up.test/m/@v/v1.0.0.info", "/go/all/up.test/m/@v/list", "/go/all/corp.test/large/@v/v1.0.0.zip"} {
		b.Run(target[1:], func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if a := g.get(target); a.status != http.StatusOK {
						b.Error(a.status)
					}
				}
			})
		})
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
