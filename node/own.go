package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/index"
	"registry-node/replication"
)

// A site whose disk was restored from an old backup, or whose log lost its tail
// in both copies, must not write other entries into places that it has filled
// before. So before it opens for writes it asks the other sites how far they
// have seen its log, and takes back what it lacks (DESIGN 4.5).

const (
	// askPeers is how long a node waits at its start for any other site, and
	// askOthers for the rest if one has been heard. Who hasn't been heard by then
	// is not waited for.
	askPeers  = 10 * time.Second
	askOthers = 2 * time.Second
	// unsureFile stands in the data directory of a site that may have lost
	// entries: then one other site at least must answer before it writes.
	unsureFile = "unsure"
)

// catchUpOwn takes back what other sites have of this site's log, and then lets
// writes in.
func (s *sites) catchUpOwn(ctx context.Context) {
	n := s.node
	start := time.Now()
	for {
		ch := s.changes.wait()
		waiting, answered := s.unheard()
		unsure := n.unsure()
		if n.joining() {
			waiting = max(waiting, 1) // its name and key must be known here
			if n.bootstrap.first() == n.id.Site {
				s.ownEnd(false) // and it is this site's own log that says so
			}
		}
		patience := askPeers
		if answered > 0 {
			patience = askOthers
		}
		if (waiting == 0 || time.Since(start) > patience && !n.joining()) && (!unsure || answered > 0) {
			if s.ownEnd(time.Since(start) > askPeers) {
				break
			}
		}
		if unsure && answered == 0 {
			s.troubles.raise("unsure", "this site may have lost entries of its log and takes no writes until another site says how far it has seen it; "+
				"if none ever will, run: registry-node epoch new")
		}
		select {
		case <-ch:
		case <-time.After(announceEvery):
		case <-ctx.Done():
			return
		}
	}
	if err := n.setUnsure(false); err != nil {
		n.logger.Error("mark of a possible loss stays", "error", err)
		return
	}
	s.troubles.clear("unsure")
	n.commits.release(holdStart)
	s.standing.renew() // else others would hear for a while yet that it takes no writes
	s.changes.notify()
	poke(s.announce)
}

// joining reports whether this site has not learnt yet that it is a member.
func (n *Node) joining() bool { return !n.directory().MemberNow(n.id.Site) }

// unheard returns how many members have not been heard yet, and how many have.
func (s *sites) unheard() (waiting, answered int) {
	peers := s.peers()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range peers {
		if h := s.heard[p.Site]; h != nil && time.Since(h.at) < silence {
			answered++
		} else {
			waiting++
		}
	}
	return waiting, answered
}

// ownEnd reports whether nobody who can be asked has more of this site's log than
// is here, after taking back what somebody has. When it is late, only what this
// site itself signed proves that there is more: anybody can say so.
func (s *sites) ownEnd(late bool) bool {
	own := s.node.id.Site
	s.mu.Lock()
	at := s.synced[own].Position.Mark
	proved := s.heads[own].Position.Mark.Compare(at) > 0
	var from events.Site
	var most replication.LogState
	for site, h := range s.heard {
		l := h.logs[own]
		if s.hears(h) && l.Position != s.claims[site] && l.Position.Mark.Compare(at) > 0 && l.Position.Mark.Compare(most.Position.Mark) > 0 {
			from, most = site, l
		}
	}
	s.mu.Unlock()
	if proved && from.IsZero() {
		s.troubles.raise("unsure", "this site has written more of its log than is here, as its own signature shows, and no site that can be reached holds it; "+
			"bring one back that does, or give it up for good: registry-node epoch new")
	}
	if !proved && (late || from.IsZero()) {
		return true
	}
	if from.IsZero() {
		return false
	}
	s.takeClaimed(s.node.life.ctx, from, most)
	return false
}

// takeClaimed takes back what a peer says to have of this site's log. A claim
// that it does not show to be true is not believed again: nobody can keep this
// site from writing by words alone.
func (s *sites) takeClaimed(ctx context.Context, from events.Site, l replication.LogState) {
	taken, err := s.takeBack(ctx, from)
	if err == nil && taken > 0 || ctx.Err() != nil {
		return
	}
	if err != nil {
		s.node.logger.Warn("entries of the own log can't be taken back", "from", from, "error", err)
	}
	if err == nil || errors.Is(err, errSource) {
		s.mu.Lock()
		s.claims[from] = l.Position
		s.mu.Unlock()
	}
	s.troubles.raise(claimKey(from, s.node.id.Site), fmt.Sprintf("site %s says to hold more of this site's log, and does not show an entry that this site signed", from))
}

