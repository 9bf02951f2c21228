package node

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"registry-node/events"
	"registry-node/node/access"
)

// An ID token of an issuer that the registry trusts is exchanged for a token of the
// registry that lasts for minutes or hours; a password is, too, for one that lasts
// for weeks (exchangepassword.go). That is in no log: this site alone knows it, by a
// row of its local state, which says whose it is and under which issuer, or for
// which password, as that was then. It counts while the user may sign in and
// nothing of the issuer, or of the password, has changed.
//
// What another site decides is asked of it with what was exchanged, which it
// verifies like this one did. So the row has that, sealed under the token's secret:
// nothing that is stored here can be used without the token.

const exchangedSpace = "exchanged" // by the token's id

// sweepEvery is how often rows of tokens that have expired are taken away, at
// most.
const sweepEvery = time.Minute

// exchanges are the tokens of this site, and what checks ID tokens.
type exchanges struct {
	verifier *access.Verifier
	swept    atomic.Int64 // when, in Unix seconds

	mu sync.Mutex // held while rows are written or swept; guards at
	at string     // the row behind which sweeping goes on
}

func newExchanges() *exchanges { return &exchanges{verifier: access.NewVerifier(nil, nil)} }

// Exchanged is what an ID token, or a password, was exchanged for.
type Exchanged struct {
	ID      string    `json:"id"`
	Token   string    `json:"token"` // shown once
	Expires time.Time `json:"expires"`
	User    string    `json:"user"`
}

// exchangedToken is what this site remembers of such a token.
type exchangedToken struct {
	Hash  events.Digest  `json:"hash"`
	User  string         `json:"user"`
	Since events.EventID `json:"since"` // made the user: another one of that name is not meant
	// Enabled is since when the user may sign in, see events.Identity; zero, of rows of
	// former versions: Since.
	Enabled events.EventID `json:"enabled,omitzero"`
	Issuer  string         `json:"issuer"` // empty: it was given for the password
	Rule    events.Digest  `json:"rule"`   // the issuer, or the hash of the password, as it was
	Expires time.Time      `json:"expires"`
	Given   time.Time      `json:"given"`
	Shown   []byte         `json:"id_token"` // or the password; sealed, see access.Token.Seal

	// Of a token that took the place of another, see RefreshExchanged: the id of the
	// first of them, and when that was given.
	Family string    `json:"family,omitempty"`
	First  time.Time `json:"first,omitzero"`
}

// givenTo returns what a user's token is given under, as the record of the user is.
func givenTo(user string, id events.Identity) exchangedToken {
	return exchangedToken{User: user, Since: id.Since.Event, Enabled: id.Enabled.Event}
}

// means reports whether the record of a user is still that of the one to whom the
// token was given, and the user was not disabled since.
func (row exchangedToken) means(id events.Identity) bool {
	return id.Since.Event == row.Since && id.Enabled.Event == cmp.Or(row.Enabled, row.Since)
}

// ruleDigest names an issuer as it is.
func ruleDigest(is events.TrustedIssuer) (events.Digest, error) {
	b, err := json.Marshal(is)
	return events.DigestOf(b), err
}

// Exchange gives a token of this site for an ID token of the issuer of a name.
// Errors: ErrNotFound (no such issuer), ErrUnauthorized (the token is not one of
// that issuer for this registry, or is not valid now), ErrForbidden (its claims are
// others, or nobody's here), ErrUnavailable (the issuer can't be asked for its
// keys).
func (n *Node) Exchange(ctx context.Context, issuer, idToken string) (Exchanged, error) {
	is, ok := n.directory().Issuer(issuer)
	if !ok {
		return Exchanged{}, noIssuer(issuer)
	}
	proof, err := n.exchanges.verifier.Verify(ctx, is.Issuer, idToken)
	if err != nil {
		return Exchanged{}, provedNothing(err, issuer)
	}
	id, err := n.signsIn(proof.User)
	if err != nil {
		return Exchanged{}, err
	}
	rule, err := ruleDigest(is)
	if err != nil {
		return Exchanged{}, err
	}
	row := givenTo(proof.User, id)
	row.Issuer, row.Rule = issuer, rule
	x, err := n.give(row, is.Lifetime(), idToken)
	if err == nil {
		n.logger.Info("ID token exchanged", "issuer", issuer, "user", x.User, "token", x.ID, "expires", x.Expires)
	}
	return x, err
}

