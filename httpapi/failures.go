package httpapi

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Failed logins of an address that are answered as such, see failures.
const (
	failureBurst = 20
	failureEvery = 6 * time.Second // ten a minute
	failureTable = 1 << 13         // addresses, see recent
)

// repeatsFree is how often a wrong credential may come again, within repeatsFor,
// and count as one try. Clients repeat what was refused: jf four times, the go
// command twice for each file, and a build asks for many.
const (
	repeatsFree = 7
	repeatsFor  = time.Minute
)

// loginKind is a kind of credential. Failures of each count for themselves: a job
// whose token has expired locks out nobody who shares its address.
type loginKind int

const (
	byPassword loginKind = iota
	byToken              // and whatever else a header may hold
	byExchange           // of an ID token
	loginKinds
)

// failures bound how fast credentials can be guessed from one address (one /64
// of IPv6), and what guessing costs this node. They keep nobody out whose token
// is right, wherever it comes from. Memory is bounded; a full table forgets the
// addresses that tried least lately. It is safe for concurrent use.
type failures struct {
	mu    sync.Mutex // guards what follows, but for guesser.checking
	table recent[netip.Addr, *guesser]
}

// guesser is an address from which logins failed, or may.
type guesser struct {
	// checking has room for the one password of the address that is being checked,
	// so that a crowd of guesses can't pass before the first has failed, and no
	// address takes all turns that a node has for passwords.
	checking chan struct{}
	kinds    [loginKinds]guesses
}

// guesses are the failed logins of an address, of a kind.
type guesses struct {
	tries  *rate.Limiter
	lately [4]guess // the last different ones
	next   int      // in lately, which is to be forgotten first
}

// guess is a wrong credential.
type guess struct {
	credential [8]byte // of its digest
	first      time.Time
	repeats    int
	throttled  bool // how the first was answered, and so its repeats are
}

func newFailures() *failures {
	return &failures{table: newRecent[netip.Addr, *guesser](failureTable)}
}

func newGuesser() *guesser {
	g := &guesser{checking: make(chan struct{}, 1)}
	for k := range g.kinds {
		g.kinds[k].tries = rate.NewLimiter(rate.Every(failureEvery), failureBurst)
	}
	return g
}

// failed counts a failed login from an address; credential is a SHA-256 of what
// was tried. It reports whether the address has failed too often: then the answer
// is errThrottled in place of a 401.
func (f *failures) failed(addr netip.Addr, kind loginKind, credential [32]byte) (throttled bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.table.get(clientNet(addr), newGuesser)
	return g.kinds[kind].failed([8]byte(credential[:8]), time.Now())
}

func (g *guesses) failed(credential [8]byte, now time.Time) (throttled bool) {
	i := g.next
	for k := range g.lately {
		t := &g.lately[k]
		if t.credential != credential || t.first.IsZero() {
			continue
		}
		if t.repeats < repeatsFree && now.Sub(t.first) < repeatsFor {
			t.repeats++
			return t.throttled
		}
		i = k
	}
	if i == g.next {
		g.next = (g.next + 1) % len(g.lately)
	}
	throttled = !g.tries.AllowN(now, 1)
	g.lately[i] = guess{credential: credential, first: now, throttled: throttled}
	return throttled
}

// tryPassword reports whether a password from an address is to be looked at, which
// takes long by intent. If not, it counts as one that was wrong: too many have
// failed, or the others that are being tried took longer than patience. Else the
// caller calls done once it is checked and, if it was wrong, has been counted as
// failed; no other password of the address is looked at before.
func (f *failures) tryPassword(ctx context.Context, addr netip.Addr) (done func(), ok bool) {
	f.mu.Lock()
	g := f.table.get(clientNet(addr), newGuesser)
	f.mu.Unlock()
	if !f.mayTry(g) { // no need to wait for that
		return nil, false
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case g.checking <- struct{}{}:
	case <-late.C:
		return nil, false
	case <-ctx.Done():
		return nil, false
	}
	done = func() { <-g.checking }
	if !f.mayTry(g) { // those before it have failed
		done()
		return nil, false
	}
	return done, true
}

func (f *failures) mayTry(g *guesser) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return g.kinds[byPassword].tries.Tokens() >= 1
}
