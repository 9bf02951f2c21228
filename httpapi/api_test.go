package httpapi_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

func TestPublish(t *testing.T) {
	g := newRegistry(t)
	mv := module.Version{Path: "corp.test/Acme/x", Version: "v1.0.0-RC1"}
	zip, _ := zipOf(t, mv, tree(mv.Path))
	send := func(target string, body []byte) answer {
		return g.do("PUT", "/api/v1/repos/"+target, bytes.NewReader(body))
	}

	a := send("local/modules/corp.test/!acme/x/@v/v1.0.0-!r!c1?time=2024-05-06T07:08:09%2B02:00", zip)
	first := decode[node.Published](t, a.body)
	if a.status != http.StatusCreated || first.Existed || first.Module != mv.Path || first.Version != mv.Version || first.Repo.String() != "local" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	info := g.get("/go/local/corp.test/!acme/x/@v/v1.0.0-!r!c1.info")
	if want := `{"Version":"v1.0.0-RC1","Time":"2024-05-06T05:08:09Z"}`; info.body != want {
		t.Errorf("info %q, want %q", info.body, want)
	}
	// The same content again, however it is named, has the first position.
	h1 := first.H1.String()
	for _, target := range []string{
		"local/modules/corp.test/Acme/x/@v/v1.0.0-RC1",
		"local/modules/corp.test/%21acme/x/@v/v1.0.0-%21r%21c1?h1=" + h1, // a + in it is not escaped
		"all/modules/corp.test/Acme/x/@v/v1.0.0-RC1?time=2025-01-01T00:00:00%2b00:00",
	} {
		seq := g.seq()
		a := send(target, zip)
		again := decode[node.Published](t, a.body)
		if a.status != http.StatusOK || !again.Existed || again.Position != first.Position || again.H1 != first.H1 || g.seq() != seq {
			t.Errorf("%s: %d %s, want the position %v", target, a.status, a.body, first.Position)
		}
	}
	if len(g.staged()) > 0 {
		t.Errorf("staged: %v", g.staged())
	}
}

func TestRepositories(t *testing.T) {
	g := newRegistry(t)
	call := func(method, target, body string, status int) answer {
		t.Helper()
		a := g.do(method, "/api/v1/repos"+target, strings.NewReader(body))
		if a.status != status {
			t.Fatalf("%s %s: %d %s, want %d", method, target, a.status, a.body, status)
		}
		return a
	}
	names := func() (list []string) {
		for _, r := range decode[struct{ Repositories []node.RepoInfo }](t, call("GET", "", "", 200).body).Repositories {
			list = append(list, r.Name.String())
		}
		return list
	}
	if got, want := names(), []string{"all", "dead", "local", "public"}; !slices.Equal(got, want) {
		t.Errorf("repositories %v, want %v", got, want)
	}
	made := decode[node.RepoInfo](t, call("POST", "", `{"name":"team","kind":"local","settings":{"owns":["team.test/**"],"description":"<ours> & theirs"}}`, 201).body)
	if made.Kind != events.Local || made.ID.IsZero() || made.Description != "<ours> & theirs" {
		t.Errorf("made %+v", made)
	}
	changed := decode[node.RepoInfo](t, call("PATCH", "/team", `{"owns_add":["more.test/**"],"owns_remove":["team.test/**"],"description":""}`, 200).body)
	if len(changed.Owns) != 1 || changed.Owns[0].String() != "more.test/**" || changed.Description != "" {
		t.Errorf("changed %+v", changed)
	}
	if got := decode[node.RepoInfo](t, call("GET", "/team", "", 200).body); got.ID != made.ID || len(got.Owns) != 1 {
		t.Errorf("shown %+v", got)
	}
	if a := call("DELETE", "/team?reason=no+more", "", 204); a.body != "" {
		t.Errorf("body %q", a.body)
	}
	if slices.Contains(names(), "team") {
		t.Error("team is listed although it is deleted")
	}
	if a := g.get("/go/team/more.test/a/@v/list"); a.status != http.StatusNotFound {
		t.Errorf("a deleted repository answers %d %q", a.status, a.body)
	}
	call("POST", "/team/restore", "", 200)
	if !slices.Contains(names(), "team") {
		t.Error("team is not listed although it is restored")
	}
}

