package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"registry-node/events"
)

// What can be wrong with an ID token. The texts name the claim, or what else it
// is, and never the token.
var (
	// ErrIDToken says that it is not a valid token of the issuer for this registry.
	ErrIDToken = errors.New("not a valid ID token")
	// ErrClaims says that it is valid, and the issuer's claims are other ones.
	ErrClaims = errors.New("the claims don't match")
	// ErrIssuer says that the issuer's keys can't be had now.
	ErrIssuer = errors.New("the issuer can't be asked")
)

const (
	// maxIDToken bounds the text of an ID token, in bytes.
	maxIDToken = 16 << 10
	// MaxIDTokenAge is how old an ID token may be that is exchanged, and Leeway how
	// far the issuer's clock may be from ours.
	MaxIDTokenAge = time.Hour
	Leeway        = time.Minute
)

// Verifier checks ID tokens. It keeps the keys of their issuers in memory.
type Verifier struct{ keys *keyring }

// NewVerifier returns a verifier that asks issuers over rt, and takes now for the
// time; nil are the network and the clock.
func NewVerifier(rt http.RoundTripper, now func() time.Time) *Verifier {
	if now == nil {
		now = time.Now
	}
	return &Verifier{newKeyring(rt, now)}
}

// Proof is what an ID token proves.
type Proof struct {
	User   string    // whom the issuer stands for, or names
	Issued time.Time // by the issuer's clock
}

// Verify checks an ID token that is to be exchanged. It fails with ErrIDToken,
// ErrClaims or ErrIssuer, or as ctx ends.
func (v *Verifier) Verify(ctx context.Context, is events.Issuer, raw string) (Proof, error) {
	return v.verify(ctx, is, raw, v.fresh)
}

// VerifyExchanged checks an ID token that another site has exchanged, for a token
// that may be valid still, though the ID token has expired. It fails as Verify
// does.
func (v *Verifier) VerifyExchanged(ctx context.Context, is events.Issuer, raw string) (Proof, error) {
	return v.verify(ctx, is, raw, func(t idTimes) error { return v.exchanged(t, is.Lifetime()) })
}

func (v *Verifier) verify(ctx context.Context, is events.Issuer, raw string, timely func(idTimes) error) (Proof, error) {
	// go-jose also reads signatures in JSON, in which more than one can be.
	if len(raw) > maxIDToken || strings.Count(raw, ".") != 2 || strings.ContainsAny(raw, "{} \n") {
		return Proof{}, fmt.Errorf("%w: not a signed JWT of at most %d KiB", ErrIDToken, maxIDToken>>10)
	}
	set := &keySet{ring: v.keys, issuer: is.URL}
	check := oidc.NewVerifier(is.URL, set, &oidc.Config{
		ClientID: is.Audience, SupportedSigningAlgs: algorithms, SkipExpiryCheck: true, // exp, nbf and iat are checked below
	})
	t, err := check.Verify(ctx, raw)
	if set.failed != nil {
		return Proof{}, set.failed // go-oidc has no wrapped errors
	}
	if err != nil {
		return Proof{}, fmt.Errorf("%w of issuer %s: %s", ErrIDToken, is.URL, strings.TrimPrefix(err.Error(), "oidc: "))
	}
	if t.Issuer != is.URL || len(t.Audience) != 1 || t.Audience[0] != is.Audience { // go-oidc is content with less
		return Proof{}, fmt.Errorf("%w: it is from %q for %q, and not from %q for %q alone", ErrIDToken, t.Issuer, t.Audience, is.URL, is.Audience)
	}
	claims := map[string]json.RawMessage{}
	if err := t.Claims(&claims); err != nil {
		return Proof{}, fmt.Errorf("%w: its claims are no JSON object", ErrIDToken)
	}
	times, err := timesOf(claims)
	if err == nil {
		err = timely(times)
	}
	if err != nil {
		return Proof{}, err
	}
	user, err := userOf(is, claims)
	return Proof{User: user, Issued: times.issued}, err
}

// idTimes are the times in an ID token. notBefore is zero if there is none.
type idTimes struct{ issued, notBefore, expires time.Time }

func timesOf(claims map[string]json.RawMessage) (t idTimes, err error) {
	for name, at := range map[string]*time.Time{"iat": &t.issued, "nbf": &t.notBefore, "exp": &t.expires} {
		raw, ok := claims[name]
		if !ok && name == "nbf" {
			continue
		}
		var seconds float64 // RFC 7519, 2: fractions are allowed
		if !ok || json.Unmarshal(raw, &seconds) != nil || seconds < 1 || seconds > 1<<40 {
			return t, fmt.Errorf("%w: it has no %q that is a time", ErrIDToken, name)
		}
		*at = time.Unix(int64(seconds), 0)
	}
	return t, nil
}

// fresh sees to it that an ID token can be exchanged now.
func (v *Verifier) fresh(t idTimes) error {
	now := v.keys.now()
	switch {
	case now.After(t.expires.Add(Leeway)):
		return fmt.Errorf("%w: it expired at %s", ErrIDToken, t.expires.UTC().Format(time.RFC3339))
	case now.After(t.issued.Add(MaxIDTokenAge + Leeway)):
		return fmt.Errorf("%w: it was issued at %s, and may be %v old; get a new one", ErrIDToken, t.issued.UTC().Format(time.RFC3339), MaxIDTokenAge)
	}
	return v.begun(t)
}

// exchanged sees to it that what an ID token was exchanged for can be valid.
func (v *Verifier) exchanged(t idTimes, lifetime time.Duration) error {
	if v.keys.now().After(t.issued.Add(MaxIDTokenAge + lifetime + Leeway)) {
		return fmt.Errorf("%w: what it was exchanged for has expired", ErrIDToken)
	}
	return v.begun(t)
}

func (v *Verifier) begun(t idTimes) error {
	soon := v.keys.now().Add(Leeway)
	if t.issued.After(soon) || t.notBefore.After(soon) {
		return fmt.Errorf("%w: it is not valid yet; is the clock of this node or of the issuer wrong?", ErrIDToken)
	}
	return nil
}
