package events

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"time"

	"golang.org/x/mod/module"
)

// Directory is what every other resolve stands on: who is a member and up to
// where its log counts, who is home for what and when, which repositories there
// are and what is blocked. It is small, held in memory, and never changed once
// made.
type Directory struct {
	Registry Digest   // the registry's id
	Homes    []Tenure // of the registry itself, first to last
	Level    int      // of event types that all members understand, at least 1; see LevelOf
	Recovery PublicKey

	// homesNeed are the last entries of each site that Homes rest on: no cut-off
	// takes them away.
	homesNeed map[Site]Mark
	// recoveries are those that count, by the tenure that they end.
	recoveries map[int]recovery

	sites  map[Site]Member
	repos  map[RepoID]*Repo
	names  map[RepoName]*Repo
	blocks map[module.Version]Block
	// wide are the blocks with wildcards, sorted; blocks has them, too.
	wide []wideBlock

	groups   map[string][]string // members, by the name of the group
	rules    map[string]Rule     // by name
	issuers  map[string]TrustedIssuer
	webhooks map[string]ActiveWebhook
}

type wideBlock struct {
	pattern VersionPattern
	block   Block
}

// Repo is what the registry says of a repository.
type Repo struct {
	ID       RepoID
	Name     RepoName
	Kind     RepoKind
	Settings RepoSettings
	Created  time.Time
	Changed  time.Time
	Deleted  bool
	Homes    []Tenure // first to last
}

// Home returns the site that decides about the repository's versions now.
func (r *Repo) Home() Site { return r.Homes[len(r.Homes)-1].Site }

// Block says that a module version may not be served, and why.
type Block struct {
	Module  string    `json:"module"`            // may have wildcards
	Version string    `json:"version,omitempty"` // may have wildcards; empty: all of the module
	Reason  string    `json:"reason"`
	Actor   string    `json:"actor,omitempty"`
	Site    Site      `json:"site"`
	At      Mark      `json:"at"`
	Time    time.Time `json:"time"`
}

// Records are the contributions to the records that a Directory is made of:
// those of DirectoryKinds.
type Records map[Key]Contributions

// directoryKinds are the kinds of record that a Directory is made of.
var directoryKinds = []Kind{KindRegistry, KindSite, KindRepo, KindBlock, KindGroup, KindPermission, KindIssuer, KindWebhook}

// DirectoryKinds returns the kinds of record that a Directory is made of.
func DirectoryKinds() []Kind { return slices.Clone(directoryKinds) }

// InDirectory reports whether records of this kind are part of the Directory.
func InDirectory(k Kind) bool { return slices.Contains(directoryKinds, k) }

// ResolveDirectory resolves the records that all others depend on. It is pure:
// the same registry and records give the same Directory.
func ResolveDirectory(registry Digest, recs Records) *Directory {
	d := &Directory{
		Registry: registry, Level: 1, homesNeed: map[Site]Mark{}, recoveries: map[int]recovery{},
		sites: map[Site]Member{}, repos: map[RepoID]*Repo{}, names: map[RepoName]*Repo{},
		blocks: map[module.Version]Block{}, groups: map[string][]string{}, rules: map[string]Rule{}, issuers: map[string]TrustedIssuer{},
		webhooks: map[string]ActiveWebhook{},
	}
	keys := slices.SortedFunc(maps.Keys(recs), func(a, b Key) int { return cmp.Compare(a.s, b.s) })
	d.resolveHomes(recs, keys)
	d.resolveSites(recs, keys)
	for _, f := range d.byRegistry(recs[KeyRegistry()]) {
		if b, ok := f.Body.(FeatureRaised); ok {
			d.Level = max(d.Level, b.Level)
		}
	}
	for _, k := range keys {
		switch k.Kind() {
		case KindRepo:
			d.resolveRepo(recs[k])
		case KindBlock:
			d.resolveBlock(recs[k])
		case KindGroup, KindPermission, KindIssuer, KindWebhook:
			d.resolveRights(recs[k])
		}
	}
	d.nameRepos()
	for _, b := range d.Blocks() {
		p := VersionPatternOf(module.Version{Path: b.Module, Version: b.Version})
		if _, exact := p.Exact(); !exact {
			d.wide = append(d.wide, wideBlock{p, b})
		}
	}
	return d
}

