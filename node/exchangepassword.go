package node

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/netip"
	"time"

	"registry-node/events"
	"registry-node/node/access"
)

// passwordLifetime is how long what a password is exchanged for lasts. The JFrog CLI
// asks for an hour, and then writes the token into settings of the go command that
// nobody renews.
const passwordLifetime = 30 * 24 * time.Hour

const (
	// familyLifetime is how long the tokens last at most that took each other's place,
	// from when the first was given: then a password is to be shown again.
	familyLifetime = 90 * 24 * time.Hour
	// replacedFor is how long a token still counts after another took its place, for
	// commands that run at the same time and have read the former one.
	replacedFor = 10 * time.Minute
)

// forPassword reports whether a token was given for a password.
func (row exchangedToken) forPassword() bool { return row.Issuer == "" }

// passwordDigest names the password that a user has, by the hash that is recorded
// of it: setting the same one again makes another.
func passwordDigest(id events.Identity) events.Digest {
	u, _ := userOf(id)
	return events.DigestOf([]byte(u.Password))
}

// ExchangePassword gives a token of this site to a caller who has shown a password.
// It lasts for 30 days, or until the password is changed or the user disabled or
// deleted, and can do what the user can. Errors: ErrInvalid (the caller showed no
// password), ErrUnauthorized, ErrUnavailable, ErrNoSpace.
func (n *Node) ExchangePassword(ctx context.Context, who *access.Caller) (Exchanged, error) {
	user, password, ok := who.Credential().Password()
	if !ok {
		return Exchanged{}, fail(ErrInvalid, "a token is given for a password, and none was shown")
	}
	id, err := n.signsIn(user)
	if errors.Is(err, ErrForbidden) { // since a moment ago
		return Exchanged{}, errCredentials()
	}
	if err != nil {
		return Exchanged{}, err
	}
	// The password may have been changed since it was found right: it must fit the
	// record that the token will be held against.
	if err := n.recheck(ctx, who); err != nil {
		return Exchanged{}, err
	}
	row := givenTo(user, id)
	row.Rule = passwordDigest(id)
	x, err := n.give(row, passwordLifetime, password)
	if err == nil {
		n.logger.Info("password exchanged", "user", x.User, "token", x.ID, "expires", x.Expires)
	}
	return x, err
}

// RefreshToken returns what belongs to a token as its refresh token: it can be
// computed from the token, and the token not from it.
func RefreshToken(t access.Token) string {
	sum := sha256.Sum256([]byte("refresh\n" + t.Secret()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// RefreshExchanged returns a token in place of one that still counts, for who shows its
// refresh token, from an address: a new one if it was given for a password, else
// itself. One that is replaced counts for ten minutes more; all that came of it ends 90
// days after the first was given, or as one of them is revoked. Errors:
// ErrUnauthorized, ErrUnavailable, ErrNoSpace.
func (n *Node) RefreshExchanged(ctx context.Context, t access.Token, refresh string, from netip.Addr) (Exchanged, error) {
	if subtle.ConstantTimeCompare([]byte(refresh), []byte(RefreshToken(t))) != 1 {
		return Exchanged{}, errCredentials()
	}
	who, err := n.Authenticate(ctx, access.TokenCredential(t), from)
	if err != nil {
		return Exchanged{}, err
	}
	same := Exchanged{ID: t.ID(), Token: t.Secret(), Expires: who.Expires(), User: who.User()}
	if !t.Local() {
		return same, nil
	}
	n.exchanges.mu.Lock()
	defer n.exchanges.mu.Unlock()
	row, err := n.exchanged(t) // which may have been revoked since
	if err != nil || !row.forPassword() {
		return same, err
	}
	return n.replace(t, row, time.Now().UTC())
}

// replace gives a token in place of another one. The caller holds exchanges.mu.
func (n *Node) replace(t access.Token, row exchangedToken, now time.Time) (Exchanged, error) {
	password, err := t.Unseal(row.Shown)
	if err != nil {
		return Exchanged{}, err
	}
	next := row
	next.Family, next.First = row.familyOf(t.ID()), row.First
	if next.First.IsZero() {
		next.First = row.Given
	}
	expires := earlier(now.Add(passwordLifetime), next.First.Add(familyLifetime))
	child, err := next.sealed(now, expires, string(password))
	if err != nil {
		return Exchanged{}, err
	}
	// First the end of the old one, which is durable with the row of the new one: who
	// does not hear of that has minutes to ask again.
	row.Expires = earlier(row.Expires, now.Add(replacedFor).Truncate(time.Second))
	old, err := json.Marshal(row)
	if err != nil {
		return Exchanged{}, err
	}
	if err := n.index.Load().Local(exchangedSpace).Set(t.ID(), old); err != nil {
		return Exchanged{}, storeFailed(err, "replace token "+t.ID())
	}
	if err := n.putExchanged(child.ID(), next); err != nil {
		return Exchanged{}, err
	}
	return Exchanged{child.ID(), child.Secret(), next.Expires, next.User}, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
