package httpapi

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"registry-node/node"
)

// Limits say how much a client may ask for. A client is a user, or, without
// credentials, an address (a /64 of IPv6). What comes from this machine itself, and
// not by a trusted proxy, has no limit. Zero is no limit, too.
type Limits struct {
	Address   int // requests a second of an address, with ten seconds' worth at once
	User      int // requests a second of a user, with ten seconds' worth at once
	Publishes int // versions a minute, with a minute's worth at once
	Misses    int // see node.Misses; a minute, with ten minutes' worth at once. Users have userMisses times that.
}

const (
	requestBurst = 10 // seconds
	missBurst    = 10 // minutes
	userMisses   = 10
	// patience is how long a request waits for its turn before it is refused.
	patience = 2 * time.Second
	// ratesTable is the number of clients that are remembered at least, see recent.
	ratesTable = 1 << 13
)

// clientKey is who is limited: a user by name, or an address.
type clientKey struct {
	user string
	addr netip.Addr
}

// limiter holds what clients have asked for lately. Memory is bounded: a full
// table forgets the clients that asked least lately, who then begin anew.
type limiter struct {
	limits   Limits
	patience time.Duration // patience, other in tests

	mu      sync.Mutex // guards clients
	clients recent[clientKey, *allowance]
}

// allowance is what a client may have. Nil parts, and a nil allowance, have no
// limit.
type allowance struct {
	requests, publishes *rate.Limiter
	misses              *node.Misses
	patience            time.Duration
}

func newLimiter(l Limits) *limiter {
	return &limiter{limits: l, patience: patience, clients: newRecent[clientKey, *allowance](ratesTable)}
}

// keyOf returns who is limited for a request; ok is false if nobody is.
func keyOf(w *writer) (k clientKey, ok bool) {
	switch user := w.who.User(); {
	case w.unlimited:
		return k, false
	case user != "":
		return clientKey{user: user}, true
	}
	return clientKey{addr: clientNet(w.client)}, true
}

// turn waits for a request's turn, for a short time, or refuses it. Those who look
// whether the node lives are not told that it doesn't.
func (s *Server) turn(w *writer, r *http.Request) error {
	k, ok := keyOf(w)
	if !ok || r.URL.Path == "/livez" || r.URL.Path == "/readyz" {
		return nil
	}
	w.allowance = s.limiter.allowance(k)
	return w.allowance.admit(r.Context())
}

// allowance returns what a client may have.
func (l *limiter) allowance(k clientKey) *allowance {
	if l.limits == (Limits{}) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clients.get(k, func() *allowance { return l.limits.allowance(k.user != "", l.patience) })
}

func (l Limits) allowance(user bool, patience time.Duration) *allowance {
	a := &allowance{patience: patience}
	perSecond, misses := l.Address, l.Misses
	if user {
		perSecond, misses = l.User, l.Misses*userMisses
	}
	if perSecond > 0 {
		a.requests = rate.NewLimiter(rate.Limit(perSecond), perSecond*requestBurst)
	}
	if l.Publishes > 0 {
		a.publishes = rate.NewLimiter(rate.Limit(l.Publishes)/60, l.Publishes)
	}
	if misses > 0 {
		a.misses = node.NewMisses(misses, misses*missBurst)
	}
	return a
}

// admit waits for a request's turn, for a short time, or refuses it.
func (a *allowance) admit(ctx context.Context) error {
	if a == nil {
		return nil
	}
	return a.wait(ctx, a.requests, "there are too many requests from your address, or from you; try again in a few seconds")
}

// publish is admit for a version that is published.
func (a *allowance) publish(ctx context.Context) error {
	if a == nil {
		return nil
	}
	return a.wait(ctx, a.publishes, "you publish too many versions in too short a time; try again in a minute")
}

// spare returns what bounds the questions to upstreams.
func (a *allowance) spare() *node.Misses {
	if a == nil {
		return nil
	}
	return a.misses
}

// wait takes a turn of a limiter. It fails with errThrottled, with a text, if
// there is none within patience, and if ctx ends.
func (a *allowance) wait(ctx context.Context, l *rate.Limiter, text string) error {
	if l == nil || l.Allow() {
		return nil
	}
	turn := l.Reserve()
	delay := turn.Delay()
	if !turn.OK() || delay > a.patience {
		turn.Cancel()
		return fail(errThrottled, text)
	}
	at := time.NewTimer(delay)
	defer at.Stop()
	select {
	case <-at.C:
		return nil
	case <-ctx.Done():
		turn.Cancel()
		return ctx.Err()
	}
}
