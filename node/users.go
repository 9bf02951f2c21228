package node

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"registry-node/events"
	"registry-node/node/access"
)

// UserInfo is what may be told of a user.
type UserInfo struct {
	Name     string    `json:"name"`
	Service  bool      `json:"service"`  // a service account
	Disabled bool      `json:"disabled"` // can't authenticate
	Display  string    `json:"display,omitempty"`
	Password bool      `json:"password"` // has one
	Groups   []string  `json:"groups"`
	Created  time.Time `json:"created"`
}

// UserChange is what to change of a user, or how one is made. Nil and zero fields
// leave what there is.
type UserChange struct {
	Service  *bool    `json:"service,omitempty"`
	Display  *string  `json:"display,omitempty"`
	Disabled *bool    `json:"disabled,omitempty"`
	Password Password `json:"password,omitzero"`
	// NoPassword takes the password away.
	NoPassword bool `json:"no_password,omitempty"`
	// Groups are those that the user is to be in, and in no others.
	Groups *[]string `json:"groups,omitempty"`
	// If says whether there may be a user of that name already.
	If Presence `json:"if,omitempty"`
}

// Presence is a condition: that there is something of that name, or not.
type Presence string

// The conditions.
const (
	Whatever Presence = ""
	Absent   Presence = "absent"  // else ErrExists
	Present  Presence = "present" // else ErrNotFound
)

// check reports why what is called name does not fit the condition.
func (p Presence) check(what, name string, exists bool) error {
	switch {
	case p == Whatever, p == Absent && !exists, p == Present && exists:
		return nil
	case p == Absent:
		return fail(ErrExists, "there is a %s called %q already", what, name)
	case p == Present:
		return fail(ErrNotFound, "there is no %s called %q", what, name)
	}
	return fail(ErrInvalid, "the condition %q is none of absent, present", p)
}

// awayUser is a UserChange between sites: with the hash of the password.
type awayUser struct {
	Name       string    `json:"name"`
	Service    *bool     `json:"service,omitempty"`
	Display    *string   `json:"display,omitempty"`
	Disabled   *bool     `json:"disabled,omitempty"`
	Hash       string    `json:"password_hash,omitempty"`
	NoPassword bool      `json:"no_password,omitempty"`
	Groups     *[]string `json:"groups,omitempty"`
	If         Presence  `json:"if,omitempty"`
}

// changedUser is what came of it.
type changedUser struct {
	Info UserInfo `json:"info"`
	Made bool     `json:"made"`
}

// awayName names a user, group or rule between sites.
type awayName struct {
	Name string `json:"name"`
}

// Users returns a page of the users that the caller may manage, and the caller's own
// record, by name; next is where the next page begins, empty after the last. Errors:
// ErrUnauthorized.
func (n *Node) Users(who *access.Caller, p Page) (list []UserInfo, next string, err error) {
	if err := n.mayList(who, "users"); err != nil {
		return nil, "", err
	}
	rights := n.state.Load().rights
	return pageOf(n, events.KindUser, p, func(name string, id events.Identity) (UserInfo, bool, error) {
		if id.Deleted || name != who.User() && !rights.Manages(who, name) {
			return UserInfo{}, false, nil
		}
		info, ok := userInfo(name, id, rights)
		return info, ok, nil
	})
}

// User returns one user: of those that the caller may manage, or the caller. Errors:
// ErrUnauthorized, ErrForbidden, ErrNotFound.
func (n *Node) User(who *access.Caller, name string) (UserInfo, error) {
	if name == "" || name != who.User() {
		if err := n.allow(who, access.Need{Action: access.Manage, Repo: name}); err != nil {
			return UserInfo{}, err
		}
	}
	return n.user(name)
}

// user is User without asking who wants to know.
func (n *Node) user(name string) (UserInfo, error) {
	id, ok, err := n.identity(events.KeyUser(name))
	if err != nil {
		return UserInfo{}, err
	}
	info, is := userInfo(name, id, n.state.Load().rights)
	if !ok || !is || id.Deleted {
		return UserInfo{}, fail(ErrNotFound, "there is no user called %q", name)
	}
	return info, nil
}

