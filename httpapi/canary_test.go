package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"registry-node/events"
	"registry-node/httpapi"
	"registry-node/node"
	"registry-node/node/access"
)

// canaries are secrets that were shown to a registry, each with where.
type canaries struct {
	g       *registry
	base    string
	planted map[string]string // by the secret, or a form of it
	shown   strings.Builder   // all answers
}

func (c *canaries) plant(where, secret string) string {
	c.planted[secret] = where
	c.planted[base64.StdEncoding.EncodeToString([]byte(secret))] = where + ", in base64"
	return secret
}

// random returns a secret that nobody else knows.
func (c *canaries) random(where string) string {
	return c.plant(where, strings.ToLower(rand.Text()+rand.Text()))
}

// token plants a token that no registry has issued.
func (c *canaries) token(where string) string {
	t := access.NewToken(false).Secret()
	c.plant(where, t[len("rn_tabcdefghijk_"):])
	return t
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// ask sends a request, through the loopback listener and the admin socket, and
// keeps what is answered.
func (c *canaries) ask(r [3]string, header ...string) {
	c.g.t.Helper()
	method, target, body := r[0], r[1], r[2]
	for i := 0; i+1 < len(header); i += 2 {
		if _, payload, ok := strings.Cut(header[i+1], " "); ok {
			c.planted[payload] = "a header " + header[i] // as it was sent
		}
	}
	a := do(c.g.t, http.DefaultClient, method, c.base, target, strings.NewReader(body), header...)
	b := do(c.g.t, c.g.admin, method, "http://localhost", target, strings.NewReader(body), header...)
	for _, a := range []answer{a, b} {
		fmt.Fprintln(&c.shown, a.status, a.header, a.body)
	}
}

// asks are requests of all kinds: read and write, well and badly formed.
var asks = [][3]string{
	{"GET", "/go/all/corp.test/a/@v/v1.0.0.zip"}, {"GET", "/go/all/corp.test/a/@v/list"}, {"GET", "/go/nothing/corp.test/a/@v/list"}, {"GET", "/go/public/up.test/b/@v/v9.0.0.info"},
	{"GET", "/go/dead/up.test/b/@v/v1.0.0.mod"}, {"GET", "/api/v1/status"}, {"GET", "/api/v1/repos"}, {"GET", "/api/v1/audit"}, {"GET", "/api/v1/whoami"}, {"GET", "/nothing"}, {"GET", "/metrics"},
	{"POST", "/api/v1/blocks", `{"module":"evil.test/a","reason":"x"}`}, {"DELETE", "/api/v1/blocks?module=evil.test/a"}, {"POST", "/api/v1/blocks", `{`}, {"POST", "/api/v1/repos", `{"name":"local","kind":"local"}`},
	{"DELETE", "/api/v1/repos/nothing"}, {"PUT", "/api/v1/repos/local/modules/corp.test/a/@v/v1.0.0", "no zip"}, {"PUT", "/api/v1/offline", `{"offline":false}`}, {"PATCH", "/metrics"}, {"GET", "/panic"},
	{"GET", "/artifactory/api/go/all/corp.test/a/@v/list"}, {"GET", "/artifactory/api/storage/local/corp.test/a/@v/v1.0.0.zip?properties"}, {"PUT", "/artifactory/local/corp.test/a/@v/v1.9.0.mod", "module corp.test/a\n"}, {"PUT", "/artifactory/local/corp.test/b/@v/v1.9.0.zip", "no zip"},
	{"POST", "/artifactory/api/search/aql", "items.find()"}, {"PUT", "/artifactory/api/build", newBuild}, {"POST", "/artifactory/api/system/usage", "{}"}, {"GET", "/artifactory/nothing"}, {"PUT", "/api/v1/webhooks/hook", goodHook}, {"PUT", "/api/v1/repos/public/imports/up.test/b/@v/v1.0.0", "x"}, {"GET", "/corp.test/a?go-get=1"},
}

// dearWays of ways show what is looked at as a password, which takes long.
const dearWays = 2

// ways are how secrets come with a request.
var ways = []func(c *canaries, r [3]string){
	func(c *canaries, r [3]string) { c.ask(r, "Authorization", basic("ann", c.random("a wrong password"))) },
	func(c *canaries, r [3]string) {
		c.ask(r, "Authorization", basic(c.random("a password for the user"), "x"))
	},
	func(c *canaries, r [3]string) { c.ask(r, "Authorization", "Bearer "+c.token("Bearer")) },
	func(c *canaries, r [3]string) {
		c.ask(r, "Authorization", "Bearer "+c.random("a Bearer that is no token"))
	},
	func(c *canaries, r [3]string) { c.ask(r, "X-Jfrog-Art-Api", c.token("X-JFrog-Art-Api")) },
	func(c *canaries, r [3]string) { c.ask(r, "X-Jfrog-Art-Api", c.random("another X-JFrog-Art-Api")) },
	func(c *canaries, r [3]string) {
		c.ask(r, "Authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ."+c.token("a token like a JWT"))
	},
	func(c *canaries, r [3]string) { c.ask(r, "Authorization", basic("ann", c.token("Basic"))) },
	func(c *canaries, r [3]string) { c.ask(r, "Authorization", basic(c.token("the user of Basic"), "")) },
	func(c *canaries, r [3]string) { c.ask(r, "Authorization", "Token "+c.random("another scheme")) },
	func(c *canaries, r [3]string) {
		c.ask(r, "Referer", "https://ci.test/?token="+c.token("Referer"), "Cookie", "session="+c.random("Cookie"), "X-Api-Key", c.random("X-Api-Key"))
	},
	func(c *canaries, r [3]string) {
		c.ask(queried(r, "token="+c.token("a query")), "Proxy-Authorization", "Basic "+c.random("Proxy-Authorization"))
	},
	func(c *canaries, r [3]string) {
		c.ask(queried(r, "access_token="+c.random("a query of no token")), "Authorization", "Bearer "+c.token("Bearer beside a query"))
	},
}

// queried returns a request with a parameter more.
func queried(r [3]string, param string) [3]string {
	sep := "?"
	if strings.Contains(r[1], "?") {
		sep = "&"
	}
	return [3]string{r[0], r[1] + sep + param, r[2]}
}

// TestNoSecretIsWritten shows a registry secrets wherever one can come from, in
// requests that succeed, fail, are refused and panic, and then searches everything
// that the node wrote or said. What it must find there is a mark that was written
// on purpose, so that the search is known to see.
func TestNoSecretIsWritten(t *testing.T) {
	g := registryWith(t, node.Options{PeerListen: "127.0.0.1:0"}, httpapi.AccessConfig{Dir: "access", Kept: events.AllReads})
	srv := httptest.NewServer(g.server.Panicking())
	defer srv.Close()
	c := &canaries{g: g, base: srv.URL, planted: map[string]string{}}
	mark := "mark-" + strings.ToLower(rand.Text())
	g.publish("corp.test/a", "v1.0.0", tree("corp.test/a"))
	g.publish("corp.test/"+mark, "v1.0.0", tree("corp.test/"+mark))
	c.ask([3]string{"POST", "/api/v1/blocks", `{"module":"marked.test/a","reason":"` + mark + `"}`})
	c.ask([3]string{"GET", "/go/all/corp.test/" + mark + "/@v/v1.0.0.zip", ""})

	for i, a := range asks {
		for j, way := range ways {
			turns := 3
			if j < dearWays {
				turns = 10
			}
			if (i+j)%turns == 0 || j >= len(ways)-3 { // each request in several ways, each way in several requests
				way(c, a)
			}
		}
	}
	c.userinfo()
	c.bodies()
	c.upstream()
	c.invitation()
	c.webhook()
	c.artifactory(c.identities())

	for _, target := range []string{"/api/v1/audit?limit=10000", "/api/v1/audit?format=ndjson", "/api/v1/fetched?module=corp.test/**&refused=true", "/api/v1/log", "/api/v1/repos/public", "/api/v1/status", "/api/v1/replication", "/metrics"} {
		c.ask([3]string{"GET", target, ""})
	}
	c.search(mark)
}

// userinfo asks as people do who put a token into a URL.
func (c *canaries) userinfo() {
	url := strings.Replace(c.base, "http://", "http://ann:"+c.token("userinfo")+"@", 1)
	resp, err := http.Get(url + "/go/all/corp.test/a/@v/list")
	if err != nil {
		c.g.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Fprintln(&c.shown, resp.Header, string(body))
}

// bodies puts secrets where a body has no place for them.
func (c *canaries) bodies() {
	for _, form := range []string{`{"module":"evil.test/a","password":%q}`, `{"module":"evil.test/a","token":%s}`, `%s`} {
		c.ask([3]string{"POST", "/api/v1/blocks", fmt.Sprintf(form, c.random("a body"))})
	}
}

// upstream has an upstream repeat the credential that it is asked with.
func (c *canaries) upstream() {
	t := c.g.t
	key := c.random("the credential of an upstream")
	c.g.proxy.setFault(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != key {
			t.Errorf("the upstream is asked without the key")
		}
		w.Header().Set("X-Key", key)
		http.Error(w, "you sent "+key, http.StatusInternalServerError)
	})
	c.g.secret("mirror", `{"header":{"name":"X-Key","value":"`+key+`"}}`)
	c.ask([3]string{"PATCH", "/api/v1/repos/public", `{"secrets":[{"host":"` + strings.TrimPrefix(c.g.proxy.url, "http://") + `","name":"mirror"}]}`})
	for _, file := range []string{"@v/v1.0.0.info", "@v/v1.0.0.zip", "@latest", "@v/list"} {
		c.ask([3]string{"GET", "/go/all/up.test/k/" + file, ""})
	}
	c.ask([3]string{"PATCH", "/api/v1/repos/public", `{"upstream":"https://ann:` + c.random("the URL of an upstream") + `@up.test"}`})
	c.ask([3]string{"PATCH", "/api/v1/repos/public", `{"proxy":"http://ann:` + c.random("the URL of a proxy") + `@up.test"}`})
}

// invitation lets a site join, with the right token and with wrong ones.
func (c *canaries) invitation() {
	t := c.g.t
	a := do(t, c.g.admin, "POST", "http://localhost", "/api/v1/sites", strings.NewReader(`{"name":"oslo"}`)) // the answer that may show it
	inv := decode[node.Invitation](t, a.body)
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(inv.Token, "rnj1_"))
	if err != nil || a.status != http.StatusCreated {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	var said struct {
		Secret string `json:"s"`
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&said); err != nil || said.Secret == "" {
		t.Fatal(err)
	}
	c.plant("an invitation", inv.Token)
	c.plant("the secret of an invitation", said.Secret)
	for i, dir := range []string{t.TempDir(), t.TempDir()} { // it works once
		err := node.Join(t.Context(), inv.Token, filepath.Join(dir, "data"), node.Options{})
		if (err == nil) != (i == 0) {
			t.Errorf("join %d: %v", i, err)
		}
		if err != nil {
			c.shown.WriteString(err.Error())
		}
	}
}

// webhook has a receiver repeat what it is sent and refuse it.
func (c *canaries) webhook() {
	t := c.g.t
	key := node.NewWebhookKey()
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(key, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	c.plant("the key of a webhook", strings.TrimPrefix(key, "whsec_"))
	c.plant("the bytes of that key", string(raw))
	c.g.secret("hook", `{"webhook":{"key":"`+key+`"}}`)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		http.Error(w, fmt.Sprint("refused: ", r.Header, string(body)), http.StatusBadRequest)
	}))
	t.Cleanup(receiver.Close)
	c.ask([3]string{"PUT", "/api/v1/webhooks/canary", `{"url":"` + receiver.URL + `","types":["version.*"],"secret":"hook"}`})
	if a := do(t, c.g.admin, "POST", "http://localhost", "/api/v1/webhooks/canary/test", nil); !strings.Contains(a.body, `"status":400`) {
		t.Errorf("the receiver is not asked: %d %s", a.status, a.body)
	}
	for _, at := range []string{"POST /api/v1/webhooks/canary/test", "GET /api/v1/webhooks/canary/deliveries", "GET /api/v1/webhooks"} {
		method, target, _ := strings.Cut(at, " ")
		c.ask([3]string{method, target, ""})
	}
}

