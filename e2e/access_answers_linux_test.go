package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// goRequests are what the go command asks of a module, and of what is below it.
func (r *teams) goRequests() (paths []string) {
	db, _, _ := strings.Cut(r.up.sumdb, "+")
	for _, of := range []string{"{module}/@v/v1.0.0.info", "{module}/@v/v1.0.0.mod", "{module}/@v/v1.0.0.zip", "{module}/@v/v1.0.1.zip", "{module}/@v/v1.5.0.mod"} {
		paths = append(paths, "/artifactory/{repo}/"+of, "/artifactory/api/storage/{repo}/"+of, "/artifactory/api/storage/{repo}/"+of+"?properties")
	}
	for _, before := range []string{"/go/", "/at-least/main/1/1/go/", "/artifactory/api/go/"} {
		for _, of := range []string{
			"{module}/@v/list", "{module}/@latest", "{module}/@v/v1.0.0.info", "{module}/@v/v1.0.0.mod", "{module}/@v/v1.0.0.zip",
			"{module}/@v/main.info", "{module}/deep/@v/list", "{module}/deep/er/@latest", "cached-only/{module}/@v/list", "cached-only/{module}/@v/v1.0.0.info",
			"sumdb/" + db + "/lookup/{module}@v1.0.0",
		} {
			paths = append(paths, before+"{repo}/"+of)
		}
	}
	return paths
}

// refused checks that who may not have something is told the same, and as much,
// whether or not it is there.
func (r *teams) refused(who, method, there, not string, body []byte) {
	r.t.Helper()
	want := http.StatusForbidden
	if who == nobody || who == stranger {
		want = http.StatusUnauthorized
	}
	a, b := r.ask(who, method, there, body), r.ask(who, method, not, body)
	if a.status != want || b.status != want {
		r.t.Errorf("%s: %s %s: %d %s\n%s: %d %s\nwant %d for both", who, method, there, a.status, a.body, not, b.status, b.body, want)
		return
	}
	r.alike(who, method, there, a, not, b, body)
	if (a.header.Get("Www-Authenticate") != "") != (want == http.StatusUnauthorized) {
		r.t.Errorf("%s: %s %s: WWW-Authenticate %q", who, method, there, a.header.Get("Www-Authenticate"))
	}
}

// alike checks that two answers, to a request about what is there and to one about
// what is not, tell the same and name nothing that was not named in asking.
func (r *teams) alike(who, method, there string, a answer, not string, b answer, body []byte) {
	r.t.Helper()
	if told, untold := existing(a.text()), existing(b.text()); told != untold {
		r.t.Errorf("%s: %s %s:\n%s\n%s:\n%s\ntell apart what is there", who, method, there, told, not, untold)
	}
	for _, name := range []string{"amber-lib", "amber-ci", "alice"} {
		if strings.Contains(a.text(), name) && !strings.Contains(there+string(body), name) {
			r.t.Errorf("%s: %s %s: %s tells of %s", who, method, there, a.text(), name)
		}
	}
}

// names of the amber team that are there, and others that are not.
var (
	namesThere = []string{"amber-lib", "corp.example/amber/lib", "amber-ci", "amber"}
	namesNot   = []string{"amber-nil", "corp.example/amber/nil", "amber-no", "amner"}
)

// existing returns an answer with the names of what is there for those of what is
// not.
func existing(text string) string {
	for i, name := range namesNot {
		text = strings.ReplaceAll(text, name, namesThere[i])
	}
	return text
}

// text returns all of an answer that could tell something.
func (a answer) text() string {
	var lines []string
	for name, values := range a.header {
		if !slices.Contains([]string{"Date", "Registry-Request", "Content-Length"}, name) {
			lines = append(lines, fmt.Sprintf("%s: %q\n", name, values))
		}
	}
	slices.Sort(lines)
	return fmt.Sprintf("%d\n%s\n%s", a.status, strings.Join(lines, ""), a.body)
}

