package upstream

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"time"
)

// EntryState says whether an upstream is asked.
type EntryState string

// The states of an upstream.
const (
	EntryUp      EntryState = "up"      // it is asked
	EntryOffline EntryState = "offline" // it failed and is not asked for a while
	EntryProbing EntryState = "probing" // one request is under way that shows whether it is back
)

// How many failures in a row make an upstream be assumed offline. A host that
// takes no connection is known sooner than one that fails in other ways.
const (
	maxFailures = 5
	maxRefused  = 3
)

// breaker keeps an upstream that is down from being asked: it is assumed
// offline for a period after failures in a row, or for as long as it says with
// Retry-After, up to that period. Then one request probes it, while others still
// fail at once.
//
// Only what says that the upstream is down counts: ErrUnavailable and
// ErrTimeout. Absence, a refusal, a bad answer are answers; a caller who gave up
// says nothing.
type breaker struct {
	period time.Duration // 0: nothing is ever assumed
	now    func() time.Time

	mu        sync.Mutex // guards all below
	state     EntryState
	changes   int       // of the state, so far
	since     time.Time // of the state
	until     time.Time // of offline
	failures  int       // in a row
	refused   int       // failures to connect in a row
	reason    string    // of the last failure, without what was asked for: others read it
	lastError string    // the last failure
	lastOK    time.Time // when a request last ended in an answer; zero if none did
}

// offlineFor returns the period that a setting means.
func offlineFor(setting time.Duration) time.Duration {
	return max(0, min(cmp.Or(setting, 30*time.Second), time.Hour))
}

func newBreaker(period time.Duration, now func() time.Time) *breaker {
	return &breaker{period: period, now: now, state: EntryUp, since: now()}
}

// pass is the permission for one request. Who has it calls leave when the
// request is over.
type pass struct {
	b     *breaker
	probe bool // guarded by b.mu
	since int  // b.changes when the state let it in; guarded by b.mu
}

// enter asks for the permission to make a request. The error says until when
// none is given, and why.
func (b *breaker) enter() (*pass, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.state == EntryUp:
		return &pass{b: b, since: b.changes}, nil
	case b.state == EntryOffline && !b.now().Before(b.until):
		b.become(EntryProbing)
		return &pass{b: b, probe: true, since: b.changes}, nil
	case b.state == EntryProbing:
		return nil, fmt.Errorf("assumed offline while one request tries whether it is back, because %s", b.reason)
	}
	return nil, fmt.Errorf("assumed offline until %s, because %s", b.until.UTC().Format(time.RFC3339), b.reason)
}

// answered says that the header of a good answer is there. Its body may take
// long, and others need not wait for that; but they are let in on probation: the
// next failure is one too many.
func (p *pass) answered() {
	b := p.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if !p.probe {
		return
	}
	p.probe = false
	b.failures, b.refused = maxFailures-1, maxRefused-1
	b.become(EntryUp)
	p.since = b.changes // what becomes of its body counts
}

// leave says how the request ended. It is called once.
func (p *pass) leave(err error) {
	b := p.b
	b.mu.Lock()
	defer b.mu.Unlock()
	e, counts := failureOf(err)
	switch {
	case b.state != EntryUp && !p.probe:
		return // began before; what came later says more
	case !counts && p.probe:
		b.become(EntryOffline) // until is over: the next one probes
	case !counts:
	case e == nil:
		b.failures, b.refused, b.lastOK = 0, 0, b.now()
		if p.probe {
			b.become(EntryUp)
		}
	case p.since != b.changes: // it failed for what has been found out meanwhile
	default:
		b.failed(e, p.probe)
	}
}

// failed counts a failure. The caller holds mu.
func (b *breaker) failed(e *Error, probe bool) {
	b.failures++
	b.refused++
	if !e.connect {
		b.refused = 0
	}
	b.reason, b.lastError = e.reason(), e.Error()
	if b.period <= 0 || !probe && b.failures < maxFailures && b.refused < maxRefused && e.RetryAfter <= 0 {
		return
	}
	rest := b.period
	if 0 < e.RetryAfter && e.RetryAfter < rest {
		rest = e.RetryAfter
	}
	b.until = b.now().Add(rest)
	b.become(EntryOffline)
}

// become changes the state. The caller holds mu.
func (b *breaker) become(s EntryState) {
	if b.state != s {
		b.state, b.since = s, b.now()
		b.changes++
	}
}

// failureOf returns the failure that err is, nil if the upstream answered; and
// whether err says anything of the upstream.
func failureOf(err error) (e *Error, counts bool) {
	switch {
	case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, ErrForbidden), errors.Is(err, ErrBadAnswer), errors.Is(err, ErrOldGo):
		return nil, true
	case !errors.As(err, &e) || e.gaveUp || e.Class == nil:
		return nil, false
	}
	return e, true
}
