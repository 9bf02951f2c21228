package node

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

// negatives remember what an upstream said it has not. They are asked for by the
// million (each import is looked up under all prefixes of its path, and anybody
// can make names up), so one costs sixteen bytes, their number is fixed, a later
// one may push out an earlier one, and none is ever an event.
//
// A name is known by 128 bits of a hash that is seeded anew at each start: that
// one absence is taken for another's is less likely than that the disk lies.
type negatives struct {
	place, name maphash.Seed
	slots       []negative
	start       time.Time
}

type negative struct {
	name atomic.Uint64 // hash of what is absent; 0: none
	at   atomic.Int64  // when the upstream said so, in nanoseconds since start
}

// negativeSlots is how many absences are remembered, in 16 MiB.
const negativeSlots = 1 << 20

func newNegatives(slots int) *negatives {
	return &negatives{maphash.MakeSeed(), maphash.MakeSeed(), make([]negative, slots), time.Now()}
}

func (n *negatives) find(k askKey) (*negative, uint64) {
	return &n.slots[maphash.Comparable(n.place, k)%uint64(len(n.slots))], maphash.Comparable(n.name, k) | 1
}

// put remembers that the upstream said at a time that it has not got k.
func (n *negatives) put(k askKey, at time.Time) {
	s, name := n.find(k)
	s.name.Store(0) // who reads in between must not take the old name with the new time
	s.at.Store(int64(at.Sub(n.start)))
	s.name.Store(name)
}

// since returns when the upstream said that it has not got k; ok is false if that
// is not known.
func (n *negatives) since(k askKey) (at time.Time, ok bool) {
	s, name := n.find(k)
	if s.name.Load() != name {
		return at, false
	}
	at = n.start.Add(time.Duration(s.at.Load()))
	return at, s.name.Load() == name
}
