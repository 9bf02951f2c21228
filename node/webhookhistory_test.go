package node_test

import (
	"testing"

	"registry-node/events"
)

// A log that forked goes on in a new epoch with the branch that was not followed
// here: a webhook is told of that branch, too.
func TestWebhookIsToldOfTheBranchThatCounts(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t, defaults(nil)), newReceiver(t)
	w.close("a")
	w.opts["a"] = r.hooked(w.opts["a"])
	a := w.open("a")
	w.join("b", "a", false)
	w.join("c", "a", false)
	w.connected()
	stateBlocks(t, w.sites["b"], "old")
	w.same()
	setHookSecret(t, w.path("a"))
	hook := events.Webhook{URL: r.url(), Secret: "hook", Types: []string{"version.blocked"}, Via: site("a")}
	if _, _, err := a.PutWebhook(t.Context(), op, "ci", hook); err != nil {
		t.Fatal(err)
	}
	w.same()
	b := w.turn("b")
	b.state(block("m.test/common"))
	shown := b.fork()
	w.frozen(shown)
	r.wants("b", "common evil.example/for-a")
	b.log = append(b.log, shown[site("c")])
	d := b.draft(events.LogContinued{Site: b.name, Base: b.tip().Mark, Actor: "operator"}, block("m.test/after"))
	d.Mark.Epoch++
	b.mu.Lock()
	b.perSite = nil
	b.mu.Unlock()
	b.append(b.seal(d))
	r.wants("b", "common evil.example/for-a evil.example/for-c after")
}