// artifactory signs in as the JFrog CLI does for a user who has a password, asks with
// what it is given, renews that, and fails to.
func (c *canaries) artifactory(password string) {
	t := c.g.t
	const form, target = "application/x-www-form-urlencoded", "/artifactory/api/security/token"
	right := basic("bea", password)
	if a := do(t, http.DefaultClient, "GET", c.base, "/artifactory/api/security/encryptedPassword", nil, "Authorization", right); a.body != password { // the answer that shows it
		t.Fatalf("%d %s", a.status, a.body)
	}
	given := func(body string, header ...string) (token string) {
		a := do(t, http.DefaultClient, "POST", c.base, target, strings.NewReader(body), append(header, "Content-Type", form)...) // the answers that show them
		got := decode[issued](t, a.body)
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		secret := got.AccessToken[strings.LastIndexByte(got.AccessToken, '.')+1:]
		c.plant("a token for a password", secret[len("rn_tabcdefghijk_"):])
		c.plant("its refresh token", got.RefreshToken)
		for _, r := range asks {
			c.ask(r, "Authorization", "Bearer "+got.AccessToken)
		}
		return "grant_type=refresh_token&access_token=" + got.AccessToken + "&refresh_token=" + got.RefreshToken
	}
	again := given(given("grant_type=client_credentials", "Authorization", right))
	for _, body := range []string{
		again[:strings.LastIndexByte(again, '=')+1] + c.random("a wrong refresh token"), "grant_type=refresh_token&access_token=" + c.random("a refreshed token that is none") + "&refresh_token=x",
		"grant_type=password&username=bea&password=" + c.random("a password in a form"), "%zz" + c.random("a form that is none"),
	} {
		c.ask([3]string{"POST", target, body}, "Content-Type", form)
	}
}

