package events_test

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
)

// An oracle says what readers must see after a history. It works on the list of
// all events, without contributions, and is written to be read, not to be fast.
type oracle struct {
	h        *history
	events   []events.Event // by site name, then log order
	registry []span
	members  map[events.Site]*membership
	counted  []events.Event           // those of members, up to their cut-offs
	decided  []events.Event           // among them those of the registry's homes, by tenure
	repos    map[events.RepoID][]span // of the repositories that were made
}

// A span is what the package calls a tenure.
type span struct {
	site         events.Site
	after, until events.Mark // until: zero while it lasts, or if it was forced before the first entry
	forced       bool
}

type membership struct {
	left bool
	cut  events.Mark
}

func newOracle(h *history) *oracle {
	o := &oracle{h: h, members: map[events.Site]*membership{}, repos: map[events.RepoID][]span{}}
	for _, s := range h.sites {
		o.events = append(o.events, h.logs[s]...)
	}
	need := map[events.Site]events.Mark{}
	o.registry = o.spans(events.RepoID{}, h.founder, func(n int) *events.Event {
		is := func(ev events.Event, to events.Site) bool {
			b, ok := ev.Body.(events.HomeForced)
			return ok && b.Repo.IsZero() && b.Tenure == n && h.signed[ev.ID] && b.To == to
		}
		stated := slices.IndexFunc(o.events, func(ev events.Event) bool { return is(ev, ev.ID.Site) })
		if stated < 0 {
			stated = slices.IndexFunc(o.events, func(ev events.Event) bool {
				return slices.ContainsFunc(h.sites, func(to events.Site) bool { return is(ev, to) })
			})
		}
		if stated < 0 {
			return nil
		}
		ev := &o.events[stated]
		need[ev.ID.Site] = later(need[ev.ID.Site], ev.ID.Mark)
		return ev
	}, o.events)
	for _, sp := range o.registry {
		need[sp.site] = later(need[sp.site], sp.until)
	}
	for _, sp := range o.registry {
		if m := o.members[sp.site]; m != nil {
			m.left = false // who becomes the home is a member
		}
		for _, ev := range o.within([]span{sp}, o.events) {
			switch b := ev.Body.(type) {
			case events.SiteJoined:
				if o.members[b.Name] == nil {
					o.members[b.Name] = &membership{}
				}
			case events.SiteLeft:
				if m := o.members[b.Name]; m != nil && !m.left {
					*m = membership{true, later(b.CutOff, need[b.Name])}
				}
			}
		}
	}
	if m := o.members[o.registry[len(o.registry)-1].site]; m != nil {
		m.left = false // while it is home
	}
	for _, ev := range o.events {
		if m := o.members[ev.ID.Site]; m != nil && (!m.left || ev.ID.Mark.Compare(m.cut) <= 0) {
			o.counted = append(o.counted, ev)
		}
	}
	o.decided = o.within(o.registry, o.counted)
	for _, ev := range o.decided {
		if b, ok := ev.Body.(events.RepoCreated); ok {
			id := events.RepoID{EventID: ev.ID}
			o.repos[id] = o.repoSpans(id, b.Home)
		}
	}
	return o
}

func later(a, b events.Mark) events.Mark {
	if a.Compare(b) > 0 {
		return a
	}
	return b
}

// spans walks from the first home on: forced moves first, then what the home
// itself says while it is home.
func (o *oracle) spans(repo events.RepoID, first events.Site, forced func(n int) *events.Event, from []events.Event) []span {
	list := []span{{site: first}}
	for {
		n := len(list) - 1
		cur := &list[n]
		var next span
		if ev := forced(n); ev != nil {
			b := ev.Body.(events.HomeForced)
			cur.until, cur.forced = b.At, true
			next = span{site: b.To, after: b.After}
		} else {
			i := slices.IndexFunc(from, func(ev events.Event) bool {
				b, ok := ev.Body.(events.HomeCeded)
				return ok && b.Repo == repo && b.Tenure == n && cur.holds(ev)
			})
			if i < 0 {
				return list
			}
			b := from[i].Body.(events.HomeCeded)
			cur.until = from[i].ID.Mark
			next = span{site: b.To, after: b.After}
		}
		for _, old := range list {
			if old.site == next.site {
				next.after = later(next.after, old.until)
			}
		}
		list = append(list, next)
	}
}

func (s span) holds(ev events.Event) bool {
	m := ev.ID.Mark
	return ev.ID.Site == s.site && m.Compare(s.after) > 0 && (s.until.IsZero() && !s.forced || m.Compare(s.until) <= 0)
}

