package index

import (
	"hash/maphash"

	"github.com/cockroachdb/pebble/v2"
)

const (
	bulkMemTable = 64 << 20
	bulkCache    = 64 << 20
)

// forBulk lets Pebble sort much in memory and write it once: not into a log
// first, and not merged with what was written before. The tables are merged in
// the background when the index is opened for use.
func forBulk(o *pebble.Options) {
	o.DisableWAL = true
	o.MemTableSize = bulkMemTable
	o.CacheSize = bulkCache
	o.DisableAutomaticCompactions = true
}

// keyFilter tells which keys were surely not added to it: a bloom filter of a
// fixed size, right for about ten million keys. With more it only helps less.
// It belongs to the one writer of an index in bulk.
type keyFilter struct {
	seed maphash.Seed
	bits []uint64
}

const (
	keyFilterBits  = 1 << 27 // 16 MiB
	keyFilterTries = 6
)

func newKeyFilter() *keyFilter {
	return &keyFilter{maphash.MakeSeed(), make([]uint64, keyFilterBits/64)}
}

func (f *keyFilter) add(key []byte) {
	for at := range f.places(key) {
		f.bits[at/64] |= 1 << (at % 64)
	}
}

// lacks reports whether key was surely not added.
func (f *keyFilter) lacks(key []byte) bool {
	for at := range f.places(key) {
		if f.bits[at/64]&(1<<(at%64)) == 0 {
			return true
		}
	}
	return false
}

func (f *keyFilter) places(key []byte) func(yield func(uint64) bool) {
	h := maphash.Bytes(f.seed, key)
	step := h>>32 | 1
	return func(yield func(uint64) bool) {
		for range keyFilterTries {
			if !yield(h % keyFilterBits) {
				return
			}
			h += step
		}
	}
}
