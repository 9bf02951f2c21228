package node_test

import (
	"context"
	"testing"
	"time"

	"registry-node/events"
)

// stall has requests for logs wait until who asks gives up.
func (h *hostile) stall() {
	h.answer("log", func(ctx context.Context, _ events.Site, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
}

// A member that says to hold more of a site's own log, and shows nothing of it,
// holds up neither that site's writes nor its start for ever, and is reported.
func TestClaimOfMoreOfTheOwnLogStopsNoWrites(t *testing.T) {
	t.Parallel()
	w, h := besieged(t, nil)
	h.stall()
	h.claim(site("a"), events.Mark{Epoch: 1, Seq: 1 << 40}, events.DigestOf([]byte("evil")))
	waitFor(t, "b to be asked", func() bool { return h.count("log") > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := w.sites["a"].Block(ctx, op, events.VersionPatternOf(moduleVersion("blocked.example/meanwhile", "")), "a test"); err != nil {
		t.Errorf("a write while b keeps the site waiting: %v", err)
	}
	w.reported("a", "site b says to hold more of this site's log", "does not show an entry that this site signed")
	w.close("c") // so that a has nobody but b to ask
	a := w.sites["a"].PeerAddr().String()
	w.close("a")
	o := w.opts["a"]
	o.PeerListen = a
	w.opts["a"] = o
	n := w.open("a")
	waitFor(t, "site a to take writes", func() bool { return n.Ready() == nil && w.status("a", "a").Writable })
	w.open("c")
	w.connected()
	w.goesOn("v1.0.0")
	h.silent()
	h.state(block("evil.example/after"))
	w.same()
}
