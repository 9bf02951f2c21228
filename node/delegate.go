package node

import (
	"maps"
	"slices"
	"time"

	"registry-node/events"
	"registry-node/node/access"
)

// Who may manage a pattern of names may manage all that is called so: repositories,
// users, groups and rules. So an administrator, who may manage *, hands a project to
// somebody with one rule. What follows keeps that person, the delegate, within it:
//
//   - a rule may speak only of repositories that its writer may manage, and so may
//     the rule that it replaces;
//   - who changes a user or a group, or gets to act for a user, may manage all that
//     this user or group may manage. Else a delegate would become the
//     administrator who happens to have a name of the project;
//   - who shows a token that is limited to some repositories, actions or modules
//     hands out no more than that token has, be it by tokens or by rules, sets no
//     passwords, and issues and revokes tokens of a user only if the limits have
//     room for managing that name; itself it may revoke always. That holds for
//     administrators, too;
//   - what is issued with a token ends with it at the latest, unless an
//     administrator's token without limits is shown, which can make other
//     administrators.
//
// Other rights that a user or group has, as that to read what all teams share, are
// in the hands of those who manage its name: that is what the group of a team is
// for.

// delegation judges who may change which identities, by what a Directory says.
type delegation struct {
	table  *access.Table
	groups map[string][]string
	rules  map[string]events.Rule
}

func compileDelegation(d *events.Directory) delegation {
	groups, rules := d.Groups(), d.Rules()
	return delegation{access.NewTable(groups, rules), groups, rules}
}

// drafted is what was compiled last for a Directory that is not in force.
type drafted struct {
	dir *events.Directory
	delegation
}

// delegationIn returns what judges by d. To compile that is dear, and anybody can
// have something refused: it is done once for each Directory that is in force, and
// once for one that an entry in the making has come to.
func (n *Node) delegationIn(d *events.Directory) delegation {
	if st := n.state.Load(); st != nil && st.dir == d {
		return st.delegation
	}
	if last := n.drafted.Load(); last != nil && last.dir == d {
		return last.delegation
	}
	made := &drafted{d, compileDelegation(d)}
	n.drafted.Store(made)
	return made.delegation
}

// delegation judges by the Directory in force.
func (n *Node) delegation() delegation { return n.state.Load().delegation }

// admin reports whether who administers the registry.
func (d delegation) admin(who *access.Caller) bool { return d.table.Allows(who, access.Everything) }

// mayChangeUser reports why who may not make, change or delete a user.
func (d delegation) mayChangeUser(who *access.Caller, user string) error {
	if err := d.manages(who, "user", user); err != nil {
		return err
	}
	principals := []string{"user:" + user}
	for _, g := range d.table.GroupsOf(user) {
		principals = append(principals, "group:"+g)
	}
	return d.noLess(who, "user "+user, principals...)
}

// mayChangeGroup reports why who may not make, change or delete a group.
func (d delegation) mayChangeGroup(who *access.Caller, group string) error {
	if err := d.manages(who, "group", group); err != nil {
		return err
	}
	return d.noLess(who, "group "+group, "group:"+group)
}

// mayChangeRule reports why who may not put the grant to in place of the rule of
// this name, if there is one. Without to, the rule is deleted.
func (d delegation) mayChangeRule(who *access.Caller, name string, to *events.Grant) error {
	if err := d.manages(who, "rule", name); err != nil {
		return err
	}
	check := func(what string, g events.Grant) error {
		for _, repo := range g.Repos {
			if !d.table.Manages(who, repo) {
				return refused(who, "%s speaks of the repositories %s, which you may not manage", what, repo)
			}
		}
		return nil
	}
	if old, ok := d.rules[name]; ok {
		if err := check("rule "+name+" as it stands", old.Grant); err != nil {
			return err
		}
	}
	if to == nil {
		return nil
	}
	if given := (access.Scope{Repos: to.Repos, Actions: to.Actions, Modules: to.Include}); !given.Within(who.Scope()) {
		return refused(who, "rule %s: the token that you show is limited, and a rule that it writes may give no more: name repositories and actions within its own", name)
	}
	return check("rule "+name, *to)
}

