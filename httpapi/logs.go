package httpapi

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"registry-node/events"
	"registry-node/node"
)

// log answers with the events of a site's log, from an entry on, as CloudEvents:
// one JSON object per line. It ends with the log, and is cut if it can't be
// read to there.
func (s *Server) log(c echo.Context) error {
	site, from, err := logParams(c)
	if err != nil {
		return err
	}
	entries, err := s.node.Log(caller(c), site, from)
	if err != nil {
		return err
	}
	w, r := c.Response().Writer.(*writer), c.Request()
	h := w.Header()
	h["Content-Type"] = typeLines
	h["Cache-Control"] = cacheNever
	if r.Method == http.MethodHead {
		return nil
	}
	out := bufio.NewWriterSize(w, 32<<10)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	for e, err := range entries {
		if err == nil {
			err = r.Context().Err()
		}
		if err != nil {
			return err
		}
		for _, ev := range e.CloudEvents() {
			if err := lines.Encode(ev); err != nil {
				return err
			}
		}
	}
	return out.Flush()
}

func logParams(c echo.Context) (site events.Site, from uint64, err error) {
	params, err := query(c, "site", "from")
	if err != nil {
		return site, 0, err
	}
	if s := params["site"]; s != "" {
		if site, err = events.ParseSite(s); err != nil {
			return site, 0, invalid(err)
		}
	}
	if s := params["from"]; s != "" {
		if from, err = strconv.ParseUint(s, 10, 53); err != nil {
			return site, 0, fail(node.ErrInvalid, "the parameter from is "+quote(s)+", not the number of an entry")
		}
	}
	return site, from, nil
}
