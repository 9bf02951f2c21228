package httpapi_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/httpapi"
)

// from returns a client that asks from an address.
func from(g *registry, addr string) func(method, target string, body []byte) answer {
	h := g.server.Handler(httpapi.Loopback)
	return func(method, target string, body []byte) answer {
		r := httptest.NewRequest(method, target, bytes.NewReader(body))
		r.RemoteAddr, r.Host = addr+":1", "localhost"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return answer{w.Code, w.Header(), w.Body.String()}
	}
}

// TestRequestsAreLimited has clients ask more than they may, and others not.
func TestRequestsAreLimited(t *testing.T) {
	g := filled(t)
	g.server.SetLimits(httpapi.Limits{Address: 2})
	one, other, here := from(g, "192.0.2.1"), from(g, "192.0.2.2"), from(g, "127.0.0.1")
	const burst = 20
	// refused asks until it is refused, and returns how many answers it got before:
	// two a second are allowed while it asks.
	refused := func(target string, status, otherwise int) (got int) {
		t.Helper()
		begin, a := time.Now(), answer{status: otherwise}
		for ; a.status == otherwise && got <= burst+2*int(time.Since(begin).Seconds()+1); got++ {
			a = one("GET", target, nil)
		}
		if a.status != status || !strings.Contains(a.body, "too many") || a.header.Get("Retry-After") == "" || a.header.Get("Cache-Control") != never {
			t.Errorf("GET %s, %d times: %d %v %s, want %d", target, got, a.status, a.header, a.body, status)
		}
		return got - 1
	}
	if got := refused("/go/all/corp.test/a/@v/list", http.StatusServiceUnavailable, http.StatusOK); got < burst {
		t.Errorf("refused after %d requests, want %d", got, burst)
	}
	refused("/api/v1/status", http.StatusTooManyRequests, http.StatusOK)
	refused("/nothing", http.StatusTooManyRequests, http.StatusNotFound)
	if a := one("GET", "/livez", nil); a.status != http.StatusOK {
		t.Errorf("/livez: %d", a.status)
	}
	if a := other("GET", "/go/all/corp.test/a/@v/list", nil); a.status != http.StatusOK {
		t.Errorf("another client: %d", a.status)
	}
	for range 3 * burst {
		if a := here("GET", "/api/v1/status", nil); a.status != http.StatusOK {
			t.Fatalf("on this machine: %d", a.status)
		}
	}
}

