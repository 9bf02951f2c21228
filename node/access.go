package node

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/replication"
)

// Who may do what is asked here, by the exported methods of Node, and decided by
// access.Table.Allows. What the home of a name decides is asked again there.

// allow reports why a caller may not do what need says: ErrUnauthorized if it
// would help to show credentials, else ErrForbidden.
func (n *Node) allow(who *access.Caller, need access.Need) error {
	return n.state.Load().allow(who, need)
}

func (st *state) allow(who *access.Caller, need access.Need) error {
	if st.rights.Allows(who, need) {
		return nil
	}
	return denied(who, need)
}

// allowUser is allow for what no site may ask for in its own name, whatever rules
// say of it.
func (n *Node) allowUser(who *access.Caller, need access.Need) error {
	if who.User() == "" {
		return fail(ErrForbidden, "this takes a token of an administrator of the registry: the word of another site is not enough; show one, or run this on a node of site %s", n.id.Site)
	}
	return n.allow(who, need)
}

// denied is the refusal of a caller. It is the same whether or not there is what
// the need names.
func denied(who *access.Caller, need access.Need) error {
	what := fmt.Sprintf("%v ", need.Action)
	switch {
	case need == access.Everything:
		what = "administer the registry"
	case need.Action == access.Manage:
		what += need.Repo
	case need.Repo == "*" && need.Module == "":
		what += "all modules"
	case need.Repo == "*":
		what += need.Module
	case need.Module == "":
		what += fmt.Sprintf("what is in repository %s", need.Repo)
	default:
		what += fmt.Sprintf("%s in repository %s", need.Module, need.Repo)
	}
	if !who.Known() {
		return fail(ErrUnauthorized, "to %s takes credentials: a token of a user who may", what)
	}
	text := fmt.Sprintf("%s may not %s", who.Name(), what)
	if id := who.TokenID(); id != "" {
		text += fmt.Sprintf(", or not with token %s", id)
	}
	return fail(ErrForbidden, "%s; administrators give rights with: registry-node permission set", text)
}

// errCredentials is the answer to wrong credentials. What is wrong with them it
// does not tell.
func errCredentials() error {
	return fail(ErrUnauthorized, "these credentials are wrong: the token, or the user or password, is not known here")
}

// Authenticate returns who shows a credential, from an address. Errors:
// ErrUnauthorized, ErrUnavailable.
func (n *Node) Authenticate(ctx context.Context, c access.Credential, from netip.Addr) (*access.Caller, error) {
	if issuer, idToken, ok := c.IDToken(); ok {
		return n.idTokenCaller(ctx, issuer, idToken)
	}
	if user, password, ok := c.Password(); ok {
		if err := n.checkPassword(ctx, user, password); err != nil {
			return nil, err
		}
		return access.UserCaller(access.Login{User: user, From: from, Credential: c}), nil
	}
	t, ok := c.Token()
	switch {
	case !ok:
		return nil, errCredentials()
	case t.Local():
		return n.exchangedCaller(t, from, time.Now())
	}
	return n.tokenCaller(t, from, time.Now())
}

// tokenCaller returns the user of a token that is in the log. Both records are read
// each time, so that a revocation counts at once.
func (n *Node) tokenCaller(t access.Token, from netip.Addr, now time.Time) (*access.Caller, error) {
	id, ok, err := n.identity(events.KeyToken(t.ID()))
	if err != nil {
		return nil, err
	}
	b, is := id.Body.(events.TokenIssued)
	hash := t.Hash()
	if right := subtle.ConstantTimeCompare(b.Hash[:], hash[:]); !ok || !is || right != 1 {
		return nil, errCredentials()
	}
	switch {
	case id.Deleted:
		return nil, fail(ErrUnauthorized, "token %s was revoked", b.ID)
	case !b.Expires.IsZero() && !now.Before(b.Expires):
		return nil, fail(ErrUnauthorized, "token %s expired at %s", b.ID, b.Expires.Format(time.RFC3339))
	}
	if err := n.userNow(b.User, id.Since); err != nil {
		return nil, err
	}
	n.used(b.ID)
	return access.UserCaller(access.Login{
		User: b.User, Token: b.ID, Scope: access.Scope{Repos: b.Repos, Actions: b.Actions, Modules: b.Modules},
		Expires: b.Expires, From: from, Credential: access.TokenCredential(t),
	}), nil
}

// userNow reports why a user can't authenticate with what was issued then: it is
// disabled or deleted, or another user of the name was meant.
func (n *Node) userNow(name string, issued events.Order) error {
	id, ok, err := n.identity(events.KeyUser(name))
	switch {
	case err != nil:
		return err
	case !ok || id.Deleted || id.Since.Compare(issued) > 0:
		return fail(ErrUnauthorized, "user %s was deleted", name)
	}
	if u, ok := userOf(id); !ok || u.Disabled {
		return fail(ErrUnauthorized, "user %s is disabled", name)
	}
	return nil
}

// userOf returns what the record of a user says.
func userOf(id events.Identity) (events.User, bool) {
	switch b := id.Body.(type) {
	case events.UserCreated:
		return b.User, true
	case events.UserChanged:
		return b.User, true
	}
	return events.User{}, false
}

