package node

import (
	"context"
	"maps"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/access"
)

// PropertyChange sets and removes properties of a file of a version.
type PropertyChange struct {
	Repo    events.RepoName // a local repository, or a virtual one that has a default for deployment
	Version module.Version
	File    string              // events.InfoFile, ModFile or ZipFile
	Set     map[string][]string // the values that properties get in place of what they had
	Remove  []string            // what is not there is not missed
}

// What the properties of one file may be in all, so that who looks through many files
// knows what that takes.
const (
	maxFileProperties    = 256
	maxFilePropertyBytes = 64 << 10 // of keys and values
)

// awayProperties is a change of properties that another site forwards.
type awayProperties struct {
	Repo   events.RepoID     `json:"repo"`
	Module string            `json:"module"`
	Vers   string            `json:"version"`
	File   string            `json:"file"`
	Set    []events.Property `json:"set,omitempty"`
	Remove []string          `json:"remove,omitempty"`
}

const opProperties = "properties"

// SetProperties changes properties of a file of a version that is held in a local
// repository, whose home decides. A change that changes nothing is in no log. Errors:
// ErrUnauthorized, ErrForbidden (it takes the action publish; a block), ErrInvalid
// (not well-formed, or not a local repository), ErrNotFound (no such repository or
// version), ErrTooLarge (too many properties, or they were changed too often),
// ErrNoSpace, ErrUnavailable.
func (n *Node) SetProperties(ctx context.Context, who *access.Caller, c PropertyChange) error {
	if err := events.CheckVersion(c.Version); err != nil {
		return because(err, ErrInvalid, "%v", err)
	}
	r, err := n.deployable(who, c.Repo, c.Version.Path)
	if err != nil {
		return err
	}
	a := awayProperties{r.ID, c.Version.Path, c.Version.Version, c.File, propertyList(c.Set), sortedSet(c.Remove)}
	return n.atHome(ctx, n.homeOf(r.ID), func() error {
		_, err := n.setProperties(ctx, who, a)
		return err
	}, func(home events.Site) error {
		_, err := n.sites.forward(ctx, who, home, opProperties, a, &nothing{})
		return err
	})
}

// propertyList returns properties as events have them.
func propertyList(m map[string][]string) []events.Property {
	var list []events.Property
	for _, key := range slices.Sorted(maps.Keys(m)) {
		list = append(list, events.Property{Key: key, Values: m[key]})
	}
	return list
}

// setProperties decides at this site, the repository's home.
func (n *Node) setProperties(ctx context.Context, who *access.Caller, a awayProperties) (events.Position, error) {
	mv := module.Version{Path: a.Module, Version: a.Vers}
	if err := events.CheckVersion(mv); err != nil {
		return events.Position{}, because(err, ErrInvalid, "%v", err)
	}
	r, err := n.deploysAtHome(a.Repo)
	if err != nil {
		return events.Position{}, err
	}
	if err := n.allow(who, access.Need{Action: access.Publish, Repo: r.Name.String(), Module: mv.Path}); err != nil {
		return events.Position{}, err
	}
	at, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		now := v.dir.Repo(a.Repo)
		if now == nil || now.Deleted {
			return nil, fail(ErrNotFound, "repository %s has been deleted", r.Name)
		}
		if err := n.isHomeOf(now); err != nil {
			return nil, err
		}
		if err := heldNow(v, now, mv); err != nil {
			return nil, err
		}
		b, err := v.changeProperties(now, events.PropertiesChanged{
			ModuleVersion: events.Of(now.ID, mv), File: a.File, Set: a.Set, Remove: a.Remove, Actor: who.Actor(),
		})
		if b == nil || err != nil {
			return nil, err
		}
		return []events.Body{*b}, nil
	})
	return at.Position, err
}

// heldNow reports why a version in a local repository is none that has properties.
func heldNow(v view, r *events.Repo, mv module.Version) error {
	if err := blocked(v.dir, mv); err != nil {
		return err
	}
	cs, err := v.txn.Get(events.KeyVersion(r.ID, mv))
	if err != nil {
		return err
	}
	if held := v.dir.ResolveVersion(r, cs); r.Kind != events.Local || held.Status != events.Held {
		return fail(ErrNotFound, "%s@%s is not in repository %s, so it has no properties", mv.Path, mv.Version, r.Name)
	}
	return nil
}

// changeProperties returns what is left of a change that is to be recorded: nothing
// of it that is so already, and nil if nothing is left. It fails with ErrTooLarge if
// that were more than a file may have, or if the record takes no more.
func (v view) changeProperties(r *events.Repo, b events.PropertiesChanged) (*events.PropertiesChanged, error) {
	cs, err := v.txn.Get(b.Key(events.EventID{}))
	if err != nil {
		return nil, err
	}
	all := v.dir.ResolveProperties(r, cs)
	of := all[b.File]
	b.Set = slices.DeleteFunc(slices.Clone(b.Set), func(p events.Property) bool {
		old, has := of[p.Key]
		return has && slices.Equal(old, p.Values)
	})
	b.Remove = slices.DeleteFunc(slices.Clone(b.Remove), func(key string) bool { _, has := of[key]; return !has })
	if len(b.Set)+len(b.Remove) == 0 {
		return nil, nil
	}
	mv := b.ModVersion()
	if err := roomForProperties(cs.Of(v.at.Site), mv, len(b.Set) > 0); err != nil {
		return nil, err
	}
	all.Change(b)
	keys, size := 0, 0
	for key, values := range all[b.File] {
		keys++
		size += len(key) + len(strings.Join(values, ""))
	}
	if len(b.Set) > 0 && (keys > maxFileProperties || size > maxFilePropertyBytes) {
		return nil, fail(ErrTooLarge, "%s@%s.%s would have %d properties of %d bytes; a file has at most %d, of %d bytes", mv.Path, mv.Version, b.File, keys, size, maxFileProperties, maxFilePropertyBytes)
	}
	return &b, nil
}

// roomForProperties reports why the record of a version's properties, of which a site
// stated facts, takes no change. The last ones that it takes are for removals.
func roomForProperties(facts events.Contribution, mv module.Version, sets bool) error {
	if facts.Full() || sets && facts.FullBut(spareFacts) {
		return fail(ErrTooLarge, "the properties of %s@%s were changed too often: no more can be set, since all changes stay in the log", mv.Path, mv.Version)
	}
	return nil
}
