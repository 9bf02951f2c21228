package node

import (
	"context"
	"maps"
	"slices"
	"strings"

	"registry-node/events"
	"registry-node/node/access"
)

// Page says which part of a list is wanted.
type Page struct {
	After string // the name behind which it begins; empty: at the first
	Limit int    // how many at most; 0: 1000, which is the most
}

const (
	maxPage = 1000
	// maxScan bounds the records that one page looks at: a page may end early, and
	// be empty, without being the last.
	maxScan = 20_000
)

// most returns how many a page has at most.
func (p Page) most() int {
	if p.Limit < 1 || p.Limit > maxPage {
		return maxPage
	}
	return p.Limit
}

// pageOf returns what show makes of the identities of a kind, by name, and where
// the next page begins. It is told what there is, deleted ones included.
func pageOf[T any](n *Node, kind events.Kind, p Page, show func(name string, id events.Identity) (T, bool, error)) (list []T, next string, err error) {
	limit := p.most()
	dir, scanned := n.directory(), 0
	for r, err := range n.index.Load().Behind(events.KindPrefix(kind), p.After) {
		if err != nil {
			return nil, "", err
		}
		name := strings.TrimPrefix(r.Key.Bytes(), events.KindPrefix(kind))
		id, ok := dir.ResolveIdentity(r.Contributions)
		if ok {
			v, wanted, err := show(name, id)
			if err != nil {
				return nil, "", err
			}
			if wanted {
				list = append(list, v)
			}
		}
		if scanned++; len(list) == limit || scanned == maxScan {
			return list, name, nil
		}
	}
	return list, "", nil
}

// mayList reports why a caller is shown no list at all: it shows no credentials, and
// is no administrator all the same.
func (n *Node) mayList(who *access.Caller, what string) error {
	if who.Known() || n.state.Load().rights.Allows(who, access.Everything) {
		return nil
	}
	return refused(who, "to see %s takes credentials", what)
}

// checkIdentityName reports why name can't be that of a user, group or rule.
func checkIdentityName(what, name string) error {
	if err := events.CheckUserName(name); err != nil {
		return because(err, ErrInvalid, "%s %v", what, err)
	}
	return nil
}

// spareFacts are kept in each record for what ends something, and for taking out of
// groups and rules who is deleted: nobody can change a user so often that it can't
// be disabled or deleted any more. Other removals of members have none of it.
const spareFacts = 64

// room reports why a record may not be changed any more, if it is more than an end
// of something that is to be written.
func (v view) room(k events.Key, more bool) error {
	if !more {
		return nil
	}
	cs, err := v.txn.Get(k)
	if err != nil {
		return err
	}
	if cs.Of(v.at.Site).FullBut(spareFacts) {
		return fail(ErrTooLarge, "%v was changed too often, and can only be deleted now; use another name", k)
	}
	return nil
}

// deletionBytes bounds what one entry takes of a deletion that changes many groups
// and rules.
const deletionBytes = 256 << 10

// deletePrincipal takes a principal out of all groups and rules, and then has what
// decide says end it. What that takes may be more than one entry: cut short, it
// leaves the principal with less than it had.
func (n *Node) deletePrincipal(ctx context.Context, principal string, who *access.Caller, decide func(view, delegation) (events.Body, error)) (events.Position, error) {
	for {
		last := false
		at, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
			if err := n.isRegistryHome(v.dir); err != nil {
				return nil, err
			}
			d := n.delegationIn(v.dir)
			end, err := decide(v, d)
			if err != nil {
				return nil, err
			}
			var bodies []events.Body
			if bodies, last, err = d.withdraw(v, principal, who.Actor()); err != nil {
				return nil, err
			}
			if last {
				bodies = append(bodies, end)
			}
			return bodies, nil
		})
		if err != nil || last {
			return at.Position, err
		}
	}
}

// withdraw returns what takes a principal out of groups and rules, or a part of it
// with all false. It stays in those whose records are full to the end: that is not
// to keep a user from being deleted, has no effect while there is none, and leftOver
// keeps the name from being used again meanwhile.
func (d delegation) withdraw(v view, principal, actor string) (bodies []events.Body, all bool, err error) {
	size := 0
	full := func(texts ...[]string) bool {
		for _, t := range texts {
			for _, s := range t {
				size += len(s) + 8
			}
		}
		return len(bodies) > 0 && size > deletionBytes
	}
	user, _ := strings.CutPrefix(principal, "user:")
	for _, name := range sortedKeys(d.groups) {
		if members := d.groups[name]; user != principal && slices.Contains(members, user) {
			if stuck, err := v.full(events.KeyGroup(name)); err != nil {
				return nil, false, err
			} else if stuck {
				continue
			}
			if full(members) {
				return bodies, false, nil
			}
			bodies = append(bodies, events.GroupChanged{Name: name, Members: leaveOut(members, user), Actor: actor})
		}
	}
	for _, name := range sortedKeys(d.rules) {
		if g := d.rules[name].Grant; slices.Contains(g.Principals, principal) {
			if stuck, err := v.full(events.KeyPermission(name)); err != nil {
				return nil, false, err
			} else if stuck {
				continue
			}
			if full(g.Principals, g.Repos) {
				return bodies, false, nil
			}
			g.Principals = leaveOut(g.Principals, principal)
			bodies = append(bodies, events.PermissionChanged{Name: name, Grant: g, Actor: actor})
		}
	}
	return bodies, true, nil
}

// full reports whether the record takes no more facts of this site at all.
func (v view) full(k events.Key) (bool, error) {
	cs, err := v.txn.Get(k)
	return cs.Of(v.at.Site).Full(), err
}

// leftOver reports why nobody may be made of a name: a group or rule has it still,
// of somebody who was deleted, and would be the new one's.
func (d delegation) leftOver(principal string) error {
	user, is := strings.CutPrefix(principal, "user:")
	for _, name := range sortedKeys(d.groups) {
		if is && slices.Contains(d.groups[name], user) {
			return fail(ErrExists, "group %s still has a deleted %s, and takes no more changes; delete the group first, or use another name", name, principal)
		}
	}
	for _, name := range sortedKeys(d.rules) {
		if slices.Contains(d.rules[name].Principals, principal) {
			return fail(ErrExists, "rule %s is still for a deleted %s; change or delete the rule first, or use another name", name, principal)
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// sortedSet returns each element of list once, sorted, in a list of its own.
func sortedSet(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

// leaveOut returns list without an element, in a list of its own.
func leaveOut(list []string, s string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(t string) bool { return t == s })
}
