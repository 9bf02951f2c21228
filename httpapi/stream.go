package httpapi

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"registry-node/node"
)

const (
	// keepAliveEvery is how often a stream on which nothing happens says so, for
	// proxies that cut silent connections and to notice clients that are gone.
	keepAliveEvery = 15 * time.Second
	// maxStreams is how many streams there may be at a time: everybody may open
	// one.
	maxStreams = 64
)

var (
	typeEvents = []string{"text/event-stream"}
	unbuffered = []string{"no"} // asks nginx to pass on what comes at once
)

// replicationStream answers with node.Replication, as it is and again whenever
// it changes, as server-sent events. It ends with the client or the server.
func (s *Server) replicationStream(c echo.Context) error {
	w, r := c.Response().Writer.(*writer), c.Request()
	w.kind = kindStream
	if err := s.node.MayLook(w.who); err != nil {
		return err
	}
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		return fail(node.ErrUnavailable, "too many streams are open at this node; close one, or ask /api/v1/replication")
	}
	h := w.Header()
	h["Content-Type"] = typeEvents
	h["Cache-Control"] = cacheNever
	h["X-Accel-Buffering"] = unbuffered
	if r.Method == http.MethodHead {
		return nil
	}
	ctx, cancel := w.untilStop(r.Context())
	out := &eventWriter{w: w, flush: http.NewResponseController(w).Flush}
	var beat sync.WaitGroup
	beat.Go(func() { out.keepAlive(ctx, cancel) })
	defer beat.Wait()
	defer cancel()
	for rep, err := range s.node.ReplicationChanges(ctx, w.who) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := out.send(rep); err != nil {
			return err
		}
	}
	return nil
}

// eventWriter sends server-sent events, each at once.
type eventWriter struct {
	mu    sync.Mutex // held while one is written
	w     http.ResponseWriter
	flush func() error
}

// send sends a value, whose JSON is one line.
func (e *eventWriter) send(v any) error {
	line, err := marshal(v)
	if err != nil {
		return err
	}
	return e.write("data: " + string(line) + "\n")
}

// keepAlive sends comments until ctx ends. It calls lost when the client can't
// be reached.
func (e *eventWriter) keepAlive(ctx context.Context, lost func()) {
	tick := time.NewTicker(keepAliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if e.write(": still here\n\n") != nil {
			lost()
			return
		}
	}
}

func (e *eventWriter) write(text string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.w.Write([]byte(text)); err != nil {
		return err
	}
	return e.flush()
}
