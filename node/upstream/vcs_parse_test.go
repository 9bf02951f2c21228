package upstream

import (
	"bufio"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestKnownHosts: the rules of the go command for hosts it knows.
func TestKnownHosts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		path string
		want goImport
		err  bool
	}{
		{"github.com/a/b", goImport{"github.com/a/b", "git", "https://github.com/a/b", ""}, false},
		{"github.com/a/b/sub/v2", goImport{"github.com/a/b", "git", "https://github.com/a/b", ""}, false},
		{"github.com/a", goImport{}, true},
		{"github.com/a/b.git", goImport{}, true},
		{"bitbucket.org/a/b/c", goImport{"bitbucket.org/a/b", "git", "https://bitbucket.org/a/b", ""}, false},
		{"git.apache.org/x.git/y", goImport{"git.apache.org/x.git", "git", "https://git.apache.org/x.git", ""}, false},
		{"git.openstack.org/a/b/c", goImport{"git.openstack.org/a/b", "git", "https://git.openstack.org/a/b", ""}, false},
		{"hub.jazz.net/git/u/r/p", goImport{"hub.jazz.net/git/u/r", "git", "https://hub.jazz.net/git/u/r", ""}, false},
		{"chiselapp.com/user/a/repository/b", goImport{"chiselapp.com/user/a/repository/b", "fossil", "https://chiselapp.com/user/a/repository/b", ""}, false},
		{"git.example/a/b.git/c", goImport{"git.example/a/b.git", "git", "https://git.example/a/b", ""}, false},
		{"svn.example/a.svn", goImport{"svn.example/a.svn", "svn", "https://svn.example/a", ""}, false},
		{"example.com/a/b", goImport{}, false},
		{"gopkg.in/yaml.v2", goImport{}, false},
	} {
		got, ok, err := known(test.path)
		if got != test.want || ok != (test.want != goImport{}) || (err != nil) != test.err {
			t.Errorf("%s: %+v, %v, %v, want %+v", test.path, got, ok, err, test.want)
		}
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	meta := func(contents ...string) string {
		page := "<html><head>"
		for _, c := range contents {
			page += `<meta name="go-import" content="` + c + `">`
		}
		return page + "</head>"
	}
	for _, test := range []struct {
		page string
		want []goImport
	}{
		{meta("a.test/b git https://a.test/g"), []goImport{{"a.test/b", "git", "https://a.test/g", ""}}},
		{meta("a.test/b git https://a.test/g sub/dir"), []goImport{{"a.test/b", "git", "https://a.test/g", "sub/dir"}}},
		{meta("a.test/b git", "a.test/b git https://a.test/g x y"), nil},
		{meta("a.test/b git https://a.test/g", "a.test/b mod https://a.test/p"), []goImport{{"a.test/b", "mod", "https://a.test/p", ""}}},
		{meta("a.test git https://a.test/g", "a.test/b mod https://a.test/p"), []goImport{{"a.test/b", "mod", "https://a.test/p", ""}, {"a.test", "git", "https://a.test/g", ""}}},
		{"<head></head>" + meta("a.test/b git https://a.test/g"), nil},
		{"<body>" + meta("a.test/b git https://a.test/g"), nil},
		{`<META NAME=go-import CONTENT="a.test/b git https://a.test/g"><br>`, []goImport{{"a.test/b", "git", "https://a.test/g", ""}}},
		{`<?xml version="1.0" encoding="latin1"?>` + meta("a.test/b git https://a.test/g"), nil},
		{"<<<", nil},
	} {
		got, _ := parsePage(strings.NewReader(test.page))
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %+v, want %+v", test.page, got, test.want)
		}
	}
}

// TestLocate: where in its repository a module is, and which tags it has.
func TestLocate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		path, prefix, subdir string
		tag                  string // of v1.0.0; "" if the repository can't have the module
	}{
		{"a.test/r", "a.test/r", "", "v1.0.0"},
		{"a.test/r/v2", "a.test/r", "", "v1.0.0"},
		{"a.test/r/v2", "a.test/r/v2", "", "v1.0.0"},
		{"a.test/r/sub/v2", "a.test/r", "", "sub/v1.0.0"},
		{"a.test/r/sub", "a.test/r", "", "sub/v1.0.0"},
		{"a.test/r/sub", "a.test/r", "src", "sub/src/v1.0.0"},
		{"a.test/r", "a.test/r", "src/x", "src/x/v1.0.0"},
		{"gopkg.in/yaml.v2", "gopkg.in/yaml.v2", "", "v1.0.0"},
		{"a.test/r", "a.test/r", "../x", ""},
		{"a.test/r", "a.test/r", "/x", ""},
		{"a.test/r", "a.test/r", "-x", ""},
		{"a.test/r/v2", "a.test/r/v2/x", "", ""},
	} {
		s := source{path: test.path, tag: goImport{prefix: test.prefix, subdir: test.subdir}}
		err := s.locate()
		if err == nil && s.tagOf("v1.0.0") != test.tag || err != nil && test.tag != "" {
			t.Errorf("%+v: tag %s, %v", test, s.tagOf("v1.0.0"), err)
		}
	}
}

