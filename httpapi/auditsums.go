package httpapi

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"registry-node/events"
	"registry-node/node/access"
)

// loginFailed is the action of a request with wrong credentials.
const loginFailed = "login.failed"

// maxSums bounds what is summed up apart at a time, maxClientSums what of it is of
// one client. All others count together.
const (
	maxSums       = 1024
	maxClientSums = 64
)

// sumKey is what the lines have in common that are summed up.
type sumKey struct {
	action string
	client string // its address, or network of IPv6; empty: all others
	// user and token are those of a failed login, if they are known and shown.
	user, token string
}

// auditSums sums up what anybody can have refused as often as they like: the first
// of its kind has a line of its own, and those that follow within about a second
// one together. So who guesses passwords doesn't fill the log.
type auditSums struct {
	mu   sync.Mutex
	sums map[sumKey]*Audit // guarded by mu: the last one, with how many there were since the last line
}

// first reports whether a has a line of its own, or counts it.
func (f *auditSums) first(a Audit) bool {
	key := sumKeyOf(a)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sums == nil {
		f.sums = map[sumKey]*Audit{}
	}
	if f.sums[key] == nil && f.of(key.client) >= maxClientSums {
		key = sumKey{action: key.action, client: key.client}
	}
	if f.sums[key] == nil && len(f.sums) >= maxSums {
		key = sumKey{action: key.action}
		a.Client = "others"
	}
	sum := f.sums[key]
	if sum == nil {
		sum = &Audit{}
		f.sums[key] = sum
		if key.client != "" {
			return true
		}
	}
	a.Count = sum.Count + 1
	*sum = a
	return false
}

// of returns how many sums there are of a client.
func (f *auditSums) of(client string) (n int) {
	for key := range f.sums {
		if key.client == client {
			n++
		}
	}
	return n
}

// due returns the sums as lines, and whether there may be more to come.
func (f *auditSums) due() (lines []Audit, more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, sum := range f.sums {
		if sum.Count == 0 {
			delete(f.sums, key)
			continue
		}
		lines = append(lines, *sum)
		*sum = Audit{}
	}
	return lines, len(f.sums) > 0
}

// sumKeyOf returns what a line is summed up under.
func sumKeyOf(a Audit) sumKey {
	key := sumKey{action: a.Action, client: a.Client}
	if addr, err := netip.ParseAddr(a.Client); err == nil {
		key.client = clientNet(addr).String()
	}
	if a.Action == loginFailed {
		key.token = a.Token
		if user, _, ok := strings.Cut(a.Name, loginUserEnd); ok {
			key.user = user
		}
	}
	return key
}

// loginUserEnd ends the user in the Name of a failed login; no user's name has it.
const loginUserEnd = ": "

// summed keeps a line of what was refused, or counts it.
func (l *AuditLog) summed(a Audit) {
	if l == nil {
		return
	}
	a.Time = time.Now().UTC()
	a = a.cleaned()
	if l.sums.first(a) {
		l.note(a)
	}
}

// isSummed reports whether a line is one that anybody can cause as often as they
// like: a failed login, what was beyond the limits, and what one may not who isn't
// known and not on this machine.
func (a *Audit) isSummed(who *access.Caller) bool {
	switch {
	case a.Action == loginFailed, a.Code == throttledCode:
		return true
	case a.Outcome == outcomeDone, a.Position != "":
		return false
	}
	return who == nil || who.Name() == events.Anonymous
}
