package httpapi_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/module"
)

// parts are the files of a version, as a client uploads them.
type parts struct {
	mv             module.Version
	zip, mod, info string
}

func (j *jfrog) parts(path, version string, more ...string) parts {
	j.t.Helper()
	files := tree(path)
	for i, text := range more {
		files[fmt.Sprintf("more%d.txt", i)] = text
	}
	mv := module.Version{Path: path, Version: version}
	zip, mod := zipOf(j.t, mv, files)
	return parts{mv, string(zip), mod, `{"Version":"` + version + `","Time":"2026-11-22T02:43:00Z"}`}
}

// text returns a file by its suffix.
func (p parts) text(file string) string {
	return map[string]string{"zip": p.zip, "mod": p.mod, "info": p.info}[file]
}

// TestDeployAcknowledged waits for the one site that there is, with the last part of a
// version; what is held waits for none.
func TestDeployAcknowledged(t *testing.T) {
	j := newJFrog(t)
	j = j.as(basic("alice", j.token(`{"user":"alice"}`)))
	p := j.parts("corp.test/Acme/Tiny", "v1.2.3")
	put := func(file, query string) answer {
		return j.upload("/artifactory/local/"+p.mv.Path+"/@v/"+p.mv.Version+"."+file+query, p.text(file))
	}
	for query, part := range map[string]string{"?sites=0": "neither all nor a number", "?sites=2": "the registry has 1", "?timeout=1s": "sites is missing"} {
		if a := put("zip", query); a.status != http.StatusBadRequest || !strings.Contains(a.body, part) {
			t.Errorf("%s: %d %s, want 400 with %q", query, a.status, a.body, part)
		}
	}
	for _, file := range []string{"zip", "mod", "zip"} {
		if a := put(file, "?sites=all&timeout=10s"); a.status != http.StatusCreated {
			t.Errorf("%s: %d %s", file, a.status, a.body)
		}
	}
}

const gpProps = ";build.name=my+build;build.number=7;build.timestamp=1795333019127;vcs.branch=main;vcs.url=https%3A%2F%2Fgit.example.com%2FOrg%2Frepo.git;go.version="

// gp sends a file of a version as jf go-publish does: with capitals left as they are.
func (j *jfrog) gp(repo string, p parts, file string) answer {
	j.t.Helper()
	return j.upload("/artifactory/api/go/"+repo+"/"+p.mv.Path+"/@v/"+p.mv.Version+"."+file+gpProps+p.mv.Version, p.text(file))
}

// TestGoPublish is jf go-publish into a local and a virtual repository, again, and
// what the go command and plain clients read then.
func TestGoPublish(t *testing.T) {
	j := newJFrog(t)
	j = j.as(basic("alice", j.token(`{"user":"alice"}`)))
	if v := j.ask("GET", "/artifactory/api/system/version"); v.status != 200 || !strings.HasPrefix(v.body, `{"version":"7.77.5",`) || v.header.Get("Content-Type") != "application/json" {
		t.Errorf("version: %d %s", v.status, v.body)
	}
	p := j.parts("corp.test/Acme/Tiny", "v1.2.3")
	list := "/artifactory/api/go/all/corp.test/%21acme/%21tiny/@v/list"
	for round := range 2 {
		for i, file := range []string{"zip", "mod", "info"} {
			a := j.gp("all", p, file)
			if a.status != 201 || a.header.Get("X-Checksum-Sha256") != fmt.Sprintf("%x", sha256.Sum256([]byte(p.text(file)))) {
				t.Fatalf("round %d: %s: %d %s", round, file, a.status, a.body)
			}
			item := decode[struct {
				Repo, Path, CreatedBy, DownloadURI, MimeType, Size, URI string
				Checksums                                               map[string]string
			}](t, a.body)
			name := "corp.test/Acme/Tiny/@v/v1.2.3." + file
			if item.Repo != "local" || item.Path != "/"+name || item.CreatedBy != "alice" || item.Size != fmt.Sprint(len(p.text(file))) ||
				item.DownloadURI != "http://"+j.base+"/artifactory/local/"+name || item.URI != "http://"+j.base+"/artifactory/api/storage/local/"+name || len(item.Checksums) != 3 {
				t.Errorf("%s: %+v", file, item)
			}
			l := j.ask("GET", list)
			if whole := round > 0 || i > 0; whole && l.body != "v1.2.3\n" || !whole && l.status != 404 {
				t.Errorf("after the %s the list is %d %q", file, l.status, l.body)
			}
		}
	}
	for _, file := range []string{"zip", "mod"} {
		for _, path := range []string{"/artifactory/local/corp.test/Acme/Tiny/@v/v1.2.3.", "/artifactory/all/corp.test/%21acme/!tiny/@v/v1.2.3.", "/artifactory/api/go/all/corp.test/Acme/Tiny/@v/v1.2.3.", "/go/local/corp.test/!acme/!tiny/@v/v1.2.3."} {
			if a := j.ask("GET", path+file); a.status != 200 || a.body != p.text(file) {
				t.Errorf("%s%s: %d %.60q", path, file, a.status, a.body)
			}
		}
	}
	j.ranges(p)
	props := j.properties(p)
	if got := fmt.Sprint(props["zip"]["build.name"], props["mod"]["vcs.url"], props["info"]["go.version"]); got != "[my build] [https://git.example.com/Org/repo.git] [v1.2.3]" {
		t.Errorf("properties %s", got)
	}
	if n := j.count("properties.changed"); n != 3 || j.count("version.published") != 1 {
		t.Errorf("%d changes of properties in the log, of %d publications", n, j.count("version.published"))
	}
}

