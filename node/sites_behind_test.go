package node_test

import (
	"testing"

	"registry-node/node"
)

// A home that is lost before it has written a first entry is given up like any other.
func TestForcedMoveFromAHomeThatWroteNothing(t *testing.T) {
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	w.connected()
	x := mv("corp.example/x", "v1.0.0")
	if _, err := w.publish("a", x, goMod(x.Path)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.sites["a"].MoveHome(t.Context(), op, "local", site("b"), false, ""); err != nil {
		t.Fatal(err)
	}
	w.equal()
	w.close("b")
	w.until("a", "without b", func(r node.Replication) bool { return !r.Sites[1].Connected })
	m, err := w.sites["a"].MoveHome(t.Context(), op, "local", site("a"), true, "b burnt down")
	if err != nil || m.Until == nil || !m.Until.IsZero() {
		t.Fatalf("forced: %+v, %v", m, err)
	}
	if got, err := w.publish("a", mv(x.Path, "v1.1.0"), goMod(x.Path)); err != nil || got.Position.Site != site("a") {
		t.Errorf("publish at the new home: %v, %v", got.Position, err)
	}
	if _, err := w.zip("a", "local", x); err != nil {
		t.Errorf("what was published before: %v", err)
	}
}