// TestTeamsTellNothing asks everything about one team's module that can be asked by
// its name: the other team, and whoever shows no credentials, can't tell whether it
// is there.
func TestTeamsTellNothing(t *testing.T) {
	r := newTeams(t)
	r.furnish()
	others := []string{"cobalt-ci", nobody, stranger}
	const module, none = "corp.example/amber/lib", "corp.example/amber/nil"
	for _, path := range r.goRequests() {
		for _, repo := range [][2]string{{"all", "all"}, {"amber-lib", "amber-lib"}, {"amber-lib", "amber-nil"}} {
			there := strings.NewReplacer("{repo}", repo[0], "{module}", module).Replace(path)
			not := strings.NewReplacer("{repo}", repo[1], "{module}", none).Replace(path)
			for _, who := range others {
				r.refused(who, http.MethodGet, there, not, nil)
			}
		}
	}
	for _, who := range others { // of a version that is blocked, and of one that is not
		r.refused(who, http.MethodGet, "/go/all/"+module+"/@v/v1.0.1.zip", "/go/all/"+none+"/@v/v1.0.1.zip", nil)
	}
	r.own()

	// Of these an Artifactory says that they are not there.
	for who, status := range map[string]int{"cobalt-ci": http.StatusNotFound, nobody: http.StatusUnauthorized, stranger: http.StatusUnauthorized} {
		for _, there := range []string{"repositories/amber-lib", "storage/all/" + module, "storage/all/" + module + "/@v", "storage/all/" + module + "?list&deep=1", "storage/all/corp.example/amber?list&deep=1"} {
			there = "/artifactory/api/" + there
			not := strings.NewReplacer("amber-lib", "amber-nil", module, none, "amber?", "amner?").Replace(there)
			a, b := r.ask(who, http.MethodGet, there, nil), r.ask(who, http.MethodGet, not, nil)
			if a.status != status {
				t.Errorf("%s: GET %s: %d %s, want %d", who, there, a.status, a.body, status)
			}
			r.alike(who, http.MethodGet, there, a, not, b, nil)
		}
	}

	build := []byte(`{"name":"amber","number":"1","started":"2026-01-01T00:00:00.000+0000"}`)
	claims := []byte(`{"versions":[{"module":"` + module + `","version":"v1.0.0","mod_h1":"h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}]}`)
	hook := []byte(`{"url":"http://127.0.0.1:1/hook","types":["version.*"],"secret":"none"}`)
	grant := []byte(`{"principals":["user:cobalt-ci"],"repos":["amber-lib"],"actions":["read"]}`)
	for _, q := range []struct {
		method, there, not string
		body               []byte
	}{
		{"GET", "/api/v1/repos/amber-lib", "/api/v1/repos/amber-nil", nil},
		{"PATCH", "/api/v1/repos/amber-lib", "/api/v1/repos/amber-nil", []byte(`{"description":"x"}`)},
		{"DELETE", "/api/v1/repos/amber-lib?reason=x", "/api/v1/repos/amber-nil?reason=x", nil},
		{"POST", "/api/v1/repos/amber-lib/restore", "/api/v1/repos/amber-nil/restore", nil},
		{"PUT", "/api/v1/repos/amber-lib/modules/" + module + "/@v/v1.0.0", "/api/v1/repos/amber-lib/modules/" + none + "/@v/v1.0.0", []byte("no zip")},
		{"PUT", "/api/v1/repos/amber-lib/modules/" + module + "/@v/v1.0.0", "/api/v1/repos/amber-nil/modules/" + none + "/@v/v1.0.0", []byte("no zip")},
		{"PUT", "/api/v1/repos/cobalt-lib/modules/" + module + "/@v/v1.0.0", "/api/v1/repos/cobalt-lib/modules/" + none + "/@v/v1.0.0", []byte("no zip")},
		{"DELETE", "/api/v1/repos/amber-lib/modules/" + module + "/@v/v1.0.0?reason=x", "/api/v1/repos/amber-lib/modules/" + none + "/@v/v1.0.0?reason=x", nil},
		{"GET", "/api/v1/repos/amber-lib/pending", "/api/v1/repos/amber-nil/pending", nil},
		{"POST", "/api/v1/repos/amber-lib/refresh", "/api/v1/repos/amber-nil/refresh", []byte(`{"module":"` + module + `"}`)},
		{"DELETE", "/api/v1/repos/amber-lib/cached?module=" + module, "/api/v1/repos/amber-nil/cached?module=" + none, nil},
		{"GET", "/api/v1/users/amber-ci", "/api/v1/users/amber-no", nil},
		{"DELETE", "/api/v1/users/amber-ci", "/api/v1/users/amber-no", nil},
		{"PUT", "/api/v1/groups/amber", "/api/v1/groups/amner", []byte(`{"add":["cobalt-ci"]}`)},
		{"DELETE", "/api/v1/groups/amber", "/api/v1/groups/amner", nil},
		{"GET", "/api/v1/permissions/amber", "/api/v1/permissions/amner", nil},
		{"PUT", "/api/v1/permissions/amber", "/api/v1/permissions/amner", grant},
		{"DELETE", "/api/v1/permissions/amber", "/api/v1/permissions/amner", nil},
		{"GET", "/api/v1/tokens?user=amber-ci", "/api/v1/tokens?user=amber-no", nil},
		{"POST", "/api/v1/tokens", "/api/v1/tokens", []byte(`{"user":"amber-ci"}`)},
		{"GET", "/api/v1/permissions/check?user=amber-ci&action=read&repo=amber-lib", "/api/v1/permissions/check?user=amber-no&action=read&repo=amber-nil", nil},
		{"GET", "/api/v1/fetched?module=" + module, "/api/v1/fetched?module=" + none, nil},
		{"GET", "/api/v1/audit?module=" + module, "/api/v1/audit?module=" + none, nil},
		{"PUT", "/artifactory/amber-lib/" + module + "/@v/v1.0.0.mod", "/artifactory/amber-lib/" + none + "/@v/v1.0.0.mod", []byte("x")},
		{"PUT", "/artifactory/amber-lib/" + module + "/@v/v1.5.0.zip", "/artifactory/amber-nil/" + none + "/@v/v1.5.0.zip", []byte("x")},
		{"PUT", "/artifactory/api/go/all/" + module + "/@v/v1.0.0.zip", "/artifactory/api/go/all/" + none + "/@v/v1.0.0.zip", []byte("x")},
		{"DELETE", "/artifactory/amber-lib/" + module + "/@v/v1.0.0.zip", "/artifactory/amber-lib/" + none + "/@v/v1.0.0.zip", nil},
		{"PUT", "/artifactory/api/storage/amber-lib/" + module + "/@v/v1.0.0.zip?properties=a=b", "/artifactory/api/storage/amber-lib/" + none + "/@v/v1.0.0.zip?properties=a=b", nil},
		{"DELETE", "/artifactory/api/storage/amber-lib/" + module + "/@v/v1.0.0.zip?properties=owner", "/artifactory/api/storage/amber-lib/" + none + "/@v/v1.0.0.zip?properties=owner", nil},
		{"GET", "/artifactory/api/build?project=amber", "/artifactory/api/build?project=amner", nil},
		{"GET", "/artifactory/api/build/amber/1?project=amber", "/artifactory/api/build/amner/1?project=amner", nil},
		{"POST", "/artifactory/api/build/retention/amber?project=amber", "/artifactory/api/build/retention/amner?project=amner", []byte(`{"count":"1"}`)},
		{"GET", "/artifactory/api/storage/amber-lib", "/artifactory/api/storage/amber-nil", nil},
		{"GET", "/artifactory/api/storage/amber-lib/" + module + "?list&deep=1", "/artifactory/api/storage/amber-nil/" + none + "?list&deep=1", nil},
		{"PUT", "/artifactory/api/build?project=amber", "/artifactory/api/build?project=amner", build},
		{"POST", "/artifactory/api/build/delete", "/artifactory/api/build/delete", []byte(`{"project":"amber","buildName":"amber","buildNumbers":["1"]}`)},
		{"PUT", "/api/v1/repos/amber-lib/imports/" + module + "/@v/v1.0.0", "/api/v1/repos/amber-nil/imports/" + none + "/@v/v1.0.0", []byte("x")},
		{"POST", "/api/v1/repos/amber-lib/imports/missing", "/api/v1/repos/amber-nil/imports/missing", claims},
		{"GET", "/api/v1/webhooks/amber", "/api/v1/webhooks/amner", nil},
		{"GET", "/api/v1/webhooks/amber/deliveries", "/api/v1/webhooks/amner/deliveries", nil},
		{"PUT", "/api/v1/webhooks/amber", "/api/v1/webhooks/amner", hook},
		{"POST", "/api/v1/webhooks/amber/test", "/api/v1/webhooks/amner/test", nil},
		{"DELETE", "/api/v1/webhooks/amber", "/api/v1/webhooks/amner", nil},
		{"DELETE", "/api/v1/blocks?module=" + module + "&version=v1.0.1", "/api/v1/blocks?module=" + none + "&version=v1.0.1", nil},
	} {
		for _, who := range others {
			r.refused(who, q.method, q.there, q.not, q.body)
		}
	}
}

