package httpapi_test

import (
	"strconv"
	"strings"
	"testing"
)

// TestHostileScopes shows tokens of an administrator that are for less, on routes
// that take more. The numbers are statuses, in the order of the requests.
func TestHostileScopes(t *testing.T) {
	h := newHostile(t)
	requests := []struct{ method, target, body string }{
		{"GET", "/go/team-a/team-a.test/lib/x/@v/v1.0.0.zip", ""}, {"GET", "/go/team-b/team-b.test/x/@v/v1.0.0.info", ""}, {"PUT", teamMods + "team-a.test/lib/x/@v/v1.0.0", "{zip}"}, // 200: it is there
		{"DELETE", teamMods + "team-a.test/none/@v/v1.0.0", ""}, {"DELETE", "/api/v1/blocks?module=team-a.test/none", ""}, {"PATCH", apiRepos + "/team-a", `{"description":""}`}, {"GET", "/api/v1/log", ""},
		{"GET", teamItems + "lib/x/@v/v1.0.0.zip", ""}, {"PUT", teamItems + "lib/x/@v/v1.0.0.zip?properties=n=1", ""}, {"PUT", "/artifactory/api/build", newBuild}, {"PUT", apiRepos + "/team-a-proxy/imports/m.test/a/@v/v1.0.0", "x"}, // 400: no parts
		{"PUT", "/api/v1/webhooks/hook", goodHook}, {"DELETE", "/artifactory/team-a/team-a.test/none/@v/v1.0.0.zip", ""},
	}
	for _, i := range []int{8, 9, 11} { // what is there already is in no log again
		h.set(requests[i].method, requests[i].target, requests[i].body)
	}
	seq := h.seq()
	n := 0
	for scope, want := range map[string]string{
		`"actions":["read"]`:                           "200 200 403 403 403 403 403 200 403 403 403 403 403",
		`"actions":["publish"]`:                        "403 403 200 403 403 403 403 403 204 204 403 403 403",
		`"actions":["delete"]`:                         "403 403 403 404 403 403 403 403 403 403 403 403 404",
		`"actions":["block"]`:                          "403 403 403 403 404 403 403 403 403 403 403 403 403",
		`"actions":["manage"]`:                         "403 403 403 403 403 200 200 403 403 403 400 200 403",
		`"repos":["team-b"]`:                           "403 200 403 403 403 403 403 403 403 403 403 403 403",
		`"repos":["team-a"]`:                           "200 403 200 404 403 200 403 200 204 403 403 403 404",
		`"modules":["team-a.test/lib/**"]`:             "200 403 200 403 403 403 403 200 204 403 403 403 403",
		`"modules":["team-a.test/app"]`:                "403 403 403 403 403 403 403 403 403 403 403 403 403",
		`"repos":["nowhere"],"actions":["read"]`:       "403 403 403 403 403 403 403 403 403 403 403 403 403",
		`"repos":["team-*"],"actions":["read"]`:        "200 200 403 403 403 403 403 200 403 403 403 403 403",
		`"repos":["*"],"modules":["**"]`:               "200 200 200 404 404 403 403 200 204 403 400 403 404",
		`"repos":["team-a"],"modules":["evil.test/*"]`: "403 403 403 403 403 403 403 403 403 403 403 403 403",
	} {
		h.shown["limited"] = h.token(`{"user":"admin",` + scope + `}`)
		seq++
		for i, status := range strings.Fields(want) {
			n++
			a := h.ask("limited", requests[i].method, requests[i].target, requests[i].body)
			if strconv.Itoa(a.status) != status {
				t.Errorf("%s: %s %s: %d %s, want %s", scope, requests[i].method, requests[i].target, a.status, a.body, status)
			}
			if requests[i].method == "PATCH" && a.status == 200 {
				seq++
			}
			checkInert(t, scope, a.header)
		}
	}
	if n != 169 || h.seq() != seq {
		t.Errorf("%d requests, and entry %d, not %d", n, h.seq(), seq)
	}
}
