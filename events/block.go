package events

import (
	"errors"
	"fmt"

	"golang.org/x/mod/module"
)

// VersionBlocked forbids a module version, or with an empty version all of a
// module, in every repository. Module and Version may have wildcards, as in a
// VersionPattern. It only restricts, so any member may state it.
type VersionBlocked struct {
	always
	Module  string `json:"module"`
	Version string `json:"version,omitempty"`
	Reason  string `json:"reason"`
	Actor   string `json:"actor,omitempty"`
}

// VersionUnblocked clears blocks. Decided by the registry's home. A block that
// a site stated after what is cleared here still holds.
type VersionUnblocked struct {
	always
	Module  string    `json:"module"`
	Version string    `json:"version,omitempty"`
	Clears  []Cleared `json:"clears"`
	Actor   string    `json:"actor,omitempty"`
}

// Cleared names a site's blocks up to and including a place in its log.
type Cleared struct {
	Site Site `json:"site"`
	At   Mark `json:"at"`
}

// Type returns "version.blocked".
func (VersionBlocked) Type() Type { return "version.blocked" }

// Type returns "version.unblocked".
func (VersionUnblocked) Type() Type { return "version.unblocked" }

// Key returns the record of the block.
func (b VersionBlocked) Key(EventID) Key {
	return KeyBlock(module.Version{Path: b.Module, Version: b.Version})
}

// Key returns the record of the block.
func (b VersionUnblocked) Key(EventID) Key {
	return KeyBlock(module.Version{Path: b.Module, Version: b.Version})
}

func (b VersionBlocked) check() error {
	if b.Reason == "" {
		return errors.New("a block needs a reason")
	}
	return errors.Join(checkBlocked(b.Module, b.Version), checkText("reason", b.Reason), checkText("actor", b.Actor))
}

func (b VersionUnblocked) check() error {
	return errors.Join(checkBlocked(b.Module, b.Version), checkClears(b.Clears), checkText("actor", b.Actor))
}

func checkClears(list []Cleared) error {
	if len(list) == 0 || len(list) > maxList {
		return fmt.Errorf("what is cleared is that of 1 to %d sites", maxList)
	}
	for _, c := range list {
		if c.Site.IsZero() || c.At.IsZero() {
			return errors.New("what is cleared needs a site and a place in its log")
		}
	}
	return nil
}

func checkBlocked(path, version string) error { return checkVersionPattern(path, version) }
