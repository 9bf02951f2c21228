package httpapi_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/httpapi"
	"registry-node/node/access"
)

func (g *registry) audited(query string) httpapi.Audited {
	g.t.Helper()
	a := g.get("/api/v1/audit?" + query)
	if a.status != http.StatusOK {
		g.t.Fatalf("%s: %d %s", query, a.status, a.body)
	}
	return decode[httpapi.Audited](g.t, a.body)
}

// line returns the only line of the request with this answer.
func (g *registry) line(a answer) httpapi.Audit {
	g.t.Helper()
	found := g.lines(a)
	if len(found) != 1 {
		g.t.Fatalf("%d lines of one request: %+v", len(found), found)
	}
	return found[0]
}

// lines returns the lines of the request with this answer, the last one first.
func (g *registry) lines(a answer) (found []httpapi.Audit) {
	g.t.Helper()
	for _, l := range g.audited("limit=10000").Lines {
		if l.Request == a.header.Get(httpapi.RequestHeader) {
			found = append(found, l)
		}
	}
	return found
}

// TestEveryChangeIsAudited holds that a route which is not for reading has an
// action of the audit log, so that a new one without fails here.
func TestEveryChangeIsAudited(t *testing.T) {
	g := newRegistry(t)
	routes := g.server.Routes()
	for _, r := range routes {
		method, _, _ := strings.Cut(r, " ")
		_, ok := httpapi.Actions[r]
		if read := method == "GET" || method == "HEAD" || slices.Contains(askedByPost, r); read == ok {
			t.Errorf("%s has an action of the audit log: %v", r, ok)
		}
	}
}

// askedByPost are the routes that take a body and change nothing.
var askedByPost = []string{
	"POST /artifactory/api/system/usage",
	"POST /artifactory/api/search/aql",
	"POST /jfconnect/api/v1/backoffice/metrics/log",
	"POST /artifactory/api/*", "POST /artifactory/api/build/*", "PUT /artifactory/api/*", "DELETE /artifactory/api/*", // say that they do nothing
}

// TestActionsHaveRoutes: none is left over.
func TestActionsHaveRoutes(t *testing.T) {
	routes := newRegistry(t).server.Routes()
	for r := range httpapi.Actions {
		if !slices.Contains(routes, r) {
			t.Errorf("%s has an action of the audit log and is no route", r)
		}
	}
}

// TestRefusalsAreAudited asks for every change without credentials, with a body
// that says nothing: each has one line, and what is answered is written there.
func TestRefusalsAreAudited(t *testing.T) {
	g := newRegistry(t)
	public := httptest.NewServer(g.server.Handler(httpapi.Public))
	defer public.Close()
	path := strings.NewReplacer(":repo", "local", ":site", "oslo", ":name", "ann", ":id", "tabcdefghijk", "/*", "/corp.test/a/@v/v1.0.0")
	for _, route := range slices.Sorted(maps.Keys(httpapi.Actions)) {
		method, target, _ := strings.Cut(route, " ")
		a := do(t, http.DefaultClient, method, public.URL, path.Replace(target), strings.NewReader("{}"))
		l := g.line(a)
		if a.status < 400 || a.status >= 500 || l.Action != httpapi.Actions[route] || l.Outcome != "refused" || l.Status != a.status || l.Code == "" ||
			l.Actor != "anonymous" || l.Token != "" || l.Client != "127.0.0.1" || l.Site != "here" || !strings.HasPrefix(l.Node, "127.0.0.1:") || l.Position != "" {
			t.Errorf("%s: %d, line %+v", route, a.status, l)
		}
	}
}

