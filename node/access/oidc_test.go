package access_test

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	"registry-node/events"
	"registry-node/node/access"
)

// refusal checks an error: its kind, a part of its text, and that nothing of the
// token is in it.
func refusal(t *testing.T, what string, err, kind error, text, token string) {
	t.Helper()
	if kind == nil {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: got %v, want %v with %q", what, err, kind, text)
	}
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 8 && err != nil && strings.Contains(err.Error(), part) {
			t.Errorf("%s: the token is in %v", what, err)
		}
	}
}

func TestVerifyClaims(t *testing.T) {
	s := newIssuer(t)
	v := s.verifier()
	at := func(d time.Duration) int64 { return s.now.Add(d).Unix() }
	type changes = map[string]any
	for name, tt := range map[string]struct {
		change changes
		kind   error
		text   string
	}{
		"good":                  {nil, nil, ""},
		"another issuer":        {changes{"iss": "https://evil.test"}, access.ErrIDToken, "evil.test"},
		"issuer with a slash":   {changes{"iss": s.srv.URL + "/"}, access.ErrIDToken, "different provider"},
		"another audience":      {changes{"aud": "other"}, access.ErrIDToken, `"other"`},
		"no audience":           {changes{"aud": nil}, access.ErrIDToken, "audience"},
		"audience in a list":    {changes{"aud": []string{"registry"}}, nil, ""},
		"two audiences":         {changes{"aud": []string{"registry", "other"}}, access.ErrIDToken, "alone"},
		"expired":               {changes{"exp": at(-61 * time.Second)}, access.ErrIDToken, "expired at 2027-01-15"},
		"expired a moment ago":  {changes{"exp": at(-59 * time.Second)}, nil, ""},
		"no expiry":             {changes{"exp": nil}, access.ErrIDToken, `"exp"`},
		"expiry that is none":   {changes{"exp": 0}, access.ErrIDToken, `"exp"`},
		"not yet":               {changes{"nbf": at(61 * time.Second)}, access.ErrIDToken, "not valid yet"},
		"in a moment":           {changes{"nbf": at(59 * time.Second)}, nil, ""},
		"from the future":       {changes{"iat": at(61 * time.Second)}, access.ErrIDToken, "not valid yet"},
		"no time":               {changes{"iat": nil}, access.ErrIDToken, `"iat"`},
		"old":                   {changes{"iat": at(-62 * time.Minute)}, access.ErrIDToken, "get a new one"},
		"an hour old":           {changes{"iat": at(-time.Hour)}, nil, ""},
		"another repository":    {changes{"repository": "evil/a"}, access.ErrClaims, `claim "repository" is "evil/a", and must match "corp/*"`},
		"repository below":      {changes{"repository": "corp/a/b"}, access.ErrClaims, "must match"},
		"no repository":         {changes{"repository": nil}, access.ErrClaims, "not there"},
		"repository is no text": {changes{"repository": changes{"a": "corp/a"}}, access.ErrClaims, "not there"},
		"one of a list":         {changes{"repository": []string{"x/y", "corp/a"}}, nil, ""},
		"none of a list":        {changes{"repository": []any{"x/y", 1, nil}}, access.ErrClaims, `"x/y", "1"`},
	} {
		token := s.token(tt.change)
		p, err := v.Verify(t.Context(), s.rule(), token)
		refusal(t, name, err, tt.kind, tt.text, token)
		if err == nil && p.User != "ci" {
			t.Errorf("%s: it is %q", name, p.User)
		}
	}
	if n := s.times("/keys"); n != 1 {
		t.Errorf("the issuer was asked for its keys %d times", n)
	}
}

func TestVerifyUserClaim(t *testing.T) {
	s := newIssuer(t)
	v := s.verifier()
	type changes = map[string]any
	for name, tt := range map[string]struct {
		claim  string
		change changes
		user   string
		text   string
	}{
		"subject":              {"sub", changes{"sub": "ann"}, "ann", ""},
		"subject with capital": {"sub", changes{"sub": "Ann"}, "", "can't be a user"},
		"none":                 {"login", nil, "", "not there"},
		"two":                  {"login", changes{"login": []string{"ann", "bob"}}, "", `"ann", "bob"`},
		"email":                {"email", changes{"email": "Ann@Corp.test", "email_verified": true}, "ann@corp.test", ""},
		"email, as text":       {"email", changes{"email": "ann@corp.test", "email_verified": "true"}, "ann@corp.test", ""},
		"email, not verified":  {"email", changes{"email": "ann@corp.test", "email_verified": false}, "", "email_verified"},
		"email, not said":      {"email", changes{"email": "ann@corp.test"}, "", "email_verified"},
		"upn":                  {"upn", changes{"upn": "Ann@corp.test"}, "ann@corp.test", ""},
		"other's name":         {"sub", changes{"sub": "user:ann"}, "", "can't be a user"},
	} {
		is := s.rule()
		is.User, is.UserClaim = "", tt.claim
		p, err := v.Verify(t.Context(), is, s.token(tt.change))
		if tt.text != "" {
			refusal(t, name, err, access.ErrClaims, tt.text, "")
		} else if err != nil || p.User != tt.user {
			t.Errorf("%s: %q, %v, want %q", name, p.User, err, tt.user)
		}
	}
}

