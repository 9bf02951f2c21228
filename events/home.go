package events

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
)

// Tenure is a range of one site's log during which the site was home for a
// name: the entries after After, up to and including Until. It is what gives
// facts of that site their right.
type Tenure struct {
	Site  Site `json:"site"`
	After Mark `json:"after"`
	Until Mark `json:"until,omitzero"` // zero: it still is, if it is not Forced
	// Forced says that the end was not the home's own decision: what it wrote
	// after Until was written in good faith and awaits the next home. That may be
	// its whole log.
	Forced bool `json:"forced,omitempty"`
}

// Holds reports whether an entry of the tenure's site lies within it.
func (t Tenure) Holds(m Mark) bool {
	open := t.Until.IsZero() && !t.Forced
	return m.Compare(t.After) > 0 && (open || m.Compare(t.Until) <= 0)
}

const (
	// maxTenures bounds how often a name changes its home.
	maxTenures = 256
	// maxForced bounds how often one site may force the end of one tenure. One
	// is what an honest log has; each costs every resolve a signature to verify.
	maxForced = 4
)

// HomeCeded ends the tenure of the home that states it and names the next home,
// which decides only once it has applied this.
type HomeCeded struct {
	always
	Repo   RepoID `json:"repo,omitzero"` // none: the registry itself
	Tenure int    `json:"tenure"`        // which one ends here, counted from 0
	To     Site   `json:"to"`
	After  Mark   `json:"after"` // place in To's log that the old home had applied
	Actor  string `json:"actor,omitempty"`
}

// HomeForced ends the tenure of a home that is lost, at a named place of its
// log. Decided by the registry's home; for the registry itself by an operator
// with the recovery key, at any site.
type HomeForced struct {
	Repo      RepoID `json:"repo,omitzero"` // none: the registry itself
	Tenure    int    `json:"tenure"`        // which one ends, counted from 0
	At        Mark   `json:"at"`            // last entry of the lost home that counts; zero: none does
	To        Site   `json:"to"`
	After     Mark   `json:"after"` // place in To's log where its tenure begins
	Signature Bytes  `json:"signature,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Actor     string `json:"actor,omitempty"`
}

// Type returns "home.ceded".
func (HomeCeded) Type() Type { return "home.ceded" }

// Type returns "home.forced".
func (HomeForced) Type() Type { return "home.forced" }

// Key returns the record of the repository, or of the registry.
func (b HomeCeded) Key(EventID) Key { return keyOfHome(b.Repo) }

// Key returns the record of the repository, or of the registry.
func (b HomeForced) Key(EventID) Key { return keyOfHome(b.Repo) }

func keyOfHome(id RepoID) Key {
	if id.IsZero() {
		return KeyRegistry()
	}
	return KeyRepo(id)
}

func (b HomeCeded) check() error { return checkMove(b.Tenure, b.To, b.Actor) }

func (b HomeForced) check() error {
	if b.At.IsZero() && b.Repo.IsZero() && b.Tenure == 0 {
		return errors.New("no place in the lost home's log, with which the registry began")
	}
	return errors.Join(checkMove(b.Tenure, b.To, b.Actor), checkText("reason", b.Reason))
}

func (b HomeForced) adds(kept Contribution) bool {
	n := 0
	for _, f := range kept {
		if k, ok := f.Body.(HomeForced); ok && k.Tenure == b.Tenure {
			n++
		}
	}
	return n < maxForced
}

func checkMove(tenure int, to Site, actor string) error {
	if tenure < 0 || tenure >= maxTenures-1 {
		return fmt.Errorf("tenure %d is not between 0 and %d", tenure, maxTenures-2)
	}
	return errors.Join(checkSite(to), checkText("actor", actor))
}

// ForcedText returns what the recovery key signs to force a new home of the
// registry.
func ForcedText(registry Digest, b HomeForced) []byte {
	return fmt.Appendf(nil, "registry-node home.forced 1\n%v\n%d\n%v\n%v\n%v\n", registry, b.Tenure, b.At, b.To, b.After)
}

// homes walks the tenures of a name from its first home on. ceded gives the
// facts of a site about the name, forced tells which forced move, if any, ends
// the tenure with number n. A forced move beats the home's own word, so that a
// home that was given up can't hand its right to a third.
func homes(first Site, ceded func(Site) Contribution, forced func(n int) (HomeForced, bool)) []Tenure {
	ts := []Tenure{{Site: first}}
	for len(ts) < maxTenures {
		n := len(ts) - 1
		last := &ts[n]
		if f, ok := forced(n); ok {
			last.Until, last.Forced = f.At, true
			ts = append(ts, Tenure{Site: f.To, After: afterAll(ts, f.To, f.After)})
			continue
		}
		c, at, ok := findCeded(ceded(last.Site), n, *last)
		if !ok {
			return ts
		}
		last.Until = at
		ts = append(ts, Tenure{Site: c.To, After: afterAll(ts, c.To, c.After)})
	}
	return ts
}

// afterAll returns m, or if it is later the end of the last tenure in ts that
// site had: tenures of one site don't overlap, so no fact counts twice.
func afterAll(ts []Tenure, site Site, m Mark) Mark {
	for _, t := range ts {
		if t.Site == site && t.Until.Compare(m) > 0 {
			m = t.Until
		}
	}
	return m
}

func findCeded(facts Contribution, n int, t Tenure) (HomeCeded, Mark, bool) {
	for _, f := range facts {
		if c, ok := f.Body.(HomeCeded); ok && c.Tenure == n && t.Holds(f.Mark) {
			return c, f.Mark, true
		}
	}
	return HomeCeded{}, Mark{}, false
}

// A recovery is a forced move of the registry's home that the recovery key
// signed, and where it stands.
type recovery struct {
	move HomeForced
	site Site
	mark Mark
}

// before reports whether r is the one that counts of two that end one tenure.
// That is the one which the site that it names states itself, then the first by
// site name and log order, so that all sites choose alike. What counts is spared
// by cut-offs: so a site that was removed can't have its cut-off lifted by
// stating what it read in the log of the new home.
func (r recovery) before(o recovery) bool {
	if itself := r.move.To == r.site; itself != (o.move.To == o.site) {
		return itself
	}
	return cmp.Or(r.site.Compare(o.site.s), r.mark.Compare(o.mark)) < 0
}

// recovered returns the recovery that ends the registry's tenure n, if any. key
// is well-formed.
func recovered(registry Digest, key PublicKey, cs Contributions, n int) (first recovery, ok bool) {
	for _, c := range cs {
		for _, f := range c.Facts {
			b, is := f.Body.(HomeForced)
			r := recovery{b, c.Site, f.Mark}
			if is && b.Tenure == n && (!ok || r.before(first)) && signed(registry, key, b) {
				first, ok = r, true
			}
		}
	}
	return first, ok
}

// signed reports whether key, which is well-formed, signed the move.
func signed(registry Digest, key PublicKey, b HomeForced) bool {
	return ed25519.Verify(ed25519.PublicKey(key), ForcedText(registry, b), b.Signature)
}
