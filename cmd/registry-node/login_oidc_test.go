package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	"registry-node/events"
	"registry-node/httpapi"
	"registry-node/node"
	"registry-node/node/access"
)

// signInPage is an issuer where everybody who comes is alice.
type signInPage struct {
	*httptest.Server
	t      *testing.T
	change func(claims map[string]any) // of the ID token

	mu        sync.Mutex // guards what follows
	challenge string     // of PKCE
	nonce     string
}

var signInKey = sync.OnceValue(func() *rsa.PrivateKey { return must1(rsa.GenerateKey(rand.Reader, 2048)) })

func newSignInPage(t *testing.T) *signInPage {
	t.Helper()
	p := &signInPage{t: t, change: func(map[string]any) {}}
	served := &oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: signInKey().Public(), KeyID: "k", Algorithm: oidc.RS256}}}
	mux := http.NewServeMux()
	mux.Handle("/", served)
	mux.HandleFunc("/auth", p.auth)
	mux.HandleFunc("POST /token", p.token)
	p.Server = httptest.NewServer(mux)
	served.SetIssuer(p.URL)
	t.Cleanup(p.Close)
	return p
}

func (p *signInPage) auth(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") != "registry" || q.Get("code_challenge_method") != "S256" || !strings.Contains(q.Get("scope"), "openid") {
		p.t.Errorf("asked to sign in with %v", q)
	}
	p.mu.Lock()
	p.challenge, p.nonce = q.Get("code_challenge"), q.Get("nonce")
	p.mu.Unlock()
	back := must1(url.Parse(q.Get("redirect_uri")))
	back.RawQuery = url.Values{"code": {"the-code"}, "state": {q.Get("state")}, "iss": {p.URL}}.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

func (p *signInPage) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	w.Header().Set("Content-Type", "application/json")
	if r.FormValue("code") != "the-code" || base64.RawURLEncoding.EncodeToString(sum[:]) != p.challenge {
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"error":"invalid_grant","error_description":"wrong\u001b[2J code"}`)
		return
	}
	json.NewEncoder(w).Encode(map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": p.idToken(p.nonce)})
}

func (p *signInPage) idToken(nonce string) string {
	now := time.Now()
	c := map[string]any{"iss": p.URL, "aud": "registry", "sub": "alice", "nonce": nonce, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	p.change(c)
	return oidctest.SignIDToken(signInKey(), "k", oidc.RS256, string(must1(json.Marshal(c))))
}

// registryTrusting is a server that exchanges ID tokens as a registry does.
func registryTrusting(t *testing.T, p *signInPage, issuers ...node.IssuerName) string {
	t.Helper()
	v := access.NewVerifier(nil, nil)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/oidc", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(httpapi.OIDC{Issuers: issuers})
	})
	mux.HandleFunc("POST /api/v1/oidc/exchange", func(w http.ResponseWriter, r *http.Request) {
		var in httpapi.Exchange
		json.NewDecoder(r.Body).Decode(&in)
		proof, err := v.Verify(r.Context(), events.Issuer{URL: p.URL, Purpose: events.Login, Audience: "registry", UserClaim: "sub"}, in.Token)
		if err != nil || in.Issuer != "sso" {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"error":{"code":"unauthorized","message":"not that token"}}`)
			return
		}
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(node.Exchanged{Token: access.NewToken(true).Secret(), Expires: time.Now().Add(time.Hour), User: proof.User})
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

// atBrowser runs login, and has visit go to the page that it names.
func atBrowser(t *testing.T, server string, visit func(page string), args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var stdout bytes.Buffer
	stderr := watch("\n\n  http", "&state=")
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"login", "--oidc", "--server", server}, args...), strings.NewReader(""), &stdout, stderr)
	}()
	select {
	case <-stderr.then:
		visit(regexp.MustCompile(`(?m)^  (http\S+)$`).FindStringSubmatch(stderr.String() + "\n")[1])
		return result{<-code, stdout.String(), stderr.String()}
	case c := <-code:
		return result{c, stdout.String(), stderr.String()}
	}
}

