package httpapi

import (
	"net/http"
	"reflect"

	"github.com/labstack/echo/v4"

	"registry-node/events"
	"registry-node/node"
)

// listRepos answers with the repositories that exist.
func (s *Server) listRepos(c echo.Context) error {
	repos, err := s.node.Repos(caller(c))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, struct {
		Repositories []node.RepoInfo `json:"repositories"`
	}{repos})
}

// createRepo makes the repository that the body describes.
func (s *Server) createRepo(c echo.Context) error {
	var nr node.NewRepo
	if err := decode(c, &nr); err != nil {
		return err
	}
	info, err := s.node.CreateRepo(c.Request().Context(), caller(c), nr)
	if err != nil {
		return err
	}
	return reply(c, http.StatusCreated, info)
}

// showRepo answers with one repository.
func (s *Server) showRepo(c echo.Context) error {
	name, err := repoParam(c)
	if err != nil {
		return err
	}
	info, err := s.node.Repo(caller(c), name)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, info)
}

// changeRepo changes what the body names of a repository's settings.
func (s *Server) changeRepo(c echo.Context) error {
	name, err := repoParam(c)
	if err != nil {
		return err
	}
	var change node.RepoChange
	if err := decode(c, &change); err != nil {
		return err
	}
	if reflect.ValueOf(change).IsZero() {
		return fail(node.ErrInvalid, "the body names nothing to change")
	}
	info, err := s.node.ChangeRepo(c.Request().Context(), caller(c), name, change)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, info)
}

// deleteRepo hides a repository and all in it.
func (s *Server) deleteRepo(c echo.Context) error {
	name, err := repoParam(c)
	if err != nil {
		return err
	}
	params, err := query(c, "reason")
	if err != nil {
		return err
	}
	if err := s.node.DeleteRepo(c.Request().Context(), caller(c), name, params["reason"]); err != nil {
		return err
	}
	return noContent(c)
}

// restoreRepo takes the deletion of a repository back.
func (s *Server) restoreRepo(c echo.Context) error {
	name, err := repoParam(c)
	if err != nil {
		return err
	}
	info, err := s.node.RestoreRepo(c.Request().Context(), caller(c), name)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, info)
}

// repoParam returns the repository that the path names.
func repoParam(c echo.Context) (events.RepoName, error) { return parseRepo(c.Param("repo")) }

func parseRepo(s string) (events.RepoName, error) {
	name, err := events.ParseRepoName(s)
	if err != nil {
		return name, invalid(err)
	}
	return name, nil
}
