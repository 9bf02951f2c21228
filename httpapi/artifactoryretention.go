package httpapi

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"registry-node/node"
)

const retentionPrefix = buildPrefix + "retention/"

// buildRetention says which runs of a build are kept.
type buildRetention struct {
	// Count is how many are kept, those that started last: a number, which the JFrog
	// CLI writes as a text.
	Count json.RawMessage `json:"count"`
	// MinimumBuildDate is when those started at the earliest that are kept.
	MinimumBuildDate string   `json:"minimumBuildDate"`
	Keep             []string `json:"buildNumbersNotToBeDiscarded"`
	DeleteArtifacts  bool     `json:"deleteBuildArtifacts"`
}

// discardBuilds deletes runs of a build that are old, or more than are to be kept. It is
// done when it answers, whatever the parameter async says.
func (s *Server) discardBuilds(c echo.Context) error {
	q, err := query(c, "async", "project", "buildRepo")
	if err != nil {
		return err
	}
	project, err := projectOf(q["project"], q["buildRepo"])
	if err != nil {
		return err
	}
	name, err := url.PathUnescape(strings.TrimPrefix(c.Request().URL.EscapedPath(), retentionPrefix))
	if err != nil {
		return invalid(err)
	}
	var said buildRetention
	if err := decode(c, &said); err != nil {
		return err
	}
	a := auditOf(c)
	a.Repo, a.Name = project, name
	keep, err := said.rule()
	if err != nil {
		return err
	}
	if err := s.node.DiscardBuilds(c.Request().Context(), caller(c), project, name, keep); err != nil {
		return err
	}
	return noContent(c)
}

// rule returns what is kept.
func (b buildRetention) rule() (keep node.KeptBuilds, err error) {
	if b.DeleteArtifacts {
		return keep, fail(node.ErrInvalid, "builds are deleted without what they made: delete the versions themselves")
	}
	keep.Numbers = b.Keep
	if text := strings.Trim(string(b.Count), `"`); text != "" && text != "null" && text != "-1" {
		if keep.Last, err = strconv.Atoi(text); err != nil || keep.Last < 1 {
			return keep, fail(node.ErrInvalid, "count is "+quote(text)+", and not how many runs are to be kept, at least one")
		}
	}
	if b.MinimumBuildDate != "" {
		if keep.Since, err = node.ParseBuildTime(b.MinimumBuildDate); err != nil {
			return keep, fail(node.ErrInvalid, "minimumBuildDate: "+err.Error())
		}
	}
	if keep.Last == 0 && keep.Since.IsZero() {
		return keep, fail(node.ErrInvalid, "a retention says count, or minimumBuildDate")
	}
	return keep, nil
}
