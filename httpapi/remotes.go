package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"
	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

// listUpstreams answers how this node gets on with the upstreams of remote
// repositories.
func (s *Server) listUpstreams(c echo.Context) error {
	remotes, err := s.node.Remotes(caller(c))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, struct {
		Remotes []node.RemoteStatus `json:"remotes"`
	}{remotes})
}

// listDrift answers which versions an upstream has changed, as this node noticed.
func (s *Server) listDrift(c echo.Context) error {
	drifts, err := s.node.Drifts(caller(c))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, struct {
		Drifts []node.Drift `json:"drifts"`
	}{some(drifts)})
}

// refresh forgets what the upstream of a repository said of a module, and asks it
// anew; without a module, that of all modules.
func (s *Server) refresh(c echo.Context) error {
	name, err := repoParam(c)
	if err != nil {
		return err
	}
	params, err := query(c, "module")
	if err != nil {
		return err
	}
	got, err := s.node.Refresh(c.Request().Context(), caller(c), name, params["module"])
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, got)
}

// evict removes what this site caches of a repository and the pattern matches.
func (s *Server) evict(c echo.Context) error {
	name, err := repoParam(c)
	if err != nil {
		return err
	}
	params, err := query(c, "module", "version")
	if err != nil {
		return err
	}
	p, err := blockable(params["module"], params["version"])
	if err != nil {
		return err
	}
	gone, err := s.node.Evict(c.Request().Context(), caller(c), name, p)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, gone)
}

// pending answers which versions a repository does not give out yet.
func (s *Server) pending(c echo.Context) error {
	name, err := repoParam(c)
	if err != nil {
		return err
	}
	list, more, err := s.node.Pending(c.Request().Context(), caller(c), name)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, struct {
		Pending []node.Pending `json:"pending"`
		More    bool           `json:"more,omitempty"`
	}{some(list), more})
}

// seedTimes records since when versions are known.
func (s *Server) seedTimes(c echo.Context) error {
	name, err := repoParam(c)
	if err != nil {
		return err
	}
	var in struct {
		Times []node.Dated `json:"times"`
	}
	if err := decode(c, &in); err != nil {
		return err
	}
	if len(in.Times) == 0 {
		return fail(node.ErrInvalid, "the body names no times")
	}
	got, err := s.node.SeedTimes(c.Request().Context(), caller(c), name, in.Times)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, got)
}

// settle says which content of a version holds that sites filled differently.
func (s *Server) settle(c echo.Context) error {
	name, err := repoParam(c)
	if err != nil {
		return err
	}
	var in struct {
		Module  string    `json:"module"`
		Version string    `json:"version"`
		ModH1   events.H1 `json:"mod_h1"`
		ZipH1   events.H1 `json:"zip_h1"` // zero if that of the go.mod says it
		Reason  string    `json:"reason"`
	}
	if err := decode(c, &in); err != nil {
		return err
	}
	mv, err := versionOf(in.Module, in.Version)
	switch {
	case err != nil:
		return err
	case in.ModH1.IsZero():
		return fail(node.ErrInvalid, "the body lacks mod_h1, the hash of the go.mod of the content that holds")
	case in.Reason == "":
		return fail(node.ErrInvalid, "the body lacks the reason, which the log keeps")
	}
	if err := s.node.Settle(c.Request().Context(), caller(c), name, mv, in.ModH1, in.ZipH1, in.Reason); err != nil {
		return err
	}
	return noContent(c)
}

// purge removes the bytes of a version, here and at all other sites, for ever.
func (s *Server) purge(c echo.Context) error {
	var in struct {
		Module  string `json:"module"`
		Version string `json:"version"`
		Reason  string `json:"reason"`
	}
	if err := decode(c, &in); err != nil {
		return err
	}
	mv, err := versionOf(in.Module, in.Version)
	if err != nil {
		return err
	}
	if in.Reason == "" {
		return fail(node.ErrInvalid, "the body lacks the reason, which is what those who are refused are told")
	}
	purged, err := s.node.Purge(c.Request().Context(), caller(c), mv, in.Reason)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, purged)
}

// versionOf returns the module version of these names.
func versionOf(path, version string) (module.Version, error) {
	mv := module.Version{Path: path, Version: version}
	if path == "" || version == "" {
		return mv, fail(node.ErrInvalid, "the module or the version is missing")
	}
	if err := events.CheckVersion(mv); err != nil {
		return mv, invalid(err)
	}
	return mv, nil
}

// nodeOffline is whether a node asks upstreams.
type nodeOffline struct {
	Offline *bool `json:"offline"`
}

// showOffline answers whether this node is switched offline.
func (s *Server) showOffline(c echo.Context) error {
	off, err := s.node.Offline(caller(c))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, nodeOffline{&off})
}

// setOffline switches this node offline or online.
func (s *Server) setOffline(c echo.Context) error {
	var in nodeOffline
	if err := decode(c, &in); err != nil {
		return err
	}
	if in.Offline == nil {
		return fail(node.ErrInvalid, "the body does not say whether the node is to be offline")
	}
	auditOf(c).Name = map[bool]string{true: "on", false: "off"}[*in.Offline]
	if err := s.node.SetOffline(caller(c), *in.Offline); err != nil {
		return err
	}
	return s.showOffline(c)
}
