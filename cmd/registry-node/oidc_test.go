package main

import (
	"path/filepath"
	"strings"
	"testing"

	"registry-node/events"
)

// From the issuer that an administrator trusts to a token, and to its end.
func TestIssuersAtANode(t *testing.T) {
	configured(t)
	p := newSignInPage(t)
	p.change = func(c map[string]any) { c["repository"] = "corp/app" }
	s := startedClosed(t, "serve", filepath.Join(t.TempDir(), "data"), "--init")
	t.Setenv(serverEnv, s.url)
	ok(t, "user", "create", "ci", "--service", "--data", s.data)
	set := []string{"oidc", "set", "forge", "--url", p.URL, "--audience", "registry", "--claim", "repository=corp/*", "--user", "ci", "--actions", "read", "--ttl", "5m", "--data", s.data}
	if out := ok(t, set...); !strings.Contains(out, "trusts "+p.URL+" as forge (exchange)") {
		t.Errorf("set prints %q", out)
	}
	if out := ok(t, "oidc", "list"); !strings.Contains(out, "forge  exchange  "+p.URL+"  registry") { // for everybody
		t.Errorf("list prints\n%s", out)
	}
	if out := ok(t, "oidc", "show", "forge", "--data", s.data); !strings.Contains(out, `"pattern": "corp/*"`) || !strings.Contains(out, `"ttl": "5m"`) {
		t.Errorf("show prints\n%s", out)
	}
	refused(t, exitNo, []string{"oidc", "show", "forge"}, "credentials")
	refused(t, exitNo, []string{"oidc", "delete", "forge"}, "credentials")
	refused(t, exitNo, []string{"oidc", "delete", "other", "--data", s.data}, `no issuer called "other"`)

	exchange := []string{"oidc", "exchange", "--issuer", "forge"}
	r := typed(t, p.idToken(""), exchange...)
	token := strings.TrimSpace(r.stdout)
	if r.code != exitOK || !strings.HasPrefix(token, "rn_s") {
		t.Fatalf("%+v", r)
	}
	if out := ok(t, "whoami", "--token", token); !strings.Contains(out, "ci") {
		t.Errorf("whoami prints\n%s", out)
	}
	if r := typed(t, token+"\n", "login"); r.code != exitOK || !strings.Contains(r.stdout, "knows you as ci, until") {
		t.Errorf("login: %+v", r)
	}
	for what, change := range map[string]func(map[string]any){
		`claim "repository" is "evil/app", and must match "corp/*"`: func(c map[string]any) { c["repository"] = "evil/app" },
		"for \"registry\" alone":                                    func(c map[string]any) { c["repository"], c["aud"] = "corp/app", []string{"registry", "other"} },
		"expired at":                                                func(c map[string]any) { c["repository"], c["exp"] = "corp/app", 1000 },
	} {
		p.change = change
		if r := typed(t, p.idToken(""), exchange...); r.code != exitNo || !strings.Contains(r.stderr, what) {
			t.Errorf("%+v, want %q", r, what)
		}
	}
	ok(t, "oidc", "delete", "forge", "--data", s.data)
	refused(t, exitNo, []string{"whoami", "--token", token}, "void")
}

func TestIssuerFlags(t *testing.T) {
	good := issuerFlags{url: "https://sso.test", purpose: "login", audience: "id", userClaim: "email", ttl: "1h", modules: []string{"corp.example/**"}}
	is, err := good.issuer()
	if err != nil || is.Purpose != events.Login || is.TTL.String() != "1h" || len(is.Modules) != 1 {
		t.Errorf("%+v, %v", is, err)
	}
	for want, change := range map[string]func(*issuerFlags){
		"NAME=PATTERN":  func(f *issuerFlags) { f.claims = []string{"x"} },
		"of a claim":    func(f *issuerFlags) { f.claims = []string{"x=["} },
		"time span":     func(f *issuerFlags) { f.ttl = "soon" },
		"pattern \"/\"": func(f *issuerFlags) { f.modules = []string{"/"} },
		"purpose":       func(f *issuerFlags) { f.purpose = "" },
		"either":        func(f *issuerFlags) { f.user = "ann" },
	} {
		f := good
		change(&f)
		if _, err := f.issuer(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	refused(t, exitUsage, []string{"oidc", "set", "x"}, "issuer is a URL")
}
