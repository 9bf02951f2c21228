package events_test

import (
	"encoding"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/dirhash"

	"registry-node/events"
)

// A text form has one text per value: what is taken is written the same again.
func TestTextForms(t *testing.T) {
	zeros := strings.Repeat("0", 64)
	name32 := strings.Repeat("a", 32)
	tests := map[string]struct {
		parse func(string) (encoding.TextMarshaler, error)
		good  []string
		bad   []string
	}{
		"site": {
			func(s string) (encoding.TextMarshaler, error) { return events.ParseSite(s) },
			[]string{"a", "0", "a-", "oslo-2", name32},
			[]string{"", "-a", "A", "a_b", "a.b", "å", "a b", name32 + "a", "a/b", "a\x00"},
		},
		"repository": {
			func(s string) (encoding.TextMarshaler, error) { return events.ParseRepoName(s) },
			[]string{"all", "team-1"},
			[]string{"", "-", "All", name32 + "a"},
		},
		"kind": {
			func(s string) (encoding.TextMarshaler, error) { return events.ParseRepoKind(s) },
			[]string{"local", "remote", "virtual"},
			[]string{"", "Local", "locals"},
		},
		"digest": {
			func(s string) (encoding.TextMarshaler, error) { return events.ParseDigest(s) },
			[]string{"sha256:" + strings.Repeat("0a", 32)},
			[]string{"", "sha256:", "sha256:" + strings.Repeat("0A", 32), "sha256:" + strings.Repeat("0g", 32), "sha256:" + zeros,
				strings.Repeat("0a", 32), "sha512:" + strings.Repeat("0a", 32), "sha256:" + strings.Repeat("0a", 33), "sha256:" + strings.Repeat("0a", 31) + "0"},
		},
		"h1": {
			func(s string) (encoding.TextMarshaler, error) { return events.ParseH1(s) },
			[]string{"h1:" + strings.Repeat("A", 42) + "E="},
			[]string{"", "h1:", "h1:" + strings.Repeat("A", 42) + "F=", "h1:" + strings.Repeat("A", 42) + "E", "h1:" + strings.Repeat("A", 43) + "=",
				"h2:" + strings.Repeat("A", 42) + "E=", "h1:\n" + strings.Repeat("A", 42) + "E=", "h1:" + strings.Repeat("A", 42) + "E=\n", "h1:" + strings.Repeat("_", 42) + "E="},
		},
		"event id": {
			func(s string) (encoding.TextMarshaler, error) { return events.ParseEventID(s) },
			[]string{"a/1/1/0", "oslo-2/4294967295/9007199254740991/4095"},
			[]string{"", "a", "a/1/1", "a/1/1/0/", "a/1/1/0/0", "/1/1/0", "A/1/1/0", "a/0/1/0", "a/1/0/0", "a/0/0/0", "a/01/1/0", "a/1/+1/0", "a/1/-1/0",
				"a/1/1/00", "a/1/1/4096", "a/4294967296/1/0", "a/1/9007199254740992/0", "a/1/1/0 ", "a/1/1/ 0", "a/1/1_0/0", "a//1/0"},
		},
		"mark": {
			func(s string) (encoding.TextMarshaler, error) {
				var m events.Mark
				err := m.UnmarshalText([]byte(s))
				return m, err
			},
			[]string{"0/0", "1/1", "4294967295/9007199254740991"},
			[]string{"", "/", "1", "1/", "/1", "1/1/", "1/1/1", "0/1", "1/0", "01/1", "1/01", "+1/1", "4294967296/1", "1/9007199254740992", "1/18446744073709551616"},
		},
		"pattern": {
			func(s string) (encoding.TextMarshaler, error) { return events.ParsePattern(s) },
			[]string{"corp.test", "**", "*", "a/**/b/**/c/**", "corp.test/*-x/?", strings.Repeat("a", 256)},
			[]string{"", "/", "a/", "/a", "a//b", "a/**b", "a**", "***", "**/**/**/**", "a b", "a\tb", "a[b]", `a\b`, "a{b}", "é", "a\x7f", "a,b", "!a", strings.Repeat("a", 257)},
		},
	}
	for what, tt := range tests {
		for _, s := range tt.good {
			v, err := tt.parse(s)
			if err != nil {
				t.Errorf("%s %q: %v", what, s, err)
				continue
			}
			if text, err := v.MarshalText(); err != nil || string(text) != s {
				t.Errorf("%s %q is written as %q, %v", what, s, text, err)
			}
		}
		for _, s := range tt.bad {
			if v, err := tt.parse(s); err == nil {
				t.Errorf("%s %q was taken, as %v", what, s, v)
			}
		}
	}
}