// ranges reads a zip as jf rt dl does: the length by HEAD, then parts.
func (j *jfrog) ranges(p parts) {
	j.t.Helper()
	path := "/artifactory/local/" + p.mv.Path + "/@v/" + p.mv.Version
	for _, file := range []string{"zip", "mod", "info"} {
		h := j.ask("HEAD", path+"."+file)
		if h.status != 200 || h.body != "" || h.header.Get("Accept-Ranges") != "bytes" || h.header.Get("Etag") == "" || len(h.header.Get("X-Checksum-Sha1")) != 40 ||
			len(h.header.Get("X-Checksum-Md5")) != 32 || len(h.header.Get("X-Checksum-Sha256")) != 64 || h.header.Get("Content-Length") == "" {
			j.t.Errorf("HEAD %s: %d %v", file, h.status, h.header)
		}
	}
	sum := checksumsOf(p.zip)
	h := j.ask("HEAD", path+".zip").header
	for _, name := range []string{"X-Checksum-Sha1", "X-Checksum-Md5"} {
		if sum[name] != h.Get(name) {
			j.t.Errorf("%s is %s, want %s", name, h.Get(name), sum[name])
		}
	}
	var all string
	for at := 0; at < len(p.zip); at += 100 {
		a := j.send("GET", path+".zip", "", fmt.Sprintf("Range: bytes=%d-%d", at, at+99))
		if a.status != http.StatusPartialContent {
			j.t.Fatalf("a range: %d", a.status)
		}
		all += a.body
	}
	if all != p.zip {
		j.t.Error("the ranges are not the zip")
	}
}

func checksumsOf(body string) map[string]string {
	m := map[string]string{}
	for _, h := range checksums(body) {
		name, v, _ := strings.Cut(h, ": ")
		m[name] = v
	}
	return m
}

// properties returns those of a version, by file and key.
func (j *jfrog) properties(p parts) map[string]map[string][]string {
	j.t.Helper()
	m := map[string]map[string][]string{}
	repo, err := j.node.Repository(op, repoName(j.t, "local"))
	if err != nil {
		j.t.Fatal(err)
	}
	for _, file := range []string{"zip", "mod", "info"} {
		i, err := repo.Item(j.t.Context(), p.mv, file)
		if err != nil {
			j.t.Fatal(err)
		}
		m[file] = i.Properties
	}
	return m
}

// count returns how many events of a type the log has.
func (j *jfrog) count(kind string) int {
	j.t.Helper()
	a := do(j.t, j.admin, "GET", "http://localhost", "/api/v1/log", nil)
	return strings.Count(a.body, `"type":"`+kind+`"`)
}