// identities uses a password, which it returns, and a token that are right, and an ID
// token that is not.
func (c *canaries) identities() (password string) {
	t := c.g.t
	password = c.random("a password")
	c.ask([3]string{"PUT", "/api/v1/users/bea", `{"password":"` + password + `"}`})
	a := do(t, c.g.admin, "POST", "http://localhost", "/api/v1/tokens", strings.NewReader(`{"user":"bea"}`)) // the answer that shows it
	issued := decode[node.IssuedToken](t, a.body)
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	c.plant("a token", issued.Token[len("rn_tabcdefghijk_"):])
	for _, r := range asks {
		c.ask(r, "Authorization", "Bearer "+issued.Token)
	}
	c.ask([3]string{"GET", "/api/v1/whoami", ""}, "Authorization", basic("bea", password))
	c.ask([3]string{"GET", "/go/all/corp.test/a/@v/list", ""}, "Authorization", basic("bea", c.random("a wrong password of a user")))
	c.ask([3]string{"DELETE", "/api/v1/tokens/" + issued.ID + "?reason=leaked", ""})
	c.ask([3]string{"GET", "/api/v1/whoami", ""}, "Authorization", basic("bea", issued.Token))
	id := "eyJhbGciOiJSUzI1NiJ9." + c.random("the claims of an ID token") + "." + c.random("the signature of an ID token")
	c.ask([3]string{"POST", "/api/v1/oidc/exchange", `{"issuer":"ci","token":"` + id + `"}`})
	c.ask([3]string{"POST", "/api/v1/oidc/exchange", `{"issuer":"` + id + `","token":"` + id + `"`})
	return password
}

