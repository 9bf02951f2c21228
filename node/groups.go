package node

import (
	"context"
	"errors"
	"slices"

	"registry-node/events"
	"registry-node/node/access"
)

// Group is a group of users.
type Group struct {
	Name    string   `json:"name"`
	Members []string `json:"members"`
}

// GroupChange is what to change of a group, or who is in a new one: these members
// alone, or those there are with some added and some removed.
type GroupChange struct {
	Members *[]string `json:"members,omitempty"`
	Add     []string  `json:"add,omitempty"`
	Remove  []string  `json:"remove,omitempty"`
}

// awayGroup is a GroupChange between sites.
type awayGroup struct {
	Name string `json:"name"`
	GroupChange
}

// changedGroup is what came of it.
type changedGroup struct {
	Group Group `json:"group"`
	Made  bool  `json:"made"`
}

// Groups returns the groups that the caller may manage or is in, by name. Errors:
// ErrUnauthorized.
func (n *Node) Groups(who *access.Caller) ([]Group, error) {
	if err := n.mayList(who, "groups"); err != nil {
		return nil, err
	}
	st := n.state.Load()
	groups, list := st.dir.Groups(), []Group{}
	for _, name := range sortedKeys(groups) {
		if st.rights.Manages(who, name) || who.User() != "" && slices.Contains(groups[name], who.User()) {
			list = append(list, groupOf(name, groups[name]))
		}
	}
	return list, nil
}

func groupOf(name string, members []string) Group {
	return Group{name, append([]string{}, members...)}
}

// PutGroup makes a group, or changes who is in it; made says which. The registry's
// home decides. Errors: ErrUnauthorized, ErrForbidden, ErrNotFound (whom to add to what is
// no group), ErrInvalid (no such user), ErrTooLarge (changed too often, or there
// are 1024 groups, or half as many and who is no administrator), ErrNoSpace, ErrUnavailable.
func (n *Node) PutGroup(ctx context.Context, who *access.Caller, name string, c GroupChange) (g Group, made bool, err error) {
	if err := checkIdentityName("group", name); err != nil {
		return Group{}, false, err
	}
	if c.Members != nil && len(c.Add)+len(c.Remove) > 0 {
		return Group{}, false, fail(ErrInvalid, "group %s: either say all members, or whom to add and to remove", name)
	}
	if err := n.delegation().mayChangeGroup(who, name); err != nil {
		return Group{}, false, err
	}
	var got changedGroup
	f, err := n.atRegistryHome(ctx, who, opGroupPut, awayGroup{name, c}, &got, func() (err error) {
		got, _, err = n.putGroup(ctx, who, awayGroup{name, c})
		return err
	})
	if err == nil && !f.at.Mark.IsZero() && !f.pending {
		got.Group = groupOf(name, n.directory().Groups()[name])
	}
	return got.Group, got.Made, err
}

func (n *Node) putGroup(ctx context.Context, who *access.Caller, c awayGroup) (got changedGroup, at events.Position, err error) {
	receipt, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		d := n.delegationIn(v.dir)
		if err := d.mayChangeGroup(who, c.Name); err != nil {
			return nil, err
		}
		old, exists := d.groups[c.Name]
		if !exists && c.Members == nil {
			return nil, fail(ErrNotFound, "there is no group called %q; make it with: registry-node group set %s", c.Name, c.Name)
		}
		if !exists {
			if err := errors.Join(d.mayAdd(who, "groups", len(d.groups)), d.leftOver("group:"+c.Name)); err != nil {
				return nil, err
			}
		}
		members := c.apply(old)
		got = changedGroup{groupOf(c.Name, members), !exists}
		if exists && slices.Equal(members, old) {
			return nil, nil
		}
		for _, m := range members {
			if slices.Contains(old, m) {
				continue
			}
			if _, err := v.knownUser(m); err != nil {
				return nil, err
			}
		}
		if err := v.room(events.KeyGroup(c.Name), true); err != nil {
			return nil, err
		}
		return []events.Body{events.GroupChanged{Name: c.Name, Members: members, Actor: who.Actor()}}, nil
	})
	return got, receipt.Position, err
}

// apply returns the members that a group has after the change, sorted.
func (c GroupChange) apply(old []string) []string {
	members := slices.Concat(old, c.Add)
	if c.Members != nil {
		members = *c.Members
	}
	return slices.DeleteFunc(sortedSet(members), func(m string) bool { return slices.Contains(c.Remove, m) })
}

// DeleteGroup ends a group, and takes it out of all rules. The registry's home
// decides. Errors: ErrUnauthorized, ErrForbidden, ErrNotFound, ErrNoSpace,
// ErrUnavailable.
func (n *Node) DeleteGroup(ctx context.Context, who *access.Caller, name string) error {
	if err := checkIdentityName("group", name); err != nil {
		return err
	}
	if err := n.delegation().mayChangeGroup(who, name); err != nil {
		return err
	}
	_, err := n.atRegistryHome(ctx, who, opGroupDelete, awayName{name}, &nothing{}, func() error {
		_, err := n.deleteGroup(ctx, who, name)
		return err
	})
	return err
}

func (n *Node) deleteGroup(ctx context.Context, who *access.Caller, name string) (events.Position, error) {
	return n.deletePrincipal(ctx, "group:"+name, who, func(v view, d delegation) (events.Body, error) {
		if err := d.mayChangeGroup(who, name); err != nil {
			return nil, err
		}
		if _, ok := d.groups[name]; !ok {
			return nil, fail(ErrNotFound, "there is no group called %q", name)
		}
		return events.GroupDeleted{Name: name, Actor: who.Actor()}, nil
	})
}
