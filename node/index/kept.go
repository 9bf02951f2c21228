package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"registry-node/events"
)

// A tail is where the entries of a log end: those that were applied, or those
// behind them that were only kept. The zero tail is that of none.
type tail struct {
	Position events.Position
	Time     time.Time
}

func (t tail) isZero() bool { return t.Position.Mark.IsZero() }

// wireTail is the stored form of a tail.
type wireTail struct {
	Epoch uint32        `json:"epoch"`
	Seq   uint64        `json:"seq"`
	Hash  events.Digest `json:"hash"`
	Time  time.Time     `json:"time"`
}

// write puts t into a batch as the kept tail of a site's log.
func (t tail) write(b *pebble.Batch, s events.Site) error {
	if t.isZero() {
		return b.Delete(siteKey(spaceKept, s), nil)
	}
	m := t.Position.Mark
	value, err := json.Marshal(wireTail{m.Epoch, m.Seq, t.Position.Hash, t.Time})
	if err != nil {
		return err
	}
	return b.Set(siteKey(spaceKept, s), value, nil)
}

func decodeTail(s events.Site, value []byte) (tail, error) {
	var w wireTail
	if err := json.Unmarshal(value, &w); err != nil {
		return tail{}, fmt.Errorf("%w: what is kept of site %s: %w", ErrCorrupt, s, err)
	}
	p := events.Position{Site: s, Mark: events.Mark{Epoch: w.Epoch, Seq: w.Seq}, Hash: w.Hash}
	return tail{p, w.Time}, nil
}

func (x *Index) keptTail(s events.Site) (tail, error) {
	value, ok, err := x.get(siteKey(spaceKept, s))
	if err != nil || !ok {
		return tail{}, err
	}
	return decodeTail(s, value)
}

// Kept returns the position and time of the last entry of a site's log that was
// kept and waits to be applied. ok is false if none does: the log ends at its
// Head.
func (x *Index) Kept(s events.Site) (p events.Position, at time.Time, ok bool, err error) {
	t, err := x.keptTail(s)
	if err != nil || t.isZero() {
		return events.Position{}, time.Time{}, false, err
	}
	return t.Position, t.Time, true, nil
}

// Keep stores an entry without applying it: one with an event of a type that this
// version doesn't know, or one behind such an entry. Entry and Entries show it
// like any other; the head, what records say, and the state hash stay. It fails
// if the entry does not follow the last one of the log, kept or applied, and for
// one that could be applied. That the first entry of a log starts from the right
// place, and every signature, is for the caller to check.
//
// While a log has such entries, what follows is kept too, and Append refuses it
// with ErrKept. Index.ApplyKept ends that.
func (t *Txn) Keep(e events.Entry) error {
	if t.err == nil {
		t.err = t.keep(e)
	}
	return t.err
}

func (t *Txn) keep(e events.Entry) error {
	if len(t.pending) > 0 {
		return fmt.Errorf("entry %v comes behind events that were applied without their entry", e.Position)
	}
	last := t.kept
	if last.isZero() {
		last = tail{t.head.Position, t.head.Time}
		if _, unknown := e.Unknown(); !unknown {
			return fmt.Errorf("entry %v need not be kept, since it can be applied", e.Position)
		}
	}
	if err := t.follows(e, last); err != nil {
		return err
	}
	t.kept = tail{e.Position, e.Time}
	return t.set(entryKey(t.site, e.Position.Mark), e.Raw)
}

// keptBatch bounds a batch of ApplyKept, in bytes that it writes, but for the
// last entry in it.
const keptBatch = 4 << 20

// ApplyKept applies the entries of a site's log that were kept, in order, until
// the first that has an event of a type that this version doesn't know. applied
// is how many. It is for the start of a node, which may have been upgraded: with
// another apply version the index is made anew instead. It works in synced
// batches, so when it fails, what it says was applied is, and calling it again
// goes on. The log has no other writer meanwhile, else it fails with
// ErrTwoWriters. also stages what else is to be written with each entry.
func (x *Index) ApplyKept(s events.Site, also func(*Txn, events.Entry) error) (applied int, err error) {
	for more := true; more && err == nil; {
		var n int
		n, more, err = x.applyKept(s, also)
		applied += n
	}
	return applied, err
}

// applyKept applies one batch. more says whether there may be another.
func (x *Index) applyKept(s events.Site, also func(*Txn, events.Entry) error) (n int, more bool, err error) {
	t := x.Begin(s)
	defer t.Discard()
	if t.err != nil || t.kept.isZero() {
		return 0, false, t.err
	}
	met := false // an entry with an unknown type
	for raw, err := range x.Entries(s, t.head.Position.Mark) {
		if err != nil {
			return 0, false, err
		}
		e, err := events.DecodeEntry(raw)
		if err != nil {
			return 0, false, fmt.Errorf("%w: entry behind %v: %w", ErrCorrupt, t.head.Position, err)
		}
		if _, met = e.Unknown(); met {
			break
		}
		if err := errors.Join(t.applyNext(e), also(t, e)); err != nil {
			return 0, false, err
		}
		n++
		if more = !t.kept.isZero() && t.size >= keptBatch; more || t.kept.isZero() {
			break
		}
	}
	if !met && !more && !t.kept.isZero() {
		return 0, false, fmt.Errorf("%w: the log of site %s ends at %v, but %v was kept", ErrCorrupt, s, t.head.Position, t.kept.Position)
	}
	if n == 0 {
		return 0, false, nil
	}
	if err := t.Commit(true); err != nil {
		return 0, false, err
	}
	return n, more, nil
}

// applyNext applies the first of the entries that were kept, which is stored.
func (t *Txn) applyNext(e events.Entry) error {
	for _, ev := range e.Events {
		if _, err := t.apply(ev); err != nil {
			return fmt.Errorf("apply event %v: %w", ev.ID, err)
		}
	}
	if e.Position == t.kept.Position {
		t.kept = tail{}
	}
	return t.recordEntry(e)
}
