package upstream

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// Credential is what an upstream knows this node by: user and password, a
// bearer token, a header, or a TLS client certificate. The zero Credential is
// none. However it is printed or logged, it shows as "[redacted]".
type Credential struct {
	// A function, as package fmt shows the address of one and no more. It calls
	// no method of a Credential in an unexported field of another struct.
	reveal func() *secret
}

// conceal returns the Credential of s.
func conceal(s secret) Credential { return Credential{func() *secret { return &s }} }

// secret returns what c holds, nil if it is none.
func (c Credential) secret() *secret {
	if c.reveal == nil {
		return nil
	}
	return c.reveal()
}

// secret is not changed once it is made.
type secret struct {
	header, value  string           // sent with each request, if header is not empty
	user, password string           // of a basic credential, the only kind for proxies
	cert           *tls.Certificate // used in the handshake, if not nil
	certID         [sha256.Size]byte
	echoes         []string // texts by which an answer would give the secret away
}

// BasicCredential is user and password, sent as basic authentication. The user
// may not contain a colon (RFC 7617). Errors show neither.
func BasicCredential(user, password string) (Credential, error) {
	switch {
	case user == "" && password == "":
		return Credential{}, errors.New("basic credential: user and password are empty")
	case strings.Contains(user, ":"):
		return Credential{}, errors.New("basic credential: the user contains a colon")
	case strings.ContainsFunc(user+password, unicode.IsControl):
		return Credential{}, errors.New("basic credential: user or password contains a control character")
	}
	return basic(user, password), nil
}

func basic(user, password string) Credential {
	coded := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	return conceal(secret{
		header: "Authorization", value: "Basic " + coded,
		user: user, password: password,
		echoes: echoes(password, coded),
	})
}

// BearerCredential is a token, sent as bearer authentication (RFC 6750).
func BearerCredential(token string) (Credential, error) {
	if !isVisible(token) {
		return Credential{}, errors.New("bearer credential: the token is empty or has other characters than visible ASCII")
	}
	return conceal(secret{header: "Authorization", value: "Bearer " + token, echoes: echoes(token)}), nil
}

// HeaderCredential is a header of any name that does not steer the protocol.
func HeaderCredential(name, value string) (Credential, error) {
	name = http.CanonicalHeaderKey(name)
	switch {
	case !isToken(name) || slices.Contains(protocolHeaders, name):
		return Credential{}, fmt.Errorf("header credential: %q can't be the name of the header", clip(name))
	case strings.TrimSpace(value) != value || !isVisible(strings.ReplaceAll(value, " ", "_")):
		return Credential{}, fmt.Errorf("header credential: the value of %s is empty or has other characters than visible ASCII and inner spaces", name)
	}
	return conceal(secret{header: name, value: value, echoes: echoes(value)}), nil
}

var protocolHeaders = []string{
	"Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Expect", "Host", "Keep-Alive",
	"Proxy-Authorization", "Proxy-Connection", "Range", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "User-Agent",
	http.CanonicalHeaderKey(ViaHeader),
}

// CertificateCredential is a TLS client certificate with its chain, leaf first,
// and its key, both in PEM.
func CertificateCredential(certPEM, keyPEM []byte) (Credential, error) {
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return Credential{}, fmt.Errorf("certificate credential: %w", err)
	}
	return conceal(secret{cert: &cert, certID: sha256.Sum256(slices.Concat(cert.Certificate...))}), nil
}

const redacted = "[redacted]"

// String returns "[redacted]".
func (Credential) String() string { return redacted }

// GoString returns "[redacted]".
func (Credential) GoString() string { return redacted }

// Format writes "[redacted]", whatever the verb.
func (Credential) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue returns "[redacted]".
func (Credential) LogValue() slog.Value { return slog.StringValue(redacted) }

// echoes are the forms in which an answer may repeat secrets.
func echoes(secrets ...string) []string {
	var all []string
	for _, s := range secrets {
		if s != "" {
			all = append(all, s, url.QueryEscape(s), url.PathEscape(s))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// isIn reports whether text gives the credential away.
func (c Credential) isIn(text string) bool {
	s := c.secret()
	return s != nil && slices.ContainsFunc(s.echoes, func(e string) bool { return strings.Contains(text, e) })
}

// names reports whether text names the user, which is no secret, but is nothing
// for others than who configured it either.
func (c Credential) names(text string) bool {
	s := c.secret()
	return s != nil && s.user != "" && strings.Contains(text, s.user)
}

func isVisible(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// isToken reports whether s has the form of a header's name (RFC 9110, 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
	})
}
