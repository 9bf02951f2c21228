package events

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// VersionPurged states that the bytes of a version must go at every site, as when
// they hold a leaked secret. Its hashes and the reason stay; no fetch brings the
// version back. Decided by the registry's home.
type VersionPurged struct {
	always
	ModuleVersion
	Reason string `json:"reason"`
	Actor  string `json:"actor,omitempty"`
}

// VersionDated states since when versions of a module are known, from a source
// that an administrator trusts, such as a public index: a new registry else takes
// the whole world for new. Decided by the registry's home.
type VersionDated struct {
	always
	Repo     RepoID      `json:"repo"`
	Module   string      `json:"module"`
	Versions []string    `json:"versions"` // sorted by semantic version
	Times    []time.Time `json:"times"`    // of each version, UTC
	Actor    string      `json:"actor,omitempty"`
}

// Type returns "version.purged".
func (VersionPurged) Type() Type { return "version.purged" }

// Type returns "version.dated".
func (VersionDated) Type() Type { return "version.dated" }

// Key returns the record of what is known of the module's versions.
func (b VersionDated) Key(EventID) Key { return KeyModule(b.Repo, b.Module) }

func (b VersionPurged) check() error {
	if b.Reason == "" {
		return errors.New("a purge needs a reason")
	}
	return errors.Join(b.ModuleVersion.check(), checkText("reason", b.Reason), checkText("actor", b.Actor))
}

func (b VersionDated) check() error {
	if len(b.Times) != len(b.Versions) {
		return fmt.Errorf("%d versions and %d times", len(b.Versions), len(b.Times))
	}
	for _, t := range b.Times {
		if t.IsZero() {
			return errors.New("a version without a time")
		}
		if err := checkUTC("time", t); err != nil {
			return err
		}
	}
	return errors.Join(checkRepo(b.Repo), checkVersions(b.Module, b.Versions), checkText("actor", b.Actor))
}

// checkVersions reports why versions can't be those that an event states of a
// module.
func checkVersions(path string, versions []string) error {
	if len(versions) == 0 || len(versions) > MaxSeen {
		return fmt.Errorf("%d versions, want 1 to %d", len(versions), MaxSeen)
	}
	for i, v := range versions {
		if err := CheckVersion(module.Version{Path: path, Version: v}); err != nil {
			return err
		}
		if i > 0 && semver.Compare(versions[i-1], v) >= 0 {
			return errors.New("versions are not sorted, or one stands twice")
		}
	}
	return nil
}
