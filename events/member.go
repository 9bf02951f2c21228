package events

import (
	"iter"
	"maps"
	"slices"
	"time"
)

// Member is what the registry says of a site.
type Member struct {
	Name        Site
	Invited     Invitation // the last one; zero once it has joined
	Joined      Position   // of the joining event's entry; zero Mark: only invited
	Keys        []SiteKeyAt
	Addresses   []string
	Certificate Digest
	Left        bool
	CutOff      Mark // if Left: what follows in its log counts nowhere
}

// Invitation lets who proves a secret join under the name it was made for.
type Invitation struct {
	Secret  Digest    // SHA-256 of the secret
	Expires time.Time // UTC
}

// SiteKeyAt is a key of a site and the place in its log after which it signs.
type SiteKeyAt struct {
	Key   PublicKey
	After Mark
}

// Key returns the key that signs the entry at m.
func (s Member) Key(m Mark) PublicKey {
	var k PublicKey
	for _, sk := range s.Keys {
		if m.Compare(sk.After) > 0 {
			k = sk.Key
		}
	}
	return k
}

func (d *Directory) resolveSites(recs Records, keys []Key) {
	for _, k := range keys {
		if k.Kind() != KindSite {
			continue
		}
		m := resolveMember(d.Homes, recs[k])
		if !m.Name.IsZero() {
			d.sites[m.Name] = m
		}
	}
	for site, m := range d.sites {
		if !m.Left {
			continue
		}
		// Homes are decided first, cut-offs second. A site that is home can't leave,
		// and what homes rest on stays, or a cut-off could undo who decided it.
		m.Left = site != d.Home()
		if need := d.homesNeed[site]; need.Compare(m.CutOff) > 0 {
			m.CutOff = need
		}
		d.sites[site] = m
	}
}

// resolveMember applies what the registry's homes stated of a site. A site that
// becomes the home after it left has not left: a home that is lost to an
// attacker can't keep others from its place by removing them before.
func resolveMember(homes []Tenure, cs Contributions) (m Member) {
	for i, t := range homes {
		if t.Site == m.Name {
			m.Left, m.CutOff = false, Mark{}
		}
		for site, f := range tenured(homes[i:i+1], cs) {
			m.apply(site, f)
		}
	}
	return m
}

// apply adds a fact of the registry's home to what is known of a site. A name
// that has joined once is burnt: it can't join again, nor be invited.
func (m *Member) apply(site Site, f Fact) {
	switch b := f.Body.(type) {
	case SiteInvited:
		if len(m.Keys) == 0 {
			m.Name, m.Invited = b.Name, Invitation{b.Secret, b.Expires}
		}
	case SiteJoined:
		if len(m.Keys) == 0 {
			m.Name, m.Addresses, m.Certificate = b.Name, b.Addresses, b.Certificate
			m.Invited = Invitation{}
			m.Keys = []SiteKeyAt{{Key: b.PublicKey}}
			m.Joined = Position{Site: site, Mark: f.Mark}
		}
	case SiteChanged:
		if len(m.Keys) > 0 {
			m.Addresses, m.Certificate = b.Addresses, b.Certificate
		}
	case SiteKey:
		if n := len(m.Keys); n > 0 && m.Keys[n-1].After.Compare(b.After) < 0 {
			m.Keys = append(m.Keys, SiteKeyAt{b.PublicKey, b.After})
		}
	case SiteLeft:
		if len(m.Keys) > 0 && !m.Left {
			m.Left, m.CutOff = true, b.CutOff
		}
	}
}

// Site returns what the registry says of a site, and whether it says anything.
func (d *Directory) Site(s Site) (Member, bool) {
	m, ok := d.sites[s]
	return m, ok
}

// Sites returns all sites that the registry knows, sorted by name.
func (d *Directory) Sites() []Member {
	return slices.SortedFunc(maps.Values(d.sites), func(a, b Member) int { return a.Name.Compare(b.Name.s) })
}

// MemberNow reports whether a site has joined and not left.
func (d *Directory) MemberNow(s Site) bool {
	m, ok := d.sites[s]
	return ok && len(m.Keys) > 0 && !m.Left
}

// counts reports whether an entry of a site counts: it is a member and the entry
// is not behind its cut-off.
func (d *Directory) counts(s Site, m Mark) bool {
	member, ok := d.sites[s]
	return ok && len(member.Keys) > 0 && (!member.Left || m.Compare(member.CutOff) <= 0)
}

// counted returns the facts of a site up to its cut-off; none if it is no
// member.
func (d *Directory) counted(s Site, facts Contribution) Contribution {
	m, ok := d.sites[s]
	switch {
	case !ok || len(m.Keys) == 0:
		return nil
	case m.Left:
		return facts.Until(m.CutOff)
	}
	return facts
}

// CutOff returns the last mark that counts in the log of a site that left; ok is
// false if it has not. What homes rest on lies before it: each entry of a home
// up to the end of its tenure, and the recovery-signed home.forced that counts.
//
// Who receives a log refuses what lies behind its cut-off, with one exception. A
// home that is lost to an attacker may have removed the very site at which an
// operator then states the recovery-signed home.forced, and who has the removal
// but not yet the move must not be kept from learning of it. So entries behind
// the cut-off, in log order, are accepted up to the last that holds a
// registry's home.forced whose Right is nil: once that is applied, the cut-off
// lies before it no longer.
func (d *Directory) CutOff(s Site) (last Mark, ok bool) {
	if m := d.sites[s]; m.Left {
		return m.CutOff, true
	}
	return Mark{}, false
}

// CutsOff yields the members whose logs end early, with the last mark that
// counts, by name.
func (d *Directory) CutsOff() iter.Seq2[Site, Mark] {
	return func(yield func(Site, Mark) bool) {
		for _, m := range d.Sites() {
			if m.Left && !yield(m.Name, m.CutOff) {
				return
			}
		}
	}
}