// within returns the events that lie in one of the spans, span by span.
func (o *oracle) within(spans []span, from []events.Event) (list []events.Event) {
	for _, sp := range spans {
		for _, ev := range from {
			if sp.holds(ev) {
				list = append(list, ev)
			}
		}
	}
	return list
}

func (o *oracle) repoSpans(id events.RepoID, first events.Site) []span {
	return o.spans(id, first, func(n int) *events.Event {
		for _, ev := range o.decided {
			if b, ok := ev.Body.(events.HomeForced); ok && b.Repo == id && b.Tenure == n {
				return &ev
			}
		}
		return nil
	}, o.counted)
}

func (o *oracle) repoHome(id events.RepoID) events.Site {
	if spans := o.repos[id]; len(spans) > 0 {
		return spans[len(spans)-1].site
	}
	return events.Site{}
}

// What readers see of a version, without what only people look at.
type versionAnswer struct {
	Status   events.Status
	Contents []contentAnswer
	Rejected []events.EventID
	Seen     map[events.Site]time.Time
}

type contentAnswer struct {
	ModH1, ZipH1 events.H1
	Info         string
	Zips         []events.Blob // sorted by digest
}

func (o *oracle) version(id events.RepoID, kind events.RepoKind, mv module.Version) versionAnswer {
	about := func(ev events.Event) bool { return ev.Body.Key(ev.ID) == events.KeyVersion(id, mv) }
	all := slices.DeleteFunc(slices.Clone(o.counted), func(ev events.Event) bool { return !about(ev) })
	spans := o.repos[id]
	v := versionAnswer{Seen: map[events.Site]time.Time{}}
	for _, ev := range all {
		if t, ok := v.Seen[ev.ID.Site]; !ok || ev.Time.Before(t) {
			v.Seen[ev.ID.Site] = ev.Time
		}
	}
	byHome := o.within(spans, all)
	if kind == events.Local {
		o.published(&v, spans, byHome, all)
	} else {
		o.filled(&v, all)
	}
	if slices.ContainsFunc(byHome, func(ev events.Event) bool { return ev.Type == "version.hidden" }) {
		v.Status = events.Hidden
	}
	if slices.ContainsFunc(o.decided, func(ev events.Event) bool { return about(ev) && ev.Type == "version.purged" }) {
		v.Status = events.Purged
	}
	return v
}

func (o *oracle) published(v *versionAnswer, spans []span, byHome, all []events.Event) {
	for _, ev := range byHome {
		b, ok := ev.Body.(events.VersionPublished)
		switch {
		case !ok:
		case len(v.Contents) == 0:
			v.Status = events.Held
			v.Contents = []contentAnswer{{b.ModH1, b.ZipH1, string(b.Info), []events.Blob{b.Zip}}}
		case v.Contents[0].ModH1 != b.ModH1 || v.Contents[0].ZipH1 != b.ZipH1:
			v.Rejected = append(v.Rejected, ev.ID)
		}
	}
	for _, ev := range all {
		for _, sp := range spans {
			if ev.Type == "version.published" && v.Status == events.Absent && sp.forced && sp.site == ev.ID.Site && ev.ID.Mark.Compare(sp.until) > 0 {
				v.Status = events.Undecided
			}
		}
	}
}

func (o *oracle) filled(v *versionAnswer, all []events.Event) {
	type identity struct{ mod, zip events.H1 }
	var zips, mods []events.VersionFilled
	for _, ev := range all {
		if b, ok := ev.Body.(events.VersionFilled); ok {
			if b.HasZip() {
				zips = append(zips, b)
			}
			if b.HasMod() {
				mods = append(mods, b)
			}
		}
	}
	answers := map[identity]*contentAnswer{}
	for _, b := range zips {
		answers[identity{b.ModH1, b.ZipH1}] = &contentAnswer{ModH1: b.ModH1, ZipH1: b.ZipH1}
	}
	for _, b := range mods {
		if !slices.ContainsFunc(zips, func(z events.VersionFilled) bool { return z.ModH1 == b.ModH1 }) {
			answers[identity{b.ModH1, events.H1{}}] = &contentAnswer{ModH1: b.ModH1}
		}
	}
	var settled *events.VersionSettled
	for _, ev := range o.within(o.registry, all) {
		if b, ok := ev.Body.(events.VersionSettled); ok {
			settled = &b
		}
	}
	for id, a := range answers {
		if settled != nil && (id.mod != settled.ModH1 || !settled.ZipH1.IsZero() && !id.zip.IsZero() && id.zip != settled.ZipH1) {
			delete(answers, id)
			continue
		}
		for _, b := range mods { // by site name: the first one's info is shown
			if b.ModH1 == id.mod && a.Info == "" {
				a.Info = string(b.Info)
			}
		}
		for _, b := range zips {
			if b.ModH1 == id.mod && b.ZipH1 == id.zip && !slices.Contains(a.Zips, b.Zip) {
				a.Zips = append(a.Zips, b.Zip)
			}
		}
	}
	for a := range maps.Values(answers) {
		v.Contents = append(v.Contents, *a)
	}
	v.normalise()
	v.Status = []events.Status{events.Absent, events.Held, events.Conflicted}[min(2, len(v.Contents))]
}

