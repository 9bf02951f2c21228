package events_test

import (
	"reflect"
	"strings"
	"testing"

	"registry-node/events"
)

func hook(name string) events.WebhookChanged {
	return events.WebhookChanged{Name: name, Webhook: events.Webhook{URL: "https://chat.test/hook", Secret: "chat"}}
}

// Properties are what the homes of the repository stated in their tenures, one
// change after the other.
func TestProperties(t *testing.T) {
	w := newWorld(t)
	id := w.repo(events.Local, "b")
	change := func(s, file string, remove []string, set ...events.Property) {
		w.say(s, events.PropertiesChanged{ModuleVersion: events.Of(id, v1), File: file, Set: set, Remove: remove})
	}
	change("b", events.ZipFile, nil, events.Property{Key: "build.name", Values: []string{"one"}}, events.Property{Key: "qa", Values: []string{"no"}})
	change("c", events.ZipFile, nil, events.Property{Key: "qa", Values: []string{"yes, says who has no say"}})
	change("b", events.ModFile, nil, events.Property{Key: "qa", Values: []string{"x", "y"}})
	w.say("b", events.HomeCeded{Repo: id, To: site("c")})
	change("b", events.ZipFile, nil, events.Property{Key: "late", Values: []string{"x"}})
	change("c", events.ZipFile, []string{"qa", "none"}, events.Property{Key: "build.name", Values: []string{"two"}})
	want := events.Properties{"zip": {"build.name": {"two"}}, "mod": {"qa": {"x", "y"}}}
	d := w.directory()
	if got := d.ResolveProperties(d.Repo(id), w.st[events.KeyProperties(id, v1)]); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Runs of a build come from all members; what is deleted is what had been recorded.
func TestBuilds(t *testing.T) {
	w := newWorld(t)
	blob := func(n byte) events.Blob { return content(n).Zip }
	record := func(s string, started int, n byte) events.EventID {
		return w.say(s, events.BuildRecorded{BuildName: build("7"), Started: at(started), Info: blob(n)})
	}
	is := func(want ...byte) {
		t.Helper()
		d := w.directory()
		got := d.ResolveBuilds(w.st[events.KeyBuild(build("7"))])
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i].Info != blob(want[i]) {
				t.Fatalf("runs %+v, want blobs %v", got, want)
			}
		}
	}
	record("b", 20, 1)
	record("c", 10, 2)
	record("x", 5, 3) // no member
	is(2, 1)
	last := record("c", 20, 4) // started when that of b did, and recorded later
	is(2, 4)
	w.say("b", events.BuildDeleted{BuildName: build("7"), Clears: []events.Cleared{{Site: site("c"), At: last.Mark}}}) // not its to say
	is(2, 4)
	w.say("a", events.BuildDeleted{BuildName: build("7"), Clears: []events.Cleared{{Site: site("c"), At: last.Mark}}})
	is(1)
	record("c", 10, 2)
	is(2, 1)
}

func TestWebhooks(t *testing.T) {
	w := newWorld(t)
	first := w.say("a", hook("chat"))
	w.say("b", hook("forged"))
	w.say("a", hook("ci"))
	changed := hook("chat")
	changed.Disabled = true
	w.say("a", changed)
	d := w.directory()
	if got, ok := d.Webhook("chat"); !ok || !got.Disabled || got.ID != first || !got.Changed.After(got.Created) || len(d.Webhooks()) != 2 {
		t.Errorf("%+v %t, all %+v", got, ok, d.Webhooks())
	}
	w.say("a", events.WebhookDeleted{Name: "chat"})
	again := w.say("a", hook("chat"))
	if got, _ := w.directory().Webhook("chat"); got.ID != again {
		t.Errorf("made again it is %v, want %v", got.ID, again)
	}
	w.say("a", events.WebhookDeleted{Name: "chat"})
	if got, ok := w.directory().Webhook("chat"); ok {
		t.Errorf("deleted: %+v", got)
	}
}

