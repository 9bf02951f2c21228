package node

import (
	"context"
	"time"

	"registry-node/events"
)

// JoinProgress is how far a site is on its way to what the others hold.
type JoinProgress struct {
	Logs, LogsTotal       int // of sites; Logs are those that are here to their ends
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
		p.catchUp(s.progress())
		have, total := p.Entries, p.EntriesTotal
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

// logProgress is how many entries of a log are here, and how many there are.
type logProgress struct{ have, total uint64 }

// progress returns how far the logs are here.
func (s *sites) progress() map[events.Site]logProgress {
	s.mu.Lock()
	defer s.mu.Unlock()
	logs := map[events.Site]logProgress{}
	for site, l := range s.synced {
		seq := l.Position.Mark.Seq
		logs[site] = logProgress{seq, seq}
	}
	for site, h := range s.heads { // by the word of each log's own site
		if f := s.followers[site]; f != nil && f.frozen.Load() {
			continue
		}
		have := logs[site].have
		logs[site] = logProgress{have, max(have, h.Position.Mark.Seq)}
	}
	return logs
}

// catchUp takes over how far the logs are.
func (p *JoinProgress) catchUp(logs map[events.Site]logProgress) {
	p.Logs, p.LogsTotal, p.Entries, p.EntriesTotal = 0, len(logs), 0, 0
	for _, l := range logs {
		p.Entries += l.have
		p.EntriesTotal += l.total
		if l.have == l.total {
			p.Logs++
		}
	}
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
