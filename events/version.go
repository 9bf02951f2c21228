package events

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

const (
	// MaxInline is the largest go.mod or info, in bytes, that an event carries
	// itself. A larger go.mod is a blob.
	MaxInline = 64 << 10
	// MaxSeen is how many versions one VersionSeen may name.
	MaxSeen = 2048

	// maxPublished and maxFilled bound how often one log may publish or fill one
	// version. An honest log publishes it once, or once more after each time its
	// site became home anew, and fills it in one part or two.
	maxPublished = 16
	maxFilled    = 16
)

// ModuleVersion is the repository, module path and version that an event is
// about.
type ModuleVersion struct {
	Repo    RepoID `json:"repo"`
	Module  string `json:"module"`
	Version string `json:"version"`
}

// Of returns mv in repository id as events name it.
func Of(id RepoID, mv module.Version) ModuleVersion { return ModuleVersion{id, mv.Path, mv.Version} }

// Key returns the record of the module version.
func (v ModuleVersion) Key(EventID) Key { return KeyVersion(v.Repo, v.ModVersion()) }

// readPart is a fieldReader's readField for its embedded part. It must not have
// that name: every body that embeds it would become a fieldReader of this part
// alone.
func (v *ModuleVersion) readPart(key []byte, s *scanner) (known bool, err error) {
	switch string(key) {
	case "repo":
		return true, s.into(&v.Repo)
	case "module":
		return true, s.str(&v.Module)
	case "version":
		return true, s.str(&v.Version)
	}
	return false, nil
}

// ModVersion returns the module path and version without the repository.
func (v ModuleVersion) ModVersion() module.Version {
	return module.Version{Path: v.Module, Version: v.Version}
}

func (v ModuleVersion) check() error {
	return errors.Join(checkRepo(v.Repo), CheckVersion(v.ModVersion()))
}

// CheckVersion reports why mv can't name a version in a registry: a malformed
// path, or a version that is not canonical or doesn't fit the path.
func CheckVersion(mv module.Version) error {
	if err := module.Check(mv.Path, mv.Version); err != nil {
		if _, suffix, ok := module.SplitPathVersion(mv.Path); ok && suffix == "" && module.CheckPathMajor(mv.Version, suffix) != nil {
			return fmt.Errorf("%w: from v2 on a module path ends in the major version, as in %s/%s", err, mv.Path, semver.Major(mv.Version))
		}
		return err
	}
	if module.CanonicalVersion(mv.Version) != mv.Version {
		return &module.ModuleError{Path: mv.Path, Version: mv.Version, Err: errors.New("version is not canonical")}
	}
	return nil
}

// Blob names the bytes of a blob.
type Blob struct {
	Digest Digest `json:"digest"`
	Size   int64  `json:"size"` // bytes
}

// IsZero reports whether b names none.
func (b Blob) IsZero() bool { return b == Blob{} }

func (b Blob) check() error {
	if b.Digest.IsZero() || b.Size < 0 || b.Size > maxNumber {
		return errors.New("a blob needs a digest and a size")
	}
	return nil
}

func (b *Blob) read(s *scanner) error {
	return s.object(func(key []byte) error {
		switch string(key) {
		case "digest":
			return s.into(&b.Digest)
		case "size":
			return integer(s, &b.Size)
		}
		return s.skip()
	})
}

// Content is what a module version consists of, or a part of it: the go.mod
// with the info, the zip, or both. Its identity is (ModH1, ZipH1); digests are
// only addresses.
type Content struct {
	ModH1 H1 `json:"mod_h1"` // of go.mod; always set

	Info    Bytes  `json:"info,omitempty"`       // the .info answer, JSON
	Mod     Bytes  `json:"mod,omitempty"`        // go.mod, if it is small
	ModBlob Blob   `json:"mod_blob,omitzero"`    // go.mod, if it is larger than MaxInline
	ZipH1   H1     `json:"zip_h1,omitzero"`      // set if and only if Zip is
	Zip     Blob   `json:"zip,omitzero"`         // the module zip
	Sumdb   string `json:"checked_by,omitempty"` // the checksum database that vouched for it
}

