package httpapi

import (
	"cmp"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"registry-node/events"
	"registry-node/node"
)

// Bounds of what is answered from the access log.
const (
	fetchedSince = 30 * 24 * time.Hour
	fetchedLimit = 1000
	fetchedMost  = 10_000
)

// fetched answers from the access log of this node who was given files of a
// module version, newest first.
func (s *Server) fetched(c echo.Context) error {
	if err := s.node.MaySeeReaders(caller(c)); err != nil {
		return err
	}
	q, err := fetchedParams(c, time.Now())
	if err != nil {
		return err
	}
	if !s.access.keeps() {
		return fail(node.ErrNotFound, "this node keeps no access log (serve --access-log off)")
	}
	found, err := s.access.Find(c.Request().Context(), q)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, found)
}

func fetchedParams(c echo.Context, now time.Time) (q AccessQuery, err error) {
	params, err := query(c, "module", "version", "since", "refused", "limit")
	if err != nil {
		return q, err
	}
	if q.Versions, err = blockable(params["module"], params["version"]); err != nil {
		return q, err
	}
	since, err := events.ParseSpan(params["since"])
	if err != nil {
		return q, invalid(err)
	}
	q.Since = now.Add(-since.Or(fetchedSince))
	if q.Refused, err = strconv.ParseBool(cmp.Or(params["refused"], "false")); err != nil {
		return q, fail(node.ErrInvalid, "the parameter refused is "+quote(params["refused"])+", not true or false")
	}
	q.Limit, err = strconv.Atoi(cmp.Or(params["limit"], strconv.Itoa(fetchedLimit)))
	if err != nil || q.Limit < 1 || q.Limit > fetchedMost {
		return q, fail(node.ErrInvalid, "the parameter limit is "+quote(params["limit"])+", not a number from 1 to "+strconv.Itoa(fetchedMost))
	}
	return q, nil
}
