package node

import (
	"context"
	"encoding/json"
	"fmt"

	"registry-node/events"
	"registry-node/node/index"
)

// A fork is two entries that one site signed for one place of its log. Nobody
// can say which one is right, so every receiver stops there, keeps both as
// evidence and raises an alarm. A person ends it: by removing the site, or by a
// new epoch of its log.

const forksSpace = "forks"

// forkRow is what is remembered of a fork.
type forkRow struct {
	At     events.Mark   `json:"at"`
	Held   events.Digest `json:"held"`
	Other  events.Digest `json:"other"`
	Source string        `json:"source,omitempty"`
}

func (s *sites) isForked(site events.Site) bool {
	row, ok := s.forkOf(site)
	if ok {
		s.raiseFork(site, row)
	}
	return ok
}

// forkOf returns what is known of the fork of a site's log.
func (s *sites) forkOf(site events.Site) (row forkRow, ok bool) {
	value, ok, err := s.node.index.Load().Local(forksSpace).Get(site.String())
	ok = err == nil && ok && json.Unmarshal(value, &row) == nil
	return row, ok
}

// lastCommon returns the last entry of a site's log that all sites hold alike as
// far as this one knows: that before a fork, or the end.
func (s *sites) lastCommon(site events.Site) (events.Position, error) {
	x := s.node.index.Load()
	h, _, err := x.Head(site)
	row, forked := s.forkOf(site)
	if err != nil || !forked {
		return h.Position, err
	}
	for m := (events.Mark{Epoch: row.At.Epoch, Seq: row.At.Seq - 1}); m.Seq > 0 && m.Epoch > 0; m.Epoch-- {
		if raw, ok, err := x.Entry(site, m); err != nil || ok {
			return events.Position{Site: site, Mark: m, Hash: events.DigestOf(raw)}, err
		}
	}
	return events.Position{Site: site}, nil
}

func (s *sites) raiseFork(site events.Site, row forkRow) {
	s.troubles.raise("fork "+site.String(), fmt.Sprintf("site %s signed two different entries for the place %v of its log (%.12s… and %.12s…); "+
		"nothing more of it is taken. Find out how, then remove the site, or on its node run: registry-node epoch new",
		site, row.At, row.Held.Hex(), row.Other.Hex()))
}

// fork freezes the log: e, which its site signed, is not the entry that is held
// in its place, or continues another one.
func (f *follower) fork(x *index.Index, e events.Entry) error {
	m := e.Position.Mark
	row := forkRow{At: m, Other: e.Position.Hash}
	if raw, ok, err := x.Entry(f.site, m); err != nil {
		return err
	} else if ok {
		row.Held = events.DigestOf(raw)
	} else if at, err := f.head(); err == nil {
		row.At, row.Held, row.Other = at.Mark, at.Hash, e.Prev
	}
	value, err := json.Marshal(row)
	if err != nil {
		return err
	}
	if err := x.PutAside(e); err != nil {
		return err
	}
	if err := x.Local(forksSpace).Set(f.site.String(), value); err != nil {
		return err
	}
	f.frozen.Store(true)
	f.sites.raiseFork(f.site, row)
	f.sites.node.logger.Error("log is forked", "log", f.site, "at", row.At, "held", row.Held, "other", row.Other)
	return nil
}

// thaw looks whether the frozen log goes on in a new epoch, or has been cut off.
func (f *follower) thaw(ctx context.Context) bool {
	s, x := f.sites, f.sites.node.index.Load()
	at, err := f.head()
	if err != nil {
		return false
	}
	_, left := s.node.directory().CutOff(f.site)
	for _, peer := range f.sources(at.Mark) {
		if left {
			break
		}
		raws, _, err := s.entriesFrom(ctx, peer, f.site, events.Mark{Epoch: at.Mark.Epoch, Seq: 1<<53 - 1}, 1)
		if err != nil || len(raws) == 0 {
			continue
		}
		e, err := events.DecodeEntry(raws[0])
		if err != nil || f.verify(e) != nil || e.Position.Mark.Epoch != at.Mark.Epoch+1 || e.Position.Mark.Seq > at.Mark.Seq+1 {
			continue
		}
		err = f.newEpoch(ctx, peer, x, e)
		f.account(peer, err)
		left = err == nil
	}
	if !left {
		return false
	}
	if err := x.Local(forksSpace).Delete(f.site.String()); err != nil {
		return false
	}
	s.troubles.clear("fork " + f.site.String())
	f.frozen.Store(false)
	return true
}

