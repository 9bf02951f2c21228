package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

// artifactoryModule answers a request of the GOPROXY protocol as below /go/, also
// one with the capitals of a path left as they are, as the JFrog CLI sends it.
func (s *Server) artifactoryModule(c echo.Context) error {
	w, r := c.Response().Writer.(*writer), c.Request()
	w.kind = kindMalformed
	if err := s.checkLoop(r); err != nil {
		return err
	}
	path, _ := cutMatrix(strings.TrimPrefix(r.URL.EscapedPath(), artifactoryGoPrefix))
	repo, q, err := s.moduleRequest(w, r, path, parseRawPath)
	if err != nil {
		return err
	}
	if info, ok := q.Ask.(Info); ok && isJFrogCLI(r) && events.CheckVersion(module.Version{Path: info.Module, Version: info.Query}) != nil {
		return s.queryOfPackage(w, r, repo, info)
	}
	return s.answer(w, r, repo, q.Ask)
}

// parseRawPath is ParsePath, and takes capitals for themselves in a path without a !.
// No escaped path has capitals.
func parseRawPath(escaped string) (Request, error) {
	path, err := decodePath(escaped)
	if err != nil {
		return Request{}, err
	}
	if !strings.Contains(path, "!") && !strings.HasPrefix(path, sumdbPrefix) {
		path = escapeCapitals(path)
	}
	return parseDecoded(path)
}

func escapeCapitals(path string) string {
	if strings.ToLower(path) == path {
		return path
	}
	var b strings.Builder
	for _, c := range []byte(path) {
		if 'A' <= c && c <= 'Z' {
			b.WriteByte('!')
			c += 'a' - 'A'
		}
		b.WriteByte(c)
	}
	return b.String()
}

// queryOfPackage answers the JFrog CLI, which asks for the version of what its user
// has typed: that may be a package, so it is about the module that has it.
func (s *Server) queryOfPackage(w *writer, r *http.Request, repo *node.Repository, ask Info) error {
	w.kind = kindInfo
	info, path, err := infoOfPackage(r.Context(), repo, ask)
	w.access.version = module.Version{Path: path, Version: info.Version}
	return s.info(w, r, info, err)
}

// infoOfPackage returns the answer of the longest path that is a module, and that
// path; if none is, the error about the first.
func infoOfPackage(ctx context.Context, repo *node.Repository, ask Info) (info node.Info, path string, err error) {
	var first error
	for path = ask.Module; ; {
		info, err = repo.Info(ctx, path, ask.Query)
		if !errors.Is(err, node.ErrNotFound) {
			return info, path, err
		}
		if first == nil {
			first = err
		}
		i := strings.LastIndexByte(path, '/')
		if i < 0 || module.CheckPath(path[:i]) != nil {
			return info, ask.Module, first
		}
		path = path[:i]
	}
}
