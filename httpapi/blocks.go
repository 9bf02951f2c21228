package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"registry-node/events"
	"registry-node/node"
)

// listBlocks answers with what may not be served.
func (s *Server) listBlocks(c echo.Context) error {
	blocks, err := s.node.Blocks(caller(c))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, struct {
		Blocks []events.Block `json:"blocks"`
	}{blocks})
}

// addBlock forbids a module version, all of a module, or what a pattern matches.
func (s *Server) addBlock(c echo.Context) error {
	var in struct {
		Module  string `json:"module"`
		Version string `json:"version"` // empty: all of the module
		Reason  string `json:"reason"`
	}
	if err := decode(c, &in); err != nil {
		return err
	}
	p, err := blockable(in.Module, in.Version)
	if err != nil {
		return err
	}
	if in.Reason == "" {
		return fail(node.ErrInvalid, "the body lacks the reason, which is what those who are refused are told")
	}
	b, err := s.node.Block(c.Request().Context(), caller(c), p, in.Reason)
	if err != nil {
		return err
	}
	return reply(c, http.StatusCreated, b)
}

// removeBlock takes blocks back.
func (s *Server) removeBlock(c echo.Context) error {
	params, err := query(c, "module", "version")
	if err != nil {
		return err
	}
	p, err := blockable(params["module"], params["version"])
	if err != nil {
		return err
	}
	if err := s.node.Unblock(c.Request().Context(), caller(c), p); err != nil {
		return err
	}
	return noContent(c)
}

// blockable returns what a block is for, with no version for all of a module.
// Both may have wildcards.
func blockable(path, version string) (events.VersionPattern, error) {
	if path == "" {
		return events.VersionPattern{}, fail(node.ErrInvalid, "the module is missing")
	}
	text := path
	if version != "" {
		text += "@" + version
	}
	p, err := events.ParseVersionPattern(text)
	if err != nil {
		return p, invalid(err)
	}
	return p, nil
}