// newEpoch takes the first entry of a log's new epoch as what it is: the site's
// own statement that what it wrote behind the base is lost and counts no more.
//
// If this node followed the other branch of a fork, it goes back to where the two
// part and takes the branch that the new epoch continues: the hashes lead back
// from the site's signature to there.
func (f *follower) newEpoch(ctx context.Context, peer events.Site, x *index.Index, e events.Entry) error {
	at, err := f.head()
	if err != nil {
		return err
	}
	base := events.Mark{Epoch: at.Mark.Epoch, Seq: e.Position.Mark.Seq - 1}
	raw, ok, err := x.Entry(f.site, base)
	if err != nil {
		return err
	}
	if !ok || events.DigestOf(raw) != e.Prev {
		if base, err = f.sites.commonWith(ctx, peer, f.site, x, base); err != nil {
			return err
		}
		if base.IsZero() {
			return fmt.Errorf("%w: its new epoch %d does not continue what is held of it", errLog, e.Position.Mark.Epoch)
		}
	}
	f.sites.troubles.raise("epoch "+f.site.String(), fmt.Sprintf("site %s began epoch %d of its log at entry %d: %d entries that it had written count no more",
		f.site, e.Position.Mark.Epoch, e.Position.Mark.Seq, at.Mark.Seq-base.Seq))
	if err := f.rewind(base, "a new epoch"); err != nil {
		return err
	}
	// From this peer at once: others may still hold the branch that is given up.
	now, err := f.head()
	if err == nil {
		_, err = f.pull(ctx, peer, now)
	}
	return err
}

// otherEntry looks into a peer's claim to hold another entry of a log than this
// node, in a place that both have.
func (s *sites) otherEntry(from events.Site, p events.Position) {
	n := s.node
	s.mu.Lock()
	f := s.followers[p.Site]
	s.mu.Unlock()
	if f != nil && f.frozen.Load() {
		return // it is known
	}
	s.inquire(from, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, pullTimeout)
		defer cancel()
		raws, _, err := s.entriesFrom(ctx, from, p.Site, before(p.Mark), 1)
		if err != nil || len(raws) == 0 {
			return
		}
		e, err := events.DecodeEntry(raws[0])
		if err != nil || e.Position != p || e.Registry != n.id.Registry || n.keyFor(e) == nil || e.Verify(n.keyFor(e)) != nil {
			s.troubles.raise(claimKey(from, p.Site), fmt.Sprintf("site %s says to hold another entry %v than this site, and does not show one that site %s signed", from, p, p.Site))
			return
		}
		x := n.index.Load()
		raw, ok, err := x.Entry(p.Site, p.Mark)
		if err != nil || !ok || events.DigestOf(raw) == p.Hash {
			return // it was taken back meanwhile
		}
		if p.Site == n.id.Site {
			s.ownForked(from, p)
			return
		}
		if f != nil && !s.isForked(p.Site) {
			if err := f.fork(x, e); err != nil {
				n.logger.Error("fork is not recorded", "log", p.Site, "error", err)
			}
		}
	})
}

// unknown raises an alarm for an entry whose events this version doesn't know.
func (s *sites) unknown(site events.Site, e events.Entry) {
	if typ, ok := e.Unknown(); ok {
		s.troubles.raise("unknown "+site.String(), fmt.Sprintf("the log of site %s has events of type %q, which this version (%s) doesn't know; "+
			"they are stored and passed on, but nothing of that log is applied from %v on: upgrade this node",
			site, typ, s.node.opts.Version, e.Position.Mark))
	}
}

// applyKept applies entries that another version of this node had to leave, as
// far as this one knows their types, and says which it doesn't.
func (n *Node) applyKept() error {
	x := n.index.Load()
	for _, m := range n.directory().Sites() {
		also := n.sites.lookLate
		if m.Name == n.id.Site {
			also = notePurges
		}
		applied, err := x.ApplyKept(m.Name, also)
		if err != nil {
			return fmt.Errorf("log of site %s: %w", m.Name, err)
		}
		if applied > 0 {
			n.logger.Info("entries are applied that an older version did not know", "log", m.Name, "entries", applied)
		}
		h, _, err := x.Head(m.Name)
		if err != nil {
			return err
		}
		for raw, err := range x.Entries(m.Name, h.Position.Mark) { // the first that was not applied
			if err != nil {
				return err
			}
			if e, err := events.DecodeEntry(raw); err == nil {
				n.sites.unknown(m.Name, e)
			}
			break
		}
	}
	return nil
}
