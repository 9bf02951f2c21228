package index

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"registry-node/events"
)

func asidePrefix(s events.Site) []byte { return append(siteKey(spaceAside, s), nul) }

// asideKey tells entries under one mark apart by their hash.
func asideKey(p events.Position) []byte {
	k := binary.BigEndian.AppendUint32(asidePrefix(p.Site), p.Mark.Epoch)
	k = binary.BigEndian.AppendUint64(k, p.Mark.Seq)
	return append(k, p.Hash[:8]...)
}

// SetAside yields the raw entries of a site that are no part of its log here, as
// of the moment of its start, by their marks: those that Rewind took back, and
// those that PutAside added. They are evidence for people; nothing else reads
// them. The bytes are the caller's. An error ends it.
func (x *Index) SetAside(s events.Site) iter.Seq2[[]byte, error] {
	return sequence(func(yield func([]byte) bool) error {
		p := asidePrefix(s)
		return x.scan(p, after(p), func(it *pebble.Iterator) (bool, error) {
			return yield(bytes.Clone(it.Value())), nil
		})
	})
}

// PutAside adds one entry to those that are set aside, durably: the other one of
// a fork. That it is signed is for the caller to check, and so is how many there
// may be: one proves that a log forks. It fails with ErrFull or ErrStopped.
func (x *Index) PutAside(e events.Entry) error {
	b := x.db.NewBatch()
	err := b.Set(asideKey(e.Position), e.Raw, nil)
	if err == nil {
		err = x.write(b, true)
	}
	if err != nil {
		return fmt.Errorf("set entry %v aside: %w", e.Position, err)
	}
	return nil
}

// checkAside checks that what was set aside stands where it belongs. Signatures
// are not checked: which key signed an entry that is no part of the log, the
// members of today may not tell.
func (a *audit) checkAside() error {
	p := []byte{spaceAside}
	return a.view.scan(p, after(p), func(it *pebble.Iterator) (bool, error) {
		a.report.SetAside++
		e, err := events.DecodeEntry(bytes.Clone(it.Value()))
		if err != nil {
			a.report.add(Problem{Kind: BadEntry, Detail: fmt.Sprintf("set aside under key %q: %v", it.Key(), err)})
		} else if !bytes.Equal(it.Key(), asideKey(e.Position)) {
			a.report.add(Problem{Kind: BadEntry, Site: e.Position.Site, Mark: e.Position.Mark, Detail: fmt.Sprintf("it was set aside under key %q", it.Key())})
		}
		return true, a.step()
	})
}
