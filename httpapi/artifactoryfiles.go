package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"
	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

var acceptRanges = []string{"bytes"}

// artifact answers with a file of a version, by its path in a repository. There is
// nothing else in one.
func (s *Server) artifact(c echo.Context) error {
	w, r := c.Response().Writer.(*writer), c.Request()
	w.kind = kindMalformed
	if err := s.checkLoop(r); err != nil {
		return err
	}
	f, err := fileAt(c, artifactoryPrefix)
	if err == nil {
		err = events.CheckVersion(f.version)
	}
	if err != nil {
		return &node.Error{Kind: node.ErrNotFound, Text: err.Error(), Err: err}
	}
	repo, err := s.repository(w, f.repo.String())
	if err != nil {
		return err
	}
	repo.Misses = w.allowance.spare()
	w.access.version = f.version
	switch f.kind {
	case events.InfoFile:
		w.kind = kindInfo
		info, err := repo.Info(r.Context(), f.version.Path, f.version.Version)
		return fileContent(w, r, typePlainJSON, info.Data, err)
	case events.ModFile:
		w.kind = kindMod
		mod, err := repo.Mod(r.Context(), f.version)
		return fileContent(w, r, typeText, mod, err)
	}
	return s.artifactZip(w, r, repo, f.version)
}

// fileContent answers with a small file.
func fileContent(w *writer, r *http.Request, contentType []string, data []byte, err error) error {
	if err != nil {
		return err
	}
	h := w.Header()
	h["Cache-Control"] = cacheForever
	h["Accept-Ranges"] = acceptRanges
	checksumsOf(data).setHeaders(h)
	content(w, r, contentType, data)
	return nil
}

// artifactZip answers with a zip. Its checksums are said if it is held here.
func (s *Server) artifactZip(w *writer, r *http.Request, repo *node.Repository, mv module.Version) error {
	w.kind = kindZip
	z, err := repo.Zip(r.Context(), mv)
	if err != nil {
		return err
	}
	defer z.Close()
	sums, ok, err := repo.ZipSums(r.Context(), z)
	if err != nil {
		return err
	}
	if ok {
		checksumsIn(sums).setHeaders(w.Header())
	}
	return s.openZip(w, r, z)
}
