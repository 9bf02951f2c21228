package httpapi

import (
	"fmt"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"registry-node/events"
	"registry-node/node"
)

const (
	reposPrefix   = "/api/v1/repos/"
	modulesInfix  = "/modules/"
	zipWhat       = "the module zip"
	maxZip        = modzip.MaxZipFile
	publishSyntax = "PUT " + reposPrefix + "<repository>/modules/<module>/@v/<version>"
)

// publish puts the version that the path names, with the zip that is the body,
// into a repository: 201, or 200 if it was there with the same content, or 202
// if it is decided and not yet wherever it was asked to be.
func (s *Server) publish(c echo.Context) error {
	w, r := c.Response().Writer.(*writer), c.Request()
	w.kind = kindPublish
	p, err := parsePublication(r.URL.EscapedPath())
	if err != nil {
		return err
	}
	auditOf(c).about(p.Version)
	if info, err := s.node.Repo(w.who, p.Repo); err == nil {
		w.repo = repoKindOf(info.Kind)
	}
	if err := w.allowance.publish(r.Context()); err != nil {
		return err
	}
	params, err := query(c, "time", "h1", "sites", "timeout")
	if err != nil {
		return err
	}
	if p.Time, err = parseTime(params["time"]); err != nil {
		return err
	}
	if p.H1, err = parseH1(params["h1"]); err != nil {
		return err
	}
	ack, err := s.parseAcknowledgement(params["sites"], params["timeout"])
	if err != nil {
		return err
	}
	if p.Zip, err = limited(w, r, maxZip, zipWhat); err != nil {
		return err
	}
	got, err := s.node.Publish(r.Context(), w.who, p)
	if err != nil {
		return err
	}
	ctx, cancel := w.untilStop(r.Context())
	defer cancel()
	answer, status := s.acknowledge(ctx, got, ack)
	w.Header()[positionHeader] = []string{got.At.String()}
	return reply(c, status, answer)
}

// hide deletes the version that the path names.
func (s *Server) hide(c echo.Context) error {
	p, err := parsePublication(c.Request().URL.EscapedPath())
	if err != nil {
		return err
	}
	auditOf(c).about(p.Version)
	params, err := query(c, "reason")
	if err != nil {
		return err
	}
	if err := s.node.Hide(c.Request().Context(), caller(c), p.Repo, p.Version, params["reason"]); err != nil {
		return err
	}
	return noContent(c)
}

// parsePublication parses the path of a publication.
func parsePublication(escaped string) (p node.Publication, err error) {
	p.Repo, p.Version, err = parseVersionIn(escaped, modulesInfix, publishSyntax)
	return p, err
}

// parseVersionIn parses a path of the API that names a version below an infix of a
// repository. The module and the version may be !-escaped or not: no module path and
// no version has a ! itself.
func parseVersionIn(escaped, infix, syntax string) (repo events.RepoName, mv module.Version, err error) {
	name, rest, _ := strings.Cut(strings.TrimPrefix(escaped, reposPrefix), infix)
	if repo, err = parseRepo(name); err != nil {
		return repo, mv, err
	}
	path, err := decodePath(rest)
	if err != nil {
		return repo, mv, invalid(err)
	}
	i := strings.LastIndex(path, versionsInfix)
	if i < 0 {
		return repo, mv, fail(node.ErrInvalid, "the path lacks /@v/<version>: "+syntax)
	}
	mv, err = unescapeRaw(path[:i], path[i+len(versionsInfix):])
	return repo, mv, err
}

// parseTime parses the commit time of a publication; none is the zero Time.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, strings.ReplaceAll(s, " ", "+")) // a + that was not escaped
	if err != nil {
		return t, fail(node.ErrInvalid, "the parameter time is "+quote(s)+", not a time like 2006-01-02T15:04:05Z (RFC 3339)")
	}
	if err := checkCommitTime(t); err != nil {
		return t, fail(node.ErrInvalid, "the parameter time "+err.Error())
	}
	return t.UTC(), nil
}

// checkCommitTime reports whether t is a time that a commit can have and RFC 3339
// can say in UTC.
func checkCommitTime(t time.Time) error {
	if y := t.UTC().Year(); y < 1970 || y > 9999 {
		return fmt.Errorf("is %s, before 1970 or after 9999", quote(t.Format(time.RFC3339)))
	}
	return nil
}

// parseH1 parses the hash that the publisher computed; none is the zero H1.
func parseH1(s string) (events.H1, error) {
	if s == "" {
		return events.H1{}, nil
	}
	h, err := events.ParseH1(strings.ReplaceAll(s, " ", "+")) // a + that was not escaped
	if err != nil {
		return h, fail(node.ErrInvalid, "the parameter h1: "+err.Error())
	}
	return h, nil
}
