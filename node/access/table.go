package access

import (
	"maps"
	"slices"

	"registry-node/events"
)

// Need is what somebody wants to do.
type Need struct {
	Action Action
	// Repo is the name of a repository, or of what else is managed. It may have
	// wildcards, and then stands for all that they match.
	Repo string
	// Module is a module path. Empty, it stands for all of the repository, or, if
	// the action is to read, for anything in it.
	Module string
}

// Everything is the need of an administrator of the registry.
var Everything = Need{Action: Manage, Repo: "*"}

// Table is the rules, compiled. It does not change.
type Table struct {
	rules  map[string][]*rule  // by principal; sorted by name
	groups map[string][]string // the principals "group:NAME" of a user
}

type rule struct {
	name             string
	repos            []string
	include, exclude []events.Pattern
	actions          actions
}

// NewTable compiles rules, with the members of each group.
func NewTable(groups map[string][]string, rules map[string]events.Rule) *Table {
	t := &Table{rules: map[string][]*rule{}, groups: map[string][]string{}}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		for _, user := range groups[name] {
			t.groups[user] = append(t.groups[user], "group:"+name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		g := rules[name].Grant
		r := &rule{name, g.Repos, g.Include, g.Exclude, parseActions(g.Actions)}
		for _, p := range g.Principals {
			t.rules[p] = append(t.rules[p], r)
		}
	}
	return t
}

// Allows reports whether a caller may do what need says. It is the one function
// that decides about that.
func (t *Table) Allows(c *Caller, need Need) bool {
	_, ok := t.Why(c, need)
	return ok
}

// Why is Allows that names the rule by which it is so; an operator needs none.
func (t *Table) Why(c *Caller, need Need) (rule string, ok bool) {
	if c == nil || need.Repo == "" {
		return "", false
	}
	if c.operator {
		return "", true
	}
	if !c.scope.allows(need) || c.asker != nil && !t.Allows(c.asker, need) {
		return "", false
	}
	for _, p := range c.principals {
		if name, ok := t.allows(p, need); ok {
			return name, true
		}
	}
	for _, p := range t.groups[c.user] {
		if name, ok := t.allows(p, need); ok {
			return name, true
		}
	}
	return "", false
}

func (t *Table) allows(principal string, need Need) (string, bool) {
	for _, r := range t.rules[principal] {
		if r.allows(need) {
			return r.name, true
		}
	}
	return "", false
}

func (r *rule) allows(need Need) bool {
	if !r.actions.has(need.Action) || !coversAny(r.repos, need.Repo) {
		return false
	}
	if need.Module == "" {
		return need.Action == Read || len(r.include)+len(r.exclude) == 0
	}
	return events.Admits(r.include, r.exclude, need.Module)
}

// GroupsOf returns the names of a user's groups.
func (t *Table) GroupsOf(user string) []string {
	names := make([]string, 0, len(t.groups[user]))
	for _, p := range t.groups[user] {
		names = append(names, p[len("group:"):])
	}
	return names
}

// Manages reports whether a caller may manage what is called name, or all whose
// names match it.
func (t *Table) Manages(c *Caller, name string) bool {
	return t.Allows(c, Need{Action: Manage, Repo: name})
}

// Anyone reports whether any rule speaks of a caller, or of a group that it is in,
// and the token that it shows, if it is limited, is one to read with.
func (t *Table) Anyone(c *Caller) bool {
	if c == nil {
		return false
	}
	if c.operator {
		return true
	}
	if len(c.scope.Actions) > 0 && !parseActions(c.scope.Actions).has(Read) {
		return false
	}
	ruled := func(p string) bool { return len(t.rules[p]) > 0 }
	return slices.ContainsFunc(c.principals, ruled) || slices.ContainsFunc(t.groups[c.user], ruled)
}

func coversAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if events.CoversName(p, name) {
			return true
		}
	}
	return false
}
