package node

import (
	"sync"
	"time"
)

// Misses bound how many names that are not there a client has upstreams asked
// for: anybody can make names up, and each costs an upstream a question that no
// memory here can answer. Whoever is known under one name shares one Misses. A nil
// one bounds nothing.
type Misses struct {
	perMinute, burst float64

	mu   sync.Mutex // guards what follows
	left float64    // at a time
	at   time.Time
}

// NewMisses returns one for a rate, with a burst to begin with.
func NewMisses(perMinute, burst int) *Misses {
	return &Misses{perMinute: float64(perMinute), burst: float64(burst), left: float64(burst), at: time.Now()}
}

// spent reports whether no upstream is to be asked for this client.
func (m *Misses) spent() bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refill()
	return m.left < 1
}

// take counts a question as one for what is not there, as long as its answer is
// under way: else many at once would all be free. It reports whether it may be
// asked.
func (m *Misses) take() bool {
	if m == nil {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refill()
	if m.left < 1 {
		return false
	}
	m.left--
	return true
}

// giveBack is for a question whose answer was not that.
func (m *Misses) giveBack() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left = min(m.left+1, m.burst)
}

func (m *Misses) refill() {
	now := time.Now()
	m.left = min(m.left+now.Sub(m.at).Minutes()*m.perMinute, m.burst)
	m.at = now
}

// overspent is the error for a client for whom no upstream is asked for k, nil if
// one may be. What an upstream said a moment ago, or would not be asked anyway,
// costs nothing.
func (r *Repository) overspent(k askKey) error {
	if !r.Misses.spent() || r.saidAbsent(k) || r.offline() != nil {
		return nil
	}
	return overspent(k.String())
}

func overspent(what string) error {
	return fail(ErrUnavailable, "%s: it is not held here, and no upstream is asked now: too much of what came from your address, or from you, was about what is not there; try again in a minute", what)
}
