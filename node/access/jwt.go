package access

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// Clients of an Artifactory want tokens in the shape of a JWT, of which they read
// the claims. Ours are no JWTs: what counts is the token in the place of the
// signature, and the rest is for such clients alone. Nobody here ever believes it.

// neverExpires is what a JWT says of a token that has no end: clients want one.
const neverExpires = 10 * 365 * 24 * time.Hour

// Claims are what clients read in a token that has the shape of a JWT.
type Claims struct {
	Subject string    // name of the user
	Issuer  string    // name of the registry
	Issued  time.Time // now
	Expires time.Time // zero: never
}

// End returns when clients are told that the token expires.
func (c Claims) End() time.Time {
	if c.Expires.IsZero() {
		return c.Issued.Add(neverExpires)
	}
	return c.Expires
}

// JWT returns the token in the shape of a JWT. Some clients decode its middle part
// with the standard alphabet of Base64, some with that for URLs: they agree as long
// as the text has only ASCII, without > ? ~ and DEL. Names of users and sites have
// none of those.
func (t Token) JWT(c Claims) string {
	header, _ := json.Marshal(map[string]string{"alg": "none", "kid": t.ID(), "typ": "JWT"}) // texts
	claims, _ := json.Marshal(map[string]any{
		"aud": "*@*", "exp": c.End().Unix(), "iat": c.Issued.Unix(), "iss": c.Issuer, "jti": t.ID(), "sub": c.Subject,
	})
	e := base64.RawURLEncoding
	return e.EncodeToString(header) + "." + e.EncodeToString(claims) + "." + t.Secret()
}

// Bare returns s without what JWT puts before a token: the third of three parts
// divided by dots, if that begins like a token, else s.
func Bare(s string) string {
	if i := strings.LastIndexByte(s, '.'); strings.Count(s, ".") == 2 && strings.HasPrefix(s[i+1:], TokenPrefix) {
		return s[i+1:]
	}
	return s
}
