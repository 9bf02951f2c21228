package upstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// errBusy: too much is under way for one thing more.
var errBusy = errors.New("this node is busy")

// slots bounds how much is under way at a time: in all, and of one host to a
// quarter of that, so that a host that is slow stops nobody else.
type slots struct {
	what string // is under way, for errors
	all  chan struct{}
	each int           // of one host, at least 1
	own  time.Duration // how long to wait while the host has its share
	wait time.Duration // how long to wait then while all are taken

	mu    sync.Mutex
	hosts map[string]*share // guarded by mu
}

// share is what one host has. It is forgotten when nobody has or waits for it.
type share struct {
	taken chan struct{}
	users int // who has a slot or waits for one; guarded by slots.mu
}

func newSlots(what string, n int, own, wait time.Duration) *slots {
	return &slots{
		what: what, all: make(chan struct{}, n), each: max(1, n/4), own: own, wait: wait,
		hosts: make(map[string]*share),
	}
}

// enter waits for a slot for host. The caller leaves. The error is ctx's, or
// errBusy if that takes too long.
func (s *slots) enter(ctx context.Context, host string) (leave func(), err error) {
	h := s.join(host)
	if err := take(ctx, h.taken, s.own); err != nil {
		s.part(host)
		return nil, s.because(err, "of %s are under way, and none ended within %v", host, s.own)
	}
	if err := take(ctx, s.all, s.wait); err != nil {
		<-h.taken
		s.part(host)
		return nil, s.because(err, "are under way, the most that are allowed, and none ended within %v", s.wait)
	}
	return func() {
		<-s.all
		<-h.taken
		s.part(host)
	}, nil
}

func (s *slots) join(host string) *share {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hosts[host]
	if h == nil {
		h = &share{taken: make(chan struct{}, s.each)}
		s.hosts[host] = h
	}
	h.users++
	return h
}

func (s *slots) part(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hosts[host]
	if h.users--; h.users == 0 {
		delete(s.hosts, host)
	}
}

func (s *slots) because(err error, format string, args ...any) error {
	if !errors.Is(err, errBusy) {
		return err
	}
	return fmt.Errorf("%w: its %s "+format, append([]any{err, s.what}, args...)...)
}

// take takes a place in c, for which it waits at most so long.
func take(ctx context.Context, c chan struct{}, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case c <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errBusy
	}
}
