package upstream

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestSlots: a host has a quarter at most, and nobody waits for ever.
func TestSlots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSlots("requests", 8, time.Minute, 30*time.Second)
		enter := func(host string) func() {
			t.Helper()
			leave, err := s.enter(t.Context(), host)
			if err != nil {
				t.Fatalf("a slot for %s: %v", host, err)
			}
			return leave
		}
		refused := func(host string, after time.Duration) {
			t.Helper()
			start := time.Now()
			if _, err := s.enter(t.Context(), host); !errors.Is(err, errBusy) || time.Since(start) != after {
				t.Errorf("one more of %s: %v after %v, want %v", host, err, time.Since(start), after)
			}
		}
		leaveSlow := enter("slow.test")
		enter("slow.test")
		refused("slow.test", time.Minute)
		leaves := []func(){enter("a.test"), enter("a.test"), enter("b.test"), enter("b.test"), enter("c.test"), enter("c.test")}
		refused("d.test", 30*time.Second)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.enter(ctx, "d.test"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller who gave up: %v", err)
		}
		time.AfterFunc(10*time.Second, leaves[0])
		leaves[0] = enter("d.test")
		leaveSlow()
		leaves = append(leaves, enter("slow.test"))
		for _, leave := range leaves {
			leave()
		}
		if len(s.hosts) != 1 || len(s.all) != 1 {
			t.Errorf("%d hosts and %d slots are taken, want 1 and 1", len(s.hosts), len(s.all))
		}
	})
}
