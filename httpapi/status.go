package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// livez says that the process answers.
func (s *Server) livez(c echo.Context) error {
	text(c, http.StatusOK, "ok")
	return nil
}

// readyz says whether the node takes writes, and if not, why.
func (s *Server) readyz(c echo.Context) error {
	err := s.node.Ready()
	switch {
	case err == nil:
	case s.node.MayLook(caller(c)) != nil:
		text(c, http.StatusServiceUnavailable, "this node takes no writes; registry-node status says why")
		return nil
	default:
		text(c, http.StatusServiceUnavailable, err.Error())
		return nil
	}
	text(c, http.StatusOK, "ok")
	return nil
}

func text(c echo.Context, status int, s string) {
	w := c.Response().Writer.(*writer)
	w.Header()["Cache-Control"] = cacheNever
	send(w, c.Request(), status, typeText, []byte(plainText(s)))
}

// showMetrics answers with what Prometheus reads.
func (s *Server) showMetrics(c echo.Context) error {
	if err := s.node.MayLook(caller(c)); err != nil {
		return err
	}
	c.Response().Writer.(*writer).uncached = true // each caller sees their own
	s.metrics.handler(s.node, caller(c)).ServeHTTP(c.Response(), c.Request())
	return nil
}

// status answers with node.Status.
func (s *Server) status(c echo.Context) error {
	st, err := s.node.Status(caller(c))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, st)
}

// replication answers with node.Replication.
func (s *Server) replication(c echo.Context) error {
	r, err := s.node.Replication(caller(c))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, r)
}
