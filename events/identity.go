package events

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// User is what a registry knows of a person or a service account. Secrets are
// not among it, only hashes that can't be turned back.
type User struct {
	Service  bool   `json:"service,omitempty"`  // a service account
	Disabled bool   `json:"disabled,omitempty"` // can't authenticate
	Display  string `json:"display,omitempty"`
	// Password is a bcrypt or argon2id hash in its usual text form, or empty.
	Password string `json:"password_hash,omitempty"`
}

// UserCreated states that a user exists. Decided by the registry's home, like
// all that follow in this file but TokenRevoked.
type UserCreated struct {
	always
	Name string `json:"name"`
	User
	Actor string `json:"actor,omitempty"`
}

// UserChanged replaces what is known of a user.
type UserChanged struct {
	always
	Name string `json:"name"`
	User
	Actor string `json:"actor,omitempty"`
}

// UserDeleted ends a user; the name can be created anew, the tokens can't.
type UserDeleted struct {
	always
	Name  string `json:"name"`
	Actor string `json:"actor,omitempty"`
}

// GroupChanged makes a group, or replaces its members.
type GroupChanged struct {
	always
	Name    string   `json:"name"`
	Members []string `json:"members,omitempty"` // users
	Actor   string   `json:"actor,omitempty"`
}

// GroupDeleted ends a group.
type GroupDeleted struct {
	always
	Name  string `json:"name"`
	Actor string `json:"actor,omitempty"`
}

// Grant is a rule: these principals may do these actions with these modules in
// these repositories.
type Grant struct {
	Principals []string  `json:"principals,omitempty"` // see CheckPrincipal
	Repos      []string  `json:"repos,omitempty"`      // names, * and ? allowed
	Include    []Pattern `json:"include,omitempty"`
	Exclude    []Pattern `json:"exclude,omitempty"`
	Actions    []string  `json:"actions,omitempty"` // read, publish, delete, block, manage
}

// PermissionChanged makes a rule, or replaces it.
type PermissionChanged struct {
	always
	Name string `json:"name"`
	Grant
	Actor string `json:"actor,omitempty"`
}

// PermissionDeleted ends a rule.
type PermissionDeleted struct {
	always
	Name  string `json:"name"`
	Actor string `json:"actor,omitempty"`
}

// TokenIssued states that a token exists. The log knows its hash only.
type TokenIssued struct {
	always
	ID          string    `json:"id"`
	User        string    `json:"user"`
	Hash        Digest    `json:"hash"`              // SHA-256 of the secret
	Repos       []string  `json:"repos,omitempty"`   // names, * and ? allowed; none: all
	Actions     []string  `json:"actions,omitempty"` // none: all
	Modules     []Pattern `json:"modules,omitempty"` // none: all
	Expires     time.Time `json:"expires,omitzero"`  // UTC; zero: never
	Description string    `json:"description,omitempty"`
	Actor       string    `json:"actor,omitempty"`
}

// TokenRevoked ends a token for ever. It only restricts, so any member may
// state it.
type TokenRevoked struct {
	always
	ID     string `json:"id"`
	Reason string `json:"reason,omitempty"`
	Actor  string `json:"actor,omitempty"`
}

// Type returns "user.created".
func (UserCreated) Type() Type { return "user.created" }

// Type returns "user.changed".
func (UserChanged) Type() Type { return "user.changed" }

// Type returns "user.deleted".
func (UserDeleted) Type() Type { return "user.deleted" }

// Type returns "group.changed".
func (GroupChanged) Type() Type { return "group.changed" }

// Type returns "group.deleted".
func (GroupDeleted) Type() Type { return "group.deleted" }

// Type returns "permission.changed".
func (PermissionChanged) Type() Type { return "permission.changed" }

// Type returns "permission.deleted".
func (PermissionDeleted) Type() Type { return "permission.deleted" }

// Type returns "token.issued".
func (TokenIssued) Type() Type { return "token.issued" }

// Type returns "token.revoked".
func (TokenRevoked) Type() Type { return "token.revoked" }

// Key returns the record of the user.
func (b UserCreated) Key(EventID) Key { return KeyUser(b.Name) }

// Key returns the record of the user.
func (b UserChanged) Key(EventID) Key { return KeyUser(b.Name) }

// Key returns the record of the user.
func (b UserDeleted) Key(EventID) Key { return KeyUser(b.Name) }

// Key returns the record of the group.
func (b GroupChanged) Key(EventID) Key { return KeyGroup(b.Name) }

// Key returns the record of the group.
func (b GroupDeleted) Key(EventID) Key { return KeyGroup(b.Name) }

// Key returns the record of the rule.
func (b PermissionChanged) Key(EventID) Key { return KeyPermission(b.Name) }

