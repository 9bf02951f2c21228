package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/httpapi"
	"registry-node/node"
)

// The roles of somebody who asks. Each is one way to show, or not to show, who one
// is, with the rights of the rules in newRoles.
const (
	anonymous = "anonymous" // no credentials, over the network
	loopback  = "loopback"  // no credentials, on this machine: reads local and public
	stranger  = "stranger"  // a user without rights
	reader    = "reader"    // reads team-a
	password  = "password"  // the same, with a password in place of a token
	publisher = "publisher" // reads and publishes team-a.test/lib/** in team-a
	deleter   = "deleter"   // reads and deletes in team-a
	blocker   = "blocker"   // blocks
	manager   = "manager"   // manages what is called team-a*, and nothing else
	admin     = "admin"     // may do everything
	scoped    = "scoped"    // the same user, with a token that is for reading only
	operator  = "operator"  // the admin socket
	expired   = "expired"   // the administrator with a token that has ended
	revoked   = "revoked"   // the administrator with a token that was revoked
	disabled  = "disabled"  // an administrator who is disabled
)

// Sets of roles. Those whose credentials are wrong are in none of them: they are
// refused on all routes.
const (
	everybody = anonymous + " " + loopback + " " + known
	known     = stranger + " " + operator + " " + ruled
	ruled     = readers + " " + publisher + " " + blocker + " " + manager
	lookers   = loopback + " " + operator + " " + ruled
	readers   = reader + " " + password + " " + deleter + " " + admin + " " + scoped
	ofTeam    = readers + " " + operator
	delegates = manager + " " + admins
	admins    = admin + " " + operator
	wrong     = expired + " " + revoked + " " + disabled
)

func allRoles() []string { return strings.Fields(everybody + " " + wrong) }

func isIn(role, set string) bool { return strings.Contains(" "+set+" ", " "+role+" ") }

// roles is a registry that is asked by everybody. Beside the repositories of every
// registry here it has those of two teams: team-a and team-b, which are local,
// team-a-proxy, which is remote, and both, which shows all of them.
type roles struct {
	*registry
	public string            // base URL of a listener to which every request comes from another address
	shown  map[string]string // what each role shows as Authorization
	n      int               // things made so far
}

const (
	rolePassword = "correct horse battery"
	trialRule    = `{"principals":["loopback"],"repos":["local","public"],"actions":["read"]}`
)

