package httpapi

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// Below /artifactory/ is what the JFrog CLI, and plain clients of an Artifactory,
// ask of a registry of Go modules: the same rules and the same rights under other
// paths. What is malformed there is answered as anything else that is refused, in
// the shape of artifactoryProblem.
const (
	artifactoryPrefix   = "/artifactory/"
	artifactoryGoPrefix = artifactoryPrefix + "api/go/"
)

// routeArtifactory adds the routes that an Artifactory has.
func (s *Server) routeArtifactory(e *echo.Echo) {
	get(e, "/artifactory/api/system/version", s.artifactoryVersion)
	get(e, "/artifactory/api/system/ping", s.artifactoryPing)
	e.POST("/artifactory/api/system/usage", s.swallow)
	get(e, "/artifactory/api/security/encryptedPassword", s.encryptedPassword)
	e.POST("/artifactory/api/security/token", s.artifactoryToken)
	get(e, "/artifactory/api/repositories", s.artifactoryRepos)
	get(e, "/artifactory/api/repositories/:repo", s.artifactoryRepo)
	get(e, "/artifactory/api/go/*", s.artifactoryModule)
	e.PUT("/artifactory/api/go/*", s.deployModule)
	get(e, "/artifactory/*", s.artifact)
	e.PUT("/artifactory/*", s.deployFile)
	e.DELETE("/artifactory/*", s.deleteFile)
	s.routeItems(e)
	s.routeNothing(e)
	e.POST("/jfconnect/api/v1/backoffice/metrics/log", s.swallow)
}

// isArtifactory reports whether a request gets answers as an Artifactory gives them.
func isArtifactory(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, artifactoryPrefix) || strings.HasPrefix(r.URL.Path, "/jfconnect/")
}

// isJFrogCLI reports whether a request is one of the JFrog CLI itself, and none of
// the go command that it starts.
func isJFrogCLI(r *http.Request) bool {
	return strings.HasPrefix(r.UserAgent(), "jfrog-cli-go/")
}

// readsModules reports whether a request is one of the GOPROXY protocol, wherever
// that is served.
func readsModules(r *http.Request) bool {
	return belowGo(r) || (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.HasPrefix(r.URL.Path, artifactoryGoPrefix)
}

// artifactoryProblem is an error as an Artifactory tells of it.
type artifactoryProblem struct {
	Errors []artifactoryError `json:"errors"`
}

type artifactoryError struct {
	Status  int    `json:"status"`
	Message string `json:"message"`
}

func sendArtifactoryProblem(w *writer, r *http.Request, f failure) {
	body, _ := marshal(artifactoryProblem{[]artifactoryError{{f.status, f.text}}}) // a number and a string
	h := w.Header()
	h["Cache-Control"] = cacheNever
	f.retry(h)
	send(w, r, f.status, typePlainJSON, body)
}

// typePlainJSON is what an Artifactory calls JSON.
var typePlainJSON = []string{"application/json"}

// standsFor is a version of Artifactory that the JFrog CLI asks for the
// fewest other things: from 7.17.0 on it searches transitively, from 7.82.2 on it
// asks about uploads in parts.
const standsFor = "7.77.5"

// artifactoryVersion answers which Artifactory this stands for.
func (s *Server) artifactoryVersion(c echo.Context) error {
	return replyAs(c, http.StatusOK, typePlainJSON, struct {
		Version  string   `json:"version"`
		Revision string   `json:"revision"`
		Addons   []string `json:"addons"`
		License  string   `json:"license"`
	}{standsFor, "77705900", []string{}, "registry-node"})
}

// artifactoryPing answers that the node lives.
func (s *Server) artifactoryPing(c echo.Context) error {
	w := c.Response().Writer.(*writer)
	w.Header()["Cache-Control"] = cacheNever
	send(w, c.Request(), http.StatusOK, typeText, []byte("OK"))
	return nil
}

// swallow takes a report of how a client is used, and keeps nothing of it: net/http
// reads what it reads of a body that nobody wants.
func (s *Server) swallow(c echo.Context) error {
	w := c.Response().Writer.(*writer)
	w.Header()["Cache-Control"] = cacheNever
	send(w, c.Request(), http.StatusOK, typePlainJSON, []byte("{}"))
	return nil
}
