package events

import (
	"cmp"
	"slices"
	"time"
)

// Status says what a reader may be told about a version.
type Status int

// The states of a version.
const (
	// Absent: no log says that the version is there. In a local repository it
	// does not exist; in a remote one the upstream may have it.
	Absent Status = iota
	// Held: Version.Content holds.
	Held
	// Hidden: deleted. The name stays burnt.
	Hidden
	// Conflicted: sites filled it with different content, and nobody has
	// settled which is right. Version.Contents has all of them.
	Conflicted
	// Undecided: a former home published it after a forced end of its tenure,
	// and the new home has not decided about it yet.
	Undecided
	// Purged: its bytes had to go, at every site and for ever. Version.Purged says
	// why; Version.Contents what there was.
	Purged
)

func (s Status) String() string {
	return [...]string{"absent", "held", "hidden", "conflicted", "undecided", "purged"}[s]
}

// Source says where content comes from: the event and its time.
type Source struct {
	Event EventID
	Time  time.Time
	Actor string
	// Upstream is where a fill came from, empty for a publish.
	Upstream string
}

// Held content of a version, joined from all facts that state it.
type HeldContent struct {
	Content
	// Zips are the addresses of the zip, one per byte form, by first site.
	Zips []Blob
	// ZipSources say for each of Zips who stated it first.
	ZipSources []Source
	First      Source // of the parts, the first by site name and log order
}

// StatedBy returns the first site, by name, to state all that there is of the
// content: that of its zip, if it has one, as who states a zip states the go.mod's
// hash with it. If the content is wrong, it is this site's word that was.
func (c *HeldContent) StatedBy() Site {
	if len(c.ZipSources) > 0 {
		return c.ZipSources[0].Event.Site
	}
	return c.First.Event.Site
}

// ZipStatedBy returns the first site to state that b, one of Zips, is the zip.
func (c *HeldContent) ZipStatedBy(b Blob) Site {
	if i := slices.Index(c.Zips, b); i >= 0 {
		return c.ZipSources[i].Event.Site
	}
	return c.StatedBy()
}

// Version is what a reader sees of a module version in a repository.
type Version struct {
	Status   Status
	Contents []HeldContent // one if Held, several if Conflicted, what there was if Hidden
	// Rejected are contents that a home published although the version had
	// another one already: evidence, never served.
	Rejected []Source
	// Settled is what the registry's home decided about different fills, or nil.
	// Only content that fits it is among Contents; there may be none yet.
	Settled *VersionSettled
	// Purged is why the bytes had to go, or nil, and PurgedAt since when.
	Purged   *VersionPurged
	PurgedAt time.Time
	// Seen is the earliest time at which each site stated something about the
	// version, by site.
	Seen []SeenAt
}

// SeenAt is when a site first stated something about a version, by its clock.
type SeenAt struct {
	Site Site
	Time time.Time
}

// Content returns the one content of a version that is Held.
func (v *Version) Content() HeldContent { return v.Contents[0] }

// ResolveVersion resolves the record of one version in repository r.
func (d *Directory) ResolveVersion(r *Repo, cs Contributions) Version {
	var v Version
	if r.Kind == Local {
		d.resolvePublished(&v, r, cs)
	} else {
		d.resolveFilled(&v, cs)
	}
	for _, f := range d.byHomes(r.Homes, cs) {
		if _, ok := f.Body.(VersionHidden); ok {
			v.Status = Hidden
		}
	}
	for _, f := range d.byRegistry(cs) {
		if b, ok := f.Body.(VersionPurged); ok && v.Purged == nil {
			v.Status, v.Purged, v.PurgedAt = Purged, &b, f.Time
		}
	}
	for site, f := range d.byMembers(cs) {
		if n := len(v.Seen); n == 0 || v.Seen[n-1].Site != site {
			v.Seen = append(v.Seen, SeenAt{site, f.Time})
		}
	}
	return v
}

// resolvePublished takes the first content that a home published in its tenure.
func (d *Directory) resolvePublished(v *Version, r *Repo, cs Contributions) {
	for site, f := range d.byHomes(r.Homes, cs) {
		b, ok := f.Body.(VersionPublished)
		if !ok {
			continue
		}
		src := sourceOf(site, f, b.Actor, "")
		if v.Status == Absent {
			v.Status = Held
			v.Contents = []HeldContent{{b.Content, []Blob{b.Zip}, []Source{src}, src}}
		} else if c := v.Contents[0]; c.ModH1 != b.ModH1 || c.ZipH1 != b.ZipH1 {
			v.Rejected = append(v.Rejected, src)
		}
	}
	if v.Status == Absent && d.publishedLate(r, cs) {
		v.Status = Undecided
	}
}

