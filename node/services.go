package node

import (
	"context"
	"fmt"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/index"
	"registry-node/replication"
)

// services are what other members may ask of this site.
func (s *sites) services() map[string]replication.Handler {
	return map[string]replication.Handler{
		"log":     s.serveLog,
		"decide":  s.decide,
		"push":    s.servePush,
		"sum":     s.serveSum,
		"version": s.serveVersion,
	}
}

// serveLog answers with entries of any site's log that this node holds.
func (s *sites) serveLog(_ context.Context, _ events.Site, raw []byte, _ func([]byte) error) ([]byte, error) {
	req, err := replication.Decode[replication.LogRequest](raw)
	if err != nil {
		return nil, err
	}
	x := s.node.index.Load()
	a := replication.LogAnswer{}
	size := 0
	for e, err := range x.Entries(req.Site, req.After) {
		if err != nil {
			return nil, err
		}
		if size += len(e); len(a.Entries) > 0 && size > req.MaxBytes || len(a.Entries) == replication.MaxList {
			break
		}
		a.Entries = append(a.Entries, e)
	}
	last, _, ok, err := x.Kept(req.Site)
	if err == nil && !ok {
		var h index.Head
		h, _, err = x.Head(req.Site)
		last = h.Position
	}
	if err != nil {
		return nil, err
	}
	a.Head = last.Mark
	return replication.Encode(a)
}

// maxVersionEntries bounds the entries that tell of one version.
const maxVersionEntries = 64

// serveVersion answers with the entries that this node holds about a version, so
// that a site that is behind can serve it all the same.
func (s *sites) serveVersion(_ context.Context, _ events.Site, raw []byte, _ func([]byte) error) ([]byte, error) {
	req, err := replication.Decode[replication.VersionRequest](raw)
	if err != nil {
		return nil, err
	}
	x := s.node.index.Load()
	cs, err := x.Get(events.KeyVersion(req.Repo, module.Version{Path: req.Module, Version: req.Version}))
	if err != nil {
		return nil, err
	}
	var a replication.VersionAnswer
	size := 0
	for _, c := range cs {
		var last events.Mark
		for _, f := range c.Facts {
			if f.Mark == last {
				continue
			}
			last = f.Mark
			e, ok, err := x.Entry(c.Site, f.Mark)
			if err != nil {
				return nil, err
			}
			if size += len(e); !ok || size > replication.MaxAnswer || len(a.Entries) == maxVersionEntries {
				continue
			}
			a.Entries = append(a.Entries, e)
		}
	}
	return replication.Encode(a)
}

// maxRows is how many rows of a record's keys are listed at most.
const maxRows = 1000

