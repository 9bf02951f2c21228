package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"registry-node/httpapi"
)

// TestFetched holds that serve writes down who fetched a zip, and that the
// command tells it, also after a restart.
func TestFetched(t *testing.T) {
	s := fresh(t)
	ok(t, "repo", "set", "local", "--owns", "corp.example/**")
	dir := writeTree(t, t.TempDir(), map[string]string{"go.mod": "module corp.example/a\n", "a.go": "package a\n"})
	ok(t, "publish", dir, "--version", "v1.0.0", "--repo", "local")
	for _, file := range []string{"v1.0.0.zip", "v1.0.0.mod", "v1.1.0.zip"} {
		resp, err := http.Get(s.url + "/go/all/corp.example/a/@v/" + file)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	s.end(t)
	s = serving(t, s.data)
	t.Setenv(serverEnv, s.url)
	r := try(t, "fetched", "corp.example/a@v1.0.0")
	if out := squeezed(r.stdout); r.code != exitOK || !strings.Contains(out, "127.0.0.1 – all (local) corp.example/a@v1.0.0 zip 200") || !strings.Contains(r.stderr, "as far as this node's access log goes") {
		t.Errorf("%+v", r)
	}
	var f httpapi.Fetched
	if err := json.Unmarshal([]byte(ok(t, "fetched", "corp.example/**", "--since", "12h", "--json")), &f); err != nil || len(f.Fetches) != 1 || f.Fetches[0].Via != "local" {
		t.Errorf("%+v, %v", f, err)
	}
	if out := ok(t, "fetched", "corp.example/a@v1.1.0", "--refused"); !strings.Contains(out, "v1.1.0 zip  404") {
		t.Errorf("refused:\n%s", out)
	}
}

func TestServeWithoutAccessLog(t *testing.T) {
	s := serving(t, filepath.Join(t.TempDir(), "data"), "--init", "--access-log", "off")
	refused(t, exitNo, []string{"fetched", "corp.example/a", "--server", s.url}, "keeps no access log")
	if _, err := os.Stat(filepath.Join(s.data, accessDir)); err == nil {
		t.Error("there is a directory for it")
	}
}