// search looks for every secret in everything that was written or said.
func (c *canaries) search(mark string) {
	c.g.t.Helper()
	found := map[string]bool{} // where the mark is
	look := func(where string, text []byte) {
		if bytes.Contains(text, []byte(mark)) {
			found[strings.Split(where, string(filepath.Separator))[0]] = true
		}
		for secret, what := range c.planted {
			if bytes.Contains(text, []byte(secret)) {
				c.g.t.Errorf("%s shows what was planted as %s", where, what)
			}
		}
	}
	look("an answer", []byte(c.shown.String()))
	look("the node's log", []byte(c.g.logs.String()))
	err := filepath.WalkDir(c.g.dir, func(path string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(c.g.dir, path)
		if err != nil || !e.Type().IsRegular() || strings.HasPrefix(name, "secrets") { // where the upstream's has its place
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		look(name, text)
		if zipped, err := gzip.NewReader(bytes.NewReader(text)); err == nil {
			text, _ := io.ReadAll(zipped)
			look(name, text)
		}
		return nil
	})
	if err != nil {
		c.g.t.Fatal(err)
	}
	for _, where := range []string{"index", "stream", "audit", "access", "an answer"} {
		if !found[where] {
			c.g.t.Errorf("%s does not hold the mark: the search does not see it; it is in %v", where, found)
		}
	}
	if !strings.Contains(c.g.logs.String(), "request panicked") {
		c.g.t.Error("no request panicked")
	}
}
