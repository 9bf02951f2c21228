package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/mod/module"
)

const buildBody = `{"name":"my build","number":"%s","started":"%s",` +
	`"agent":{"name":"jfrog-cli-go","version":"2.112.0"},"buildAgent":{"name":"GENERIC","version":"2.112.0"},"artifactoryPrincipal":"alice",` +
	`"modules":[{"type":"go","id":"corp.test/Acme/Tiny","artifacts":[{"name":"v1.2.3.zip","type":"zip","path":"corp.test/Acme/Tiny/@v/v1.2.3.zip","originalDeploymentRepo":"local","sha1":"","md5":""}],` +
	`"dependencies":[{"id":"github.com/!burnt!sushi/toml:v1.4.0","type":"zip","requestedBy":[["corp.test/Acme/Tiny"]],"sha1":"","md5":"","sha256":""}]}],` +
	`"vcs":[],"properties":{"buildInfo.env.PATH":"y","buildInfo.env.Path":"z"}}`

func buildInfo(number, started string) string { return fmt.Sprintf(buildBody, number, started) }

// newBuilder returns alice, who may also record builds, of no project and of team.
func newBuilder(t *testing.T) *jfrog {
	j := newJFrog(t)
	a := do(t, j.admin, "PUT", "http://localhost", "/api/v1/permissions/builds",
		strings.NewReader(`{"principals":["user:alice"],"repos":["artifactory-build-info","team-build-info"],"actions":["read","publish","delete"]}`))
	if a.status >= 300 {
		t.Fatal(a)
	}
	return j.withToken()
}

// record is the upload of jf rt build-publish.
func (j *jfrog) record(query, body string) answer {
	j.t.Helper()
	return j.send("PUT", "/artifactory/api/build"+query, body, "Uber-Trace-Id: 6d5a3c1f0b2e4d68:6d5a3c1f0b2e4d68:0:0", "Accept-Encoding: gzip", "Content-Type: application/vnd.org.jfrog.artifactory+json")
}

