package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"registry-node/events"
	"registry-node/node/index"
	"registry-node/replication"
)

// tell announces how far this site is, whenever that changes and every
// announceEvery, until ctx ends.
func (s *sites) tell(ctx context.Context) {
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.announce:
		case <-tick.C:
			s.changes.notify() // silence of others shows by the clock alone
		case <-ctx.Done():
			return
		}
		a := s.announcement()
		msg, err := replication.Encode(a)
		if err != nil { // never silent: the others would take this site for gone
			s.node.logger.Error("announcement", "error", err)
			a.Reasons, a.BlobsMissing, a.BytesMissing = nil, 0, 0
			if msg, err = replication.Encode(a); err != nil {
				continue
			}
		}
		m := s.mesh.Load()
		for _, p := range s.peers() {
			if err := m.Send(p.Site, "announce", msg); err != nil && !errors.Is(err, replication.ErrNotConnected) {
				s.node.logger.Debug("announcement not sent", "to", p.Site, "error", err)
			}
		}
	}
}

// announcement says how this site stands.
func (s *sites) announcement() replication.Announcement {
	n := s.node
	space := n.space.look()
	count, bytes := s.wants.missing()
	conflicts, reasons := s.stands()
	a := replication.Announcement{
		Site: n.id.Site, Version: n.opts.Version, Level: n.level(), Time: time.Now().UTC(),
		BlobsMissing: count, BytesMissing: bytes, Conflicts: conflicts, Writable: n.Ready() == nil,
		FreeBytes: space.free, TotalBytes: space.total, Reasons: reasons,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.synced[n.id.Site]
	if !own.Position.Mark.IsZero() && s.signed.Position != own.Position {
		s.signed = replication.SignedHead{
			Registry: n.id.Registry, Position: own.Position, StateHash: own.StateHash, Time: a.Time,
		}.Sign(n.key)
	}
	if s.signed.Position.Mark.Compare(s.heads[n.id.Site].Position.Mark) > 0 {
		s.heads[n.id.Site] = s.signed
	}
	for _, site := range sortedSites(s.synced) {
		st := s.synced[site]
		st.Blobs = s.wants.mark(site, st.Position.Mark)
		a.Logs = append(a.Logs, st)
	}
	for _, site := range sortedSites(s.heads) {
		a.Origin = append(a.Origin, s.heads[site])
	}
	for _, site := range sortedSites(s.heard) {
		if time.Since(s.heard[site].at) < silence {
			a.Peers = append(a.Peers, site)
		}
	}
	return a
}

// hear takes an announcement.
func (s *sites) hear(from events.Site, msg []byte) {
	a, err := replication.Decode[replication.Announcement](msg)
	if err == nil && a.Site != from {
		err = fmt.Errorf("it says to be of site %s", a.Site)
	}
	if err != nil {
		s.troubles.raise("announce "+from.String(), fmt.Sprintf("site %s sends announcements that can't be used: %v", from, err))
		return
	}
	s.troubles.clear("announce " + from.String())
	h := &heard{time.Now(), a, map[events.Site]replication.LogState{}, map[events.Site]bool{}}
	for _, l := range a.Logs {
		h.logs[l.Position.Site] = l
	}
	s.mu.Lock()
	old := s.heard[from]
	back := !s.hears(old)
	s.heard[from] = h
	s.mu.Unlock()
	if back {
		s.wants.retryNow() // it may hold what could not be fetched
	}
	s.checkClock(from, a.Time)
	for _, o := range a.Origin {
		s.learnHead(from, o)
	}
	for site, l := range h.logs {
		done := old != nil && old.compared[site] && old.logs[site] == l && !s.behind(l)
		h.compared[site] = done || s.compareWith(from, l)
	}
	s.changes.notify()
}

// behind reports whether this node's copy of a log ends before l.
func (s *sites) behind(l replication.LogState) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.synced[l.Position.Site].Position.Mark.Compare(l.Position.Mark) < 0
}

// compareWith compares what a peer says of a log with what is held here: it
// wakes the follower if the peer has more, and looks whether the two are one
// log with one state. It reports whether that is settled until either changes:
// what this node does not hold yet may come from somebody else, and differ.
func (s *sites) compareWith(from events.Site, l replication.LogState) bool {
	site := l.Position.Site
	if s.behind(l) {
		if site == s.node.id.Site {
			s.ownIsFurther(from, l)
			return false
		}
		s.mu.Lock()
		if f := s.followers[site]; f != nil {
			poke(f.wake)
		}
		s.mu.Unlock()
		return false
	}
	x := s.node.index.Load()
	raw, ok, err := x.Entry(site, l.Position.Mark)
	if err != nil {
		return false // the index reports it
	}
	if !ok || events.DigestOf(raw) != l.Position.Hash {
		s.otherEntry(from, l.Position)
		return false
	}
	s.troubles.clear(claimKey(from, site))
	here, kept, err := x.StateHashAt(site, l.Position.Mark)
	if err != nil || !kept {
		return err == nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if here == index.StateHash(l.StateHash) {
		delete(s.doubts[from], site)
		return true
	}
	if s.doubts[from] == nil {
		s.doubts[from] = map[events.Site]doubt{}
	}
	s.doubts[from][site] = doubt{l.Position.Mark, here, index.StateHash(l.StateHash)}
	return true
}

// learnHead takes the head of a log that its site signed.
func (s *sites) learnHead(from events.Site, h replication.SignedHead) {
	n := s.node
	site := h.Position.Site
	s.mu.Lock()
	known := s.heads[site]
	s.mu.Unlock()
	if h.Position == known.Position || h.Position.Mark.Compare(known.Position.Mark) < 0 || h.Registry != n.id.Registry {
		return
	}
	key := n.keyOf(site, h.Position.Mark)
	if key == nil {
		return // of a site not known here yet
	}
	if err := h.Verify(key); err != nil {
		s.troubles.raise("head "+from.String(), fmt.Sprintf("site %s passes on a head of the log of site %s that %s did not sign", from, site, site))
		return
	}
	if d := n.directory(); !d.MemberNow(site) && site != n.id.Site {
		return
	}
	s.mu.Lock()
	if h.Position.Mark.Compare(s.heads[site].Position.Mark) > 0 {
		s.heads[site] = h
	}
	s.mu.Unlock()
}

// checkClock raises an alarm if a peer's clock is far off this node's.
func (s *sites) checkClock(from events.Site, theirs time.Time) {
	key := "clock " + from.String()
	if d := time.Since(theirs); d.Abs() > maxSkew {
		s.troubles.raise(key, fmt.Sprintf("the clocks of this site and site %s are %s apart; set the wrong one", from, d.Abs().Round(time.Minute)))
		return
	}
	s.troubles.clear(key)
}

// clockTrusted reports why this site may not date entries: its clock is far off
// those of all sites that it hears.
func (s *sites) clockTrusted() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	heardOf, off := 0, 0
	for _, h := range s.heard {
		if time.Since(h.at) >= silence {
			continue
		}
		heardOf++
		if h.at.Sub(h.said.Time).Abs() > maxSkew {
			off++
		}
	}
	if heardOf > 0 && off == heardOf {
		return fail(ErrUnavailable, "this node's clock is more than %s off those of all sites that it hears; set it", maxSkew)
	}
	return nil
}
