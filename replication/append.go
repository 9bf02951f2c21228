package replication

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// restartPause is the least time between two starts of the embedded server, so
// that a disk that fails every write is not hammered.
const restartPause = time.Second

// Append appends entry, which must become sequence seq, right after the last. It
// returns nil only when the entry is durable.
//
// Appending the same bytes at the same sequence again is safe and succeeds
// without storing them twice. This is the answer to every error that leaves the
// fate of an entry unknown (ErrUnavailable, ErrNoSpace, the context's): send the
// same again, or ask Settle.
//
//   - *ConflictError (ErrConflict): seq holds other bytes.
//   - *RollbackError (ErrRollback): the entry before seq is not there. When this
//     log held it, all appends fail so until Rewrite.
//   - *GapError (ErrGap): seq lies inside the log, but its entry is lost.
//   - ErrNoSpace, ErrUnavailable: later, perhaps. ErrTooLarge, ErrClosed: never.
func (l *Log) Append(ctx context.Context, seq uint64, entry []byte) error {
	if seq == 0 {
		return errors.New("append 0: sequences begin at 1")
	}
	if len(entry) > MaxEntry {
		return fmt.Errorf("append %d: %w: %d", seq, ErrTooLarge, len(entry))
	}
	ctx, cancel := l.bound(ctx, l.cfg.AppendTimeout)
	defer cancel()
	var err error
	for range 2 { // again when the server had to be started anew
		if err = l.usable(ctx, len(entry)); err != nil {
			return err
		}
		err = l.appendLocked(ctx, seq, entry)
		l.release()
		if !errors.Is(err, errWriteDead) {
			return err
		}
	}
	return l.diagnose(len(entry), err)
}

// appendLocked is Append for the holder of the writer's token. An errWriteDead
// in its answer means that the server must be started anew.
func (l *Log) appendLocked(ctx context.Context, seq uint64, entry []byte) error {
	s, err := l.current()
	if err != nil {
		return err
	}
	// What is known to be there is never sent: after a rollback the stream would
	// take it, and give its sequence to other bytes.
	if seq <= l.known.Load() {
		return l.mustHold(ctx, s, seq, entry)
	}
	if err := l.room(); err != nil {
		return fmt.Errorf("append %d: %w", seq, err)
	}
	l.unanswered = true
	err = s.append(ctx, seq, entry)
	switch {
	case err == nil:
		l.unanswered = false
		l.raise(seq)
		return nil
	case errors.Is(err, errWrongLast):
		l.unanswered = false
		return l.mustHold(ctx, s, seq, entry)
	case errors.Is(err, errWriteDead):
		l.dead = err
	}
	return unavailable(fmt.Sprintf("append %d", seq), err)
}

// mustHold settles an append that the stream refused, or that it must already
// hold: nil when seq holds just these bytes.
func (l *Log) mustHold(ctx context.Context, s *stream, seq uint64, entry []byte) error {
	last, err := l.holds(ctx, s, seq, entry)
	if err == nil && seq > last {
		return &RollbackError{Known: seq - 1, Last: last}
	}
	return err
}

// holds returns nil when seq holds just these bytes or lies behind the last
// sequence, which it returns.
func (l *Log) holds(ctx context.Context, s *stream, seq uint64, entry []byte) (last uint64, err error) {
	last, err = l.end(ctx, s)
	if err != nil || seq > last {
		return last, err
	}
	data, ok, err := s.get(ctx, seq)
	switch {
	case err != nil:
		return last, err
	case !ok:
		return last, &GapError{Seq: seq, Last: last}
	case !bytes.Equal(data, entry):
		return last, &ConflictError{Seq: seq, Last: last}
	}
	return last, nil
}

// end returns the stream's last sequence, and a *RollbackError beside it when
// this log has held more.
func (l *Log) end(ctx context.Context, s *stream) (uint64, error) {
	known := l.known.Load() // before asking: an append may raise it meanwhile
	st, err := s.state(ctx)
	if err != nil {
		return 0, err
	}
	if st.Last < known {
		return st.Last, &RollbackError{Known: known, Last: st.Last}
	}
	l.raise(st.Last)
	return st.Last, nil
}

