package httpapi_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// names returns what a list in JSON names: the field name of each of its elements,
// or of what stands in for a name.
func names(t *testing.T, body, list, field string) []string {
	t.Helper()
	elements := decode[map[string]json.RawMessage](t, body)[list]
	found := []string{}
	for _, e := range decode[[]map[string]any](t, string(elements)) {
		found = append(found, e[field].(string))
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// TestListsShowWhatRolesMaySee holds that each list has what its reader may see,
// and nothing more.
func TestListsShowWhatRolesMaySee(t *testing.T) {
	w := newRoles(t)
	w.set("POST", "/api/v1/blocks", strings.ReplaceAll(evilMod, "{n}", "x"))
	w.token(`{"user":"team-a-bot"}`)
	const (
		allRepos  = "all both dead local public team-a team-a-proxy team-b"
		allUsers  = "admin blocker deleter disabled manager password publisher reader stranger team-a-bot"
		allTokens = "admin blocker deleter disabled manager publisher reader stranger team-a-bot"
		allRules  = "admins block delete manage publish team-a trial"
	)
	for _, tt := range []struct {
		target, list, field string
		want                map[string]string // by role; of others: themselves, if self
		self                bool
	}{
		{"/api/v1/repos", "repositories", "name", map[string]string{
			loopback: "all local public", reader: "both team-a", password: "both team-a", publisher: "both team-a", deleter: "both team-a",
			manager: "team-a team-a-proxy", admin: allRepos, scoped: allRepos, operator: allRepos,
		}, false},
		{"/api/v1/status", "repositories", "name", map[string]string{
			loopback: "all local public", reader: "both team-a", password: "both team-a", publisher: "both team-a", deleter: "both team-a",
			manager: "team-a team-a-proxy", admin: allRepos, scoped: allRepos, operator: allRepos,
		}, false},
		{"/api/v1/upstreams", "remotes", "name", map[string]string{
			manager: "team-a-proxy", admin: "dead public team-a-proxy", operator: "dead public team-a-proxy",
		}, false},
		{"/api/v1/users", "users", "name", map[string]string{manager: "manager team-a-bot", admin: allUsers, scoped: "admin", operator: allUsers}, true},
		{"/api/v1/groups", "groups", "name", map[string]string{
			reader: "team-a", password: "team-a", manager: "team-a", admin: "admins team-a", scoped: "admins", operator: "admins team-a",
		}, false},
		{"/api/v1/permissions", "permissions", "name", map[string]string{manager: "team-a", admin: allRules, operator: allRules}, false},
		{"/api/v1/tokens?all=true", "tokens", "user", map[string]string{password: "", manager: "manager team-a-bot", admin: allTokens, scoped: "admin", operator: allTokens}, true},
		{"/api/v1/blocks", "blocks", "module", map[string]string{blocker: "evil.test/x", admin: "evil.test/x", operator: "evil.test/x"}, false},
	} {
		for _, role := range strings.Fields(everybody) {
			want, ok := tt.want[role]
			if !ok && tt.self {
				want = role
			}
			a := w.ask(role, "GET", tt.target, "")
			switch a.status {
			case http.StatusOK:
				if got := strings.Join(names(t, a.body, tt.list, tt.field), " "); got != want {
					t.Errorf("%s: GET %s: %s, want %s", role, tt.target, got, want)
				}
			case http.StatusUnauthorized, http.StatusForbidden: // see TestRoutesAndRoles
				if ok {
					t.Errorf("%s: GET %s: %d", role, tt.target, a.status)
				}
			default:
				t.Errorf("%s: GET %s: %d %s", role, tt.target, a.status, a.body)
			}
		}
	}
}
