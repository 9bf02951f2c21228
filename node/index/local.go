package index

import (
	"bytes"
	"errors"
	"iter"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// Local is a named part of the index for what this node alone knows: caches,
// times of last use, what it still has to do. It is in no log and in no state hash.
// An index that takes the place of another takes it over, see CopyLocal and Succeed.
// Its methods may be called from any goroutine.
type Local struct {
	x      *Index
	prefix []byte
}

// LocalRow is a key with its value in a Local.
type LocalRow struct {
	Key   string
	Value []byte
}

// Local returns the local state called space, a constant of the caller's code.
// It panics if the name holds a NUL.
func (x *Index) Local(space string) *Local {
	if strings.IndexByte(space, nul) >= 0 {
		panic("index: the name of a local space holds a NUL")
	}
	return &Local{x, append(append([]byte{spaceLocal}, space...), nul)}
}

func (l *Local) key(key string) []byte { return append(bytes.Clone(l.prefix), key...) }

// Get returns the value of key, and whether there is one.
func (l *Local) Get(key string) ([]byte, bool, error) { return l.x.get(l.key(key)) }

// Set gives key a value. It is not synced: a crash of the process may lose the
// last writes, first ones last. It fails as Txn.Commit does.
func (l *Local) Set(key string, value []byte) error {
	return l.x.writeLocal(false, func(b *pebble.Batch) error { return b.Set(l.key(key), value, nil) })
}

// SetSynced is Set, and the value is durable when it returns.
func (l *Local) SetSynced(key string, value []byte) error {
	return l.x.writeLocal(true, func(b *pebble.Batch) error { return b.Set(l.key(key), value, nil) })
}

// SetLocal gives a key of the local state called space a value, together with
// what else the Txn commits.
func (t *Txn) SetLocal(space, key string, value []byte) error {
	if t.err != nil {
		return t.err
	}
	return t.set(t.x.Local(space).key(key), value)
}

// Delete takes key and its value away, if it is there. It is not synced.
func (l *Local) Delete(key string) error {
	return l.x.writeLocal(false, func(b *pebble.Batch) error { return b.Delete(l.key(key), nil) })
}

// DeleteSynced takes keys and their values away, those that are there, all or none of
// them, durably when it returns.
func (l *Local) DeleteSynced(keys ...string) error {
	return l.x.writeLocal(true, func(b *pebble.Batch) (err error) {
		for _, key := range keys {
			err = errors.Join(err, b.Delete(l.key(key), nil))
		}
		return err
	})
}

// writeLocal writes what change says into the local state of the index, or of the
// one that took its place.
func (x *Index) writeLocal(sync bool, change func(*pebble.Batch) error) error {
	x.local.RLock()
	if next := x.next; next != nil {
		x.local.RUnlock()
		return next.writeLocal(sync, change)
	}
	defer x.local.RUnlock()
	b := x.db.NewBatch()
	return errors.Join(change(b), x.write(b, sync))
}

// Succeed has x take the place of old: it copies all local state of old into x,
// durably, and calls adopt, which makes x the index that others find. Meanwhile
// nobody writes local state; what is written to that of old from then on goes to
// x. Where Succeed fails, old stays what it was, and x, which may hold a copy that
// ages, is of no more use. Nobody may write a Txn to old meanwhile, or later.
func (x *Index) Succeed(old *Index, adopt func() error) error {
	old.local.Lock()
	defer old.local.Unlock()
	if err := errors.Join(x.CopyLocal(old), x.Sync()); err != nil {
		return err
	}
	if err := adopt(); err != nil {
		return err
	}
	old.next = x
	return nil
}

// All yields the rows whose keys start with prefix, in key order. An error ends
// it.
func (l *Local) All(prefix string) iter.Seq2[LocalRow, error] { return l.Behind(prefix, "") }

// Behind is All from the first row on whose key is greater than last.
func (l *Local) Behind(prefix, last string) iter.Seq2[LocalRow, error] {
	return sequence(func(yield func(LocalRow) bool) error {
		p := l.key(prefix)
		from := p
		if last != "" {
			from = append(l.key(last), nul)
		}
		if bytes.Compare(from, p) < 0 {
			from = p
		}
		return l.x.scan(from, after(p), func(it *pebble.Iterator) (bool, error) {
			return yield(LocalRow{string(it.Key()[len(l.prefix):]), bytes.Clone(it.Value())}), nil
		})
	})
}

const copyBytes = 1 << 20 // of rows in one batch of CopyLocal

// CopyLocal copies all local state of from into x. What x has under the same
// keys is replaced. It is not synced.
func (x *Index) CopyLocal(from *Index) error {
	b := x.db.NewBatch()
	err := from.scan([]byte{spaceLocal}, []byte{spaceLocal + 1}, func(it *pebble.Iterator) (bool, error) {
		if err := b.Set(it.Key(), it.Value(), nil); err != nil || b.Len() < copyBytes {
			return err == nil, err
		}
		full := b
		b = x.db.NewBatch()
		err := x.write(full, false)
		return err == nil, err
	})
	if err != nil {
		return errors.Join(err, b.Close())
	}
	return x.write(b, false)
}
