package index

import (
	"hash/maphash"
	"sync/atomic"

	"registry-node/events"
)

// generations counts changes of records, in buckets by hash.
type generations struct {
	seed    maphash.Seed
	buckets [1 << 16]atomic.Uint64
}

func (g *generations) of(k events.Key) *atomic.Uint64 {
	h := maphash.String(g.seed, bucketName(k))
	return &g.buckets[h%uint64(len(g.buckets))]
}

// Generation returns a number that changes whenever the record may have
// changed. A reader that wants to keep what Get says reads the Generation first:
// as long as it stays the same, so does the record. Keys of KindVersion and
// KindModule of one repository and module have the same number, so that one
// tells whether a list of the module still holds. It takes no lock, and says
// nothing across a restart.
func (x *Index) Generation(k events.Key) uint64 { return x.generations.of(k).Load() }
