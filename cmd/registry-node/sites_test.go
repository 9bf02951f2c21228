package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"registry-node/node"
)

// api starts a server that answers each "METHOD path" as told, with JSON, and
// returns its URL and what it got: "METHOD path?query body".
func api(t *testing.T, answers map[string]string) (url string, got func() []string) {
	t.Helper()
	requests := make(chan string, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- strings.TrimSpace(r.Method + " " + r.URL.RequestURI() + " " + string(body))
		a, ok := answers[r.Method+" "+r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			a = `{"error":{"code":"not_found","message":"nothing for ` + r.Method + " " + r.URL.Path + `"}}`
		}
		io.WriteString(w, a)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() (list []string) {
		for len(requests) > 0 {
			list = append(list, <-requests)
		}
		return list
	}
}

func TestSitesOfANewRegistry(t *testing.T) {
	fresh(t)
	if out := ok(t, "site", "list"); !strings.Contains(out, "main  member") || !strings.Contains(out, "here, home of the registry") {
		t.Errorf("site list:\n%s", out)
	}
	var l siteList
	if err := json.Unmarshal([]byte(ok(t, "site", "list", "--json")), &l); err != nil || len(l.Sites) != 1 || !l.Sites[0].Self {
		t.Errorf("%+v, %v", l, err)
	}
	refused(t, exitNo, []string{"site", "remove", "oslo", "--reason", "gone"}, "registry-node: site remove: ")
	refused(t, exitNo, []string{"diff", "oslo"}, "registry-node: diff: ", "oslo")
	if out := ok(t, "epoch", "new", "--yes"); !strings.HasPrefix(out, "the log goes on with main/2/") {
		t.Errorf("epoch new prints %q", out)
	}
}

// TestInviteNeedsAPeerListener asks a node that nobody can dial.
func TestInviteNeedsAPeerListener(t *testing.T) {
	fresh(t)
	r := try(t, "invite", "oslo")
	if r.code != exitNo || r.stdout != "" {
		t.Errorf("%+v", r)
	}
}

// TestInvitePrintsTheTokenAlone is what scripts rely on.
func TestInvitePrintsTheTokenAlone(t *testing.T) {
	url, got := api(t, map[string]string{"POST /api/v1/sites": `{"token":"s3cret","name":"oslo","expires":"2030-01-01T00:00:00Z"}`})
	r := try(t, "invite", "oslo", "--valid", "90m", "--server", url)
	if r.code != exitOK || r.stdout != "s3cret\n" {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(r.stderr, "registry-node join TOKEN --data DIR") || strings.Contains(r.stderr, "s3cret") {
		t.Errorf("the hint is:\n%s", r.stderr)
	}
	if q := got(); len(q) != 1 || q[0] != `POST /api/v1/sites {"name":"oslo","rights":"publish","valid":"1h30m0s"}` {
		t.Errorf("asked %q", q)
	}
}

func TestJoinToken(t *testing.T) {
	for _, c := range []struct {
		env, arg, stdin string
		want            string // empty: refused
	}{
		{"", "argument", "", "argument"},
		{"environment", "argument", "", "argument"},
		{"environment", "none", "", "environment"},
		{"environment", "-", " input\n", "input"},
		{"-", "none", "input", "input"},
		{"environment", "-", "\n", ""},
		{"environment", "", "", ""},
		{" ", "none", "", ""},
		{"", "-", strings.Repeat("x", maxJoinToken+1), ""},
	} {
		t.Setenv(joinTokenEnv, c.env)
		args := []string{c.arg}
		if c.arg == "none" {
			args = nil
		}
		got, err := joinToken(args, strings.NewReader(c.stdin))
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: got %q, %v", c, got, err)
		}
	}
}

func TestJoinWithABadTokenMakesNothing(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	refused(t, exitNo, []string{"join", "nonsense", "--data", data, "--listen", "127.0.0.1:0"}, "registry-node: join: ")
	refused(t, exitNo, []string{"serve", "--data", data, "--listen", "127.0.0.1:0"}, "holds no registry")
}

// TestCatchUpProgress has no terminal: it writes a line each two seconds.
func TestCatchUpProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := newCatchUpProgress(&out)
		for i := range uint64(50) {
			p.show(node.JoinProgress{Logs: 1, LogsTotal: 3, Entries: i * 100, EntriesTotal: 5000, Rate: 1000, Blobs: 7, BlobsMissing: 3, BytesMissing: 2048, Left: 1500 * time.Millisecond})
			time.Sleep(100 * time.Millisecond)
		}
		p.show(node.JoinProgress{Logs: 3, LogsTotal: 3, Entries: 5000, EntriesTotal: 5000, Rate: 1000, Blobs: 10})
		p.end(true)
		want := `joining: 1 of 3 logs, 0 of 5000 entries (1000/s), 7 blobs, 3 to come (2.0 KiB), 2s left
joining: 1 of 3 logs, 2000 of 5000 entries (1000/s), 7 blobs, 3 to come (2.0 KiB), 2s left
joining: 1 of 3 logs, 4000 of 5000 entries (1000/s), 7 blobs, 3 to come (2.0 KiB), 2s left
joined: 3 of 3 logs, 5000 of 5000 entries (1000/s), 10 blobs
`
		if out.String() != want {
			t.Errorf("got\n%s", out.String())
		}
	})
}

