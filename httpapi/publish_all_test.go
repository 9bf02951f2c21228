package httpapi_test

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/node"
)

// pubForm is the form that publishes several versions.
type pubForm struct {
	text *bytes.Buffer
	*multipart.Writer
}

func newForm() pubForm {
	var b bytes.Buffer
	return pubForm{&b, multipart.NewWriter(&b)}
}

// part adds a part.
func (f pubForm) part(name, text string) pubForm {
	if err := f.WriteField(name, text); err != nil {
		panic(err) // it is a buffer
	}
	return f
}

// plain adds a version of a small module.
func (f pubForm) plain(t testing.TB, path, version string) pubForm {
	t.Helper()
	zip, _ := zipOf(t, module.Version{Path: path, Version: version}, tree(path))
	return f.part("version", fmt.Sprintf(`{"module":%q,"version":%q}`, path, version)).part("zip", string(zip))
}

// end ends the form and returns it with its media type.
func (f pubForm) end() (body, kind string) {
	if err := f.Close(); err != nil {
		panic(err)
	}
	return f.text.String(), f.FormDataContentType()
}

func (g *registry) publishForm(query string, f pubForm) answer {
	g.t.Helper()
	body, kind := f.end()
	return g.do("POST", "/api/v1/repos/local/publications"+query, strings.NewReader(body), "Content-Type", kind)
}

func TestPublishTogether(t *testing.T) {
	g := newRegistry(t)
	type answers struct {
		Published []struct {
			node.Published
			Sites *int `json:"sites_have"`
		}
	}
	zip, _ := zipOf(t, module.Version{Path: "corp.test/Acme/x", Version: "v1.0.0"}, tree("corp.test/Acme/x"))
	call := func() pubForm {
		return newForm().part("version", `{"module":"corp.test/Acme/x","version":"v1.0.0","time":"2024-05-06T07:08:09+02:00"}`).part("zip", string(zip)).
			plain(t, "corp.test/b", "v0.1.0")
	}
	seq := g.seq()
	a := g.publishForm("?sites=1", call())
	got := decode[answers](t, a.body).Published
	if a.status != http.StatusCreated || len(got) != 2 || got[0].Module != "corp.test/Acme/x" || got[1].Existed || *got[1].Sites != 1 || g.seq() != seq+1 {
		t.Fatalf("%d %s, the log went from %d to %d", a.status, a.body, seq, g.seq())
	}
	if at := fmt.Sprintf("here/1/%d", seq+1); a.header.Get("Registry-Position") != at {
		t.Errorf("position %q, want %q", a.header.Get("Registry-Position"), at)
	}
	if info := g.get("/go/all/corp.test/!acme/x/@v/v1.0.0.info"); info.body != `{"Version":"v1.0.0","Time":"2024-05-06T05:08:09Z"}` {
		t.Errorf("info %q", info.body)
	}
	lines := g.lines(a)
	if len(lines) != 2 || lines[1].Module != "corp.test/Acme/x" || lines[0].Version != "v0.1.0" || lines[1].Action != "publish" || lines[0].Position == "" || lines[0].Outcome != "done" {
		t.Errorf("audited: %+v", lines)
	}

	a = g.publishForm("", call())
	if got := decode[answers](t, a.body).Published; a.status != http.StatusOK || !got[0].Existed || got[0].Sites != nil || g.seq() != seq+1 || a.header.Get("Registry-Position") == "" {
		t.Errorf("again: %d %s", a.status, a.body)
	}
	if a = g.publishForm("", call().plain(t, "corp.test/c", "v0.1.0")); a.status != http.StatusCreated || g.seq() != seq+2 {
		t.Errorf("again with one more: %d %s", a.status, a.body)
	}
	// One that fails has none published, and the lines say which were to be.
	a = g.publishForm("", newForm().plain(t, "corp.test/d", "v0.1.0").plain(t, "other.test/e", "v0.1.0"))
	if p := decode[problem](t, a.body); a.status != http.StatusForbidden || !strings.HasPrefix(p.Error.Message, "other.test/e@v0.1.0: ") || g.seq() != seq+2 {
		t.Errorf("one that fails: %d %s", a.status, a.body)
	}
	if lines := g.lines(a); len(lines) != 2 || lines[1].Outcome != "refused" || lines[1].Module != "corp.test/d" {
		t.Errorf("audited: %+v", lines)
	}
	if a := g.get("/go/all/corp.test/d/@v/list"); a.status == http.StatusOK && a.body != "" {
		t.Errorf("half of it is published: %d %s", a.status, a.body)
	}
}

// problem is an answer that is an error.
type problem struct {
	Error struct{ Code, Message string }
}

