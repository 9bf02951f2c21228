package node_test

import (
	"fmt"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/node"
	"registry-node/replication"
)

// Entries with events that this version does not know, and those behind them, are
// stored, passed on and reported, and nothing of them is applied: also when they
// are the first that a site ever wrote, and after a restart.
func TestUnknownEventsAreKeptAndPassedOn(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{false, true} {
		t.Run(fmt.Sprintf("first %v", first), func(t *testing.T) {
			w := newWorld(t, defaults(nil))
			w.join("b", "a", false)
			w.join("c", "a", true)
			w.same()
			if !first {
				if _, err := w.sites["b"].Block(t.Context(), op, events.VersionPatternOf(moduleVersion("blocked.example/first", "")), "a test"); err != nil {
					t.Fatal(err)
				}
				w.same()
			}
			w.close("c")
			h := w.turn("b")
			if first {
				h.startLog(w)
			}
			states := func(at string) node.LogStatus { return w.status(at, at).Logs[h.name] }
			before := states("a")
			h.log = append(h.log, h.sealUnknown(`{"type":"module.praised","data":{"module":"x.example/y","stars":5}}`))
			h.log = append(h.log, h.seal(h.draft(block("evil.example/behind"))))
			own := h.log
			if first {
				own = own[1:]
			}
			h.serveLog(func(_, log events.Site) []events.Entry {
				if log != h.name {
					return nil
				}
				return own
			})
			h.claim(h.name, h.tip().Mark, h.tip().Hash)
			h.mu.Lock()
			h.origin = []replication.SignedHead{replication.SignedHead{Registry: h.registry, Position: h.tip(), Time: time.Now()}.Sign(h.key)}
			h.mu.Unlock()
			kept := func(at string) func() bool {
				return func() bool {
					log, err := w.sites[at].Log(op, h.name, 1)
					return err == nil && len(entriesOf(t, log)) == len(own)
				}
			}
			w.reported("a", "the log of site b has events of type", "module.praised", "upgrade this node")
			waitFor(t, "a to keep what it can't apply", kept("a"))
			h.stop()
			w.open("c")
			waitFor(t, "c to have it from a", kept("c"))
			w.reported("c", "module.praised")
			w.reopen("a", w.opts["a"])
			w.reported("a", "module.praised")
			if !kept("a")() {
				t.Error("what was kept is gone after a restart")
			}
			for _, at := range []string{"a", "c"} {
				if got := states(at); got.Seq != before.Seq || got.StateHash != before.StateHash {
					t.Errorf("site %s has applied it: %+v, before %+v", at, got, before)
				}
				for _, b := range must(w.sites[at].Blocks(op)) {
					if b.Module == "evil.example/behind" {
						t.Errorf("site %s applies what is behind an unknown event", at)
					}
				}
			}
			w.connected()
			w.goesOn("v1.0.0")
		})
	}
}

// The registry's level rises once all members understand more, and not before.
func TestLevelIsRaisedByAllTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	w.same()
	level := func() (level int) {
		for _, e := range w.logAt("a", "a") {
			for _, ev := range e.Events {
				if b, ok := ev.Body.(events.FeatureRaised); ok {
					level = b.Level
				}
			}
		}
		return level
	}
	start := level()
	reopen := func(name string) {
		w.reopen(name, w.opts[name].OfLevel(events.Level+1))
		w.connected()
	}
	reopen("a")
	w.goesOn("v1.0.0")
	later := time.Now().Add(1500 * time.Millisecond) // the home has looked at what b says by then
	waitFor(t, "b to be heard some more", func() bool { return w.status("a", "b").LastHeard.After(later) })
	if got := level(); got > max(start, events.Level) {
		t.Fatalf("the level is %d while b understands %d", got, events.Level)
	}
	reopen("b")
	waitFor(t, "the level to be raised", func() bool { return level() == events.Level+1 })
	w.same()
}
