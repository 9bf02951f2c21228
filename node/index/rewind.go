package index

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"registry-node/events"
)

// Rewind takes a site's log back to its last entry at or before to: what it
// holds behind a cut-off, behind the base of a new epoch, or on the wrong side of
// a fork. The entries behind are set aside, see SetAside, and setAside is how
// many; with none of them nothing is done. Records, blob references, head and
// state hashes are then those of a log that never had them, since what a log says
// of a record up to a place is what it had said there.
//
// The generations of the records change; who keeps more than single records in
// memory, a Directory for one, makes it again.
//
// All is done in one synced batch: readers and a crash meet the log as it was or
// as it is. What was set aside and its records are held in memory meanwhile.
// Transactions of the log that are open fail with ErrTwoWriters. It fails with
// ErrCorrupt if the outcome is not what the log's state hash was there, ErrFull,
// ErrStopped, or ErrApplyVersion.
func (x *Index) Rewind(s events.Site, to events.Mark) (setAside int, err error) {
	setAside, err = x.rewind(s, to)
	if err != nil {
		return 0, fmt.Errorf("rewind log of site %s to %v: %w", s, to, err)
	}
	return setAside, nil
}

func (x *Index) rewind(s events.Site, to events.Mark) (int, error) {
	if x.stamp.Apply != applyVersion {
		return 0, ErrApplyVersion
	}
	l, err := x.lockLog(s)
	if err != nil {
		return 0, err
	}
	defer l.mu.Unlock() // its head stays, so no commit to it comes between
	r := &rewind{
		x: x, site: s, was: l.head, head: l.head, kept: l.kept, batch: x.db.NewBatch(),
		keys: map[events.Key]bool{}, refs: map[ref]bool{},
	}
	if err := r.plan(to); err != nil || r.setAside == 0 {
		return 0, errors.Join(err, r.batch.Close())
	}
	if err := r.commit(); err != nil {
		return 0, err
	}
	l.head, l.kept = r.head, r.kept
	for k := range r.keys { // see Txn.commit
		x.generations.of(k).Add(1)
	}
	return r.setAside, nil
}

// rewind is one run of Rewind. It holds the lock of the log.
type rewind struct {
	x     *Index
	site  events.Site
	was   Head
	head  Head
	kept  tail
	batch *pebble.Batch

	setAside int
	keys     map[events.Key]bool // of the records that what is set aside contributes to
	refs     map[ref]bool        // that the site states no more
}

// ref is a record's reference to a blob.
type ref struct {
	blob events.Blob
	key  events.Key
}

// plan puts into the batch all that does not depend on other logs.
func (r *rewind) plan(to events.Mark) error {
	if err := r.moveEntries(to); err != nil || r.setAside == 0 {
		return err
	}
	end, err := r.entryAt(to)
	if err != nil {
		return err
	}
	if end.Position.Mark.Compare(r.was.Position.Mark) >= 0 { // only kept ones went
		if r.kept = end; end.Position.Mark == r.was.Position.Mark {
			r.kept = tail{}
		}
		return r.kept.write(r.batch, r.site)
	}
	r.kept = tail{}
	r.head = Head{end.Position, end.Time, r.was.StateHash}
	for k := range r.keys {
		if err := r.cut(k); err != nil {
			return err
		}
	}
	return errors.Join(r.kept.write(r.batch, r.site), r.moveHead())
}

