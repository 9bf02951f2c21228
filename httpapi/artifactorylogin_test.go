package httpapi_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestConfigAdd is jf config add: with a password, with a wrong one, and what it
// makes of the answer.
func TestConfigAdd(t *testing.T) {
	j := newJFrog(t).withPassword()
	a := j.as(basic("Alice", jfrogPassword)).ask("GET", "/artifactory/api/security/encryptedPassword")
	if a.status != 200 || a.body != jfrogPassword || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %q %v", a.status, a.body, a.header)
	}
	token := j.token(`{"user":"alice"}`)
	for _, tt := range []struct {
		auth   string
		status int
		text   string
	}{
		{basic("alice", "wrong"), 401, "credentials are wrong"},
		{"", 401, "show it with the name of its user"},
		{"Bearer " + token, 400, "show it with the name of its user"},
		{basic("carol", "a,long,password"), 401, "credentials are wrong"},
	} {
		a := j.as(tt.auth).ask("GET", "/artifactory/api/security/encryptedPassword")
		if text := j.refusal(a); a.status != tt.status || !strings.Contains(text, tt.text) {
			t.Errorf("%.10s: %d %s", tt.auth, a.status, text)
		}
	}
	if a := j.as(basic("alice", token)).ask("GET", "/artifactory/api/security/encryptedPassword"); a.status != 200 || a.body != token {
		t.Errorf("a token as password: %d %q", a.status, a.body)
	}
	do(t, j.admin, "PUT", "http://localhost", "/api/v1/users/comma", strings.NewReader(`{"password":"a,long,password"}`))
	a = j.as(basic("comma", "a,long,password")).ask("GET", "/artifactory/api/security/encryptedPassword")
	if text := j.refusal(a); a.status != 409 || !strings.Contains(text, "divides GOPROXY") || strings.Contains(text, "a,long") {
		t.Errorf("a comma: %d %s", a.status, text)
	}
}

// TestTokenExchange is what jf rt … begins with, its renewal, and where its token is
// shown.
func TestTokenExchange(t *testing.T) {
	j := newJFrog(t).withPassword()
	a := j.alice().exchange()
	got := decode[issued](t, a.body)
	c := j.claims(got.AccessToken)
	month := int64(30 * 24 * 3600)
	if a.status != 200 || got.Scope != "member-of-groups:*" || got.TokenType != "Bearer" || got.ExpiresIn < month-60 || got.ExpiresIn > month ||
		c.Subject != "alice" || c.Expires-time.Now().Unix() < month-60 || c.Issued == 0 || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %+v %+v", a.status, got, c)
	}
	if strings.ContainsAny(got.AccessToken+got.RefreshToken, ",~") || strings.HasPrefix(got.RefreshToken, "AKCp8") {
		t.Error("the tokens can't be written into GOPROXY")
	}
	bare := got.AccessToken[strings.LastIndexByte(got.AccessToken, '.')+1:]
	for name, auth := range map[string]string{
		"Bearer": "Bearer " + got.AccessToken, "bare": "Bearer " + bare, "Basic": basic("alice", got.AccessToken), "no user": basic("", got.AccessToken),
		"any user": basic("whoever@x", got.AccessToken), "as user": basic(got.AccessToken, ""), "other claims": "Bearer e30.eyJzdWIiOiJib2IifQ." + bare,
	} {
		if who := j.as(auth).ask("GET", "/api/v1/whoami"); who.status != 200 || !strings.Contains(who.body, `"name":"alice"`) {
			t.Errorf("%s: %d %s", name, who.status, who.body)
		}
	}
	for path, want := range map[string]int{"/artifactory/api/repositories/local": 200, "/go/local/corp.test/a/@v/list": 401} {
		if a := j.send("GET", path, "", "X-JFrog-Art-Api: "+got.AccessToken); a.status != want {
			t.Errorf("as an API key at %s: %d %s", path, a.status, a.body)
		}
	}
	if who := j.alice().send("GET", "/artifactory/api/repositories/local", "", "X-JFrog-Art-Api: "+got.AccessToken); who.status != 401 {
		t.Errorf("two credentials: %d %s", who.status, who.body)
	}

	again := j.refresh(got)
	next := decode[issued](t, again.body)
	if again.status != 200 || next.AccessToken == got.AccessToken || next.RefreshToken == got.RefreshToken || j.claims(next.AccessToken).Subject != "alice" {
		t.Fatalf("refresh: %d %s", again.status, again.body)
	}
	for _, wrong := range []issued{{AccessToken: got.AccessToken, RefreshToken: next.RefreshToken}, {AccessToken: "a.b.c", RefreshToken: "x"}, {AccessToken: bare[:20]}} {
		if a := j.refresh(wrong); a.status != 401 {
			t.Errorf("refresh of %.12s…: %d %s", wrong.AccessToken, a.status, a.body)
		} else {
			j.refusal(a)
		}
	}

	do(t, j.admin, "PUT", "http://localhost", "/api/v1/users/alice", strings.NewReader(`{"password":"another horse battery"}`))
	for _, token := range []string{got.AccessToken, next.AccessToken} {
		a := j.as("Bearer "+token).ask("GET", "/artifactory/api/system/version")
		if text := j.refusal(a); a.status != 401 || !strings.Contains(text, "password of user alice has changed") {
			t.Errorf("after the password changed: %d %s", a.status, text)
		}
	}
	if a := j.refresh(next); a.status != 401 {
		t.Errorf("refresh after the password changed: %d %s", a.status, a.body)
	}
	j.keepsSecret(jfrogPassword, bare, got.RefreshToken, next.AccessToken[strings.LastIndexByte(next.AccessToken, '.')+1:], "another horse")
}

