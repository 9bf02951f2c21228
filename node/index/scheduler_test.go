package index_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"registry-node/node/index"
)

// compactions stands for a Pebble that has something to compact, or not: when
// it asks in which order can't be brought about with a real one.
type compactions struct {
	waiting int                            // that nobody has allowed yet
	refuse  int                            // offers to turn down
	turn    func()                         // called when one is turned down
	running []pebble.CompactionGrantHandle // allowed by an offer
}

func (c *compactions) GetAllowedWithoutPermission() int { return 1 }

func (c *compactions) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	return c.waiting > 0, pebble.WaitingCompaction{}
}

func (c *compactions) Schedule(h pebble.CompactionGrantHandle) bool {
	if c.refuse > 0 {
		c.refuse--
		c.turn()
		return false
	}
	c.waiting--
	c.running = append(c.running, h)
	return true
}

func TestCompactionsRunOneByOneAndNoneIsForgotten(t *testing.T) {
	c, s := &compactions{}, index.NewScheduler()
	s.Register(2, c)
	want := func(when string, running, waiting int) {
		t.Helper()
		if len(c.running) != running || c.waiting != waiting {
			t.Errorf("%s: %d were started and %d wait, want %d and %d", when, len(c.running), c.waiting, running, waiting)
		}
	}
	try := func() bool {
		ok, _ := s.TrySchedule()
		if !ok {
			c.waiting++
		}
		return ok
	}
	if try() {
		t.Error("one runs while the index is being opened")
	}
	s.Start()
	want("opened", 1, 0)
	for range 2 {
		if try() {
			t.Error("two run at once")
		}
	}
	c.running[0].Done()
	want("first is done", 2, 1)
	c.running[1].Done()
	want("second is done", 3, 0)
	c.running[2].Done()
	if !try() {
		t.Error("none may run although none does")
	}

	// While Pebble turns an offer down, another asks, and is told to wait.
	try()
	c.refuse, c.turn = 1, func() { try() }
	s.Done()
	want("an offer was turned down", 4, 1)

	s.Unregister()
	c.running[3].Done()
	want("closed", 4, 1)
	if try() {
		t.Error("one runs after the end")
	}
}
