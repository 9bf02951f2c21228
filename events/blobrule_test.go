package events_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"registry-node/events"
)

func rule(s string) events.BlobRule { return must(events.ParseBlobRule(s)) }

func TestBlobRulesHaveOneText(t *testing.T) {
	for _, text := range []string{"eager", "lazy", "never", "oslo:eager", "oslo,turku:lazy", "corp.test/**=never", "oslo:corp.test/**,m.test=lazy"} {
		r, err := events.ParseBlobRule(text)
		if err != nil || r.String() != text {
			t.Errorf("%q is read as %+v, %v, and written as %q", text, r, err, r)
		}
	}
	want := events.BlobRule{Sites: []events.Site{site("a"), site("b")}, Modules: []events.Pattern{pattern("m.test"), pattern("*/x")}, Fetch: events.Never}
	if got := rule("a,b:m.test,*/x=never"); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, text := range []string{"", "Eager", "eager ", ":eager", "=eager", "a:", "m.test=", "a,:eager", ",a:eager", "A:eager", "m.test,=eager",
		"m.test=x=eager", "m:m.test:x=eager", "a:b:eager", "m.test=a:eager", "a=b=lazy", "a[=lazy"} {
		if r, err := events.ParseBlobRule(text); err == nil {
			t.Errorf("%q was taken, as %q", text, r)
		}
	}
}

func TestBlobPolicy(t *testing.T) {
	s := events.RepoSettings{Blobs: []events.BlobRule{
		rule("b:m.test/big=never"), rule("b,c:m.test=eager"), rule("n.test=never"), rule("x:lazy"),
	}}
	tests := []struct {
		site, path    string
		local, remote events.BlobPolicy
	}{
		{"b", "m.test/big/v2", events.Never, events.Never},
		{"c", "m.test/big/v2", events.Eager, events.Eager},
		{"a", "m.test/big/v2", events.Eager, events.Lazy},
		{"a", "n.test/a", events.Never, events.Never},
		{"x", "m.test/a", events.Lazy, events.Lazy},
		{"a", "other.test", events.Eager, events.Lazy},
	}
	for _, tt := range tests {
		if got := s.BlobPolicy(events.Local, site(tt.site), tt.path); got != tt.local {
			t.Errorf("local, %s at %s: %v, want %v", tt.path, tt.site, got, tt.local)
		}
		if got := s.BlobPolicy(events.Remote, site(tt.site), tt.path); got != tt.remote {
			t.Errorf("remote, %s at %s: %v, want %v", tt.path, tt.site, got, tt.remote)
		}
	}
}

func TestBlobRulesOfSettings(t *testing.T) {
	settings := map[events.RepoKind]events.RepoSettings{
		events.Local:   {},
		events.Remote:  {Upstream: "https://p.test", Sumdb: "off"},
		events.Virtual: {Members: []events.RepoName{repoName("one")}},
	}
	tests := map[string]struct {
		rules []events.BlobRule
		ok    bool
	}{
		"one":             {[]events.BlobRule{rule("a:m.test=never")}, true},
		"as many as go":   {slices.Repeat([]events.BlobRule{rule("lazy")}, 64), true},
		"too many":        {slices.Repeat([]events.BlobRule{rule("lazy")}, 65), false},
		"no policy":       {[]events.BlobRule{{}}, false},
		"no site":         {[]events.BlobRule{{Sites: []events.Site{{}}, Fetch: events.Lazy}}, false},
		"no pattern":      {[]events.BlobRule{{Modules: []events.Pattern{{}}, Fetch: events.Lazy}}, false},
		"pattern with :":  {[]events.BlobRule{{Modules: []events.Pattern{pattern("a:b")}, Fetch: events.Lazy}}, false},
		"pattern with =":  {[]events.BlobRule{{Modules: []events.Pattern{pattern("a=b")}, Fetch: events.Lazy}}, false},
		"too many sites":  {[]events.BlobRule{{Sites: slices.Repeat([]events.Site{site("a")}, 257), Fetch: events.Lazy}}, false},
		"no rules at all": {nil, true},
	}
	for name, tt := range tests {
		for kind, s := range settings {
			s.Blobs = tt.rules
			ok := tt.ok && (kind != events.Virtual || len(tt.rules) == 0)
			if err := s.Check(kind); (err == nil) != ok {
				t.Errorf("%s, %v: %v, want it to be accepted: %t", name, kind, err, ok)
			}
		}
	}
}

// Rules stand in logs as they stand in the golden file.
func TestGoldenBlobRules(t *testing.T) {
	want := events.RepoChanged{Repo: repoID("a/1/2/0"), Kind: events.Local, Settings: events.RepoSettings{
		Blobs: []events.BlobRule{rule("b,c:corp.test/**=eager"), rule("never")},
	}}
	data, err := events.EncodeBody(want)
	if err != nil {
		t.Fatal(err)
	}
	stored := golden(t, "repo.changed.blobs.json", data)
	if string(stored) != string(data) {
		t.Errorf("written now:\n%s\nin logs:\n%s", data, stored)
	}
	if got := decodeData(t, want.Type(), stored); !reflect.DeepEqual(got, want) {
		t.Errorf("decodes to\n%+v, want\n%+v", got, want)
	}
	for _, bad := range []string{`{"fetch":"soon"}`, `{"fetch":""}`, `{"fetch":"lazy","sites":["A"]}`, `{"fetch":"lazy","modules":["a//b"]}`} {
		var r events.BlobRule
		if err := json.Unmarshal([]byte(bad), &r); err == nil {
			t.Errorf("%s was taken, as %q", bad, r)
		}
	}
}