// refresh sends the request by which a token is renewed: without credentials.
func (j *jfrog) refresh(of issued) answer {
	j.t.Helper()
	return j.as("").post("/artifactory/api/security/token", "application/x-www-form-urlencoded",
		fmt.Sprintf("access_token=%s&grant_type=refresh_token&refresh_token=%s", of.AccessToken, of.RefreshToken))
}

// keepsSecret looks for secrets in all that is written down of requests.
func (j *jfrog) keepsSecret(secrets ...string) {
	j.t.Helper()
	texts := map[string]string{"the log": j.logs.String()}
	j.audited("limit=1") // what waits to be written is
	files, err := filepath.Glob(filepath.Join(j.dir, "audit", "*"))
	if err != nil || len(files) == 0 {
		j.t.Fatalf("no audit log: %v", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			j.t.Fatal(err)
		}
		texts[filepath.Base(f)] = string(b)
	}
	for name, text := range texts {
		for _, s := range secrets {
			if strings.Contains(text, s) {
				j.t.Errorf("%s has the secret %.4s…", name, s)
			}
		}
	}
}

// TestTokenOfToken: who shows a token gets it back in the shape of a JWT, whatever
// is asked for; nobody gets one for somebody else.
func TestTokenOfToken(t *testing.T) {
	j := newJFrog(t)
	token := j.token(`{"user":"alice","expires":"1h","actions":["read"]}`)
	for _, auth := range []string{"Bearer " + token, basic("", token)} {
		got := decode[issued](t, j.as(auth).exchange().body)
		if !strings.HasSuffix(got.AccessToken, "."+token) || got.ExpiresIn > 3600 || got.ExpiresIn < 3500 || j.claims(got.AccessToken).Subject != "alice" {
			t.Errorf("%+v", got)
		}
		if again := decode[issued](t, j.refresh(got).body); !strings.HasSuffix(again.AccessToken, "."+token) {
			t.Errorf("refresh: %+v", again)
		}
	}
	bob := "Bearer " + j.token(`{"user":"bob"}`)
	for _, tt := range []struct {
		auth, form string
		status     int
	}{
		{"", "username=alice", 401},
		{bob, "username=alice", 403},
		{bob, "username=BOB&scope=x", 200},
		{bob, "grant_type=magic", 400},
		{bob, "username=bob&username=bob", 400},
	} {
		if a := j.as(tt.auth).post("/artifactory/api/security/token", "application/x-www-form-urlencoded", tt.form); a.status != tt.status {
			t.Errorf("%s: %d %s, want %d", tt.form, a.status, a.body, tt.status)
		}
	}
	if a := j.as(bob).post("/artifactory/api/security/token", "application/json", "{}"); a.status != 400 {
		t.Errorf("JSON: %d", a.status)
	}
}

// TestRepeatsOfAWrongPassword: the JFrog CLI repeats what was refused four times
// without a pause, and then a right password gets in.
func TestRepeatsOfAWrongPassword(t *testing.T) {
	j := newJFrog(t).withPassword()
	for range 4 {
		a := j.as(basic("alice", "wrong")).upload("/artifactory/api/go/local/corp.test/a/@v/v1.0.0.zip;go.version=v1.0.0", "x")
		if a.status != http.StatusUnauthorized {
			t.Fatalf("%d %s", a.status, a.body)
		}
		j.refusal(a)
	}
	if a := j.alice().ask("GET", "/artifactory/api/system/ping"); a.status != 200 || a.body != "OK" {
		t.Errorf("ping: %d %q", a.status, a.body)
	}
}
