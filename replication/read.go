package replication

import (
	"context"
	"iter"
)

// A Record is one entry as stored, and its sequence. Data belongs to whom it was
// given to.
type Record struct {
	Seq  uint64
	Data []byte
}

// Read returns the entries from sequence from on (0 means 1), in order, to the
// last one there is when the loop begins. After an error nothing follows:
//
//   - *GapError (ErrGap): the entry that ought to come next is missing.
//   - ErrUnavailable: no answer, the context ended, or the embedded server is
//     being started anew.
//   - ErrClosed.
//
// The caller may take its time between entries; up to 8 MiB wait in memory.
func (l *Log) Read(ctx context.Context, from uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(l.life, cancel)()
		s, err := l.current()
		if err != nil {
			yield(Record{}, err)
			return
		}
		s.read(ctx, max(from, 1))(yield)
	}
}

// Get returns the entry with sequence seq. It returns false when the log does
// not hold it: it lies behind the end, or it is lost. The error is
// ErrUnavailable or ErrClosed.
func (l *Log) Get(ctx context.Context, seq uint64) ([]byte, bool, error) {
	if seq == 0 {
		return nil, false, nil
	}
	ctx, cancel := l.bound(ctx, l.cfg.ReadTimeout)
	defer cancel()
	s, err := l.current()
	if err != nil {
		return nil, false, err
	}
	return s.get(ctx, seq)
}
