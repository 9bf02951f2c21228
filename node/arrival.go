package node

import (
	"context"
	"log/slog"
	"sync"

	"registry-node/node/blob"
)

// An arrival is bytes on their way here: a blob from other sites, or a zip from
// an upstream. Whoever wants it shares it: who waits for the whole, and clients
// that are served while it comes, from the stage that it is written to; so one
// that is slow costs no memory and holds nobody up. A client gets the last bytes
// only when the whole has been verified, so none takes wrong bytes for a complete
// file.
type arrival struct {
	logger *slog.Logger

	started chan struct{} // closed when clients may have bytes, or it has ended
	ended   chan struct{} // closed when err says what came of it
	more    notifier      // passable has grown, or it has ended

	// stage is set by begin, before started is closed. It stays nil if what was
	// to come is here already.
	stage *blob.Stage

	mu       sync.Mutex
	size     int64 // guarded by mu; of the whole in bytes, -1 while unknown
	passable int64 // guarded by mu; bytes that clients may have
	allowed  bool  // guarded by mu; clients may have bytes before all have come
	passed   bool  // guarded by mu; clients may have all
	begun    bool  // guarded by mu; started is closed
	users    int   // guarded by mu; the fetch and those who have joined
	err      error // set before ended is closed
}

// heldBack is how many bytes at the end of a zip clients get only after it was
// verified: its directory is there, so what is cut before is no zip.
const heldBack = 64 << 10

// arrivals are what is on its way, by what it is.
type arrivals[K comparable] struct {
	life   *life
	logger *slog.Logger

	mu  sync.Mutex
	all map[K]*arrival // guarded by mu
}

func newArrivals[K comparable](l *life, logger *slog.Logger) *arrivals[K] {
	return &arrivals[K]{life: l, logger: logger, all: map[K]*arrival{}}
}

// join returns the arrival of k; if there is none, fetch makes one. That goes on
// until the node stops, whoever leaves. The caller leaves it in the end.
func (s *arrivals[K]) join(k K, fetch func(context.Context, *arrival) error) *arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.all[k]
	if a == nil {
		a = &arrival{logger: s.logger, started: make(chan struct{}), ended: make(chan struct{}), size: -1, users: 1}
		s.all[k] = a
		s.life.wg.Go(func() { s.run(k, a, fetch) })
	}
	a.mu.Lock()
	a.users++ // not from 0: run leaves only what nobody can join any more
	a.mu.Unlock()
	return a
}

func (s *arrivals[K]) run(k K, a *arrival, fetch func(context.Context, *arrival) error) {
	err := fetch(s.life.ctx, a)
	s.mu.Lock()
	delete(s.all, k)
	s.mu.Unlock()
	a.end(err)
	a.leave()
}

// leave ends the use of an arrival. With its last user the stage goes.
func (a *arrival) leave() {
	a.mu.Lock()
	a.users--
	last := a.users == 0
	a.mu.Unlock()
	if last && a.stage != nil {
		if err := a.stage.Discard(); err != nil {
			a.logger.Warn("stage is not removed", "error", err)
		}
	}
}

// begin says where the bytes go, and how many there will be, -1 if that isn't
// known. This and what follows, up to end, is called by who fetches them.
func (a *arrival) begin(stage *blob.Stage, size int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stage, a.size = stage, size
}

// allow lets clients have what has come, but for the end.
func (a *arrival) allow() {
	a.mu.Lock()
	a.allowed = true
	a.mu.Unlock()
	a.arrived()
}

// arrived says that more has come.
func (a *arrival) arrived() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.allowed || a.stage == nil {
		return
	}
	passable := a.stage.Size()
	if a.size < 0 {
		passable -= heldBack
	} else {
		passable = min(passable, a.size-heldBack)
	}
	if passable <= a.passable {
		return
	}
	a.passable = passable
	a.start()
	a.more.notify()
}

// pass lets clients have all: it has come and was verified.
func (a *arrival) pass() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.release()
}

// release is pass for who holds mu.
func (a *arrival) release() {
	a.passed = true
	if a.stage != nil {
		a.size = a.stage.Size()
		a.passable = a.size
	}
	a.start()
	a.more.notify()
}

// end says what came of it. Without an error, clients may have all.
func (a *arrival) end(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
	close(a.ended) // first: who sees that it has started sees that it failed, too
	if err == nil {
		a.release()
	}
	a.start()
	a.more.notify()
}

// start closes started. The caller holds mu.
func (a *arrival) start() {
	if !a.begun {
		a.begun = true
		close(a.started)
	}
}

// begins waits until the first bytes that clients may have are here, or it has
// failed.
func (a *arrival) begins(ctx context.Context) error {
	select {
	case <-a.started:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if a.over() && !a.whether().passed {
		return a.err
	}
	return nil
}

// over reports whether the arrival has ended.
func (a *arrival) over() bool {
	select {
	case <-a.ended:
		return true
	default:
		return false
	}
}

// whole waits until all is here.
func (a *arrival) whole(ctx context.Context) error {
	select {
	case <-a.ended:
		return a.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// progress is how far an arrival is.
type progress struct {
	size, passable int64
	passed         bool
}

func (a *arrival) whether() progress {
	a.mu.Lock()
	defer a.mu.Unlock()
	return progress{a.size, a.passable, a.passed}
}

// read returns a reader of the bytes as they come, once it has begun. Closing
// it leaves the arrival.
func (a *arrival) read(ctx context.Context) *Stream { return &Stream{ctx: ctx, arrival: a} }
