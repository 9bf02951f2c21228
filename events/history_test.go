package events_test

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
)

// A history is what the sites of one registry wrote, at random but the same for
// the same seed: mostly what an honest site would, else what it has no right to.
type history struct {
	rng      *rand.Rand
	registry events.Digest
	founder  events.Site
	sites    []events.Site // sorted; all have a log, not all become members
	logs     map[events.Site][]events.Event
	now      int // seconds of all clocks
	// signed are the forced moves of the registry that the recovery key signed.
	signed map[events.EventID]bool
	repos  []events.RepoID // of all repo.created, whoever wrote them
	view   *oracle         // who is home for what; nil after what may have changed that
}

const operator = 99 // whose signer is the recovery key

var (
	siteNames = []events.Site{site("a"), site("b"), site("c"), site("d"), site("e")}
	repoNames = []events.RepoName{repoName("one"), repoName("two"), repoName("three")}
	modules   = []module.Version{
		modVersion("m.test/a", "v1.0.0"), modVersion("m.test/a", "v1.1.0"),
		modVersion("m.test/b/v2", "v2.0.0"), modVersion("m.test/c", "v0.0.0-20260301120000-abcdefabcdef"),
	}
	users = []string{"ann", "bob"}
)

func newHistory(seed uint64) *history {
	h := &history{rng: rand.New(rand.NewPCG(seed, 0)), logs: map[events.Site][]events.Event{}, signed: map[events.EventID]bool{}}
	h.sites = slices.Clone(siteNames)
	h.rng.Shuffle(len(h.sites), func(i, j int) { h.sites[i], h.sites[j] = h.sites[j], h.sites[i] })
	h.sites = h.sites[:2+h.rng.IntN(4)]
	h.founder = h.sites[0]
	slices.SortFunc(h.sites, func(a, b events.Site) int { return a.Compare(b.String()) })
	first := events.SiteJoined{Name: h.founder, PublicKey: public(0), Genesis: events.Genesis{Nonce: make([]byte, 32), Recovery: public(operator)}}
	h.registry = events.RegistryID(first)
	h.append(h.founder, first)
	for _, s := range h.sites {
		if s != h.founder && h.chance(0.8) {
			h.append(h.founder, events.SiteJoined{Name: s, PublicKey: public(1), Addresses: []string{"x.test"}})
		}
	}
	for range 2 {
		h.append(h.founder, h.repoCreated())
	}
	for range 20 + h.rng.IntN(80) {
		h.step()
	}
	return h
}

func (h *history) chance(p float64) bool { return h.rng.Float64() < p }

func pick[T any](h *history, list []T) T { return list[h.rng.IntN(len(list))] }

// append adds an event to a site's log: in the entry before it, or in a new one.
func (h *history) append(s events.Site, b events.Body) {
	log := h.logs[s]
	ev := events.Event{ID: events.EventID{Site: s, Mark: events.Mark{Epoch: 1, Seq: 1}}, Type: b.Type(), Body: b}
	ev.Data = must(events.EncodeBody(b))
	h.now += h.rng.IntN(3)
	ev.Time = at(h.now)
	if n := len(log); n > 0 {
		last := log[n-1]
		ev.ID.Mark = last.ID.Mark
		switch {
		case h.chance(0.3):
			ev.ID.Index, ev.Time = last.ID.Index+1, last.Time
		case h.chance(0.03):
			ev.ID.Mark = events.Mark{Epoch: last.ID.Mark.Epoch + 1, Seq: last.ID.Mark.Seq + 1}
		default:
			ev.ID.Mark.Seq++
		}
	}
	h.logs[s] = append(log, ev)
	switch b := b.(type) {
	case events.RepoCreated:
		h.repos = append(h.repos, events.RepoID{EventID: ev.ID})
		h.view = nil
	case events.HomeForced:
		h.signed[ev.ID] = b.Repo.IsZero() && b.Reason == "signed"
		h.view = nil
	case events.HomeCeded, events.SiteJoined, events.SiteLeft:
		h.view = nil
	}
}