// part returns one of the three parts of a JWT.
func part(v any) string { return base64.RawURLEncoding.EncodeToString(must(json.Marshal(v))) }

// Nobody but the issuer makes tokens, whatever a token says about how it is signed.
func TestVerifySignature(t *testing.T) {
	s := newIssuer(t)
	v := s.verifier()
	ec, ed := ecKey(), edKey()
	claims := part(json.RawMessage(s.claims(nil)))
	good := strings.Split(s.token(nil), ".")
	header := func(h map[string]any) string { return part(h) + "." + claims }
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(rsaKey().Public()))})
	mac := func(text string) string {
		m := hmac.New(sha256.New, public)
		io.WriteString(m, text)
		return text + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
	}
	b64 := base64.RawURLEncoding.EncodeToString
	for name, token := range map[string]string{
		"empty":                    "",
		"no JWT":                   "hunter2hunter2",
		"another key":              oidctest.SignIDToken(ec, "k1", oidc.ES256, s.claims(nil)),
		"another key, id":          oidctest.SignIDToken(ec, "k2", oidc.ES256, s.claims(nil)),
		"none":                     header(map[string]any{"alg": "none", "kid": "k1"}) + ".",
		"None":                     header(map[string]any{"alg": "None", "kid": "k1"}) + ".",
		"no algorithm":             header(map[string]any{"kid": "k1"}) + "." + good[2],
		"HMAC with the public key": mac(header(map[string]any{"alg": "HS256", "kid": "k1"})),
		"RS512":                    oidctest.SignIDToken(rsaKey(), "k1", oidc.RS512, s.claims(nil)),
		"PS256":                    oidctest.SignIDToken(rsaKey(), "k1", oidc.PS256, s.claims(nil)),
		"other claims":             good[0] + "." + part(json.RawMessage(s.claims(map[string]any{"sub": "x"}))) + "." + good[2],
		"no signature":             good[0] + "." + good[1] + ".",
		"four parts":               strings.Join(good, ".") + ".x",
		"in JSON":                  `{"payload":"` + good[1] + `","protected":"` + good[0] + `","signature":"` + good[2] + `","header":{"a":".."}}`,
		"large":                    s.token(map[string]any{"x": strings.Repeat("x", 17<<10)}),
	} {
		_, err := v.Verify(t.Context(), s.rule(), token)
		refusal(t, name, err, access.ErrIDToken, "", token)
	}
	for name, extra := range map[string]any{
		"jwk": map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(ed.Public().(ed25519.PublicKey))}, "jku": s.srv.URL + "/evil", "x5u": s.srv.URL + "/evil",
	} {
		text := header(map[string]any{"alg": "EdDSA", name: extra})
		token := text + "." + b64(ed25519.Sign(ed, []byte(text)))
		_, err := v.Verify(t.Context(), s.rule(), token)
		refusal(t, name, err, access.ErrIDToken, "", token)
	}
	if n := s.times("/evil"); n != 0 {
		t.Errorf("a token had the node ask %d times for keys", n)
	}
}

// A key of each kind that is known, with and without the token saying which.
func TestVerifyAlgorithms(t *testing.T) {
	s := newIssuer(t)
	ec, ed := ecKey(), edKey()
	for _, tt := range []struct {
		alg  string
		priv any
		pub  any
	}{{oidc.RS256, rsaKey(), rsaKey().Public()}, {oidc.ES256, ec, ec.Public()}, {oidc.EdDSA, ed, ed.Public()}} {
		s.has("k", tt.alg, tt.pub)
		v := s.verifier()
		for _, id := range []string{"k", ""} {
			if _, err := v.Verify(t.Context(), s.rule(), oidctest.SignIDToken(tt.priv, id, tt.alg, s.claims(nil))); err != nil {
				t.Errorf("%s, key %q: %v", tt.alg, id, err)
			}
		}
	}
	// A key that the issuer has for one algorithm is no key for another.
	s.has("k", oidc.PS256, rsaKey().Public())
	_, err := s.verifier().Verify(t.Context(), s.rule(), oidctest.SignIDToken(rsaKey(), "k", oidc.RS256, s.claims(nil)))
	refusal(t, "key for PS256", err, access.ErrIssuer, "no key", "")
}

func TestKeysRotate(t *testing.T) {
	s := newIssuer(t)
	v := s.verifier()
	old, next := s.token(nil), ecKey()
	check := func(what, token string, kind error) {
		t.Helper()
		_, err := v.Verify(t.Context(), s.rule(), token)
		refusal(t, what, err, kind, "", token)
	}
	check("the first key", old, nil)
	s.has("k2", oidc.ES256, next.Public())
	sign := func() string { return oidctest.SignIDToken(next, "k2", oidc.ES256, s.claims(nil)) }
	check("a key that nobody knows is asked for once in 10 s", sign(), access.ErrIDToken)
	check("the old one is known", old, nil)
	s.now = s.now.Add(10 * time.Second)
	check("the next key", sign(), nil)
	check("the first, which is withdrawn", old, access.ErrIDToken)
	if n := s.times("/keys"); n != 2 {
		t.Errorf("the issuer was asked %d times, want 2", n)
	}

	// Keys are taken for its keys for an hour, then the issuer must say so again.
	s.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	s.now = s.now.Add(59 * time.Minute)
	check("while it is down", sign(), nil)
	s.now = s.now.Add(time.Minute)
	check("while it is down for long", sign(), access.ErrIssuer)
	s.answers(nil)
	check("it is not asked at once", sign(), access.ErrIssuer)
	s.now = s.now.Add(10 * time.Second)
	check("up again", sign(), nil)
}

