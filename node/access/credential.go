package access

import (
	"errors"
	"log/slog"
	"strings"

	"registry-node/events"
)

// Credential is what a request brought to say who asks: a token, a user's name
// and password, or nothing; or the ID token that a token stands for, which another
// site forwards. It shows itself to nobody.
type Credential struct {
	token           Token
	user, password  string
	issuer, idToken string
}

// TokenCredential is a token.
func TokenCredential(t Token) Credential { return Credential{token: t} }

// PasswordCredential is the name of a user and the password.
func PasswordCredential(user, password string) Credential {
	return Credential{user: user, password: password}
}

// IDTokenCredential is an ID token of the issuer of a name, which was exchanged for
// a token that one site alone knows: so it is what that site forwards.
func IDTokenCredential(issuer, idToken string) Credential {
	return Credential{issuer: issuer, idToken: idToken}
}

// IsZero reports whether there is none.
func (c Credential) IsZero() bool { return c == Credential{} }

// Token returns the token; ok is false if it is something else.
func (c Credential) Token() (t Token, ok bool) { return c.token, !c.token.IsZero() }

// Password returns the name of a user and the password; ok is false if it is
// something else.
func (c Credential) Password() (user, password string, ok bool) {
	return c.user, c.password, c.user != ""
}

// IDToken returns an ID token and the name of its issuer; ok is false if it is
// something else.
func (c Credential) IDToken() (issuer, idToken string, ok bool) {
	return c.issuer, c.idToken, c.idToken != ""
}

// Reveal returns the credential as one site forwards it to another, within their
// mutual TLS, and nowhere else; ParseCredential is its inverse.
func (c Credential) Reveal() string {
	switch {
	case !c.token.IsZero():
		return "token:" + c.token.Secret()
	case c.user != "":
		return "basic:" + c.user + ":" + c.password
	case c.idToken != "":
		return "oidc:" + c.issuer + ":" + c.idToken
	}
	return ""
}

// ParseCredential returns the credential that another site forwarded. Its errors
// don't repeat any of s.
func ParseCredential(s string) (Credential, error) {
	kind, rest, _ := strings.Cut(s, ":")
	switch kind {
	case "":
		return Credential{}, nil
	case "token":
		t, err := ParseToken(rest)
		return TokenCredential(t), err
	case "basic":
		if user, password, ok := strings.Cut(rest, ":"); ok && user != "" {
			return PasswordCredential(user, password), nil
		}
	case "oidc":
		if issuer, idToken, ok := strings.Cut(rest, ":"); ok && events.CheckUserName(issuer) == nil && idToken != "" {
			return IDTokenCredential(issuer, idToken), nil
		}
	}
	return Credential{}, errors.New("a credential of a kind that is not known here; is this site of an older version?")
}

const redacted = "[redacted]"

// String returns nothing of the credential.
func (c Credential) String() string { return redacted }

// GoString returns nothing of the credential.
func (c Credential) GoString() string { return redacted }

// LogValue returns nothing of the credential.
func (c Credential) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns nothing of the credential.
func (c Credential) MarshalText() ([]byte, error) { return []byte(redacted), nil }
