package node

import (
	"hash/maphash"
	"sync/atomic"
)

// table remembers values by key in a fixed number of slots: a later value may
// push out an earlier one, so its memory is bounded whatever is asked, and no
// lock is taken. Values are shared and not changed.
type table[K comparable, V any] struct {
	seed  maphash.Seed
	slots []atomic.Pointer[slot[K, V]]
}

type slot[K comparable, V any] struct {
	key   K
	value V
}

func newTable[K comparable, V any](slots int) *table[K, V] {
	return &table[K, V]{maphash.MakeSeed(), make([]atomic.Pointer[slot[K, V]], slots)}
}

func (t *table[K, V]) slot(k K) *atomic.Pointer[slot[K, V]] {
	return &t.slots[maphash.Comparable(t.seed, k)%uint64(len(t.slots))]
}

func (t *table[K, V]) get(k K) (v V, ok bool) {
	if s := t.slot(k).Load(); s != nil && s.key == k {
		return s.value, true
	}
	return v, false
}

func (t *table[K, V]) put(k K, v V) { t.slot(k).Store(&slot[K, V]{k, v}) }
