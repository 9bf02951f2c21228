package node

import (
	"context"
	"time"

	"registry-node/events"
)

// An event of a new type is written only once all members understand it, since
// a site that doesn't could apply its writer's log no further (DESIGN 4.2,
// feature.raised). Each site announces the level that it understands; the
// registry's home raises the registry's when all have said that they understand
// a higher one.

// raiseLoop does that until ctx ends.
func (s *sites) raiseLoop(ctx context.Context) {
	for {
		ch := s.changes.wait()
		if err := s.raise(ctx); err != nil && ctx.Err() == nil {
			s.node.logger.Debug("level is not raised", "error", err)
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(announceEvery):
		case <-ctx.Done():
			return
		}
	}
}

// raise states the level that all members understand, if it is higher than what
// the registry says and this site is its home.
func (s *sites) raise(ctx context.Context) error {
	n := s.node
	d := n.directory()
	if d.Home() != n.id.Site || d.Level >= n.level() {
		return nil
	}
	all, ok := s.understood(d)
	if !ok || all <= d.Level {
		return nil
	}
	_, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		if v.dir.Home() != n.id.Site || v.dir.Level >= all {
			return nil, nil
		}
		return []events.Body{events.FeatureRaised{Level: all}}, nil
	})
	if err == nil {
		n.logger.Info("the sites understand more types of events", "level", all)
	}
	return err
}

// understood returns the level that all members understand; ok is false if one
// has not been heard yet.
func (s *sites) understood(d *events.Directory) (level int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	level = s.node.level()
	for _, m := range d.Sites() {
		if m.Name == s.node.id.Site || !d.MemberNow(m.Name) {
			continue
		}
		h := s.heard[m.Name]
		if h == nil {
			return 0, false
		}
		level = min(level, h.said.Level)
	}
	return level, true
}

// level returns the level of event types that this node understands.
func (n *Node) level() int {
	if n.opts.level > 0 {
		return n.opts.level
	}
	return events.Level
}

// mayWriteType reports why an event of a type can't be written yet.
func mayWriteType(d *events.Directory, t events.Type) error {
	if l := events.LevelOf(t); l > d.Level && !d.Home().IsZero() {
		return fail(ErrUnavailable, "events of type %s are of level %d, and not all sites understand more than %d yet: upgrade them", t, l, d.Level)
	}
	return nil
}