func TestVersionsOfTags(t *testing.T) {
	t.Parallel()
	tags := map[string]string{}
	for _, tag := range []string{"v1.0.0", "v0.9.0", "v1.0", "v1.0.0+meta", "v2.0.0", "v1.0.1-0.20200101000000-abcdefabcdef", "sub/v1.1.0", "sub/v2.2.0", "x"} {
		tags[tag] = "x"
	}
	for _, test := range []struct {
		path, dir, suffix string
		want              []string
		sure              bool
	}{
		{"a.test/r", "", "", []string{"v0.9.0", "v1.0.0"}, false},
		{"a.test/r/v2", "", "/v2", []string{"v2.0.0"}, true},
		{"a.test/r/v3", "", "/v3", nil, true},
		{"a.test/r/sub", "sub", "", []string{"v1.1.0"}, true},
		{"a.test/r/sub/v2", "sub", "/v2", []string{"v2.2.0"}, true},
		{"a.test/r/none", "none", "", nil, true},
		{"gopkg.in/r.v2", "", ".v2", []string{"v2.0.0"}, true},
		{"gopkg.in/r.v2-unstable", "", ".v2-unstable", nil, true},
	} {
		got, sure := (&refs{tags: tags}).versions(source{path: test.path, dir: test.dir, suffix: test.suffix})
		if !slices.Equal(got, test.want) || sure != test.sure {
			t.Errorf("%s: %v, %v, want %v, %v", test.path, got, sure, test.want, test.sure)
		}
	}
}

func TestSmartRefs(t *testing.T) {
	t.Parallel()
	packet := func(line string) string { return fmt.Sprintf("%04x%s", len(line)+4, line) }
	object := func(c string) string { return strings.Repeat(c, 40) }
	head := packet("# service=git-upload-pack\n") + "0000"
	body := head + packet(object("a")+" HEAD\x00side-band symref=HEAD:refs/heads/main\n") +
		packet(object("a")+" refs/heads/main\n") + packet(object("b")+" refs/pull/1/head\n") +
		packet(object("c")+" refs/tags/v1.0.0\n") + packet(object("d")+" refs/tags/v1.0.0^{}\n") + "0000"
	r := refs{tags: map[string]string{}, heads: map[string]string{}}
	if err := r.parseSmart(bufio.NewReader(strings.NewReader(body))); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(r.tags, map[string]string{"v1.0.0": object("d")}) || !maps.Equal(r.heads, map[string]string{"main": object("a")}) {
		t.Errorf("tags %v, heads %v", r.tags, r.heads)
	}
	empty := head + packet(strings.Repeat("0", 40)+" capabilities^{}\x00agent=git\n") + "0000"
	if err := r.parseSmart(bufio.NewReader(strings.NewReader(empty))); err != nil {
		t.Errorf("an empty repository: %v", err)
	}
	for n := range len(body) {
		r := refs{tags: map[string]string{}, heads: map[string]string{}}
		if err := r.parseSmart(bufio.NewReader(strings.NewReader(body[:n]))); err == nil {
			t.Errorf("the first %d bytes of %d pass for all", n, len(body))
		}
	}
	full := refs{tags: map[string]string{}, size: maxRefs}
	if err := full.add(object("a"), "refs/pull/1/head"); err != nil {
		t.Errorf("a ref that is not kept: %v", err)
	}
	if err := full.add(object("a"), "refs/tags/v1.0.0"); err == nil {
		t.Error("refs are kept without bound")
	}
	refusal := head + packet("ERR access denied\n")
	if err := r.parseSmart(bufio.NewReader(strings.NewReader(refusal))); err == nil || !strings.Contains(err.Error(), "access denied") {
		t.Errorf("a refusal: %v", err)
	}
}

func TestQueryGrammar(t *testing.T) {
	t.Parallel()
	for query, ok := range map[string]bool{
		"v1.0.0": true, "main": true, "v1": true, "feature_x-1": true, "0123abcd": true, "HEAD": true,
		"": false, "-x": false, "--upload-pack=x": false, "a..b": false, "a b": false, "a@{1}": false, "a:b": false,
		"latest": false, "upgrade": false, "patch": false, "<v1": false, "a\nb": false, "a/b": false, strings.Repeat("a", 300): false,
	} {
		if err := checkQuery(query); (err == nil) != ok {
			t.Errorf("%q: %v", query, err)
		}
	}
	if !isTagged("a.test/r", "v1.0.0") || isTagged("a.test/r", "v0.0.0-20200101000000-abcdefabcdef") || isTagged("a.test/r", "main") {
		t.Error("isTagged")
	}
}
