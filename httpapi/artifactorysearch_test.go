package httpapi_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/module"
)

const includeAll = `.include("name","repo","path","actual_md5","actual_sha1","sha256","size","type","modified","created","property")`

// withToken returns alice with a token, as jf rt shows it after the exchange.
func (j *jfrog) withToken() *jfrog { return j.as("Bearer " + j.token(`{"user":"alice"}`)) }

// aql sends a query as jf rt search does: without a Content-Type.
func (j *jfrog) aql(query string) answer {
	j.t.Helper()
	return j.post("/artifactory/api/search/aql", "", query)
}

// hits is the answer to a query, with what jf reads of it.
type hits struct {
	Results []struct {
		Repo, Path, Name, Type, Created, Modified string
		Size                                      json.Number
		SHA1                                      string `json:"actual_sha1"`
		MD5                                       string `json:"actual_md5"`
		SHA256                                    string
		Properties                                []struct{ Key, Value string }
	}
	Range struct {
		Start int `json:"start_pos"`
		End   int `json:"end_pos"`
		Total int
	}
}

// find returns the files that a query means, which must not be refused.
func (j *jfrog) find(query string) (paths []string) {
	j.t.Helper()
	a := j.aql(query)
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" || !strings.HasPrefix(a.body, `{"results":[`) {
		j.t.Fatalf("%s: %d %s %s", query, a.status, a.header.Get("Content-Type"), a.body)
	}
	h := decode[hits](j.t, a.body)
	for _, r := range h.Results {
		paths = append(paths, r.Repo+"/"+r.Path+"/"+r.Name)
	}
	if n := len(paths); h.Range.End-h.Range.Start != n || h.Range.Total != n {
		j.t.Errorf("%s: %d results and the range %+v", query, n, h.Range)
	}
	return paths
}

// goPublish is jf go-publish of a version, with properties, and returns its zip and
// its go.mod.
func (j *jfrog) goPublish(mv module.Version, files map[string]string) (zip, mod, info string) {
	j.t.Helper()
	data, mod := zipOf(j.t, mv, files)
	zip, info = string(data), `{"Version":"`+mv.Version+`","Time":"2026-11-22T02:43:00Z"}`
	base := "/artifactory/api/go/local/" + mv.Path + "/@v/" + mv.Version
	for _, f := range [][2]string{{".zip", zip}, {".mod", mod}, {".info", info}} {
		a := j.upload(base+f[0]+";build.name=my+build;build.number=7;vcs.url=https%3A%2F%2Fgit.test%2FOrg%2Frepo.git;go.version="+mv.Version, f[1])
		if a.status != http.StatusCreated {
			j.t.Fatalf("%s%s: %d %s", mv, f[0], a.status, a.body)
		}
	}
	return zip, mod, info
}

// bigTree is that of a module whose zip jf downloads in parts.
func bigTree(path string) map[string]string {
	noise := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	files := tree(path)
	files["data.bin"] = string(noise)
	return files
}