// TestPublishesAreLimited publishes more than one may.
func TestPublishesAreLimited(t *testing.T) {
	g := newRegistry(t)
	g.server.SetLimits(httpapi.Limits{Publishes: 2})
	one := from(g, "192.0.2.1")
	for i, want := range []int{http.StatusCreated, http.StatusCreated, http.StatusTooManyRequests} {
		version := fmt.Sprintf("v1.0.%d", i)
		zip, _ := zipOf(t, module.Version{Path: "corp.test/a", Version: version}, tree("corp.test/a"))
		if a := one("PUT", "/api/v1/repos/local/modules/corp.test/a/@v/"+version, zip); a.status != want {
			t.Errorf("%s: %d %s, want %d", version, a.status, a.body, want)
		}
	}
	for _, path := range []string{"/artifactory/local/", "/artifactory/api/go/local/"} {
		zip, _ := zipOf(t, module.Version{Path: "corp.test/a", Version: "v1.0.3"}, tree("corp.test/a"))
		if a := one("PUT", path+"corp.test/a/@v/v1.0.3.zip", zip); a.status != http.StatusTooManyRequests {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := one("GET", "/go/local/corp.test/a/@v/list", nil); a.body != "v1.0.0\nv1.0.1\n" {
		t.Errorf("reading: %d %s", a.status, a.body)
	}
}

// TestMissesAreLimited asks for names that are made up, until no upstream is asked
// any more. What is held, and what is known not to be there, is answered as ever.
func TestMissesAreLimited(t *testing.T) {
	for _, kind := range []string{"/@v/list", "/@latest", "/@v/v1.0.0.info", "/@v/v1.0.0.mod", "/@v/v1.0.0.zip", "/@v/main.info"} {
		t.Run(kind, func(t *testing.T) {
			g := filled(t)
			const held = "/go/all/up.test/m/@v/v1.0.0.info"
			g.get(held)
			g.server.SetLimits(httpapi.Limits{Misses: 2})
			const burst = 20
			one, other, here := from(g, "192.0.2.1"), from(g, "192.0.2.2"), from(g, "127.0.0.1")
			name := func(i int) string { return fmt.Sprintf("/go/all/none.test/m%d%s", i, kind) }
			before := g.proxy.asked.Load()
			missed, refused := 0, answer{}
			for i := range 2 * burst {
				switch a := one("GET", name(i), nil); a.status {
				case http.StatusNotFound:
					missed++
				default:
					refused = a
				}
			}
			if refused.status != http.StatusServiceUnavailable || refused.header.Get("Retry-After") == "" || !strings.Contains(refused.body, "no upstream is asked now") {
				t.Errorf("the last: %d %v %s", refused.status, refused.header, refused.body)
			}
			// @latest is a list first, and a zip comes with a go.mod and an info.
			if asked := g.proxy.asked.Load() - before; missed < burst/2 || missed > burst+1 || asked > 3*(burst+1) {
				t.Errorf("%d names were missed, with %d questions", missed, asked)
			}
			asked := g.proxy.asked.Load()
			for what, want := range map[string]int{held: 200, name(0): 404, name(burst * 2): 503, "/go/all/corp.test/a/@v/list": 200, "/go/all/corp.test/none/@v/list": 404} {
				if a := one("GET", what, nil); a.status != want {
					t.Errorf("%s: %d %s, want %d", what, a.status, a.body, want)
				}
			}
			if got := g.proxy.asked.Load(); got != asked {
				t.Errorf("the upstream was asked %d times", got-asked)
			}
			for _, ask := range []func(string, string, []byte) answer{other, here} {
				if a := ask("GET", name(burst*3), nil); a.status != http.StatusNotFound {
					t.Errorf("another client: %d %s", a.status, a.body)
				}
			}
		})
	}
}

// TestMissesAtOnceAreLimited asks for all made-up names at the same time, and in
// between for what is there, which costs nothing.
func TestMissesAtOnceAreLimited(t *testing.T) {
	g := filled(t)
	g.server.SetLimits(httpapi.Limits{Misses: 1})
	const burst = 10
	one := from(g, "192.0.2.1")
	for i := range 3 * burst {
		version := fmt.Sprintf("v1.0.%d", i+1)
		g.proxy.add(t, "up.test/there", version, tree("up.test/there"))
		if a := one("GET", "/go/public/up.test/there/@v/"+version+".info", nil); a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", version, a.status, a.body)
		}
	}
	before := g.proxy.asked.Load()
	var asking sync.WaitGroup
	for i := range 10 * burst {
		asking.Go(func() { one("GET", fmt.Sprintf("/go/public/none.test/m%d/@v/list", i), nil) })
	}
	asking.Wait()
	if asked := g.proxy.asked.Load() - before; asked < burst || asked > burst+1 {
		t.Errorf("the upstream was asked %d times", asked)
	}
}

// TestLookupsAreLimited is TestMissesAreLimited for the checksum database.
func TestLookupsAreLimited(t *testing.T) {
	g := filled(t)
	newDatabase(t, g)
	const lookup = "/go/checked/sumdb/sum.test/lookup/up.test/"
	g.get(lookup + "m@v1.2.0")
	g.server.SetLimits(httpapi.Limits{Misses: 1})
	one := from(g, "192.0.2.1")
	last := answer{}
	for i := range 11 {
		last = one("GET", fmt.Sprintf("%snone%d@v1.0.0", lookup, i), nil)
	}
	if last.status != http.StatusServiceUnavailable || !strings.Contains(last.body, "no upstream is asked now") {
		t.Errorf("the last: %d %s", last.status, last.body)
	}
	for target, want := range map[string]int{lookup + "m@v1.2.0": 200, lookup + "m@v1.10.0": 503, "/go/checked/sumdb/sum.test/supported": 200} {
		if a := one("GET", target, nil); a.status != want {
			t.Errorf("%s: %d %s, want %d", target, a.status, a.body, want)
		}
	}
}