func userInfo(name string, id events.Identity, rights *access.Table) (UserInfo, bool) {
	u, ok := userOf(id)
	return UserInfo{
		Name: name, Service: u.Service, Disabled: u.Disabled, Display: u.Display, Password: u.Password != "",
		Groups: rights.GroupsOf(name), Created: id.Created,
	}, ok
}

// PutUser makes a user, or changes what c names of one; made says which. The
// registry's home decides. Errors: ErrUnauthorized, ErrForbidden, ErrInvalid,
// ErrTooLarge (changed too often), ErrNoSpace, ErrUnavailable.
func (n *Node) PutUser(ctx context.Context, who *access.Caller, name string, c UserChange) (info UserInfo, made bool, err error) {
	if err := checkIdentityName("user", name); err != nil {
		return UserInfo{}, false, err
	}
	u := awayUser{Name: name, Service: c.Service, Display: c.Display, Disabled: c.Disabled, NoPassword: c.NoPassword, Groups: c.Groups, If: c.If}
	if !c.Password.IsZero() {
		if c.NoPassword {
			return UserInfo{}, false, fail(ErrInvalid, "user %s: a password and no password is one too many", name)
		}
		// The home judges; this is not to hash for everybody.
		if err := n.delegation().maySetPassword(who, name); err != nil {
			return UserInfo{}, false, err
		}
		if u.Hash, err = n.passwords.hash(ctx, c.Password); err != nil {
			return UserInfo{}, false, err
		}
	}
	if err := n.delegation().mayPutUser(who, u); err != nil {
		return UserInfo{}, false, err
	}
	var got changedUser
	f, err := n.atRegistryHome(ctx, who, opUserPut, u, &got, func() (err error) {
		got, _, err = n.putUser(ctx, who, u)
		return err
	})
	if err != nil || f.at.Mark.IsZero() || f.pending {
		return got.Info, got.Made, err
	}
	info, err = n.user(name)
	return info, got.Made, err
}

// putUser decides at this site, the registry's home.
func (n *Node) putUser(ctx context.Context, who *access.Caller, u awayUser) (got changedUser, at events.Position, err error) {
	receipt, err := n.commits.propose(ctx, func(v view) (bodies []events.Body, err error) {
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		bodies, got.Made, err = n.decideUser(v, who, u)
		return bodies, err
	})
	if err != nil {
		return changedUser{}, events.Position{}, err
	}
	got.Info, err = n.user(u.Name)
	return got, receipt.Position, err
}

func (n *Node) decideUser(v view, who *access.Caller, u awayUser) (bodies []events.Body, made bool, err error) {
	d := n.delegationIn(v.dir)
	if err := d.mayPutUser(who, u); err != nil {
		return nil, false, err
	}
	if u.Hash != "" {
		if err := n.passwords.checkHash(u.Hash); err != nil {
			return nil, false, err
		}
	}
	old, id, err := v.user(u.Name)
	if err != nil {
		return nil, false, err
	}
	exists := id.Body != nil && !id.Deleted
	if err := u.If.check("user", u.Name, exists); err != nil {
		return nil, false, err
	}
	if !exists {
		if err := errors.Join(checkNewUser(u.Name), d.leftOver("user:"+u.Name)); err != nil {
			return nil, false, err
		}
		old = events.User{}
	}
	now := old
	set(&now.Service, u.Service)
	set(&now.Display, u.Display)
	set(&now.Disabled, u.Disabled)
	if u.Hash != "" || u.NoPassword {
		now.Password = u.Hash
	}
	switch {
	case !exists:
		bodies = append(bodies, events.UserCreated{Name: u.Name, User: now, Actor: who.Actor()})
	case now != old:
		bodies = append(bodies, events.UserChanged{Name: u.Name, User: now, Actor: who.Actor()})
	}
	ends := now.Disabled && !old.Disabled || u.NoPassword // and is not to fail for want of room
	if err := v.room(events.KeyUser(u.Name), len(bodies) > 0 && !ends); err != nil {
		return nil, false, err
	}
	if u.Groups == nil {
		return bodies, !exists, nil
	}
	groups, err := d.regroup(v, who, u.Name, *u.Groups)
	return append(bodies, groups...), !exists, err
}