// TestSearch replays jf rt search.
func TestSearch(t *testing.T) {
	j := newJFrog(t).withToken()
	mv := module.Version{Path: "corp.test/Acme/Tiny", Version: "v1.2.3"}
	zip, _, _ := j.goPublish(mv, tree(mv.Path))

	if a := j.ask("GET", "/artifactory/api/system/version"); a.status != http.StatusOK {
		t.Fatal(a)
	}
	query := `items.find({"path":{"$ne":"."},"$or":[{"$and":[{"repo":"local","path":"corp.test/Acme/Tiny/@v","name":"v1.2.3.zip"}]}]})` + includeAll
	a := j.aql(query)
	created := decode[hits](t, a.body).Results[0].Created
	if !strings.HasSuffix(created, "Z") || len(created) != len("2026-11-22T02:43:00.000Z") {
		t.Errorf("created at %q", created)
	}
	want := fmt.Sprintf(`{"results":[{"repo":"local","path":"corp.test/Acme/Tiny/@v","name":"v1.2.3.zip","type":"file","size":%d,"created":%q,"modified":%q,"actual_md5":"%x","actual_sha1":"%x","sha256":"%x",`+
		`"properties":[{"key":"build.name","value":"my build"},{"key":"build.number","value":"7"},{"key":"go.version","value":"v1.2.3"},{"key":"vcs.url","value":"https://git.test/Org/repo.git"}]}],`+
		`"range":{"start_pos":0,"end_pos":1,"total":1}}`+"\n", len(zip), created, created, md5.Sum([]byte(zip)), sha1.Sum([]byte(zip)), sha256.Sum256([]byte(zip)))
	if a.status != http.StatusOK || a.body != want {
		t.Errorf("%d\n%s\nwant\n%s", a.status, a.body, want)
	}

	j.publish("corp.test/b", "v1.0.0", tree("corp.test/b"))
	j.publish("corp.test/b", "v1.1.0", tree("corp.test/b"))
	of := func(path, version string) []string {
		return []string{"local/" + path + "/@v/" + version + ".info", "local/" + path + "/@v/" + version + ".mod", "local/" + path + "/@v/" + version + ".zip"}
	}
	acme, b0, b1 := of(mv.Path, mv.Version), of("corp.test/b", "v1.0.0"), of("corp.test/b", "v1.1.0")
	all := slices.Concat(acme, b0, b1)
	for _, c := range []struct {
		query string
		want  []string
	}{
		{`items.find({"path":{"$ne":"."},"$or":[{"$and":[{"repo":"local","path":"corp.test","name":{"$match":"*"}}]},{"$and":[{"repo":"local","path":{"$match":"corp.test/*"},"name":{"$match":"*"}}]}]})` + includeAll, all},
		{`items.find({"$and":[{"@go.version":"v1.2.3"}],"$or":[{"$and":[{"repo":"local","path":{"$match":"*"},"name":{"$match":"*.mod"}}]}]}).include("name","repo","path","actual_md5","actual_sha1","sha256","size","type","modified","created").sort({"$desc":["created"]}).limit(2)`, acme[1:2]},
		{`items.find({"$and":[{"$and":[{"@go.version":"v1.2.3"}],"$or":[{"$and":[{"repo":"local","path":{"$match":"*"},"name":{"$match":"*.mod"}}]}]},{"$or":[{"@*":{"$match":"*"}}]}]}).include("name","repo","path","actual_md5","actual_sha1","sha256","size","property")`, acme[1:2]},
		{`items.find({"repo":"local","$or":[{"repo":{"$nmatch":"*"},"path":{"$nmatch":"*"},"name":{"$nmatch":"*.zip"}}]}).include("name","repo","path")`, []string{acme[0], acme[1], b0[0], b0[1], b1[0], b1[1]}},
		{`items.find({"repo":"local","name":{"$match":"*.zip"}}).sort({"$desc":["name"]}).include("name","repo","path").limit(2)`, []string{acme[2], b1[2]}},
		{`items.find({"repo":"local","name":{"$match":"*.zip"}}).sort({"$asc":["sha256"]}).include("name","repo","path").offset(3).limit(2)`, nil},
		{`items.find({"repo":"local"}).include("name","repo","path").offset(2).transitive().limit(2)`, all[2:4]},
		{`items.find({"repo":{"$match":"*"}}).include("name","repo","path")`, all},
		{`items.find().include("name","repo","path")`, all},
		{`items.find({"$or":[{"repo":"local"},{"name":"v1.0.0.zip"}]}).include("name","repo","path")`, all}, // each once
		{`items.find({"$or":[{"repo":"local"},{"repo":"all"},{"repo":{"$match":"loc*"}},{"repo":{"$match":"*"},"path":{"$match":"corp*"}}]}).include("name","repo","path")`, all},
		{`items.find({"repo":"all","path":"corp.test/b/@v"}).include("name","repo","path")`, slices.Concat(b0, b1)},
		{`items.find({"repo":"nowhere"}).include("name","repo","path")`, nil}, {`items.find({"repo":"No-Repo"}).include("name","repo","path")`, nil},
	} {
		got := j.find(c.query)
		slices.Sort(got)
		want := slices.Sorted(slices.Values(c.want))
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%q\nwant\n%q", c.query, got, want)
		}
	}
	// What has no properties says nothing of them.
	if a := j.aql(`items.find({"repo":"local","path":"corp.test/b/@v","name":"v1.0.0.mod"}).include("property","name")`); a.body != `{"results":[{"name":"v1.0.0.mod"}],"range":{"start_pos":0,"end_pos":1,"total":1}}`+"\n" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestSearchRefused has queries that are refused, in the shape of an Artifactory.
