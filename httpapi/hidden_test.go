package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestNamesOfOthersAreHidden holds that who reads something of a virtual
// repository, or how the node stands, hears of no repository of others.
func TestNamesOfOthersAreHidden(t *testing.T) {
	w := newRoles(t)
	for _, q := range []struct{ target, theirs string }{
		{"/api/v1/repos/both", `"team-b"`},
		{"/api/v1/repos", `"team-b"`},
		{"/api/v1/status", `"team-b"`},
		{"/metrics", `upstream_failing{repository="team-a-proxy"}`},
	} {
		for _, role := range []string{reader, admin} {
			a := w.ask(role, "GET", q.target, "")
			if a.status != http.StatusOK || strings.Contains(a.body, q.theirs) != (role == admin) {
				t.Errorf("%s: GET %s: %d, has %s: %v\n%s", role, q.target, a.status, q.theirs, role != admin, a.body)
			}
		}
	}
	if a := w.ask(reader, "GET", "/api/v1/repos/both", ""); !strings.Contains(a.body, `"members":["team-a"]`) {
		t.Errorf("a reader of team-a: %s, want that it is a member", a.body)
	}
}

// TestPositionsAreHidden holds that who may read nothing can't tell by how far a
// position is in a site's log whether this node has it.
func TestPositionsAreHidden(t *testing.T) {
	w := newRoles(t)
	var told []string
	for _, position := range []string{"1/1", "1/999999"} {
		a := w.ask(anonymous, "GET", "/at-least/here/"+position+"/go/team-a/team-a.test/lib/x/@v/list", "")
		if a.status != http.StatusUnauthorized {
			t.Errorf("anonymous, at least %s: %d %s, want 401", position, a.status, a.body)
		}
		told = append(told, a.body)
	}
	if told[0] != told[1] {
		t.Errorf("anonymous is told %q", told)
	}
	if a := w.ask(reader, "GET", "/at-least/here/1/999999/go/team-a/team-a.test/lib/x/@v/list", ""); a.status != http.StatusServiceUnavailable {
		t.Errorf("a reader: %d %s, want 503", a.status, a.body)
	}
}
