// Package replication holds a site's own log in NATS JetStream.
//
// This is copy one of the log (DESIGN 4.5); copy two is in the index, and the
// comparison of the two belongs to package node. Nothing here knows what an
// entry means: messages are opaque bytes.
//
// # Rules
//
// The log is one JetStream stream in a nats-server inside this process, which
// listens nowhere and syncs every write before it answers. The sequence of a
// message is the ordinal of its entry in this generation of the log: 1, 2, 3 …
// without holes. An append names the sequence that it expects to take, so of
// two writers one wins and the other is told. An entry once acknowledged is
// never acknowledged again with other bytes.
//
// JetStream forgets damaged messages without an error and then gives their
// sequences away again (RELIABILITY M6 to M8). So nothing here trusts it to
// notice: Check shows what it counts, Read refuses to step over a hole, and a
// log that ends before an entry that it once held takes no more appends
// (ErrRollback) until Rewrite has made a new generation from another copy.
//
// When a write fails (a full disk), JetStream answers nothing, then or ever,
// until the server is started anew (M10). Append notices at once, reports
// ErrNoSpace or ErrUnavailable, and starts the embedded server anew as soon as
// a probe shows that the disk takes writes again. No call waits longer than its
// context and Config allow, except that Close waits for the disk.
//
// # Names and files
//
// Generation G of site S is stream LOG_S_G with the one subject log.S.G (two
// generations exist side by side during Rewrite, and JetStream refuses streams
// whose subjects overlap). Below Config.Dir are
//
//	generation                             the current generation, a decimal number
//	jetstream/$G/streams/LOG_S_G/meta.inf  the stream's settings; meta.sum beside it
//	jetstream/$G/streams/LOG_S_G/msgs/     N.blk (messages, 8 MiB each), index.db
//
// A message in a .blk file is length(4), sequence(8), time(8), length of
// subject(2), subject, length of headers(4), headers, the entry's bytes as they
// are, checksum(8). The directory belongs to one process; who opens it holds a
// lock on the data directory around it.
package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"registry-node/events"
)

// MaxEntry is the largest entry in bytes that a log takes (DESIGN 4.1).
const MaxEntry = 768 << 10

// Config says where a log is and how patient it is. Dir and Site are needed.
type Config struct {
	// Dir is the directory of the log, made if it is missing.
	Dir string
	// Site is whose log it is. A directory with another site's log is refused.
	Site events.Site
	// Logger gets the embedded server's warnings and errors as such and the rest
	// of what it says at debug level. Nil discards them.
	Logger *slog.Logger
	// AppendTimeout bounds Append, Settle and Recover, and each batch of Rewrite;
	// 5 s if zero.
	AppendTimeout time.Duration
	// ReadTimeout bounds every wait for an answer to a read; 10 s if zero.
	ReadTimeout time.Duration
	// MinFree is the free space in bytes below which Append answers ErrNoSpace
	// without trying, so that the disk hardly ever fills up under JetStream, and
	// other files of the node still find room; 16 MiB if zero.
	MinFree uint64
}

// Log is the log of one site. Its methods may be called concurrently.
type Log struct {
	cfg Config

	// life ends when Close begins; stop ends it.
	life    context.Context
	stop    context.CancelFunc
	closing sync.Once

	// writer holds one token. Its holder is the only one who appends, rewrites or
	// starts the server anew. Close takes it for good.
	writer chan struct{}

	// stream is the current generation in the running server. It is nil while
	// the server is being started anew, when that failed, and once closed.
	stream atomic.Pointer[stream]

	// known is the highest sequence that this log has acknowledged or seen in its
	// current generation. A stream that ends before it has lost entries, and takes
	// no more: what it would take is at most known, and that is never sent.
	known atomic.Uint64

	// The following belong to the holder of the writer's token.
	generation uint64
	dead       error     // why the server must be started anew, or nil
	unanswered bool      // an append was sent, and its fate is unknown
	restarted  time.Time // when the server was last started anew
	hook       func(step string)
}

