package node

import (
	"encoding/json"
	"fmt"
	"sort"

	"registry-node/events"
	"registry-node/node/index"
)

// cursorSpace has a cursor for each webhook and log that is told of here. It is
// written after the receiver has taken an event, not before, and never waited for:
// a crash has events told again, and skips none.
const cursorSpace = "webhook-cursors"

// hookLog is a log that a webhook is told of. A webhook that is made anew under the
// name of one that was deleted has another ID.
type hookLog struct {
	id  events.EventID
	log events.Site
}

// String is the key of its cursor: neither part has a space.
func (k hookLog) String() string { return k.id.String() + " " + k.log.String() }

// cursor is a place in a log, between two events.
type cursor struct {
	// Name is that of the webhook.
	Name string `json:"name"`
	// At is the entry up to which nothing is left to tell, and Hash its hash, if
	// that is known.
	At   events.Mark   `json:"at"`
	Hash events.Digest `json:"hash,omitzero"`
	// In is an entry behind it of which the first Done events are told, and InHash
	// its hash, if that is known.
	In     events.Mark   `json:"in,omitzero"`
	InHash events.Digest `json:"in_hash,omitzero"`
	Done   int           `json:"done,omitempty"`
}

// first returns which events of an entry behind the cursor are still to be told: it
// is the index of the first.
func (c cursor) first(m events.Mark) int {
	if m == c.In {
		return c.Done
	}
	return 0
}

// behindEvent returns the cursor that follows when an event was told, of an entry
// with a hash: it has At of c, until behindEntry.
func (c cursor) behindEvent(id events.EventID, entry events.Digest) cursor {
	c.In, c.InHash, c.Done = id.Mark, entry, id.Index+1
	return c
}

// leadsTo reports whether an entry follows the cursor in the history that the
// cursor is in.
func (c cursor) leadsTo(e events.Entry) bool {
	return (c.Hash.IsZero() || e.Prev == c.Hash) &&
		(e.Position.Mark != c.In || c.InHash.IsZero() || e.Position.Hash == c.InHash)
}

// behindEntry returns the cursor that follows when an entry has nothing left.
func (c cursor) behindEntry(p events.Position) cursor {
	return cursor{Name: c.Name, At: p.Mark, Hash: p.Hash}
}

// loadCursor returns where a webhook stands in a log: where it was left, or else
// where it begins.
func (n *Node) loadCursor(x *index.Index, w events.ActiveWebhook, log events.Site) (cursor, error) {
	raw, ok, err := x.Local(cursorSpace).Get(hookLog{w.ID, log}.String())
	if err != nil {
		return cursor{}, err
	}
	if !ok {
		return firstCursor(x, w, log)
	}
	c := cursor{}
	if err := json.Unmarshal(raw, &c); err != nil {
		return cursor{}, fmt.Errorf("cursor of webhook %s in the log of site %s: %w", w.Name, log, err)
	}
	return c, nil
}

// firstCursor returns where a webhook begins in a log: behind the event that made
// it, or in the log of another site where entries begin that are not older. Those
// it comes across that are older all the same are not told, see teller.takes.
func firstCursor(x *index.Index, w events.ActiveWebhook, log events.Site) (cursor, error) {
	if log == w.ID.Site {
		return cursor{Name: w.Name, At: markBefore(w.ID.Mark)}.behindEvent(w.ID, events.Digest{}), nil
	}
	head, _, err := x.Head(log)
	if err != nil || head.Position.Mark.IsZero() || head.Time.Before(w.Created) {
		return cursor{Name: w.Name, At: head.Position.Mark, Hash: head.Position.Hash}, err
	}
	var failed error
	last := head.Position.Mark
	seq := uint64(sort.Search(int(last.Seq), func(i int) bool {
		if failed != nil {
			return true
		}
		e, err := entryNumbered(x, log, uint64(i)+1, last.Epoch)
		failed = err
		return err != nil || !e.Time.Before(w.Created)
	})) + 1
	if failed != nil {
		return cursor{}, failed
	}
	e, err := entryNumbered(x, log, seq, last.Epoch)
	return cursor{Name: w.Name, At: markBefore(e.Position.Mark)}, err
}

// markBefore returns a mark behind which the entry at m is the first. It need not be
// that of an entry.
func markBefore(m events.Mark) events.Mark {
	if m.Seq <= 1 {
		return events.Mark{}
	}
	return events.Mark{Epoch: m.Epoch, Seq: m.Seq - 1}
}

// entryNumbered returns the entry with a number, in the last epoch that has it.
func entryNumbered(x *index.Index, log events.Site, seq uint64, epoch uint32) (events.Entry, error) {
	for ; epoch > 0; epoch-- {
		raw, ok, err := x.Entry(log, events.Mark{Epoch: epoch, Seq: seq})
		if err != nil {
			return events.Entry{}, err
		}
		if ok {
			return events.DecodeEntry(raw)
		}
	}
	return events.Entry{}, fmt.Errorf("entry %d of the log of site %s is not in the index", seq, log)
}

// deadSpace has what receivers refused, see WebhookDead: by webhook, log and event.
const deadSpace = "webhook-dead"

// maxDead bounds the dead letters of a webhook in a log.
const maxDead = 1000

// deadKey returns the key of a dead letter; keys are in log order.
func (k hookLog) deadKey(id events.EventID) string {
	return fmt.Sprintf("%s %08x/%014x/%04x", k, id.Mark.Epoch, id.Mark.Seq, id.Index)
}

// deadLetters returns the dead letters of a log, oldest entry first.
func (k hookLog) deadLetters(x *index.Index) ([]WebhookDead, error) {
	list := []WebhookDead{}
	for row, err := range x.Local(deadSpace).All(k.String() + " ") {
		if err != nil {
			return nil, err
		}
		var d WebhookDead
		if err := json.Unmarshal(row.Value, &d); err != nil {
			return nil, fmt.Errorf("dead letter %q: %w", row.Key, err)
		}
		list = append(list, d)
	}
	return list, nil
}

func (k hookLog) putDead(x *index.Index, d WebhookDead) error {
	raw, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return x.Local(deadSpace).Set(k.deadKey(d.Event), raw)
}