// mayIssue returns the scope and the end of a token that is asked for at a time, or
// why who may not issue it. A user who issues one for himself and does not say how
// it is limited gets the limits of the token that he shows; who does not say when it
// ends gets no later end than that token has.
func (d delegation) mayIssue(who *access.Caller, t NewToken, now time.Time) (scope access.Scope, ends time.Time, err error) {
	own := t.User != "" && who.User() == t.User
	scope, ends = t.Scope, t.Lifetime.after(now)
	if id := who.TokenID(); id != "" && access.CheckID(id) != nil {
		return scope, ends, refused(who, "what you show was exchanged for an ID token, and issues no tokens")
	}
	admin := d.unlimitedAdmin(who)
	if !own || admin {
		if err := d.mayChangeUser(who, t.User); err != nil {
			return scope, ends, err
		}
	}
	if admin || who.TokenID() == "" {
		return scope, ends, nil
	}
	if !who.Scope().Manages(t.User) {
		return scope, ends, refused(who, "the token that you show is limited, and issues none, since its limits have no room for managing %s", t.User)
	}
	if last := who.Expires(); !last.IsZero() {
		if t.Lifetime.IsZero() && ends.After(last) {
			ends = last
		}
		if ends.IsZero() || ends.After(last) {
			return scope, ends, refused(who, "the token that you show ends at %s, and one that it issues may end no later", last.Format(time.RFC3339))
		}
	}
	if own {
		scope = scope.Or(who.Scope())
	}
	if !scope.Within(who.Scope()) {
		return scope, ends, refused(who, "the token that you show is limited, and one that it issues may do no more: name repositories, actions and modules within its own")
	}
	return scope, ends, nil
}

// unlimitedAdmin reports whether who administers the registry, and shows nothing
// that is limited.
func (d delegation) unlimitedAdmin(who *access.Caller) bool {
	return who.Scope().IsZero() && d.admin(who)
}

// mayRevoke reports why who may not revoke a token, and whether it is revoked.
func (d delegation) mayRevoke(who *access.Caller, id string, known events.Identity) (revoked bool, err error) {
	b, ok := known.Body.(events.TokenIssued)
	if !ok || !revokesOwn(who, b.User, id) && d.manages(who, "user", b.User) != nil {
		return false, noSuchToken(who, d, id)
	}
	return known.Deleted, nil
}

// revokesOwn reports whether a token is who's own to revoke: with a limited one,
// that is this one.
func revokesOwn(who *access.Caller, user, id string) bool {
	return user != "" && user == who.User() && (id == who.TokenID() || who.Scope().Manages(user))
}

// maySetPassword reports why who may not give a user a password, with which one
// may do all that the user may.
func (d delegation) maySetPassword(who *access.Caller, user string) error {
	if user != "" && who.User() == user && who.TokenID() == "" {
		return nil // knows the old one
	}
	if err := d.mayChangeUser(who, user); err != nil {
		return err
	}
	if !who.Scope().IsZero() {
		return refused(who, "the token that you show is limited, and a password is not; use one without limits")
	}
	return nil
}

// manages reports why who may not manage what has this name.
func (d delegation) manages(who *access.Caller, what, name string) error {
	if d.table.Manages(who, name) {
		return nil
	}
	return refused(who, "you may not manage the %s %s: that takes a rule with the action manage for a pattern that matches %s", what, name, name)
}

// noLess reports why who may not change what has these principals: rules let them
// manage more than who may.
func (d delegation) noLess(who *access.Caller, what string, principals ...string) error {
	for _, name := range slices.Sorted(maps.Keys(d.rules)) {
		g := d.rules[name].Grant
		if !slices.Contains(g.Actions, access.Manage.String()) || !slices.ContainsFunc(principals, func(p string) bool { return slices.Contains(g.Principals, p) }) {
			continue
		}
		for _, repo := range g.Repos {
			if !d.table.Manages(who, repo) {
				return refused(who, "%s may manage %s by the rule %s, which you may not; that is for somebody who may", what, repo, name)
			}
		}
	}
	return nil
}

// refused is the refusal of what who may not do: ErrUnauthorized if it may be that
// credentials help, else ErrForbidden.
func refused(who *access.Caller, format string, args ...any) error {
	if !who.Known() {
		return fail(ErrUnauthorized, format, args...)
	}
	return fail(ErrForbidden, format, args...)
}