func TestSearchRefused(t *testing.T) {
	anonymous := newJFrog(t)
	j := anonymous.withToken()
	for _, c := range []struct {
		j      *jfrog
		query  string
		status int
		text   string
	}{
		{anonymous, `items.find({"repo":"local"})`, 401, "credentials"},
		{j, ``, 400, "items.find"}, {j, `items.find({"repo":"local")`, 400, "character"}, {j, `builds.find({"name":"x"})`, 400, "items"},
		{j, `items.find({"artifact.module.build.name":"x"})`, 400, "its number"}, {j, `items.find({"archive.entry.name":"x"})`, 400, "archive.entry.name"},
		{j, "items.find(" + strings.Repeat(`{"$and":[`, 10_000), 400, "in each other"},
		{j, strings.Repeat(" ", 300<<10), 400, "KiB"},
	} {
		a := c.j.aql(c.query)
		if text := c.j.refusal(a); a.status != c.status || !strings.Contains(text, c.text) {
			t.Errorf("%.60s: %d %s", c.query, a.status, a.body)
		}
	}
}

// TestSearchShowsWhatMayBeRead holds that nothing is told, nor counted, of what the
// caller may not read.
func TestSearchShowsWhatMayBeRead(t *testing.T) {
	j := newJFrog(t)
	for _, p := range []string{"a", "secret", "z"} {
		j.publish("corp.test/"+p, "v1.0.0", tree("corp.test/"+p))
	}
	for _, r := range [][2]string{
		{"users/carol", `{}`}, {"permissions/carol", `{"principals":["user:carol"],"repos":["local"],"exclude":["corp.test/secret"],"actions":["read"]}`},
		{"users/dave", `{}`}, {"permissions/dave", `{"principals":["user:dave"],"repos":["public"],"actions":["read"]}`},
	} {
		if a := do(t, j.admin, "PUT", "http://localhost", "/api/v1/"+r[0], strings.NewReader(r[1])); a.status >= 300 {
			t.Fatal(a)
		}
	}
	for user, want := range map[string]string{"carol": "local/corp.test/a/@v/v1.0.0.zip local/corp.test/z/@v/v1.0.0.zip", "dave": ""} {
		as := j.as("Bearer " + j.token(`{"user":"`+user+`"}`))
		for _, query := range []string{
			`items.find({"name":{"$match":"*.zip"}})`, `items.find({"repo":"local","name":{"$match":"*.zip"}})`, `items.find({"repo":"all","name":{"$match":"*.zip"}}).sort({"$asc":["path"]}).limit(9)`,
		} {
			if got := strings.Join(as.find(query), " "); got != want {
				t.Errorf("%s %s: %s", user, query, got)
			}
		}
		if a := as.ask("GET", "/artifactory/api/storage/local/corp.test/secret/@v/v1.0.0.zip"); a.status != http.StatusForbidden {
			t.Errorf("%s: %d %s", user, a.status, a.body)
		}
	}
}