// resolveHomes finds the first site, whose joining event the registry's id
// proves, and walks the registry's homes from there. It looks at facts before
// any cut-off, since cut-offs are decided by homes.
func (d *Directory) resolveHomes(recs Records, keys []Key) {
	for _, k := range keys {
		if k.Kind() != KindSite {
			continue
		}
		for _, c := range recs[k] {
			for _, f := range c.Facts {
				b, ok := f.Body.(SiteJoined)
				if ok && b.Name == c.Site && !b.Genesis.IsZero() && RegistryID(b) == d.Registry {
					d.Recovery = b.Genesis.Recovery
					d.walkHomes(b.Name, recs[KeyRegistry()])
					return
				}
			}
		}
	}
}

func (d *Directory) walkHomes(first Site, cs Contributions) {
	need := func(s Site, m Mark) {
		if m.Compare(d.homesNeed[s]) > 0 {
			d.homesNeed[s] = m
		}
	}
	d.Homes = homes(first, cs.Of, func(n int) (HomeForced, bool) {
		r, ok := recovered(d.Registry, d.Recovery, cs, n)
		if ok {
			need(r.site, r.mark)
			d.recoveries[n] = r
		}
		return r.move, ok
	})
	for _, t := range d.Homes {
		need(t.Site, t.Until)
	}
}

func (d *Directory) resolveRepo(cs Contributions) {
	var r *Repo
	for site, f := range d.byRegistry(cs) {
		switch b := f.Body.(type) {
		case RepoCreated:
			id := RepoID{EventID{site, f.Mark, f.Index}}
			r = &Repo{ID: id, Name: b.Name, Kind: b.Kind, Settings: b.Settings, Created: f.Time, Changed: f.Time}
			forced := func(n int) (HomeForced, bool) { return d.forcedByRegistry(cs, n) }
			r.Homes = homes(b.Home, func(s Site) Contribution { return d.counted(s, cs.Of(s)) }, forced)
		case RepoChanged:
			if r != nil && b.Kind == r.Kind {
				r.Settings, r.Changed = b.Settings, f.Time
			}
		case RepoDeleted:
			if r != nil {
				r.Deleted = true
			}
		case RepoRestored:
			if r != nil {
				r.Deleted = false
			}
		}
	}
	if r != nil {
		d.repos[r.ID] = r
	}
}

func (d *Directory) forcedByRegistry(cs Contributions, n int) (HomeForced, bool) {
	for _, f := range d.byRegistry(cs) {
		if b, ok := f.Body.(HomeForced); ok && b.Tenure == n {
			return b, true
		}
	}
	return HomeForced{}, false
}

// nameRepos says which repository a name means: the one that exists, else the
// last that did. By construction one name has one existing repository; if a
// broken home made two, the first by id has it.
func (d *Directory) nameRepos() {
	ids := slices.SortedFunc(maps.Keys(d.repos), func(a, b RepoID) int { return a.Compare(b.EventID) })
	for _, id := range ids {
		r := d.repos[id]
		if old, ok := d.names[r.Name]; !ok || old.Deleted && (!r.Deleted || r.Created.After(old.Created)) {
			d.names[r.Name] = r
		}
	}
}

func (d *Directory) resolveBlock(cs Contributions) {
	cleared := map[Site]Mark{}
	for _, f := range d.byRegistry(cs) {
		if b, ok := f.Body.(VersionUnblocked); ok {
			for _, c := range b.Clears {
				if c.At.Compare(cleared[c.Site]) > 0 {
					cleared[c.Site] = c.At
				}
			}
		}
	}
	for site, f := range d.byMembers(cs) {
		b, ok := f.Body.(VersionBlocked)
		mv := module.Version{Path: b.Module, Version: b.Version}
		if _, has := d.blocks[mv]; ok && !has && f.Mark.Compare(cleared[site]) > 0 {
			d.blocks[mv] = Block{b.Module, b.Version, b.Reason, b.Actor, site, f.Mark, f.Time}
		}
	}
}

