package main

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"registry-node/events"
)

func TestGoSetup(t *testing.T) {
	self := must1(os.Executable())
	ours := quoteWord(self) + " goauth"
	for name, tt := range map[string]struct {
		server, private string // patterns with blanks between them
		env             goEnv
		want            []string
		notes           []string // parts
	}{
		"https": {"https://r.test", "corp.example/** other.example", goEnv{GOAUTH: "netrc"},
			[]string{"GOPROXY=https://r.test/go/all", "GONOPROXY=none", "GONOSUMDB=corp.example,other.example", "GOAUTH=" + ours + ";netrc"}, nil},
		"http": {"http://r.test:80", "", goEnv{GOAUTH: "netrc"},
			[]string{"GOPROXY=http://r.test:80/go/all", "GONOPROXY=none"}, []string{"sends no credentials"}},
		"what is there stays": {"https://r.test", "corp.example/* corp.example/*", goEnv{GOAUTH: "git /x; " + ours, GONOSUMDB: "mine.example, corp.example/*"},
			[]string{"GOPROXY=https://r.test/go/all", "GONOPROXY=none", "GONOSUMDB=mine.example,corp.example/*", "GOAUTH=git /x; " + ours}, nil},
		"off": {"https://r.test", "", goEnv{GOAUTH: "off"},
			[]string{"GOPROXY=https://r.test/go/all", "GONOPROXY=none", "GOAUTH=" + ours}, nil},
		"private": {"https://r.test", "corp.example/**", goEnv{GOPRIVATE: "*.example", GONOPROXY: "*.example", GONOSUMDB: "*.example"},
			[]string{"GOPROXY=https://r.test/go/all", "GONOPROXY=none", "GONOSUMDB=*.example,corp.example", "GOAUTH=" + ours + ";netrc"},
			[]string{"GOPRIVATE=*.example covers corp.example/**", "fetched past every proxy until now"}},
		"patterns that go has not": {"https://r.test", "**/internal corp.example/**/x", goEnv{},
			[]string{"GOPROXY=https://r.test/go/all", "GONOPROXY=none", "GONOSUMDB=corp.example", "GOAUTH=" + ours + ";netrc"},
			[]string{"**/internal can't be said", "corp.example is there instead"}},
	} {
		t.Run(name, func(t *testing.T) {
			var private []events.Pattern
			for _, p := range strings.Fields(tt.private) {
				private = append(private, must1(events.ParsePattern(p)))
			}
			s := newSetup(must1(url.Parse(tt.server)), repoName("all"), private, tt.env)
			if !slices.Equal(s.vars, tt.want) {
				t.Errorf("got %q, want %q", s.vars, tt.want)
			}
			if len(s.notes) != len(tt.notes) {
				t.Errorf("notes %q, want %q", s.notes, tt.notes)
			}
			for i, want := range tt.notes {
				if !strings.Contains(strings.Join(s.notes, "\n"), want) {
					t.Errorf("note %d: %q lacks %q", i, s.notes, want)
				}
			}
			if strings.Contains(strings.Join(s.vars, " "), "GOPRIVATE") || strings.Contains(s.vars[0], ",") {
				t.Errorf("%q: nothing may go past the registry", s.vars)
			}
		})
	}
}

// TestEnvWrites has the real go command remember what the registry says.
func TestEnvWrites(t *testing.T) {
	configured(t)
	s := serving(t, filepath.Join(t.TempDir(), "data"), "--init")
	ok(t, "repo", "set", "local", "--owns", "corp.example/**", "--data", s.data)
	env := filepath.Join(t.TempDir(), "env")
	for name, value := range map[string]string{"GOENV": env, "GOPROXY": "", "GONOSUMDB": "", "GONOPROXY": "", "GOPRIVATE": "", "GOAUTH": ""} {
		t.Setenv(name, value)
	}
	out := ok(t, "env", "--server", s.url)
	for _, want := range []string{"go env -w 'GOPROXY=" + s.url + "/go/all'\n", "go env -w 'GONOPROXY=none'\n", "go env -w 'GONOSUMDB=corp.example'\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("prints\n%swithout %s", out, want)
		}
	}
	if _, err := os.Stat(env); err == nil {
		t.Fatal("they are set without --write")
	}
	ok(t, "env", "--server", s.url, "--write")
	e, err := readGoEnv(t.Context())
	if err != nil || e.GOPROXY != s.url+"/go/all" || e.GONOPROXY != "none" || e.GONOSUMDB != "corp.example" || e.GOPRIVATE != "" {
		t.Errorf("go env says %+v, %v", e, err)
	}
	t.Setenv("GOPROXY", "https://me:hunter2@other.test")
	if r := try(t, "env", "--server", s.url); !strings.Contains(r.stderr, "counts before go env -w") || strings.Contains(r.stderr, "hunter2") {
		t.Errorf("%+v", r)
	}
	refused(t, exitNo, []string{"env", "--server", s.url, "--repo", "missing"}, "missing")
	refused(t, exitUsage, []string{"env", "--data", s.data}, "--server")
}