// TestBadPublicationForms sends what is no form of versions.
func TestBadPublicationForms(t *testing.T) {
	g := newRegistry(t)
	named := `{"module":"corp.test/a","version":"v1.0.0"}`
	for what, c := range map[string]struct {
		form   pubForm
		status int
		text   string
	}{
		"nothing":         {newForm(), 400, "no version"},
		"a zip first":     {newForm().part("zip", "PK"), 400, `"zip" where a part version`},
		"no zip":          {newForm().part("version", named), 400, "no part zip"},
		"two versions":    {newForm().part("version", named).part("version", named), 400, "no part zip"},
		"no JSON":         {newForm().part("version", "v1.0.0").part("zip", ""), 400, "not the JSON object"},
		"unknown field":   {newForm().part("version", `{"module":"corp.test/a","version":"v1.0.0","sha":"x"}`).part("zip", ""), 400, "sha"},
		"a field twice":   {newForm().part("version", `{"module":"corp.test/a","version":"v1.0.0","version":"v1.0.1"}`).part("zip", ""), 400, "twice"},
		"no module":       {newForm().part("version", `{"version":"v1.0.0"}`).part("zip", ""), 400, "names no module"},
		"bad h1":          {newForm().part("version", `{"module":"corp.test/a","version":"v1.0.0","h1":"x"}`).part("zip", ""), 400, "h1"},
		"bad time":        {newForm().part("version", `{"module":"corp.test/a","version":"v1.0.0","time":"yesterday"}`).part("zip", ""), 400, "time"},
		"time before all": {newForm().part("version", `{"module":"corp.test/a","version":"v1.0.0","time":"1969-01-01T00:00:00Z"}`).part("zip", ""), 400, "before 1970"},
		"long version":    {newForm().part("version", `{"module":"corp.test/a","version":"v1.0.0-`+strings.Repeat("x", 200)+`"}`).part("zip", ""), 400, "longer than"},
		"large JSON":      {newForm().part("version", `{"module":"corp.test/a`+strings.Repeat(" ", 5000)+`"}`).part("zip", ""), 413, "larger than 4 KiB"},
		"larger JSON":     {newForm().part("version", `{"module":"corp.test/a`+strings.Repeat(" ", 1<<20)+`"}`).part("zip", ""), 413, "larger than"},
		"long header":     {newForm().part("version"+strings.Repeat("x", 1<<20), named).part("zip", ""), 413, "header"},
		"no zip file":     {newForm().part("version", named).part("zip", "no zip"), 422, "corp.test/a@v1.0.0"},
		"twice":           {newForm().plain(t, "corp.test/a", "v1.0.0").plain(t, "corp.test/a", "v1.0.0"), 400, "there twice"},
	} {
		a := g.checked(t, func() answer { return g.publishForm("", c.form) })
		if a.status != c.status || !strings.Contains(decode[problem](t, a.body).Error.Message, c.text) {
			t.Errorf("%s: %d %s, want %d with %q", what, a.status, a.body, c.status, c.text)
		}
	}
	for _, c := range []struct{ query, kind, text string }{
		{"", "application/zip", "multipart/form-data, with a boundary"},
		{"", "multipart/form-data", "with a boundary"},
		{"", "multipart/mixed; boundary=x", "multipart/form-data"},
		{"?sites=7", "multipart/form-data; boundary=x", "the registry has 1"},
		{"?h1=x", "multipart/form-data; boundary=x", "unknown parameter"},
		{"", "multipart/form-data; boundary=x", "no version"}, // ends with the last boundary of x
	} {
		a := g.checked(t, func() answer {
			return g.do("POST", "/api/v1/repos/local/publications"+c.query, strings.NewReader("--x--\r\n"), "Content-Type", c.kind)
		})
		if a.status != 400 || !strings.Contains(decode[problem](t, a.body).Error.Message, c.text) {
			t.Errorf("%s %s: %d %s, want %q", c.query, c.kind, a.status, a.body, c.text)
		}
	}
}

// TestPublicationFormThatBreaksOff cuts a form at each of its bytes, by its own end
// and by that of the connection.
func TestPublicationFormThatBreaksOff(t *testing.T) {
	g := newRegistry(t)
	body, kind := newForm().plain(t, "corp.test/a", "v1.0.0").plain(t, "corp.test/b", "v1.0.0").end()
	for cut := 0; cut < len(body)-len("--\r\n"); cut += 97 {
		a := g.checked(t, func() answer {
			return g.do("POST", "/api/v1/repos/local/publications", strings.NewReader(body[:cut]), "Content-Type", kind)
		})
		if a.status != http.StatusBadRequest {
			t.Fatalf("cut after %d of %d bytes: %d %s", cut, len(body), a.status, a.body)
		}
	}
	for _, cut := range []int{10, 150, len(body) / 2, len(body) - 60} {
		request := fmt.Sprintf("POST /api/v1/repos/local/publications HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", kind, len(body))
		text := ""
		g.checked(t, func() answer {
			text = g.raw(request+body[:cut], func(c net.Conn) { c.(*net.TCPConn).CloseWrite() })
			return answer{}
		})
		if !strings.HasPrefix(text, "HTTP/1.1 400") {
			t.Errorf("closed after %d of %d bytes: %.200q", cut, len(body), text)
		}
	}
}
