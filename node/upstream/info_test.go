package upstream_test

import (
	"encoding/json"
	"slices"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"registry-node/node/upstream"
)

func TestParseVersions(t *testing.T) {
	for _, test := range []struct {
		path, body string
		want       []string
		bad        bool
	}{
		{path: "m.test/a", body: ""},
		{path: "m.test/a", body: " \r\n\n"},
		{path: "m.test/a", body: "v1.0.0", want: []string{"v1.0.0"}},
		{path: "m.test/a", body: "v1.0.0\r\nv0.1.0\r\n", want: []string{"v0.1.0", "v1.0.0"}},
		{path: "m.test/a", body: "v0.0.0-20200101000000-abcdefabcdef\n"}, // exists, lists nothing
		{path: "m.test/a", body: "v2.0.0\nv1.0.0+incompatible\nv3.0.0+incompatible\n", want: []string{"v3.0.0+incompatible"}},
		{path: "m.test/a/v2", body: "v2.0.0\nv1.0.0\nv2.0.0+incompatible\n", want: []string{"v2.0.0"}},
		{path: "gopkg.in/a.v2", body: "v2.0.0\nv1.0.0\n", want: []string{"v2.0.0"}},
		{path: "m.test/a", body: "v1.0.0+build\nv1.0\nv1.0.0\n", want: []string{"v1.0.0"}},
		{path: "m.test/a", body: "404 page not found\n", bad: true},
		{path: "m.test/a", body: "\ufeff<html>\nv1.0.0\n", bad: true},
		{path: "m.test/a", body: "v1.0.0\n\xff\n", bad: true},
	} {
		got, err := upstream.ParseVersions(test.path, []byte(test.body))
		if test.bad != (err != nil) || !slices.Equal(got, test.want) {
			t.Errorf("%s: %q: %q, %v; want %q, bad %v", test.path, test.body, got, err, test.want, test.bad)
		}
	}
}

func TestGoModThatTheGoCommandTakes(t *testing.T) {
	for body, ok := range map[string]bool{
		"module m.test/a\n":                         true,
		"module \"m.test/a\"\r\n\r\ngo 1.99\n":      true,
		"// old\nmodule m.test/A // x\nnewverb {\n": true,
		"":                                  true,
		"// nothing\n\n":                    true,
		"require (\n\tm.test/b v1.0.0\n)\n": true,
		"go 1.20\n":                         true,
		html:                                false,
		"not found\n":                       false,
		`{"module":"x"}`:                    false,
		"PK\x03\x04":                        false,
		"Error: module lookup disabled\nmodule-less go\n": false,
	} {
		if err := upstream.CheckGoMod([]byte(body)); ok != (err == nil) {
			t.Errorf("%q: %v, want ok %v", body, err, ok)
		}
	}
}

func FuzzParseVersions(f *testing.F) {
	f.Add("m.test/a", []byte("v1.0.0\nv1.1.0 2020-01-01T00:00:00Z\njunk\n"))
	f.Add("m.test/a/v2", []byte("v2.0.0\nv2.0.0-pre\n"))
	f.Add("m.test/a", []byte(html))
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		list, err := upstream.ParseVersions(path, body)
		if err != nil && list != nil {
			t.Fatalf("%q beside %v", list, err)
		}
		for i, v := range list {
			if module.Check(path, v) != nil || module.CanonicalVersion(v) != v || module.IsPseudoVersion(v) {
				t.Fatalf("%q is not for %s", v, path)
			}
			if i > 0 && (semver.Compare(list[i-1], v) > 0 || list[i-1] == v) {
				t.Fatalf("not sorted: %q", list)
			}
		}
	})
}

func FuzzParseInfo(f *testing.F) {
	f.Add("m.test/a", "", []byte(`{"Version":"v1.0.0","Time":"2020-01-01T00:00:00Z"}`))
	f.Add("m.test/a", "v1.0.0", []byte(`{"version":"v1.0.0","Origin":{}}`))
	f.Add("m.test/a", "", []byte("null"))
	f.Fuzz(func(t *testing.T, path, want string, body []byte) {
		info, err := upstream.ParseQueryInfo(path, want, body)
		if err != nil {
			return
		}
		if module.Check(path, info.Version) != nil || want != "" && info.Version != want || !json.Valid(info.Raw) {
			t.Fatalf("%q for %s gives %+v", body, path, info)
		}
	})
}