func TestBytesHaveOneForm(t *testing.T) {
	for text, want := range map[string]string{`""`: "", `"AA=="`: "\x00", `"+/8="`: "\xfb\xff"} {
		var b events.Bytes
		if err := json.Unmarshal([]byte(text), &b); err != nil || string(b) != want {
			t.Errorf("%s is %q, %v, want %q", text, b, err, want)
		}
	}
	for _, text := range []string{`"AA"`, `"AB=="`, `"AA==\n"`, `"A\r\nA=="`, `"-_8="`, `"AA== "`, `[0]`, `0`, `{}`} {
		var b events.Bytes
		if err := json.Unmarshal([]byte(text), &b); err == nil {
			t.Errorf("%s was taken, as %q", text, b)
		}
	}
}

func TestHashModIsTheOneOfGoSum(t *testing.T) {
	for _, mod := range []string{"module m.test/a\n", "", strings.Repeat("x", 1<<16)} {
		want, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(mod)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if got := events.HashMod([]byte(mod)).String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestPatternMatch(t *testing.T) {
	tests := []struct{ pattern, yes, no string }{
		{"corp.test", "corp.test corp.test/a corp.test/a/v2", "corp.tests corp.tes xcorp.test a/corp.test corp.test.evil/a"},
		{"corp.test/**", "corp.test corp.test/a corp.test/a/b", "corp.testing/a corp.tes"},
		{"corp.test/*", "corp.test/a corp.test/a/v2", "corp.test corp.testx/a"},
		{"corp.test/a", "corp.test/a corp.test/a/v2", "corp.test/ab corp.test/b/a corp.test"},
		{"*.corp.test/x", "git.corp.test/x a.b.corp.test/x/y", "corp.test/x git.corp.test/y"},
		{"corp.test/**/api", "corp.test/api corp.test/a/api corp.test/a/b/api/v3", "corp.test/apis corp.test/a/b"},
		{"**/internal", "internal a/internal/b a/b/internal", "a/internals a"},
		{"**", "a a/b", ""},
		{"a?c", "abc a-c/d", "ac abbc"},
		{"a/**/b/**/c", "a/b/c a/x/b/y/z/c/v2", "a/c/b a/b"},
		{"a/*/c", "a/b/c", "a/c a/b/b/c"},
	}
	for _, tt := range tests {
		p := pattern(tt.pattern)
		for _, path := range strings.Fields(tt.yes) {
			if !p.Match(path) {
				t.Errorf("%s does not match %s", p, path)
			}
		}
		for _, path := range strings.Fields(tt.no) {
			if p.Match(path) {
				t.Errorf("%s matches %s", p, path)
			}
		}
	}
	if (events.Pattern{}).Match("a") || events.MatchAny(nil, "a") {
		t.Error("no pattern matches something")
	}
}

// Keys sort by kind, repository, path and version, and a prefix finds the
// versions of one module alone, or all of a repository.
func TestKeys(t *testing.T) {
	one, ten := repoID("a/1/1/0"), repoID("a/1/10/0")
	keys := []events.Key{
		events.KeyVersion(one, modVersion("m.test/a", "v1.0.0")),
		events.KeyVersion(one, modVersion("m.test/a", "v1.1.0")),
		events.KeyVersion(one, modVersion("m.test/a-b", "v1.0.0")),
		events.KeyVersion(one, modVersion("m.test/a/v2", "v2.0.0")),
		events.KeyVersion(ten, modVersion("m.test/a", "v1.0.0")),
	}
	if !slices.IsSortedFunc(keys, func(a, b events.Key) int { return strings.Compare(a.Bytes(), b.Bytes()) }) {
		t.Error("keys are not in the order of what they name")
	}
	for _, tt := range []struct {
		prefix string
		want   []int
	}{
		{events.VersionsPrefix(one, "m.test/a"), []int{0, 1}},
		{events.VersionsPrefix(one, ""), []int{0, 1, 2, 3}},
		{events.VersionsPrefix(ten, ""), []int{4}},
		{events.KindPrefix(events.KindVersion), []int{0, 1, 2, 3, 4}},
		{events.KindPrefix(events.KindRepo), nil},
	} {
		var got []int
		for i, k := range keys {
			if strings.HasPrefix(k.Bytes(), tt.prefix) {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("prefix %q finds %v, want %v", tt.prefix, got, tt.want)
		}
	}
	id, mv, ok := keys[3].Version()
	if !ok || id != one || mv != modVersion("m.test/a/v2", "v2.0.0") {
		t.Errorf("Version() = %v, %v, %t", id, mv, ok)
	}
	if _, _, ok := events.KeyRepo(one).Version(); ok {
		t.Error("a repository's key names a version")
	}
}

// Each type contributes to one record, whose key is read back as it was.
func TestKeyOfEachType(t *testing.T) {
	want := map[events.Type]string{
		"repo.created": "r b/1/2/3", "repo.changed": "r a/1/2/0", "repo.deleted": "r a/1/2/0", "repo.restored": "r a/1/2/0",
		"version.published": "v a/1/2/0 m.test/a v1.0.0", "version.hidden": "v a/1/2/0 m.test/a v1.0.0",
		"version.filled": "v a/1/2/0 m.test/a v1.0.0", "version.settled": "v a/1/2/0 m.test/a v1.0.0",
		"version.seen": "m a/1/2/0 m.test/a", "version.blocked": "b m.test/a v1.0.0", "version.unblocked": "b m.test/a v1.0.0",
		"user.created": "u ci@corp.test", "user.changed": "u ci@corp.test", "user.deleted": "u ci@corp.test",
		"group.changed": "g devs", "group.deleted": "g devs", "permission.changed": "p devs-read", "permission.deleted": "p devs-read",
		"token.issued": "t t1", "token.revoked": "t t1", "site.invited": "s b", "site.joined": "s a", "site.changed": "s a",
		"site.key": "s b", "site.left": "s b", "feature.raised": "R", "home.ceded": "r a/1/2/0", "home.forced": "R",
		"log.continued": "s b", "version.purged": "v a/1/2/0 m.test/a v1.0.0", "version.dated": "m a/1/2/0 m.test/a",
		"issuer.changed": "i forge", "issuer.deleted": "i forge",
		"webhook.changed": "w chat", "webhook.deleted": "w chat", "properties.changed": "q a/1/2/0 m.test/a v1.0.0",
		"build.recorded": "j team-a my build 7", "build.deleted": "j team-a my build 7",
	}
	for _, b := range samples() {
		k := b.Key(must(events.ParseEventID("b/1/2/3")))
		if k.String() != want[b.Type()] {
			t.Errorf("%s contributes to %q, want %q", b.Type(), k, want[b.Type()])
		}
		if back, err := events.ParseKey(k.Bytes()); err != nil || back != k {
			t.Errorf("key %q is read back as %q, %v", k, back, err)
		}
		if events.InDirectory(k.Kind()) != slices.Contains([]byte("Rsrbgpiw"), k.Bytes()[0]) {
			t.Errorf("InDirectory(%c) = %t", k.Kind(), events.InDirectory(k.Kind()))
		}
	}
	for _, s := range []string{"", "v", "\x00", "vv\x00a", "x\x00a"} {
		if k, err := events.ParseKey(s); err == nil {
			t.Errorf("%q was taken as key %v", s, k)
		}
	}
}
