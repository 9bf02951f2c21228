package node

import (
	"fmt"

	"registry-node/events"
)

// What an event of one log is about, and whether its site has the right to state
// it, may be said by other logs, and by entries of its own that are not in the
// Directory yet. Until they are, it is neither told nor passed.

// hookView is what a teller judges events by. The Directory covers the marks: what
// it lacks of a log up to there, that log does not say.
type hookView struct {
	sites  *sites
	covers map[events.Site]events.Mark
	dir    *events.Directory
}

// hookView returns the view of now. The marks are read first, since a log is
// announced as being here after the Directory has been made of it.
func (s *sites) hookView() hookView {
	s.mu.Lock()
	covers := make(map[events.Site]events.Mark, len(s.synced))
	for site, l := range s.synced {
		covers[site] = l.Position.Mark
	}
	s.mu.Unlock()
	return hookView{s, covers, s.node.directory()}
}

// headOf returns the last entry of a log that the Directory covers.
func (s *sites) headOf(log events.Site) events.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.synced[log].Position
}

// judge reports whether a webhook is told of an event. That can't be said yet, and
// is asked again when some log has moved, if awaits says what it waits for.
func (v hookView) judge(hook events.ActiveWebhook, ev events.Event) (takes bool, awaits string) {
	// One of another site's log must be no older than the webhook, as the first
	// cursor there may be too early.
	if ev.ID.Site != hook.ID.Site && ev.Time.Before(hook.Created) || ev.Body == nil {
		return false, ""
	}
	s := subjectOf(v.dir, ev)
	if s.unknown() {
		w := hook.Webhook
		w.Repos = nil
		if !w.Takes(ev.Type, s.repo, s.module) {
			return false, ""
		}
		if awaits = v.awaitsRepo(ev, s.id); awaits != "" {
			return false, awaits
		}
	}
	if !hook.Takes(ev.Type, s.repo, s.module) {
		return false, ""
	}
	return true, v.awaitsRight(ev)
}

// awaitsRepo says which log has to come further until it is known which repository
// an event is about, or that there is none: that in which it was made, or one that
// may give that site the right to.
func (v hookView) awaitsRepo(ev events.Event, id events.RepoID) string {
	if id.Site == ev.ID.Site && id.Mark.Compare(ev.ID.Mark) > 0 {
		return "" // made by what follows: no site can know it before
	}
	m, known := v.dir.Site(id.Site)
	ends := m.Left && id.Mark.Compare(m.CutOff) > 0 // so that it never will count
	if here := v.covers[id.Site]; known && len(m.Keys) > 0 && !ends && here.Compare(id.Mark) < 0 {
		return fmt.Sprintf("it waits for the log of site %s, which is here up to %v: the event is about the repository that was made in %v", id.Site, here, id)
	}
	if site, behind := v.behind(id.Site); behind {
		return fmt.Sprintf("it waits for the log of site %s, which is here up to %v: that may say that the repository %v exists", site, v.covers[site], id)
	}
	return ""
}

// awaitsRight says which log has to come further until it is known whether the
// event of another site has a right.
func (v hookView) awaitsRight(ev events.Event) string {
	if ev.ID.Site == v.sites.node.id.Site || v.dir.Right(ev.ID, ev.Body) == nil {
		return ""
	}
	if site, behind := v.behind(ev.ID.Site); behind {
		return fmt.Sprintf("it waits for the log of site %s, which is here up to %v: that may give site %s the right to state the event", site, v.covers[site], ev.ID.Site)
	}
	return ""
}

// behind returns a site that decides, other than the one in question, whose log is
// known to go on beyond what is here, or has not been heard of since the start. One
// that left goes on up to its cut-off, which the registry's home holds.
func (v hookView) behind(but events.Site) (events.Site, bool) {
	v.sites.mu.Lock()
	defer v.sites.mu.Unlock()
	for _, site := range sortedSites(deciders(v.dir)) {
		if site == but || site == v.sites.node.id.Site {
			continue
		}
		if m, known := v.dir.Site(site); !known || len(m.Keys) == 0 {
			continue // what says that it joined would be behind, too
		}
		end := v.sites.heads[site].Position.Mark
		heard := !end.IsZero() || v.sites.heard[site] != nil
		if cut, left := v.dir.CutOff(site); left && (!heard || end.Compare(cut) > 0) {
			heard, end = true, cut
		}
		if !heard || end.Compare(v.covers[site]) > 0 {
			return site, true
		}
	}
	return events.Site{}, false
}
