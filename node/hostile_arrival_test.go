package node_test

import (
	"testing"
	"time"

	"registry-node/events"
	"registry-node/node"
)

// A new site learns from the registry's log how members are reached. While it
// knows only the beginning of that log, it keeps to what it was told when it
// joined, or a link that breaks just then would leave it with nobody to ask.
func TestJoinGoesOnFromTheFirstEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	inv, err := w.sites["a"].Invite(t.Context(), op, site("c"), time.Hour, node.RightsNone)
	if err != nil {
		t.Fatal(err)
	}
	w.opts["c"] = node.Options{Logger: quiet(t, "c")}
	if err := node.Join(t.Context(), inv.Token, w.path("c"), w.opts["c"]); err != nil {
		t.Fatal(err)
	}
	w.same()
	log := w.logAt("a", "a")
	tip := log[len(log)-1].Position
	h := w.turn("b")
	w.close("a")
	part := log[:1]
	h.serveLog(func(_, of events.Site) []events.Entry {
		h.mu.Lock()
		defer h.mu.Unlock()
		if of == site("a") {
			return part
		}
		return nil
	})
	h.claim(site("a"), tip.Mark, tip.Hash)
	w.open("c")
	w.until("c", "has the first entry", func(r node.Replication) bool { return markOf(r, "c", site("a")).Seq == 1 })
	waitFor(t, "c to have asked for more", func() bool { return h.count("log") > 1 })
	h.mu.Lock()
	part = log
	h.mu.Unlock()
	w.until("c", "has all of the log", func(r node.Replication) bool { return markOf(r, "c", site("a")) == tip.Mark })
}