// TestGoPublishRefused holds what each refusal of jf go-publish is, four times over
// as it comes, and that nothing is stored.
func TestGoPublishRefused(t *testing.T) {
	j := newJFrog(t)
	j = j.as(basic("alice", j.token(`{"user":"alice"}`)))
	good := j.parts("corp.test/a", "v1.0.0")
	bad := j.parts("corp.test/a", "v1.0.0")
	bad.mod = "module corp.test/b\n"
	other := j.parts("corp.test/other", "v1.0.0")
	reader := j.as("Bearer " + j.token(`{"user":"bob"}`))
	path := "/artifactory/api/go/local/corp.test/a/@v/v1.0.0."
	wrong := "X-Checksum-Sha256: " + strings.Repeat("0", 64)
	for _, tt := range []struct {
		what   string
		a      func() answer
		status int
		text   string
	}{
		{"info first", func() answer { return j.gp("local", good, "info") }, 409, "its zip and its go.mod come before its info"},
		{"no rights", func() answer { return reader.gp("local", good, "zip") }, 403, "bob may not publish corp.test/a in repository local"},
		{"nobody", func() answer { return j.as("").gp("local", good, "zip") }, 401, "takes credentials"},
		{"remote", func() answer { return j.gp("public", good, "zip") }, 403, "repository public is remote and takes no publications"},
		{"not owned", func() answer { return j.gp("local", j.parts("else.test/a", "v1.0.0"), "zip") }, 403, "does not own else.test/a"},
		{"another module", func() answer { return j.upload(path+"zip", other.zip) }, 422, "does not begin with"},
		{"no zip", func() answer { return j.upload(path+"zip", "not a zip") }, 422, "corp.test/a@v1.0.0"},
		{"another go.mod", func() answer { return j.upload(path+"mod", bad.mod) }, 422, "the go.mod says module corp.test/b"},
		{"wrong SHA-1", func() answer { return j.send("PUT", path+"zip", good.zip, "X-Checksum-Sha1: "+strings.Repeat("0", 40)) }, 409, "the SHA-1 of the"},
		{"wrong SHA-256", func() answer { return j.send("PUT", path+"mod", good.mod, wrong) }, 409, "nothing is stored"},
		{"malformed sum", func() answer { return j.send("PUT", path+"mod", good.mod, "X-Checksum: abc") }, 400, "64 hex digits"},
		{"version", func() answer { return j.upload("/artifactory/api/go/local/corp.test/a/@v/1.0.zip", good.zip) }, 400, "corp.test/a@1.0"},
		{"major version", func() answer { return j.upload("/artifactory/api/go/local/corp.test/a/@v/v2.0.0.zip", good.zip) }, 400, "v2"},
		{"no module file", func() answer { return j.upload("/artifactory/local/corp.test/a/readme.md", "x") }, 400, "is no file of a Go module"},
		{"property", func() answer { return j.upload(path+"zip;=1", good.zip) }, 400, "has no name"},
		{"info of another version", func() answer {
			return j.upload("/artifactory/local/corp.test/a/@v/v1.0.0.info", `{"Version":"v1.0.1"}`)
		}, 422, "v1.0.1"},
	} {
		for range 4 {
			a := tt.a()
			if text := j.refusal(a); a.status != tt.status || !strings.Contains(text, tt.text) {
				t.Errorf("%s: %d %s", tt.what, a.status, text)
			}
		}
	}
	if n := j.count("version.published"); n != 0 || len(j.staged()) != 0 {
		t.Errorf("%d versions, %v staged", n, j.staged())
	}
	if n := j.blobs(); n != 0 {
		t.Errorf("%d blobs", n)
	}
	for _, file := range []string{"zip", "mod", "info"} { // nothing of the above is in the way
		if a := j.gp("local", good, file); a.status != 201 {
			t.Errorf("%s: %d %s", file, a.status, a.body)
		}
	}
}

