package httpapi

import (
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"registry-node/events"
	"registry-node/node"
)

const (
	importsInfix = "/imports/"
	importSyntax = "PUT " + reposPrefix + "<repository>/imports/<module>/@v/<version>"
	importWhat   = "the import"
	// maxImport bounds the body of an import: its parts, and what is between them.
	maxImport = maxZip + modzip.MaxGoMod + 1<<20
)

// importVersion records the version that the path names in a remote repository,
// with the parts info (which may be missing), mod and zip (which may be missing)
// that are the body, in this order: 201, or 200 if all of it was there.
func (s *Server) importVersion(c echo.Context) error {
	w, r := c.Response().Writer.(*writer), c.Request()
	var im node.Importation
	var err error
	if im.Repo, im.Version, err = parseVersionIn(r.URL.EscapedPath(), importsInfix, importSyntax); err != nil {
		return err
	}
	auditOf(c).about(im.Version)
	params, err := query(c, "mod_h1", "zip_h1", "unproved")
	if err != nil {
		return err
	}
	if im.ModH1, err = parseHash("mod_h1", params); err != nil {
		return err
	}
	if im.ZipH1, err = parseHash("zip_h1", params); err != nil {
		return err
	}
	if im.Unproved, err = parseBool("unproved", params["unproved"]); err != nil {
		return err
	}
	if err := w.allowance.publish(r.Context()); err != nil {
		return err
	}
	from, err := limited(w, r, maxImport, importWhat)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(from)
	im.Open = func() (node.ImportedParts, error) { return openParts(r) }
	got, err := s.node.Import(r.Context(), w.who, im)
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if got.Existed {
		status = http.StatusOK
	}
	w.Header()[positionHeader] = []string{got.At.String()}
	return reply(c, status, got)
}

// parseHash parses a parameter that is a hash of go.sum, or missing.
func parseHash(name string, params map[string]string) (h events.H1, err error) {
	if s := params[name]; s != "" {
		h, err = events.ParseH1(strings.ReplaceAll(s, " ", "+")) // a + that was not escaped
	}
	if err != nil {
		err = fail(node.ErrInvalid, "the parameter "+name+": "+err.Error())
	}
	return h, err
}

// parseBool parses a parameter that is 1 or true, 0 or false, or missing.
func parseBool(name, s string) (bool, error) {
	switch s {
	case "", "0", "false":
		return false, nil
	case "1", "true":
		return true, nil
	}
	return false, fail(node.ErrInvalid, "the parameter "+name+" is "+quote(s)+", neither true nor false")
}

// openParts reads the parts of an import up to the zip, which is read by who gets
// it.
func openParts(r *http.Request) (p node.ImportedParts, err error) {
	body, err := r.MultipartReader()
	if err != nil {
		return p, fail(node.ErrInvalid, "the body is not multipart/form-data with the parts info, mod and zip: "+err.Error())
	}
	part, err := nextPart(body)
	if part != nil && part.FormName() == "info" {
		if p.Info, err = readPart(part, events.MaxInline); err != nil {
			return p, err
		}
		part, err = nextPart(body)
	}
	switch {
	case err != nil:
		return p, err
	case part == nil || part.FormName() != "mod":
		return p, fail(node.ErrInvalid, "the body has no part mod, or not in its place: info, mod, zip")
	}
	if p.Mod, err = readPart(part, modzip.MaxGoMod); err != nil {
		return p, err
	}
	switch part, err = nextPart(body); {
	case err != nil || part == nil:
		return p, err
	case part.FormName() != "zip":
		return p, fail(node.ErrInvalid, "the body has a part "+quote(part.FormName())+" where zip, or none, is wanted")
	}
	p.Zip = &lastPart{body, part}
	return p, nil
}

// nextPart returns the next part of a body, nil if there is none.
func nextPart(body *multipart.Reader) (*multipart.Part, error) {
	part, err := body.NextRawPart()
	if err == io.EOF { // as it is: the end after the last boundary
		return nil, nil
	}
	return part, partFailed(err)
}

func readPart(part *multipart.Part, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(part, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, fail(node.ErrTooLarge, fmt.Sprintf("the part %s is larger than %d KiB", part.FormName(), limit>>10))
	}
	return data, partFailed(err)
}

// partFailed says what a failure to read a part means for who sent it.
func partFailed(err error) error {
	if err == nil || errors.As(err, new(*node.Error)) {
		return err
	}
	return fail(node.ErrInvalid, "the body is not whole: "+err.Error())
}

// lastPart is a part after which there is no other.
type lastPart struct {
	body *multipart.Reader
	part *multipart.Part
}

func (l *lastPart) Read(p []byte) (int, error) {
	n, err := l.part.Read(p)
	if err != io.EOF {
		return n, partFailed(err)
	}
	switch next, err := nextPart(l.body); {
	case err != nil:
		return n, err
	case next != nil:
		return n, fail(node.ErrInvalid, "the body has a part "+quote(next.FormName())+" after zip")
	}
	return n, io.EOF
}

// importClaim is a version as a client asks whether it is there.
type importClaim struct {
	Module  string    `json:"module"`
	Version string    `json:"version"`
	ModH1   events.H1 `json:"mod_h1,omitzero"`
	ZipH1   events.H1 `json:"zip_h1,omitzero"`
}

// importRefusal is a version that can't be imported, and why.
type importRefusal struct {
	Module  string `json:"module"`
	Version string `json:"version"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// importMissing answers which versions a repository lacks, and which of them it
// would refuse.
func (s *Server) importMissing(c echo.Context) error {
	name, err := repoParam(c)
	if err != nil {
		return err
	}
	var in struct {
		Versions []importClaim `json:"versions"`
	}
	if err := decode(c, &in); err != nil {
		return err
	}
	claims := make([]node.ImportClaim, len(in.Versions))
	for i, v := range in.Versions {
		claims[i] = node.ImportClaim{Version: module.Version{Path: v.Module, Version: v.Version}, ModH1: v.ModH1, ZipH1: v.ZipH1}
	}
	gaps, err := s.node.ImportMissing(caller(c), name, claims)
	if err != nil {
		return err
	}
	missing, refused := []importClaim{}, []importRefusal{}
	for _, g := range gaps {
		if g.Refused == nil {
			missing = append(missing, importClaim{Module: g.Version.Path, Version: g.Version.Version})
			continue
		}
		f := failureOf(c.Request().Context(), g.Refused, false)
		refused = append(refused, importRefusal{g.Version.Path, g.Version.Version, f.code, f.text})
	}
	return reply(c, http.StatusOK, struct {
		Missing []importClaim   `json:"missing"`
		Refused []importRefusal `json:"refused"`
	}{missing, refused})
}