// checkNewUser refuses names under which others than users are recorded, or asked
// about.
func checkNewUser(name string) error {
	switch {
	case name == events.Anonymous, name == events.Loopback, name == events.Authenticated, strings.HasPrefix(name, "operator@"):
		return fail(ErrInvalid, "no user can be called %q, which means somebody else", name)
	}
	return checkIdentityName("user", name)
}

// mayPutUser reports why who may not make or change a user so. Users may change
// their own password and how they are shown, if they know the old password.
func (d delegation) mayPutUser(who *access.Caller, u awayUser) error {
	if u.Hash != "" {
		if err := d.maySetPassword(who, u.Name); err != nil {
			return err
		}
	}
	itself := who.User() == u.Name && who.TokenID() == ""
	if itself && u.Service == nil && u.Disabled == nil && u.Groups == nil && !u.NoPassword {
		return nil
	}
	return d.mayChangeUser(who, u.Name)
}

// regroup has a user in the groups named, and in no others.
func (d delegation) regroup(v view, who *access.Caller, user string, groups []string) (bodies []events.Body, err error) {
	for _, g := range groups {
		if _, ok := d.groups[g]; !ok {
			if err := d.mayChangeGroup(who, g); err != nil {
				return nil, err
			}
			return nil, fail(ErrInvalid, "there is no group called %q; make it with: registry-node group set %s", g, g)
		}
	}
	for _, name := range sortedKeys(d.groups) {
		in, wanted := slices.Contains(d.groups[name], user), slices.Contains(groups, name)
		if in == wanted {
			continue
		}
		if err := d.mayChangeGroup(who, name); err != nil {
			return nil, err
		}
		members := leaveOut(d.groups[name], user)
		if wanted {
			members = sortedSet(append(members, user))
		}
		if err := v.room(events.KeyGroup(name), true); err != nil {
			return nil, err
		}
		bodies = append(bodies, events.GroupChanged{Name: name, Members: members, Actor: who.Actor()})
	}
	return bodies, nil
}

// DeleteUser ends a user, whose tokens end with it, and takes it out of all groups
// and rules, so that another user of that name starts with nothing. The registry's
// home decides. Errors: ErrUnauthorized, ErrForbidden, ErrNotFound, ErrNoSpace,
// ErrUnavailable.
func (n *Node) DeleteUser(ctx context.Context, who *access.Caller, name string) error {
	if err := checkIdentityName("user", name); err != nil {
		return err
	}
	if err := n.delegation().mayChangeUser(who, name); err != nil {
		return err
	}
	_, err := n.atRegistryHome(ctx, who, opUserDelete, awayName{name}, &nothing{}, func() error {
		_, err := n.deleteUser(ctx, who, name)
		return err
	})
	return err
}

func (n *Node) deleteUser(ctx context.Context, who *access.Caller, name string) (events.Position, error) {
	return n.deletePrincipal(ctx, "user:"+name, who, func(v view, d delegation) (events.Body, error) {
		if err := d.mayChangeUser(who, name); err != nil {
			return nil, err
		}
		_, id, err := v.user(name)
		if err != nil {
			return nil, err
		}
		if id.Body == nil || id.Deleted {
			return nil, fail(ErrNotFound, "there is no user called %q", name)
		}
		return events.UserDeleted{Name: name, Actor: who.Actor()}, nil
	})
}

// user returns what the record of a user says.
func (v view) user(name string) (events.User, events.Identity, error) {
	cs, err := v.txn.Get(events.KeyUser(name))
	if err != nil {
		return events.User{}, events.Identity{}, err
	}
	id, _ := v.dir.ResolveIdentity(cs)
	u, _ := userOf(id)
	return u, id, nil
}

// knownUser returns what the record of a user says, or that there is none.
func (v view) knownUser(name string) (events.User, error) {
	u, id, err := v.user(name)
	if err == nil && (id.Body == nil || id.Deleted) {
		err = fail(ErrInvalid, "there is no user called %q; make it with: registry-node user create %s", name, name)
	}
	return u, err
}
