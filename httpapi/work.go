package httpapi

import (
	"context"
	"encoding"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"registry-node/events"
	"registry-node/node"
)

// verify checks all that can be checked, see node.Verify.
func (s *Server) verify(c echo.Context) error {
	return s.longWork(c, func(ctx context.Context, progress func(string, uint64)) (any, error) {
		return s.node.Verify(ctx, caller(c), progress)
	})
}

// rebuild makes the index anew, see node.Rebuild.
func (s *Server) rebuild(c echo.Context) error {
	return s.longWork(c, func(ctx context.Context, progress func(string, uint64)) (any, error) {
		head, err := s.node.Rebuild(ctx, caller(c), func(entries uint64) { progress("log", entries) })
		return rebuilt{head.Position, head.StateHash}, err
	})
}

// rebuilt is the head of the site's log in a new index.
type rebuilt struct {
	Position  events.Position        `json:"position"`
	StateHash encoding.TextMarshaler `json:"state_hash"`
}

// longWork does work, one at a time, and answers with JSON lines: how far it is,
// and at the end its result or error. The work ends when the client goes away.
func (s *Server) longWork(c echo.Context, work func(ctx context.Context, progress func(string, uint64)) (any, error)) error {
	if err := s.node.MayAudit(caller(c)); err != nil { // before anybody learns that one is under way
		return err
	}
	if !s.work.TryLock() {
		return fail(node.ErrUnavailable, "a verification or a rebuild is under way already; try again when it is done")
	}
	defer s.work.Unlock()
	ctx, cancel := context.WithCancelCause(c.Request().Context())
	defer cancel(nil)
	w := c.Response().Writer.(*writer)
	h := w.Header()
	h["Content-Type"] = typeLines
	h["Cache-Control"] = cacheNever
	lines := &lineWriter{w: w, flush: http.NewResponseController(w).Flush, failed: cancel}

	result, err := work(ctx, lines.progress)
	if err != nil {
		if w.status == 0 || ctx.Err() != nil {
			return err
		}
		f := failureOf(ctx, err, false)
		auditOf(c).Code = f.code
		if f.internal {
			s.logger.Error("request failed", "method", c.Request().Method, "path", c.Path(), "error", err)
		}
		lines.send(problemOf(f))
		return nil
	}
	lines.send(struct {
		Result any `json:"result"`
	}{result})
	return nil
}

// progressEvery is the least time between two lines of progress.
const progressEvery = 250 * time.Millisecond

// lineWriter sends JSON values as lines, each at once.
type lineWriter struct {
	w      http.ResponseWriter
	flush  func() error
	failed func(error) // told when the client can't be reached

	mu   sync.Mutex // held while a line is written; guards last
	last time.Time  // of the last line of progress
}

func (l *lineWriter) progress(what string, done uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.last) < progressEvery {
		return
	}
	l.last = now
	l.write(struct {
		What string `json:"what"`
		Done uint64 `json:"done"`
	}{what, done})
}

func (l *lineWriter) send(v any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write(v)
}

func (l *lineWriter) write(v any) {
	line, err := marshal(v)
	if err != nil {
		l.failed(err)
		return
	}
	if _, err := l.w.Write(line); err != nil {
		l.failed(err)
		return
	}
	if err := l.flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		l.failed(err)
	}
}