// HasMod reports whether c holds the go.mod and the info.
func (c Content) HasMod() bool { return len(c.Info) > 0 }

// HasZip reports whether c holds the zip.
func (c Content) HasZip() bool { return !c.ZipH1.IsZero() }

// Blobs returns the blobs that c refers to.
func (c Content) Blobs() []Blob {
	return slices.DeleteFunc([]Blob{c.ModBlob, c.Zip}, Blob.IsZero)
}

func (c *Content) readPart(key []byte, s *scanner) (known bool, err error) {
	switch string(key) {
	case "mod_h1":
		return true, s.into(&c.ModH1)
	case "info":
		return true, s.into(&c.Info)
	case "mod":
		return true, s.into(&c.Mod)
	case "mod_blob":
		return true, c.ModBlob.read(s)
	case "zip_h1":
		return true, s.into(&c.ZipH1)
	case "zip":
		return true, c.Zip.read(s)
	case "checked_by":
		return true, s.str(&c.Sumdb)
	}
	return false, nil
}

// The hash of a go.mod that stands in the event is checked here, once for all
// readers: no site can show another go.mod under a hash that honest sites state.
func (c Content) check() error {
	switch {
	case c.ModH1.IsZero():
		return errors.New("no go.mod hash")
	case len(c.Info) > MaxInline || len(c.Mod) > MaxInline:
		return fmt.Errorf("info or go.mod is larger than %d bytes", MaxInline)
	case len(c.Mod) > 0 && !c.ModBlob.IsZero():
		return errors.New("go.mod is both in the event and a blob")
	case c.HasZip() == c.Zip.IsZero():
		return errors.New("a zip needs its hash and its blob")
	case !c.HasMod() && (len(c.Mod) > 0 || !c.ModBlob.IsZero()):
		return errors.New("go.mod without info")
	case c.HasMod() && len(c.Mod) == 0 && c.ModBlob.IsZero():
		return errors.New("info without go.mod")
	case !c.HasMod() && !c.HasZip():
		return errors.New("neither go.mod nor zip")
	case len(c.Mod) > 0 && HashMod(c.Mod) != c.ModH1:
		return fmt.Errorf("mod_h1 is %v, but that of mod is %v", c.ModH1, HashMod(c.Mod))
	}
	for _, b := range c.Blobs() {
		if err := b.check(); err != nil {
			return err
		}
	}
	return checkText("checked_by", c.Sumdb)
}

// VersionPublished states that a version was put into a local repository, whole.
// Decided by the repository's home.
type VersionPublished struct {
	ModuleVersion
	Content
	Actor string `json:"actor,omitempty"`
}

// VersionHidden states that a version is shown no more. Its name stays burnt.
// Decided by the repository's home.
type VersionHidden struct {
	always
	ModuleVersion
	Reason string `json:"reason,omitempty"`
	Actor  string `json:"actor,omitempty"`
}

// VersionFilled states that a version, or a part of it, came from an upstream.
// Any site may state it; what it says of the content is that site's claim.
type VersionFilled struct {
	ModuleVersion
	Content
	Upstream string `json:"upstream,omitempty"` // where from, without credentials
}

// VersionSeen states which versions an upstream list showed that the site had
// not seen before. Any site may state it.
type VersionSeen struct {
	Repo     RepoID   `json:"repo"`
	Module   string   `json:"module"`
	Versions []string `json:"versions"` // sorted by semantic version
}

// VersionSettled says which content holds after different sites filled a
// version differently. Decided by the registry's home.
type VersionSettled struct {
	always
	ModuleVersion
	ModH1  H1     `json:"mod_h1"`
	ZipH1  H1     `json:"zip_h1,omitzero"`
	Reason string `json:"reason,omitempty"`
	Actor  string `json:"actor,omitempty"`
}

