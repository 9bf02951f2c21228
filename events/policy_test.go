package events_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"registry-node/events"
)

func spanOf(s string) events.Span { return must(events.ParseSpan(s)) }
func glob(s string) events.Glob   { return must(events.ParseGlob(s)) }

func versionPattern(s string) events.VersionPattern { return must(events.ParseVersionPattern(s)) }

func TestSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1s": time.Second, "90s": 90 * time.Second, "5m": 5 * time.Minute, "1h30m": 90 * time.Minute, "7d": 7 * 24 * time.Hour,
		"1d12h": 36 * time.Hour, "48h": 48 * time.Hour, "3650d": 3650 * 24 * time.Hour, "": 7 * time.Second,
	} {
		s, err := events.ParseSpan(text)
		if err != nil || s.Or(7*time.Second) != want {
			t.Errorf("%q is %v, %v, want %v", text, s.Or(0), err, want)
		}
		if again := spanOf(s.String()); again != s {
			t.Errorf("%q is written %q, which is %v", text, s, again.Or(0))
		}
	}
	for _, text := range []string{"0", "0s", "-1s", "+1s", "1", "d", "1.5s", "500ms", "3651d", "1w", "1d-1h", "1d+1h", "99999d", " 1s"} {
		if s, err := events.ParseSpan(text); err == nil {
			t.Errorf("%q was taken as %v", text, s)
		}
	}
}

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		glob, url string
		want      bool
	}{
		{"**", "https://github.com/a/b", true},
		{"github.com/**", "https://github.com/a/b", true},
		{"github.com/**", "https://GitHub.com/a/b", true},
		{"github.com/**", "https://github.com", true},
		{"github.com/**", "https://github.com.evil.test/a", false},
		{"github.com/corp/**", "https://github.com/corporate/x", false},
		{"github.com/corp/*", "https://github.com/corp/x", true},
		{"github.com/corp/*", "https://github.com/corp/x/y", false},
		{"github.com/corp", "https://github.com/corp/x", false},
		{"https://git.test/**", "http://git.test/x", false},
		{"https://git.test/**", "https://git.test/x", true},
		{"*.git.test/**/mod?", "https://eu.git.test/a/b/mod1", true},
		{"*.git.test/**/mod?", "https://eu.git.test/a/b/mod12", false},
		{"git.test:8443/**", "https://git.test:8443/x", true},
		{"git.test/**", "https://git.test:8443/x", false},
		{"**/corp/**", "https://github.com/x/corp", true},
	} {
		if got := glob(tt.glob).Match(tt.url); got != tt.want {
			t.Errorf("%s, %s: %v", tt.glob, tt.url, got)
		}
	}
	if (events.Glob{}).Match("https://github.com/a") {
		t.Error("no glob matches")
	}
	for _, text := range []string{"", "/x", "a//b", "h*://x", "a/**b", strings.Repeat("**/", 4) + "x", "a b"} {
		if g, err := events.ParseGlob(text); err == nil {
			t.Errorf("%q was taken as %v", text, g)
		}
	}
}

func TestVersionPattern(t *testing.T) {
	for _, tt := range []struct {
		pattern, path, version string
		want                   bool
	}{
		{"m.test/a", "m.test/a", "v1.0.0", true},
		{"m.test/a", "m.test/a/v2", "v2.0.0", false},
		{"m.test/a/**", "m.test/a/v2", "v2.0.0", true},
		{"m.test/a@v1.0.0", "m.test/a", "v1.0.0", true},
		{"m.test/a@v1.0.0", "m.test/a", "v1.0.1", false},
		{"m.test/a@v1.*", "m.test/a", "v1.9.0-rc.1", true},
		{"m.test/a@v1.*", "m.test/a", "v0.1.0", false},
		{"**@v1.2.3", "n.test", "v1.2.3", true},
		{"*.test@v?.0.0", "n.test", "v9.0.0", true},
	} {
		if got := versionPattern(tt.pattern).Match(modVersion(tt.path, tt.version)); got != tt.want {
			t.Errorf("%s, %s@%s: %v", tt.pattern, tt.path, tt.version, got)
		}
		if p := versionPattern(tt.pattern); p.String() != tt.pattern {
			t.Errorf("%s is written %s", tt.pattern, p)
		}
	}
	for _, text := range []string{"", "@v1.0.0", "m.test/a@", "m.test/a@v1", "m.test/a@v2.0.0", "m.test//a", "M .test", "**@1.0.0", "**@v1", "m.test/a@x*", "m.test/a@v1.*\x00", "m.test/a@v****"} {
		if p, err := events.ParseVersionPattern(text); err == nil {
			t.Errorf("%q was taken as %v", text, p)
		}
	}
}

