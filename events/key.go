package events

import (
	"fmt"
	"strings"

	"golang.org/x/mod/module"
)

// Kind says what a record is about. It is the first byte of the record's Key.
type Kind byte

// The kinds of record.
const (
	KindRegistry   Kind = 'R' // the registry: its homes, its level of event types
	KindSite       Kind = 's' // a member, by name
	KindRepo       Kind = 'r' // a repository and its homes, by id
	KindVersion    Kind = 'v' // a module version in a repository
	KindModule     Kind = 'm' // the versions of a module seen upstream by a repository
	KindBlock      Kind = 'b' // the block of a module version, or of all of a module
	KindUser       Kind = 'u' // by name
	KindGroup      Kind = 'g' // by name
	KindPermission Kind = 'p' // by name
	KindToken      Kind = 't' // by id
	KindIssuer     Kind = 'i' // by name
	KindWebhook    Kind = 'w' // by name
	KindProperties Kind = 'q' // the properties of the files of a module version
	KindBuild      Kind = 'j' // the runs of a build, by project, name and number
)

// Key names a record. It is comparable; its bytes are the kind and the parts
// that name the record, with NUL between them, so that keys sort by kind,
// repository, module path, version, and a prefix finds all versions of a module.
// No part holds a NUL.
type Key struct{ s string }

const keySep = "\x00"

func newKey(k Kind, parts ...string) Key {
	return Key{string(rune(k)) + keySep + strings.Join(parts, keySep)}
}

// KeyRegistry is the key of the one record about the registry itself.
func KeyRegistry() Key { return newKey(KindRegistry) }

// KeySite is the key of the record about a member.
func KeySite(s Site) Key { return newKey(KindSite, s.String()) }

// KeyRepo is the key of the record about a repository.
func KeyRepo(id RepoID) Key { return newKey(KindRepo, id.String()) }

// KeyVersion is the key of the record about a module version in a repository.
func KeyVersion(id RepoID, mv module.Version) Key {
	return newKey(KindVersion, id.String(), mv.Path, mv.Version)
}

// KeyModule is the key of the record about the versions of a module that
// upstreams of a repository have shown.
func KeyModule(id RepoID, path string) Key { return newKey(KindModule, id.String(), path) }

// KeyBlock is the key of the record about the block of a module version, in
// whichever repository. With an empty version it is about the whole module.
func KeyBlock(mv module.Version) Key { return newKey(KindBlock, mv.Path, mv.Version) }

// KeyUser is the key of the record about a user.
func KeyUser(name string) Key { return newKey(KindUser, name) }

// KeyGroup is the key of the record about a group.
func KeyGroup(name string) Key { return newKey(KindGroup, name) }

// KeyPermission is the key of the record about a rule.
func KeyPermission(name string) Key { return newKey(KindPermission, name) }

// KeyToken is the key of the record about a token.
func KeyToken(id string) Key { return newKey(KindToken, id) }

// KeyIssuer is the key of the record about an issuer.
func KeyIssuer(name string) Key { return newKey(KindIssuer, name) }

// KeyWebhook is the key of the record about a webhook.
func KeyWebhook(name string) Key { return newKey(KindWebhook, name) }

// KeyProperties is the key of the record about the properties of the files of a
// module version in a repository.
func KeyProperties(id RepoID, mv module.Version) Key {
	return newKey(KindProperties, id.String(), mv.Path, mv.Version)
}

// KeyBuild is the key of the record about the runs of a build.
func KeyBuild(n BuildName) Key { return newKey(KindBuild, n.Project, n.Name, n.Number) }

// BuildsPrefix is what the keys of all runs of a build start with; with an empty
// name, those of all builds of the project.
func BuildsPrefix(project, name string) string {
	p := newKey(KindBuild, project, name).s
	if name != "" {
		p += keySep
	}
	return p
}

// VersionsPrefix is what the keys of all versions of a module in a repository
// start with; with an empty path, those of all modules in the repository.
func VersionsPrefix(id RepoID, path string) string {
	p := newKey(KindVersion, id.String(), path).s
	if path != "" {
		p += keySep
	}
	return p
}

// KindPrefix is what the keys of all records of a kind start with.
func KindPrefix(k Kind) string { return string(rune(k)) + keySep }

// ParseKey is the inverse of Key.Bytes.
func ParseKey(b string) (Key, error) {
	kind, _, ok := strings.Cut(b, keySep)
	if !ok || len(kind) != 1 || !strings.Contains("Rsrvmbugptiwqj", kind) {
		return Key{}, fmt.Errorf("record key %q is of no known kind", b)
	}
	return Key{b}, nil
}

// Bytes returns the stored form of k, see Key.
func (k Key) Bytes() string { return k.s }

// Kind returns what the record is about.
func (k Key) Kind() Kind { return Kind(k.s[0]) }

// Version returns the repository and the module version that a key of
// KindVersion names. ok is false for another kind.
func (k Key) Version() (id RepoID, mv module.Version, ok bool) {
	parts := strings.Split(k.s, keySep)
	if k.Kind() != KindVersion || len(parts) != 4 {
		return RepoID{}, module.Version{}, false
	}
	id, err := ParseRepoID(parts[1])
	return id, module.Version{Path: parts[2], Version: parts[3]}, err == nil
}

// Build returns the build that a key of KindBuild names. ok is false for another
// kind.
func (k Key) Build() (name BuildName, ok bool) {
	parts := strings.Split(k.s, keySep)
	if k.Kind() != KindBuild || len(parts) != 4 {
		return BuildName{}, false
	}
	return BuildName{Project: parts[1], Name: parts[2], Number: parts[3]}, true
}

// String shows the key to people: its parts with spaces between them.
func (k Key) String() string { return strings.TrimSpace(strings.ReplaceAll(k.s, keySep, " ")) }
