package node

import (
	"errors"
	"sync/atomic"
	"time"

	"registry-node/node/index"
)

// space says whether there is room for writes. A reserve is kept free, so that
// the log, the index and a restart always have room to finish what they began:
// JetStream gives no answer at all on a full disk.
type space struct {
	dir     string
	reserve uint64 // bytes
	// state is the free space when it was looked at last, see look.
	state atomic.Pointer[spaceState]
}

type spaceState struct {
	at    time.Time
	total uint64 // bytes of the file system
	free  uint64 // bytes left for this user
	err   error
}

const (
	minReserve = 16 << 20
	maxReserve = 1 << 30
	// spaceAge is how old a look at the free space may be. Between two looks the
	// reserve is what protects.
	spaceAge = 250 * time.Millisecond
)

func newSpace(dir string) *space {
	s := &space{dir: dir}
	s.reserve = min(max(s.look().total/20, minReserve), maxReserve)
	return s
}

func (s *space) look() *spaceState {
	if st := s.state.Load(); st != nil && time.Since(st.at) < spaceAge {
		return st
	}
	st := &spaceState{at: time.Now()}
	st.total, st.free, st.err = freeSpace(s.dir)
	s.state.Store(st)
	return st
}

// check returns an ErrNoSpace if the free space is below the reserve.
func (s *space) check() error {
	if st := s.look(); st.err == nil && st.free < s.reserve {
		return fail(ErrNoSpace, "this node's disk has %d MiB left and keeps %d MiB in reserve; it serves what it holds and takes writes again when there is space",
			st.free>>20, s.reserve>>20)
	}
	return nil
}

// spare keeps in local state what spares this node to find it out again. On a full
// disk it is not kept, and that is no error: reads go on there.
func (n *Node) spare(space, key string, value []byte) error {
	err := n.index.Load().Local(space).Set(key, value)
	if errors.Is(err, index.ErrFull) {
		return nil
	}
	return err
}

// HasSpace returns an ErrNoSpace if the disk is so full that this node takes no
// writes.
func (n *Node) HasSpace() error { return n.space.check() }
