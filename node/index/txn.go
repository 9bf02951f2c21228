package index

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"registry-node/events"
)

// Txn is a part of one log on its way into the index: entries, what they
// contribute, and the head after them, which all become visible and durable
// together or not at all. It is used by one goroutine, and a log has one Txn at
// a time. It ends with Commit or Discard, and after an error only with Discard.
type Txn struct {
	x     *Index
	site  events.Site
	base  Head // of the log, as Begin found it
	head  Head // after the last Record
	was   tail // of the entries that wait to be applied, as Begin found it
	kept  tail // after the last Keep
	rows  map[events.Key]*row
	batch *pebble.Batch // blob references, entries, state hashes; rows come at Commit
	// stored reads the site's own rows as they were when the Txn first looked at
	// one, which is as Begin found them, since nobody else writes them; nil before.
	stored *pebble.Iterator

	pending []events.Event // applied since the last Record
	touched []*row         // changed since the last Record
	size    int
	err     error // why the Txn can't go on
}

// row is the site's own contribution to one record, as the Txn left it.
type row struct {
	key     events.Key
	facts   events.Contribution
	touched bool      // in Txn.touched
	encoded []byte    // facts as of the last Record; nil: unchanged by this Txn
	hash    StateHash // what the row adds to the state hash as of the last Record
}

var errEnded = errors.New("transaction has ended")

// Begin starts to fold what follows in the site's log. If it can't, every method
// of the Txn says why.
func (x *Index) Begin(s events.Site) *Txn {
	t := &Txn{x: x, site: s, rows: map[events.Key]*row{}}
	l, err := x.lockLog(s)
	if err != nil {
		t.err = err
		return t
	}
	t.base, t.head = l.head, l.head
	t.was, t.kept = l.kept, l.kept
	l.mu.Unlock()
	t.batch = x.db.NewBatch()
	return t
}

// Head returns the head of the log after the last Record.
func (t *Txn) Head() Head { return t.head }

// Size returns about how many bytes Commit would write.
func (t *Txn) Size() int { return t.size }

// Get is Index.Get with what was applied in this Txn.
func (t *Txn) Get(k events.Key) (events.Contributions, error) {
	if t.err != nil {
		return nil, t.err
	}
	cs, err := t.x.Get(k)
	if err != nil {
		return nil, err
	}
	if r, ok := t.rows[k]; ok && len(r.facts) > 0 {
		cs = cs.With(t.site, r.facts)
	}
	return cs, nil
}

// Prefix is Index.Prefix with what was applied in this Txn before it started.
func (t *Txn) Prefix(prefix string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if t.err != nil {
			yield(Record{}, t.err)
			return
		}
		own := t.own(prefix)
		for rec, err := range t.x.Prefix(prefix) {
			if err != nil {
				yield(rec, err)
				return
			}
			for len(own) > 0 && own[0].key.Bytes() < rec.Key.Bytes() {
				if !yield(t.record(own[0]), nil) {
					return
				}
				own = own[1:]
			}
			if len(own) > 0 && own[0].key == rec.Key {
				rec.Contributions = rec.Contributions.With(t.site, own[0].facts)
				own = own[1:]
			}
			if !yield(rec, nil) {
				return
			}
		}
		for _, r := range own {
			if !yield(t.record(r), nil) {
				return
			}
		}
	}
}

// own returns the rows with this prefix that the Txn changed, in key order.
func (t *Txn) own(prefix string) []row {
	var own []row
	for k, r := range t.rows {
		if (r.touched || r.encoded != nil) && strings.HasPrefix(k.Bytes(), prefix) {
			own = append(own, *r)
		}
	}
	slices.SortFunc(own, func(a, b row) int { return cmp.Compare(a.key.Bytes(), b.key.Bytes()) })
	return own
}

func (t *Txn) record(r row) Record {
	return Record{r.key, events.Contributions{{Site: t.site, Facts: r.facts}}}
}

// Apply applies the next event of the entry that is being folded: events come in
// the order they have in it. changed says whether its record's contribution is
// another one now. It fails for an event of another site or out of order, with
// ErrKept, and with the error of events.Apply for a type that this version
// doesn't know.
func (t *Txn) Apply(ev events.Event) (changed bool, err error) {
	if t.err != nil {
		return false, t.err
	}
	if t.kept.isZero() {
		changed, err = t.apply(ev)
	} else {
		err = fmt.Errorf("%w, up to %v", ErrKept, t.kept.Position)
	}
	if err != nil {
		t.err = fmt.Errorf("apply event %v: %w", ev.ID, err)
	}
	return changed, t.err
}

