package index

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"registry-node/events"
)

// Head is the place up to which a log was folded.
type Head struct {
	Position  events.Position // of the last entry; the zero Mark and Hash before the first
	Time      time.Time       // of the last entry
	StateHash StateHash       // of all that the log contributed up to there
}

// siteLog is what the writers of one log share.
type siteLog struct {
	mu   sync.Mutex // held from the check of the head until the commit is done
	head Head       // as committed; guarded by mu
	kept tail       // as committed; guarded by mu
}

// wireHead is the stored form of a Head.
type wireHead struct {
	Epoch     uint32        `json:"epoch"`
	Seq       uint64        `json:"seq"`
	Hash      events.Digest `json:"hash"`
	Time      time.Time     `json:"time"`
	StateHash StateHash     `json:"state_hash"`
}

func (h Head) encode() ([]byte, error) {
	m := h.Position.Mark
	return json.Marshal(wireHead{m.Epoch, m.Seq, h.Position.Hash, h.Time, h.StateHash})
}

func decodeHead(s events.Site, value []byte) (Head, error) {
	var w wireHead
	if err := json.Unmarshal(value, &w); err != nil {
		return Head{}, fmt.Errorf("%w: head of site %s: %w", ErrCorrupt, s, err)
	}
	p := events.Position{Site: s, Mark: events.Mark{Epoch: w.Epoch, Seq: w.Seq}, Hash: w.Hash}
	return Head{p, w.Time, w.StateHash}, nil
}

// Head returns up to where a site's log was folded, and whether there is any of
// it here.
func (x *Index) Head(s events.Site) (Head, bool, error) {
	value, ok, err := x.get(siteKey(spaceHead, s))
	if err != nil || !ok {
		return Head{}, false, err
	}
	h, err := decodeHead(s, value)
	return h, err == nil, err
}

// Heads returns the heads of all logs that there is anything of, by site name,
// as of one moment.
func (x *Index) Heads() ([]Head, error) {
	var heads []Head
	p := []byte{spaceHead}
	err := x.scan(p, after(p), func(it *pebble.Iterator) (bool, error) {
		h, err := headRow(it)
		heads = append(heads, h)
		return true, err
	})
	if err != nil {
		return nil, err
	}
	return heads, nil
}

func headRow(it *pebble.Iterator) (Head, error) {
	s, err := events.ParseSite(string(it.Key()[1:]))
	if err != nil {
		return Head{}, fmt.Errorf("%w: key %q: %w", ErrCorrupt, it.Key(), err)
	}
	return decodeHead(s, it.Value())
}

// Entry returns the raw bytes of a site's entry at m, and whether it is here.
func (x *Index) Entry(s events.Site, m events.Mark) ([]byte, bool, error) {
	return x.get(entryKey(s, m))
}

// Entries yields the raw entries of a site's log behind after, in log order, as
// of the moment of its start. The bytes are the caller's. An error ends it. It
// holds on to files of the store while it runs, so who serves a slow reader
// should stop now and then and go on from the last mark.
func (x *Index) Entries(s events.Site, behind events.Mark) iter.Seq2[[]byte, error] {
	return sequence(func(yield func([]byte) bool) error {
		from := append(entryKey(s, behind), nul) // the least key behind it
		return x.scan(from, after(entriesPrefix(s)), func(it *pebble.Iterator) (bool, error) {
			return yield(bytes.Clone(it.Value())), nil
		})
	})
}

// StateHashAt returns the state hash of a site's log at m, and whether it is
// still kept: those of the last HashHistory entries are.
func (x *Index) StateHashAt(s events.Site, m events.Mark) (StateHash, bool, error) {
	if m.IsZero() {
		return StateHash{}, true, nil
	}
	value, ok, err := x.get(hashKey(s, m.Seq))
	if err != nil || !ok {
		return StateHash{}, false, err
	}
	epoch, hash, err := decodeHash(value)
	if err != nil {
		return StateHash{}, false, fmt.Errorf("%w: state hash of %s/%v: %w", ErrCorrupt, s, m, err)
	}
	return hash, epoch == m.Epoch, nil
}

func encodeHash(m events.Mark, h StateHash) []byte {
	return append(binary.BigEndian.AppendUint32(nil, m.Epoch), h[:]...)
}

func decodeHash(value []byte) (epoch uint32, h StateHash, err error) {
	if len(value) != 4+len(h) {
		return 0, StateHash{}, fmt.Errorf("it has %d bytes", len(value))
	}
	return binary.BigEndian.Uint32(value), StateHash(value[4:]), nil
}

// lockLog returns what the writers of a log share, with its lock held.
func (x *Index) lockLog(s events.Site) (*siteLog, error) {
	x.mu.Lock()
	l, ok := x.logs[s]
	if !ok {
		h, found, err := x.Head(s)
		if err != nil {
			x.mu.Unlock()
			return nil, err
		}
		if !found {
			h.Position.Site = s
		}
		kept, err := x.keptTail(s)
		if err != nil {
			x.mu.Unlock()
			return nil, err
		}
		l = &siteLog{head: h, kept: kept}
		x.logs[s] = l
	}
	x.mu.Unlock()
	l.mu.Lock()
	return l, nil
}

// writeLog writes a batch of a log, never beside a Rewind of another.
func (x *Index) writeLog(b *pebble.Batch, sync bool) error {
	x.refs.RLock()
	defer x.refs.RUnlock()
	return x.write(b, sync)
}
