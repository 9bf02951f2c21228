package node

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
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
	x, err := n.give(exchangedToken{User: user, Since: id.Since.Event, Rule: passwordDigest(id)}, passwordLifetime, password)
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
// itself. Errors: ErrUnauthorized, ErrUnavailable, ErrNoSpace.
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
	row, err := n.exchanged(t)
	if err != nil || !row.forPassword() {
		return same, err
	}
	password, err := t.Unseal(row.Shown)
	if err != nil {
		return Exchanged{}, err
	}
	return n.give(exchangedToken{User: row.User, Since: row.Since, Rule: row.Rule}, passwordLifetime, string(password))
}
