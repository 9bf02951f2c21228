package access

import (
	"slices"

	"registry-node/events"
)

// Scope limits what a token can be used for, whatever its user may do. What is
// empty does not limit.
type Scope struct {
	Repos   []string         `json:"repos,omitempty"` // names, * and ? allowed
	Actions []string         `json:"actions,omitempty"`
	Modules []events.Pattern `json:"modules,omitempty"`
}

// IsZero reports whether s limits nothing.
func (s Scope) IsZero() bool { return len(s.Repos)+len(s.Actions)+len(s.Modules) == 0 }

// Or returns s with the parts of outer where its own are empty.
func (s Scope) Or(outer Scope) Scope {
	if len(s.Repos) == 0 {
		s.Repos = outer.Repos
	}
	if len(s.Actions) == 0 {
		s.Actions = outer.Actions
	}
	if len(s.Modules) == 0 {
		s.Modules = outer.Modules
	}
	return s
}

// Manages reports whether a token so limited is good for managing what is called
// name, if its user may.
func (s Scope) Manages(name string) bool { return s.allows(Need{Action: Manage, Repo: name}) }

// allows reports whether the scope has room for a need.
func (s Scope) allows(n Need) bool {
	if len(s.Actions) > 0 && !parseActions(s.Actions).has(n.Action) {
		return false
	}
	if len(s.Repos) > 0 && !coversAny(s.Repos, n.Repo) {
		return false
	}
	switch {
	case len(s.Modules) == 0:
		return true
	case n.Module == "":
		return n.Action == Read
	}
	return events.MatchAny(s.Modules, n.Module)
}

// Within reports whether whatever s has room for, outer has, too. It may say no
// where yes were right, if their patterns are written differently.
func (s Scope) Within(outer Scope) bool {
	return within(s.Repos, outer.Repos, events.CoversName) &&
		within(s.Actions, outer.Actions, func(a, b string) bool { return a == b }) &&
		within(s.Modules, outer.Modules, func(outer, p events.Pattern) bool { return outer.Covers(p) })
}

// within reports whether each of inner is covered by one of outer. None stands
// for all.
func within[T any](inner, outer []T, covers func(outer, inner T) bool) bool {
	if len(outer) == 0 {
		return true
	}
	if len(inner) == 0 {
		return false
	}
	return !slices.ContainsFunc(inner, func(i T) bool {
		return !slices.ContainsFunc(outer, func(o T) bool { return covers(o, i) })
	})
}
