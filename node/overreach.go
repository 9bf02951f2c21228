package node

import (
	"fmt"

	"registry-node/events"
)

// Overreach is a well-formed, rightly signed event that its site had no right to
// state: it counts nowhere (resolve sees to that), and a person is to know.
// Whether an event has a right may show only when another log has come further,
// so what seemed to have none is looked at again.

const (
	overreachSpace = "overreach"
	maxOverreach   = 1000
)

// noteRight puts down an event of another site that seems to have no right.
func (s *sites) noteRight(ev events.Event) {
	if s.node.directory().Right(ev.ID, ev.Body) == nil {
		return
	}
	s.mu.Lock()
	full := len(s.overreach) >= maxOverreach
	if !full {
		s.overreach[ev.ID] = ev
	}
	s.mu.Unlock()
	if full {
		return
	}
	if err := s.node.index.Load().Local(overreachSpace).Set(ev.ID.String(), []byte{}); err != nil {
		s.node.logger.Debug("overreach is not kept", "error", err)
	}
}

// loadOverreach reads what an earlier run put down.
func (s *sites) loadOverreach() error {
	x := s.node.index.Load()
	for row, err := range x.Local(overreachSpace).All("") {
		if err != nil {
			return err
		}
		id, err := events.ParseEventID(row.Key)
		if err != nil {
			return err
		}
		raw, ok, err := x.Entry(id.Site, id.Mark)
		if err != nil {
			return err
		}
		e, err := events.DecodeEntry(raw)
		if !ok || err != nil || id.Index >= len(e.Events) {
			continue
		}
		s.overreach[id] = e.Events[id.Index]
	}
	return nil
}

// refused returns what other sites stated without a right, as the Directory now
// sees it: texts for people, by event.
func (s *sites) refused() map[events.EventID]string {
	n := s.node
	d := n.directory()
	s.mu.Lock()
	all := make([]events.Event, 0, len(s.overreach))
	for _, ev := range s.overreach {
		all = append(all, ev)
	}
	s.mu.Unlock()
	out := map[events.EventID]string{}
	homes := deciders(d)
	for _, ev := range all {
		err := d.Right(ev.ID, ev.Body)
		if err == nil || s.kept(d, ev) {
			s.mu.Lock()
			delete(s.overreach, ev.ID)
			s.mu.Unlock()
			if err := n.index.Load().Local(overreachSpace).Delete(ev.ID.String()); err != nil {
				n.logger.Debug("overreach", "error", err)
			}
			continue
		}
		if s.lacksRights(homes, ev.ID.Site) {
			continue
		}
		out[ev.ID] = fmt.Sprintf("site %s stated %s in %v, which it has no right to: %v; it counts nowhere", ev.ID.Site, ev.Type, ev.ID, err)
	}
	return out
}

// kept reports whether a publication of a former home has been published anew
// with the same content, or has been entered in the list of what could not be.
func (s *sites) kept(d *events.Directory, ev events.Event) bool {
	b, ok := ev.Body.(events.VersionPublished)
	if !ok {
		return false
	}
	r := d.Repo(b.Repo)
	if r == nil {
		return false
	}
	v, err := s.node.version(d, r, b.ModVersion())
	return err == nil && v.Status == events.Held && v.Contents[0].ZipH1 == b.ZipH1 && v.Contents[0].ModH1 == b.ModH1
}

// deciders returns the sites that are or were home of anything, as far as the
// Directory knows.
func deciders(d *events.Directory) map[events.Site]bool {
	homes := map[events.Site]bool{}
	for _, t := range d.Homes {
		homes[t.Site] = true
	}
	for _, r := range d.Repos() {
		for _, t := range r.Homes {
			homes[t.Site] = true
		}
	}
	return homes
}

// lacksRights reports whether the log of a home is known to go on beyond what is
// here: an entry in there may give a site the right that seems to be missing. What
// the site itself or one that decides nothing promises gives it none.
func (s *sites) lacksRights(homes map[events.Site]bool, of events.Site) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for site, h := range s.heads {
		if site != of && homes[site] && h.Position.Mark.Compare(s.synced[site].Position.Mark) > 0 {
			return true
		}
	}
	return false
}
