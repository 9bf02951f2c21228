package index

import (
	"context"
	"iter"
	"runtime"
	"sync"

	"registry-node/events"
)

// maxWindow bounds the entries that DecodeAll holds: to 48 MiB if all are as
// large as they may be.
const maxWindow = 64

// DecodeAll decodes raw entries and verifies each, on all cores, and yields them
// in the order they came in. It is for a log that is there to be read, not for
// one to wait for: an entry is yielded once up to 64 more have been read, so that
// the cores have work while the caller commits, or raws has ended. The first
// error, of raws, of an entry or of ctx, is yielded behind all entries before it,
// and is the last. raws is read by the caller's goroutine; verify runs in several
// at once. Nothing is left running when the caller's loop ends.
func DecodeAll(ctx context.Context, raws iter.Seq2[[]byte, error], verify func(events.Entry) error) iter.Seq2[events.Entry, error] {
	type result struct {
		entry events.Entry
		err   error
	}
	return func(yield func(events.Entry, error) bool) {
		var running sync.WaitGroup
		defer running.Wait()
		window := min(16*runtime.GOMAXPROCS(0), maxWindow)
		var queue []chan result // oldest first
		next := func() bool {
			r := <-queue[0]
			queue = queue[1:]
			return yield(r.entry, r.err) && r.err == nil
		}
		for raw, err := range raws {
			if err == nil {
				err = ctx.Err()
			}
			done := make(chan result, 1)
			queue = append(queue, done)
			if err != nil {
				done <- result{err: err}
				break
			}
			running.Go(func() {
				e, err := events.DecodeEntry(raw)
				if err == nil {
					err = verify(e)
				}
				done <- result{e, err}
			})
			if len(queue) > window && !next() {
				return
			}
		}
		for len(queue) > 0 && next() {
		}
	}
}
