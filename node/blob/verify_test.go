package blob_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"registry-node/events"
	"registry-node/node/blob"
)

func TestVerify(t *testing.T) {
	s, dir := newStore(t)
	b, _ := content(1, 300_000)
	d := put(t, s, b)
	if ok, err := s.Verify(t.Context(), d); !ok || err != nil {
		t.Fatalf("Verify = %v, %v", ok, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Verify(ctx, d); !errors.Is(err, context.Canceled) || errors.Is(err, blob.ErrCorrupt) {
		t.Errorf("Verify without time = %v, want context.Canceled", err)
	}
	corrupt(t, dir, d)
	if ok, err := s.Verify(t.Context(), d); !ok || !errors.Is(err, blob.ErrCorrupt) {
		t.Errorf("Verify after a flipped bit = %v, %v; want ErrCorrupt", ok, err)
	}
	overwrite(t, dir, d, b[:299_999])
	if ok, err := s.Verify(t.Context(), d); !ok || !errors.Is(err, blob.ErrCorrupt) {
		t.Errorf("Verify of a truncated blob = %v, %v; want ErrCorrupt", ok, err)
	}
}

func TestScrubFindsFlippedBit(t *testing.T) {
	s, dir := newStore(t)
	var digests []events.Digest
	for i := range 10 {
		b, _ := content(uint64(i), 1+i*20_000)
		digests = append(digests, put(t, s, b))
	}
	corrupt(t, dir, digests[7])
	visits := map[events.Digest]bool{}
	err := s.Scrub(t.Context(), 1<<40, func(d events.Digest, err error) {
		if err != nil && !errors.Is(err, blob.ErrCorrupt) {
			t.Errorf("%v: %v", d, err)
		}
		visits[d] = err == nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[events.Digest]bool{}
	for i, d := range digests {
		want[d] = i != 7
	}
	if !maps.Equal(visits, want) {
		t.Errorf("Scrub found\n%v, want\n%v", visits, want)
	}
}

func TestScrubKeepsItsRate(t *testing.T) {
	dir := newDir(t)
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, dir, nil)
		const size, count, perSecond = 1_000_000, 3, 50_000
		for i := range count {
			b, _ := content(uint64(i), size)
			put(t, s, b)
		}
		began, visits := time.Now(), 0
		err := s.Scrub(t.Context(), perSecond, func(_ events.Digest, err error) {
			if visits++; err != nil {
				t.Error(err)
			}
		})
		if err != nil || visits != count {
			t.Fatalf("Scrub visited %d blobs, %v", visits, err)
		}
		// The first 128 KiB are free.
		const atLeast, atMost = (size*count - 128<<10) / perSecond * time.Second, size * count / perSecond * time.Second
		if took := time.Since(began); took < atLeast || took > atMost {
			t.Errorf("Scrub took %v, want %v to %v", took, atLeast, atMost)
		}
	})
}

func TestScrubEndsWithItsContext(t *testing.T) {
	dir := newDir(t)
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, dir, nil)
		b, _ := content(1, 1_000_000)
		put(t, s, b)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		err := s.Scrub(ctx, 1000, func(d events.Digest, err error) { t.Errorf("visited %v: %v", d, err) })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Scrub = %v, want context.DeadlineExceeded", err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("Scrub took %v, want 3s", took)
		}
	})
}

func TestScrubRefusesNoRate(t *testing.T) {
	s, _ := newStore(t)
	for _, rate := range []int64{0, -1} {
		if err := s.Scrub(t.Context(), rate, func(events.Digest, error) {}); err == nil {
			t.Errorf("Scrub at %d bytes/s succeeded", rate)
		}
	}
}