// by returns the site that should decide, or sometimes another.
func (h *history) by(home events.Site) events.Site {
	if h.chance(0.2) || home.IsZero() {
		return pick(h, h.sites)
	}
	return home
}

func (h *history) step() {
	if h.view == nil {
		h.view = newOracle(h)
	}
	o := h.view
	registry := h.by(o.registry[len(o.registry)-1].site)
	anyone := pick(h, h.sites)
	repo := pick(h, h.repos)
	home := h.by(o.repoHome(repo))
	mv := pick(h, modules)
	of := events.Of(repo, mv)
	c := h.content()
	name := pick(h, users)
	switch n := h.rng.IntN(100); {
	case n < 3:
		h.append(registry, h.repoCreated())
	case n < 5:
		kind := pick(h, []events.RepoKind{events.Local, events.Local, events.Remote})
		h.append(registry, events.RepoChanged{Repo: repo, Kind: kind, Settings: h.settings(kind)})
	case n < 7:
		h.append(registry, events.RepoDeleted{Repo: repo})
	case n < 9:
		h.append(registry, events.RepoRestored{Repo: repo})
	case n < 11:
		b := events.PropertiesChanged{ModuleVersion: of, File: pick(h, []string{events.ZipFile, events.ModFile}), Set: []events.Property{{Key: "k", Values: []string{fmt.Sprint(h.now)}}}}
		if h.chance(0.3) {
			b.Set, b.Remove = nil, []string{"k"}
		}
		h.append(home, b)
	case n < 13:
		h.append(anyone, events.BuildRecorded{BuildName: build("7"), Started: at(h.rng.IntN(3)), Info: c.Zip})
	case n < 14:
		h.append(registry, events.BuildDeleted{BuildName: build("7"), Clears: h.clears()})
	case n < 24:
		h.append(home, events.VersionPublished{ModuleVersion: of, Content: c, Actor: name})
	case n < 26:
		h.append(home, events.VersionHidden{ModuleVersion: of})
	case n < 41:
		h.append(anyone, events.VersionFilled{ModuleVersion: of, Content: h.part(c), Upstream: "https://p.test"})
	case n < 42:
		versions := h.versions()
		times := make([]time.Time, len(versions))
		for i := range times {
			times[i] = at(h.rng.IntN(h.now + 9))
		}
		h.append(registry, events.VersionDated{Repo: repo, Module: "m.test/a", Versions: versions, Times: times})
	case n < 45:
		h.append(anyone, events.VersionSeen{Repo: repo, Module: "m.test/a", Versions: h.versions()})
	case n < 49:
		h.append(anyone, events.VersionBlocked{Module: mv.Path, Version: h.maybe(mv.Version), Reason: "malware"})
	case n < 52:
		h.append(registry, events.VersionUnblocked{Module: mv.Path, Version: h.maybe(mv.Version), Clears: h.clears()})
	case n < 53 && h.chance(0.3):
		h.append(registry, events.VersionPurged{ModuleVersion: of, Reason: "leak"})
	case n < 54:
		b := events.VersionSettled{ModuleVersion: of, ModH1: c.ModH1}
		if h.chance(0.7) {
			b.ZipH1 = c.ZipH1
		}
		h.append(registry, b)
	case n < 57:
		h.append(registry, events.UserCreated{Name: name, User: events.User{Display: fmt.Sprint(n, h.now)}})
	case n < 59:
		h.append(registry, events.UserChanged{Name: name, User: events.User{Disabled: true, Display: fmt.Sprint(h.now)}})
	case n < 61:
		h.append(registry, events.UserDeleted{Name: name})
	case n < 63:
		h.append(registry, events.GroupChanged{Name: "devs", Members: []string{name}})
	case n < 64:
		h.append(registry, events.GroupDeleted{Name: "devs"})
	case n < 66:
		h.append(registry, events.PermissionChanged{Name: "rule", Grant: events.Grant{Principals: []string{"user:" + name}, Actions: []string{"read"}}})
	case n < 67:
		h.append(registry, events.PermissionDeleted{Name: "rule"})
	case n < 69:
		h.append(registry, events.TokenIssued{ID: "t", User: name, Hash: events.DigestOf([]byte(name))})
	case n < 70 && h.chance(0.4):
		h.append(registry, login(pick(h, []string{"sso", "forge"})))
	case n < 70 && h.chance(0.3):
		h.append(registry, events.IssuerDeleted{Name: "sso"})
	case n < 70 && h.chance(0.2):
		h.append(registry, hook(pick(h, []string{"chat", "ci"})))
	case n < 70 && h.chance(0.2):
		h.append(registry, events.WebhookDeleted{Name: "chat"})
	case n < 70:
		h.append(anyone, events.TokenRevoked{ID: "t"})
	case n < 72:
		h.append(registry, events.SiteInvited{Name: pick(h, siteNames), Secret: events.DigestOf(nil), Expires: at(h.now)})
	case n < 75:
		h.append(registry, events.SiteJoined{Name: pick(h, siteNames), PublicKey: public(byte(h.rng.IntN(3)))})
	case n < 76:
		h.append(registry, events.SiteChanged{Name: pick(h, siteNames), Addresses: []string{fmt.Sprint(h.now, ".test")}})
	case n < 78:
		h.append(registry, events.SiteKey{Name: anyone, PublicKey: public(3), After: h.mark(anyone)})
	case n < 81:
		h.append(registry, events.SiteLeft{Name: anyone, CutOff: h.mark(anyone)})
	case n < 83:
		h.append(registry, events.FeatureRaised{Level: 1 + h.rng.IntN(5)})
	case n < 84:
		h.append(anyone, events.LogContinued{Site: pick(h, h.sites), Base: events.Mark{Epoch: 1, Seq: 1}})
	case n < 92:
		h.move(o, repo, home, registry)
	default:
		h.move(o, events.RepoID{}, registry, anyone)
	}
}

