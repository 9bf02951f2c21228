package index

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// A scheduler runs one compaction at a time, and none before start: Pebble
// leaves a compaction that it started in an Open that then fails running on what
// that Open has closed, and it ends the process (v2.1.7).
//
// Pebble calls TrySchedule with its own lock held, and may not be called with mu
// held. A TrySchedule that is refused is not repeated: Pebble then waits for a
// Schedule.
type scheduler struct {
	db pebble.DBForCompaction // set once, before all else is called

	mu       sync.Mutex
	idle     sync.Cond // on mu: granting is false
	started  bool
	ended    bool // Unregister was called
	running  bool // a compaction runs, or is about to
	refused  bool // a TrySchedule was, since running was set
	granting bool // Pebble is being asked whether it wants to run one
}

func newScheduler() *scheduler {
	s := &scheduler{}
	s.idle.L = &s.mu
	return s
}

// start lets compactions run, the first at once if one is waited for.
func (s *scheduler) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
	s.grant()
}

// grant lets Pebble run a compaction if it waits for one and none runs. mu is
// held, but not while Pebble is called.
func (s *scheduler) grant() {
	for s.granting {
		s.idle.Wait()
	}
	s.granting = true
	for again := true; again && s.take(); {
		s.mu.Unlock()
		waiting, _ := s.db.GetWaitingCompaction()
		accepted := waiting && s.db.Schedule(s)
		s.mu.Lock()
		again = !accepted && s.refused
		s.running = accepted && s.running // it may be done already
	}
	s.granting = false
	s.idle.Broadcast()
}

// take reports whether a compaction may run now, and if so counts it. mu is held.
func (s *scheduler) take() bool {
	if !s.started || s.ended || s.running {
		s.refused = true
		return false
	}
	s.running, s.refused = true, false
	return true
}

// Register implements pebble.CompactionScheduler.
func (s *scheduler) Register(_ int, db pebble.DBForCompaction) { s.db = db }

// Unregister implements pebble.CompactionScheduler.
func (s *scheduler) Unregister() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for s.granting {
		s.idle.Wait()
	}
}

// TrySchedule implements pebble.CompactionScheduler.
func (s *scheduler) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.take(), s
}

// UpdateGetAllowedWithoutPermission implements pebble.CompactionScheduler. One
// is allowed at any time, so there is no news.
func (s *scheduler) UpdateGetAllowedWithoutPermission() {}

// Done implements pebble.CompactionGrantHandle: the compaction has ended.
func (s *scheduler) Done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	s.grant()
}

// Started implements pebble.CompactionGrantHandle.
func (s *scheduler) Started() {}

// MeasureCPU implements pebble.CompactionGrantHandle.
func (s *scheduler) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats implements pebble.CompactionGrantHandle.
func (s *scheduler) CumulativeStats(pebble.CompactionGrantHandleStats) {}