func newRoles(t *testing.T) *roles {
	w := &roles{registry: registryWith(t, node.Options{}, httpapi.AccessConfig{Dir: "access"}), shown: map[string]string{}}
	public := w.server.Handler(httpapi.Public)
	var from atomic.Uint32
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		n := from.Add(1) // so that nobody has failed to log in too often
		r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1234", n>>16&0xff, n>>8&0xff, n&0xff)
		public.ServeHTTP(rw, r)
	}))
	t.Cleanup(front.Close)
	w.public = front.URL
	w.proxy.add(t, "up.test/m", "v1.0.0", tree("up.test/m"))

	local := `{"name":%q,"kind":"local","settings":{"owns":[%q]}}`
	for _, r := range [][3]string{
		{"PUT", "permissions/trial", trialRule}, {"DELETE", "permissions/tests"},
		{"POST", "repos", fmt.Sprintf(local, "team-a", "team-a.test/**")}, {"POST", "repos", fmt.Sprintf(local, "team-b", "team-b.test/**")},
		{"POST", "repos", `{"name":"team-a-proxy","kind":"remote","settings":{"upstream":"` + w.proxy.url + `","sumdb":"off"}}`},
		{"POST", "repos", `{"name":"both","kind":"virtual","settings":{"members":["team-a","team-b"]}}`},
		{"PUT", "users/stranger", `{}`}, {"PUT", "users/reader", `{}`}, {"PUT", "users/publisher", `{}`}, {"PUT", "users/deleter", `{}`}, {"PUT", "users/blocker", `{}`},
		{"PUT", "users/manager", `{}`}, {"PUT", "users/admin", `{}`}, {"PUT", "users/disabled", `{}`}, {"PUT", "users/password", `{"password":"` + rolePassword + `"}`},
		{"PUT", "users/team-a-bot", `{"service":true}`}, {"PUT", "groups/admins", `{"members":["admin","disabled"]}`}, {"PUT", "groups/team-a", `{"members":["reader","password"]}`},
		{"PUT", "permissions/admins", `{"principals":["group:admins"],"repos":["*"],"actions":["read","publish","delete","block","manage"]}`},
		{"PUT", "permissions/team-a", `{"principals":["group:team-a"],"repos":["team-a"],"actions":["read"]}`},
		{"PUT", "permissions/publish", `{"principals":["user:publisher"],"repos":["team-a"],"include":["team-a.test/lib/**"],"actions":["read","publish"]}`},
		{"PUT", "permissions/delete", `{"principals":["user:deleter"],"repos":["team-a"],"actions":["read","delete"]}`},
		{"PUT", "permissions/block", `{"principals":["user:blocker"],"repos":["*"],"actions":["block"]}`},
		{"PUT", "permissions/manage", `{"principals":["user:manager"],"repos":["team-a*"],"actions":["manage"]}`},
	} {
		w.set(r[0], "/api/v1/"+r[1], r[2])
	}
	w.shown[expired] = w.token(`{"user":"admin","expires":"1s"}`)
	for _, user := range []string{stranger, reader, publisher, deleter, blocker, manager, admin} {
		w.shown[user] = w.token(`{"user":"` + user + `"}`)
	}
	w.shown[scoped] = w.token(`{"user":"admin","actions":["read"]}`)
	w.shown[revoked] = w.token(`{"user":"admin"}`)
	w.set("DELETE", "/api/v1/tokens/"+tokenID(w.shown[revoked]), "")
	w.shown[disabled] = w.token(`{"user":"disabled"}`)
	w.set("PUT", "/api/v1/users/disabled", `{"disabled":true}`)
	w.shown[password] = basic("password", rolePassword)
	for _, v := range []string{"team-a/modules/team-a.test/lib/x", "team-a/modules/team-a.test/app", "team-b/modules/team-b.test/x"} {
		w.set("PUT", "/api/v1/repos/"+v+"/@v/v1.0.0", "{zip}")
	}
	waitFor(t, func() error { // until the second is over
		if a := w.ask(expired, "GET", "/api/v1/whoami", ""); a.status != http.StatusUnauthorized {
			return fmt.Errorf("the token that ends still works: %d", a.status)
		}
		return nil
	})
	return w
}

// token has the operator issue one and returns it as an Authorization header.
func (w *roles) token(body string) string {
	return "Bearer " + decode[node.IssuedToken](w.t, w.set("POST", "/api/v1/tokens", body).body).Token
}

// tokenID returns the id of the token in an Authorization header.
func tokenID(header string) string { return strings.Split(header, "_")[1] }

// set has the operator do something, which must work.
func (w *roles) set(method, target, body string) answer {
	w.t.Helper()
	a := w.ask(operator, method, target, body)
	if a.status >= 300 {
		w.t.Fatalf("%s %s %s: %d %s", method, target, body, a.status, a.body)
	}
	return a
}

// ask has a role send a request. A body {zip} is the zip of the version in the
// target, and {publish} with versions after it is the form that publishes them.
func (w *roles) ask(role, method, target, body string) answer {
	w.t.Helper()
	if body == "{zip}" {
		body = w.zipFor(target)
	}
	kind := ""
	if versions, ok := strings.CutPrefix(body, "{publish}"); ok {
		f := newForm()
		for name := range strings.FieldsSeq(versions) {
			path, version, _ := strings.Cut(name, "@")
			f.plain(w.t, path, version)
		}
		body, kind = f.end()
	}
	base, client := w.public, http.DefaultClient
	switch role {
	case loopback:
		base = w.base
	case operator:
		base, client = "http://localhost", w.admin
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, base+target, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if header := w.shown[role]; header != "" {
		req.Header.Set("Authorization", header)
	}
	resp, err := client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") == "text/event-stream" { // has no end
		return answer{status: resp.StatusCode, header: resp.Header}
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func (w *roles) zipFor(target string) string {
	_, name, _ := strings.Cut(target, "/modules/")
	path, version, _ := strings.Cut(name, "/@v/")
	zip, _ := zipOf(w.t, module.Version{Path: path, Version: version}, tree(path))
	return string(zip)
}
