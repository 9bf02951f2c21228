package node

import (
	"context"
	"time"

	"registry-node/events"
	"registry-node/node/access"
)

// maxScope bounds each list of a token's scope, which is read with every request.
const maxScope = 64

// NewToken is a token to be issued.
type NewToken struct {
	User string `json:"user,omitempty"` // empty: the caller
	access.Scope
	Lifetime    Lifetime `json:"expires,omitzero"`
	Description string   `json:"description,omitempty"` // for people, at most 1 KiB
}

// IssuedToken is a token that was issued. This is the only time that it is shown.
type IssuedToken struct {
	ID    string `json:"id"`
	Token string `json:"token"` // secret
	User  string `json:"user"`
	access.Scope
	Expires time.Time `json:"expires,omitzero"` // zero: never
}

// TokenInfo is what may be told of a token.
type TokenInfo struct {
	ID   string `json:"id"`
	User string `json:"user"`
	access.Scope
	Expires     time.Time `json:"expires,omitzero"` // zero: never
	Description string    `json:"description,omitempty"`
	Created     time.Time `json:"created"`
	CreatedBy   string    `json:"created_by,omitempty"`
	// LastUsed is when this node last let somebody in with it; zero: never, as far
	// as this node knows.
	LastUsed time.Time `json:"last_used,omitzero"`
	// Revoked says that it was revoked, or that its user was deleted.
	Revoked bool `json:"revoked,omitempty"`
	// Site is the site that alone knows it, which gave it for an ID token or a password;
	// empty of one that all sites know.
	Site string `json:"site,omitempty"`
}

// Works reports whether the token can be used at a time.
func (t TokenInfo) Works(now time.Time) bool {
	return !t.Revoked && (t.Expires.IsZero() || now.Before(t.Expires))
}

// TokenQuery says which tokens are wanted.
type TokenQuery struct {
	User string // of whom; empty: of all whose tokens the caller may see
	All  bool   // those that work no more, too
	Page
}

// awayToken is a token to be issued, between sites: what the site that is asked has
// made, with the hash of its secret only.
type awayToken struct {
	ID   string        `json:"id"`
	Hash events.Digest `json:"hash"`
	NewToken
}

// Tokens returns a page of tokens by id: the caller's own, and those of users whom
// the caller may manage. Those that this site alone knows come first: the caller's
// own and, for administrators, all. next is where the next page begins, empty after the last.
// Errors: ErrUnauthorized, ErrForbidden.
func (n *Node) Tokens(who *access.Caller, q TokenQuery) (list []TokenInfo, next string, err error) {
	rights := n.state.Load().rights
	if err := n.mayList(who, "tokens"); err != nil {
		return nil, "", err
	}
	sees := func(user string) bool { return user != "" && user == who.User() || rights.Manages(who, user) }
	if q.User != "" && !sees(q.User) {
		return nil, "", refused(who, "you may not see the tokens of user %s: that takes a rule with the action manage for that name", q.User)
	}
	now, limit := time.Now(), q.most()
	local, next, err := n.localTokens(who, q, now)
	if err != nil || next != "" {
		return local, next, err
	}
	q.Limit = limit - len(local)
	list, next, err = pageOf(n, events.KindToken, q.Page, func(_ string, id events.Identity) (TokenInfo, bool, error) {
		b, ok := id.Body.(events.TokenIssued)
		if !ok || q.User != "" && b.User != q.User || !sees(b.User) {
			return TokenInfo{}, false, nil
		}
		t, err := n.tokenInfo(b, id)
		return t, q.All || t.Works(now), err
	})
	return append(local, list...), next, err
}

func (n *Node) tokenInfo(b events.TokenIssued, id events.Identity) (TokenInfo, error) {
	user, ok, err := n.identity(events.KeyUser(b.User))
	if err != nil {
		return TokenInfo{}, err
	}
	used, err := n.uses.last(b.ID)
	return TokenInfo{
		ID: b.ID, User: b.User, Scope: limitsOf(b), Expires: b.Expires, Description: b.Description,
		Created: id.Created, CreatedBy: b.Actor, LastUsed: used,
		Revoked: id.Deleted || !ok || user.Deleted || user.Since.Compare(id.Since) > 0,
	}, err
}

func limitsOf(b events.TokenIssued) access.Scope {
	return access.Scope{Repos: b.Repos, Actions: b.Actions, Modules: b.Modules}
}