func TestCatchUpBar(t *testing.T) {
	var out strings.Builder
	p := newCatchUpProgress(&out)
	p.terminal = true
	p.show(node.JoinProgress{LogsTotal: 1, Entries: 1, EntriesTotal: 2})
	p.end(false)
	if want := "\r\x1b[K[##########..........] 0 of 1 logs, 1 of 2 entries (0/s), 0 blobs\r\x1b[K"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	if got := bar(node.JoinProgress{}); strings.Contains(got, ".") {
		t.Errorf("of nothing all is here, but the bar is %s", got)
	}
}

func TestByteCount(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1500": 1500, "1500B": 1500, "64KiB": 64 << 10, "10MiB": 10 << 20, "1.5GiB": 3 << 29, "10 MB": 10e6, "5KB": 5e3, "5kB": 5e3,
	} {
		var b, again byteCount
		if err := b.Set(text); err != nil || int64(b) != want {
			t.Errorf("%q is %d, %v, want %d", text, b, err, want)
		}
		if err := again.Set(b.String()); err != nil || again != b {
			t.Errorf("%q prints as %q, which is %d, %v", text, b.String(), again, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1e3", "0x10", "NaN", "Inf", "1_000", "10 mib", "9999999999GiB", "1 000", "ten"} {
		var b byteCount
		if err := b.Set(text); err == nil {
			t.Errorf("%q is taken for %d", text, b)
		}
	}
}

func TestAnswered(t *testing.T) {
	for answer, want := range map[string]error{"yes\n": nil, " yes ": nil, "y\n": errNo, "no\n": errNo, "": errNo, "\n": errNo} {
		var out strings.Builder
		if err := answered(strings.NewReader(answer), &out, "Sure?"); err != want || !strings.HasPrefix(out.String(), "Sure? ") {
			t.Errorf("answer %q: %v, asked %q", answer, err, out.String())
		}
	}
}

// TestForcedMoveSaysWhatMayBeLost and does nothing until it is told to.
func TestForcedMoveSaysWhatMayBeLost(t *testing.T) {
	url, got := api(t, map[string]string{
		"GET /api/v1/repos/local": `{"name":"local","kind":"local","home":"oslo"}`,
		"GET /api/v1/sites":       `{"sites":[{"name":"here"},{"name":"oslo","registry_home":true}]}`,
		"GET /api/v1/replication": `{"sites":[{"name":"here","self":true,"logs":{"oslo":{"epoch":1,"seq":42}}},{"name":"oslo","last_heard":"` + ago(12*time.Minute) + `"}]}`,
		"POST /api/v1/homes":      `{"from":"oslo","to":"here","position":{"site":"here","at":"1/7","hash":""},"until":"1/42"}`,
	})
	t.Setenv(serverEnv, url)
	force := []string{"--to", "here", "--force", "--reason", "it burnt"}
	for what, args := range map[string][]string{"repository local": {"home", "move", "local"}, "the registry": {"home", "move", "--registry"}} {
		refused(t, exitUsage, append(args, force...), "The home of "+what+" is oslo, which was last heard 12m ago",
			"the last entry of oslo that this site has is 1/42", "say --yes")
	}
	for _, q := range got() {
		if strings.HasPrefix(q, "POST") {
			t.Errorf("without --yes it asked %s", q)
		}
	}
	if out := ok(t, append([]string{"home", "move", "local", "--yes"}, force...)...); out != "the home of repository local is here, no longer oslo, as of here/1/7; what oslo decided counts up to its entry 1/42\n" {
		t.Errorf("prints %q", out)
	}
	q := got()
	if last := q[len(q)-1]; last != `POST /api/v1/homes {"repository":"local","to":"here","force":true,"reason":"it burnt"}` {
		t.Errorf("asked %s", last)
	}
	ok(t, "home", "move", "--registry", "--to", "here")
	if q = got(); len(q) != 1 || q[0] != `POST /api/v1/homes {"repository":"","to":"here","force":false}` {
		t.Errorf("asked %q", q)
	}
}

// TestForcedMoveFromNothing has a home given up of which no entry is known.
func TestForcedMoveFromNothing(t *testing.T) {
	url, _ := api(t, map[string]string{
		"GET /api/v1/repos/local": `{"name":"local","kind":"local","home":"oslo"}`,
		"GET /api/v1/replication": `{"sites":[{"name":"here","self":true,"logs":{}},{"name":"oslo"}]}`,
		"POST /api/v1/homes":      `{"from":"oslo","to":"here","position":{"site":"here","at":"1/7","hash":""},"until":"0/0"}`,
	})
	t.Setenv(serverEnv, url)
	out := ok(t, "home", "move", "local", "--yes", "--to", "here", "--force", "--reason", "it burnt")
	if want := "the home of repository local is here, no longer oslo, as of here/1/7; nothing counts that oslo decided as the home\n"; out != want {
		t.Errorf("prints %q, want %q", out, want)
	}
}

func TestDiffExitCode(t *testing.T) {
	for body, c := range map[string]struct {
		code int
		line string
	}{
		`{"site":"oslo","logs":[{"log":"here","at":"1/7","equal":true}]}`: {exitOK, "here  1/7  equal"},
		`{"site":"oslo","logs":[{"log":"here","at":"1/7","equal":false,"rows":[{"key":"k","here":"aa"},{"key":"l","there":"bb"}],"more":true}]}`: {exitNo,
			"here  1/7  k    aa    -\nhere  1/7  l    -     bb\nhere  1/7  and more"},
		`{"site":"oslo","logs":[{"log":"here","at":"1/7"}]}`: {exitNo, "the rows can't be told"},
		`{"site":"oslo","logs":[]}`:                          {exitOK, "no position that both sites have applied"},
	} {
		url, _ := api(t, map[string]string{"GET /api/v1/diff/oslo": body})
		if r := try(t, "diff", "oslo", "--server", url); r.code != c.code || !strings.Contains(r.stdout, c.line) {
			t.Errorf("%s: exit code %d\n%s%s", body, r.code, r.stdout, r.stderr)
		}
	}
}

func TestBlockLife(t *testing.T) {
	fresh(t)
	ok(t, "block", "add", "evil.example/a@v1.0.0", "--reason", "steals secrets")
	ok(t, "block", "add", "evil.example/b", "--reason", "all of it")
	out := ok(t, "block", "list")
	for _, want := range []string{"evil.example/a@v1.0.0", "steals secrets", "evil.example/b ", "main"} {
		if !strings.Contains(out, want) {
			t.Errorf("block list lacks %q:\n%s", want, out)
		}
	}
	ok(t, "block", "remove", "evil.example/a@v1.0.0")
	refused(t, exitNo, []string{"block", "remove", "evil.example/a@v1.0.0"}, "not blocked")
	var l blockList
	if err := json.Unmarshal([]byte(ok(t, "block", "list", "--json")), &l); err != nil || len(l.Blocks) != 1 || l.Blocks[0].Reason != "all of it" {
		t.Errorf("%+v, %v", l, err)
	}
}

// TestBlockShort holds the short forms, with patterns.
func TestBlockShort(t *testing.T) {
	fresh(t)
	ok(t, "block", "evil.example/**", "--reason", "all below")
	ok(t, "block", "--reason", "a series", "evil.example/a@v1.2.*")
	out := ok(t, "block", "list")
	for _, want := range []string{"evil.example/** ", "evil.example/a@v1.2.*", "a series", "main"} {
		if !strings.Contains(out, want) {
			t.Errorf("block list lacks %q:\n%s", want, out)
		}
	}
	refused(t, exitNo, []string{"unblock", "evil.example/a"}, "evil.example/a is not blocked")
	if out := ok(t, "unblock", "evil.example/a@v1.2.*"); out != "no longer blocked: evil.example/a@v1.2.*\n" {
		t.Errorf("unblock prints %q", out)
	}
	ok(t, "unblock", "evil.example/**")
	refused(t, exitUsage, []string{"block", "evil.example"}, "--reason is missing")
	refused(t, exitUsage, []string{"block", "lst"}, "did you mean list")
	refused(t, exitUsage, []string{"block", "evil.example", "b.example", "--reason", "x"}, "there is no command")
	refused(t, exitUsage, []string{"unblock"}, "MODULE[@VERSION] is missing")
}

func TestRepoBlobs(t *testing.T) {
	fresh(t)
	ok(t, "repo", "set", "local", "--blobs", "oslo:big.example/**=never", "--blobs", "lazy")
	if r := show(t, "local"); list(r.Blobs) != "oslo:big.example/**=never, lazy" {
		t.Errorf("local: %+v", r)
	}
	ok(t, "repo", "set", "local", "--blobs", "")
	if r := show(t, "local"); len(r.Blobs) != 0 {
		t.Errorf("local: %+v", r)
	}
	refused(t, exitUsage, []string{"repo", "create", "v", "--kind", "virtual", "--members", "local", "--blobs", "lazy"}, "virtual repository has no blobs")
}

// TestJoin takes a second site from a token to serving, and once more with
// nobody else up.
func TestJoin(t *testing.T) {
	first := serving(t, filepath.Join(t.TempDir(), "first"), "--init", "--peer-listen", "127.0.0.1:0")
	dir := writeTree(t, t.TempDir(), map[string]string{"go.mod": "module corp.example/j\n", "j.go": "package j\n"})
	ok(t, "repo", "set", "local", "--owns", "corp.example/**", "--data", first.data)
	ok(t, "publish", dir, "--version", "v1.0.0", "--data", first.data)
	t.Setenv(joinTokenEnv, strings.TrimSpace(ok(t, "invite", "oslo", "--data", first.data)))
	data := filepath.Join(t.TempDir(), "second")
	second := started(t, "join", data)
	if got := get(t, second.url+"/go/local/corp.example/j/@v/list"); got != "v1.0.0\n" {
		t.Errorf("the second site lists %q", got)
	}
	if out := ok(t, "publish", dir, "--version", "v1.1.0", "--sites", "all", "--data", data); !strings.Contains(out, "at main/") {
		t.Errorf("publish at the second site prints %q", out)
	}
	if out := ok(t, "status", "--data", data); !strings.Contains(out, "main  connected") || !strings.Contains(out, "oslo  here") {
		t.Errorf("status:\n%s", out)
	}
	if !strings.Contains(second.log.String(), "joined: 1 of 1 logs") {
		t.Errorf("join says nothing of its progress:\n%s", second.log)
	}
	second.end(t)
	first.end(t)
	again := started(t, "join", data)
	if got := get(t, again.url+"/go/local/corp.example/j/@v/list"); got != "v1.0.0\nv1.1.0\n" {
		t.Errorf("the second site alone lists %q", got)
	}
}
