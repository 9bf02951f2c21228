package events_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
)

// must returns v, or ends the test binary: for values that tests write down.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func site(s string) events.Site          { return must(events.ParseSite(s)) }
func repoName(s string) events.RepoName  { return must(events.ParseRepoName(s)) }
func repoID(s string) events.RepoID      { return must(events.ParseRepoID(s)) }
func pattern(s string) events.Pattern    { return must(events.ParsePattern(s)) }
func claim(s string) events.ClaimPattern { return must(events.ParseClaimPattern(s)) }
func mark(s string) (m events.Mark) {
	must(0, m.UnmarshalText([]byte(s)))
	return m
}

// signer returns the key that a test calls n: the same in every run.
func signer(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func public(n byte) events.PublicKey { return events.PublicKey(signer(n).Public().(ed25519.PublicKey)) }

// at returns a moment, n seconds after all tests' beginning of time.
func at(n int) time.Time { return time.Date(2026, 3, 1, 12, 0, n, 250e6, time.UTC) }

func modVersion(path, version string) module.Version {
	return module.Version{Path: path, Version: version}
}

// content returns the content that a test calls n.
func content(n byte) events.Content {
	mod := []byte("module m.test/a\n\ngo 1." + string('0'+n%10) + "\n")
	return events.Content{
		ModH1: events.HashMod(mod), Info: []byte(`{"Version":"v1.0.0"}`), Mod: mod,
		ZipH1: events.H1(events.DigestOf([]byte{'h', n})), Zip: events.Blob{Digest: events.DigestOf([]byte{'z', n}), Size: 1000 + int64(n)},
	}
}

// modOnly and zipOnly return the parts of a content.
func modOnly(c events.Content) events.Content {
	c.ZipH1, c.Zip = events.H1{}, events.Blob{}
	return c
}

func zipOnly(c events.Content) events.Content {
	c.Info, c.Mod = nil, nil
	return c
}

func build(number string) events.BuildName {
	return events.BuildName{Project: "team-a", Name: "my build", Number: number}
}

// samples holds one body of each event type, with every field that goes
// together set.
func samples() []events.Body {
	repo := repoID("a/1/2/0")
	mv := events.Of(repo, modVersion("m.test/a", "v1.0.0"))
	cut := content(3)
	cut.Mod, cut.ModBlob, cut.Sumdb = nil, events.Blob{Digest: events.DigestOf([]byte("mod")), Size: 70_000}, "sum.test"
	user := events.User{Service: true, Display: "Ann Ström", Password: "$2a$10$abc"}
	forced := events.HomeForced{Tenure: 1, At: mark("1/9"), To: site("c"), After: mark("2/4"), Reason: "fire", Actor: "ops"}
	forced.Signature = ed25519.Sign(signer(9), events.ForcedText(events.DigestOf(nil), forced))
	return []events.Body{
		events.RepoCreated{Name: repoName("local"), Kind: events.Local, Home: site("a"), Actor: "ann", Settings: events.RepoSettings{
			Description: "what we \"publish\"\n\u2028here", Owns: []events.Pattern{pattern("corp.test/**"), pattern("x.test/*/y")}}},
		events.RepoChanged{Repo: repo, Kind: events.Remote, Actor: "ann", Settings: events.RepoSettings{
			Upstream: "https://p.test,direct", Sumdb: "off", NoSumdb: []events.Pattern{pattern("corp.test")}}},
		events.RepoDeleted{Repo: repo, Reason: "unused", Actor: "ann"},
		events.RepoRestored{Repo: repo, Actor: "ann"},
		events.VersionPublished{ModuleVersion: mv, Content: content(1), Actor: "ann"},
		events.VersionHidden{ModuleVersion: mv, Reason: "leak", Actor: "ann"},
		events.VersionFilled{ModuleVersion: mv, Content: cut, Upstream: "https://p.test"},
		events.VersionSeen{Repo: repo, Module: "m.test/a", Versions: []string{"v1.0.0", "v1.1.0-rc.1", "v1.1.0"}},
		events.VersionBlocked{Module: "m.test/a", Version: "v1.0.0", Reason: "malware", Actor: "ann"},
		events.VersionUnblocked{Module: "m.test/a", Version: "v1.0.0", Clears: []events.Cleared{{Site: site("b"), At: mark("1/7")}}, Actor: "ann"},
		events.VersionSettled{ModuleVersion: mv, ModH1: cut.ModH1, ZipH1: cut.ZipH1, Reason: "upstream moved the tag", Actor: "ann"},
		events.UserCreated{Name: "ci@corp.test", User: user, Actor: "ann"},
		events.UserChanged{Name: "ci@corp.test", User: events.User{Disabled: true}, Actor: "ann"},
		events.UserDeleted{Name: "ci@corp.test", Actor: "ann"},
		events.GroupChanged{Name: "devs", Members: []string{"ann", "bob"}, Actor: "ann"},
		events.GroupDeleted{Name: "devs", Actor: "ann"},
		events.PermissionChanged{Name: "devs-read", Actor: "ann", Grant: events.Grant{
			Principals: []string{"group:devs", "user:ci@corp.test", "anonymous"}, Repos: []string{"local", "team-*"},
			Include: []events.Pattern{pattern("corp.test/**")}, Exclude: []events.Pattern{pattern("corp.test/secret")}, Actions: []string{"read", "publish"}}},
		events.PermissionDeleted{Name: "devs-read", Actor: "ann"},
		events.TokenIssued{ID: "t1", User: "ann", Hash: events.DigestOf([]byte("secret")), Repos: []string{"local"}, Actions: []string{"read"},
			Expires: at(9), Description: "laptop", Actor: "ann"},
		events.TokenRevoked{ID: "t1", Reason: "lost", Actor: "ann"},
		events.SiteInvited{Name: site("b"), Secret: events.DigestOf([]byte("once")), Expires: at(60), Actor: "ann"},
		events.SiteJoined{Name: site("a"), PublicKey: public(1), Addresses: []string{"a.test:7422"}, Certificate: events.DigestOf([]byte("cert")),
			Genesis: events.Genesis{Nonce: bytes.Repeat([]byte{5}, 32), Recovery: public(9)}},
		events.SiteChanged{Name: site("a"), Addresses: []string{"[2001:db8::1]:7422"}, Certificate: events.DigestOf([]byte("cert 2"))},
		events.SiteKey{Name: site("b"), PublicKey: public(2), After: mark("1/30")},
		events.SiteLeft{Name: site("b"), CutOff: mark("1/31"), Hash: events.DigestOf([]byte("entry")), Reason: "closed", Actor: "ann"},
		events.FeatureRaised{Level: 2},
		events.HomeCeded{Repo: repo, Tenure: 0, To: site("b"), After: mark("1/3"), Actor: "ann"},
		forced,
		events.LogContinued{Site: site("b"), Base: mark("1/30"), Actor: "ann"},
		events.VersionPurged{ModuleVersion: mv, Reason: "a key in it", Actor: "ann"},
		events.VersionDated{Repo: repo, Module: "m.test/a", Versions: []string{"v1.0.0", "v1.1.0"}, Times: []time.Time{at(-900), at(-9)}, Actor: "ann"},
		events.IssuerChanged{Name: "forge", Actor: "ann", Issuer: events.Issuer{
			URL: "https://forge.test/oidc", Purpose: events.Exchange, Audience: "https://registry.test",
			Claims: []events.Claim{{Name: "repository", Pattern: claim("corp/*")}, {Name: "ref", Pattern: claim("refs/heads/main")}},
			User:   "ci@corp.test", Repos: []string{"local"}, Actions: []string{"read", "publish"}, Modules: []events.Pattern{pattern("corp.test/**")},
			TTL: events.SpanOf(10 * time.Minute)}},
		events.IssuerDeleted{Name: "forge", Actor: "ann"},
		events.WebhookChanged{Name: "chat", Actor: "ann", Webhook: events.Webhook{
			URL: "https://chat.test/hook?room=7", Types: []string{"version.published", "site.*"}, Repos: []string{"local", "team-*"},
			Modules: []events.Pattern{pattern("corp.test/**")}, Via: site("b"), Secret: "chat", Disabled: true}},
		events.WebhookDeleted{Name: "chat", Actor: "ann"},
		events.PropertiesChanged{ModuleVersion: mv, File: events.ZipFile, Remove: []string{"qa"}, Actor: "ann",
			Set: []events.Property{{Key: "build.name", Values: []string{"my build", "β"}}, {Key: "vcs.url", Values: []string{"https://git.test/a"}}}},
		events.BuildRecorded{BuildName: build("7"), Started: at(3), Info: events.Blob{Digest: events.DigestOf([]byte("info")), Size: 4}, Actor: "ann"},
		events.BuildDeleted{BuildName: build("7"), Clears: []events.Cleared{{Site: site("b"), At: mark("1/7")}}, Actor: "ann"},
	}
}

// sealed returns the entry with these bodies at a mark of site a's log.
func sealed(t testing.TB, m string, bodies ...events.Body) events.Entry {
	t.Helper()
	e, err := events.Draft{Registry: events.DigestOf(nil), Site: site("a"), Mark: mark(m), Time: at(0), Prev: events.DigestOf([]byte("prev")), Bodies: bodies}.Seal(signer(1))
	if err != nil {
		t.Fatal(err)
	}
	return e
}