// IssueToken issues a token. The registry's home decides; it learns the hash of the
// secret only. Errors: ErrUnauthorized, ErrForbidden, ErrInvalid (no such user, or a
// disabled one), ErrNoSpace, ErrUnavailable.
func (n *Node) IssueToken(ctx context.Context, who *access.Caller, t NewToken) (IssuedToken, error) {
	if t.User == "" {
		t.User = who.User()
	}
	if t.User == "" {
		return IssuedToken{}, orUnauthorized(who, fail(ErrInvalid, "a token needs the name of its user, as you are none"))
	}
	if err := checkIdentityName("user", t.User); err != nil {
		return IssuedToken{}, err
	}
	if max(len(t.Repos), len(t.Actions), len(t.Modules)) > maxScope {
		return IssuedToken{}, fail(ErrInvalid, "a token is limited to at most %d repositories, actions and modules each; patterns stand for many", maxScope)
	}
	if _, _, err := n.delegation().mayIssue(who, t, time.Now()); err != nil {
		return IssuedToken{}, err
	}
	token := access.NewToken(false)
	away := awayToken{token.ID(), token.Hash(), t}
	var got events.TokenIssued
	_, err := n.atRegistryHome(ctx, who, opTokenIssue, away, &got, func() (err error) {
		got, _, err = n.issueToken(ctx, who, away)
		return err
	})
	if err != nil {
		return IssuedToken{}, err
	}
	return IssuedToken{ID: token.ID(), Token: token.Secret(), User: t.User, Scope: limitsOf(got), Expires: got.Expires}, nil
}

// issueToken decides at this site, the registry's home. The same token may be asked
// for again, since the answer may have been lost.
func (n *Node) issueToken(ctx context.Context, who *access.Caller, t awayToken) (got events.TokenIssued, at events.Position, err error) {
	if err := access.CheckID(t.ID); err != nil {
		return got, at, because(err, ErrInvalid, "%v", err)
	}
	receipt, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		scope, ends, err := n.delegationIn(v.dir).mayIssue(who, t.NewToken, time.Now())
		if err != nil {
			return nil, err
		}
		u, err := v.knownUser(t.User)
		if err != nil {
			return nil, err
		}
		if u.Disabled {
			return nil, fail(ErrInvalid, "user %s is disabled, and gets no tokens", t.User)
		}
		cs, err := v.txn.Get(events.KeyToken(t.ID))
		if err != nil {
			return nil, err
		}
		if id, ok := v.dir.ResolveIdentity(cs); ok {
			var is bool
			if got, is = id.Body.(events.TokenIssued); is && got.Hash == t.Hash && got.User == t.User && !id.Deleted {
				return nil, nil // it asks again
			}
		}
		if len(cs) > 0 {
			return nil, fail(ErrExists, "there is a token %s already; try again", t.ID)
		}
		got = events.TokenIssued{
			ID: t.ID, User: t.User, Hash: t.Hash, Repos: scope.Repos, Actions: scope.Actions, Modules: scope.Modules,
			Expires: ends, Description: t.Description, Actor: who.Actor(),
		}
		return []events.Body{got}, nil
	})
	return got, receipt.Position, err
}

// RevokeToken ends a token for ever: one's own, or one of a user whom the caller may
// manage; with a limited token that has no room for managing the user, itself
// alone. This site says so at once, whether or not it can reach others. Revoking
// again does nothing. What was exchanged for an ID token is forgotten by its site.
// Errors: ErrUnauthorized, ErrForbidden, ErrNotFound, ErrInvalid, ErrNoSpace,
// ErrUnavailable.
func (n *Node) RevokeToken(ctx context.Context, who *access.Caller, id, reason string) error {
	if access.IsLocal(id) {
		ok, err := n.forgetExchanged(who, id)
		if err == nil && !ok {
			err = noSuchToken(who, n.delegation(), id)
		}
		return err
	}
	if events.CheckUserName(id) != nil {
		return noSuchToken(who, n.delegation(), id)
	}
	known, _, err := n.identity(events.KeyToken(id))
	if err != nil {
		return err
	}
	if _, err := n.delegation().mayRevoke(who, id, known); err != nil {
		return err
	}
	_, err = n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		cs, err := v.txn.Get(events.KeyToken(id))
		if err != nil {
			return nil, err
		}
		known, _ := v.dir.ResolveIdentity(cs)
		if revoked, err := n.delegationIn(v.dir).mayRevoke(who, id, known); err != nil || revoked {
			return nil, err
		}
		return []events.Body{events.TokenRevoked{ID: id, Reason: reason, Actor: who.Actor()}}, nil
	})
	return err
}

// noSuchToken is the same for a token that is not there and for one of others, but
// to administrators.
func noSuchToken(who *access.Caller, d delegation, id string) error {
	if d.admin(who) {
		return fail(ErrNotFound, "there is no token %q known at this site", id)
	}
	if !who.Known() {
		return refused(who, "to revoke a token takes credentials")
	}
	return fail(ErrNotFound, "there is no token %q that is yours, or of a user whom you may manage", id)
}

// orUnauthorized returns err to callers who have said who they are.
func orUnauthorized(who *access.Caller, err error) error {
	if !who.Known() {
		return refused(who, "this takes credentials")
	}
	return err
}
