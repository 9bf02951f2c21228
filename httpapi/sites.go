package httpapi

import (
	"cmp"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"registry-node/events"
	"registry-node/node"
)

const (
	defaultInvitation = time.Hour
	maxInvitation     = 7 * 24 * time.Hour
)

// invite makes an invitation for the site that the body names. The answer holds
// a secret.
func (s *Server) invite(c echo.Context) error {
	var in struct {
		Name  events.Site `json:"name"`
		Valid string      `json:"valid"` // empty: an hour
		// Rights are those of the site's operator elsewhere: none, publish or manage;
		// empty: publish.
		Rights node.SiteRights `json:"rights"`
	}
	if err := decode(c, &in); err != nil {
		return err
	}
	if in.Name.IsZero() {
		return fail(node.ErrInvalid, "the body lacks the name of the site that is invited")
	}
	valid, err := time.ParseDuration(cmp.Or(in.Valid, defaultInvitation.String()))
	if err != nil || valid <= 0 || valid > maxInvitation {
		return fail(node.ErrInvalid, "valid is "+quote(in.Valid)+", not a time like 1h, which is more than none and at most "+maxInvitation.String())
	}
	inv, err := s.node.Invite(c.Request().Context(), caller(c), in.Name, valid, in.Rights)
	if err != nil {
		return err
	}
	return reply(c, http.StatusCreated, inv)
}

// listSites answers with the sites that the registry knows.
func (s *Server) listSites(c echo.Context) error {
	sites, err := s.node.Sites(caller(c))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, struct {
		Sites []node.SiteInfo `json:"sites"`
	}{some(sites)})
}

// removeSite ends the membership of a site.
func (s *Server) removeSite(c echo.Context) error {
	site, err := siteParam(c)
	if err != nil {
		return err
	}
	params, err := query(c, "reason")
	if err != nil {
		return err
	}
	info, err := s.node.RemoveSite(c.Request().Context(), caller(c), site, params["reason"])
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, info)
}

// leave ends the membership of this node's site.
func (s *Server) leave(c echo.Context) error {
	if err := s.node.Leave(c.Request().Context(), caller(c)); err != nil {
		return err
	}
	return noContent(c)
}

// moveHome moves the home of a repository or of the registry. As the empty name
// stands for the registry, a body that forgets to name anything is refused.
func (s *Server) moveHome(c echo.Context) error {
	var in struct {
		Repo   *events.RepoName `json:"repository"` // "": the registry
		To     events.Site      `json:"to"`
		Force  bool             `json:"force"`
		Reason string           `json:"reason"`
	}
	if err := decode(c, &in); err != nil {
		return err
	}
	if in.Repo == nil {
		return fail(node.ErrInvalid, `the body lacks the repository whose home moves; "" is the registry itself`)
	}
	if in.To.IsZero() {
		return fail(node.ErrInvalid, "the body lacks the site to which the home moves")
	}
	move, err := s.node.MoveHome(c.Request().Context(), caller(c), in.Repo.String(), in.To, in.Force, in.Reason)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, move)
}

// newEpoch lets this site's log go on without what it lost.
func (s *Server) newEpoch(c echo.Context) error {
	at, err := s.node.NewEpoch(c.Request().Context(), caller(c))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, at)
}

// diff answers with the rows in which this site and another one differ.
func (s *Server) diff(c echo.Context) error {
	site, err := siteParam(c)
	if err != nil {
		return err
	}
	d, err := s.node.Diff(c.Request().Context(), caller(c), site)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, d)
}

// siteParam returns the site that the path names.
func siteParam(c echo.Context) (events.Site, error) {
	site, err := events.ParseSite(c.Param("site"))
	if err != nil {
		return site, invalid(err)
	}
	return site, nil
}

// some makes a list that is empty one in JSON, too.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// noContent answers that it is done, and there is nothing to say.
func noContent(c echo.Context) error {
	c.Response().Writer.WriteHeader(http.StatusNoContent)
	return nil
}