// move lets a home cede, or another site force, the home of a repository or, with
// none, of the registry. The tenure is mostly the one that lasts.
func (h *history) move(o *oracle, repo events.RepoID, home, forcer events.Site) {
	spans := o.registry
	if !repo.IsZero() {
		spans = o.repos[repo]
	}
	tenure := max(0, len(spans)-1)
	if h.chance(0.1) {
		tenure = h.rng.IntN(tenure + 2)
	}
	to := pick(h, h.sites)
	after := h.mark(to)
	if h.chance(0.6) {
		after = h.end(to)
	}
	if h.chance(0.6) {
		h.append(home, events.HomeCeded{Repo: repo, Tenure: tenure, To: to, After: after})
		return
	}
	lost := home
	if tenure < len(spans) {
		lost = spans[tenure].site
	}
	b := events.HomeForced{Repo: repo, Tenure: tenure, At: h.mark(lost), To: to, After: after}
	if b.At.IsZero() && repo.IsZero() && tenure == 0 || h.forced(forcer, repo, tenure) >= 4 {
		return
	}
	switch {
	case !repo.IsZero():
	case h.chance(0.5):
		b.Reason = "signed"
		b.Signature = ed25519.Sign(signer(operator), events.ForcedText(h.registry, b))
	case h.chance(0.5):
		b.Reason = "another's key"
		b.Signature = ed25519.Sign(signer(1), events.ForcedText(h.registry, b))
	default:
		b.Reason = "signed for another place"
		b.Signature = ed25519.Sign(signer(operator), events.ForcedText(h.registry, b))
		b.At.Epoch, b.At.Seq = max(1, b.At.Epoch), b.At.Seq+1
	}
	h.append(forcer, b)
}

func (h *history) forced(s events.Site, repo events.RepoID, tenure int) (n int) {
	for _, ev := range h.logs[s] {
		if b, ok := ev.Body.(events.HomeForced); ok && b.Repo == repo && b.Tenure == tenure {
			n++
		}
	}
	return n
}

// end returns the last mark of a site's log, mark one of them or the zero Mark.
func (h *history) end(s events.Site) events.Mark {
	if log := h.logs[s]; len(log) > 0 {
		return log[len(log)-1].ID.Mark
	}
	return events.Mark{}
}

func (h *history) mark(s events.Site) events.Mark {
	if log := h.logs[s]; len(log) > 0 && h.chance(0.9) {
		return pick(h, log).ID.Mark
	}
	return events.Mark{}
}

