package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/module"
)

// TestMissesAreJoined asks for each thing a thousand times at once, while the
// upstream keeps everybody waiting: it gets one request for each.
func TestMissesAreJoined(t *testing.T) {
	up := newUpstream(t)
	for i := range 4 {
		v := fmt.Sprintf("v1.0.%d", i)
		up.add("pub.example/m", v, library("pub.example/m", v))
	}
	up.add(branchPath, branchPseudo, library(branchPath, branchPseudo))
	up.queries[module.Version{Path: branchPath, Version: "main"}] = branchPseudo
	s := serve(t, up.settings()...)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}
	defer client.CloseIdleConnections()

	for _, tt := range []struct {
		path   string // below /go/all/
		status int
		once   []string // the requests to the upstream, one of each
	}{
		{"pub.example/m/@v/list", 200, []string{"/m/@v/list"}},
		{"pub.example/m/@v/v1.0.0.info", 200, []string{"/v1.0.0.info", "/v1.0.0.mod"}},
		{"pub.example/m/@v/v1.0.1.mod", 200, []string{"/v1.0.1.info", "/v1.0.1.mod"}},
		{"pub.example/m/@v/v1.0.2.zip", 200, []string{"/v1.0.2.info", "/v1.0.2.mod", "/v1.0.2.zip"}},
		{"pub.example/lib/@v/main.info", 200, []string{"/lib/@v/main.info"}},
		{"pub.example/lib/@latest", 200, []string{"/lib/@v/list", "/lib/@latest"}},
		{"pub.example/m/@v/v1.9.9.info", 404, []string{"/v1.9.9.info"}},
		{"pub.example/m/@v/v1.9.8.mod", 404, []string{"/v1.9.8.mod"}},
		{"pub.example/m/@v/v1.9.7.zip", 404, []string{"/v1.9.7.zip"}},
		{"pub.example/m/@v/nosuch.info", 404, []string{"/nosuch.info"}},
		{"pub.example/x/@v/list", 404, []string{"/x/@v/list"}},
		{"pub.example/y/@latest", 404, []string{"/y/@v/list"}},
		{"pub.example/z/@v/v1.0.0.info", 404, []string{"/z/@v/v1.0.0.info"}},
		{"pub.example/z/@v/v1.0.1.mod", 404, []string{"/z/@v/v1.0.1.mod"}},
		{"pub.example/z/@v/v1.0.2.zip", 404, []string{"/z/@v/v1.0.2.zip"}},
	} {
		gate := make(chan struct{})
		up.mu.Lock()
		up.gate = gate
		up.mu.Unlock()
		for _, status := range s.crowd(client, "/go/all/"+tt.path, func() { close(gate) }) {
			if status != tt.status {
				t.Fatalf("%s: %d, want %d", tt.path, status, tt.status)
			}
		}
		if a := s.get("/go/all/" + tt.path); a.status != tt.status {
			t.Errorf("%s again: %d, want %d", tt.path, a.status, tt.status)
		}
		for _, path := range tt.once {
			if n := up.count(path); n != 1 {
				t.Errorf("%s: the upstream was asked %d times for %s", tt.path, n, path)
			}
		}
	}
}

// crowd sends a thousand requests for one path at once and calls allSent when
// all are with the node. It returns the status of each answer.
func (s *server) crowd(client *http.Client, path string, allSent func()) []int {
	s.t.Helper()
	statuses := make([]int, 1000)
	var sent, done sync.WaitGroup
	for i := range statuses {
		sent.Add(1)
		once := sync.OnceFunc(sent.Done) // a request may be sent again on another connection
		trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { once() }}
		done.Go(func() {
			defer once()
			req, err := http.NewRequestWithContext(httptrace.WithClientTrace(s.t.Context(), trace), http.MethodGet, s.URL+path, nil)
			if err != nil {
				s.t.Error(err)
				return
			}
			resp, err := client.Do(req)
			if err != nil {
				s.t.Error(err)
				return
			}
			defer resp.Body.Close()
			statuses[i] = resp.StatusCode
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				s.t.Error(err)
			}
		})
	}
	sent.Wait()
	allSent()
	done.Wait()
	return statuses
}

