package httpapi

import (
	"cmp"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"registry-node/node"
	"registry-node/node/access"
)

// The JFrog CLI has what its user types, a password, "encrypted" once, and before
// most commands exchanges that for a token. A password is encrypted into itself
// here: it is the secret all the same.

// encryptedPassword answers with the password that was shown, which clients use in
// its place from then on. They write it into GOPROXY, where a comma ends a URL.
func (s *Server) encryptedPassword(c echo.Context) error {
	w, r := c.Response().Writer.(*writer), c.Request()
	if !w.who.Known() {
		return fail(node.ErrUnauthorized, "to have a password encrypted, show it with the name of its user, as Basic")
	}
	_, password, ok := r.BasicAuth()
	switch {
	case !ok || password == "":
		return fail(node.ErrInvalid, "to have a password encrypted, show it with the name of its user, as Basic")
	case strings.Contains(password, ","):
		return fail(errConflict, "this password has a comma, which divides GOPROXY in two, so the go command can't use it: take a token in its place (registry-node token create; jf config add --access-token), or change the password")
	}
	w.Header()["Cache-Control"] = cacheNever
	send(w, r, http.StatusOK, typeText, []byte(password))
	return nil
}

// tokenAnswer is what a client is told of a token.
type tokenAnswer struct {
	Scope        string `json:"scope"`
	AccessToken  string `json:"access_token"` // in the shape of a JWT
	ExpiresIn    int64  `json:"expires_in"`   // seconds
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
}

const (
	maxScope     = 255 // bytes of a scope that is told back
	defaultScope = "member-of-groups:*"
)

// artifactoryToken gives a token for credentials, or one in place of a token that is
// about to expire. How long it lasts is not for the client to say.
func (s *Server) artifactoryToken(c echo.Context) error {
	form, err := readForm(c)
	if err != nil {
		return err
	}
	var got node.Exchanged
	switch grant := form.Get("grant_type"); grant {
	case "", "client_credentials", "password":
		got, err = s.tokenFor(c, form)
	case "refresh_token":
		got, err = s.refreshedToken(c, form)
	default:
		err = fail(node.ErrInvalid, "the grant_type "+quote(grant)+" is none of client_credentials, refresh_token")
	}
	if err != nil {
		return err
	}
	t, err := access.ParseToken(got.Token)
	if err != nil {
		return err
	}
	auditOf(c).issued(got.User, got.ID)
	scope := form.Get("scope")
	if len(scope) > maxScope {
		scope = ""
	}
	claims := access.Claims{Subject: got.User, Issuer: "registry-node@" + s.node.Site().String(), Issued: time.Now(), Expires: got.Expires}
	return replyAs(c, http.StatusOK, typePlainJSON, tokenAnswer{
		Scope: cmp.Or(scope, defaultScope), AccessToken: t.JWT(claims), ExpiresIn: int64(time.Until(claims.End()).Seconds()),
		RefreshToken: node.RefreshToken(t), TokenType: "Bearer",
	})
}

// tokenFor gives a token to who shows credentials: the one that is shown, or one for
// the password.
func (s *Server) tokenFor(c echo.Context, form url.Values) (node.Exchanged, error) {
	who := caller(c)
	if who.User() == "" {
		return node.Exchanged{}, fail(node.ErrUnauthorized, "a token is given to a user who shows a password, or another token")
	}
	if name := form.Get("username"); name != "" && !strings.EqualFold(name, who.User()) {
		return node.Exchanged{}, fail(node.ErrForbidden, "here a token is given to "+who.User()+", who asks; for another user an administrator says: registry-node token create")
	}
	if t, ok := who.Credential().Token(); ok {
		return node.Exchanged{ID: t.ID(), Token: t.Secret(), Expires: who.Expires(), User: who.User()}, nil
	}
	return s.node.ExchangePassword(c.Request().Context(), who)
}

// refreshedToken gives a token in place of the one that the form shows, which are
// all the credentials it takes.
func (s *Server) refreshedToken(c echo.Context, form url.Values) (node.Exchanged, error) {
	shown, refresh := form.Get("access_token"), form.Get("refresh_token")
	t, err := access.ParseToken(access.Bare(shown))
	if err != nil {
		err = &node.Error{Kind: node.ErrUnauthorized, Text: "the access_token is none of this registry", Err: err}
		return node.Exchanged{}, s.exchangeFailed(c, shown, err)
	}
	got, err := s.node.RefreshExchanged(c.Request().Context(), t, refresh, c.Response().Writer.(*writer).client)
	if err != nil {
		return node.Exchanged{}, s.exchangeFailed(c, shown+" "+refresh, err)
	}
	return got, nil
}

// readForm reads the form that is the body of a request. Errors repeat none of it.
func readForm(c echo.Context) (url.Values, error) {
	r := c.Request()
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, fail(node.ErrInvalid, "the body is not application/x-www-form-urlencoded, as its Content-Type says")
	}
	from, err := limited(c.Response().Writer.(*writer), r, maxJSON, "the form")
	if err != nil {
		return nil, err
	}
	if b, ok := r.Body.(*body); ok {
		b.pace = min(b.pace, jsonTime)
	}
	text, err := io.ReadAll(from)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(text))
	if err != nil || len(form) > maxParams {
		return nil, fail(node.ErrInvalid, "the body is no form")
	}
	for _, values := range form {
		if len(values) > 1 {
			return nil, fail(node.ErrInvalid, "the form has a field twice")
		}
	}
	return form, nil
}