// TestChangesAreAudited holds what a line says of what was done.
func TestChangesAreAudited(t *testing.T) {
	g := newRegistry(t)
	zip, _ := zipOf(t, module.Version{Path: "corp.test/a", Version: "v1.0.0"}, tree("corp.test/a"))
	for _, tt := range []struct{ method, target, body, want string }{
		{"PUT", "/api/v1/repos/local/modules/corp.test/a/@v/v1.0.0", string(zip), "publish done 201 local corp.test/a@v1.0.0 here/1/N"},
		{"PUT", "/api/v1/repos/local/modules/corp.test/a/@v/v1.0.0", string(zip), "publish done 200 local corp.test/a@v1.0.0"},
		{"PUT", "/api/v1/repos/local/modules/corp.test/a/@v/v1.0.1", string(zip), "publish refused 422 unprocessable local corp.test/a@v1.0.1"},
		{"DELETE", "/api/v1/repos/local/modules/corp.test/a/@v/v1.0.0?reason=leak", ``, "hide done 204 local corp.test/a@v1.0.0 leak here/1/N"},
		{"POST", "/api/v1/repos", `{"name":"x","kind":"local"}`, "repo.create done 201 x here/1/N"},
		{"POST", "/api/v1/repos", `{"name":"x","kind":"local"}`, "repo.create refused 409 exists x"},
		{"PATCH", "/api/v1/repos/x", `{"description":"secret plans"}`, "repo.change done 200 x here/1/N"},
		{"DELETE", "/api/v1/repos/x?reason=unused", ``, "repo.delete done 204 x unused here/1/N"},
		{"POST", "/api/v1/repos/x/restore", ``, "repo.restore done 200 x here/1/N"},
		{"POST", "/api/v1/blocks", `{"module":"evil.test/a","version":"v1.*","reason":"malware\nof ann"}`, "block done 201 evil.test/a@v1.* malware?of ann here/1/N"},
		{"DELETE", "/api/v1/blocks?module=evil.test/a&version=v1.*", ``, "unblock done 204 evil.test/a@v1.* here/1/N"},
		{"DELETE", "/api/v1/blocks?module=evil.test/a", ``, "unblock refused 404 not_found evil.test/a"},
		{"POST", "/api/v1/sites", `{"name":"oslo"}`, "invite failed 503 unavailable oslo"},
		{"PUT", "/api/v1/offline", `{"offline":false}`, "offline done 200 off"},
		{"POST", "/api/v1/verify", ``, "verify done 200"},
		{"POST", "/api/v1/homes", `{"repository":"x","to":"here"}`, "home.move refused 400 invalid x here"},
	} {
		seq := g.seq()
		a := g.do(tt.method, tt.target, strings.NewReader(tt.body))
		l := g.line(a)
		thing := l.Module
		if l.Version != "" {
			thing += "@" + l.Version
		}
		got := strings.Join(strings.Fields(fmt.Sprintln(l.Action, l.Outcome, l.Status, l.Code, l.Repo, thing, l.Name, l.Reason, l.Position)), " ")
		want := strings.Replace(tt.want, "1/N", fmt.Sprint("1/", g.seq()), 1)
		if got != want || strings.HasSuffix(tt.want, "N") != (g.seq() > seq) {
			t.Errorf("%s %s %.50s: %d %.100s\n got %s\nwant %s", tt.method, tt.target, tt.body, a.status, a.body, got, want)
		}
		if l.Actor == "" || l.Client != "127.0.0.1" || time.Since(l.Time) > time.Minute {
			t.Errorf("line %+v", l)
		}
	}
	a := do(t, g.admin, "PUT", "http://localhost", "/api/v1/offline", strings.NewReader(`{"offline":false}`))
	if l := g.line(a); l.Actor != "operator@here" || l.Client != "admin.sock" {
		t.Errorf("over the socket: %+v", l)
	}
}

// TestFailedLoginsAreAudited: a wrong token has one line, under its id, whatever
// was asked for, and a burst of them few.
func TestFailedLoginsAreAudited(t *testing.T) {
	g := newRegistry(t)
	tok := access.NewToken(false)
	for i, target := range []string{"GET /go/all/corp.test/a/@v/list", "POST /api/v1/blocks", "GET /nothing"} {
		method, path, _ := strings.Cut(target, " ")
		a := g.do(method, path, strings.NewReader(`{}`), "Authorization", "Bearer "+tok.Secret())
		if a.status != http.StatusUnauthorized {
			t.Fatalf("%s: %d %s", target, a.status, a.body)
		}
		if i > 0 {
			continue
		}
		l := g.audited("action=login.*").Lines
		if len(l) != 1 || l[0].Token != tok.ID() || l[0].Outcome != "refused" || l[0].Status != 401 || l[0].Actor != "" || l[0].Name != "GET /go/*" || l[0].Client != "127.0.0.1" {
			t.Fatalf("%+v", l)
		}
	}
	for range 20 {
		g.get("/api/v1/repos", "Authorization", "Bearer "+tok.Secret())
	}
	g.audited("") // what is summed up is written with it
	lines := g.audited("action=login.failed&client=127.0.0.0/8").Lines
	count := 0
	for _, l := range lines {
		count += max(1, int(l.Count))
	}
	if len(lines) > 6 || count != 23 {
		t.Errorf("%d lines of %d failed logins", len(lines), count)
	}
	if found := g.audited("action=block").Lines; len(found) > 0 {
		t.Errorf("a failed login has a second line: %+v", found)
	}
}