func TestStatusAndHealth(t *testing.T) {
	g := newRegistry(t)
	st := decode[node.Status](t, g.get("/api/v1/status").body)
	if st.Version != "test" || st.Site.String() != "here" || !st.Writable || len(st.Repos) != 4 || st.FreeBytes == 0 {
		t.Errorf("status %+v", st)
	}
	rep := decode[node.Replication](t, g.get("/api/v1/replication").body)
	if rep.Agreement != "equal" || len(rep.Sites) != 1 {
		t.Errorf("replication %+v", rep)
	}
	for _, path := range []string{"/livez", "/readyz"} {
		if a := g.get(path); a.status != http.StatusOK || a.body != "ok\n" || a.header.Get("Content-Type") != textType {
			t.Errorf("%s: %d %q", path, a.status, a.body)
		}
		checkHead(t, g, path, g.get(path))
	}
}

func TestLogIsCloudEvents(t *testing.T) {
	g := newRegistry(t)
	p := g.publish("corp.test/a", "v1.0.0", tree("corp.test/a"))
	a := g.get("/api/v1/log")
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("%d %v", a.status, a.header)
	}
	var last events.CloudEvent
	count := 0
	for line := range strings.Lines(a.body) {
		last = decode[events.CloudEvent](t, line)
		count++
	}
	if count != int(g.seq()) || last.Type != "version.published" || last.ID != p.Position.String() || last.SpecVersion != "1.0" {
		t.Errorf("%d events up to entry %d, the last is %+v", count, g.seq(), last)
	}
	data, ok := last.Data.(map[string]any)
	if !ok || data["actor"] != "loopback" {
		t.Errorf("data %v", last.Data)
	}
	if tail := g.get("/api/v1/log?site=here&from=6"); !strings.HasSuffix(a.body, tail.body) || strings.Count(tail.body, "\n") != count-5 {
		t.Errorf("from entry 6: %q", tail.body)
	}
	if after := g.get("/api/v1/log?from=1000"); after.status != http.StatusOK || after.body != "" {
		t.Errorf("after the end: %d %q", after.status, after.body)
	}
}

func TestVerifyAndRebuild(t *testing.T) {
	g := newRegistry(t)
	g.publish("corp.test/a", "v1.0.0", tree("corp.test/a"))
	result := func(target string) string {
		t.Helper()
		a := g.do("POST", target, nil)
		if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/x-ndjson" {
			t.Fatalf("%s: %d %s", target, a.status, a.body)
		}
		lines := strings.Split(strings.TrimSpace(a.body), "\n")
		for _, l := range lines[:len(lines)-1] {
			if p := decode[struct{ What string }](t, l); p.What == "" {
				t.Errorf("%s: line %q is no progress", target, l)
			}
		}
		return lines[len(lines)-1]
	}
	v := decode[struct{ Result node.Verification }](t, result("/api/v1/verify")).Result
	if len(v.Problems) > 0 || v.Entries != g.seq() || v.Blobs != 1 {
		t.Errorf("verified %+v", v)
	}
	r := decode[struct {
		Result struct {
			Position  events.Position `json:"position"`
			StateHash string          `json:"state_hash"`
		}
	}](t, result("/api/v1/rebuild")).Result
	if r.Position.Mark.Seq != g.seq() || r.StateHash != v.StateHash.String() {
		t.Errorf("rebuilt to %+v, verified %+v", r, v)
	}
	if a := g.get("/go/all/corp.test/a/@v/list"); a.body != "v1.0.0\n" {
		t.Errorf("after the rebuild: %d %q", a.status, a.body)
	}
}

