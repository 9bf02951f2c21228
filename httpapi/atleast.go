package httpapi

import (
	"errors"
	"fmt"
	"strings"

	"github.com/labstack/echo/v4"
	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

// atLeastPrefix begins the paths of requests for what holds at a position or
// later: /at-least/<site>/<epoch>/<seq>[/<i>]/go/<repository>/…
const atLeastPrefix = "/at-least/"

// moduleAtLeast answers a request below /at-least/ as one below /go/, once this
// node has applied the entry that the path names. If it has not in time, an
// exact version is still answered, by a peer that is further if need be, and
// nothing else is: what this node has not heard of is not absent.
func (s *Server) moduleAtLeast(c echo.Context) error {
	w, r := c.Response().Writer.(*writer), c.Request()
	w.kind = kindMalformed
	if err := s.checkLoop(r); err != nil {
		return err
	}
	at, rest, err := cutPosition(strings.TrimPrefix(r.URL.EscapedPath(), atLeastPrefix))
	if err != nil {
		return &node.Error{Kind: errPosition, Text: err.Error(), Err: err}
	}
	if err := s.node.MayLook(w.who); errors.Is(err, node.ErrUnauthorized) {
		return err // how far this node is, is not for everybody
	}
	late := s.node.AtLeast(r.Context(), at.Site, at.Mark)
	if late != nil && !errors.Is(late, node.ErrUnavailable) {
		return late
	}
	repo, q, err := s.moduleRequest(w, r, rest, ParsePath)
	switch {
	case late == nil && err != nil:
		return err
	case late == nil:
		return s.answer(w, r, repo, q.Ask)
	case err != nil, !exact(q.Ask): // even the repository may be news
		return late
	}
	repo.AtLeast(at.Site, at.Mark)
	return s.answer(w, r, repo, q.Ask)
}

// cutPosition parses the position that begins the path below /at-least/, and
// returns what follows the /go/ after it.
func cutPosition(path string) (at events.EventID, rest string, err error) {
	const form = "/at-least/<site>/<epoch>/<entry>/go/<repository>/…"
	position, rest, ok := strings.Cut(path, modulesPrefix)
	if !ok {
		return at, "", fmt.Errorf("the path is not of the form %s", form)
	}
	full := position
	if strings.Count(position, "/") == 2 {
		full += "/0" // which of the entry's events makes no difference
	}
	if at, err = events.ParseEventID(full); err != nil {
		return at, "", fmt.Errorf("%q is no position in a site's log, as in %s: %w", clip(position), form, errors.Unwrap(err))
	}
	return at, rest, nil
}

// exact reports whether one version and no other answers what is asked.
func exact(a Ask) bool {
	switch a := a.(type) {
	case Mod, Zip:
		return true
	case Info:
		return module.CanonicalVersion(a.Query) == a.Query
	}
	return false
}
