package events

import (
	"maps"
	"time"
)

// Rule is a Grant that is in force.
type Rule struct {
	Name string `json:"name"`
	Grant
	Changed time.Time `json:"changed"`
	Actor   string    `json:"actor,omitempty"` // who wrote it last
}

// resolveRights resolves the record of a group or of a rule.
func (d *Directory) resolveRights(cs Contributions) {
	id, ok := d.ResolveIdentity(cs)
	if !ok || id.Deleted {
		return
	}
	switch b := id.Body.(type) {
	case GroupChanged:
		d.groups[b.Name] = b.Members
	case PermissionChanged:
		d.rules[b.Name] = Rule{b.Name, b.Grant, id.Time, b.Actor}
	}
}

// Groups returns the members of each group, by its name. The map is the
// caller's, the lists are not.
func (d *Directory) Groups() map[string][]string { return maps.Clone(d.groups) }

// Rules returns the rules in force by name. The map is the caller's, what is in
// it is not.
func (d *Directory) Rules() map[string]Rule { return maps.Clone(d.rules) }