// claimKey is under which a peer's claim about a log that it does not show is
// reported.
func claimKey(from, log events.Site) string { return "claim " + from.String() + " " + log.String() }

// ownIsFurther is called when a peer says that it has more of this site's log
// than this site itself.
func (s *sites) ownIsFurther(from events.Site, l replication.LogState) {
	if s.node.commits.waits(holdStart) {
		return // catchUpOwn is at it
	}
	s.mu.Lock()
	disproved := s.claims[from] == l.Position
	s.mu.Unlock()
	if !disproved {
		s.inquire(from, func(ctx context.Context) { s.takeClaimed(ctx, from, l) })
	}
}

// takeBack appends what a peer has of this site's log beyond its end. Every
// entry must be signed with this site's key and continue the log. Nothing is
// held up while the peer is asked.
func (s *sites) takeBack(ctx context.Context, from events.Site) (all int, err error) {
	n := s.node
	for {
		head, _, err := n.index.Load().Head(n.id.Site)
		if err != nil {
			return all, err
		}
		raws, err := s.askForOwn(ctx, from, head.Position.Mark)
		if err != nil || len(raws) == 0 {
			return all, err
		}
		taken, err := s.takeAt(ctx, from, head, raws)
		all += taken
		if taken > 0 {
			n.logger.Warn("entries of the own log are taken back", "from", from, "entries", taken)
			s.troubles.raise("taken back", fmt.Sprintf("this site had lost entries of its log and took them back from site %s; find out why they were lost", from))
		}
		if err != nil || taken < len(raws) {
			return all, err
		}
	}
}

func (s *sites) askForOwn(ctx context.Context, from events.Site, m events.Mark) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	raws, _, err := s.entriesFrom(ctx, from, s.node.id.Site, m, maxPull)
	return raws, err
}

// takeAt appends entries that were asked for when the log ended at head, unless
// it has moved since.
func (s *sites) takeAt(ctx context.Context, from events.Site, head index.Head, raws [][]byte) (taken int, err error) {
	n := s.node
	n.commits.mu.Lock()
	defer n.commits.mu.Unlock()
	x := n.index.Load()
	now, _, err := x.Head(n.id.Site)
	if err != nil || now.Position != head.Position {
		return 0, err
	}
	return s.takeEntries(ctx, from, x, head, raws)
}

// takeEntries appends entries to both copies of the own log. The caller holds
// commits.mu.
func (s *sites) takeEntries(ctx context.Context, from events.Site, x *index.Index, head index.Head, raws [][]byte) (taken int, err error) {
	n := s.node
	changes := changesNothing
	for _, raw := range raws {
		e, err := events.DecodeEntry(raw)
		if err != nil {
			return taken, fmt.Errorf("%w: %w", errSource, err)
		}
		if err := e.Verify(n.keyOf(n.id.Site, e.Position.Mark)); err != nil {
			return taken, fmt.Errorf("%w: %w", errSource, err)
		}
		prev := head.Position
		if prev.Mark.IsZero() {
			if prev.Hash, err = n.firstPrev(n.id.Site); err != nil {
				return taken, err
			}
			prev.Site = n.id.Site
		}
		if err := e.Follows(n.id.Registry, prev, head.Time); err != nil {
			s.ownForked(from, e.Position)
			return taken, err
		}
		if err := n.log.Append(ctx, e.Position.Mark.Seq, raw); err != nil {
			return taken, err
		}
		if err := s.applyTaken(x, e); err != nil {
			return taken, err
		}
		for _, ev := range e.Events {
			changes = max(changes, changeOf(ev.Body.Key(ev.ID).Kind()))
		}
		if head, _, err = x.Head(n.id.Site); err != nil {
			return taken, err
		}
		taken++
	}
	if err := n.refresh(changes); err != nil {
		return taken, err
	}
	s.durable(head)
	s.wants.more.notify() // now what the entries refer to can be seen
	s.purges.notify()
	return taken, nil
}

// ownForked stops this site's writes: it has written other entries than those
// that another site holds of it.
func (s *sites) ownForked(from events.Site, p events.Position) {
	n := s.node
	why := fmt.Sprintf("site %s holds another entry %v of this site's log than this node: this site lost entries and wrote new ones in their place. "+
		"Nothing more is written until an operator decides; to go on with what the other sites hold, and set aside what they don't, run: registry-node epoch new",
		from, p.Mark)
	n.commits.hold(holdFork, "it has written two different histories of its log")
	if s.troubles.raise("own fork", why) {
		n.logger.Error("own log is forked", "from", from, "at", p.Mark)
	}
}