// serveSum answers with sums of the rows of one log at a place in it.
func (s *sites) serveSum(ctx context.Context, _ events.Site, raw []byte, _ func([]byte) error) ([]byte, error) {
	req, err := replication.Decode[replication.SumRequest](raw)
	if err != nil {
		return nil, err
	}
	select { // it reads all rows of a log: one at a time
	case s.summing <- struct{}{}:
		defer func() { <-s.summing }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	a, err := s.sums(req)
	if err != nil {
		return nil, err
	}
	return replication.Encode(a)
}

func (s *sites) sums(req replication.SumRequest) (replication.SumAnswer, error) {
	var a replication.SumAnswer
	x := s.node.index.Load()
	h, _, err := x.Head(req.Site)
	if err != nil || h.Position.Mark.Compare(req.At) < 0 {
		return a, err
	}
	a.OK = true
	groups, err := x.Sums(req.Site, req.At, string(req.Prefix))
	if err != nil {
		return a, err
	}
	rows := 0
	for _, g := range groups {
		a.Children = append(a.Children, replication.SumChild{Next: g.Next, Rows: g.Rows, Hash: replication.Sum(g.Hash)})
		rows += g.Rows
	}
	if rows > maxRows {
		return a, nil
	}
	list, err := x.Rows(req.Site, req.At, string(req.Prefix))
	if err != nil {
		return a, err
	}
	for _, r := range list {
		a.Rows = append(a.Rows, replication.SumRow{Key: events.Bytes(r.Key.Bytes()), Hash: replication.Sum(r.Hash)})
	}
	return a, nil
}

// servePush sends a blob to a site that can't dial this one.
func (s *sites) servePush(_ context.Context, from events.Site, raw []byte, _ func([]byte) error) ([]byte, error) {
	req, err := replication.Decode[replication.PushRequest](raw)
	if err != nil {
		return nil, err
	}
	n := s.node
	b := events.Blob{Digest: req.Digest, Size: req.Size}
	if !n.blobs.held(b) {
		return replication.Encode(replication.PushAnswer{})
	}
	n.life.wg.Go(func() {
		ctx, cancel := context.WithTimeout(n.life.ctx, pushTimeout)
		defer cancel()
		if err := s.push(ctx, from, b); err != nil && ctx.Err() == nil {
			n.logger.Warn("blob is not sent", "to", from, "digest", b.Digest, "error", err)
		}
	})
	return replication.Encode(replication.PushAnswer{Held: true})
}

// versionElsewhere resolves a version with what sites that are further than this
// one say about it. Every entry is checked as if it were followed, but for its
// place in the chain.
func (s *sites) versionElsewhere(ctx context.Context, r *events.Repo, mv module.Version, peers []events.Site) (*events.Version, error) {
	n := s.node
	key := events.KeyVersion(r.ID, mv)
	cs, err := n.index.Load().Get(key)
	if err != nil {
		return nil, err
	}
	req, err := replication.Encode(replication.VersionRequest{Repo: r.ID, Module: mv.Path, Version: mv.Version})
	if err != nil {
		return nil, err
	}
	answers := make(chan versionFrom, len(peers))
	for _, peer := range peers {
		n.life.wg.Go(func() {
			raw, err := s.request(ctx, peer, "version", req, nil)
			var a replication.VersionAnswer
			if err == nil {
				a, err = replication.Decode[replication.VersionAnswer](raw)
			}
			answers <- versionFrom{peer, a.Entries, err}
		})
	}
	for range peers {
		a := <-answers // each ends with ctx
		peer := a.peer
		for _, raw := range a.entries {
			if cs, err = n.foldEntry(cs, key, raw); err != nil {
				s.troubles.raise("version "+peer.String(), fmt.Sprintf("site %s gives an entry about %v that is refused: %v", peer, mv, err))
				break
			}
		}
	}
	v := n.directory().ResolveVersion(r, cs)
	return &v, nil
}

// versionFrom is what a peer says of a version.
type versionFrom struct {
	peer    events.Site
	entries [][]byte
	err     error // it says nothing then
}

// foldEntry applies what an entry says about one record.
func (n *Node) foldEntry(cs events.Contributions, key events.Key, raw []byte) (events.Contributions, error) {
	e, err := events.DecodeEntry(raw)
	if err != nil {
		return cs, err
	}
	site := e.Position.Site
	pub := n.keyOf(site, e.Position.Mark)
	if e.Registry != n.id.Registry || pub == nil {
		return cs, fmt.Errorf("entry %v is none of a member", e.Position)
	}
	if err := e.Verify(pub); err != nil {
		return cs, err
	}
	for _, ev := range e.Events {
		if ev.Body == nil || ev.Body.Key(ev.ID) != key {
			continue
		}
		next, _, err := events.Apply(cs.Of(site), ev)
		if err != nil {
			return cs, err
		}
		cs = cs.With(site, next)
	}
	return cs, nil
}

// further returns the connected sites that have more than this one of a log, or,
// of the zero Site, of any.
func (s *sites) further(log events.Site) []events.Site {
	if s.mesh.Load() == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []events.Site
	for _, site := range sortedSites(s.heard) {
		h := s.heard[site]
		if !s.hears(h) {
			continue
		}
		for name, l := range h.logs {
			// By the word of the log's own site only: else one peer could hold up
			// every miss of all others.
			if s.heads[name].Position.Mark.Compare(s.synced[name].Position.Mark) <= 0 {
				continue
			}
			if (log.IsZero() || name == log) && l.Position.Mark.Compare(s.synced[name].Position.Mark) > 0 {
				list = append(list, site)
				break
			}
		}
	}
	return list
}

// lacks reports whether this node can't say that it has all of a log: its site
// is known to have written more, or can't be heard.
func (s *sites) lacks(log events.Site) bool {
	if log != s.node.id.Site && s.mesh.Load() != nil && !s.connected(log) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heads[log].Position.Mark.Compare(s.synced[log].Position.Mark) > 0
}