// normalise sorts what has no order that readers rely on.
func (v *versionAnswer) normalise() {
	for _, c := range v.Contents {
		slices.SortFunc(c.Zips, func(a, b events.Blob) int { return a.Digest.Compare(b.Digest) })
	}
	slices.SortFunc(v.Contents, func(a, b contentAnswer) int {
		return cmp.Or(slices.Compare(a.ModH1[:], b.ModH1[:]), slices.Compare(a.ZipH1[:], b.ZipH1[:]))
	})
}

// blocked reports whether some member's block is later than what the registry's
// homes cleared of that member.
func (o *oracle) blocked(mv module.Version) bool {
	for _, record := range []module.Version{{Path: mv.Path}, mv} {
		for _, ev := range o.counted {
			if ev.Type != "version.blocked" || ev.Body.Key(ev.ID) != events.KeyBlock(record) {
				continue
			}
			cleared := slices.ContainsFunc(o.decided, func(by events.Event) bool {
				b, ok := by.Body.(events.VersionUnblocked)
				return ok && by.Body.Key(by.ID) == events.KeyBlock(record) && slices.ContainsFunc(b.Clears, func(c events.Cleared) bool {
					return c.Site == ev.ID.Site && ev.ID.Mark.Compare(c.At) <= 0
				})
			})
			if !cleared {
				return true
			}
		}
	}
	return false
}

// seen returns when any member first saw each version of a module upstream.
func (o *oracle) seen(id events.RepoID, path string) map[string]time.Time {
	first := map[string]time.Time{}
	note := func(v string, t time.Time) {
		if old, ok := first[v]; !ok || t.Before(old) {
			first[v] = t
		}
	}
	settings, _ := o.settings(id)
	for _, ev := range o.counted {
		b, ok := ev.Body.(events.VersionSeen)
		if !ok || b.Repo != id || b.Module != path || len(settings.TimeSites) > 0 && !slices.Contains(settings.TimeSites, ev.ID.Site) {
			continue
		}
		for _, v := range b.Versions {
			note(v, ev.Time)
		}
	}
	for _, ev := range o.decided {
		if b, ok := ev.Body.(events.VersionDated); ok && b.Repo == id && b.Module == path {
			for i, v := range b.Versions {
				note(v, b.Times[i])
			}
		}
	}
	return first
}

// user returns the last statement about a user that exists, or nil.
func (o *oracle) user(name string) (last events.Body) {
	for _, ev := range o.decided {
		switch b := ev.Body.(type) {
		case events.UserCreated:
			if b.Name == name {
				last = b
			}
		case events.UserChanged:
			if b.Name == name && last != nil {
				last = b
			}
		case events.UserDeleted:
			if b.Name == name {
				last = nil
			}
		}
	}
	return last
}

// token reports whether a token was issued and nobody has revoked it.
func (o *oracle) token(id string) bool {
	is := func(t events.Type) func(events.Event) bool {
		return func(ev events.Event) bool { return ev.Type == t && ev.Body.Key(ev.ID).Bytes() == "t\x00"+id }
	}
	return slices.ContainsFunc(o.decided, is("token.issued")) && !slices.ContainsFunc(o.counted, is("token.revoked"))
}

// settings returns the settings of a repository that exists, and whether it does.
func (o *oracle) settings(id events.RepoID) (s events.RepoSettings, exists bool) {
	var kind events.RepoKind
	for _, ev := range o.decided {
		switch b := ev.Body.(type) {
		case events.RepoCreated:
			if ev.ID == id.EventID {
				s, kind, exists = b.Settings, b.Kind, true
			}
		case events.RepoChanged:
			if b.Repo == id && b.Kind == kind {
				s = b.Settings
			}
		case events.RepoDeleted:
			if b.Repo == id {
				exists = false
			}
		case events.RepoRestored:
			if b.Repo == id && !kind.IsZero() {
				exists = true
			}
		}
	}
	return s, exists
}