// NewEpoch is an operator's word that what this site's log has lost is lost for
// good: the log goes on in a new epoch. What other sites hold of it is taken
// back before, and what stands here in places that they hold otherwise is set
// aside. Errors: ErrUnavailable, ErrNoSpace.
func (n *Node) NewEpoch(ctx context.Context, who *access.Caller) (events.Position, error) {
	if err := n.allow(who, access.Everything); err != nil {
		return events.Position{}, err
	}
	if n.joining() {
		return events.Position{}, fail(ErrUnavailable, "site %s is no member of the registry, or does not know it yet", n.id.Site)
	}
	if err := n.sites.joinHistory(ctx); err != nil {
		return events.Position{}, err
	}
	n.commits.mu.Lock()
	pos, err := n.commits.newEpoch(ctx, who)
	n.commits.mu.Unlock()
	if err != nil {
		return pos, err
	}
	if err := n.setUnsure(false); err != nil {
		return pos, err
	}
	n.sites.troubles.clear("own fork")
	n.sites.troubles.clear("unsure")
	n.commits.release(holdFork)
	n.commits.release(holdStart)
	return pos, nil
}

// joinHistory takes this site's log back to the last entry that the peer which
// holds most of it holds alike, and takes the rest from there.
func (s *sites) joinHistory(ctx context.Context) error {
	n := s.node
	own := n.id.Site
	s.mu.Lock()
	var from events.Site
	var most events.Mark
	for site, h := range s.heard {
		if m := h.logs[own].Position.Mark; time.Since(h.at) < silence && m.Compare(most) > 0 {
			from, most = site, m
		}
	}
	s.mu.Unlock()
	if from.IsZero() {
		return nil // nobody holds any of it, or can be asked
	}
	n.commits.mu.Lock()
	err := s.backToCommon(ctx, from, most)
	n.commits.mu.Unlock()
	if err != nil {
		return err
	}
	_, err = s.takeBack(ctx, from)
	return err
}

// backToCommon takes the log back to the last entry that the peer holds alike.
// The caller holds commits.mu.
func (s *sites) backToCommon(ctx context.Context, from events.Site, most events.Mark) error {
	n := s.node
	x := n.index.Load()
	head, _, err := x.Head(n.id.Site)
	if err != nil || head.Position.Mark.IsZero() {
		return err
	}
	if most.Epoch < head.Position.Mark.Epoch {
		return nil // it has not heard of this epoch yet
	}
	m := head.Position.Mark
	if most.Compare(m) < 0 {
		m = most
	}
	m, err = s.commonWith(ctx, from, n.id.Site, x, m)
	if err != nil {
		return err
	}
	if m.IsZero() {
		return fail(ErrUnavailable, "site %s holds nothing of this site's log that is here, too", from)
	}
	if m == head.Position.Mark {
		return nil
	}
	if raws, _, err := s.entriesFrom(ctx, from, n.id.Site, m, 1); err != nil || len(raws) == 0 {
		return err // the peer merely has less
	}
	if _, err := x.Rewind(n.id.Site, m); err != nil {
		return err
	}
	if err := n.log.Rewrite(ctx, n.entriesOf(x), nil); err != nil {
		return err
	}
	return n.refreshDirectory()
}

// commonWith returns the last entry of a log, up to m and of its epoch, that a
// peer holds as this node does: two logs are alike up to some place, and never
// again behind it, since each entry names the hash of the one before.
func (s *sites) commonWith(ctx context.Context, peer, log events.Site, x *index.Index, m events.Mark) (events.Mark, error) {
	alike, differs := uint64(0), m.Seq+1
	for at := m.Seq; alike+1 < differs; at = (alike + differs) / 2 {
		mark := events.Mark{Epoch: m.Epoch, Seq: at}
		raw, ok, err := x.Entry(log, mark)
		if err != nil {
			return events.Mark{}, err
		}
		theirs, _, err := s.entriesFrom(ctx, peer, log, before(mark), 1)
		if err != nil {
			return events.Mark{}, err
		}
		if ok && len(theirs) > 0 && string(theirs[0]) == string(raw) {
			alike = at
		} else {
			differs = at
		}
	}
	if alike == 0 {
		return events.Mark{}, nil
	}
	return events.Mark{Epoch: m.Epoch, Seq: alike}, nil
}

// before returns the place right before an entry of the same epoch.
func before(m events.Mark) events.Mark {
	if m.Seq <= 1 {
		return events.Mark{}
	}
	return events.Mark{Epoch: m.Epoch, Seq: m.Seq - 1}
}