func TestOneLongWorkAtATime(t *testing.T) {
	g := newRegistry(t)
	done := g.server.SetWork()
	a := g.do("POST", "/api/v1/verify", nil)
	checkProblem(t, a, http.StatusServiceUnavailable, "under way")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	done()
	if a := g.do("POST", "/api/v1/verify", nil); a.status != http.StatusOK {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
}

func TestMetrics(t *testing.T) {
	g := filled(t)
	g.get("/go/all/up.test/m/@v/list")
	g.get("/go/all/up.test/m/@v/list")
	g.get("/go/public/up.test/m/@v/v1.0.0.zip")
	g.get("/go/local/corp.test/none/@v/list")
	g.get("/go/none/x")
	g.get("/go/dead/up.test/m/@v/list")
	want := []string{
		`registry_node_http_requests_total{kind="list",repository="virtual",status="2xx"} 2`,
		`registry_node_http_requests_total{kind="zip",repository="remote",status="2xx"} 1`,
		`registry_node_http_requests_total{kind="list",repository="local",status="4xx"} 1`,
		`registry_node_http_requests_total{kind="malformed",repository="none",status="4xx"} 1`,
		`registry_node_http_requests_total{kind="publish",repository="local",status="2xx"} 4`,
		`registry_node_http_request_seconds_count{kind="list"} 4`,
		`registry_node_info{site="here",version="test"} 1`,
		`registry_node_writable 1`,
		`registry_node_offline 0`,
		`registry_node_upstream_failing{repository="public"} 0`,
		`registry_node_upstream_failing{repository="dead"} 1`,
		`registry_node_upstream_failing_since_timestamp_seconds{repository="dead"} `,
		`registry_node_repositories{kind="remote"} 2`,
		fmt.Sprintf(`registry_node_log_seq{log="here",site="here"} %d`, g.seq()),
		`registry_node_site_connected{site="here"} 1`,
		`registry_node_agreement{agreement="equal"} 1`,
		`registry_node_agreement{agreement="catching-up"} 0`,
		`registry_node_agreement{agreement="different"} 0`,
		`registry_node_site_agrees{agreement="equal",site="here"} 1`,
		`registry_node_site_agrees{agreement="different",site="here"} 0`,
		`registry_node_site_reasons{site="here"} 0`,
		`registry_node_log_epoch{log="here",site="here"} 1`,
		"go_goroutines ", "process_open_fds ", "registry_node_disk_free_bytes ",
	}
	waitFor(t, func() error { // a request is counted after its answer is sent
		a := g.get("/metrics")
		for _, line := range want {
			if a.status != http.StatusOK || !strings.Contains(a.body, line) {
				return fmt.Errorf("%d, without %s", a.status, line)
			}
		}
		return nil
	})
}

// TestSettingsThatAreRefused holds that what is unknown or contradictory is
// named, and changes nothing.
func TestSettingsThatAreRefused(t *testing.T) {
	g := newRegistry(t)
	seq := g.seq()
	for _, c := range []struct{ method, target, body, want string }{
		{"PATCH", "/public", `{"list_ttl":"5m","lisst_ttl":"5m"}`, `unknown field \"lisst_ttl\"`},
		{"PATCH", "/public", `{"list_ttl":300}`, "list_ttl"},
		{"PATCH", "/public", `{"list_ttl":"5 minutes"}`, `time span \"5 minutes\"`},
		{"PATCH", "/public", `{"no_min_age":["a.test"]}`, "without a minimum age"},
		{"PATCH", "/public", `{"keep_nothing":true,"blobs":[{"fetch":"eager"}]}`, "rules about zips"},
		{"PATCH", "/public", `{"secrets":[{"host":"a.test","name":"a","value":"x"}]}`, `unknown field \"value\"`},
		{"PATCH", "/local", `{"offline":true}`, "the setting offline is about an upstream"},
		{"PATCH", "/all", `{"member_include":{"dead":["a.test"]}}`, "which is not a member"},
		{"POST", "", `{"name":"x","kind":"remote","settings":{"upstream":"https://a.test","sumdb":"off","ttl":"1m"}}`, `unknown field \"ttl\"`},
		{"POST", "", `{"name":"x","kind":"remote","settings":{"upstream":"https://a.test","sumdb":"off","time_sites":["here"]}}`, "without a minimum age"},
	} {
		a := g.do(c.method, "/api/v1/repos"+c.target, strings.NewReader(c.body))
		if a.status != http.StatusBadRequest || !strings.Contains(a.body, c.want) {
			t.Errorf("%s %s: %d %s, want 400 with %s", c.target, c.body, a.status, a.body, c.want)
		}
	}
	if g.seq() != seq {
		t.Error("something is recorded")
	}
}