func (t *Txn) apply(ev events.Event) (bool, error) {
	switch {
	case ev.ID.Site != t.site:
		return false, fmt.Errorf("it is not of site %s", t.site)
	case ev.ID.Index != len(t.pending) || len(t.pending) > 0 && ev.ID.Mark != t.pending[0].ID.Mark:
		return false, errors.New("it is not the next event of its entry")
	case ev.Body == nil:
		_, _, err := events.Apply(nil, ev)
		return false, err
	}
	r, err := t.row(ev.Body.Key(ev.ID))
	if err != nil {
		return false, err
	}
	next, changed, err := events.Apply(r.facts, ev)
	if err != nil {
		return false, err
	}
	t.pending = append(t.pending, ev)
	if !changed {
		return false, nil
	}
	r.facts = next
	if !r.touched {
		r.touched = true
		t.touched = append(t.touched, r)
	}
	return true, t.refer(r.key, ev.Body)
}

// row returns the site's contribution to a record as the Txn sees it.
func (t *Txn) row(k events.Key) (*row, error) {
	if r, ok := t.rows[k]; ok {
		return r, nil
	}
	r := &row{key: k}
	key := contributionKey(k, t.site)
	value, ok, err := t.lookUp(key)
	if err != nil {
		return nil, err
	}
	if ok {
		if r.facts, err = decodeFacts(key, value); err != nil {
			return nil, err
		}
		r.hash = rowHash(k, value)
	}
	t.rows[k] = r
	return r, nil
}

// lookUp returns the stored value of one of the site's own rows, which is valid
// until the next call, and whether there is one. In a replay most are not there,
// which the bloom filters of all levels tell.
func (t *Txn) lookUp(key []byte) (value []byte, ok bool, err error) {
	if err := t.x.readable(); err != nil {
		return nil, false, err
	}
	if w := t.x.written; w != nil && w.lacks(key) {
		return nil, false, nil
	}
	if t.stored == nil {
		if t.stored, err = t.x.db.NewIter(&pebble.IterOptions{UseL6Filters: true}); err != nil {
			return nil, false, t.x.readError(err)
		}
	}
	if t.stored.SeekPrefixGE(key) && bytes.Equal(t.stored.Key(), key) {
		return t.stored.Value(), true, t.x.readable()
	}
	return nil, false, errors.Join(t.x.readError(t.stored.Error()), t.x.readable())
}

// refer notes the blobs that the record refers to because of body.
func (t *Txn) refer(k events.Key, body events.Body) error {
	for _, b := range blobsOf(body) {
		if err := t.set(blobKey(b, k), nil); err != nil {
			return err
		}
	}
	return nil
}

// blobsOf returns the blobs that a fact refers to.
func blobsOf(body events.Body) []events.Blob {
	switch b := body.(type) {
	case events.VersionPublished:
		return b.Blobs()
	case events.VersionFilled:
		return b.Blobs()
	case events.BuildRecorded:
		return []events.Blob{b.Info}
	}
	return nil
}

func (t *Txn) set(key, value []byte) error {
	t.size += len(key) + len(value)
	return t.batch.Set(key, value, nil)
}

// Record stores an entry whose events were applied just before, and moves the
// head to it. It fails if they are not the events that were applied, or if the
// entry does not follow the head. That the first entry of a log starts from the
// right place, and every signature, is for the caller to check.
func (t *Txn) Record(e events.Entry) error {
	if t.err == nil {
		t.err = t.recordEntry(e)
	}
	return t.err
}

func (t *Txn) recordEntry(e events.Entry) error {
	if err := t.follows(e, tail{t.head.Position, t.head.Time}); err != nil {
		return err
	}
	if !slices.EqualFunc(e.Events, t.pending, sameEvent) {
		return fmt.Errorf("entry %v: its events are not those that were applied", e.Position)
	}
	t.pending = t.pending[:0]
	state := t.settle()
	m := e.Position.Mark
	t.head = Head{e.Position, e.Time, state}
	err := errors.Join(t.set(entryKey(t.site, m), e.Raw), t.set(hashKey(t.site, m.Seq), encodeHash(m, state)))
	if m.Seq > t.x.history {
		err = errors.Join(err, t.batch.Delete(hashKey(t.site, m.Seq-t.x.history), nil))
	}
	return err
}