// Open starts the embedded server on cfg.Dir and opens the newest complete
// generation of the site's log. Where there is none, it makes an empty one: what
// ought to be there is for the caller to know, who compares Last and Check with
// the other copy.
//
// What a rewrite left half-done is removed. What may be in memory only, because
// the process died between a write and its sync, is synced first, so that every
// entry that can be read is durable. Replaying a long stream cannot be
// interrupted by ctx (about 0.7 s for a million entries).
func Open(ctx context.Context, cfg Config) (*Log, error) {
	if cfg.Dir == "" || cfg.Site.IsZero() {
		return nil, errors.New("open log: directory and site are needed")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.AppendTimeout = cmp.Or(cfg.AppendTimeout, 5*time.Second)
	cfg.ReadTimeout = cmp.Or(cfg.ReadTimeout, 10*time.Second)
	cfg.MinFree = cmp.Or(cfg.MinFree, 16<<20)

	l := &Log{cfg: cfg, writer: make(chan struct{}, 1), hook: func(string) {}}
	l.life, l.stop = context.WithCancel(context.Background())
	if err := l.open(ctx); err != nil {
		l.stop()
		return nil, fmt.Errorf("open log in %s: %w", cfg.Dir, diskError(err))
	}
	l.release()
	return l, nil
}

// open readies the files, starts the server and makes its stream current. The
// caller holds the writer's token.
func (l *Log) open(ctx context.Context) error {
	g, err := prepare(l.cfg.Dir, l.cfg.Site)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	eng, err := startEngine(l.cfg)
	if err != nil {
		return err
	}
	s, last, err := openStream(ctx, eng, l.cfg, g)
	if err != nil {
		eng.stop()
		return err
	}
	l.generation = g
	l.raise(last)
	l.stream.Store(s)
	return nil
}

// Close stops the embedded server and returns when nothing of it runs any more.
// Running calls end with an error. It waits for the disk, however long a write
// takes there. Closing again does nothing.
func (l *Log) Close() error {
	l.closing.Do(func() {
		l.stop()
		<-l.writer // never given back
		if s := l.stream.Swap(nil); s != nil {
			s.eng.stop()
		}
	})
	return nil
}

// State is what the stream says about itself.
type State struct {
	Generation uint64 // of the log, from 1
	Stream     string // the stream's name
	Entries    uint64 // how many messages it counts
	First      uint64 // sequence of the first, 1 or higher; 1 or 0 when there is none
	Last       uint64 // sequence of the last; 0 when there never was one
}

// Whole reports whether the counts leave no room for a hole: every sequence from
// 1 to Last is there. A damaged entry in the middle may show only to Read.
func (s State) Whole() bool {
	return s.Entries == s.Last && (s.Entries == 0 || s.First == 1)
}

// Check returns what the stream says about itself, so that holes show. The error
// is ErrUnavailable or ErrClosed.
func (l *Log) Check(ctx context.Context) (State, error) {
	ctx, cancel := l.bound(ctx, l.cfg.ReadTimeout)
	defer cancel()
	s, err := l.current()
	if err != nil {
		return State{}, err
	}
	return s.state(ctx)
}

// Last returns the sequence of the last entry of the current generation, 0 when
// there is none. It returns a *RollbackError (ErrRollback) beside it when this
// log has held more; other errors are ErrUnavailable and ErrClosed.
func (l *Log) Last(ctx context.Context) (uint64, error) {
	ctx, cancel := l.bound(ctx, l.cfg.ReadTimeout)
	defer cancel()
	s, err := l.current()
	if err != nil {
		return 0, err
	}
	return l.end(ctx, s)
}

// current returns the open stream, or why there is none.
func (l *Log) current() (*stream, error) {
	s := l.stream.Load()
	switch {
	case l.life.Err() != nil:
		return nil, ErrClosed
	case s == nil:
		return nil, fmt.Errorf("%w: its server is being started anew", ErrUnavailable)
	}
	return s, nil
}

// raise makes seq known.
func (l *Log) raise(seq uint64) {
	for {
		known := l.known.Load()
		if seq <= known || l.known.CompareAndSwap(known, seq) {
			return
		}
	}
}

// bound returns a context that ends with ctx, after d, or when the log is closed.
func (l *Log) bound(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d)
	stop := context.AfterFunc(l.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// acquire takes the writer's token. The caller gives it back with release. The
// context is one made by bound.
func (l *Log) acquire(ctx context.Context) error {
	select {
	case <-l.writer:
		return nil
	case <-ctx.Done(): // or the log is closed, see bound
		if l.life.Err() != nil {
			return ErrClosed
		}
		return fmt.Errorf("%w: another write is under way: %w", ErrUnavailable, ctx.Err())
	}
}

func (l *Log) release() { l.writer <- struct{}{} }