// Settle finds out what became of an append that failed without an answer: true
// when seq holds just these bytes, durably; false when it does not, and never
// will unless they are appended again. The errors are those of Append, without
// ErrConflict: other bytes at seq are a plain false.
func (l *Log) Settle(ctx context.Context, seq uint64, entry []byte) (bool, error) {
	ctx, cancel := l.bound(ctx, l.cfg.AppendTimeout)
	defer cancel()
	var err error
	for range 2 { // again when the server had to be started anew
		if err = l.usable(ctx, len(entry)); err != nil {
			return false, err
		}
		var stored bool
		stored, err = l.settleLocked(ctx, seq, entry)
		l.release()
		if !errors.Is(err, errWriteDead) {
			return stored, err
		}
	}
	return false, l.diagnose(len(entry), err)
}

// settleLocked is Settle for the holder of the writer's token.
func (l *Log) settleLocked(ctx context.Context, seq uint64, entry []byte) (bool, error) {
	s, err := l.current()
	if err != nil {
		return false, err
	}
	// The stream handles what it is sent in order. Once it answers this, nothing
	// that was sent before is still on its way.
	if err := s.barrier(ctx); err != nil {
		return false, unavailable("settle", err)
	}
	last, err := l.holds(ctx, s, seq, entry)
	switch {
	case errors.Is(err, ErrConflict):
		l.unanswered = false
		return false, nil
	case err != nil:
		return false, err
	case seq <= last:
		l.unanswered = false
		return true, nil
	case l.unanswered:
		// Handled, unanswered, and not there: the write failed. The bytes may be on
		// disk all the same; only a new start shows.
		l.dead = errWriteDead
		return false, unavailable("settle", errWriteDead)
	}
	return false, nil
}

// Recover brings back a log whose server must be started anew, if the disk takes
// writes again, and does nothing to one that works. Append does the same by
// itself; call this now and then where reading must come back without a write,
// or to know whether writing works. The errors are ErrNoSpace, ErrUnavailable,
// ErrRollback and ErrClosed.
func (l *Log) Recover(ctx context.Context) error {
	ctx, cancel := l.bound(ctx, l.cfg.AppendTimeout)
	defer cancel()
	if err := l.usable(ctx, 0); err != nil {
		return err
	}
	defer l.release()
	s, err := l.current()
	if err != nil {
		return err
	}
	if _, err := l.end(ctx, s); err != nil {
		return err
	}
	return l.room()
}

// usable takes the writer's token, and starts the server anew before if it must
// and the disk takes need bytes and some more. Without an error the caller gives
// the token back.
func (l *Log) usable(ctx context.Context, need int) error {
	for {
		if err := l.acquire(ctx); err != nil {
			return err
		}
		if l.dead == nil {
			return nil
		}
		err := probe(l.cfg.Dir, need)
		if err == nil && time.Since(l.restarted) < restartPause {
			err = l.dead
		}
		if err != nil {
			l.release()
			return unavailableDisk(err)
		}
		// The token goes to the goroutine, which gives it back when it is done and
		// for which Close therefore waits. This loop waits for it within ctx.
		go l.restart()
	}
}

// restart starts the embedded server anew. It is called with the writer's token
// and gives it back.
func (l *Log) restart() {
	defer l.release()
	l.restarted = time.Now()
	l.cfg.Logger.Warn("start the embedded server anew", "reason", l.dead)
	if old := l.stream.Swap(nil); old != nil {
		old.eng.stop()
	}
	l.hook("stopped")
	if l.life.Err() != nil {
		return
	}
	ctx, cancel := l.bound(l.life, l.cfg.ReadTimeout)
	defer cancel()
	if err := l.open(ctx); err != nil {
		l.dead = err
		return
	}
	// Whatever was on its way to the old server is gone or in the stream.
	l.dead, l.unanswered = nil, false
}

// room returns ErrNoSpace when less than Config.MinFree is free. Where that
// cannot be told, the write itself will.
func (l *Log) room() error {
	if free, err := freeSpace(l.cfg.Dir); err == nil && free < l.cfg.MinFree {
		return fmt.Errorf("%w: %d bytes are free, %d are kept free", ErrNoSpace, free, l.cfg.MinFree)
	}
	return nil
}

// diagnose says why a write fails that the server took and did not answer.
func (l *Log) diagnose(need int, err error) error {
	if !errors.Is(err, ErrUnavailable) {
		return diskError(err)
	}
	if full := probe(l.cfg.Dir, need); isNoSpace(full) {
		return diskError(full)
	}
	return err
}

// unavailableDisk classifies why the log cannot be written.
func unavailableDisk(err error) error {
	if isNoSpace(err) {
		return diskError(err)
	}
	return unavailable("writing", err)
}
