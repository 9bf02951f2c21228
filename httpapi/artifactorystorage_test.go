package httpapi_test

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/mod/module"
)

// propertiesOf returns what a file has, as one line.
func (j *jfrog) propertiesOf(path string) string {
	j.t.Helper()
	a := j.ask("GET", "/artifactory/api/storage/"+path+"?properties")
	if a.status == http.StatusNotFound && j.refusal(a) == "No properties could be found." {
		return ""
	}
	if a.status != http.StatusOK {
		j.t.Fatalf("%s: %d %s", path, a.status, a.body)
	}
	p := decode[struct {
		URI        string
		Properties map[string][]string
	}](j.t, a.body)
	if p.URI != "http://"+j.base+"/artifactory/api/storage/"+path {
		j.t.Errorf("the URI of %s is %s", path, p.URI)
	}
	return strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%q", p.Properties), "map["), "]")
}

// TestProperties replays jf rt sp and delp, and what plain clients send.
func TestProperties(t *testing.T) {
	j := newJFrog(t).withToken()
	j.publish("corp.test/Acme/m", "v1.0.0", tree("corp.test/Acme/m"))
	const file = "local/corp.test/Acme/m/@v/v1.0.0.zip"
	target := "/artifactory/api/storage/" + file + "?properties="
	if got := j.propertiesOf(file); got != "" {
		t.Errorf("a new file has %s", got)
	}
	for _, c := range []struct{ method, query, want string }{
		{"PUT", "qa=passed;team=a+b&recursive=0", `"qa":["passed"] "team":["a b"]`},
		{"PUT", "qa=passed;team=a+b&recursive=0", `"qa":["passed"] "team":["a b"]`},
		{"PUT", "qa=failed%2Cpassed|n=1", `"n":["1"] "qa":["failed" "passed"] "team":["a b"]`},
		{"PUT", "n=x%5C%2Cy", `"n":["x,y"] "qa":["failed" "passed"] "team":["a b"]`},
		{"PUT", "n=x%5C|y", `"n":["x|y"] "qa":["failed" "passed"] "team":["a b"]`},
		{"PUT", "n%3D1%3Bqa%3Dok", `"n":["1"] "qa":["ok"] "team":["a b"]`}, // all of it escaped, as many libraries do
		{"PUT", "vcs.branch=main;vcs.org=Org;vcs.url=https%3A%2F%2Fgit.test%2FOrg%2Frepo.git&recursive=0", `"n":["1"] "qa":["ok"] "team":["a b"] "vcs.branch":["main"] "vcs.org":["Org"] "vcs.url":["https://git.test/Org/repo.git"]`},
		{"DELETE", "vcs.branch,vcs.org,nothing&recursive=0", `"n":["1"] "qa":["ok"] "team":["a b"] "vcs.url":["https://git.test/Org/repo.git"]`},
		{"DELETE", "vcs.url%2Cn%2Cteam", `"qa":["ok"]`},
	} {
		if a := j.send(c.method, target+c.query, ""); a.status != http.StatusNoContent || a.body != "" {
			t.Errorf("%s %s: %d %s", c.method, c.query, a.status, a.body)
		}
		if got := j.propertiesOf(file); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.method, c.query, got, c.want)
		}
	}
	seq := j.seq()
	if j.send("PUT", target+"qa=ok", ""); j.seq() != seq {
		t.Error("a change that changes nothing is in the log")
	}
	if got := j.propertiesOf(strings.Replace(file, ".zip", ".mod", 1)); got != "" {
		t.Errorf("the go.mod has %s", got)
	}
	if a := j.ask("GET", target+"qa,other"); a.status != http.StatusOK || !strings.HasSuffix(a.body, `"properties":{"qa":["ok"]}}`+"\n") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := j.ask("GET", target+"other"); a.status != http.StatusNotFound || j.refusal(a) != "No properties could be found." {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestPropertiesRefused(t *testing.T) {
	j := newJFrog(t).withToken()
	j.publish("corp.test/m", "v1.0.0", tree("corp.test/m"))
	j.publish("corp.test/gone", "v1.0.0", tree("corp.test/gone"))
	if a := j.ask("DELETE", "/artifactory/local/corp.test/gone/@v/v1.0.0.zip"); a.status != http.StatusNoContent {
		t.Fatal(a)
	}
	bob := j.as("Bearer " + j.token(`{"user":"bob"}`))
	j.proxy.add(t, "up.test/m", "v1.0.0", tree("up.test/m"))
	var many strings.Builder
	for i := range 65 {
		fmt.Fprintf(&many, "p%d=x;", i)
	}
	for _, c := range []struct {
		j              *jfrog
		method, target string
		status         int
	}{
		{j.as(""), "PUT", "local/corp.test/m/@v/v1.0.0.zip?properties=a=b", 401}, {bob, "PUT", "local/corp.test/m/@v/v1.0.0.zip?properties=a=b", 403},
		{bob, "DELETE", "local/corp.test/m/@v/v1.0.0.zip?properties=a", 403},
		{j, "PUT", "local/corp.test/m/@v/v1.0.1.zip?properties=a=b", 404}, {j, "PUT", "local/corp.test/gone/@v/v1.0.0.zip?properties=a=b", 404},
		{j, "PUT", "public/up.test/m/@v/v1.0.0.zip?properties=a=b", 403}, {j, "PUT", "local/corp.test/m?properties=a=b", 400},
		{j, "PUT", "local/corp.test/m/@v/v1.0.0.zip", 400}, {j, "PUT", "local/corp.test/m/@v/v1.0.0.zip?properties=", 400}, {j, "PUT", "local/corp.test/m/@v/v1.0.0.zip?properties==b", 400},
		{j, "PUT", "local/corp.test/m/@v/v1.0.0.zip?properties=a=%zz", 400}, {j, "PUT", "local/corp.test/m/@v/v1.0.0.zip?properties=a=b&properties=c=d", 400},
		{j, "PUT", "local/corp.test/m/@v/v1.0.0.zip?properties=a%20b=c", 400}, {j, "PUT", "local/corp.test/m/@v/v1.0.0.zip?properties=" + many.String(), 400},
		{j, "PUT", "local/corp.test/m/@v/v1.0.0.zip?properties=a=%00", 400}, {j, "DELETE", "local/corp.test/m/@v/v1.0.0.zip?properties=" + strings.Repeat("a", 300), 400},
		{j, "GET", "local/corp.test/m/@v/v1.0.0.zip?permissions", 400}, {j, "GET", "local/corp.test/gone/@v/v1.0.0.zip", 404}, {j, "GET", "local/corp.test/mm", 404},
		{j, "GET", "local/corp.test/m/@v/v1.txt", 404}, {j, "GET", "nowhere/corp.test/m/@v/v1.0.0.zip", 403},
		{j, "GET", "public/up.test/m/@v/v1.0.0.zip", 404}, // is not here, and nobody is asked for it
	} {
		seq, asked := j.seq(), j.proxy.asked.Load()
		a := c.j.send(c.method, "/artifactory/api/storage/"+c.target, "")
		if text := c.j.refusal(a); a.status != c.status || text == "" {
			t.Errorf("%s %.100s: %d %s, want %d", c.method, c.target, a.status, a.body, c.status)
		}
		if j.seq() != seq || j.proxy.asked.Load() != asked {
			t.Errorf("%s %.100s: something came of it", c.method, c.target)
		}
	}
}

func TestItemInfo(t *testing.T) {
	j := newJFrog(t).withToken()
	mv := module.Version{Path: "corp.test/Acme/m", Version: "v1.0.0"}
	zip, _, _ := j.goPublish(mv, tree(mv.Path))
	for _, repo := range []string{"local", "all"} {
		a := j.ask("GET", "/artifactory/api/storage/"+repo+"/corp.test/Acme/m/@v/v1.0.0.zip")
		created := decode[struct{ Created string }](t, a.body).Created
		sums := fmt.Sprintf(`{"sha1":"%x","md5":"%x","sha256":"%x"}`, sha1.Sum([]byte(zip)), md5.Sum([]byte(zip)), sha256.Sum256([]byte(zip)))
		const path = "local/corp.test/Acme/m/@v/v1.0.0.zip"
		want := fmt.Sprintf(`{"repo":"local","path":"/corp.test/Acme/m/@v/v1.0.0.zip","created":%q,"createdBy":"alice","lastModified":%[1]q,"modifiedBy":"alice","lastUpdated":%[1]q,`+
			`"downloadUri":"http://%[2]s/artifactory/%[3]s","mimeType":"application/zip","size":"%[4]d","checksums":%[5]s,"originalChecksums":%[5]s,"uri":"http://%[2]s/artifactory/api/storage/%[3]s"}`+"\n",
			created, j.base, path, len(zip), sums)
		if a.status != http.StatusOK || a.body != want {
			t.Errorf("%d\n%s\nwant\n%s", a.status, a.body, want)
		}
	}
	if a := j.ask("GET", "/artifactory/api/storage/local/corp.test/%21acme/m/@v/v1.0.0.info"); a.status != http.StatusOK { // also as go writes it
		t.Errorf("%d %s", a.status, a.body)
	}
}
