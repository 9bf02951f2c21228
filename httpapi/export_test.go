package httpapi

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// SetPace makes paceTime shorter, before the server serves.
func (s *Server) SetPace(d time.Duration) { s.pace = d }

// SetHeaderTime changes headerTimeout, before the server serves.
func (s *Server) SetHeaderTime(d time.Duration) { s.header = d }

// Failure is what a client is told of err.
func Failure(ctx context.Context, err error, module bool) (status int, code, text, cache string) {
	f := failureOf(ctx, err, module)
	return f.status, f.code, f.text, f.cache(err)[0]
}

// PlainText makes a text fit for the go command.
func PlainText(s string) string { return plainText(s) }

// Kinds are the kinds of error in the table.
func Kinds() (list []error) {
	for _, k := range kinds {
		list = append(list, k.kind)
	}
	return list
}

// SetWork marks a verification or rebuild as under way, until done is called.
func (s *Server) SetWork() (done func()) {
	s.work.Lock()
	return s.work.Unlock
}

// ServeArriving is a handler that answers with a zip that is not here in whole.
func (s *Server) ServeArriving(zip io.ReadSeeker, done func(error)) http.Handler {
	h := s.handler(context.Background(), Admin)
	h.echo.GET("/arriving", func(c echo.Context) error {
		c.Response().Header().Set("Content-Type", "application/zip")
		err := serveArriving(c.Response().Writer.(*writer), c.Request(), time.Time{}, zip)
		done(err)
		return err
	})
	return h
}

// FillStreams opens as many streams as there may be, until done is called.
func (s *Server) FillStreams() (done func()) {
	for range maxStreams {
		s.streams <- struct{}{}
	}
	return func() {
		for range maxStreams {
			<-s.streams
		}
	}
}

// Gate is a gate.
type Gate struct{ g *gate }

func NewGate() Gate        { return Gate{newGate()} }
func (g Gate) Enter() bool { return g.g.enter() }
func (g Gate) Leave()      { g.g.leave() }
func (g Gate) Close()      { g.g.close() }

// Note is note.
func (l *AccessLog) Note(a Access) { l.note(a) }

// Flush is flush.
func (l *AccessLog) Flush(ctx context.Context) error { return l.flush(ctx) }

// Line is appendLine.
func (a Access) Line() []byte { return a.appendLine(nil) }

// Note is note.
func (l *AuditLog) Note(a Audit) { l.note(a) }

// Summed is summed.
func (l *AuditLog) Summed(a Audit) { l.summed(a) }

// FailedLogin is summed for a failed login.
func (l *AuditLog) FailedLogin(a Audit) {
	a.Action = loginFailed
	l.summed(a)
}

// Sums returns how much is summed up apart.
func (l *AuditLog) Sums() int { return len(l.sums.sums) }

// SetPerDay changes auditRefused, before the log is opened.
func (l *AuditLog) SetPerDay(n int64) { l.log.cfg.perDay = n }

// Panicking is Handler for loopback, with a path /panic that panics.
func (s *Server) Panicking() http.Handler {
	h := s.handler(context.Background(), Loopback)
	h.echo.GET("/panic", func(c echo.Context) error { panic("on purpose") })
	return h
}

// Routes returns the routes, as METHOD PATH.
func (s *Server) Routes() (routes []string) {
	for _, r := range s.routes(Loopback).Routes() {
		routes = append(routes, r.Method+" "+r.Path)
	}
	return routes
}

// Actions are the actions of the audit log, by route.
var Actions = actions

// SetLimits changes the limits, before the server serves; nobody waits for a turn.
func (s *Server) SetLimits(l Limits) { s.limiter = newLimiter(l); s.limiter.patience = 0 }
