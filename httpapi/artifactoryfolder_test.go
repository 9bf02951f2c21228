package httpapi_test

import (
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// children returns what lies in a folder, as one line.
func (j *jfrog) children(path string) string {
	j.t.Helper()
	a := j.ask("GET", "/artifactory/api/storage/"+path)
	if a.status != http.StatusOK {
		return fmt.Sprintf("%d %s", a.status, j.refusal(a))
	}
	f := decode[struct {
		Repo, Path, URI string
		Children        []struct {
			URI    string
			Folder bool
		}
	}](j.t, a.body)
	if bare := strings.TrimSuffix(path, "/"); f.Repo+strings.TrimSuffix(f.Path, "/") != bare || f.URI != "http://"+j.base+"/artifactory/api/storage/"+bare {
		j.t.Errorf("%s: %s", path, a.body)
	}
	var list []string
	for _, c := range f.Children {
		if list = append(list, c.URI); c.Folder {
			list[len(list)-1] += "/"
		}
	}
	return strings.Join(list, " ")
}

// TestFolders walks the folders of repositories.
func TestFolders(t *testing.T) {
	j := newJFrog(t).withToken()
	if got := j.children("local"); got != "" {
		t.Errorf("an empty repository has %s", got)
	}
	for _, p := range []string{"a", "a/sub", "a-b/c", "Acme/m", "gone", "gone/deeper", "secret/x", "a/sub/v2/deep"} {
		j.publish("corp.test/"+p, "v1.0.0", tree("corp.test/"+p))
	}
	j.publish("corp.test/a", "v1.1.0", tree("corp.test/a"))
	j.proxy.add(t, "up.test/m", "v1.0.0", tree("up.test/m"))
	if a := j.ask("GET", "/artifactory/api/go/public/up.test/m/@v/v1.0.0.mod"); a.status != http.StatusOK {
		t.Fatal(a)
	}
	if a := j.ask("DELETE", "/artifactory/local/corp.test/gone/@v/v1.0.0.zip"); a.status != http.StatusNoContent {
		t.Fatal(a)
	}
	for _, r := range [][2]string{{"users/carol", `{}`}, {"permissions/carol", `{"principals":["user:carol"],"repos":["local","public"],"exclude":["corp.test/secret/**"],"actions":["read"]}`}} {
		if a := do(t, j.admin, "PUT", "http://localhost", "/api/v1/"+r[0], strings.NewReader(r[1])); a.status >= 300 {
			t.Fatal(a)
		}
	}
	carol := j.as("Bearer " + j.token(`{"user":"carol"}`))
	for _, c := range []struct {
		j          *jfrog
		path, want string
	}{
		{j, "local", "/corp.test/"}, {j, "local/", "/corp.test/"}, {j, "all", "/corp.test/ /up.test/"}, {j, "public", "/up.test/"},
		{j, "local/corp.test", "/Acme/ /a/ /a-b/ /gone/ /secret/"}, {carol, "local/corp.test", "/Acme/ /a/ /a-b/ /gone/"}, {carol, "all/corp.test/", "/Acme/ /a/ /a-b/ /gone/"},
		{j, "local/corp.test/a", "/@v/ /sub/"}, {j, "local/corp.test/a/sub", "/@v/ /v2/"}, {j, "local/corp.test/a/sub/v2", "/deep/"}, {j, "local/corp.test/gone", "/deeper/"},
		{j, "local/corp.test/a/@v", "/v1.0.0.info /v1.0.0.mod /v1.0.0.zip /v1.1.0.info /v1.1.0.mod /v1.1.0.zip"},
		{j, "all/up.test/m/@v", "/v1.0.0.info /v1.0.0.mod"}, // the zip is not here, and nobody is asked for it
		{j, "local/corp.test/gone/@v", "404 there is nothing in corp.test/gone/@v of repository local that you may read"},
		{carol, "local/corp.test/secret", "404 there is nothing in corp.test/secret of repository local that you may read"},
		{carol, "local/corp.test/secret/x/@v", "404 there is nothing in corp.test/secret/x/@v of repository local that you may read"},
		{j, "local/corp", "404 there is nothing in corp of repository local that you may read"}, {j, "local/corp.test/a/@v/v1", "404 there is nothing in corp.test/a/@v/v1 of repository local that you may read"},
	} {
		if got := c.j.children(c.path); got != c.want {
			t.Errorf("%s: %s, want %s", c.path, got, c.want)
		}
	}
	if a := j.as("").ask("GET", "/artifactory/api/storage/local"); a.status != http.StatusUnauthorized {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := j.ask("GET", "/artifactory/api/storage/local/corp.test?properties"); a.status != http.StatusNotFound || j.refusal(a) != "No properties could be found." {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestFileLists lists the files in folders.
func TestFileLists(t *testing.T) {
	j := newJFrog(t).withToken()
	for _, p := range []string{"a", "a/sub", "ab"} {
		j.publish("corp.test/"+p, "v1.0.0", tree("corp.test/"+p))
	}
	type list struct {
		URI, Created string
		Files        []struct {
			URI, LastModified, SHA1, SHA2 string
			Size                          int
			Folder                        bool
		}
	}
	for path, want := range map[string]string{
		"local/corp.test/a/@v?list": "/v1.0.0.info /v1.0.0.mod /v1.0.0.zip", "local/corp.test/a?list": "", "local/corp.test/a?list&deep=0": "",
		"local/corp.test/a?list&deep=1": "/@v/v1.0.0.info /@v/v1.0.0.mod /@v/v1.0.0.zip /sub/@v/v1.0.0.info /sub/@v/v1.0.0.mod /sub/@v/v1.0.0.zip",
		"all?list&deep=1": "/corp.test/a/@v/v1.0.0.info /corp.test/a/@v/v1.0.0.mod /corp.test/a/@v/v1.0.0.zip /corp.test/a/sub/@v/v1.0.0.info /corp.test/a/sub/@v/v1.0.0.mod /corp.test/a/sub/@v/v1.0.0.zip " +
			"/corp.test/ab/@v/v1.0.0.info /corp.test/ab/@v/v1.0.0.mod /corp.test/ab/@v/v1.0.0.zip",
	} {
		a := j.ask("GET", "/artifactory/api/storage/"+path)
		if a.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, a.status, a.body)
			continue
		}
		l := decode[list](t, a.body)
		var got []string
		for _, f := range l.Files {
			got = append(got, f.URI)
			folder, _, _ := strings.Cut(path, "?")
			body := j.ask("GET", "/artifactory/"+folder+f.URI).body
			if f.Size != len(body) || f.SHA1 != fmt.Sprintf("%x", sha1.Sum([]byte(body))) || f.SHA2 != fmt.Sprintf("%x", sha256.Sum256([]byte(body))) || f.Folder || f.LastModified == "" {
				t.Errorf("%s: %+v", path, f)
			}
		}
		if slices.Sort(got); strings.Join(got, " ") != want {
			t.Errorf("%s: %q", path, got)
		}
	}
	for path, status := range map[string]int{"local/corp.test/none?list&deep=1": 404, "local/corp.test?list&listFolders=1": 400, "nowhere?list": 403} {
		if a := j.ask("GET", "/artifactory/api/storage/"+path); a.status != status || j.refusal(a) == "" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}
