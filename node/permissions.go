package node

import (
	"context"
	"reflect"
	"slices"
	"strings"

	"registry-node/events"
	"registry-node/node/access"
)

// Every request looks through the rules for who asks, and each change of a group or
// rule has all of them compiled anew: so there are so many, of such a size.
const (
	maxRules           = 1024 // and as many groups
	maxRepoPatterns    = 64   // of a rule
	maxPrincipals      = 256
	maxIncludeExcludes = 64 // of each
)

// boundGrant reports that a rule is too large.
func boundGrant(name string, g events.Grant) error {
	for _, b := range []struct {
		what      string
		has, most int
	}{
		{"repositories", len(g.Repos), maxRepoPatterns}, {"principals", len(g.Principals), maxPrincipals},
		{"module patterns to include", len(g.Include), maxIncludeExcludes}, {"module patterns to exclude", len(g.Exclude), maxIncludeExcludes},
	} {
		if b.has > b.most {
			return fail(ErrInvalid, "rule %s names %d %s, and may name %d; patterns and groups stand for many, and there can be other rules", name, b.has, b.what, b.most)
		}
	}
	return nil
}

// mayAdd reports why who may not make one more of the rules or groups, of which
// there are some. Half of the room is kept for administrators: no project can use
// it up for others.
func (d delegation) mayAdd(who *access.Caller, what string, has int) error {
	switch {
	case has >= maxRules:
		return fail(ErrTooLarge, "there are %d %s, which is the most; delete some", maxRules, what)
	case has >= maxRules/2 && !d.admin(who):
		return fail(ErrTooLarge, "there are %d %s of at most %d, and the rest is for administrators of the registry to make; delete some", has, what, maxRules)
	}
	return nil
}

// awayRule is a rule between sites.
type awayRule struct {
	Name string `json:"name"`
	events.Grant
}

// changedRule is what came of it.
type changedRule struct {
	Rule events.Rule `json:"rule"`
	Made bool        `json:"made"`
}

// Permissions returns the rules whose names the caller may manage, by name. Errors:
// ErrUnauthorized.
func (n *Node) Permissions(who *access.Caller) ([]events.Rule, error) {
	if err := n.mayList(who, "rules"); err != nil {
		return nil, err
	}
	st := n.state.Load()
	rules, list := st.dir.Rules(), []events.Rule{}
	for _, name := range sortedKeys(rules) {
		if st.rights.Manages(who, name) {
			list = append(list, rules[name])
		}
	}
	return list, nil
}

// Permission returns one rule, whose name the caller may manage. Errors:
// ErrUnauthorized, ErrForbidden, ErrNotFound.
func (n *Node) Permission(who *access.Caller, name string) (events.Rule, error) {
	st := n.state.Load()
	if err := st.allow(who, access.Need{Action: access.Manage, Repo: name}); err != nil {
		return events.Rule{}, err
	}
	rule, ok := st.dir.Rules()[name]
	if !ok {
		return events.Rule{}, fail(ErrNotFound, "there is no rule called %q", name)
	}
	return rule, nil
}

// PutPermission makes a rule, or replaces it; made says which. The registry's home
// decides. Errors: ErrUnauthorized, ErrForbidden, ErrInvalid, ErrTooLarge (there are
// 1024 rules, or half as many and who is no administrator, or it was changed too
// often), ErrNoSpace, ErrUnavailable.
func (n *Node) PutPermission(ctx context.Context, who *access.Caller, name string, g events.Grant) (r events.Rule, made bool, err error) {
	if err := checkIdentityName("rule", name); err != nil {
		return events.Rule{}, false, err
	}
	g.Principals, g.Repos, g.Actions = orNil(g.Principals), orNil(g.Repos), orNil(g.Actions)
	g.Include, g.Exclude = orNil(g.Include), orNil(g.Exclude)
	if err := n.delegation().mayChangeRule(who, name, &g); err != nil {
		return events.Rule{}, false, err
	}
	var got changedRule
	f, err := n.atRegistryHome(ctx, who, opRulePut, awayRule{name, g}, &got, func() (err error) {
		got, _, err = n.putPermission(ctx, who, awayRule{name, g})
		return err
	})
	if err == nil && !f.at.Mark.IsZero() && !f.pending {
		got.Rule = n.directory().Rules()[name]
	}
	return got.Rule, got.Made, err
}

