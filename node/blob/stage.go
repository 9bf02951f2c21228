package blob

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"os"
	"sync/atomic"

	"registry-node/events"
)

// A Stage takes the bytes of a blob that is on its way in. It can be read while
// it is written, so that they are checked, or passed on, before they are a blob.
//
// Write, Digest, Commit and Discard belong to one goroutine; Size and ReadAt may
// be called by any, until Discard. Every stage must be discarded in the end,
// committed or not.
type Stage struct {
	store *Store
	ctx   context.Context // the stage's own lifetime
	limit int64
	file  *os.File
	size  atomic.Int64

	// Owned by the writer:
	name string // below tmp; empty when there is no such file (any more)
	hash hash.Hash
	end  error // why nothing more can be written or committed; nil before
	shut bool  // file is closed
}

// Stage begins a stage for at most limit bytes. The stage lives no longer than
// ctx: when that has ended, Write and Commit fail with its cause. The errors are
// those of ctx, [ErrUnhealthy], [ErrNoSpace] and what the file system says.
func (s *Store) Stage(ctx context.Context, limit int64) (*Stage, error) {
	if limit < 0 {
		return nil, fmt.Errorf("stage a blob: negative limit %d", limit)
	}
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("stage a blob: %w", err)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("stage a blob: %w", err)
	}
	name := tmpDir + "/" + rand.Text()
	f, err := s.disk.create(name)
	if err != nil {
		// The file may be there in spite of the error.
		return nil, errors.Join(fmt.Errorf("stage a blob: %w", err), s.disk.remove(name))
	}
	return &Stage{store: s, ctx: ctx, limit: limit, file: f, name: name, hash: sha256.New()}, nil
}

// Write appends p. After an error the stage is discarded, its space is free
// again, and every later call fails with the same error. Errors are those of the
// stage's context, [ErrTooLarge] (then nothing of p is written), [ErrNoSpace]
// and what the file system says.
func (st *Stage) Write(p []byte) (int, error) {
	if err := st.live(); err != nil {
		return 0, st.fail(err)
	}
	if int64(len(p)) > st.limit-st.size.Load() {
		return 0, st.fail(fmt.Errorf("write blob: %w: more than %d bytes", ErrTooLarge, st.limit))
	}
	n, err := st.store.disk.write(st.file, st.name, p)
	st.hash.Write(p[:n])
	st.size.Add(int64(n))
	if err != nil {
		return n, st.fail(fmt.Errorf("write blob: %w", err))
	}
	return n, nil
}

// live returns why the stage accepts nothing more, or nil.
func (st *Stage) live() error {
	if st.end != nil {
		return st.end
	}
	if err := context.Cause(st.ctx); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	return nil
}

// fail ends the stage for the reason err, unless it has ended, and returns err.
func (st *Stage) fail(err error) error {
	if st.end == nil {
		st.end = err
		return errors.Join(err, st.Discard())
	}
	return err
}

// Size returns how many bytes have been written so far.
func (st *Stage) Size() int64 { return st.size.Load() }

// ReadAt reads what has been written so far, before Commit and after it; io.EOF
// means that no more has been written yet. After Discard it fails.
func (st *Stage) ReadAt(p []byte, off int64) (int, error) { return st.file.ReadAt(p, off) }

// Digest returns the digest of what has been written so far.
func (st *Stage) Digest() events.Digest { return events.Digest(st.hash.Sum(nil)) }

// Commit makes what was written a blob; when it returns without an error, that
// blob is durable. Existed tells that it was there before. With a want other
// than zero, bytes that have another digest are an [ErrMismatch]; the other
// errors are those of the stage's context, [ErrUnhealthy], [ErrNoSpace] and what
// the file system says. A Commit that fails discards the stage.
func (st *Stage) Commit(want events.Digest) (existed bool, err error) {
	if err := st.live(); err != nil {
		return false, st.fail(err)
	}
	got := st.Digest()
	if !want.IsZero() && want != got {
		return false, st.fail(fmt.Errorf("commit blob: %w: got %v, want %v", ErrMismatch, got, want))
	}
	if existed, err = st.commit(got); err != nil {
		return false, st.fail(fmt.Errorf("commit blob %v: %w", got, err))
	}
	st.end = errCommitted
	return existed, nil
}

func (st *Stage) commit(d events.Digest) (existed bool, err error) {
	if err := st.store.Err(); err != nil {
		return false, err
	}
	// Before the rename, so that no name in sha256 ever stands for bytes that a
	// power cut can take.
	if err := st.store.disk.syncFile(st.file, st.name); err != nil {
		return false, err
	}
	existed, err = st.store.place(st.name, d, st.Size())
	if err != nil {
		return false, err
	}
	if !existed {
		st.name = "" // renamed
		return false, nil
	}
	// The blob is durable without this file; if it can't be removed now,
	// Discard tries again and the next Open does.
	if st.store.disk.remove(st.name) == nil {
		st.name = ""
	}
	return true, nil
}

// Discard closes the stage and removes its file. After Commit it leaves the blob
// where it is; called again it does nothing. A file that cannot be removed is
// reported, and is removed by the next Open of the store.
func (st *Stage) Discard() error {
	if st.shut {
		return nil
	}
	st.shut = true
	if st.end == nil {
		st.end = errDiscarded
	}
	err := st.file.Close()
	if st.name != "" {
		err = errors.Join(err, st.store.disk.remove(st.name))
		st.name = ""
	}
	if err != nil {
		return fmt.Errorf("discard stage: %w", err)
	}
	return nil
}