// Settings that say nothing, or contradict each other, are refused.
func TestPolicyIsChecked(t *testing.T) {
	remote := func(change func(*events.RepoSettings)) events.RepoSettings {
		s := events.RepoSettings{Upstream: "https://p.test", Sumdb: "off"}
		change(&s)
		return s
	}
	virtual := func(rules ...events.MemberRule) events.RepoSettings {
		return events.RepoSettings{Members: []events.RepoName{repoName("a"), repoName("b")}, MemberRules: rules}
	}
	secret := events.SecretRef{Host: "git.test", Name: repoName("bot")}
	for name, tt := range map[string]struct {
		kind events.RepoKind
		s    events.RepoSettings
		want string // in the error; empty: fine
	}{
		"all of it": {events.Remote, remote(func(s *events.RepoSettings) {
			s.Upstream = events.UpstreamVCS
			s.RemotePolicy = events.RemotePolicy{
				Include: []events.Pattern{pattern("corp.test")}, ListTTL: spanOf("1h"), MinAge: spanOf("7d"), NoMinAge: []events.VersionPattern{versionPattern("m.test/a@v1.0.0")},
				TimeSites: []events.Site{site("a")}, AllowTargets: []events.Glob{glob("**")}, AllowInside: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
				PlainHosts: []string{"old.test:8080"}, Proxy: "http://proxy.test:3128", Secrets: []events.SecretRef{secret}, Timeout: spanOf("1h"),
			}
		}), ""},
		"targets without VCS": {events.Remote, remote(func(s *events.RepoSettings) { s.AllowTargets = []events.Glob{glob("**")} }), "allowed targets"},
		"exempt from nothing": {events.Remote, remote(func(s *events.RepoSettings) { s.NoMinAge = []events.VersionPattern{versionPattern("**")} }), "without a minimum age"},
		"time of nothing":     {events.Remote, remote(func(s *events.RepoSettings) { s.TimeSites = []events.Site{site("a")} }), "without a minimum age"},
		"rules about nothing": {events.Remote, remote(func(s *events.RepoSettings) { s.KeepNothing, s.Blobs = true, []events.BlobRule{rule("eager")} }), "keeps none"},
		"long wait":           {events.Remote, remote(func(s *events.RepoSettings) { s.OfflineFor = spanOf("2h") }), "at most"},
		"host bits":           {events.Remote, remote(func(s *events.RepoSettings) { s.AllowInside = []netip.Prefix{netip.MustParsePrefix("10.1.2.3/8")} }), "no bits behind"},
		"secret twice":        {events.Remote, remote(func(s *events.RepoSettings) { s.Secrets = []events.SecretRef{secret, secret} }), "two secrets"},
		"secret of a URL": {events.Remote, remote(func(s *events.RepoSettings) {
			s.Secrets = []events.SecretRef{{Host: "https://git.test", Name: repoName("x")}}
		}), "not a host"},
		"proxy with password":  {events.Remote, remote(func(s *events.RepoSettings) { s.Proxy = "http://me:hunter2@proxy.test" }), "holds credentials"},
		"proxy of no kind":     {events.Remote, remote(func(s *events.RepoSettings) { s.Proxy = "ftp://proxy.test" }), "scheme"},
		"proxy that is none":   {events.Remote, remote(func(s *events.RepoSettings) { s.Proxy = "none" }), ""},
		"policy of a local":    {events.Local, events.RepoSettings{RemotePolicy: events.RemotePolicy{Offline: true}}, "a local repository has none"},
		"policy of a virtual":  {events.Virtual, func() events.RepoSettings { s := virtual(); s.MinAge = spanOf("1d"); return s }(), "a virtual repository has none"},
		"rule about a member":  {events.Virtual, virtual(events.MemberRule{Member: repoName("a"), Exclude: []events.Pattern{pattern("x")}}), ""},
		"rule about another":   {events.Virtual, virtual(events.MemberRule{Member: repoName("c"), Exclude: []events.Pattern{pattern("x")}}), "not a member"},
		"rule about no paths":  {events.Virtual, virtual(events.MemberRule{Member: repoName("a")}), "no patterns"},
		"members' rule, local": {events.Local, events.RepoSettings{MemberRules: []events.MemberRule{{Member: repoName("a"), Exclude: []events.Pattern{pattern("x")}}}}, "only a virtual"},
	} {
		err := tt.s.Check(tt.kind)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the password: %v", name, err)
		}
	}
}