// Repo returns the repository with this id, deleted ones included, or nil.
func (d *Directory) Repo(id RepoID) *Repo { return d.repos[id] }

// RepoNamed returns the repository that the name means, deleted ones included,
// or nil.
func (d *Directory) RepoNamed(n RepoName) *Repo { return d.names[n] }

// Repos returns the repositories that exist, sorted by name.
func (d *Directory) Repos() []*Repo {
	var rs []*Repo
	for _, r := range d.names {
		if !r.Deleted {
			rs = append(rs, r)
		}
	}
	slices.SortFunc(rs, func(a, b *Repo) int { return a.Name.Compare(b.Name.s) })
	return rs
}

// AllRepos returns all repositories that ever were, sorted by id.
func (d *Directory) AllRepos() []*Repo {
	return slices.SortedFunc(maps.Values(d.repos), func(a, b *Repo) int { return a.ID.Compare(b.ID.EventID) })
}

// Home returns the site that decides for the registry now; the zero Site if the
// records don't hold the registry's first event.
func (d *Directory) Home() Site {
	if len(d.Homes) == 0 {
		return Site{}
	}
	return d.Homes[len(d.Homes)-1].Site
}

// Blocked returns the block that forbids mv, and whether there is one.
func (d *Directory) Blocked(mv module.Version) (Block, bool) {
	if b, ok := d.blocks[module.Version{Path: mv.Path}]; ok {
		return b, true
	}
	if b, ok := d.blocks[mv]; ok {
		return b, true
	}
	for _, w := range d.wide {
		if w.pattern.Match(mv) {
			return w.block, true
		}
	}
	return Block{}, false
}

// Blocks returns all blocks, sorted by module path and version.
func (d *Directory) Blocks() []Block {
	return slices.SortedFunc(maps.Values(d.blocks), func(a, b Block) int {
		return cmp.Or(cmp.Compare(a.Module, b.Module), cmp.Compare(a.Version, b.Version))
	})
}

// Owner returns the existing local repository that owns a module path: the
// first by name, or nil.
func (d *Directory) Owner(path string) *Repo {
	var owner *Repo
	for _, r := range d.names {
		if r.Deleted || !MatchAny(r.Settings.Owns, path) {
			continue
		}
		if owner == nil || r.Name.Compare(owner.Name.s) < 0 {
			owner = r
		}
	}
	return owner
}

// byMembers yields the facts of all members up to their cut-offs, by site name,
// then in log order.
func (d *Directory) byMembers(cs Contributions) iter.Seq2[Site, Fact] {
	return func(yield func(Site, Fact) bool) {
		for _, c := range cs {
			for _, f := range d.counted(c.Site, c.Facts) {
				if !yield(c.Site, f) {
					return
				}
			}
		}
	}
}

// byRegistry yields the facts that the registry's homes stated in their
// tenures, oldest tenure first.
func (d *Directory) byRegistry(cs Contributions) iter.Seq2[Site, Fact] {
	return d.byHomes(d.Homes, cs)
}

// byHomes yields the facts that homes stated in their tenures and before their
// cut-offs, oldest tenure first.
func (d *Directory) byHomes(homes []Tenure, cs Contributions) iter.Seq2[Site, Fact] {
	return func(yield func(Site, Fact) bool) {
		for site, f := range tenured(homes, cs) {
			if d.counts(site, f.Mark) && !yield(site, f) {
				return
			}
		}
	}
}

// tenured yields the facts that lie in a tenure, oldest tenure first.
func tenured(homes []Tenure, cs Contributions) iter.Seq2[Site, Fact] {
	return func(yield func(Site, Fact) bool) {
		for _, t := range homes {
			for _, f := range cs.Of(t.Site) {
				if t.Holds(f.Mark) && !yield(t.Site, f) {
					return
				}
			}
		}
	}
}
