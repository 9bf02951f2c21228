package httpapi

import (
	"sync"
	"time"
)

// loginFailed is the action of a request with wrong credentials.
const loginFailed = "login.failed"

// maxLogins bounds the addresses whose failed logins are summed up at a time. All
// others count as one.
const maxLogins = 1024

// failedLogins sums up the failed logins from each address: the first has a line
// of its own, and those that follow within about a second one together. So who
// guesses passwords doesn't fill the log.
type failedLogins struct {
	mu   sync.Mutex
	sums map[string]*Audit // by address, guarded by mu: the last one, with how many there were since the last line
}

// first reports whether a has a line of its own, or counts it.
func (f *failedLogins) first(a Audit) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := a.Client
	if f.sums == nil {
		f.sums = map[string]*Audit{}
	}
	if f.sums[key] == nil && len(f.sums) >= maxLogins {
		key = ""
		a.Client = "others"
	}
	sum := f.sums[key]
	if sum == nil {
		sum = &Audit{}
		f.sums[key] = sum
		if key != "" {
			return true
		}
	}
	a.Count = sum.Count + 1
	*sum = a
	return false
}

// due returns the sums as lines, and whether there may be more to come.
func (f *failedLogins) due() (lines []Audit, more bool) {
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

// failedLogin keeps a line of a failed login, or counts it.
func (l *AuditLog) failedLogin(a Audit) {
	if l == nil {
		return
	}
	a.Action, a.Time = loginFailed, time.Now().UTC()
	a = a.cleaned()
	if l.logins.first(a) {
		l.note(a)
	}
}
