package node

import (
	"context"
	"encoding/binary"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"registry-node/node/index"
)

// uses remembers when each token was last used at this node. Requests only note it
// in memory; it is written behind them, to local state, which is no replicated fact
// and which nothing depends on.
type uses struct {
	index  func() *index.Index
	logger *slog.Logger
	noted  sync.Map // by token id: *atomic.Int64, seconds since 1970, not written yet
}

const (
	// usesEvery is how often what was noted is written.
	usesEvery = time.Minute
	usesSpace = "uses" // of local state
)

func newUses(x func() *index.Index, l *slog.Logger) *uses { return &uses{index: x, logger: l} }

// used notes that somebody was let in with a token.
func (n *Node) used(tokenID string) { n.uses.note(tokenID, time.Now()) }

func (u *uses) note(id string, now time.Time) {
	at, ok := u.noted.Load(id)
	if !ok {
		at, _ = u.noted.LoadOrStore(id, new(atomic.Int64))
	}
	if s := at.(*atomic.Int64); s.Load() != now.Unix() {
		s.Store(now.Unix())
	}
}

// last returns when a token was last used; zero if never.
func (u *uses) last(id string) (time.Time, error) {
	if at, ok := u.noted.Load(id); ok {
		return time.Unix(at.(*atomic.Int64).Load(), 0).UTC(), nil
	}
	b, ok, err := u.index().Local(usesSpace).Get(id)
	if err != nil || !ok || len(b) != 8 {
		return time.Time{}, err
	}
	return time.Unix(int64(binary.BigEndian.Uint64(b)), 0).UTC(), nil
}

// forget takes away when a token was used that is no more.
func (u *uses) forget(id string) error {
	u.noted.Delete(id)
	return u.index().Local(usesSpace).Delete(id)
}

// run writes what is noted now and then, and when ctx ends.
func (u *uses) run(ctx context.Context) {
	tick := time.NewTicker(usesEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			u.write()
		case <-ctx.Done():
			u.write()
			return
		}
	}
}

// write writes what is noted, and forgets it here. What is noted between the two is
// of the same second or lost, and noted again with the next use.
func (u *uses) write() {
	local := u.index().Local(usesSpace)
	u.noted.Range(func(id, at any) bool {
		err := local.Set(id.(string), binary.BigEndian.AppendUint64(nil, uint64(at.(*atomic.Int64).Load())))
		if err != nil {
			u.logger.Debug("last uses of tokens are not written", "error", err)
			return false
		}
		u.noted.Delete(id)
		return true
	})
}
