package events

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A Purpose says what the ID tokens of an Issuer are taken for.
type Purpose string

// The purposes of an issuer.
const (
	// Exchange is for programs: a CI system hands its job an ID token, which the
	// job exchanges for a token of the registry.
	Exchange Purpose = "exchange"
	// Login is for people, who sign in at the issuer in a browser.
	Login Purpose = "login"
)

// How long a token lasts that an ID token was exchanged for.
const (
	DefaultExchangeTTL = 15 * time.Minute
	DefaultLoginTTL    = 12 * time.Hour
	MaxIssuerTTL       = 24 * time.Hour
)

// Issuer is whose OpenID Connect ID tokens the registry takes, for whom, and what
// the tokens may do that it gives for them.
type Issuer struct {
	// URL is the issuer as its tokens name it in "iss", to the letter: https, or
	// http on a loopback address.
	URL     string  `json:"url"`
	Purpose Purpose `json:"purpose"`
	// Audience is what its tokens must have been made for: their only "aud". At a
	// Login it is the client id that the registry's users sign in with, that of a
	// public client, which has no secret.
	Audience string `json:"audience"`
	// Claims must all be in the ID token and match. An issuer that gives tokens to
	// anybody in the world needs one that says who is meant.
	Claims []Claim `json:"claims,omitempty"`
	// User is who it is, or UserClaim is the claim that names the user, exactly; an
	// email address (in the claims "email" and "upn") in lower case. Without a
	// user of that name there is no token.
	User      string `json:"user,omitempty"`
	UserClaim string `json:"user_claim,omitempty"`
	// Repos, Actions and Modules limit the tokens that are given, as those of
	// TokenIssued do.
	Repos   []string  `json:"repos,omitempty"`
	Actions []string  `json:"actions,omitempty"`
	Modules []Pattern `json:"modules,omitempty"`
	TTL     Span      `json:"ttl,omitzero"` // of the tokens that are given
}

// Claim is what an ID token must say: a string, a number or a boolean that the
// pattern matches, or a list with one that it matches.
type Claim struct {
	Name    string       `json:"name"`
	Pattern ClaimPattern `json:"pattern"`
}

// Lifetime returns how long a token lasts that an ID token was exchanged for.
func (i Issuer) Lifetime() time.Duration {
	if i.Purpose == Login {
		return i.TTL.Or(DefaultLoginTTL)
	}
	return i.TTL.Or(DefaultExchangeTTL)
}

// IssuerChanged makes an issuer, or replaces it. Decided by the registry's home,
// like IssuerDeleted. What was exchanged under the issuer as it was is void.
type IssuerChanged struct {
	always
	Name string `json:"name"`
	Issuer
	Actor string `json:"actor,omitempty"`
}

// IssuerDeleted ends an issuer.
type IssuerDeleted struct {
	always
	Name  string `json:"name"`
	Actor string `json:"actor,omitempty"`
}

// Type returns "issuer.changed".
func (IssuerChanged) Type() Type { return "issuer.changed" }

// Type returns "issuer.deleted".
func (IssuerDeleted) Type() Type { return "issuer.deleted" }

// Key returns the record of the issuer.
func (b IssuerChanged) Key(EventID) Key { return KeyIssuer(b.Name) }

// Key returns the record of the issuer.
func (b IssuerDeleted) Key(EventID) Key { return KeyIssuer(b.Name) }

func (b IssuerChanged) check() error { return checkIdentity(b.Name, b.Actor, b.Issuer.Check()) }
func (b IssuerDeleted) check() error { return checkIdentity(b.Name, b.Actor) }

// The bounds of an issuer.
const (
	maxIssuerURL = 512
	maxClaims    = 32
)

// Check reports why the registry can't take such an issuer.
func (i Issuer) Check() error {
	if len(i.Claims) > maxClaims || len(i.Modules) > maxList {
		return fmt.Errorf("more than %d claims, or %d patterns", maxClaims, maxList)
	}
	return errors.Join(checkIssuerURL(i.URL), i.checkPurpose(), i.checkAudience(), i.checkClaims(), i.checkUser(),
		checkAll("repository", i.Repos, checkRepoGlob), checkAll("action", i.Actions, checkAction))
}

func (i Issuer) checkPurpose() error {
	switch {
	case i.Purpose != Exchange && i.Purpose != Login:
		return fmt.Errorf("purpose %q is none of %s, %s", i.Purpose, Exchange, Login)
	case i.TTL.Or(0) > MaxIssuerTTL:
		return fmt.Errorf("tokens that last %v: at most %v", i.TTL, SpanOf(MaxIssuerTTL))
	}
	return nil
}

func (i Issuer) checkAudience() error {
	if i.Audience == "" {
		return errors.New("an issuer needs the audience that its tokens are made for")
	}
	return checkText("audience", i.Audience)
}