func (h *history) repoCreated() events.RepoCreated {
	kind := pick(h, []events.RepoKind{events.Local, events.Local, events.Remote, events.Remote, events.Virtual})
	return events.RepoCreated{Name: pick(h, repoNames), Kind: kind, Home: pick(h, h.sites), Settings: h.settings(kind)}
}

// settings returns random settings that a repository of this kind may have.
func (h *history) settings(kind events.RepoKind) events.RepoSettings {
	s := events.RepoSettings{Description: fmt.Sprint("at ", h.now)}
	switch kind {
	case events.Local:
		s.Owns = []events.Pattern{pick(h, []events.Pattern{pattern("m.test/**"), pattern("m.test/a"), pattern("*/b")})}
	case events.Remote:
		s.Upstream, s.Sumdb = "https://p.test", "off"
	case events.Virtual:
		s.Members = []events.RepoName{repoNames[0], repoNames[1]}
	}
	return s
}

// content returns one of three contents, the zip in one of two byte forms and
// the info as the site might have it.
func (h *history) content() events.Content {
	c := content(byte(1 + h.rng.IntN(3)))
	if h.chance(0.3) {
		c.ModH1, c.Mod = content(4).ModH1, content(4).Mod // one go.mod, several zips
	}
	if h.chance(0.2) {
		c.Zip.Digest[0] ^= 1
	}
	c.Info = fmt.Appendf(nil, `{"at":%d}`, h.rng.IntN(2))
	return c
}

func (h *history) part(c events.Content) events.Content {
	return []func(events.Content) events.Content{modOnly, zipOnly, func(c events.Content) events.Content { return c }}[h.rng.IntN(3)](c)
}

func (h *history) maybe(version string) string {
	if h.chance(0.3) {
		return ""
	}
	return version
}

func (h *history) versions() []string {
	all := []string{"v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0"}
	from := h.rng.IntN(len(all))
	return all[from : from+1+h.rng.IntN(len(all)-from)]
}

func (h *history) clears() (list []events.Cleared) {
	for _, s := range h.sites {
		if m := h.mark(s); !m.IsZero() && h.chance(0.7) {
			list = append(list, events.Cleared{Site: s, At: m})
		}
	}
	if len(list) == 0 {
		list = []events.Cleared{{Site: h.founder, At: events.Mark{Epoch: 1, Seq: 1}}}
	}
	return list
}

// delivery returns all events in an order that keeps that of each log, with
// events that come again after they, or later ones, have come.
func (h *history) delivery(rng *rand.Rand) []events.Event {
	type cursor struct {
		log  []events.Event
		next int
	}
	var open []*cursor
	for _, s := range h.sites {
		if log := h.logs[s]; len(log) > 0 {
			open = append(open, &cursor{log: log})
		}
	}
	var out []events.Event
	for len(open) > 0 {
		i := rng.IntN(len(open))
		c := open[i]
		for range 1 + rng.IntN(4) { // logs come in runs
			if c.next < len(c.log) {
				out = append(out, c.log[c.next])
				c.next++
			}
		}
		if rng.Float64() < 0.1 { // a reader starts again from an older cursor
			out = append(out, c.log[rng.IntN(c.next):c.next]...)
		}
		if c.next == len(c.log) {
			open = slices.Delete(open, i, i+1)
		}
	}
	return out
}

// entries returns the site's log as signed entries.
func (h *history) entries(s events.Site) (list []events.Entry, err error) {
	prev := h.registry
	for i := 0; i < len(h.logs[s]); {
		d := events.Draft{Registry: h.registry, Site: s, Mark: h.logs[s][i].ID.Mark, Time: h.logs[s][i].Time, Prev: prev}
		for ; i < len(h.logs[s]) && h.logs[s][i].ID.Mark == d.Mark; i++ {
			d.Bodies = append(d.Bodies, h.logs[s][i].Body)
		}
		e, err := d.Seal(signer(1))
		if err != nil {
			return nil, err
		}
		list, prev = append(list, e), e.Position.Hash
	}
	return list, nil
}
