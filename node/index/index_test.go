package index_test

import (
	"math/rand/v2"
	"testing"

	"registry-node/events"
)

func TestReplayGivesTheSameStateHowEverItIsCut(t *testing.T) {
	w := newWriter(t, "a")
	w.history(rand.New(rand.NewPCG(1, 1)), 60)
	x := open(t)
	for _, e := range w.log {
		apply(t, x, e)
	}
	want, err := x.Heads()
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(2, 2))
	for range 3 {
		y := open(t)
		for rest := w.log; len(rest) > 0; {
			n := min(1+r.IntN(20), len(rest))
			apply(t, y, rest[:n]...)
			rest = rest[n:]
		}
		got, err := y.Heads()
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[0] != want[0] {
			t.Errorf("heads %+v, want %+v", got, want)
		}
		for _, e := range w.log {
			a, _, err := x.StateHashAt(w.site, e.Position.Mark)
			if err != nil {
				t.Fatal(err)
			}
			if b, ok, err := y.StateHashAt(w.site, e.Position.Mark); err != nil || !ok || a != b {
				t.Fatalf("state hash at %v: %v, %v, %v, want %v", e.Position, b, ok, err, a)
			}
		}
	}
	_ = events.Mark{}
}