// checkClaims sees to it that not everybody counts who has an account at a public
// issuer.
func (i Issuer) checkClaims() error {
	for n, c := range i.Claims {
		switch {
		case slices.Contains(registered, c.Name):
			return fmt.Errorf("claim %q is checked in any case", c.Name)
		case slices.ContainsFunc(i.Claims[:n], func(o Claim) bool { return o.Name == c.Name }):
			return fmt.Errorf("claim %q stands twice", c.Name)
		case c.Pattern.s == "":
			return fmt.Errorf("claim %q has no pattern", c.Name)
		}
		if err := checkClaimName(c.Name); err != nil {
			return err
		}
	}
	if i.Purpose == Login && i.UserClaim != "" {
		return nil
	}
	if !slices.ContainsFunc(i.Claims, func(c Claim) bool { return c.Pattern.selects() }) {
		return errors.New("an issuer needs a claim with a pattern that is more than wildcards: " +
			"whoever has an account at a public issuer has a token of it")
	}
	return nil
}

// registered are the claims that every ID token is checked for.
var registered = []string{"iss", "aud", "exp", "nbf", "iat", "nonce"}

func checkClaimName(s string) error {
	if s == "" || len(s) > 128 || strings.TrimSpace(s) != s {
		return fmt.Errorf("claim name %q is empty, too long, or has white space around it", s)
	}
	return checkText("claim name", s)
}

func (i Issuer) checkUser() error {
	switch {
	case (i.User == "") == (i.UserClaim == ""):
		return errors.New("an issuer needs either the user that it stands for or the claim that names the user")
	case i.User != "":
		return checkUserName(i.User)
	case slices.Contains(registered, i.UserClaim):
		return fmt.Errorf("claim %q doesn't say who somebody is", i.UserClaim)
	}
	return checkClaimName(i.UserClaim)
}

func checkIssuerURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || len(s) > maxIssuerURL:
		return fmt.Errorf("an issuer is a URL of at most %d characters, like https://issuer.example", maxIssuerURL)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return errors.New("the URL of an issuer has no user, query or fragment")
	case u.Scheme == "https" || u.Scheme == "http" && loopbackHost(u.Hostname()):
		return checkText("issuer URL", s)
	}
	return fmt.Errorf("issuer %s: its keys come over https alone (http on a loopback address)", s)
}

func loopbackHost(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// ClaimPattern matches the value of a claim: a valid pattern, or the zero
// ClaimPattern, which matches nothing. It must match the whole value. * stands for
// any characters but a slash, ? for one of them, and an element ** between slashes
// for any number of elements: corp/*, refs/heads/main, repo:corp/**. What ends in a
// slash matches to the letter only.
type ClaimPattern struct{ s string }

// ParseClaimPattern returns the pattern s, or why it is none.
func ParseClaimPattern(s string) (ClaimPattern, error) {
	if s == "" || len(s) > maxPattern || strings.Count(s, "**") > maxPatternStars {
		return ClaimPattern{}, fmt.Errorf("pattern %q of a claim is empty, longer than %d characters, or has ** more than %d times", s, maxPattern, maxPatternStars)
	}
	if err := checkText("pattern of a claim", s); err != nil {
		return ClaimPattern{}, err
	}
	if strings.ContainsAny(s, `\[]`) {
		return ClaimPattern{}, fmt.Errorf(`pattern %q of a claim has one of \[], which can't be matched; write ? for it`, s)
	}
	for elem := range strings.SplitSeq(s, "/") {
		if elem != "**" && strings.Contains(elem, "**") {
			return ClaimPattern{}, fmt.Errorf("pattern %q of a claim has ** beside other characters; it stands for whole elements between slashes", s)
		}
	}
	return ClaimPattern{s}, nil
}

// Match reports whether the pattern matches all of value.
func (p ClaimPattern) Match(value string) bool {
	switch {
	case p.s == "" || value == "":
		return false
	case strings.HasSuffix(value, "/") || strings.HasSuffix(p.s, "/"):
		return p.s == value // matchWhole doesn't see an empty element at the end
	}
	return matchWhole(p.s, value)
}

// selects reports whether there is anything that the pattern asks for.
func (p ClaimPattern) selects() bool { return strings.Trim(p.s, "*?/") != "" }

func (p ClaimPattern) String() string { return p.s }

// MarshalText returns the pattern as it was written.
func (p ClaimPattern) MarshalText() ([]byte, error) { return []byte(p.s), nil }

// UnmarshalText is ParseClaimPattern.
func (p *ClaimPattern) UnmarshalText(b []byte) error {
	v, err := ParseClaimPattern(string(b))
	*p = v
	return err
}