// publishedLate reports whether a home that was given up published after the
// place at which its tenure was ended.
func (d *Directory) publishedLate(r *Repo, cs Contributions) bool {
	for _, t := range r.Homes {
		if !t.Forced {
			continue
		}
		for _, f := range d.counted(t.Site, cs.Of(t.Site)) {
			if _, ok := f.Body.(VersionPublished); ok && f.Mark.Compare(t.Until) > 0 {
				return true
			}
		}
	}
	return false
}

// resolveFilled joins the fills of all members into contents, one per identity.
// A part that fits several contents (a go.mod alone) goes to all of them.
func (d *Directory) resolveFilled(v *Version, cs Contributions) {
	for site, f := range d.byMembers(cs) {
		if b, ok := f.Body.(VersionFilled); ok && b.HasZip() {
			content(v, b.ModH1, b.ZipH1).joinZip(site, f, b)
		}
	}
	for site, f := range d.byMembers(cs) {
		b, ok := f.Body.(VersionFilled)
		if !ok || !b.HasMod() {
			continue
		}
		joined := false
		for i := range v.Contents {
			if v.Contents[i].ModH1 == b.ModH1 {
				v.Contents[i].joinMod(site, f, b)
				joined = true
			}
		}
		if !joined {
			content(v, b.ModH1, H1{}).joinMod(site, f, b)
		}
	}
	if s := d.settled(cs); s != nil {
		v.Settled = s
		v.Contents = slices.DeleteFunc(v.Contents, func(c HeldContent) bool {
			return c.ModH1 != s.ModH1 || !s.ZipH1.IsZero() && c.HasZip() && c.ZipH1 != s.ZipH1
		})
	}
	switch len(v.Contents) {
	case 0:
	case 1:
		v.Status = Held
	default:
		v.Status = Conflicted
	}
}

// content returns the content with this identity among those of v, where it adds
// it if it is not there yet.
func content(v *Version, mod, zip H1) *HeldContent {
	i := slices.IndexFunc(v.Contents, func(c HeldContent) bool { return c.ModH1 == mod && c.ZipH1 == zip })
	if i < 0 {
		i = len(v.Contents)
		v.Contents = append(v.Contents, HeldContent{Content: Content{ModH1: mod, ZipH1: zip}})
	}
	return &v.Contents[i]
}

// joinZip adds an address of the zip: the first is that of the first site by
// name.
func (c *HeldContent) joinZip(site Site, f Fact, b VersionFilled) {
	c.joinSource(site, f, b)
	if len(c.Zips) == 0 {
		c.Zip = b.Zip
	}
	if !slices.Contains(c.Zips, b.Zip) {
		c.Zips = append(c.Zips, b.Zip)
		c.ZipSources = append(c.ZipSources, sourceOf(site, f, "", b.Upstream))
	}
}

// joinMod takes the info and go.mod of the first site by name.
func (c *HeldContent) joinMod(site Site, f Fact, b VersionFilled) {
	c.joinSource(site, f, b)
	if !c.HasMod() {
		c.Info, c.Mod, c.ModBlob = b.Info, b.Mod, b.ModBlob
	}
}

func (c *HeldContent) joinSource(site Site, f Fact, b VersionFilled) {
	src := sourceOf(site, f, "", b.Upstream)
	if c.First.Event.IsZero() || src.Event.Compare(c.First.Event) < 0 {
		c.First, c.Sumdb = src, b.Sumdb
	}
}

func (d *Directory) settled(cs Contributions) (last *VersionSettled) {
	for _, f := range d.byRegistry(cs) {
		if b, ok := f.Body.(VersionSettled); ok {
			last = &b
		}
	}
	return last
}

func sourceOf(site Site, f Fact, actor, upstream string) Source {
	return Source{EventID{site, f.Mark, f.Index}, f.Time, actor, upstream}
}

