package httpapi

import (
	"cmp"
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"registry-node/events"
	"registry-node/node"
)

// artifactoryListed is a repository in a list of an Artifactory.
type artifactoryListed struct {
	Key         string `json:"key"`
	Description string `json:"description,omitempty"`
	Type        string `json:"type"` // LOCAL, REMOTE or VIRTUAL
	URL         string `json:"url"`
	PackageType string `json:"packageType"`
}

// artifactoryRepos answers with the repositories that the caller reads or manages,
// of the type and packageType that are asked for. There are no projects, so the
// project changes nothing, as other parameters don't.
func (s *Server) artifactoryRepos(c echo.Context) error {
	repos, err := s.node.Repos(caller(c))
	if err != nil {
		return err
	}
	q := c.Request().URL.Query()
	kind, format := q.Get("type"), q.Get("packageType")
	listed := []artifactoryListed{}
	for _, r := range repos {
		if kind != "" && !strings.EqualFold(kind, r.Kind.String()) || format != "" && !strings.EqualFold(format, "go") {
			continue
		}
		listed = append(listed, artifactoryListed{
			Key: r.Name.String(), Description: r.Description, Type: strings.ToUpper(r.Kind.String()),
			URL: s.artifactoryBase(c.Request()) + r.Name.String(), PackageType: "Go",
		})
	}
	return replyAs(c, http.StatusOK, typePlainJSON, listed)
}

// artifactoryDetails are the settings of a repository as an Artifactory has them.
type artifactoryDetails struct {
	Key          string            `json:"key"`
	RClass       string            `json:"rclass"` // local, remote or virtual
	PackageType  string            `json:"packageType"`
	Description  string            `json:"description"`
	URL          string            `json:"url,omitempty"` // of a remote one: its upstream, for those who may know it
	Layout       string            `json:"repoLayoutRef"`
	Members      []events.RepoName `json:"repositories,omitempty"`
	DefaultLocal string            `json:"defaultDeploymentRepo,omitempty"`
}

// artifactoryRepo answers with one repository. Whose name the caller may not know is
// not there.
func (s *Server) artifactoryRepo(c echo.Context) error {
	name, err := repoParam(c)
	if err != nil {
		return fail(node.ErrNotFound, "there is no repository of that name")
	}
	info, err := s.node.Repo(caller(c), name)
	if errors.Is(err, node.ErrForbidden) {
		err = &node.Error{Kind: node.ErrNotFound, Text: "there is no repository called " + quote(name.String()) + " that you may read", Err: err}
	}
	if err != nil {
		return err
	}
	d := artifactoryDetails{
		Key: name.String(), RClass: info.Kind.String(), PackageType: "go", Description: info.Description,
		URL: info.Upstream, Layout: "go-default", Members: info.Members,
	}
	if !info.Deploy.IsZero() {
		d.DefaultLocal = info.Deploy.String()
	}
	return replyAs(c, http.StatusOK, typePlainJSON, d)
}

// artifactoryBase returns the URL of what stands below /artifactory/, with a slash
// at its end, by the name under which the client knows this server.
func (s *Server) artifactoryBase(r *http.Request) string {
	scheme := "http"
	if s.overTLS(r) {
		scheme = "https"
	}
	return scheme + "://" + cmp.Or(r.Host, "localhost") + artifactoryPrefix
}
