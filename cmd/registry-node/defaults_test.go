package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"registry-node/events"
)

func TestProxyURLs(t *testing.T) {
	for list, want := range map[string]string{
		"https://a.example,direct":                       "https://a.example",
		"https://a.example|direct":                       "https://a.example",
		"https://a.example":                              "https://a.example",
		"https://a.example,https://b.example|off":        "https://a.example,https://b.example",
		"https://a.example|https://b.example":            "https://a.example|https://b.example",
		"https://a.example,direct,https://never.example": "https://a.example",
		" https://a.example , direct ":                   " https://a.example ",
		",https://a.example,,":                           ",https://a.example",
		"direct":                                         "",
		"off":                                            "",
		"off,https://never.example":                      "",
		"":                                               "",
	} {
		if got := proxyURLs(list); got != want {
			t.Errorf("proxyURLs(%q) = %q, want %q", list, got, want)
		}
	}
}

func TestRemoteAsTheGoCommandHasIt(t *testing.T) {
	base := goEnv{GOPROXY: "https://a.example,direct", GOSUMDB: "off"}
	with := func(change func(*goEnv)) goEnv {
		e := base
		change(&e)
		return e
	}
	for name, c := range map[string]struct {
		env      goEnv
		upstream string
		why, err string
	}{
		"direct is left out": {env: base, upstream: "https://a.example"},
		"only direct":        {env: with(func(e *goEnv) { e.GOPROXY = "direct" }), why: `GOPROXY is "direct"`},
		"off":                {env: with(func(e *goEnv) { e.GOPROXY = "off" }), why: `GOPROXY is "off"`},
		"no go command":      {env: goEnv{}, why: "no go command"},
		"a password":         {env: with(func(e *goEnv) { e.GOPROXY = "https://u:s3cret@a.example" }), err: "holds a password"},
		"not a URL":          {env: with(func(e *goEnv) { e.GOPROXY = "ftp://a.example" }), err: "GOPROXY as the go command here has it"},
		"unknown database":   {env: with(func(e *goEnv) { e.GOSUMDB = "sums.corp.example" }), err: "GOSUMDB as the go command here has it"},
		"bad pattern":        {env: with(func(e *goEnv) { e.GONOSUMDB = "corp.example/[" }), err: "GONOSUMDB or GOPRIVATE"},
	} {
		s, why, err := c.env.remote()
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s: error %v, want %q", name, err, c.err)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case s.Upstream != c.upstream || !strings.Contains(why, c.why) || (why == "") != (c.why == ""):
			t.Errorf("%s: %+v, %q", name, s, why)
		}
	}
	s, _, err := with(func(e *goEnv) { e.GONOSUMDB = "*.corp.example, example.org/x/,," }).remote()
	if err != nil || list(s.NoSumdb) != "*.corp.example, example.org/x" {
		t.Errorf("patterns: %v, %v", s.NoSumdb, err)
	}
}

// TestInitWithoutAnUpstream serves what is possible and says how to go on.
func TestInitWithoutAnUpstream(t *testing.T) {
	for name, set := range map[string]func(){
		"direct":        func() { t.Setenv("GOPROXY", "direct") },
		"off":           func() { t.Setenv("GOPROXY", "off") },
		"no go command": func() { t.Setenv("PATH", t.TempDir()) },
	} {
		set()
		s := serving(t, filepath.Join(t.TempDir(), "data"), "--init")
		for _, want := range []string{`no repository "public"`, "registry-node repo create public --kind remote", "registry-node repo set all --members local,public"} {
			if !strings.Contains(s.log.String(), want) {
				t.Errorf("%s: standard error lacks %q:\n%s", name, want, s.log)
			}
		}
		if out := ok(t, "repo", "list", "--server", s.url); strings.Contains(out, "public ") || !strings.Contains(out, "unites local ") {
			t.Errorf("%s: repositories:\n%s", name, out)
		}
		// What it says works.
		ok(t, "repo", "create", "public", "--kind", "remote", "--upstream", "https://a.example", "--sumdb", "off", "--server", s.url)
		ok(t, "repo", "set", "all", "--members", "local,public", "--server", s.url)
		s.end(t)
	}
}

func TestInitRefusesWhatItCannotRecord(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().(*net.TCPAddr)
	free.Close()
	for goproxy, want := range map[string]string{
		"https://user:s3cret@a.example":                      "holds a password",
		"ftp://a.example":                                    "GOPROXY as the go command here has it",
		fmt.Sprintf("http://localhost:%d/go/all", addr.Port): "this node itself",
	} {
		t.Setenv("GOPROXY", goproxy)
		data := filepath.Join(t.TempDir(), "data")
		refused(t, exitNo, []string{"serve", "--data", data, "--init", "--listen", addr.String()}, "serve: new registry: ", want)
		if exists(t, filepath.Join(data, "format")) {
			t.Errorf("GOPROXY=%s: a registry has been made", goproxy)
		}
	}
}

func TestInitTellsWhatPublicDoesNotDo(t *testing.T) {
	t.Setenv("GOPROXY", "https://a.example,direct")
	t.Setenv("GOPRIVATE", "corp.example/*")
	s := fresh(t)
	for _, want := range []string{`GOPROXY here ends in "direct"`, "asks only https://a.example;", "--upstream vcs --sumdb", "GONOPROXY or GOPRIVATE here is corp.example/*"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("standard error lacks %q:\n%s", want, s.log)
		}
	}
	if out := ok(t, "repo", "show", "public"); !strings.Contains(out, "corp.example/*") {
		t.Errorf("GOPRIVATE is not kept from the checksum database:\n%s", out)
	}
}

// TestGoEnvDownloadsNoToolchain asks in a module that wants a newer one.
func TestGoEnvDownloadsNoToolchain(t *testing.T) {
	t.Chdir(writeTree(t, t.TempDir(), map[string]string{"go.mod": "module corp.example/a\n\ngo 1.9999\n"}))
	t.Setenv("GOTOOLCHAIN", "auto")
	env, err := readGoEnv(t.Context())
	if err != nil || env.GOPROXY != "http://upstream.invalid" {
		t.Errorf("go env: %+v, %v", env, err)
	}
}

func TestDefaultRepoSettingsAreValid(t *testing.T) {
	var notes strings.Builder
	repos, err := defaultRepos(t.Context(), &notes)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range repos {
		if err := r.Settings.Check(r.Kind); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
	if len(repos) != 3 || repos[0].Kind != events.Local || repos[1].Kind != events.Remote || repos[2].Kind != events.Virtual {
		t.Errorf("repositories: %+v", repos)
	}
}