// Type returns "version.published".
func (VersionPublished) Type() Type { return "version.published" }

// Type returns "version.hidden".
func (VersionHidden) Type() Type { return "version.hidden" }

// Type returns "version.filled".
func (VersionFilled) Type() Type { return "version.filled" }

// Type returns "version.seen".
func (VersionSeen) Type() Type { return "version.seen" }

// Type returns "version.settled".
func (VersionSettled) Type() Type { return "version.settled" }

// Key returns the record of what upstreams showed of the module.
func (b VersionSeen) Key(EventID) Key { return KeyModule(b.Repo, b.Module) }

func (b *VersionPublished) readField(key []byte, s *scanner) (known bool, err error) {
	if string(key) == "actor" {
		return true, s.str(&b.Actor)
	}
	if known, err = b.ModuleVersion.readPart(key, s); known {
		return known, err
	}
	return b.Content.readPart(key, s)
}

func (b *VersionFilled) readField(key []byte, s *scanner) (known bool, err error) {
	if string(key) == "upstream" {
		return true, s.str(&b.Upstream)
	}
	if known, err = b.ModuleVersion.readPart(key, s); known {
		return known, err
	}
	return b.Content.readPart(key, s)
}

func (b VersionPublished) check() error {
	if !b.HasMod() || !b.HasZip() {
		return errors.New("a published version needs info, go.mod and zip")
	}
	return errors.Join(b.ModuleVersion.check(), b.Content.check(), checkText("actor", b.Actor))
}

func (b VersionHidden) check() error {
	return errors.Join(b.ModuleVersion.check(), checkText("reason", b.Reason), checkText("actor", b.Actor))
}

func (b VersionFilled) check() error {
	return errors.Join(b.ModuleVersion.check(), b.Content.check(), checkURLs("upstream", b.Upstream))
}

func (b VersionSeen) check() error {
	return errors.Join(checkRepo(b.Repo), checkVersions(b.Module, b.Versions))
}

func (b VersionSettled) check() error {
	if b.ModH1.IsZero() {
		return errors.New("no go.mod hash")
	}
	return errors.Join(b.ModuleVersion.check(), checkText("reason", b.Reason), checkText("actor", b.Actor))
}

// A publish is news up to a bound. The same content again is too: what the log
// holds already may lie outside of its site's tenures, where it counts nothing.
// Other content is evidence against the home.
func (b VersionPublished) adds(kept Contribution) bool {
	n := 0
	for _, f := range kept {
		if _, ok := f.Body.(VersionPublished); ok {
			n++
		}
	}
	return n < maxPublished
}

// A fill is news if its part of this content, or this address of the zip, has
// not been stated.
func (b VersionFilled) adds(kept Contribution) bool {
	n := 0
	for _, f := range kept {
		p, ok := f.Body.(VersionFilled)
		if !ok {
			continue
		}
		n++
		sameMod := !b.HasMod() || p.HasMod() && p.ModH1 == b.ModH1 && bytes.Equal(p.Info, b.Info)
		sameZip := !b.HasZip() || p.ModH1 == b.ModH1 && p.ZipH1 == b.ZipH1 && p.Zip == b.Zip
		if sameMod && sameZip {
			return false
		}
	}
	return n < maxFilled
}

func (b VersionSeen) adds(kept Contribution) bool {
	known := map[string]bool{}
	for _, f := range kept {
		if s, ok := f.Body.(VersionSeen); ok {
			for _, v := range s.Versions {
				known[v] = true
			}
		}
	}
	return slices.ContainsFunc(b.Versions, func(v string) bool { return !known[v] })
}

// firstTimes maps the versions that facts show to the time of the first of them.
func firstTimes(facts Contribution) map[string]time.Time {
	first := map[string]time.Time{}
	for _, f := range facts {
		if s, ok := f.Body.(VersionSeen); ok {
			for _, v := range s.Versions {
				if _, ok := first[v]; !ok {
					first[v] = f.Time
				}
			}
		}
	}
	return first
}