func TestIssuersThatCannotBeAsked(t *testing.T) {
	var s *testIssuer
	inside := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("an issuer has this machine asked for %s", r.URL)
	}))
	defer inside.Close()
	discovery := func(jwks string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			json.NewEncoder(w).Encode(map[string]string{"issuer": s.srv.URL, "jwks_uri": jwks})
		}
	}
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		text   string
	}{
		"error":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, "404"},
		"another issuer": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"issuer":"https://evil.test"}`) }, "evil.test"},
		"keys over http": {discovery("http://keys.test/"), "https alone"},
		"keys in a file": {discovery("file:///etc/passwd"), "https alone"},
		"no keys":        {discovery(""), "https alone"},
		"redirects":      {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x"+r.URL.Path, http.StatusFound) }, "redirects"},
		"to http": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://keys.test/", http.StatusFound)
		}, "https alone"},
		"keys on this machine": {discovery(inside.URL), "https alone"},
		"to this machine":      {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inside.URL, http.StatusFound) }, "https alone"},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"issuer":"`+strings.Repeat("x", 2<<20))
		}, "too large"},
		"no JSON": {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") }, ""},
	} {
		s = newIssuer(t)
		s.answers(tt.answer)
		token := s.token(nil)
		_, err := s.verifier().Verify(t.Context(), s.rule(), token)
		refusal(t, name, err, access.ErrIssuer, tt.text, token)
	}
	s = newIssuer(t)
	v, rule, token := access.NewVerifier(nil, func() time.Time { return s.now }), s.rule(), s.token(nil)
	_, err := v.Verify(t.Context(), rule, token)
	refusal(t, "a certificate of nobody", err, access.ErrIssuer, "certificate", token)
	s.srv.Close()
	_, err = s.verifier().Verify(t.Context(), rule, token)
	refusal(t, "down", err, access.ErrIssuer, "refused", token)
}

// Who waits for another's question can stop waiting.
func TestVerifyEndsWithItsContext(t *testing.T) {
	s := newIssuer(t)
	v, token := s.verifier(), s.token(nil)
	asked, answer := make(chan struct{}), make(chan struct{})
	s.answers(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-answer
		w.WriteHeader(http.StatusBadGateway)
	})
	first := make(chan error, 1)
	go func() {
		_, err := v.Verify(t.Context(), s.rule(), token)
		first <- err
	}()
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := v.Verify(ctx, s.rule(), token)
	close(answer)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	refusal(t, "the first", <-first, access.ErrIssuer, "502", token)
}

// What a token was exchanged for may live on when the token has expired, for no
// longer than the registry gives it.
func TestVerifyExchanged(t *testing.T) {
	s := newIssuer(t)
	v, token := s.verifier(), s.token(nil)
	is := s.rule()
	is.TTL = events.SpanOf(30 * time.Minute)
	for _, tt := range []struct {
		after time.Duration
		kind  error
	}{{0, nil}, {80 * time.Minute, nil}, {91 * time.Minute, nil}, {91*time.Minute + time.Second, access.ErrIDToken}} {
		start := s.now
		s.now = start.Add(tt.after)
		_, err := v.VerifyExchanged(t.Context(), is, token)
		refusal(t, tt.after.String(), err, tt.kind, "", token)
		s.now = start
	}
	future := s.token(map[string]any{"nbf": s.now.Add(time.Hour).Unix()})
	_, err := v.VerifyExchanged(t.Context(), is, future)
	refusal(t, "not yet", err, access.ErrIDToken, "not valid yet", future)
	_, err = v.VerifyExchanged(t.Context(), is, s.token(map[string]any{"repository": "evil/a"}))
	refusal(t, "other claims", err, access.ErrClaims, "evil", "")
}

func TestSeal(t *testing.T) {
	token, other := access.NewToken(true), access.NewToken(true)
	sealed := must(token.Seal([]byte("eyJ.ID.token")))
	if strings.Contains(string(sealed), "eyJ") {
		t.Error("it can be read")
	}
	if text, err := token.Unseal(sealed); err != nil || string(text) != "eyJ.ID.token" {
		t.Errorf("got %q, %v", text, err)
	}
	if text, err := other.Unseal(sealed); err == nil {
		t.Errorf("another token reads %q", text)
	}
	sealed[len(sealed)-1]++
	if text, err := token.Unseal(sealed); err == nil {
		t.Errorf("changed, it is %q", text)
	}
	if _, err := (access.Token{}).Seal(nil); err == nil {
		t.Error("no token seals")
	}
}
