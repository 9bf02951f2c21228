package node

import (
	"context"
	"fmt"
	"time"

	"registry-node/events"
	"registry-node/node/index"
)

// unfit tells a peer that skips or repeats from a site that wrote two entries
// in one place or began a new epoch. The entry is signed by its site.
func (f *follower) unfit(ctx context.Context, peer events.Site, u *unfit) error {
	x := f.sites.node.index.Load()
	at, err := f.head()
	if err != nil {
		return err
	}
	m, e := at.Mark, u.entry.Position.Mark
	switch {
	case e.Epoch == m.Epoch+1 && e.Seq <= m.Seq+1:
		return f.newEpoch(ctx, peer, x, u.entry)
	case e.Epoch == m.Epoch && e.Seq == m.Seq+1 && u.entry.Prev != at.Hash:
		return f.fork(x, u.entry)
	case e.Epoch == m.Epoch && e.Seq <= m.Seq:
		raw, ok, err := x.Entry(f.site, e)
		if err == nil && ok && events.DigestOf(raw) != u.entry.Position.Hash {
			return f.fork(x, u.entry)
		}
	case e.Seq == m.Seq+1 && u.entry.Prev == at.Hash: // its clock went back, or its registry is another
		return fmt.Errorf("%w: %w", errLog, u.err)
	}
	return fmt.Errorf("%w: %w", errSource, u.err)
}

// cutOff takes the log back to the cut-off of a site that left.
func (f *follower) cutOff() error {
	s := f.sites
	cut, left := s.node.directory().CutOff(f.site)
	at, err := f.head()
	if err != nil || !left || at.Mark.Compare(cut) <= 0 {
		return err
	}
	if err := f.rewind(cut, "site "+f.site.String()+" left the registry"); err != nil {
		return err
	}
	s.troubles.clear("unknown " + f.site.String()) // what could not be applied counts no more
	s.troubles.clear("log " + f.site.String())
	return nil
}

// rewind takes the log back to m; what is behind it is kept as evidence.
func (f *follower) rewind(m events.Mark, why string) error {
	s := f.sites
	s.folding.RLock()
	defer s.folding.RUnlock()
	x := s.node.index.Load()
	n, err := x.Rewind(f.site, m)
	if err != nil {
		return err
	}
	s.node.logger.Warn("entries are set aside", "log", f.site, "behind", m, "entries", n, "reason", why)
	if err := s.node.refreshDirectory(); err != nil {
		return err
	}
	h, _, err := x.Head(f.site)
	if err != nil {
		return err
	}
	h.Position.Site = f.site
	s.durable(h)
	return nil
}

// firstPrev returns what the first entry of a site's log is chained to: the
// entry that holds its joining event, or the registry's id for the first site.
func (n *Node) firstPrev(site events.Site) (events.Digest, error) {
	member, ok := n.directory().Site(site)
	if !ok || len(member.Keys) == 0 || member.Joined.Site == site {
		return n.id.Registry, nil // of the first site, or not known yet
	}
	raw, ok, err := n.index.Load().Entry(member.Joined.Site, member.Joined.Mark)
	if err != nil {
		return events.Digest{}, err
	}
	if !ok {
		return events.Digest{}, fmt.Errorf("the entry %v with which site %s joined is not here", member.Joined, site)
	}
	return events.DigestOf(raw), nil
}

// timeOf returns the time of a stored entry.
func (s *sites) timeOf(x *index.Index, p events.Position) (time.Time, error) {
	raw, ok, err := x.Entry(p.Site, p.Mark)
	if err == nil && !ok {
		err = fmt.Errorf("entry %v is not in the index", p)
	}
	if err != nil {
		return time.Time{}, err
	}
	e, err := events.DecodeEntry(raw)
	return e.Time, err
}
