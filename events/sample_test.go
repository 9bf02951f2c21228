package events_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"

	"golang.org/x/mod/module"

	. "registry-node/events"
)

// must returns v, or ends the test binary: for values that tests write down.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func site(s string) Site         { return must(ParseSite(s)) }
func repoName(s string) RepoName { return must(ParseRepoName(s)) }
func repoID(s string) RepoID     { return must(ParseRepoID(s)) }
func pattern(s string) Pattern   { return must(ParsePattern(s)) }
func mark(s string) (m Mark) {
	must(0, m.UnmarshalText([]byte(s)))
	return m
}

// signer returns the key that a test calls n: the same in every run.
func signer(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func public(n byte) PublicKey { return PublicKey(signer(n).Public().(ed25519.PublicKey)) }

// at returns a moment, n seconds after all tests' beginning of time.
func at(n int) time.Time { return time.Date(2026, 3, 1, 12, 0, n, 250e6, time.UTC) }

func modVersion(path, version string) module.Version {
	return module.Version{Path: path, Version: version}
}

// content returns the content that a test calls n.
func content(n byte) Content {
	mod := []byte("module m.test/a\n\ngo 1." + string('0'+n%10) + "\n")
	return Content{
		ModH1: HashMod(mod), Info: []byte(`{"Version":"v1.0.0"}`), Mod: mod,
		ZipH1: H1(DigestOf([]byte{'h', n})), Zip: Blob{Digest: DigestOf([]byte{'z', n}), Size: 1000 + int64(n)},
	}
}

// modOnly and zipOnly return the parts of a content.
func modOnly(c Content) Content {
	c.ZipH1, c.Zip = H1{}, Blob{}
	return c
}

func zipOnly(c Content) Content {
	c.Info, c.Mod = nil, nil
	return c
}

// samples holds one body of each event type, with every field that goes
// together set.
func samples() []Body {
	repo := repoID("a/1/2/0")
	mv := Of(repo, modVersion("m.test/a", "v1.0.0"))
	cut := content(3)
	cut.Mod, cut.ModBlob, cut.Sumdb = nil, Blob{Digest: DigestOf([]byte("mod")), Size: 70_000}, "sum.test"
	user := User{Service: true, Display: "Ann Ström", Password: "$2a$10$abc"}
	forced := HomeForced{Tenure: 1, At: mark("1/9"), To: site("c"), After: mark("2/4"), Reason: "fire", Actor: "ops"}
	forced.Signature = ed25519.Sign(signer(9), ForcedText(DigestOf(nil), forced))
	return []Body{
		RepoCreated{Name: repoName("local"), Kind: Local, Home: site("a"), Actor: "ann", Settings: RepoSettings{
			Description: "what we \"publish\"\n\u2028here", Owns: []Pattern{pattern("corp.test/**"), pattern("x.test/*/y")}}},
		RepoChanged{Repo: repo, Kind: Remote, Actor: "ann", Settings: RepoSettings{
			Upstream: "https://p.test,direct", Sumdb: "off", NoSumdb: []Pattern{pattern("corp.test")}}},
		RepoDeleted{Repo: repo, Reason: "unused", Actor: "ann"},
		RepoRestored{Repo: repo, Actor: "ann"},
		VersionPublished{ModuleVersion: mv, Content: content(1), Actor: "ann"},
		VersionHidden{ModuleVersion: mv, Reason: "leak", Actor: "ann"},
		VersionFilled{ModuleVersion: mv, Content: cut, Upstream: "https://p.test"},
		VersionSeen{Repo: repo, Module: "m.test/a", Versions: []string{"v1.0.0", "v1.1.0-rc.1", "v1.1.0"}},
		VersionBlocked{Module: "m.test/a", Version: "v1.0.0", Reason: "malware", Actor: "ann"},
		VersionUnblocked{Module: "m.test/a", Version: "v1.0.0", Clears: []Cleared{{Site: site("b"), At: mark("1/7")}}, Actor: "ann"},
		VersionSettled{ModuleVersion: mv, ModH1: cut.ModH1, ZipH1: cut.ZipH1, Reason: "upstream moved the tag", Actor: "ann"},
		UserCreated{Name: "ci@corp.test", User: user, Actor: "ann"},
		UserChanged{Name: "ci@corp.test", User: User{Disabled: true}, Actor: "ann"},
		UserDeleted{Name: "ci@corp.test", Actor: "ann"},
		GroupChanged{Name: "devs", Members: []string{"ann", "bob"}, Actor: "ann"},
		GroupDeleted{Name: "devs", Actor: "ann"},
		PermissionChanged{Name: "devs-read", Actor: "ann", Grant: Grant{
			Principals: []string{"group:devs", "user:ci@corp.test", "anonymous"}, Repos: []string{"local", "team-*"},
			Include: []Pattern{pattern("corp.test/**")}, Exclude: []Pattern{pattern("corp.test/secret")}, Actions: []string{"read", "publish"}}},
		PermissionDeleted{Name: "devs-read", Actor: "ann"},
		TokenIssued{ID: "t1", User: "ann", Hash: DigestOf([]byte("secret")), Repos: []string{"local"}, Actions: []string{"read"},
			Expires: at(9), Description: "laptop", Actor: "ann"},
		TokenRevoked{ID: "t1", Reason: "lost", Actor: "ann"},
		SiteInvited{Name: site("b"), Secret: DigestOf([]byte("once")), Expires: at(60), Actor: "ann"},
		SiteJoined{Name: site("a"), PublicKey: public(1), Addresses: []string{"a.test:7422"}, Certificate: DigestOf([]byte("cert")),
			Genesis: Genesis{Nonce: bytes.Repeat([]byte{5}, 32), Recovery: public(9)}},
		SiteChanged{Name: site("a"), Addresses: []string{"[2001:db8::1]:7422"}, Certificate: DigestOf([]byte("cert 2"))},
		SiteKey{Name: site("b"), PublicKey: public(2), After: mark("1/30")},
		SiteLeft{Name: site("b"), CutOff: mark("1/31"), Hash: DigestOf([]byte("entry")), Reason: "closed", Actor: "ann"},
		FeatureRaised{Level: 2},
		HomeCeded{Repo: repo, Tenure: 0, To: site("b"), After: mark("1/3"), Actor: "ann"},
		forced,
	}
}

// sealed returns the entry with these bodies at a mark of site a's log.
func sealed(t testing.TB, m string, bodies ...Body) Entry {
	t.Helper()
	e, err := Draft{Registry: DigestOf(nil), Site: site("a"), Mark: mark(m), Time: at(0), Prev: DigestOf([]byte("prev")), Bodies: bodies}.Seal(signer(1))
	if err != nil {
		t.Fatal(err)
	}
	return e
}
