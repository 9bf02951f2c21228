package httpapi

import (
	"fmt"
	"html"
	"net"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// goImport answers what the go command asks the host of an import path, the path
// with ?go-get=1, if a local repository owns the path: with the tag that names this
// registry as the GOPROXY for it (GOPROXY 8, mod). So a host name that leads here
// serves its modules without a version control system. The tag's prefix is the
// path that was asked, so that the go command has no other to compare it with, and
// says nothing of which modules there are.
func (s *Server) goImport(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if !asksImport(r) {
			return next(c)
		}
		w := c.Response().Writer.(*writer)
		path := strings.TrimSuffix(strings.ToLower(hostName(r.Host))+r.URL.Path, "/")
		repo, err := s.node.ImportRepo(w.who, path)
		if err != nil {
			return err
		}
		base := "http://"
		if s.overTLS(r) {
			base = "https://"
		}
		base += r.Host + modulesPrefix + repo.String()
		w.Header()["Cache-Control"] = cacheBriefly
		send(w, r, http.StatusOK, typeHTML, []byte(importPage(path, base)))
		return nil
	}
}

var typeHTML = []string{"text/html; charset=utf-8"}

func importPage(path, base string) string {
	path, base = html.EscapeString(path), html.EscapeString(base)
	return fmt.Sprintf(`<!DOCTYPE html>
<html><head><meta charset="utf-8">
<meta name="go-import" content="%s mod %s">
<title>%[1]s</title></head>
<body>Modules below %[1]s: GOPROXY=%[2]s</body></html>
`, path, base)
}

// asksImport reports whether a request asks where the modules of its path are.
func asksImport(r *http.Request) bool {
	return r.URL.RawQuery == "go-get=1" && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}

// hostName is the host of a Host header, without its port.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}