func TestAsks(t *testing.T) {
	s := events.RepoSettings{MemberRules: []events.MemberRule{{Member: repoName("a"), Include: []events.Pattern{pattern("corp.test/**")}, Exclude: []events.Pattern{pattern("corp.test/x")}}}}
	for path, want := range map[string]bool{"corp.test/y": true, "corp.test/x/v2": false, "m.test": false} {
		if got := s.Asks(repoName("a"), path); got != want {
			t.Errorf("a, %s: %v", path, got)
		}
		if !s.Asks(repoName("b"), path) {
			t.Errorf("b, %s: not asked", path)
		}
	}
}

// A block with wildcards holds what it matches, and no block of something else
// clears it.
func TestWideBlocks(t *testing.T) {
	w := newWorld(t)
	w.say("b", events.VersionBlocked{Module: "evil.test/**", Version: "v1.*", Reason: "malware"})
	for mv, want := range map[[2]string]bool{
		{"evil.test/a/v2", "v2.0.0"}: false, {"evil.test/a", "v1.4.0"}: true, {"evil.test/a", "v0.1.0"}: false, {"m.test/a", "v1.0.0"}: false,
	} {
		if b, got := w.directory().Blocked(modVersion(mv[0], mv[1])); got != want || got && b.Module != "evil.test/**" {
			t.Errorf("%v: %+v, %v", mv, b, got)
		}
	}
	w.say("a", events.VersionUnblocked{Module: "evil.test/**", Version: "v1.*", Clears: []events.Cleared{{Site: site("b"), At: w.ends["b"]}}})
	if b, blocked := w.directory().Blocked(modVersion("evil.test/a", "v1.4.0")); blocked {
		t.Errorf("still blocked: %+v", b)
	}
}

// What was purged stays so, whatever comes later; what it was is still known.
func TestPurged(t *testing.T) {
	w := newWorld(t)
	id := w.repo(events.Remote, "a")
	w.fill("b", id, content(1))
	w.say("b", events.VersionPurged{ModuleVersion: events.Of(id, v1), Reason: "not its to say"})
	w.is(id, events.Held, 1)
	w.say("a", events.VersionPurged{ModuleVersion: events.Of(id, v1), Reason: "a key in it"})
	w.fill("c", id, content(1))
	w.is(id, events.Purged, 1)
	if v := w.version(id); v.Purged == nil || v.Purged.Reason != "a key in it" || v.PurgedAt.IsZero() || v.Contents[0].ZipH1 != content(1).ZipH1 {
		t.Errorf("purged %+v", v)
	}
}

// Times that the registry's home states count beside those at which sites saw a
// version; times of sites that the repository does not trust don't.
func TestDated(t *testing.T) {
	w := newWorld(t)
	id := w.repo(events.Remote, "a")
	early := at(-5000)
	w.say("b", events.VersionSeen{Repo: id, Module: v1.Path, Versions: []string{"v1.0.0", "v1.1.0"}})
	seenAt := at(w.seconds)
	w.say("c", events.VersionDated{Repo: id, Module: v1.Path, Versions: []string{"v1.0.0"}, Times: []time.Time{at(-9000)}})
	w.say("a", events.VersionDated{Repo: id, Module: v1.Path, Versions: []string{"v1.0.0"}, Times: []time.Time{early}})
	r := *w.directory().Repo(id)
	seen := w.directory().ResolveSeen(&r, w.st[events.KeyModule(id, v1.Path)])
	if !seen["v1.0.0"].Equal(early) || !seen["v1.1.0"].Equal(seenAt) {
		t.Errorf("seen %v, want %v and %v", seen, early, seenAt)
	}
	r.Settings.TimeSites = []events.Site{site("c")}
	seen = w.directory().ResolveSeen(&r, w.st[events.KeyModule(id, v1.Path)])
	if _, counts := seen["v1.1.0"]; counts || !seen["v1.0.0"].Equal(early) {
		t.Errorf("seen %v although only c's time counts", seen)
	}
}
