package blob

import (
	"context"
	"fmt"
	"io"

	"registry-node/events"
)

// Put stores the bytes of r, which must be size many with the digest want, and
// returns when they are durable, or were already. It reads r to the end even
// then, so that a nil error always means that these very bytes were right. A
// failed Put leaves nothing behind. Errors are those of r and ctx, [ErrMismatch]
// (another digest, or too few bytes), [ErrTooLarge] (more than size),
// [ErrUnhealthy], [ErrNoSpace] and what the file system says.
//
// Several Puts of one digest may run at once; each verifies its own bytes.
func (s *Store) Put(ctx context.Context, want events.Digest, size int64, r io.Reader) error {
	if want.IsZero() {
		return fmt.Errorf("put blob of %d bytes: no digest given", size)
	}
	st, err := s.Stage(ctx, size)
	if err != nil {
		return fmt.Errorf("put blob %v: %w", want, err)
	}
	defer st.Discard()
	n, err := io.Copy(st, r)
	if err != nil {
		return fmt.Errorf("put blob %v: %w", want, err)
	}
	if n != size {
		return fmt.Errorf("put blob %v: %w: got %d bytes, want %d", want, ErrMismatch, n, size)
	}
	if _, err := st.Commit(want); err != nil {
		return fmt.Errorf("put blob: %w", err)
	}
	return nil
}

// place gives the synced file tmp, of size bytes with the digest d, its name as
// a blob, durably. If the blob exists, tmp stays where it is.
//
// A crash before the rename leaves tmp; after it, a whole blob that nobody was
// told of.
func (s *Store) place(tmp string, d events.Digest, size int64) (existed bool, err error) {
	sh := &s.shards[d[0]]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	// Seen with mu held: a sync of this shard that failed for another writer
	// may have taken our rename with it.
	if err := s.Err(); err != nil {
		return false, err
	}
	if err := s.makeShard(sh, shardName(d)); err != nil {
		return false, err
	}
	existed, err = s.settle(d, size)
	if err != nil {
		return false, err
	}
	if !existed {
		err = s.disk.rename(tmp, blobName(d))
	} else {
		err = s.syncExisting(blobName(d))
	}
	if err != nil {
		return false, err
	}
	return existed, s.disk.syncDir(shardName(d))
}

// makeShard makes the directory of sh, whose mu is held, if this process has not
// seen it yet.
func (s *Store) makeShard(sh *shard, name string) error {
	if sh.made {
		return nil
	}
	if err := s.disk.mkdir(name); err != nil {
		return err
	}
	if err := s.syncTop(blobsDir); err != nil {
		return err
	}
	sh.made = true
	return nil
}

// syncTop syncs sha256 or aside, which writers of all shards change.
func (s *Store) syncTop(name string) error {
	s.topMu.Lock()
	defer s.topMu.Unlock()
	if err := s.Err(); err != nil {
		return err
	}
	return s.disk.syncDir(name)
}

// settle reports whether the blob d is there with the right size. A blob of
// another size is corrupt, for size is that of bytes with this digest; it is
// moved out of the way. The shard's mu is held.
func (s *Store) settle(d events.Digest, size int64) (existed bool, err error) {
	have, ok, err := s.disk.stat(blobName(d))
	if err != nil || !ok {
		return false, err
	}
	if have == size {
		return true, nil
	}
	_, err = s.moveAside(d)
	return false, err
}

// syncExisting syncs a blob that was there before: it may have come from a copy
// of the directory that nobody synced.
func (s *Store) syncExisting(name string) error {
	f, err := s.disk.openRW(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.disk.syncFile(f, name)
}