// ResolveSeen resolves the record of the versions that upstreams of repository r
// showed of a module: each version with the earliest time at which a site saw it
// whose time counts there, or that the registry's home stated, unsorted.
func (d *Directory) ResolveSeen(r *Repo, cs Contributions) map[string]time.Time {
	all := map[string]time.Time{}
	note := func(v string, t time.Time) {
		if old, ok := all[v]; !ok || t.Before(old) {
			all[v] = t
		}
	}
	for _, c := range cs {
		if !r.Settings.TimeCounts(c.Site) {
			continue
		}
		for v, t := range firstTimes(d.counted(c.Site, c.Facts)) {
			note(v, t)
		}
	}
	for _, f := range d.byRegistry(cs) {
		if b, ok := f.Body.(VersionDated); ok {
			for i, v := range b.Versions {
				note(v, b.Times[i])
			}
		}
	}
	return all
}

// FirstSeen returns the earliest time at which a site stated something about the
// version whose time counts in repository r; zero if none has.
func (v *Version) FirstSeen(r *Repo) time.Time {
	var t time.Time
	for _, s := range v.Seen {
		if r.Settings.TimeCounts(s.Site) && (t.IsZero() || s.Time.Before(t)) {
			t = s.Time
		}
	}
	return t
}

// Identity is what the registry says of a user, group, rule, token or issuer.
type Identity struct {
	Body    Body      // the last statement: UserChanged, GroupChanged, …, TokenIssued
	Time    time.Time // of the last statement
	Created time.Time // when it came to be, last, by the clock of who said so
	// Since is the event by which it came to be, last: what was issued to a user of
	// that name before that is not this user's.
	Since   Order
	Deleted bool // or, of a token, revoked
	// Enabled is the event since which a user may sign in, last: Since, or what ended
	// that the user was disabled. Of one who is disabled it says when that was before.
	Enabled Order
}

// Order is the place of an event among all that the registry's homes said. Clocks
// have no part in it.
type Order struct {
	Tenure int // of the registry's, counted from 0
	Event  EventID
}

// Compare orders events by tenure, then by place in the log of the tenure's site.
func (o Order) Compare(p Order) int {
	return cmp.Or(cmp.Compare(o.Tenure, p.Tenure), o.Event.Mark.Compare(p.Event.Mark), cmp.Compare(o.Event.Index, p.Event.Index))
}

// orderOf returns the place of a fact that a home of the registry stated in its
// tenure.
func (d *Directory) orderOf(site Site, f Fact) Order {
	tenure := slices.IndexFunc(d.Homes, func(t Tenure) bool { return t.Site == site && t.Holds(f.Mark) })
	return Order{tenure, EventID{site, f.Mark, f.Index}}
}

// ResolveIdentity resolves the record of a user, group, rule, token, issuer or webhook; ok is
// false if the registry's homes never made it. A revocation of a token counts
// from any member and for ever.
func (d *Directory) ResolveIdentity(cs Contributions) (id Identity, ok bool) {
	for site, f := range d.byRegistry(cs) {
		switch f.Body.(type) {
		case UserDeleted, GroupDeleted, PermissionDeleted, IssuerDeleted, WebhookDeleted:
			id.Deleted = true
		case UserChanged:
			if ok && !id.Deleted { // what does not exist is created, not changed
				if disables(id.Body) && !disables(f.Body) {
					id.Enabled = d.orderOf(site, f)
				}
				id.Body, id.Time = f.Body, f.Time
			}
		case TokenIssued:
			if !ok {
				id, ok = Identity{Body: f.Body, Time: f.Time, Created: f.Time, Since: d.orderOf(site, f)}, true
			}
		case UserCreated, GroupChanged, PermissionChanged, IssuerChanged, WebhookChanged:
			if !ok || id.Deleted {
				id.Created, id.Since = f.Time, d.orderOf(site, f)
				id.Enabled = id.Since
			} else if disables(id.Body) && !disables(f.Body) {
				id.Enabled = d.orderOf(site, f)
			}
			id.Body, id.Time, id.Deleted, ok = f.Body, f.Time, false, true
		}
	}
	if !ok {
		return Identity{}, false
	}
	for _, f := range d.byMembers(cs) {
		if _, is := f.Body.(TokenRevoked); is {
			id.Deleted = true
		}
	}
	return id, true
}

// disables reports whether a statement says that a user can't sign in.
func disables(b Body) bool {
	switch b := b.(type) {
	case UserCreated:
		return b.Disabled
	case UserChanged:
		return b.Disabled
	}
	return false
}