// moveEntries sets aside all entries behind to.
func (r *rewind) moveEntries(to events.Mark) error {
	from := append(entryKey(r.site, to), nul)
	return r.x.scan(from, after(entriesPrefix(r.site)), func(it *pebble.Iterator) (bool, error) {
		_, m, err := parseEntryKey(it.Key())
		if err != nil {
			return false, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		e, err := events.DecodeEntry(bytes.Clone(it.Value()))
		if err != nil {
			return false, fmt.Errorf("%w: entry %s/%v: %w", ErrCorrupt, r.site, m, err)
		}
		if m.Compare(r.was.Position.Mark) <= 0 {
			for _, ev := range e.Events {
				if ev.Body != nil {
					r.keys[ev.Body.Key(ev.ID)] = true
				}
			}
		}
		r.setAside++
		return true, errors.Join(
			r.batch.Set(asideKey(e.Position), e.Raw, nil),
			r.batch.Delete(it.Key(), nil),
			r.batch.Delete(hashKey(r.site, m.Seq), nil))
	})
}

// entryAt returns the last entry at or before m; the zero tail of the site if
// there is none.
func (r *rewind) entryAt(m events.Mark) (tail, error) {
	end := tail{Position: events.Position{Site: r.site}}
	o := &pebble.IterOptions{LowerBound: entriesPrefix(r.site), UpperBound: append(entryKey(r.site, m), nul)}
	err := view{r.x, r.x.db}.iterate(o, func(it *pebble.Iterator) error {
		if !it.Last() {
			return nil
		}
		e, err := events.DecodeEntry(bytes.Clone(it.Value()))
		if err != nil {
			return fmt.Errorf("%w: key %q: %w", ErrCorrupt, it.Key(), err)
		}
		end = tail{e.Position, e.Time}
		return nil
	})
	return end, err
}

// cut takes from the site's contribution to a record what it said behind the new
// head.
func (r *rewind) cut(k events.Key) error {
	key := contributionKey(k, r.site)
	value, ok, err := r.x.get(key)
	if err != nil || !ok {
		return err
	}
	facts, err := decodeFacts(key, value)
	if err != nil {
		return err
	}
	stay := facts.Until(r.head.Position.Mark)
	if len(stay) == len(facts) {
		return nil
	}
	r.head.StateHash = r.head.StateHash.minus(rowHash(k, value))
	for _, f := range facts[len(stay):] {
		for _, b := range blobsOf(f.Body) {
			if !names(stay, b) {
				r.refs[ref{b, k}] = true
			}
		}
	}
	if len(stay) == 0 {
		return r.batch.Delete(key, nil)
	}
	encoded := stay.Encode()
	r.head.StateHash = r.head.StateHash.plus(rowHash(k, encoded))
	return r.batch.Set(key, encoded, nil)
}

// names reports whether one of the facts refers to the blob.
func names(facts events.Contribution, b events.Blob) bool {
	return slices.ContainsFunc(facts, func(f events.Fact) bool { return slices.Contains(blobsOf(f.Body), b) })
}

// moveHead writes the new head, and beside its entry the state hash, which may
// have been too old to be kept.
func (r *rewind) moveHead() error {
	m := r.head.Position.Mark
	hash, known, err := r.x.StateHashAt(r.site, m)
	if err != nil {
		return err
	}
	if known && hash != r.head.StateHash {
		return fmt.Errorf("%w: it would have state hash %v, it had %v", ErrCorrupt, r.head.StateHash, hash)
	}
	if m.IsZero() {
		return r.batch.Delete(siteKey(spaceHead, r.site), nil)
	}
	value, err := r.head.encode()
	return errors.Join(err,
		r.batch.Set(siteKey(spaceHead, r.site), value, nil),
		r.batch.Set(hashKey(r.site, m.Seq), encodeHash(m, r.head.StateHash), nil))
}

// commit adds to the batch what depends on other logs, and writes it. It keeps
// their commits out meanwhile: a reference that one of them states between the
// look and the write would be lost.
func (r *rewind) commit() error {
	r.x.refs.Lock()
	defer r.x.refs.Unlock()
	gone := slices.SortedFunc(maps.Keys(r.refs), func(a, b ref) int { return cmp.Compare(a.key.Bytes(), b.key.Bytes()) })
	for _, g := range gone {
		cs, err := r.x.Get(g.key)
		if err != nil {
			return errors.Join(err, r.batch.Close())
		}
		if slices.ContainsFunc(cs, func(c events.SiteContribution) bool { return c.Site != r.site && names(c.Facts, g.blob) }) {
			continue
		}
		if err := r.batch.Delete(blobKey(g.blob, g.key), nil); err != nil {
			return errors.Join(err, r.batch.Close())
		}
	}
	return r.x.write(r.batch, true) // closes it
}