// follows reports why e can't be what comes right behind last in the log.
func (t *Txn) follows(e events.Entry, last tail) error {
	if last.isZero() {
		last.Position.Hash = e.Prev
	}
	return e.Follows(t.x.stamp.Registry, last.Position, last.Time)
}

// sameEvent reports whether two events leave the same in a contribution.
func sameEvent(a, b events.Event) bool {
	return a.ID == b.ID && a.Type == b.Type && a.Time.Equal(b.Time) && a.Time.Location() == b.Time.Location() &&
		bytes.Equal(a.Data, b.Data)
}

// settle encodes the rows that were touched since the last Record and returns
// the state hash with them.
func (t *Txn) settle() StateHash {
	state := t.head.StateHash
	for _, r := range t.touched {
		t.size -= len(r.encoded)
		r.encoded = r.facts.Encode()
		t.size += len(r.encoded) + len(r.key.Bytes())
		hash := rowHash(r.key, r.encoded)
		state = state.minus(r.hash).plus(hash)
		r.hash, r.touched = hash, false
	}
	t.touched = t.touched[:0]
	return state
}

// Append applies all events of e and records it.
func (t *Txn) Append(e events.Entry) error {
	for _, ev := range e.Events {
		if _, err := t.Apply(ev); err != nil {
			return err
		}
	}
	return t.Record(e)
}

// Commit makes what was recorded visible, and durable if sync is set; without it
// a later sync of any log makes it so. It fails with ErrTwoWriters, ErrFull, or
// ErrStopped; after the last, whether it was done shows when the index is opened
// again. In any case it ends the Txn.
func (t *Txn) Commit(sync bool) error {
	err := t.commit(sync)
	t.Discard()
	if err != nil {
		return fmt.Errorf("commit to log of site %s: %w", t.site, err)
	}
	return nil
}

func (t *Txn) commit(sync bool) error {
	switch {
	case t.err != nil:
		return t.err
	case len(t.pending) > 0:
		return errors.New("events were applied without their entry")
	case t.x.stamp.Apply != applyVersion:
		return ErrApplyVersion
	}
	changed, err := t.finish()
	if err != nil {
		return err
	}
	l, err := t.x.lockLog(t.site)
	if err != nil {
		return err
	}
	defer l.mu.Unlock()
	if l.head.Position != t.base.Position || l.kept.Position != t.was.Position {
		return fmt.Errorf("%w: from %v to %v", ErrTwoWriters, t.base.Position, l.head.Position)
	}
	b := t.batch
	t.batch = nil // write closes it
	if err := t.x.writeLog(b, sync); err != nil {
		return err
	}
	l.head, l.kept = t.head, t.kept
	// Only now: a reader that sees the new number must find the new rows.
	for _, k := range changed {
		t.x.generations.of(k).Add(1)
	}
	return nil
}

// finish puts the rows and the head into the batch and returns the keys of the
// records that it changes.
func (t *Txn) finish() ([]events.Key, error) {
	var changed []events.Key
	for _, r := range t.rows {
		if r.encoded == nil {
			continue
		}
		changed = append(changed, r.key)
		key := contributionKey(r.key, t.site)
		if err := t.batch.Set(key, r.encoded, nil); err != nil {
			return nil, err
		}
		if t.x.written != nil {
			t.x.written.add(key)
		}
	}
	if t.kept.Position != t.was.Position {
		if err := t.kept.write(t.batch, t.site); err != nil {
			return nil, err
		}
	}
	if t.head.Position == t.base.Position {
		return nil, t.batch.LogData(nil, nil) // nothing to say, but maybe to sync
	}
	head, err := t.head.encode()
	if err != nil {
		return nil, err
	}
	return changed, t.batch.Set(siteKey(spaceHead, t.site), head, nil)
}

// Discard ends a Txn without effect. After Commit it does nothing.
func (t *Txn) Discard() {
	if t.batch != nil {
		_ = t.batch.Close() // an uncommitted batch is only memory
		t.batch = nil
	}
	if t.stored != nil {
		_ = t.stored.Close() // its errors were those of lookUp
		t.stored = nil
	}
	t.rows, t.touched, t.pending = nil, nil, nil
	t.err = errEnded
}
