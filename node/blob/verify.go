package blob

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"golang.org/x/time/rate"

	"registry-node/events"
)

// Verify reads the blob d and compares its digest. Ok is false if there is no
// such blob; other bytes are an [ErrCorrupt]. A file that cannot be read at all
// is the file system's own error.
func (s *Store) Verify(ctx context.Context, d events.Digest) (ok bool, err error) {
	return s.verify(ctx, d, newRehash(rate.Inf))
}

func (s *Store) verify(ctx context.Context, d events.Digest, h *rehash) (ok bool, err error) {
	f, ok, err := s.Open(d)
	if err != nil || !ok {
		return false, err
	}
	defer f.Close()
	got, n, err := h.sum(ctx, f)
	if err != nil {
		return true, fmt.Errorf("verify blob %v: %w", d, err)
	}
	if got != d {
		return true, fmt.Errorf("%w %v: its %d bytes have the digest %v", ErrCorrupt, d, n, got)
	}
	return true, nil
}

// Scrub verifies every blob once, reading no more than bytesPerSecond on
// average, and calls visit with each one's digest and nil or the error of
// Verify; a zero digest comes with an error of the listing (see [Store.All]).
// Blobs that vanish meanwhile are not visited. Scrub returns nil at the end of
// the pass, or the cause of the end of ctx.
//
// The kernel may answer from its memory what it read or wrote lately, so a fault
// of the disk shows once the blob has left that memory.
func (s *Store) Scrub(ctx context.Context, bytesPerSecond int64, visit func(d events.Digest, err error)) error {
	if bytesPerSecond <= 0 {
		return fmt.Errorf("scrub blobs: rate of %d bytes/s is not positive", bytesPerSecond)
	}
	h := newRehash(rate.Limit(bytesPerSecond))
	for info, err := range s.All(ctx) {
		ok := err != nil
		if err == nil {
			ok, err = s.verify(ctx, info.Digest, h)
		}
		if cause := context.Cause(ctx); cause != nil {
			return fmt.Errorf("scrub blobs: %w", cause)
		}
		if ok || err != nil {
			visit(info.Digest, err)
		}
	}
	return nil
}

// A rehash hashes one blob after the other, at a bounded rate and through one
// buffer.
type rehash struct {
	pace *rate.Limiter // its burst is the size of buf
	buf  []byte
}

func newRehash(limit rate.Limit) *rehash {
	const chunk = 128 << 10
	return &rehash{pace: rate.NewLimiter(limit, chunk), buf: make([]byte, chunk)}
}

// sum reads r to its end and returns the digest and number of its bytes.
func (h *rehash) sum(ctx context.Context, r io.Reader) (events.Digest, int64, error) {
	sha, size := sha256.New(), int64(0)
	for {
		n, err := r.Read(h.buf)
		sha.Write(h.buf[:n])
		size += int64(n)
		if errors.Is(err, io.EOF) {
			return events.Digest(sha.Sum(nil)), size, nil
		}
		if err != nil {
			return events.Digest{}, size, err
		}
		if err := h.wait(ctx, n); err != nil {
			return events.Digest{}, size, err
		}
	}
}

func (h *rehash) wait(ctx context.Context, n int) error {
	if err := h.pace.WaitN(ctx, n); err != nil {
		// The limiter gives up early when it sees that ctx will end before the
		// turn comes; whoever waits here expects the end of ctx.
		<-ctx.Done()
	}
	return context.Cause(ctx)
}