// TestRefusedUploadIsRead: jf reads no answer before it has sent all, more than a
// connection holds on its way.
func TestRefusedUploadIsRead(t *testing.T) {
	j := newJFrog(t)
	bob := j.as("Bearer " + j.token(`{"user":"bob"}`))
	a := bob.send("PUT", "/artifactory/api/go/local/corp.test/a/@v/v1.0.0.zip", strings.Repeat("x", 24<<20))
	if text := bob.refusal(a); a.status != http.StatusForbidden || !strings.Contains(text, "bob may not publish") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestChecksumDeploy: jf rt upload asks first whether a file is there, with an empty
// body, and never makes one of that.
func TestChecksumDeploy(t *testing.T) {
	j := newJFrog(t)
	j = j.as(basic("alice", j.token(`{"user":"alice"}`)))
	p := j.parts("corp.test/a", "v1.0.0")
	known := func(file, body string) answer {
		t.Helper()
		return j.send("PUT", "/artifactory/local/corp.test/a/@v/v1.0.0."+file, "", append(checksums(body), "X-Checksum-Deploy: true")...)
	}
	for _, file := range []string{"zip", "mod", "info"} {
		if a := known(file, p.text(file)); a.status != 404 {
			t.Errorf("%s that is not there: %d %s", file, a.status, a.body)
		}
		if a := j.upload("/artifactory/local/corp.test/a/@v/v1.0.0."+file, p.text(file)); a.status != 201 {
			t.Fatalf("%s: %d %s", file, a.status, a.body)
		}
		if a := known(file, ""); a.status != 404 {
			t.Errorf("an empty %s: %d %s", file, a.status, a.body)
		}
		if a := known(file, p.text(file)); file != "info" && (file == "mod") != (a.status == 201) {
			t.Errorf("%s, behind the mod it is published: %d %s", file, a.status, a.body)
		}
	}
	a := known("zip", p.zip)
	if a.status != 201 || a.header.Get("X-Checksum-Md5") != checksumsOf(p.zip)["X-Checksum-Md5"] || !strings.Contains(a.body, fmt.Sprintf(`"size":"%d"`, len(p.zip))) {
		t.Errorf("the zip that is there: %d %s", a.status, a.body)
	}
	lie := append(checksums(p.zip)[:0:0], "X-Checksum-Sha256: "+checksumsOf(p.zip)["X-Checksum-Sha256"], "X-Checksum-Sha1: "+strings.Repeat("0", 40), "X-Checksum-Deploy: true")
	if a := j.send("PUT", "/artifactory/local/corp.test/a/@v/v1.0.0.zip", "", lie...); a.status != 404 {
		t.Errorf("a zip of another SHA-1: %d %s", a.status, a.body)
	}
	if a := j.as("").send("PUT", "/artifactory/local/corp.test/a/@v/v1.0.0.zip", "", append(checksums(p.zip), "X-Checksum-Deploy: true")...); a.status != 401 {
		t.Errorf("nobody learns what is there: %d", a.status)
	}
	if a := j.ask("GET", "/artifactory/local/corp.test/a/@v/v1.0.0.zip"); a.body != p.zip {
		t.Errorf("the zip: %d, %d bytes", a.status, len(a.body))
	}
}

// TestUploadInAnyOrder is jf rt upload, which sends files at once: an info is taken
// when anything else is there.
func TestUploadInAnyOrder(t *testing.T) {
	j := newJFrog(t)
	token := j.as("Bearer " + j.token(`{"user":"alice"}`))
	for i, order := range [][]string{{"zip", "mod", "info"}, {"mod", "info", "zip"}, {"zip", "info", "mod"}, {"info", "zip", "mod"}, nil} {
		p := token.parts("corp.test/a", fmt.Sprintf("v1.0.%d", i))
		put := func(file string) {
			if a := token.upload("/artifactory/local/corp.test/a/@v/"+p.mv.Version+"."+file, p.text(file)); a.status != 201 {
				t.Errorf("%v: %s: %d %s", order, file, a.status, a.body)
			}
		}
		var all sync.WaitGroup
		for _, file := range order {
			put(file)
		}
		if order == nil {
			for _, file := range []string{"zip", "mod", "info"} {
				all.Go(func() { put(file) })
			}
		}
		all.Wait()
		put("info")
		if a := token.ask("GET", "/artifactory/local/corp.test/a/@v/"+p.mv.Version+".zip"); a.status != 200 || a.body != p.zip {
			t.Errorf("%v: %d", order, a.status)
		}
	}
}

// TestDeleteFiles is jf rt delete of all files of a version.
func TestDeleteFiles(t *testing.T) {
	j := newJFrog(t)
	token := j.as("Bearer " + j.token(`{"user":"alice"}`))
	p := token.parts("corp.test/Acme", "v1.0.0")
	for _, file := range []string{"zip", "mod", "info"} {
		token.gp("local", p, file)
	}
	if a := j.as("Bearer "+j.token(`{"user":"bob"}`)).ask("DELETE", "/artifactory/local/corp.test/Acme/@v/v1.0.0.zip"); a.status != 403 {
		t.Errorf("without the right: %d", a.status)
	}
	for _, file := range []string{"info", "mod", "zip"} {
		if a := token.ask("DELETE", "/artifactory/local/corp.test/Acme/@v/v1.0.0."+file); a.status != 204 {
			t.Errorf("%s: %d %s", file, a.status, a.body)
		}
		if a := token.ask("GET", "/artifactory/local/corp.test/Acme/@v/v1.0.0."+file); a.status != 404 {
			t.Errorf("%s is still there: %d", file, a.status)
		}
	}
	if a := token.ask("DELETE", "/artifactory/local/corp.test/Acme/@v/v1.0.1.zip"); a.status != 404 {
		t.Errorf("one that is not there: %d %s", a.status, token.refusal(a))
	}
	if a := token.gp("local", p, "zip"); a.status != 409 || !strings.Contains(token.refusal(a), "was deleted") {
		t.Errorf("again: %d %s", a.status, a.body)
	}
}

// TestUploadForms uploads in chunks, after leave to send, and not to the end.
func TestUploadForms(t *testing.T) {
	j := newJFrog(t)
	token := j.token(`{"user":"alice"}`)
	alice := j.as("Bearer " + token)
	p := j.parts("corp.test/a", "v1.0.0")
	head := "PUT /artifactory/api/go/local/corp.test/a/@v/v1.0.0.zip HTTP/1.1\r\nHost: " + j.base + "\r\nUser-Agent: jfrog-cli-go/2.112.0\r\nConnection: close\r\nAuthorization: Bearer " + token + "\r\n"
	cut := j.cut(head + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(p.zip)) + p.zip[:len(p.zip)/2])
	if text := j.refusal(cut); cut.status != 400 || !strings.Contains(text, "before its end") {
		t.Errorf("cut: %d %s", cut.status, text)
	}
	cut = j.cut(head + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(p.zip), p.zip))
	if cut.status != 400 || j.blobs() != 0 || len(j.staged()) != 0 {
		t.Errorf("cut in chunks: %d, %d blobs, staged %v", cut.status, j.blobs(), j.staged())
	}
	refused := strings.Replace(head, "/corp.test/a/", "/else.test/a/", 1)
	if a := j.sendRaw("PUT", refused+"Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n"); a.status != 403 {
		t.Errorf("refused before it is sent: %d %s", a.status, a.body)
	}
	whole := j.sendRaw("PUT", head+fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(p.zip), p.zip))
	if whole.status != 201 || whole.header.Get("X-Checksum-Sha1") != checksumsOf(p.zip)["X-Checksum-Sha1"] {
		t.Errorf("in chunks: %d %s", whole.status, whole.body)
	}
	big := j.sendRaw("PUT", head+"Content-Length: 600000000\r\n\r\n")
	if big.status != 413 {
		t.Errorf("too large: %d %s", big.status, big.body)
	}
	alice.gp("local", p, "mod")
	gone := alice.ask("DELETE", "/artifactory/local/corp.test/a/@v/v1.0.0.zip")
	for _, tt := range []struct {
		a    answer
		want string
	}{
		{whole, "publish done 201 local corp.test/a v1.0.0 alice"}, {cut, "publish refused 400 local corp.test/a v1.0.0 alice"},
		{gone, "hide done 204 local corp.test/a v1.0.0 alice"}, {alice.exchange(), "token.exchange done 200    alice"},
	} {
		l := j.line(tt.a)
		if got := fmt.Sprintf("%s %s %d %s %s %s %s", l.Action, l.Outcome, l.Status, l.Repo, l.Module, l.Version, l.Actor); got != tt.want || l.Token == "" {
			t.Errorf("audited %q, want %q", got, tt.want)
		}
	}
	j.keepsSecret(token)
}

// cut sends the beginning of a request, and ends what it sends there.
func (j *jfrog) cut(request string) answer {
	j.t.Helper()
	return j.sendRaw("PUT", request, closeWrite)
}
