package node

import (
	"sync"
)

// notifier wakes all who wait for a change. The zero notifier works.
type notifier struct {
	mu sync.Mutex
	ch chan struct{} // guarded by mu; nil if nobody waits
}

// wait returns a channel that is closed by the next notify. Who waits for a
// condition calls it before looking at the condition.
func (b *notifier) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *notifier) notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// poke lets whoever reads the channel know, unless it knows already. The channel
// has room for one.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