func TestAuditQueries(t *testing.T) {
	g := newRegistry(t)
	g.publish("corp.test/a", "v1.0.0", tree("corp.test/a"))
	g.publish("corp.test/b", "v1.0.0", tree("corp.test/b"))
	g.do("POST", "/api/v1/repos", strings.NewReader(`{"name":"x","kind":"local"}`))
	g.do("DELETE", "/api/v1/repos/x", nil)
	g.do("DELETE", "/api/v1/repos/y", nil)
	soon := url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339))
	for query, want := range map[string]string{
		"":                           "repo.delete repo.delete repo.create publish publish",
		"action=publish":             "publish publish",
		"action=repo.*":              "repo.delete repo.delete repo.create",
		"action=repo":                "",
		"outcome=refused":            "repo.delete",
		"outcome=done&repository=x":  "repo.delete repo.create",
		"module=corp.test/*":         "publish publish",
		"module=corp.test/b":         "publish",
		"actor=ann":                  "",
		"token=tabcdefghijk":         "",
		"client=127.0.0.1&since=1h":  "repo.delete repo.delete repo.create publish publish",
		"client=10.0.0.0/8":          "",
		"until=1h":                   "",
		"since=" + soon:              "",
		"until=" + soon + "&limit=2": "repo.delete repo.delete",
		"since=2020-01-01T00:00:00Z&until=" + soon: "repo.delete repo.delete repo.create publish publish",
	} {
		f := g.audited(query)
		var got []string
		for _, l := range f.Lines {
			got = append(got, l.Action)
		}
		if strings.Join(got, " ") != want || f.More != strings.Contains(query, "limit") {
			t.Errorf("%s: %v, more %v, want %s", query, got, f.More, want)
		}
	}
	for query, part := range map[string]string{
		"since=soon": "neither a span", "until=-1h": "neither a span", "client=here": "neither an address", "module=/": "pattern", "outcome=well": "none of done",
		"limit=0": "from 1 to", "limit=10001": "from 1 to", "format=csv": "neither json nor ndjson", "format=ndjson&limit=1": "an export has all", "user=ann": "unknown parameter",
	} {
		checkProblem(t, g.get("/api/v1/audit?"+query), http.StatusBadRequest, part)
	}
	for _, a := range []answer{g.get("/api/v1/audit?format=ndjson&action=repo.*"), g.get("/api/v1/audit?action=repo.*", "Accept", "text/html, application/x-ndjson;q=0.9")} {
		var got []string
		for line := range strings.Lines(a.body) {
			got = append(got, decode[httpapi.Audit](t, line).Action)
		}
		if strings.Join(got, " ") != "repo.create repo.delete repo.delete" || a.header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("export: %v\n%s", got, a.body)
		}
	}
	public := httptest.NewServer(g.server.Handler(httpapi.Public))
	defer public.Close()
	if a := do(t, http.DefaultClient, "GET", public.URL, "/api/v1/audit", nil); a.status != http.StatusUnauthorized {
		t.Errorf("anonymous: %d %s", a.status, a.body)
	}
	if a := g.get("/metrics"); !strings.Contains(a.body, "registry_node_audit_log_lines_total 5\n") || !strings.Contains(a.body, "registry_node_audit_log_dropped_total 0\n") || !strings.Contains(a.body, "registry_node_audit_log_reads_total") {
		t.Error("the metrics do not tell of 5 lines")
	}
}

// TestAuditOverDays: files of other days are looked at as the times say, a line
// that a crash cut spoils no other, and what is too old goes.
func TestAuditOverDays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	log := auditDays(t, dir, 3, 1)
	defer log.Close()
	now := time.Now()
	find := func(q httpapi.AuditQuery) (names string) {
		q.Limit = 10
		a, err := log.Find(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range a.Lines {
			names += l.Name + " "
		}
		return names
	}
	for _, tt := range []struct {
		since, until int // days ago
		want         string
	}{{90, -1, "0 1 2 "}, {1, -1, "0 "}, {2, -1, "0 1 "}, {3, 1, "1 2 "}, {90, 2, "2 "}} {
		if got := find(httpapi.AuditQuery{Since: now.AddDate(0, 0, -tt.since), Until: now.AddDate(0, 0, -tt.until)}); got != tt.want {
			t.Errorf("from %d to %d days ago: %q, want %q", tt.since, tt.until, got, tt.want)
		}
	}
	var b bytes.Buffer
	if err := log.Export(t.Context(), httpapi.AuditQuery{Module: pattern(t, "corp.test/**")}, &b); err != nil || strings.Count(b.String(), "\n") != 3 || !strings.Contains(b.String(), `"name":"2"`) {
		t.Errorf("export: %v\n%s", err, b.String())
	}
}

func pattern(t *testing.T, s string) events.Pattern {
	p, err := events.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