// furnish has the amber team, and an administrator for it, make something of each sort
// beside its module.
func (r *teams) furnish() {
	r.t.Helper()
	r.admin("block", "corp.example/amber/lib@v1.0.1", "--reason", "a reason for amber's eyes")
	for _, q := range []struct{ who, method, path, body string }{
		{"amber-ci", "PUT", "/artifactory/api/storage/amber-lib/corp.example/amber/lib/@v/v1.0.0.zip?properties=owner=amber", ""},
		{"amber-ci", "PUT", "/artifactory/amber-lib/corp.example/amber/lib/@v/v1.5.0.mod", "module corp.example/amber/lib\n"}, // waits for its zip
		{"alice", "PUT", "/artifactory/api/build?project=amber", `{"name":"amber","number":"1","started":"2026-01-01T00:00:00.000+0000"}`},
		{"alice", "PUT", "/api/v1/webhooks/amber", `{"url":"http://127.0.0.1:1/hook","types":["version.*"],"secret":"amber"}`},
	} {
		if a := r.ask(q.who, q.method, q.path, []byte(q.body)); a.status >= 300 {
			r.t.Fatalf("%s: %s %s: %d %s", q.who, q.method, q.path, a.status, a.body)
		}
	}
}

// own checks that the team itself is told what is there and what is not.
func (r *teams) own() {
	r.t.Helper()
	for path, want := range map[string]int{
		"/go/all/corp.example/amber/lib/@v/list":                   http.StatusOK,
		"/go/all/corp.example/amber/lib/@v/v1.0.0.zip":             http.StatusOK,
		"/go/amber-lib/corp.example/amber/lib/@latest":             http.StatusOK,
		"/go/all/corp.example/amber/lib/deep/@v/list":              http.StatusNotFound,
		"/go/all/corp.example/amber/nil/@v/list":                   http.StatusNotFound,
		"/go/all/corp.example/amber/lib/@v/v1.0.1.zip":             http.StatusForbidden, // blocked
		"/go/all/pub.example/lib/@v/list":                          http.StatusOK,
		"/go/cobalt-lib/corp.example/amber/lib/@v/list":            http.StatusForbidden,
		"/at-least/main/1/1/go/all/corp.example/amber/lib/@v/list": http.StatusOK,
	} {
		if a := r.ask("amber-ci", http.MethodGet, path, nil); a.status != want {
			r.t.Errorf("amber-ci: GET %s: %d %s, want %d", path, a.status, a.body, want)
		}
	}
}

