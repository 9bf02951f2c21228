package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"registry-node/httpapi"
	"registry-node/node"
)

// stream is an open stream of server-sent events.
type stream struct {
	t     *testing.T
	lines *bufio.Scanner
	resp  *http.Response
}

func (g *registry) stream(t *testing.T, base string) *stream {
	t.Helper()
	resp, err := http.Get(base + "/api/v1/replication/stream")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	return &stream{t, bufio.NewScanner(resp.Body), resp}
}

// next returns the next event.
func (s *stream) next() (r node.Replication) {
	s.t.Helper()
	for s.lines.Scan() {
		if data, ok := strings.CutPrefix(s.lines.Text(), "data: "); ok {
			if err := json.Unmarshal([]byte(data), &r); err != nil {
				s.t.Fatal(err)
			}
			return r
		}
	}
	s.t.Fatalf("the stream ended: %v", s.lines.Err())
	return r
}

// TestStreamTellsChanges has a first message at once, and one more for an entry.
func TestStreamTellsChanges(t *testing.T) {
	g := newRegistry(t)
	s := g.stream(t, g.base)
	first := s.next()
	if len(first.Sites) != 1 || first.Sites[0].Logs[g.node.Site()].Seq != g.seq() {
		t.Errorf("at first: %+v", first)
	}
	p := g.publish("corp.test/a", "v1.0.0", tree("corp.test/a"))
	for s.next().Sites[0].Logs[g.node.Site()].Seq < p.Position.Mark.Seq { // until the test's time is over
	}
}

// TestStreamEndsWithTheServer does not hold up one that is told to stop.
func TestStreamEndsWithTheServer(t *testing.T) {
	g := newRegistry(t)
	api := httpapi.New(g.node, httpapi.Options{Grace: time.Hour})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := api.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	s := g.stream(t, "http://"+l.Addr().String())
	s.next()
	stop()
	for s.lines.Scan() {
	}
	if err := s.lines.Err(); err != nil {
		t.Errorf("the stream did not end, but broke off: %v", err)
	}
	serving.Wait()
}

// TestStreamsAreBounded as everybody may open one.
func TestStreamsAreBounded(t *testing.T) {
	g := newRegistry(t)
	done := g.server.FillStreams()
	checkProblem(t, g.get("/api/v1/replication/stream"), http.StatusServiceUnavailable, "too many streams")
	done()
	g.stream(t, g.base).next()
}
