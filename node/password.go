package node

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"

	"registry-node/events"
)

const (
	minPassword = 12 // characters
	maxPassword = 72 // bytes; bcrypt looks at no more
	// passwordCost is bcrypt's: 2^12 rounds, about a quarter of a second.
	passwordCost = 12
	// passwordsAtOnce bounds what checks of passwords take of the processors.
	passwordsAtOnce = 2
	// passwordPatience is how long a check may wait for its turn.
	passwordPatience = 10 * time.Second
	// passwordKept is how long a right password is remembered.
	passwordKept  = 5 * time.Minute
	passwordSlots = 1 << 12 // of those remembered
)

// Password is a password that is long enough to be set, or the zero Password, which
// is none. It shows itself to nobody.
type Password struct{ text string }

// ParsePassword returns the password s, or why it is none: it has 12 characters or
// more that can be seen, at most 72 bytes, and no control characters. The error repeats
// nothing of s.
func ParsePassword(s string) (Password, error) {
	seen := 0
	for _, r := range s {
		if unicode.IsPrint(r) && r != ' ' {
			seen++
		}
	}
	switch {
	case seen < minPassword:
		return Password{}, fmt.Errorf("a password has at least %d characters, not counting space", minPassword)
	case len(s) > maxPassword:
		return Password{}, fmt.Errorf("a password has at most %d bytes", maxPassword)
	case !utf8.ValidString(s):
		return Password{}, fmt.Errorf("a password is text in UTF-8")
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return Password{}, fmt.Errorf("a password has no line breaks and no other control characters")
		}
	}
	return Password{s}, nil
}

// IsZero reports whether there is none.
func (p Password) IsZero() bool { return p.text == "" }

// UnmarshalText is ParsePassword.
func (p *Password) UnmarshalText(b []byte) (err error) {
	*p, err = ParsePassword(string(b))
	return err
}

// String returns nothing of the password.
func (p Password) String() string { return "[redacted]" }

// GoString returns nothing of the password.
func (p Password) GoString() string { return p.String() }

// LogValue returns nothing of the password.
func (p Password) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalText returns nothing of the password.
func (p Password) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// passwords checks passwords, at a cost that doesn't tell who exists.
type passwords struct {
	cost   int
	key    []byte        // of what is remembered; new in each process
	nobody []byte        // the hash that a password is compared to where there is none
	turns  chan struct{} // has room for as many as may be checked at once
	// right are passwords that were right, under a keyed hash of them and of the
	// record of their user, until when they are remembered.
	right *table[[sha256.Size]byte, time.Time]
	// compared counts the passwords that were compared with a hash.
	compared atomic.Int64
}

// hashOfNobody is the bcrypt hash, of passwordCost, of bytes that were thrown away.
const hashOfNobody = "$2a$12$D71GWaMhj36YjwC2k8q96eO78KaKsdHikIAqgt/i3YXIp1ibq84CC"

func newPasswords(cost int) (*passwords, error) {
	p := &passwords{
		cost: cost, key: make([]byte, 32), nobody: []byte(hashOfNobody), turns: make(chan struct{}, passwordsAtOnce),
		right: newTable[[sha256.Size]byte, time.Time](passwordSlots),
	}
	rand.Read(p.key)
	var err error
	if cost != passwordCost { // in tests
		p.nobody, err = bcrypt.GenerateFromPassword([]byte(rand.Text()), cost)
	}
	return p, err
}

// turn waits until a password may be hashed. The caller calls done after that.
func (p *passwords) turn(ctx context.Context) (done func(), err error) {
	timer := time.NewTimer(passwordPatience)
	defer timer.Stop()
	select {
	case p.turns <- struct{}{}:
		return func() { <-p.turns }, nil
	case <-timer.C:
		return nil, fail(ErrUnavailable, "too many passwords are being checked; try again later, or use a token, which takes no time to check")
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// hash returns what the log has of a password.
func (p *passwords) hash(ctx context.Context, pw Password) (string, error) {
	done, err := p.turn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	h, err := bcrypt.GenerateFromPassword([]byte(pw.text), p.cost)
	return string(h), err
}

// checkHash reports why h is no hash of a password that this registry makes.
func (p *passwords) checkHash(h string) error {
	if cost, err := bcrypt.Cost([]byte(h)); err != nil || cost != p.cost {
		return fail(ErrInvalid, "what came for the hash of a password is none of bcrypt with cost %d", p.cost)
	}
	return nil
}

// check reports whether text is the password that user, as last stated at some
// time, has. With found false, there is no such user, or none with a password; it
// takes as long.
func (p *passwords) check(ctx context.Context, name string, user events.User, stated time.Time, found bool, text string) (bool, error) {
	hash := []byte(user.Password)
	if !found || len(hash) == 0 || len(text) > maxPassword {
		found, hash = false, p.nobody
	}
	memo := p.memo(name, hash, stated, text)
	if found && p.remembers(memo) {
		return true, nil
	}
	done, err := p.turn(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	if found && p.remembers(memo) { // who was before has the same password
		return true, nil
	}
	p.compared.Add(1)
	err = bcrypt.CompareHashAndPassword(hash, []byte(text[:min(len(text), maxPassword)]))
	if err != nil || !found {
		return false, nil
	}
	p.right.put(memo, time.Now().Add(passwordKept))
	return true, nil
}

// checkPassword reports why a user does not get in with a password: it is wrong,
// there is no such user, or none who may have one. Which of these it is shows
// neither in the error nor in the time that it takes. Errors: ErrUnauthorized,
// ErrUnavailable.
func (n *Node) checkPassword(ctx context.Context, name, password string) error {
	var id events.Identity
	var err error
	if events.CheckUserName(name) == nil {
		if id, _, err = n.identity(events.KeyUser(name)); err != nil {
			return err
		}
	}
	user, ok := userOf(id)
	right, err := n.passwords.check(ctx, name, user, id.Time, ok && !id.Deleted && !user.Disabled, password)
	if err == nil && !right {
		err = errCredentials()
	}
	return err
}

// memo is what a right password is remembered under: another one as soon as the
// record of the user changes.
func (p *passwords) memo(name string, hash []byte, stated time.Time, text string) [sha256.Size]byte {
	h := hmac.New(sha256.New, p.key)
	fmt.Fprintf(h, "%q %q %d %q", name, hash, stated.UnixNano(), text)
	return [sha256.Size]byte(h.Sum(nil))
}

func (p *passwords) remembers(memo [sha256.Size]byte) bool {
	until, ok := p.right.get(memo)
	return ok && time.Now().Before(until)
}