// TestTeamsListNothingOfOthers reads all lists. The other team finds nothing of the
// first one's in them, and whoever shows no credentials gets none; an administrator
// sees that there was something to hide.
func TestTeamsListNothingOfOthers(t *testing.T) {
	r := newTeams(t)
	r.furnish()
	r.admin("repo", "create", "amber-mirror", "--kind", "remote", "--upstream", r.up.URL+"/amber", "--sumdb", "off")
	if a := r.ask("amber-ci", http.MethodGet, "/go/all/corp.example/amber/lib/@v/v1.0.0.zip", nil); a.status != http.StatusOK {
		t.Fatalf("amber-ci gets its own zip: %d %s", a.status, a.body)
	}
	for _, q := range []struct {
		path   string
		status int  // for the other team
		hidden bool // it has something of the amber team's
	}{
		{"/api/v1/repos", http.StatusOK, true},
		{"/api/v1/repos/all", http.StatusOK, true},
		{"/api/v1/status", http.StatusOK, true},
		{"/api/v1/replication", http.StatusOK, false},
		{"/api/v1/blocks", http.StatusOK, true},
		{"/api/v1/upstreams", http.StatusOK, true},
		{"/api/v1/drift", http.StatusOK, false},
		{"/api/v1/offline", http.StatusForbidden, false},
		{"/api/v1/sites", http.StatusForbidden, false},
		{"/api/v1/users", http.StatusOK, true},
		{"/api/v1/groups", http.StatusOK, true},
		{"/api/v1/permissions", http.StatusOK, true},
		{"/api/v1/tokens", http.StatusOK, true},
		{"/api/v1/whoami", http.StatusOK, false},
		{"/api/v1/issuers", http.StatusForbidden, false},
		{"/api/v1/audit", http.StatusForbidden, true},
		{"/api/v1/fetched?module=corp.example/amber/lib", http.StatusForbidden, true},
		{"/api/v1/log", http.StatusForbidden, true},
		{"/metrics", http.StatusOK, true},
		{"/api/v1/webhooks", http.StatusForbidden, true},
		{"/artifactory/api/repositories", http.StatusOK, true},
		{"/artifactory/api/repositories/all", http.StatusOK, true},
		{"/artifactory/api/storage/all/corp.example", http.StatusOK, true},
		{"/artifactory/api/storage/all?list&deep=1", http.StatusOK, true},
	} {
		const team = "amber"
		if a := r.ask("alice", http.MethodGet, q.path, nil); a.status != http.StatusOK || bytes.Contains(a.body, []byte(team)) != q.hidden {
			t.Errorf("alice: GET %s: %d %s; want it to tell of the amber team: %v", q.path, a.status, a.body, q.hidden)
		}
		if a := r.ask("cobalt-ci", http.MethodGet, q.path, nil); a.status != q.status || strings.Contains(a.text(), team) {
			t.Errorf("cobalt-ci: GET %s: %s, want %d and nothing of the amber team", q.path, a.text(), q.status)
		}
		for _, who := range []string{nobody, stranger} {
			a := r.ask(who, http.MethodGet, q.path, nil)
			if open := q.path == "/api/v1/whoami"; a.status != http.StatusUnauthorized && !open || strings.Contains(a.text(), team) {
				t.Errorf("%s: GET %s: %s, want 401 and nothing of the amber team", who, q.path, a.text())
			}
		}
	}
	for _, query := range []string{`items.find()`, `items.find({"repo":"all"})`, `items.find({"@owner":"amber"}).include("property")`, `items.find({"repo":"amber-build-info"})`} {
		for who, status := range map[string]int{"alice": http.StatusOK, "cobalt-ci": http.StatusOK, nobody: http.StatusUnauthorized, stranger: http.StatusUnauthorized} {
			a := r.ask(who, http.MethodPost, "/artifactory/api/search/aql", []byte(query))
			if a.status != status || strings.Contains(a.text(), "amber") != (who == "alice") {
				t.Errorf("%s: %s: %s, want %d", who, query, a.text(), status)
			}
		}
	}
	for _, path := range []string{"/livez", "/readyz"} {
		if a := r.ask(stranger, http.MethodGet, path, nil); a.status != http.StatusOK || string(bytes.TrimSpace(a.body)) != "ok" {
			t.Errorf("GET %s: %d %s, want ok for everybody", path, a.status, a.body)
		}
	}
}
