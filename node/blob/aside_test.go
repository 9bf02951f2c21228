package blob_test

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestSetAsideKeepsSeveral(t *testing.T) {
	s, dir := newStore(t)
	b, _ := content(1, 1000)
	want := map[string][]byte{}
	for _, suffix := range []string{"", ".1", ".2"} {
		d := put(t, s, b)
		bad := corrupt(t, dir, d)
		name, ok, err := s.SetAside(t.Context(), d)
		if !ok || err != nil || name != "aside/"+d.Hex()+suffix {
			t.Fatalf("SetAside = %q, %v, %v", name, ok, err)
		}
		want[name] = bad
		if _, ok, err := s.Has(d); ok || err != nil {
			t.Errorf("Has after SetAside = %v, %v", ok, err)
		}
		checkTree(t, dir, want)
	}
	d := put(t, s, b)
	want[blobPath(d)] = b
	checkTree(t, dir, want)
}

func TestSetAsideLeavesWhatIsWhole(t *testing.T) {
	s, dir := newStore(t)
	b, _ := content(1, 1000)
	d := put(t, s, b)
	if name, ok, err := s.SetAside(t.Context(), d); ok || err != nil {
		t.Errorf("SetAside of a whole blob = %q, %v, %v", name, ok, err)
	}
	checkTree(t, dir, map[string][]byte{blobPath(d): b})
}

func TestSetAsideWithoutTimeMovesNothing(t *testing.T) {
	s, dir := newStore(t)
	b, _ := content(1, 1000)
	d := put(t, s, b)
	bad := corrupt(t, dir, d)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok, err := s.SetAside(ctx, d); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("SetAside = %v, %v; want context.Canceled", ok, err)
	}
	checkTree(t, dir, map[string][]byte{blobPath(d): bad})
}

func TestRemove(t *testing.T) {
	s, dir := newStore(t)
	a, _ := content(1, 10)
	b, _ := content(2, 10)
	d, e := put(t, s, a), put(t, s, b)
	if ok, err := s.Remove(d); !ok || err != nil {
		t.Fatalf("Remove = %v, %v", ok, err)
	}
	checkTree(t, dir, map[string][]byte{blobPath(e): b})
	put(t, s, a)
	checkTree(t, dir, map[string][]byte{blobPath(d): a, blobPath(e): b})
}

// Between reading a corrupt blob and moving it, somebody else heals it.
func TestSetAsideLeavesWhatWasHealedMeanwhile(t *testing.T) {
	s, dir := newStore(t)
	b, _ := content(1, 1000)
	d := put(t, s, b)
	corrupt(t, dir, d)
	healed := false
	ctx := whileReading{t.Context(), sync.OnceFunc(func() {
		if ok, err := s.Remove(d); !ok || err != nil {
			t.Errorf("Remove = %v, %v", ok, err)
		}
		put(t, s, b)
		healed = true
	})}
	if name, ok, err := s.SetAside(ctx, d); ok || err != nil {
		t.Errorf("SetAside of a blob healed meanwhile = %q, %v, %v", name, ok, err)
	}
	if !healed {
		t.Error("SetAside did not look at its context while reading")
	}
	checkTree(t, dir, map[string][]byte{blobPath(d): b})
}

// A whileReading calls do when it is asked whether it has ended, which readers
// of a blob do after each piece.
type whileReading struct {
	context.Context
	do func()
}

func (c whileReading) Done() <-chan struct{} {
	c.do()
	return c.Context.Done()
}
