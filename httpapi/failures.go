package httpapi

import (
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

// failures bound how fast credentials can be guessed from one address (one /64
// of IPv6), and what guessing costs this node. They keep nobody out whose token
// is right, wherever it comes from. Memory is bounded; a full table forgets the
// addresses that tried least lately. It is safe for concurrent use.
type failures struct {
	mu    sync.Mutex // guards what follows
	table recent[netip.Addr, *guesser]
}

// guesser is an address from which logins failed.
type guesser struct {
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

// failed counts a failed login from an address; credential is a SHA-256 of what
// was tried. It reports whether the address has failed too often: then the answer
// is errThrottled in place of a 401.
func (f *failures) failed(addr netip.Addr, credential [32]byte) (throttled bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.table.get(clientNet(addr), func() *guesser {
		return &guesser{tries: rate.NewLimiter(rate.Every(failureEvery), failureBurst)}
	})
	return g.failed([8]byte(credential[:8]), time.Now())
}

func (g *guesser) failed(credential [8]byte, now time.Time) (throttled bool) {
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

// mayTry reports whether a password from an address is to be looked at, which
// takes long by intent. If not, it counts as one that was wrong.
func (f *failures) mayTry(addr netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, ok := f.table.peek(clientNet(addr))
	return !ok || g.tries.Tokens() >= 1
}