// page returns what a browser shows.
func page(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

var sso = func(p *signInPage) node.IssuerName {
	return node.IssuerName{Name: "sso", URL: p.URL, Purpose: events.Login, Audience: "registry"}
}

func TestLoginInTheBrowser(t *testing.T) {
	configured(t)
	p := newSignInPage(t)
	server := registryTrusting(t, p, sso(p), node.IssuerName{Name: "forge", URL: p.URL, Purpose: events.Exchange, Audience: "x"})
	r := atBrowser(t, server, func(auth string) {
		back := must1(url.Parse(auth)).Query().Get("redirect_uri")
		if !strings.HasPrefix(back, "http://127.0.0.1:") {
			t.Errorf("the browser comes back to %s", back)
		}
		// Others can make requests there, too.
		for _, q := range []string{"", "?code=evil", "?code=evil&state=x", "?error=no&state="} {
			if status, _ := page(t, back+q); status != http.StatusBadRequest {
				t.Errorf("%s%s: %d", back, q, status)
			}
		}
		if status, text := page(t, auth); status != http.StatusOK || !strings.Contains(text, "close this page") {
			t.Errorf("the browser shows %d %s", status, text)
		}
	})
	if r.code != exitOK || !strings.Contains(r.stdout, "knows you as alice, until") || strings.Contains(r.stdout+r.stderr, "rn_") {
		t.Fatalf("%+v", r)
	}
	c, err := readCredentials()
	s := c.Servers[server]
	if err != nil || s.User != "alice" || s.Issuer != "sso" || s.Expires.IsZero() || !strings.HasPrefix(s.Token, "rn_s") {
		t.Errorf("stored %+v, %v", c, err)
	}
}

func TestLoginInTheBrowserFails(t *testing.T) {
	file := configured(t)
	p := newSignInPage(t)
	server := registryTrusting(t, p, sso(p))
	come := func(auth string) { page(t, auth) }
	with := func(q url.Values) func(string) {
		return func(auth string) {
			a := must1(url.Parse(auth)).Query()
			q.Set("state", a.Get("state"))
			page(t, a.Get("redirect_uri")+"?"+q.Encode())
		}
	}
	for name, tt := range map[string]struct {
		change func(map[string]any)
		visit  func(string)
		want   string
	}{
		"denied":             {nil, with(url.Values{"error": {"access_denied"}, "error_description": {"not\x1b[2J you"}}), `it says "access_denied not`},
		"no code":            {nil, with(url.Values{}), "without a code"},
		"another issuer":     {nil, with(url.Values{"code": {"the-code"}, "iss": {"https://evil.test"}}), `comes from "https://evil.test"`},
		"wrong code":         {nil, with(url.Values{"code": {"evil"}}), "invalid_grant"},
		"another login":      {func(c map[string]any) { c["nonce"] = "x" }, come, "not for this login"},
		"audience":           {func(c map[string]any) { c["aud"] = "x" }, come, "audience"},
		"not the registry's": {func(c map[string]any) { c["iat"] = 1 }, come, "not that token"},
	} {
		p.change = func(c map[string]any) {}
		if tt.change != nil {
			p.change = tt.change
		}
		r := atBrowser(t, server, tt.visit)
		if _, err := os.Stat(file); r.code != exitNo || !strings.Contains(r.stderr, tt.want) || err == nil || strings.Contains(r.stderr, "\x1b") {
			t.Errorf("%s: %+v, want %q (%v)", name, r, tt.want, err)
		}
	}
}

func TestLoginWhereNobodyCanSignIn(t *testing.T) {
	configured(t)
	p := newSignInPage(t)
	two := sso(p)
	two.Name = "two"
	for _, tt := range []struct {
		server string
		args   []string
		code   int
		want   string
	}{
		{registryTrusting(t, p), nil, exitNo, "trusts no issuer for people"},
		{registryTrusting(t, p, sso(p)), []string{"--issuer", "x"}, exitNo, `no issuer "x"`},
		{registryTrusting(t, p, sso(p), two), nil, exitUsage, "one of sso, two"},
		{registryTrusting(t, p, sso(p)), []string{"--token-stdin"}, exitUsage, "--token-stdin"},
		{"http://registry.test", nil, exitNo, "plain http"},
	} {
		refused(t, tt.code, append([]string{"login", "--oidc", "--server", tt.server}, tt.args...), tt.want)
	}
	refused(t, exitUsage, []string{"login", "--issuer", "x"}, "--oidc")
}

func TestExchangeCommand(t *testing.T) {
	configured(t)
	p := newSignInPage(t)
	server := registryTrusting(t, p, sso(p))
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(p.idToken("")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	isToken := regexp.MustCompile(`^rn_s[a-z2-7_]+\n$`).MatchString
	if out := ok(t, "oidc", "exchange", "--server", server, "--issuer", "sso", "--id-token-file", file); !isToken(out) {
		t.Errorf("prints %q", out)
	}
	if r := typed(t, p.idToken(""), "oidc", "exchange", "--server", server, "--issuer", "sso"); r.code != exitOK || !isToken(r.stdout) {
		t.Errorf("%+v", r)
	}
	refused(t, exitNo, []string{"oidc", "exchange", "--server", server, "--issuer", "x", "--id-token-file", file}, "not that token")
	refused(t, exitNo, []string{"oidc", "exchange", "--server", server, "--issuer", "x"}, "no ID token in standard input")
	refused(t, exitUsage, []string{"oidc", "exchange", "--server", server}, "--issuer is missing")
	refused(t, exitNo, []string{"oidc", "exchange", "--server", "http://registry.test", "--issuer", "sso", "--id-token-file", file}, "plain http")
}
