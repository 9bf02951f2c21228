package httpapi

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestLocation parses paths as the JFrog CLI, plain clients and proxies on the way
// send them.
func TestLocation(t *testing.T) {
	tests := []struct{ path, want string }{
		{"go-local/example.com/Acme/Tiny/@v/v1.2.3.zip;build.name=my+build;vcs.url=https%3A%2F%2Fgit.example.com%2FOrg%2Frepo.git;go.version=v1.2.3",
			"go-local zip example.com/Acme/Tiny@v1.2.3 build.name=[my build] go.version=[v1.2.3] vcs.url=[https://git.example.com/Org/repo.git]"},
		{"go-local/example.com/%21acme/%21tiny/@v/v1.2.3.mod", "go-local mod example.com/Acme/Tiny@v1.2.3"},
		{"go-local/example.com/!acme/@v/v1.2.3-!a.info", "go-local info example.com/Acme@v1.2.3-A"},
		{"go-local/m.test/a/@v/v2.0.4+incompatible.zip", "go-local zip m.test/a@v2.0.4+incompatible"},
		{"go-local;a=1/m.test;b=2/a/@v;c=3/v1.0.0.zip;d=4", "go-local zip m.test/a@v1.0.0 a=[1] b=[2] c=[3] d=[4]"},
		{"go-local/m.test/a/@v/v1.0.0.zip;k=a%2Cb%5C%2Cc;k=d;e=", "go-local zip m.test/a@v1.0.0 e=[] k=[a b,c d]"},
		{"go-local/m.test/a/@v/v1.0.0.zip;vcs.url=https://git.test/x.git;z=1", "go-local zip m.test/a@v1.0.0 vcs.url=[https://git.test/x.git] z=[1]"},
		{"go-local/m.test/a/@v/v1.0.0.zip;n=a%2Bb%3Bc", "go-local zip m.test/a@v1.0.0 n=[a+b;c]"},
		{"go-local/m.test/a/@v/v1.0.0.zip;;", "go-local zip m.test/a@v1.0.0"},
		{"go-local/m.test//a/@v/v1.0.0.zip", `the path "go-local/m.test//a/@v/v1.0.0.zip" has an empty element`},
		{"go-local/../a/@v/v1.0.0.zip", `the path "go-local/../a/@v/v1.0.0.zip" has the element ".."`},
		{"go-local/m.test/a%2f@v/v1.0.0.zip", "the path has %2f, which no module path or version has"},
		{"go-local/m.test/a/@v/v1.0.0.zip;=x", "a property has no name"},
		{"go-local/m.test/a/@v/v1.0.0.zip;a=%zz", `the property "a=%zz" is not escaped as in a URL`},
		{"go-local/m.test/a/@v/v1.0.0.tar", `"v1.0.0.tar" after /@v/ is no version with .zip, .mod or .info`},
		{"go-local/m.test/a/readme.md", `"m.test/a/readme.md" is no file of a Go module, which are <module>/@v/<version>.zip, .mod and .info`},
		{"go-local", `"" is no file of a Go module, which are <module>/@v/<version>.zip, .mod and .info`},
		{"", "repository name is empty"},
		{"m/a/@v/v1.0.0.zip;" + strings.Repeat("x", 300) + "=1", "the property \"" + strings.Repeat("x", 120) + "…\" is too long: a name has at most 255 bytes, a value 2400"},
	}
	for _, tt := range tests {
		if got := shownLocation(tt.path); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.path, got, tt.want)
		}
	}
}

func shownLocation(path string) string {
	l, err := parseLocation(path)
	if err != nil {
		return err.Error()
	}
	f, err := l.file()
	if err != nil {
		return err.Error()
	}
	s := fmt.Sprintf("%v %s %v", f.repo, f.kind, f.version)
	for _, k := range slices.Sorted(maps.Keys(f.properties)) {
		s += fmt.Sprintf(" %s=%v", k, f.properties[k])
	}
	return s
}

// TestTooManyProperties: an entry of the log has room for some.
func TestTooManyProperties(t *testing.T) {
	path := "m/a/@v/v1.0.0.zip"
	for i := range maxProperties + 1 {
		path += fmt.Sprintf(";p%d=1", i)
	}
	if _, err := parseLocation(path); err == nil || !strings.Contains(err.Error(), "more than 64 properties") {
		t.Errorf("got %v", err)
	}
}
