package httpapi

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"registry-node/node"
)

// refusals say why something that an Artifactory does is not done here, and what is in
// its place, by the beginning of the path below api/.
var refusals = []struct{ prefix, why string }{
	{"copy/", oneRepository},
	{"move/", oneRepository},
	{"build/promote/", oneRepository},
	{"build/rename/", "a build keeps its name: record it under the new one (jf rt build-publish)"},
	{"trash/", "there is no trash can: a version that is deleted stays so, and registry-node purge removes its bytes"},
}

const oneRepository = "a version stays in the one repository that owns its name, and is not copied, moved or promoted to another one; " +
	`mark it by a property in place of that: jf rt set-props --build=NAME/NUMBER "status=released"`

// routeNothing adds what answers for all else that an Artifactory has below its api/.
// Without it that would be taken for files of a repository called api.
func (s *Server) routeNothing(e *echo.Echo) {
	const rest = "/artifactory/api/*"
	get(e, rest, s.notOfArtifactory)
	e.POST(rest, s.notOfArtifactory)
	e.POST("/artifactory/api/build/*", s.notOfArtifactory)
	e.PUT(rest, s.notOfArtifactory)
	e.DELETE(rest, s.notOfArtifactory)
}

// notOfArtifactory says that what an Artifactory has at a path is not here.
func (s *Server) notOfArtifactory(c echo.Context) error {
	r := c.Request()
	path := strings.TrimPrefix(r.URL.Path, artifactoryPrefix+"api/")
	if r.Method == http.MethodPost {
		for _, f := range refusals {
			if strings.HasPrefix(path, f.prefix) {
				return fail(node.ErrInvalid, f.why)
			}
		}
	}
	return fail(node.ErrNotFound, r.Method+" api/"+clip(path)+" of an Artifactory is not here; what is stands in the README of registry-node")
}