// TestBadUpstreamLeavesNothing: whatever an upstream does wrong is a failure of
// the server, of which nothing is kept; when the upstream is right again, so is
// the answer.
func TestBadUpstreamLeavesNothing(t *testing.T) {
	t.Parallel() // stalls take their time
	up := newUpstream(t)
	s := serve(t, up.settings()...)
	stall := make(chan struct{})
	t.Cleanup(func() { close(stall) }) // runs before the upstream's, which waits for its requests
	html := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<!DOCTYPE html><html><body>Please log in</body></html>")
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", code) }
	}
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) }
	}
	truncated := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		io.WriteString(w, `{"Version":"v1.0.0"`)
	}
	reset := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	stalledHeader := func(http.ResponseWriter, *http.Request) { <-stall }
	stalledBody := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "50000") // of a longer one, what has come is passed on at once
		io.WriteString(w, "PK")
		w.(http.Flusher).Flush()
		<-stall
	}
	zipFor := func(path, what string) http.HandlerFunc {
		mv := module.Version{Path: path, Version: "v1.0.0"}
		return func(w http.ResponseWriter, _ *http.Request) { w.Write(zipOf(mv, library(path, what))) }
	}

	for _, tt := range []struct {
		name, file string // of v1.0.0, or the list
		fault      http.HandlerFunc
		slow       bool
	}{
		{"error-info", ".info", status(500), false}, {"error-mod", ".mod", status(500), false},
		{"error-zip", ".zip", status(503), false}, {"error-list", "list", status(500), false},
		{"busy-info", ".info", status(429), false},
		{"html-info", ".info", html, false}, {"html-mod", ".mod", html, false},
		{"html-zip", ".zip", html, false}, {"html-list", "list", html, false},
		{"short-info", ".info", truncated, false}, {"short-mod", ".mod", truncated, false},
		{"short-zip", ".zip", truncated, false}, {"short-list", "list", truncated, false},
		{"reset-info", ".info", reset, false}, {"reset-zip", ".zip", reset, false}, {"reset-list", "list", reset, false},
		{"hash-mod", ".mod", text("module pub.example/hash-mod\n\nrequire evil.example v1.0.0\n"), false},
		{"hash-zip", ".zip", zipFor("pub.example/hash-zip", "something else"), false},
		{"foreign-zip", ".zip", zipFor("pub.example/other", "v1.0.0"), false},
		{"version-info", ".info", text(`{"Version":"v1.0.1"}`), false},
		{"stall-info", ".info", stalledHeader, true}, {"stall-zip", ".zip", stalledBody, true}, {"stall-list", "list", stalledHeader, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.slow && testing.Short() {
				t.Skip("takes half a minute")
			}
			path := "pub.example/" + tt.name
			mv := up.add(path, "v1.0.0", library(path, "v1.0.0"))
			suffix := path + "/@v/v1.0.0" + tt.file
			ask := "/go/all/" + path + "/@v/v1.0.0.zip"
			if tt.file == "list" {
				suffix = path + "/@v/list"
				ask = "/go/all/" + suffix
			}
			up.fault(suffix, tt.fault)
			a := s.get(ask)
			if a.status/100 != 5 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") || len(a.body) == 0 {
				t.Errorf("%d %s %.200q, want 5xx with a text", a.status, a.header.Get("Content-Type"), a.body)
			}
			for _, e := range s.log(1) {
				// What is beside a bad zip may be right, and is recorded.
				if bytes.Contains(e.Data, []byte(`"`+path+`"`)) && (tt.file != ".zip" || bytes.Contains(e.Data, []byte(`"zip"`))) {
					t.Errorf("it was recorded: %s %s", e.Type, e.Data)
				}
			}
			up.fault(suffix, nil)
			if tt.file == "list" {
				return // a failure stands for some seconds
			}
			if a := s.get(ask); a.status != http.StatusOK || !bytes.Equal(a.body, zipOf(mv, library(path, "v1.0.0"))) {
				t.Errorf("from a healed upstream: %d %.200q", a.status, a.body)
			}
		})
	}
}

// TestDeadUpstreamIsNoAbsence: what may exist is never denied for lack of an
// upstream, and what is held is served.
func TestDeadUpstreamIsNoAbsence(t *testing.T) {
	up := newUpstream(t)
	mv := up.add("pub.example/m", "v1.0.0", library("pub.example/m", "v1.0.0"))
	s := serve(t, up.settings()...)
	s.owns()
	if a := s.get("/go/all/pub.example/m/@v/v1.0.0.zip"); a.status != http.StatusOK {
		t.Fatalf("fill: %d %s", a.status, a.body)
	}
	up.Close()
	for _, tt := range []struct {
		path   string
		status int
	}{
		{"pub.example/m/@v/v1.0.0.info", 200},
		{"pub.example/m/@v/v1.0.0.mod", 200},
		{"pub.example/m/@v/v1.0.0.zip", 200},
		{"pub.example/m/@v/list", 200},
		{"pub.example/m/@latest", 200},
		{"pub.example/m/@v/v1.0.1.info", 502},
		{"pub.example/m/@v/v1.0.1.mod", 502},
		{"pub.example/m/@v/v1.0.1.zip", 502},
		{"pub.example/m/@v/main.info", 502},
		{"pub.example/unknown/@v/list", 502},
		{"pub.example/unknown/@latest", 502},
		{"pub.example/unknown/@v/v1.0.0.info", 502},
		{"pub.example/unknown/@v/main.info", 502},
		{"pub.example/@v/list", 502},       // a parent of what is held may be a module
		{"pub.example/m/sub/@v/list", 404}, // below what is held, see GOPROXY candidate paths
		{"corp.example/unknown/@v/list", 404},
		{"corp.example/unknown/@v/v1.0.0.info", 404},
		{"not%20a%20path/@v/list", 404},
	} {
		if a := s.get("/go/all/" + tt.path); a.status != tt.status {
			t.Errorf("%s: %d %.200q, want %d", tt.path, a.status, a.body, tt.status)
		}
	}
	if a := s.get("/go/all/pub.example/m/@v/v1.0.0.zip"); !bytes.Equal(a.body, zipOf(mv, library(mv.Path, mv.Version))) {
		t.Error("the held zip is not the upstream's")
	}
}