// Key returns the record of the rule.
func (b PermissionDeleted) Key(EventID) Key { return KeyPermission(b.Name) }

// Key returns the record of the token.
func (b TokenIssued) Key(EventID) Key { return KeyToken(b.ID) }

// Key returns the record of the token.
func (b TokenRevoked) Key(EventID) Key { return KeyToken(b.ID) }

func (b UserCreated) check() error  { return checkIdentity(b.Name, b.Actor, b.User.check()) }
func (b UserChanged) check() error  { return checkIdentity(b.Name, b.Actor, b.User.check()) }
func (b UserDeleted) check() error  { return checkIdentity(b.Name, b.Actor) }
func (b GroupDeleted) check() error { return checkIdentity(b.Name, b.Actor) }

func (b GroupChanged) check() error {
	return checkIdentity(b.Name, b.Actor, checkAll("member", b.Members, checkUserName))
}

func (b PermissionChanged) check() error { return checkIdentity(b.Name, b.Actor, b.Grant.check()) }
func (b PermissionDeleted) check() error { return checkIdentity(b.Name, b.Actor) }

func (b TokenIssued) check() error {
	if b.Hash.IsZero() {
		return errors.New("a token needs the hash of its secret")
	}
	if len(b.Modules) > maxList {
		return fmt.Errorf("more than %d patterns", maxList)
	}
	return checkIdentity(b.ID, b.Actor, checkUserName(b.User), checkText("description", b.Description), checkUTC("expires", b.Expires),
		checkAll("repository", b.Repos, checkRepoGlob), checkAll("action", b.Actions, checkAction))
}

func (b TokenRevoked) check() error {
	return checkIdentity(b.ID, b.Actor, checkText("reason", b.Reason))
}

func (u User) check() error {
	return errors.Join(checkText("display", u.Display), checkText("password_hash", u.Password))
}

func (g Grant) check() error {
	if len(g.Include) > maxList || len(g.Exclude) > maxList {
		return fmt.Errorf("more than %d patterns", maxList)
	}
	return errors.Join(
		checkAll("principal", g.Principals, CheckPrincipal),
		checkAll("repository", g.Repos, checkRepoGlob),
		checkAll("action", g.Actions, checkAction))
}

func checkIdentity(name, actor string, more ...error) error {
	return errors.Join(append(more, checkUserName(name), checkText("actor", actor))...)
}

const maxMembersOfGroup = 4096

func checkAll(what string, list []string, check func(string) error) error {
	if len(list) > maxMembersOfGroup {
		return fmt.Errorf("more than %d of %s", maxMembersOfGroup, what)
	}
	for _, s := range list {
		if err := check(s); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

// checkUserName accepts the names of users, groups, rules and tokens: 1 to 128
// of a-z, 0-9 and . _ @ + - in lower case, starting with a letter or digit.
func checkUserName(s string) error {
	if s == "" || len(s) > 128 || strings.IndexByte("._@+-", s[0]) >= 0 {
		return fmt.Errorf("name %q is empty, too long, or starts with punctuation", s)
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte("._@+-", c) < 0 {
			return fmt.Errorf("name %q may only have a-z, 0-9 and . _ @ + -", s)
		}
	}
	return nil
}

// The principals that have no name.
const (
	Anonymous     = "anonymous"     // whoever shows no credentials
	Loopback      = "loopback"      // who shows none, and asks over a loopback listener
	Authenticated = "authenticated" // every user
)

// CheckPrincipal reports why s names nobody that a rule can be for: it is none of
// user:NAME, group:NAME, site:NAME (the operators of a site, at their machine),
// anonymous, loopback, authenticated.
func CheckPrincipal(s string) error {
	switch s {
	case Anonymous, Loopback, Authenticated:
		return nil
	}
	kind, name, _ := strings.Cut(s, ":")
	switch kind {
	case "user", "group":
		return checkUserName(name)
	case "site":
		_, err := ParseSite(name)
		return err
	}
	return fmt.Errorf("%q is none of user:NAME, group:NAME, site:NAME, anonymous, loopback, authenticated", s)
}

// CheckUserName reports why s can't be the name of a user, group or rule, or the
// id of a token.
func CheckUserName(s string) error { return checkUserName(s) }

func checkRepoGlob(s string) error {
	if err := checkName(strings.NewReplacer("*", "x", "?", "x").Replace(s)); err != nil {
		return fmt.Errorf("repository name %w", err)
	}
	return nil
}

func checkAction(s string) error {
	switch s {
	case "read", "publish", "delete", "block", "manage":
		return nil
	}
	return fmt.Errorf("%q is none of read, publish, delete, block, manage", s)
}