// TestBuildPublish replays jf rt bp: in a known CI system, and with --overwrite.
func TestBuildPublish(t *testing.T) {
	j := newBuilder(t)
	mv := module.Version{Path: "corp.test/Acme/Tiny", Version: "v1.2.3"}
	j.goPublish(mv, tree(mv.Path))
	first := buildInfo("7", "2026-11-22T07:36:59.127+0000")
	if a := j.record("", first); a.status != http.StatusNoContent || a.body != "" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, file := range []string{"v1.2.3.zip", "v1.2.3.info", "v1.2.3.mod", "v9.0.0.zip"} {
		found := j.find(`items.find({"path":{"$ne":"."},"$or":[{"$and":[{"repo":"local","path":"corp.test/Acme/Tiny/@v","name":"` + file + `"}]}]})` + includeAll)
		if want := map[bool]int{true: 1}[file != "v9.0.0.zip"]; len(found) != want {
			t.Errorf("%s: %q", file, found)
		}
		for _, f := range found {
			if a := j.send("PUT", "/artifactory/api/storage/"+f+"?properties=vcs.branch=main;vcs.org=Org;vcs.provider=github;vcs.repo=repo&recursive=0", ""); a.status != http.StatusNoContent {
				t.Errorf("%s: %d %s", f, a.status, a.body)
			}
			if got := j.propertiesOf(f); !strings.Contains(got, `"vcs.org":["Org"]`) || !strings.Contains(got, `"build.name":["my build"]`) {
				t.Errorf("%s: %s", f, got)
			}
		}
	}
	if a := j.ask("GET", "/artifactory/api/system/version"); a.status != http.StatusOK {
		t.Error(a)
	}
	// The same again is nothing new.
	seq := j.seq()
	if a := j.record("", first); a.status != http.StatusNoContent || j.seq() != seq {
		t.Errorf("%d, the log is at %d, not %d", a.status, j.seq(), seq)
	}

	if a := j.ask("GET", "/artifactory/api/build/my%20build"); a.status != http.StatusOK || !strings.HasSuffix(a.body, `,"buildsNumbers":[{"uri":"/7","started":"2026-11-22T07:36:59.127+0000"}]}`+"\n") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := j.send("POST", "/artifactory/api/build/delete", `{"buildName":"my build","buildNumbers":["7"],"deleteArtifacts":false,"deleteAll":false}`, "Content-Type: application/json"); a.status != http.StatusNoContent {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := j.ask("GET", "/artifactory/api/build/my%20build"); a.status != http.StatusNotFound {
		t.Errorf("%d %s", a.status, a.body)
	}
	second := buildInfo("7", "2026-11-23T07:36:59.127+0000")
	if a := j.record("", second); a.status != http.StatusNoContent {
		t.Errorf("%d %s", a.status, a.body)
	}
	if got := j.build("my%20build/7"); got != second {
		t.Errorf("%s", got)
	}
}

// build returns a build info as it was recorded.
func (j *jfrog) build(path string) string {
	j.t.Helper()
	a := j.ask("GET", "/artifactory/api/build/"+path)
	begin := `{"uri":"http://` + j.base + "/artifactory/api/build/" + strings.Split(path, "?")[0] + `","buildInfo":`
	if a.status != http.StatusOK || !strings.HasPrefix(a.body, begin) || a.header.Get("Content-Type") != "application/json" {
		j.t.Errorf("%s: %d %s", path, a.status, a.body)
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(a.body, begin), "}")
}

func TestBuildsAreRead(t *testing.T) {
	j := newBuilder(t)
	early, late, other := buildInfo("7", "2026-01-01T00:00:00.000+0000"), buildInfo("7", "2026-01-02T01:00:00.000+0100"), buildInfo("8", "2026-01-01T12:00:00Z")
	ofTeam := strings.Replace(buildInfo("1", "2026-01-01T00:00:00.000+0000"), "my build", "other", 1)
	for _, r := range [][2]string{{"", late}, {"", early}, {"", other}, {"?project=team", ofTeam}} {
		if a := j.record(r[0], r[1]); a.status != http.StatusNoContent {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	for path, want := range map[string]string{
		"my%20build/7": late, "my%20build/8": other, "my%20build/LATEST": late, "my%20build/7?started=2026-01-01T00:00:00.000%2B0000": early,
		"my%20build/7?started=2026-01-02T00:00:00.000Z": late, "other/1?project=team": ofTeam, "other/1?buildRepo=team-build-info": ofTeam, "my%20build/8?buildRepo=artifactory-build-info": other,
	} {
		if got := j.build(path); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
	for path, want := range map[string]string{
		"":              `,"builds":[{"uri":"/my%20build","lastStarted":"2026-01-02T00:00:00.000+0000"}]}`,
		"?project=team": `,"builds":[{"uri":"/other","lastStarted":"2026-01-01T00:00:00.000+0000"}]}`,
		"/my%20build":   `,"buildsNumbers":[{"uri":"/7","started":"2026-01-01T00:00:00.000+0000"},{"uri":"/7","started":"2026-01-02T00:00:00.000+0000"},{"uri":"/8","started":"2026-01-01T12:00:00.000+0000"}]}`,
	} {
		if a := j.ask("GET", "/artifactory/api/build"+path); a.status != http.StatusOK || !strings.HasSuffix(a.body, want+"\n") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := j.send("POST", "/artifactory/api/build/delete", `{"buildName":"my build","deleteAll":true}`); a.status != http.StatusNoContent {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, path := range []string{"my%20build", "my%20build/7", "my%20build/LATEST", "other", "other/1", "my%20build/7?project=team", "a/b/c"} {
		if a := j.ask("GET", "/artifactory/api/build/"+path); a.status != http.StatusNotFound || j.refusal(a) == "" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

func TestBuildsRefused(t *testing.T) {
	j := newBuilder(t)
	bob := j.as("Bearer " + j.token(`{"user":"bob"}`))
	good := buildInfo("1", "2026-01-01T00:00:00.000+0000")
	for _, c := range []struct {
		j                    *jfrog
		method, target, body string
		status               int
	}{
		{j.as(""), "PUT", "", good, 401}, {bob, "PUT", "", good, 403}, {bob, "GET", "", "", 403}, {bob, "GET", "/my%20build/1", "", 403}, {bob, "GET", "/nothing", "", 403},
		{j, "PUT", "?project=other", good, 403}, {j, "PUT", "?project=artifactory", good, 400}, {j, "PUT", "?project=Te!am", good, 400}, {j, "PUT", "?what=1", good, 400}, {j, "GET", "/my%20build?buildRepo=local", "", 400}, {j, "GET", "/my%20build?project=team&buildRepo=other-build-info", "", 400},
		{j, "PUT", "", "", 400}, {j, "PUT", "", "[]", 400}, {j, "PUT", "", good + "x", 400}, {j, "PUT", "", good[:50], 400}, {j, "PUT", "", strings.Repeat("[", 1<<20), 400},
		{j, "PUT", "", `{"name":"a","number":"1"}`, 400}, {j, "PUT", "", `{"name":"a","number":1,"started":"2026-01-01T00:00:00Z"}`, 400}, {j, "PUT", "", `{"name":"a","number":"1","started":"today"}`, 400},
		{j, "PUT", "", `{"name":"a","name":"b","number":"1","started":"2026-01-01T00:00:00Z"}`, 400}, {j, "PUT", "", `{"name":"a","Name":"b","number":"1","started":"2026-01-01T00:00:00Z"}`, 400},
		{j, "PUT", "", `{"name":"a","number":"LATEST","started":"2026-01-01T00:00:00Z"}`, 400}, {j, "PUT", "", `{"name":"a\u0000","number":"1","started":"2026-01-01T00:00:00Z"}`, 400},
		{j, "PUT", "", `{"name":"` + strings.Repeat("a", 300) + `","number":"1","started":"2026-01-01T00:00:00Z"}`, 400},
		{j, "POST", "/delete", `{"buildName":"my build"}`, 400}, {j, "POST", "/delete", `{"buildName":"my build","deleteAll":true,"deleteArtifacts":true}`, 400}, {j, "POST", "/delete", `{"buildName":"","buildNumbers":["1"]}`, 400},
		{bob, "POST", "/delete", `{"buildName":"my build","deleteAll":true}`, 403}, {j, "POST", "/delete", `{"buildName":"my build","project":"other","deleteAll":true}`, 403},
		{j, "GET", "/my%20build/1?started=yesterday", "", 400}, {j, "GET", "/%00", "", 404},
	} {
		seq := j.seq()
		a := c.j.send(c.method, "/artifactory/api/build"+c.target, c.body, "Content-Type: application/json")
		if text := c.j.refusal(a); a.status != c.status || text == "" {
			t.Errorf("%s %s %.100s: %d %s, want %d", c.method, c.target, c.body, a.status, a.body, c.status)
		}
		if j.seq() != seq {
			t.Errorf("%s %s %.100s: something came of it", c.method, c.target, c.body)
		}
	}
	for _, name := range []string{"artifactory-build-info", "team-build-info"} {
		a := do(t, j.admin, "POST", "http://localhost", "/api/v1/repos", strings.NewReader(`{"name":"`+name+`","kind":"local"}`))
		if a.status != http.StatusBadRequest || !strings.Contains(a.body, "stand for the builds") {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// TestBuildsAreDiscarded replays jf rt build-discard.
func TestBuildsAreDiscarded(t *testing.T) {
	j := newBuilder(t)
	for number, started := range map[string]string{"9": "2026-01-01", "10": "2026-01-02", "11": "2026-01-03", "12": "2026-01-04", "8": "2025-12-01"} {
		if a := j.record("", buildInfo(number, started+"T00:00:00.000+0000")); a.status != http.StatusNoContent {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if a := j.record("", buildInfo("8", "2026-01-05T00:00:00.000+0000")); a.status != http.StatusNoContent { // ran again
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, c := range []struct{ body, left string }{
		{`{"count":"9","deleteBuildArtifacts":false}`, "10 11 12 8 8 9"}, {`{"minimumBuildDate":"2026-01-02T01:00:00.000+0100","buildNumbersNotToBeDiscarded":["9"],"deleteBuildArtifacts":false}`, "10 11 12 8 8 9"},
		{`{"minimumBuildDate":"2026-01-02T01:00:00.001+0100","buildNumbersNotToBeDiscarded":["10"]}`, "10 11 12 8 8"}, {`{"count":2,"buildNumbersNotToBeDiscarded":["10"]}`, "10 12 8 8"}, {`{"count":"1"}`, "8 8"},
	} {
		if a := j.send("POST", "/artifactory/api/build/retention/my%20build?async=false", c.body, "Content-Type: application/json"); a.status != http.StatusNoContent || a.body != "" {
			t.Errorf("%s: %d %s", c.body, a.status, a.body)
		}
		var left []string
		for _, r := range decode[struct{ BuildsNumbers []struct{ URI string } }](t, j.ask("GET", "/artifactory/api/build/my%20build").body).BuildsNumbers {
			left = append(left, strings.TrimPrefix(r.URI, "/"))
		}
		if got := strings.Join(left, " "); got != c.left {
			t.Errorf("%s: %s are left, want %s", c.body, got, c.left)
		}
	}
	for _, number := range []string{"1", "2"} {
		if a := j.record("?project=team", buildInfo(number, "2026-01-0"+number+"T00:00:00.000+0000")); a.status != http.StatusNoContent {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	for _, r := range [][3]string{
		{"retention/my%20build?buildRepo=team-build-info", `{"count":"1"}`, "200 404 200"}, {"delete", `{"buildName":"my build","buildNumbers":["2","8"],"buildRepo":"team-build-info"}`, "404 404 200"},
	} {
		if a := j.send("POST", "/artifactory/api/build/"+r[0], r[1]); a.status != http.StatusNoContent {
			t.Errorf("%s: %d %s", r[0], a.status, a.body)
		}
		var got []string
		for _, path := range []string{"2?project=team", "1?project=team", "8"} {
			got = append(got, fmt.Sprint(j.ask("GET", "/artifactory/api/build/my%20build/"+path).status))
		}
		if strings.Join(got, " ") != r[2] {
			t.Errorf("%s: %s, want %s", r[0], got, r[2])
		}
	}
	for body, status := range map[string]int{`{}`: 400, `{"count":"0"}`: 400, `{"count":"many"}`: 400, `{"count":-1}`: 400, `{"count":"1","deleteBuildArtifacts":true}`: 400, `{"minimumBuildDate":"yesterday"}`: 400} {
		if a := j.send("POST", "/artifactory/api/build/retention/my%20build", body); a.status != status || j.refusal(a) == "" {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
}

// TestNotOfArtifactory holds that what is not here says so.
func TestNotOfArtifactory(t *testing.T) {
	j := newBuilder(t)
	for request, want := range map[string]string{
		"POST copy/local/corp.test/m?to=/other/m": "400 set-props", "POST move/local/corp.test/m?to=/other/m": "400 set-props", "POST build/promote/my%20build/7": "400 set-props",
		"POST build/rename/my%20build?to=x": "400 build-publish", "POST trash/empty": "400 purge", "GET search/artifact?name=m": "404 api/search/artifact", "GET v1/uploads/config": "404 README",
		"PUT repositories/new": "404 README", "DELETE security/users/alice": "404 README", "GET copy/x": "404 api/copy/x",
	} {
		method, target, _ := strings.Cut(request, " ")
		status, text, _ := strings.Cut(want, " ")
		if a := j.send(method, "/artifactory/api/"+target, ""); fmt.Sprint(a.status) != status || !strings.Contains(j.refusal(a), text) {
			t.Errorf("%s: %d %s", request, a.status, a.body)
		}
	}
}
