package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"registry-node/events"
	"registry-node/node/blob"
)

// blobs are the blob store and what is known of its blobs' health: a blob is
// verified before it is first served since the start, and again if its file
// changes.
type blobs struct {
	store    *blob.Store
	verdicts *table[events.Digest, verdict]
	checks   *flights[events.Digest, bool]
	// lost is told of a blob that was set aside.
	lost func(events.Digest)
	// admitting is held for reading while a blob is there that no record refers
	// to yet, and for writing to remove one that no record will.
	admitting sync.RWMutex
}

// verdict is a file of which a blob's bytes have been verified.
type verdict struct {
	size    int64
	changed time.Time
}

const verdictSlots = 1 << 17

func newBlobs(s *blob.Store, l *life) *blobs {
	return &blobs{
		store:    s,
		verdicts: newTable[events.Digest, verdict](verdictSlots),
		checks:   newFlights[events.Digest, bool](l.ctx, &l.wg),
	}
}

// open opens a blob whose bytes are right. ok is false if it isn't here, or if
// it was corrupt: then it has been set aside.
func (b *blobs) open(ctx context.Context, want events.Blob) (f blob.File, ok bool, err error) {
	f, ok, err = b.store.Open(want.Digest)
	if err != nil || !ok {
		return f, false, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return f, false, err
	}
	now := verdict{st.Size(), st.ModTime()}
	if v, known := b.verdicts.get(want.Digest); known && v == now && f.Size == want.Size {
		return f, true, nil
	}
	ok, err = b.checks.do(ctx, want.Digest, func(ctx context.Context) (bool, error) {
		return b.check(ctx, want.Digest)
	})
	if err != nil || !ok {
		f.Close()
		return f, false, err
	}
	b.verdicts.put(want.Digest, now)
	return f, true, nil
}

// check verifies a blob and sets it aside if it is corrupt.
func (b *blobs) check(ctx context.Context, d events.Digest) (ok bool, err error) {
	ok, err = b.store.Verify(ctx, d)
	if !errors.Is(err, blob.ErrCorrupt) {
		return ok, err
	}
	_, moved, err := b.store.SetAside(ctx, d)
	b.lost(d)
	return !moved && err == nil, err // not moved: somebody healed it meanwhile
}

// held reports whether a blob of the right size is here.
func (b *blobs) held(want events.Blob) bool {
	size, ok, err := b.store.Has(want.Digest)
	return err == nil && ok && size == want.Size
}
