package e2e

import (
	"encoding/json"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/mod/module"
)

// addToolchain adds a release of Go to an upstream. Its go command is a script
// that says what it is, whatever it is asked.
func (u *upstream) addToolchain(release string) module.Version {
	return u.add(toolchainPath, "v0.0.1-"+release+"."+runtime.GOOS+"-"+runtime.GOARCH, toolchain("this is "+release))
}

const toolchainPath = "golang.org/toolchain"

func toolchain(says string) tree {
	return tree{
		"bin/go":        "#!/bin/sh\necho '" + says + "'\n",
		"bin/gofmt":     "",
		"pkg/tool/none": "",
		"lib/none":      "",
		"src/_go.mod":   "module std\n",
	}
}

// TestToolchain has the go command switch to another release that it gets through
// a node, by each way in which it is told to. The checksum database vouches for
// it.
func TestToolchain(t *testing.T) {
	asSeenByTheGoCommand(t)
	if runtime.GOOS == "windows" {
		unavailable(t, "the go command of the test's release is a shell script")
	}
	up := newUpstream(t)
	good := up.addToolchain("go1.99.1")
	forged := up.addToolchain("go1.99.2")
	s := serve(t, up.settings()...)
	client := func(goMod string, settings ...string) *goClient {
		return newGoClient(t, tree{"go.mod": "module app.example/app\n\n" + goMod}, s.URL+"/go/all", append(settings, "GOSUMDB="+up.sumdb)...)
	}
	for _, c := range []*goClient{
		client("go 1.21\n", "GOTOOLCHAIN=go1.99.1"),
		client("go 1.21\n", "GOTOOLCHAIN=go1.99.1+auto"),
		client("go 1.99.1\n", "GOTOOLCHAIN=auto"),
		client("go 1.21\n\ntoolchain go1.99.1\n", "GOTOOLCHAIN=auto"),
	} {
		if r := c.run("version"); r.code != 0 || r.stdout != "this is go1.99.1\n" {
			t.Errorf("go version with %s: exit code %d\n%s%s", c.env[len(c.env)-2], r.code, r.stdout, r.stderr)
		}
	}
	if n := up.count("/" + good.Version + ".zip"); n != 1 {
		t.Errorf("the upstream was asked %d times for the zip", n)
	}
	if n := up.count("/lookup/" + toolchainPath + "@" + good.Version); n == 0 {
		t.Error("the checksum database was not asked")
	}
	if by := s.filledZip(good); by != sumdbName {
		t.Errorf("the log says that %q vouches for the zip, want %s", by, sumdbName)
	}

	s.must("repo", "set", "public", "--no-sumdb", "golang.org/**") // holds for all but toolchains
	up.fault("/"+forged.Version+".zip", func(w http.ResponseWriter, _ *http.Request) {
		w.Write(zipOf(forged, toolchain("this is forged")))
	})
	r := client("go 1.21\n", "GOTOOLCHAIN=go1.99.2").run("version")
	if r.code == 0 || strings.Contains(r.stdout, "this is") {
		t.Errorf("go version with a forged release: exit code %d, %s", r.code, r.stdout)
	}
	for _, text := range []string{"download go1.99.2", "502 Bad Gateway", "SECURITY ERROR", "the checksum database says " + h1(forged, toolchain("this is go1.99.2")), h1(forged, toolchain("this is forged"))} {
		if !strings.Contains(r.stderr, text) {
			t.Errorf("%q is not in what the user is told of a forged release:\n%s", text, r.stderr)
		}
	}
	if by := s.filledZip(forged); by != "" {
		t.Errorf("a forged zip is in the log, for which %q vouches", by)
	}
	up.fault("/"+forged.Version+".zip", nil)
	if r := client("go 1.21\n", "GOTOOLCHAIN=go1.99.2").run("version"); r.stdout != "this is go1.99.2\n" {
		t.Errorf("from an upstream that is right again: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// filledZip returns who vouches for a zip that came from an upstream, as the log
// has it; nothing if no zip is there.
func (s *server) filledZip(mv module.Version) (by string) {
	s.t.Helper()
	for _, e := range s.log(1) {
		var fill struct {
			Module, Version string
			CheckedBy       string `json:"checked_by"`
			Zip             json.RawMessage
		}
		if err := json.Unmarshal(e.Data, &fill); err != nil {
			s.t.Fatal(err)
		}
		if e.Type == "version.filled" && fill.Module == mv.Path && fill.Version == mv.Version && fill.Zip != nil {
			by = fill.CheckedBy
		}
	}
	return by
}
