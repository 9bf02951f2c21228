package replication

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// One batch of a rewrite: JetStream takes at most 1000 messages in one, and
// bytes bound the memory.
const (
	batchCount = 500
	batchBytes = 4 << 20
)

// Rewrite replaces the log by a new generation that holds entries from sequence
// 1 on: the whole log, taken from another copy. It calls progress, unless nil,
// with the number of entries that are durable, after each batch. Appends wait
// meanwhile, at most as long as they may; reading goes on in the old generation.
//
// The order is: write the new stream, check its counts, sync its directories,
// name it in the generation file (this is the moment when it counts), remove the
// older stream. A crash before that moment leaves the old generation current and
// one after it the new; Open removes the other one. After an error before it the
// log is as it was.
//
// Rewrite also ends ErrRollback. Errors: what entries yields, ErrNoSpace,
// ErrUnavailable, ErrTooLarge, ErrClosed.
func (l *Log) Rewrite(ctx context.Context, entries iter.Seq2[[]byte, error], progress func(n uint64)) error {
	wait, cancel := l.bound(ctx, l.cfg.AppendTimeout)
	err := l.usable(wait, batchBytes)
	cancel()
	if err != nil {
		return err
	}
	defer l.release()
	ctx, cancel = context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.life, cancel)()

	old, err := l.current()
	if err != nil {
		return err
	}
	next, n, err := l.writeGeneration(ctx, old.eng, entries, progress)
	if err != nil {
		return err
	}
	l.hook("named")
	l.generation, l.unanswered = next.gen, false
	l.known.Store(n)
	l.stream.Store(next)
	// The older one is of no use any more; what stays, Open removes.
	if err := l.deleteStream(ctx, old); err != nil {
		l.cfg.Logger.Warn("remove the older generation", "stream", old.name, "error", err)
	}
	l.hook("removed")
	return nil
}

// writeGeneration makes the next generation from entries and names it in the
// generation file. When it fails, no trace is left.
func (l *Log) writeGeneration(ctx context.Context, eng *engine, entries iter.Seq2[[]byte, error], progress func(uint64)) (_ *stream, n uint64, err error) {
	s, last, err := openStream(ctx, eng, l.cfg, l.generation+1)
	if err != nil {
		return nil, 0, diskError(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(l.diagnose(batchBytes, err), l.deleteStream(context.WithoutCancel(ctx), s))
		}
	}()
	if last != 0 {
		return nil, 0, fmt.Errorf("rewrite: stream %s is not new: it ends at %d", s.name, last)
	}
	l.hook("made")
	n, err = l.fill(ctx, s, entries, progress)
	if err != nil {
		return nil, 0, err
	}
	st, err := s.state(ctx)
	if err != nil {
		return nil, 0, err
	}
	if st.Last != n || !st.Whole() {
		return nil, 0, fmt.Errorf("%w: stream %s has %d entries from %d to %d after writing %d", ErrUnavailable, s.name, st.Entries, st.First, st.Last, n)
	}
	l.hook("filled")
	if err := syncStream(l.cfg.Dir, s.name); err != nil {
		return nil, 0, err
	}
	if err := writeGenerationFile(l.cfg.Dir, s.gen); err != nil {
		return nil, 0, err
	}
	return s, n, nil
}

// fill appends entries to the empty stream s and returns how many there were.
func (l *Log) fill(ctx context.Context, s *stream, entries iter.Seq2[[]byte, error], progress func(uint64)) (n uint64, err error) {
	var batch [][]byte
	var size int
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := l.room(); err != nil {
			return fmt.Errorf("rewrite: %w", err)
		}
		ctx, cancel := context.WithTimeout(ctx, l.cfg.AppendTimeout)
		defer cancel()
		if err := s.appendBatch(ctx, n, batch); err != nil {
			return unavailable(fmt.Sprintf("rewrite entries %d to %d", n+1, n+uint64(len(batch))), err)
		}
		n += uint64(len(batch))
		batch, size = batch[:0], 0
		if progress != nil {
			progress(n)
		}
		l.hook("batch")
		return nil
	}
	for entry, err := range entries {
		if err != nil {
			return n, fmt.Errorf("rewrite: entry %d: %w", n+uint64(len(batch))+1, err)
		}
		if len(entry) > MaxEntry {
			return n, fmt.Errorf("rewrite: entry %d: %w: %d", n+uint64(len(batch))+1, ErrTooLarge, len(entry))
		}
		if len(batch) == batchCount || size+len(entry) > batchBytes {
			if err := flush(); err != nil {
				return n, err
			}
		}
		batch, size = append(batch, entry), size+len(entry)
	}
	return n, flush()
}

// deleteStream removes s and its files.
func (l *Log) deleteStream(ctx context.Context, s *stream) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := s.eng.js.DeleteStream(ctx, s.name); err != nil {
		return fmt.Errorf("delete stream %s: %w", s.name, err)
	}
	return nil
}
