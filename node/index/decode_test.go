package index_test

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/node/index"
)

func valid(events.Entry) error { return nil }

func logOf(t *testing.T, n int) *writer {
	w := newWriter(t, "a")
	for i := range n {
		w.add(seen("m.test/a", i))
	}
	return w
}

// drain returns how many entries came, in order, and the error behind them.
func drain(t *testing.T, entries iter.Seq2[events.Entry, error]) (n int, err error) {
	t.Helper()
	for e, err := range entries {
		if err != nil {
			return n, err
		}
		if n++; e.Position.Mark.Seq != uint64(n) {
			t.Fatalf("entry %v comes as number %d", e.Position, n)
		}
	}
	return n, nil
}

func TestDecodeAllKeepsTheOrder(t *testing.T) {
	w := logOf(t, 200)
	verify := func(e events.Entry) error { return e.Verify(w.public()) }
	if n, err := drain(t, index.DecodeAll(t.Context(), w.raws(), verify)); n != 200 || err != nil {
		t.Errorf("%d entries, %v", n, err)
	}
	if n, err := drain(t, index.DecodeAll(t.Context(), newWriter(t, "a").raws(), verify)); n != 0 || err != nil {
		t.Errorf("empty log: %d entries, %v", n, err)
	}
}

func TestDecodeAllEndsWithTheFirstError(t *testing.T) {
	w := logOf(t, 100)
	broken := errors.New("broken")
	w.log[70].Raw = []byte("{}")
	refuse := func(seq uint64) func(events.Entry) error {
		return func(e events.Entry) error {
			if e.Position.Mark.Seq >= seq {
				return broken
			}
			return nil
		}
	}
	if n, err := drain(t, index.DecodeAll(t.Context(), w.raws(), valid)); n != 70 || err == nil {
		t.Errorf("undecodable entry: %d entries before it, %v", n, err)
	}
	if n, err := drain(t, index.DecodeAll(t.Context(), w.raws(), refuse(31))); n != 30 || !errors.Is(err, broken) {
		t.Errorf("refused entry: %d entries before it, %v", n, err)
	}
	cut := func(yield func([]byte, error) bool) {
		for _, e := range w.log[:50] {
			if !yield(e.Raw, nil) {
				return
			}
		}
		if yield(nil, broken) {
			t.Error("asked for more after an error")
		}
	}
	if n, err := drain(t, index.DecodeAll(t.Context(), cut, valid)); n != 50 || !errors.Is(err, broken) {
		t.Errorf("broken source: %d entries before it, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := drain(t, index.DecodeAll(ctx, w.raws(), valid)); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %d entries, %v", n, err)
	}
}

func TestDecodeAllStopsWithItsReader(t *testing.T) {
	w := logOf(t, 100)
	var running, asked atomic.Int64
	raws := func(yield func([]byte, error) bool) {
		for raw := range w.raws() {
			asked.Add(1)
			if !yield(raw, nil) {
				return
			}
		}
	}
	gate := make(chan struct{})
	verify := func(e events.Entry) error {
		running.Add(1)
		defer running.Add(-1)
		if e.Position.Mark.Seq > 3 {
			<-gate
		}
		return nil
	}
	for e, err := range index.DecodeAll(t.Context(), raws, verify) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Position.Mark.Seq == 3 {
			time.AfterFunc(10*time.Millisecond, func() { close(gate) })
			break
		}
	}
	if running.Load() != 0 {
		t.Error("still decoding after the loop ended")
	}
	if n := asked.Load(); n > 70 {
		t.Errorf("read %d entries to yield 3", n)
	}
}