// give makes a token of this site for what was shown, which lasts for a while. When
// it returns, a crash does not lose it.
func (n *Node) give(row exchangedToken, lifetime time.Duration, shown string) (Exchanged, error) {
	now := time.Now().UTC()
	n.sweepExchanged(now)
	t, err := row.sealed(now, now.Add(lifetime), shown)
	if err != nil {
		return Exchanged{}, err
	}
	n.exchanges.mu.Lock()
	defer n.exchanges.mu.Unlock()
	if err := n.putExchanged(t.ID(), row); err != nil {
		return Exchanged{}, err
	}
	return Exchanged{t.ID(), t.Secret(), row.Expires, row.User}, nil
}

// sealed makes the token of a row, which is given now.
func (row *exchangedToken) sealed(now, expires time.Time, shown string) (t access.Token, err error) {
	t = access.NewToken(true)
	row.Hash, row.Given, row.Expires = t.Hash(), now, expires.Truncate(time.Second)
	row.Shown, err = t.Seal([]byte(shown))
	return t, err
}

// provedNothing is the answer to an ID token that doesn't count.
func provedNothing(err error, issuer string) error {
	switch {
	case errors.Is(err, access.ErrIDToken):
		return because(err, ErrUnauthorized, "issuer %s: %v", issuer, err)
	case errors.Is(err, access.ErrClaims):
		return because(err, ErrForbidden, "issuer %s: %v", issuer, err)
	case errors.Is(err, access.ErrIssuer):
		return because(opaque(err), ErrUnavailable, "issuer %s: %v; try again", issuer, err)
	}
	return err
}

// signsIn returns the record of a user whom an ID token names. Errors:
// ErrForbidden.
func (n *Node) signsIn(user string) (events.Identity, error) {
	id, ok, err := n.identity(events.KeyUser(user))
	if err != nil {
		return id, err
	}
	if u, is := userOf(id); !ok || id.Deleted || !is || u.Disabled {
		return id, fail(ErrForbidden, "the ID token is valid, and stands for user %q, whom this registry does not have, or has disabled", user)
	}
	return id, nil
}

// exchanged returns what this site knows of a token. Errors: ErrUnauthorized.
func (n *Node) exchanged(t access.Token) (row exchangedToken, err error) {
	row, ok, err := n.exchangedRow(t.ID())
	if err != nil {
		return row, err
	}
	hash := t.Hash()
	if subtle.ConstantTimeCompare(row.Hash[:], hash[:]) != 1 || !ok {
		return row, fail(ErrUnauthorized, "token %s is not known at site %s; what an ID token or a password was exchanged for counts at the site that gave it alone, until it expires", t.ID(), n.id.Site)
	}
	return row, nil
}

// exchangedRow returns the row of a token; ok is false if there is none.
func (n *Node) exchangedRow(id string) (row exchangedToken, ok bool, err error) {
	b, ok, err := n.index.Load().Local(exchangedSpace).Get(id)
	if err != nil || !ok {
		return row, false, storeFailed(err, "token "+id)
	}
	if err := json.Unmarshal(b, &row); err != nil {
		return row, false, fmt.Errorf("token %s in the index: %w", id, err)
	}
	return row, true, nil
}

// exchangedCaller returns the user of a token that this site gave.
func (n *Node) exchangedCaller(t access.Token, from netip.Addr, now time.Time) (*access.Caller, error) {
	row, err := n.exchanged(t)
	if err != nil {
		return nil, err
	}
	if !now.Before(row.Expires) {
		return nil, fail(ErrUnauthorized, "token %s expired at %s; sign in again", t.ID(), row.Expires.Format(time.RFC3339))
	}
	id, err := n.signsIn(row.User)
	if errors.Is(err, ErrForbidden) || err == nil && !row.means(id) {
		return nil, fail(ErrUnauthorized, "user %s was deleted or disabled; sign in again", row.User)
	}
	if err != nil {
		return nil, err
	}
	scope, err := n.stands(t.ID(), row, id)
	if err != nil {
		return nil, err
	}
	n.used(t.ID())
	return access.UserCaller(access.Login{
		User: row.User, Token: t.ID(), Scope: scope, Expires: row.Expires, From: from, Credential: access.TokenCredential(t),
	}), nil
}

