package events_test

import (
	"strings"
	"testing"
	"time"

	"registry-node/events"
)

// login returns the event that makes an issuer where people sign in.
func login(name string) events.IssuerChanged {
	return events.IssuerChanged{Name: name, Issuer: events.Issuer{
		URL: "https://sso.test", Purpose: events.Login, Audience: "registry-node", UserClaim: "email"}}
}

func TestClaimPattern(t *testing.T) {
	for _, tt := range []struct {
		pattern, yes, no string // values with spaces between them
	}{
		{"corp/mod", "corp/mod", "corp corp/mod/ corp/mod/x Corp/mod xcorp/mod"},
		{"corp/*", "corp/a corp/b", "corp corp/ corp/a/b evil/corp/a corp2/a"},
		{"corp*", "corp corp2", "corp/a"},
		{"*", "x", "x/y /"},
		{"**", "x x/y", "x/"},
		{"repo:corp/*:ref:refs/heads/main", "repo:corp/a:ref:refs/heads/main", "repo:corp/a:ref:refs/heads/dev repo:corp/a:ref:refs/heads/main/x repo:evil/x:repo:corp/a:ref:refs/heads/main"},
		{"refs/tags/v?.?", "refs/tags/v1.2", "refs/tags/v1.20"},
		{"refs/**", "refs/heads/a/b refs", "ref"},
		{"https://a.test/", "https://a.test/", "https://a.test https://a.test//"},
		{"https://a.test/*", "https://a.test/x", "https://a.test/ https:/a.test/x"},
		{"a/", "a/", "a a//"},
		{"true", "true", "false"},
	} {
		p := claim(tt.pattern)
		for _, v := range strings.Fields(tt.yes) {
			if !p.Match(v) {
				t.Errorf("%q does not match %q", tt.pattern, v)
			}
		}
		for _, v := range append(strings.Fields(tt.no), "") {
			if p.Match(v) {
				t.Errorf("%q matches %q", tt.pattern, v)
			}
		}
	}
	if (events.ClaimPattern{}).Match("") {
		t.Error("no pattern matches a value")
	}
	for _, s := range []string{"", "a[b]", `a\b`, "a**", "**/**/**/**", "a\x00", strings.Repeat("a", 257)} {
		if p, err := events.ParseClaimPattern(s); err == nil {
			t.Errorf("%q was taken for pattern %v", s, p)
		}
	}
}