func TestWebhookTakes(t *testing.T) {
	local, none := repoName("team-a-go"), events.RepoName{}
	for _, tt := range []struct {
		name   string
		hook   events.Webhook
		typ    events.Type
		repo   events.RepoName
		module string
		want   bool
	}{
		{"all", events.Webhook{}, "version.published", local, "m.test/a", true},
		{"all about sites", events.Webhook{}, "site.joined", none, "", true},
		{"a type", events.Webhook{Types: []string{"site.*", "version.published"}}, "version.published", local, "m.test/a", true},
		{"another type", events.Webhook{Types: []string{"version.published"}}, "version.hidden", local, "m.test/a", false},
		{"a repository", events.Webhook{Repos: []string{"team-a-*"}}, "version.published", local, "m.test/a", true},
		{"another repository", events.Webhook{Repos: []string{"team-b-*"}}, "version.published", local, "m.test/a", false},
		{"no repository", events.Webhook{Repos: []string{"*"}}, "site.joined", none, "", false},
		{"a module", events.Webhook{Modules: []events.Pattern{pattern("m.test/**")}}, "version.published", local, "m.test/a", true},
		{"another module", events.Webhook{Modules: []events.Pattern{pattern("n.test/**")}}, "version.published", local, "m.test/a", false},
		{"no module", events.Webhook{Modules: []events.Pattern{pattern("**")}}, "repo.changed", local, "", false},
		{"hashes of secrets", events.Webhook{}, "token.issued", none, "", false},
		{"password hashes", events.Webhook{Types: []string{"user.*"}}, "user.created", none, "", false},
		{"hash of an invitation", events.Webhook{Types: []string{"site.*"}}, "site.invited", none, "", false},
		{"not about what webhooks tell of", events.Webhook{}, "feature.raised", none, "", false},
		{"unknown type", events.Webhook{}, "version.invented", local, "m.test/a", false},
	} {
		if got := tt.hook.Takes(tt.typ, tt.repo, tt.module); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}

func TestPublishingIsChecked(t *testing.T) {
	mv := events.Of(repoID("a/1/2/0"), v1)
	properties := func(set ...events.Property) events.PropertiesChanged {
		return events.PropertiesChanged{ModuleVersion: mv, File: events.ZipFile, Set: set}
	}
	webhook := func(change func(*events.WebhookChanged)) events.WebhookChanged {
		h := hook("chat")
		change(&h)
		return h
	}
	value := func(key string, values ...string) events.Property { return events.Property{Key: key, Values: values} }
	for name, tt := range map[string]struct {
		body events.Body
		want string
	}{
		"no file":            {events.PropertiesChanged{ModuleVersion: mv, File: "exe", Remove: []string{"a"}}, "none of"},
		"nothing":            {properties(), "no properties"},
		"space in a key":     {properties(value("a b", "x")), "printable ASCII"},
		"no key":             {properties(value("", "x")), "empty"},
		"no values":          {properties(value("a")), "0 values"},
		"twice":              {properties(value("a", "x"), value("a", "y")), "once"},
		"not sorted":         {properties(value("b", "x"), value("a", "y")), "sorted"},
		"long value":         {properties(value("a", strings.Repeat("x", 1025))), "longer"},
		"escape in a value":  {properties(value("a", "\x1b")), "control"},
		"too much":           {properties(value("a", slicesOf(64, strings.Repeat("x", 1000))...), value("b", slicesOf(2, strings.Repeat("x", 1000))...)), "more than"},
		"build without name": {events.BuildRecorded{BuildName: events.BuildName{Number: "1"}, Started: at(1), Info: content(1).Zip}, "name of a build"},
		"build of NUL":       {events.BuildRecorded{BuildName: events.BuildName{Name: "a\x00b", Number: "1"}, Started: at(1), Info: content(1).Zip}, "character"},
		"project":            {events.BuildRecorded{BuildName: events.BuildName{Project: "A B", Name: "a", Number: "1"}, Started: at(1), Info: content(1).Zip}, "project"},
		"build without time": {events.BuildRecorded{BuildName: build("7"), Info: content(1).Zip}, "started"},
		"build without info": {events.BuildRecorded{BuildName: build("7"), Started: at(1)}, "digest"},
		"deletes nothing":    {events.BuildDeleted{BuildName: build("7")}, "cleared"},
		"webhook over http":  {webhook(func(h *events.WebhookChanged) { h.URL = "http://chat.test/hook" }), "https"},
		"credentials":        {webhook(func(h *events.WebhookChanged) { h.URL = "https://me:secret@chat.test/hook" }), "no user"},
		"no host":            {webhook(func(h *events.WebhookChanged) { h.URL = "https:///hook" }), "needs a URL"},
		"no secret":          {webhook(func(h *events.WebhookChanged) { h.Secret = "" }), "secret"},
		"bad type":           {webhook(func(h *events.WebhookChanged) { h.Types = []string{"Version"} }), "event type"},
		"bad repository":     {webhook(func(h *events.WebhookChanged) { h.Repos = []string{"A"} }), "repository"},
	} {
		if _, err := events.EncodeBody(tt.body); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "me:secret") {
			t.Errorf("%s: error %v, want one with %q", name, err, tt.want)
		}
	}
	for _, b := range []events.Body{
		webhook(func(h *events.WebhookChanged) { h.URL, h.Insecure = "http://chat.test/hook", true }),
		webhook(func(h *events.WebhookChanged) { h.URL = "http://127.0.0.1:8/hook" }),
		events.BuildRecorded{BuildName: events.BuildName{Name: "org/app » main", Number: "7"}, Started: at(1), Info: content(1).Zip},
	} {
		if _, err := events.EncodeBody(b); err != nil {
			t.Errorf("%+v: %v", b, err)
		}
	}
}

func slicesOf(n int, s string) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = s
	}
	return list
}