// identity returns the record of a user, group, rule or token as it is now; ok is
// false if there never was one.
func (n *Node) identity(k events.Key) (id events.Identity, ok bool, err error) {
	st := n.state.Load() // before the index is read: what is newer there has a newer state
	if known, has := st.identities.get(k); has {
		return known.Identity, known.ok, nil
	}
	cs, err := n.index.Load().Get(k)
	if err != nil {
		return id, false, fmt.Errorf("index: %w", err)
	}
	id, ok = st.dir.ResolveIdentity(cs)
	st.identities.put(k, knownIdentity{id, ok})
	return id, ok, nil
}

// knownIdentity is what identity returned.
type knownIdentity struct {
	events.Identity
	ok bool
}

// identitySlots bounds how many users and tokens are remembered between two changes
// of any.
const identitySlots = 1 << 12

// stateChange says what of a state is another one after some events.
type stateChange uint8

const (
	changesNothing stateChange = iota
	changesIdentities
	changesDirectory // and so everything
)

// changeOf returns what an event about a record of a kind changes.
func changeOf(k events.Kind) stateChange {
	switch {
	case events.InDirectory(k):
		return changesDirectory
	case k == events.KindUser, k == events.KindToken:
		return changesIdentities
	}
	return changesNothing
}

// refresh has everybody see what events have changed, which are in the index.
func (n *Node) refresh(c stateChange) error {
	switch c {
	case changesDirectory:
		return n.refreshDirectory()
	case changesIdentities:
		n.forgetIdentities()
	}
	return nil
}

// forgetIdentities makes a new state in which no user and no token is remembered.
// All else stays: tokens come and go all the time, and the Directory is dear to make.
func (n *Node) forgetIdentities() {
	n.resolving.Lock()
	defer n.resolving.Unlock()
	st := *n.state.Load()
	st.identities = newTable[events.Key, knownIdentity](identitySlots)
	n.state.Store(&st)
}

// mayLook reports why a caller may not see how this node stands: it may read
// nothing at all.
func (n *Node) mayLook(who *access.Caller) error {
	if n.state.Load().rights.Anyone(who) {
		return nil
	}
	if !who.Known() {
		return fail(ErrUnauthorized, "this takes credentials: a token of a user who may read something in this registry")
	}
	return fail(ErrForbidden, "%s may read nothing in this registry; administrators give rights with: registry-node permission set", who.Name())
}

// MayLook reports why a caller may not see how this node stands.
func (n *Node) MayLook(who *access.Caller) error { return n.mayLook(who) }

// MaySeeReaders reports why a caller may not see who was given which module.
func (n *Node) MaySeeReaders(who *access.Caller) error { return n.allow(who, access.Everything) }

// recheck reports why who has authenticated would not be let in again.
func (n *Node) recheck(ctx context.Context, who *access.Caller) error {
	if who.Credential().IsZero() {
		return nil
	}
	_, err := n.Authenticate(ctx, who.Credential(), who.From())
	return err
}

// readsAny reports whether a caller reads or manages something that is called
// name: a repository or, of a virtual one, a member.
func (st *state) readsAny(who *access.Caller, name events.RepoName) bool {
	need := access.Need{Action: access.Read, Repo: name.String()}
	if st.rights.Allows(who, need) || st.rights.Manages(who, name.String()) {
		return true
	}
	r := st.dir.RepoNamed(name)
	if r == nil || r.Kind != events.Virtual {
		return false
	}
	return slices.ContainsFunc(r.Settings.Members, func(m events.RepoName) bool {
		return st.rights.Allows(who, access.Need{Action: access.Read, Repo: m.String()})
	})
}

// self is this node, when it decides something without being asked.
func (n *Node) self() *access.Caller { return access.Operator(n.id.Site) }

// whoAsks returns who has another site ask for a decision: the user whose
// credential it forwards, or the site itself.
func (s *sites) whoAsks(ctx context.Context, from events.Site, req replication.DecideRequest) (*access.Caller, error) {
	c, err := access.ParseCredential(req.Credential)
	if err != nil {
		return nil, because(err, ErrInvalid, "site %s: %v", s.node.id.Site, err)
	}
	if c.IsZero() {
		site := access.SiteCaller(from)
		switch req.Actor {
		case events.Anonymous:
			return site.For(access.Anonymous(netip.Addr{})), nil
		case events.Loopback:
			return site.For(access.LoopbackCaller(netip.Addr{})), nil
		}
		return site, nil
	}
	who, err := s.node.Authenticate(ctx, c, netip.Addr{})
	if t, ok := c.Token(); ok && errors.Is(err, ErrUnauthorized) && !s.node.hasToken(t) {
		// The asking site has found it right: it may know more than this one.
		return nil, because(errTokenUnknown, ErrUnavailable, "site %s decides about this and does not know token %s yet; try again in a moment", s.node.id.Site, t.ID())
	}
	return who, err
}

// hasToken reports whether a token was ever issued, as far as this node knows.
func (n *Node) hasToken(t access.Token) bool {
	_, ok, err := n.identity(events.KeyToken(t.ID()))
	return ok && err == nil
}
