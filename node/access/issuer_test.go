package access_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	"registry-node/events"
	"registry-node/node/access"
)

// testIssuer is an issuer of ID tokens, behind TLS.
type testIssuer struct {
	t   *testing.T
	srv *httptest.Server
	now time.Time

	mu     sync.Mutex // guards what follows
	served oidctest.Server
	asked  map[string]int // requests by path
	answer http.HandlerFunc
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })

func newIssuer(t *testing.T) *testIssuer {
	t.Helper()
	s := &testIssuer{t: t, now: time.Unix(1_800_000_000, 0), asked: map[string]int{}}
	s.srv = httptest.NewTLSServer(s)
	t.Cleanup(s.srv.Close)
	s.served.SetIssuer(s.srv.URL)
	s.has("k1", oidc.RS256, rsaKey().Public())
	return s
}

func (s *testIssuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[r.URL.Path]++
	if s.answer != nil {
		s.answer(w, r)
		return
	}
	s.served.ServeHTTP(w, r)
}

// has has the issuer publish a key, and no other.
func (s *testIssuer) has(id, alg string, key crypto.PublicKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served.PublicKeys = []oidctest.PublicKey{{PublicKey: key, KeyID: id, Algorithm: alg}}
}

// answers has the issuer answer so from now on; nil is as an issuer does.
func (s *testIssuer) answers(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = h
}

func (s *testIssuer) times(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[path]
}

// rule returns what the registry says of the issuer.
func (s *testIssuer) rule() events.Issuer {
	return events.Issuer{URL: s.srv.URL, Purpose: events.Exchange, Audience: "registry", User: "ci",
		Claims: []events.Claim{{Name: "repository", Pattern: must(events.ParseClaimPattern("corp/*"))}}}
}

// claims returns those of a good token, changed.
func (s *testIssuer) claims(change map[string]any) string {
	c := map[string]any{
		"iss": s.srv.URL, "aud": "registry", "sub": "repo:corp/a", "repository": "corp/a",
		"iat": s.now.Unix(), "exp": s.now.Add(5 * time.Minute).Unix(),
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return string(must(json.Marshal(c)))
}

// token returns a good token with other claims.
func (s *testIssuer) token(change map[string]any) string {
	return oidctest.SignIDToken(rsaKey(), "k1", oidc.RS256, s.claims(change))
}

// verifier returns one that trusts the issuer's certificate, at the issuer's time.
func (s *testIssuer) verifier() *access.Verifier {
	return access.NewVerifier(s.srv.Client().Transport, func() time.Time { return s.now })
}

func ecKey() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func edKey() ed25519.PrivateKey {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	return must(k, err)
}
