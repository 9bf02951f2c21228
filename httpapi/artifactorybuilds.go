package httpapi

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"registry-node/events"
	"registry-node/node"
)

const buildPrefix = artifactoryPrefix + "api/build/"

// buildParams returns the project of a request, and its parameter started.
func buildParams(c echo.Context) (project string, started time.Time, err error) {
	q, err := query(c, "project", "buildRepo", "started")
	if err == nil {
		project, err = projectOf(q["project"], q["buildRepo"])
	}
	if err != nil {
		return "", started, err
	}
	if s := q["started"]; s != "" {
		if started, err = node.ParseBuildTime(strings.ReplaceAll(s, " ", "+")); err != nil { // a + that was not escaped
			return "", started, fail(node.ErrInvalid, "the parameter started: "+err.Error())
		}
	}
	return project, started, nil
}

// projectOf returns the project that a client names, or the repository of whose builds.
func projectOf(project, repo string) (string, error) {
	if repo == "" {
		return project, nil
	}
	name, err := events.ParseRepoName(repo)
	if err != nil {
		return "", invalid(err)
	}
	of, ok := buildProject(name)
	if !ok || project != "" && project != of {
		return "", fail(node.ErrInvalid, "the buildRepo "+quote(repo)+" is not where the builds of the project are: that is artifactory"+buildRepoSuffix+", or PROJECT"+buildRepoSuffix)
	}
	return of, nil
}

// recordBuild takes the build info of a run.
func (s *Server) recordBuild(c echo.Context) error {
	project, _, err := buildParams(c)
	if err != nil {
		return err
	}
	auditOf(c).Repo = project
	from, err := limited(c.Response().Writer.(*writer), c.Request(), node.MaxBuildInfo, "the build info")
	if err != nil {
		return err
	}
	name, err := s.node.RecordBuild(c.Request().Context(), caller(c), project, from)
	auditOf(c).Name = name.Name + "/" + name.Number
	if err != nil {
		return err
	}
	return noContent(c)
}

// namedBuild is a build, or a run of one, in a list.
type namedBuild struct {
	URI         string `json:"uri"`
	Started     string `json:"started,omitempty"`     // of a run
	LastStarted string `json:"lastStarted,omitempty"` // of a build
}

// listBuilds answers with the builds of a project.
func (s *Server) listBuilds(c echo.Context) error {
	project, _, err := buildParams(c)
	if err != nil {
		return err
	}
	list := []namedBuild{}
	var last events.Build
	for b, err := range s.node.Builds(c.Request().Context(), caller(c), project, "") {
		if err != nil {
			return err
		}
		if n := len(list); n == 0 || last.Name != b.Name {
			list = append(list, namedBuild{})
			last = events.Build{}
		}
		if !b.Started.Before(last.Started) {
			last = b
			list[len(list)-1] = namedBuild{URI: "/" + url.PathEscape(b.Name), LastStarted: b.Started.Format(node.BuildTime)}
		}
	}
	if len(list) == 0 {
		return fail(node.ErrNotFound, "No builds were found")
	}
	return replyAs(c, http.StatusOK, typePlainJSON, struct {
		URI    string       `json:"uri"`
		Builds []namedBuild `json:"builds"`
	}{s.buildURI(c), list})
}

// buildURI is the URL that a request was for.
func (s *Server) buildURI(c echo.Context) string {
	r := c.Request()
	return s.artifactoryBase(r) + strings.TrimPrefix(r.URL.EscapedPath(), artifactoryPrefix)
}

// showBuild answers with the runs of a build, or with the build info of one.
func (s *Server) showBuild(c echo.Context) error {
	project, started, err := buildParams(c)
	if err != nil {
		return err
	}
	names, err := buildNames(c.Request().URL.EscapedPath())
	switch {
	case err != nil:
		return err
	case len(names) == 1:
		return s.listRuns(c, project, names[0])
	case len(names) != 2:
		return fail(node.ErrNotFound, "there is nothing at this path; a build is at api/build/<name>/<number>")
	}
	b, info, err := s.node.Build(c.Request().Context(), caller(c), events.BuildName{Project: project, Name: names[0], Number: names[1]}, started)
	if err != nil {
		return err
	}
	defer info.Close()
	head := fmt.Appendf(nil, `{"uri":%q,"buildInfo":`, s.buildURI(c))
	w := c.Response().Writer.(*writer)
	h := w.Header()
	h["Cache-Control"], h["Content-Type"] = cacheNever, typePlainJSON
	h["Content-Length"] = []string{strconv.FormatInt(int64(len(head))+b.Info.Size+1, 10)}
	w.WriteHeader(http.StatusOK)
	_, err = io.Copy(w, io.MultiReader(bytes.NewReader(head), info, strings.NewReader("}")))
	if err != nil {
		s.logger.Debug("a build info is not sent to its end", "build", b.Name, "error", err)
	}
	return nil
}

// buildNames returns what follows api/build/ in an escaped path: a name, and a number.
func buildNames(escaped string) (names []string, err error) {
	for part := range strings.SplitSeq(strings.TrimPrefix(escaped, buildPrefix), "/") {
		name, err := url.PathUnescape(part)
		if err != nil {
			return nil, invalid(err)
		}
		names = append(names, name)
	}
	return names, nil
}

// listRuns answers with the runs of a build.
func (s *Server) listRuns(c echo.Context, project, name string) error {
	list := []namedBuild{}
	for b, err := range s.node.Builds(c.Request().Context(), caller(c), project, name) {
		if err != nil {
			return err
		}
		list = append(list, namedBuild{URI: "/" + url.PathEscape(b.Number), Started: b.Started.Format(node.BuildTime)})
	}
	if len(list) == 0 {
		return fail(node.ErrNotFound, "No build was found for build name: "+clip(name))
	}
	return replyAs(c, http.StatusOK, typePlainJSON, struct {
		URI  string       `json:"uri"`
		Runs []namedBuild `json:"buildsNumbers"`
	}{s.buildURI(c), list})
}

// buildDeletion says which runs of a build are to go.
type buildDeletion struct {
	Project         string   `json:"project"`
	Repo            string   `json:"buildRepo"`
	Name            string   `json:"buildName"`
	Numbers         []string `json:"buildNumbers"`
	DeleteAll       bool     `json:"deleteAll"`
	DeleteArtifacts bool     `json:"deleteArtifacts"`
}

// deleteBuilds deletes runs of a build.
func (s *Server) deleteBuilds(c echo.Context) error {
	var d buildDeletion
	if err := decode(c, &d); err != nil {
		return err
	}
	project, err := projectOf(d.Project, d.Repo)
	if err != nil {
		return err
	}
	a := auditOf(c)
	a.Repo, a.Name = project, d.Name
	switch {
	case d.DeleteArtifacts:
		return fail(node.ErrInvalid, "builds are deleted without what they made: delete the versions themselves")
	case d.DeleteAll == (len(d.Numbers) > 0):
		return fail(node.ErrInvalid, "a deletion names buildNumbers, or says deleteAll")
	}
	if err := s.node.DeleteBuilds(c.Request().Context(), caller(c), project, d.Name, d.Numbers); err != nil {
		return err
	}
	return noContent(c)
}
