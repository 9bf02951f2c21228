package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"registry-node/node/upstream"
)

// Secret is what an upstream knows a site by: of one of the kinds basic (user and
// password), bearer (a token), header (of any name) and certificate (of a TLS
// client). Or it is of the kind webhook: a key that signs what webhooks are sent.
// However it is printed or logged, it shows as "[redacted]".
type Secret struct {
	kind       string
	text       []byte // as it is kept
	credential upstream.Credential
	user       string
	password   string
	signer     webhookKey
}

// secretText is how a secret is kept: exactly one field is there.
type secretText struct {
	Basic *struct {
		User     string `json:"user"`
		Password string `json:"password"`
	} `json:"basic,omitempty"`
	Bearer *struct {
		Token string `json:"token"`
	} `json:"bearer,omitempty"`
	Header *struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"header,omitempty"`
	Certificate *struct {
		Cert string `json:"cert"` // PEM, with its chain
		Key  string `json:"key"`  // PEM
	} `json:"certificate,omitempty"`
	Webhook *struct {
		Key string `json:"key"` // whsec_ and base64
	} `json:"webhook,omitempty"`
}

// errSecretForm names no part of the text, all of which may be secret.
var errSecretForm = errors.New(`it is none of {"basic":{"user":"…","password":"…"}}, {"bearer":{"token":"…"}}, {"header":{"name":"…","value":"…"}}, {"certificate":{"cert":"PEM","key":"PEM"}}, {"webhook":{"key":"whsec_…"}}`)

// ParseSecret returns the secret in a JSON text, or why it is none, in words that
// give nothing of it away.
func ParseSecret(text []byte) (Secret, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var t secretText
	if d.Decode(&t) != nil || len(bytes.TrimSpace(text[d.InputOffset():])) > 0 {
		return Secret{}, errSecretForm
	}
	s := Secret{text: bytes.Clone(text)}
	var err error
	kinds := 0
	if b := t.Basic; b != nil {
		kinds++
		s.kind, s.user, s.password = "basic", b.User, b.Password
		s.credential, err = upstream.BasicCredential(b.User, b.Password)
	}
	if b := t.Bearer; b != nil {
		kinds++
		s.kind = "bearer"
		s.credential, err = upstream.BearerCredential(b.Token)
	}
	if h := t.Header; h != nil {
		kinds++
		s.kind = "header"
		s.credential, err = upstream.HeaderCredential(h.Name, h.Value)
	}
	if c := t.Certificate; c != nil {
		kinds++
		s.kind = "certificate"
		s.credential, err = upstream.CertificateCredential([]byte(c.Cert), []byte(c.Key))
	}
	if w := t.Webhook; w != nil {
		kinds++
		s.kind = kindWebhook
		s.signer, err = parseWebhookKey(w.Key)
	}
	if kinds != 1 {
		return Secret{}, errSecretForm
	}
	if err != nil {
		return Secret{}, err
	}
	return s, nil
}

// Kind returns basic, bearer, header, certificate or webhook.
func (s Secret) Kind() string { return s.kind }

// Format writes "[redacted]", whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, "[redacted]") }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalJSON writes "[redacted]".
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }
