package node

import (
	"context"
	"time"

	"registry-node/events"
)

// JoinProgress is how far a site is on its way to what the others hold.
type JoinProgress struct {
	Entries, EntriesTotal uint64
	Rate                  float64 // entries per second, lately
	Blobs                 int     // that have come
	BlobsMissing          int
	BytesMissing          int64
	Left                  time.Duration // until the entries are here, at this rate; 0 if not known
}

const progressEvery = 500 * time.Millisecond

// CatchUp waits until this node has applied what the other sites held when it
// heard of it first, and tells progress meanwhile. Blobs go on arriving after it.
func (n *Node) CatchUp(ctx context.Context, progress func(JoinProgress)) error {
	s := n.sites
	start := time.Now()
	var p JoinProgress
	first, most := uint64(0), 0
	for {
		ch := s.moved.wait()
		have, total := s.progress()
		p.Entries, p.EntriesTotal = have, max(have, total)
		if first == 0 {
			first = have
		}
		p.Rate = float64(have-min(have, first)) / max(time.Since(start).Seconds(), 0.001)
		p.Left = 0
		if p.Rate > 0 {
			p.Left = time.Duration(float64(p.EntriesTotal-have) / p.Rate * float64(time.Second))
		}
		p.BlobsMissing, p.BytesMissing = s.wants.missing()
		most = max(most, p.BlobsMissing)
		p.Blobs = most - p.BlobsMissing
		progress(p)
		if !n.joining() && have >= total && s.heardAny() && !n.commits.waits(holdStart) {
			return nil
		}
		select {
		case <-ch:
		case <-time.After(progressEvery):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// progress returns how many entries are here and how many there are.
func (s *sites) progress() (have, total uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	logs := map[events.Site]uint64{}
	for site, l := range s.synced {
		have += l.Position.Mark.Seq
		logs[site] = l.Position.Mark.Seq
	}
	for site, h := range s.heads { // by the word of each log's own site
		if f := s.followers[site]; f != nil && f.frozen.Load() {
			continue
		}
		logs[site] = max(logs[site], h.Position.Mark.Seq)
	}
	for _, seq := range logs {
		total += seq
	}
	return have, total
}

// heardAny reports whether another site is connected, or there is none.
func (s *sites) heardAny() bool {
	if len(s.peers()) == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.heard {
		if s.hears(h) {
			return true
		}
	}
	return false
}