// stands reports why a token no longer counts, as what it was given for has changed,
// or else what it is limited to. id is the record of its user.
func (n *Node) stands(token string, row exchangedToken, id events.Identity) (access.Scope, error) {
	if row.forPassword() {
		if passwordDigest(id) != row.Rule {
			return access.Scope{}, fail(ErrUnauthorized, "token %s is void: the password of user %s has changed; sign in again", token, row.User)
		}
		return access.Scope{}, nil
	}
	is, ok := n.directory().Issuer(row.Issuer)
	rule, err := ruleDigest(is)
	if err == nil && (!ok || rule != row.Rule) {
		err = fail(ErrUnauthorized, "token %s is void: what this registry says of issuer %s has changed; sign in again", token, row.Issuer)
	}
	return scopeOf(is), err
}

func scopeOf(is events.TrustedIssuer) access.Scope {
	return access.Scope{Repos: is.Repos, Actions: is.Actions, Modules: is.Modules}
}

// abroad returns what to show another site for a credential that was shown here:
// that site does not know this one's tokens, so for such a one it is what that was
// given for.
func (n *Node) abroad(c access.Credential) (access.Credential, error) {
	t, ok := c.Token()
	if !ok || !t.Local() {
		return c, nil
	}
	row, err := n.exchanged(t)
	if err != nil {
		return access.Credential{}, err
	}
	shown, err := t.Unseal(row.Shown)
	switch {
	case err != nil:
		return access.Credential{}, err
	case row.forPassword():
		return access.PasswordCredential(row.User, string(shown)), nil
	}
	return access.IDTokenCredential(row.Issuer, string(shown)), nil
}

// idTokenCaller returns the user whom an ID token names that another site has
// exchanged: it may have expired since, and counts for as long as what it was
// exchanged for can.
func (n *Node) idTokenCaller(ctx context.Context, issuer, idToken string) (*access.Caller, error) {
	is, ok := n.directory().Issuer(issuer)
	if !ok {
		return nil, fail(ErrUnavailable, "site %s decides about this, and knows no issuer called %q, or not yet; try again in a moment", n.id.Site, issuer)
	}
	proof, err := n.exchanges.verifier.VerifyExchanged(ctx, is.Issuer, idToken)
	if err != nil {
		return nil, provedNothing(err, issuer)
	}
	id, err := n.signsIn(proof.User)
	if errors.Is(err, ErrForbidden) || err == nil && id.Created.After(proof.Issued.Add(access.Leeway)) {
		return nil, fail(ErrUnauthorized, "user %s was deleted or is disabled", proof.User)
	}
	if err != nil {
		return nil, err
	}
	return access.UserCaller(access.Login{
		User: proof.User, Token: "oidc:" + issuer, Scope: scopeOf(is), Expires: proof.Issued.Add(access.MaxIDTokenAge + is.Lifetime()),
		Credential: access.IDTokenCredential(issuer, idToken),
	}), nil
}

// forgetExchanged takes away what this site knows of a token, and of those that took
// its place or that it took the place of: all are void then, durably. A caller may do
// so with its own (see revokesOwn), an administrator with all. ok is false if there is
// no such token that the caller may know of.
func (n *Node) forgetExchanged(who *access.Caller, id string) (ok bool, err error) {
	// Refreshing holds it, too: what came of a token is there when this looks for it.
	n.exchanges.mu.Lock()
	defer n.exchanges.mu.Unlock()
	row, ok, err := n.exchangedRow(id)
	if err != nil || !ok {
		return false, err
	}
	if !revokesOwn(who, row.User, id) && n.allow(who, access.Everything) != nil {
		return false, nil
	}
	slots, err := n.slotsOf(row)
	if err != nil {
		return false, err
	}
	family := slices.DeleteFunc(slots, func(s givenSlot) bool { return s.id == id || s.family != row.familyOf(id) })
	return true, storeFailed(n.dropSlots(append(family, givenSlot{row.slot(id), id, row.familyOf(id)})), "forget token "+id)
}
