package httpapi

import (
	"crypto/sha256"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"registry-node/events"
	"registry-node/node"
)

// OIDC is what everybody may know of the issuers that the registry trusts.
type OIDC struct {
	Issuers []node.IssuerName `json:"issuers"`
}

// Exchange is an ID token that is to be exchanged.
type Exchange struct {
	Issuer string `json:"issuer"` // by the name that the registry has for it
	Token  string `json:"token"`
}

// routeOIDC adds the routes about issuers of ID tokens.
func (s *Server) routeOIDC(e *echo.Echo) {
	get(e, "/api/v1/oidc", s.listIssuerNames)
	e.POST("/api/v1/oidc/exchange", s.exchange)
	get(e, "/api/v1/issuers", s.listIssuers)
	get(e, "/api/v1/issuers/:name", s.showIssuer)
	e.PUT("/api/v1/issuers/:name", s.putIssuer)
	e.DELETE("/api/v1/issuers/:name", s.deleteIssuer)
}

// listIssuerNames answers everybody who is about to sign in.
func (s *Server) listIssuerNames(c echo.Context) error {
	return reply(c, http.StatusOK, OIDC{s.node.IssuerNames()})
}

// exchange gives a token for an ID token, which is all the credentials it takes.
func (s *Server) exchange(c echo.Context) error {
	var in Exchange
	if err := decode(c, &in); err != nil {
		return err
	}
	got, err := s.node.Exchange(c.Request().Context(), in.Issuer, in.Token)
	if err != nil {
		return s.exchangeFailed(c, in.Issuer+" "+in.Token, err)
	}
	auditOf(c).issued(got.User, got.ID)
	return reply(c, http.StatusCreated, got)
}

// exchangeFailed counts what was to be exchanged and proves nothing as the failed
// login that it is. It keeps nobody out whose token is right. Other failures it
// returns as they are.
func (s *Server) exchangeFailed(c echo.Context, shown string, err error) error {
	if !errors.Is(err, node.ErrUnauthorized) {
		return err
	}
	from := c.Response().Writer.(*writer).client
	if s.failures.failed(from, byExchange, sha256.Sum256([]byte(shown))) {
		err = fail(errThrottled, throttledText)
	}
	s.loginFailed(c, err)
	return err
}

func (s *Server) listIssuers(c echo.Context) error {
	all, err := s.node.Issuers(caller(c))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, struct {
		Issuers []events.TrustedIssuer `json:"issuers"`
	}{some(all)})
}

func (s *Server) showIssuer(c echo.Context) error {
	is, err := s.node.Issuer(caller(c), c.Param("name"))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, is)
}

// putIssuer trusts an issuer: 201 if it is a new one.
func (s *Server) putIssuer(c echo.Context) error {
	var in events.Issuer
	if err := decode(c, &in); err != nil {
		return err
	}
	is, made, err := s.node.PutIssuer(c.Request().Context(), caller(c), c.Param("name"), in)
	return put(c, is, made, err)
}

func (s *Server) deleteIssuer(c echo.Context) error {
	if err := s.node.DeleteIssuer(c.Request().Context(), caller(c), c.Param("name")); err != nil {
		return err
	}
	return noContent(c)
}