func (n *Node) putPermission(ctx context.Context, who *access.Caller, r awayRule) (got changedRule, at events.Position, err error) {
	if err := boundGrant(r.Name, r.Grant); err != nil {
		return got, at, err
	}
	receipt, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		d := n.delegationIn(v.dir)
		if err := d.mayChangeRule(who, r.Name, &r.Grant); err != nil {
			return nil, err
		}
		old, exists := d.rules[r.Name]
		got.Made = !exists
		if exists && reflect.DeepEqual(old.Grant, r.Grant) {
			return nil, nil
		}
		if err := v.checkGrant(d, r.Name, old.Grant, r.Grant); err != nil {
			return nil, err
		}
		if !exists {
			if err := d.mayAdd(who, "rules", len(d.rules)); err != nil {
				return nil, err
			}
		}
		if err := v.room(events.KeyPermission(r.Name), true); err != nil {
			return nil, err
		}
		return []events.Body{events.PermissionChanged{Name: r.Name, Grant: r.Grant, Actor: who.Actor()}}, nil
	})
	if err == nil {
		got.Rule = n.directory().Rules()[r.Name]
	}
	return got, receipt.Position, err
}

// checkGrant reports what is wrong with the grant of a rule. A principal that the
// rule has already may be one that exists no more.
func (v view) checkGrant(d delegation, name string, old, g events.Grant) error {
	manages := slices.Contains(g.Actions, access.Manage.String())
	switch {
	case len(g.Principals) == 0:
		return fail(ErrInvalid, "rule %s: it is for nobody; name principals", name)
	case len(g.Repos) == 0:
		return fail(ErrInvalid, "rule %s: it is for no repository; name some, or * for all", name)
	case len(g.Actions) == 0:
		return fail(ErrInvalid, "rule %s: it allows nothing; name actions", name)
	case manages && len(g.Include)+len(g.Exclude) > 0:
		return fail(ErrInvalid, "rule %s: what is managed is repositories and names, so a rule with the action manage has no module patterns", name)
	case manages && slices.Contains(g.Principals, events.Anonymous):
		return fail(ErrInvalid, "rule %s: whoever shows no credentials can't be let manage anything", name)
	}
	for _, p := range g.Principals {
		if err := events.CheckPrincipal(p); err != nil {
			return because(err, ErrInvalid, "rule %s: principal %v", name, err)
		}
		if slices.Contains(old.Principals, p) {
			continue
		}
		if err := v.checkPrincipal(d, p); err != nil {
			return err
		}
	}
	return nil
}

// checkPrincipal reports that nobody is called so: who comes to be later is not to
// find rules waiting.
func (v view) checkPrincipal(d delegation, principal string) error {
	kind, name, _ := strings.Cut(principal, ":")
	switch kind {
	case "user":
		_, err := v.knownUser(name)
		return err
	case "group":
		if _, ok := d.groups[name]; !ok {
			return fail(ErrInvalid, "there is no group called %q; make it with: registry-node group set %s", name, name)
		}
	case "site":
		s, err := events.ParseSite(name)
		if err != nil {
			return because(err, ErrInvalid, "%v", err)
		}
		if _, ok := v.dir.Site(s); !ok {
			return fail(ErrInvalid, "there is no site called %q; invite it with: registry-node invite %s", name, name)
		}
	}
	return nil
}

// DeletePermission ends a rule. The registry's home decides. Errors:
// ErrUnauthorized, ErrForbidden, ErrNotFound, ErrNoSpace, ErrUnavailable.
func (n *Node) DeletePermission(ctx context.Context, who *access.Caller, name string) error {
	if err := checkIdentityName("rule", name); err != nil {
		return err
	}
	if err := n.delegation().mayChangeRule(who, name, nil); err != nil {
		return err
	}
	_, err := n.atRegistryHome(ctx, who, opRuleDelete, awayName{name}, &nothing{}, func() error {
		_, err := n.deletePermission(ctx, who, name)
		return err
	})
	return err
}

func (n *Node) deletePermission(ctx context.Context, who *access.Caller, name string) (events.Position, error) {
	at, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		d := n.delegationIn(v.dir)
		if err := d.mayChangeRule(who, name, nil); err != nil {
			return nil, err
		}
		if _, ok := d.rules[name]; !ok {
			return nil, fail(ErrNotFound, "there is no rule called %q", name)
		}
		return []events.Body{events.PermissionDeleted{Name: name, Actor: who.Actor()}}, nil
	})
	return at.Position, err
}

// orNil returns list, or nil if it is empty: as it is read back from the log.
func orNil[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}
