package index

import (
	"bytes"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"registry-node/events"
)

// A place is where an entry stands in the store.
type place struct {
	site events.Site
	mark events.Mark
}

// checkLogs decodes and verifies every entry and checks that each follows the
// one before it.
func (a *audit) checkLogs() error {
	var prev events.Entry // the last one that could be decoded, of any site
	var from []byte       // where to go on behind an entry that can't be decoded
	for {
		var places []place // read, but not yet checked
		var readErr error
		bad := false
		for e, err := range DecodeAll(a.ctx, a.rawEntries(from, &places, &readErr), a.verify) {
			if readErr != nil && err == readErr || a.ctx.Err() != nil {
				return err
			}
			at := places[0]
			places = places[1:]
			a.report.Entries++
			if err != nil {
				a.report.add(Problem{Kind: BadEntry, Site: at.site, Mark: at.mark, Detail: err.Error()})
				prev, from, bad = events.Entry{}, append(entryKey(at.site, at.mark), nul), true
				a.ends[at.site] = events.Position{Site: at.site, Mark: at.mark}
				continue
			}
			a.checkEntry(at, e, prev)
			prev = e
			if err := a.step(); err != nil {
				return err
			}
		}
		if !bad {
			return nil
		}
	}
}

// rawEntries yields the raw entries of all logs from a key on and appends to
// places where each stands. *failed is the error that it ends with, if any.
func (a *audit) rawEntries(from []byte, places *[]place, failed *error) iter.Seq2[[]byte, error] {
	return sequence(func(yield func([]byte) bool) error {
		p := []byte{spaceEntry}
		if from == nil {
			from = p
		}
		*failed = a.view.scan(from, after(p), func(it *pebble.Iterator) (bool, error) {
			s, m, err := parseEntryKey(it.Key())
			if err != nil {
				a.report.add(Problem{Kind: BadEntry, Detail: err.Error()})
				return true, nil
			}
			*places = append(*places, place{s, m})
			return yield(bytes.Clone(it.Value())), nil
		})
		return *failed
	})
}

func (a *audit) verify(e events.Entry) error {
	if key := a.keyOf(e.Position.Site, e.Position.Mark); key != nil {
		return e.Verify(key)
	}
	return nil
}

// checkEntry checks that e is the entry for its place, and follows prev. The
// zero prev is one that is not known.
func (a *audit) checkEntry(at place, e, prev events.Entry) {
	a.report.Events += len(e.Events)
	_, other := a.ends[at.site]
	a.ends[at.site] = e.Position
	if h := a.heads[at.site].Position; !a.kept[at.site].isZero() && at.mark == h.Mark && e.Position.Hash != h.Hash {
		a.report.add(Problem{Kind: BadHead, Site: at.site, Mark: at.mark, Detail: fmt.Sprintf("the head names hash %v, the entry has %v", h.Hash, e.Position.Hash)})
	}
	if e.Position.Site != at.site || e.Position.Mark != at.mark {
		a.report.add(Problem{Kind: BadEntry, Site: at.site, Mark: at.mark,
			Detail: fmt.Sprintf("the entry that stands here is %v", e.Position)})
		return
	}
	switch {
	case prev.Position.Site == at.site:
	case other: // behind an entry that can't be decoded
		return
	default: // the first of its log; where it starts from is not known here
		a.starts[at.site] = e.Prev
		prev = events.Entry{Position: events.Position{Site: at.site, Hash: e.Prev}}
	}
	if err := e.Follows(a.x.stamp.Registry, prev.Position, prev.Time); err != nil {
		a.report.add(Problem{Kind: BadChain, Site: at.site, Mark: at.mark, Detail: err.Error()})
	}
}

func (a *audit) readKept() error {
	p := []byte{spaceKept}
	return a.view.scan(p, after(p), func(it *pebble.Iterator) (bool, error) {
		s, err := events.ParseSite(string(it.Key()[1:]))
		if err != nil {
			a.report.add(Problem{Kind: BadHead, Detail: fmt.Sprintf("key %q: %v", it.Key(), err)})
			return true, a.step()
		}
		t, err := decodeTail(s, it.Value())
		if err != nil {
			a.report.add(Problem{Kind: BadHead, Site: s, Detail: err.Error()})
			return true, a.step()
		}
		if h := a.heads[s].Position; t.Position.Mark.Compare(h.Mark) <= 0 {
			a.report.add(Problem{Kind: BadHead, Site: s, Mark: h.Mark, Detail: fmt.Sprintf("entries up to %v wait to be applied, though it is behind them", t.Position.Mark)})
		}
		a.kept[s] = t
		return true, a.step()
	})
}

// checkEnd checks that a site's log ends at its head or, if it has entries that
// wait to be applied, at the last of them. The zero head is that of a log
// without one.
func (a *audit) checkEnd(s events.Site, head events.Position) {
	end, kept := a.ends[s], a.kept[s]
	switch {
	case !kept.isZero():
		if end != kept.Position {
			a.report.add(Problem{Kind: BadHead, Site: s, Mark: kept.Position.Mark,
				Detail: fmt.Sprintf("the last entry is %v with hash %v, but entries were kept up to hash %v", end.Mark, end.Hash, kept.Position.Hash)})
		}
	case head.Mark.IsZero():
		a.report.add(Problem{Kind: BadHead, Site: s, Detail: "there are entries, but no head"})
	case end != head:
		a.report.add(Problem{Kind: BadHead, Site: s, Mark: head.Mark,
			Detail: fmt.Sprintf("the last entry is %v with hash %v", end.Mark, end.Hash)})
	}
}