// TestDownload replays jf rt dl: of a small file, and of one that comes in parts.
func TestDownload(t *testing.T) {
	j := newJFrog(t).withToken()
	mv := module.Version{Path: "corp.test/Acme/Big", Version: "v1.0.0"}
	zip, mod, _ := j.goPublish(mv, bigTree(mv.Path))
	j.ask("GET", "/artifactory/api/system/version")
	a := j.aql(`items.find({"path":{"$ne":"."},"$or":[{"$and":[{"repo":"all","path":"corp.test/Acme/Big/@v","name":{"$match":"*"}}]}]})` + includeAll)
	byName := map[string]string{}
	for _, r := range decode[hits](t, a.body).Results {
		byName[r.Name] = "/artifactory/" + r.Repo + "/" + r.Path + "/" + r.Name
		content := map[string]string{"v1.0.0.zip": zip, "v1.0.0.mod": mod}[r.Name]
		if content != "" && (r.SHA1 != fmt.Sprintf("%x", sha1.Sum([]byte(content))) || r.Size.String() != strconv.Itoa(len(content))) {
			t.Errorf("%+v", r)
		}
	}
	if a := j.ask("GET", byName["v1.0.0.mod"]); a.status != http.StatusOK || a.body != mod {
		t.Errorf("%d %q", a.status, a.body)
	}
	head := j.ask("HEAD", byName["v1.0.0.zip"])
	if head.status != http.StatusOK || head.header.Get("Accept-Ranges") != "bytes" || head.header.Get("Content-Length") != strconv.Itoa(len(zip)) || head.header.Get("Etag") == "" ||
		head.header.Get("X-Checksum-Sha1") != fmt.Sprintf("%x", sha1.Sum([]byte(zip))) || head.header.Get("X-Checksum-Md5") != fmt.Sprintf("%x", md5.Sum([]byte(zip))) ||
		head.header.Get("X-Checksum-Sha256") != fmt.Sprintf("%x", sha256.Sum256([]byte(zip))) {
		t.Fatalf("%d %v", head.status, head.header)
	}
	var whole bytes.Buffer
	for i, part := 0, len(zip)/3+1; i < len(zip); i += part {
		end := min(i+part, len(zip)) - 1
		a := j.send("GET", byName["v1.0.0.zip"], "", fmt.Sprintf("Range: bytes=%d-%d", i, end)) // without Accept-Encoding
		if a.status != http.StatusPartialContent || a.header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", i, end, len(zip)) {
			t.Errorf("%d %v", a.status, a.header)
		}
		whole.WriteString(a.body)
	}
	if whole.String() != zip {
		t.Error("the parts are not the file")
	}
	if a := j.ask("GET", "/artifactory/local/corp.test/Acme/Big/@v/v9.0.0.zip"); a.status != http.StatusNotFound || j.refusal(a) == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestDelete replays jf rt del.
func TestDelete(t *testing.T) {
	j := newJFrog(t).withToken()
	mv := module.Version{Path: "corp.test/Acme/Gone", Version: "v1.0.0"}
	j.goPublish(mv, tree(mv.Path))
	query := `items.find({"type":"any","path":{"$ne":"."},"$or":[{"$and":[{"repo":"local","path":"corp.test/Acme/Gone/@v","name":{"$match":"v1.0.0.*"}}]}]}).include("name","repo","path","actual_md5","actual_sha1","sha256","size","type","modified","created")`
	files := j.find(query)
	if len(files) != 3 {
		t.Fatal(files)
	}
	bob := j.as("Bearer " + j.token(`{"user":"bob"}`))
	if a := bob.ask("DELETE", "/artifactory/"+files[0]); a.status != http.StatusForbidden || j.refusal(a) == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, f := range files {
		if a := j.ask("DELETE", "/artifactory/"+f); a.status != http.StatusNoContent || a.body != "" {
			t.Errorf("%s: %d %s", f, a.status, a.body)
		}
	}
	if left := j.find(query); len(left) > 0 {
		t.Errorf("%s are left", left)
	}
}