func TestIssuerCheck(t *testing.T) {
	exchange := samples()[31].(events.IssuerChanged).Issuer
	people := login("sso").Issuer
	for name, tt := range map[string]struct {
		of     events.Issuer
		change func(*events.Issuer)
		want   string // in the error; empty if there is none
	}{
		"exchange":              {exchange, func(*events.Issuer) {}, ""},
		"login":                 {people, func(*events.Issuer) {}, ""},
		"http on loopback":      {people, func(i *events.Issuer) { i.URL = "http://127.0.0.1:81/x" }, ""},
		"http":                  {people, func(i *events.Issuer) { i.URL = "http://sso.test" }, "https"},
		"http like loopback":    {people, func(i *events.Issuer) { i.URL = "http://127.0.0.1.sso.test" }, "https"},
		"no URL":                {people, func(i *events.Issuer) { i.URL = "" }, "URL"},
		"another scheme":        {people, func(i *events.Issuer) { i.URL = "file://localhost/x" }, "https"},
		"query":                 {people, func(i *events.Issuer) { i.URL += "?a" }, "query"},
		"fragment":              {people, func(i *events.Issuer) { i.URL += "#" }, "fragment"},
		"user":                  {people, func(i *events.Issuer) { i.URL = "https://me@sso.test" }, "user"},
		"no purpose":            {people, func(i *events.Issuer) { i.Purpose = "" }, "purpose"},
		"no audience":           {people, func(i *events.Issuer) { i.Audience = "" }, "audience"},
		"long":                  {people, func(i *events.Issuer) { i.TTL = events.SpanOf(25 * time.Hour) }, "at most 1d"},
		"one day":               {people, func(i *events.Issuer) { i.TTL = events.SpanOf(24 * time.Hour) }, ""},
		"nobody":                {people, func(i *events.Issuer) { i.UserClaim = "" }, "either"},
		"two users":             {people, func(i *events.Issuer) { i.User = "ann" }, "either"},
		"user is no name":       {exchange, func(i *events.Issuer) { i.User = "Ann" }, "may only"},
		"user by audience":      {people, func(i *events.Issuer) { i.UserClaim = "aud" }, "who somebody is"},
		"everybody":             {exchange, func(i *events.Issuer) { i.Claims = nil }, "more than wildcards"},
		"everybody by claim":    {exchange, func(i *events.Issuer) { i.Claims, i.User, i.UserClaim = nil, "", "sub" }, "more than wildcards"},
		"everybody by wildcard": {exchange, func(i *events.Issuer) { i.Claims = []events.Claim{{"sub", claim("**/*?")}} }, "more than wildcards"},
		"all people are one":    {people, func(i *events.Issuer) { i.User, i.UserClaim = "ann", "" }, "more than wildcards"},
		"claim of the audience": {exchange, func(i *events.Issuer) { i.Claims = []events.Claim{{"aud", claim("x")}} }, "in any case"},
		"claim twice":           {exchange, func(i *events.Issuer) { i.Claims = append(i.Claims, i.Claims[0]) }, "twice"},
		"claim without pattern": {exchange, func(i *events.Issuer) { i.Claims = []events.Claim{{Name: "sub"}} }, "no pattern"},
		"claim without name":    {exchange, func(i *events.Issuer) { i.Claims = []events.Claim{{"", claim("x")}} }, "claim name"},
		"action":                {exchange, func(i *events.Issuer) { i.Actions = []string{"fly"} }, "none of"},
		"repository":            {exchange, func(i *events.Issuer) { i.Repos = []string{"a/b"} }, "repository name"},
	} {
		i := tt.of
		i.Claims = append([]events.Claim(nil), i.Claims...)
		tt.change(&i)
		err := i.Check()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
		_, err2 := events.EncodeBody(events.IssuerChanged{Name: "x", Issuer: i})
		if (err == nil) != (err2 == nil) {
			t.Errorf("%s: Check says %v, EncodeBody %v", name, err, err2)
		}
	}
	if got := exchange.Lifetime(); got != 10*time.Minute {
		t.Errorf("lifetime %v", got)
	}
	exchange.TTL = events.Span{}
	if e, l := exchange.Lifetime(), people.Lifetime(); e != events.DefaultExchangeTTL || l != events.DefaultLoginTTL {
		t.Errorf("default lifetimes %v, %v", e, l)
	}
}

// An issuer is one only while the registry's home says so, and the last time that
// it said what it is counts.
func TestResolveIssuer(t *testing.T) {
	w := newWorld(t)
	get := func() (events.Identity, bool) {
		return w.directory().ResolveIdentity(w.st[login("sso").Key(events.EventID{})])
	}
	w.say("b", login("sso"))
	if id, ok := get(); ok {
		t.Errorf("%+v, by a site that is not the registry's home", id)
	}
	w.say("a", login("sso"))
	w.say("a", events.IssuerDeleted{Name: "sso"})
	if id, ok := get(); !ok || !id.Deleted {
		t.Errorf("%+v, %t, want it deleted", id, ok)
	}
	if is, ok := w.directory().Issuer("sso"); ok || len(w.directory().Issuers()) != 0 {
		t.Errorf("the directory has %+v, which is deleted", is)
	}
	again := login("sso")
	again.Audience = "other"
	w.say("a", again)
	if id, ok := get(); !ok || id.Deleted || id.Body.(events.IssuerChanged).Audience != "other" {
		t.Errorf("%+v, %t, want the last", id, ok)
	}
	if is, ok := w.directory().Issuer("sso"); !ok || is.Audience != "other" || is.Changed != at(w.seconds) {
		t.Errorf("the directory has %+v, %t", is, ok)
	}
}
