package node

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/upstream"
)

// What another site says about bytes is a claim that this site checks itself
// before it uses them first (I6): the hash of a zip against its bytes, and the
// hashes against the checksum database where the repository has one. What was
// checked is remembered in local state.
type vouchers struct {
	zips *table[zipClaim, bool]
	sums *table[sumClaim, bool]
	todo chan events.ModuleVersion // fills of other sites, to be checked before they are asked for
}

type zipClaim struct {
	mv     module.Version
	digest events.Digest
	h1     events.H1
}

type sumClaim struct {
	database string // the name of the checksum database
	repo     events.RepoID
	mv       module.Version
	mod      events.H1
	zip      events.H1 // zero if the claim is about the go.mod alone
}

const (
	vouchSpace = "vouched"
	vouchSlots = 1 << 13
	// vouchQueue bounds how many fills wait to be checked; those beyond are
	// checked when they are asked for.
	vouchQueue = 1 << 13
)

func newVouchers() *vouchers {
	return &vouchers{newTable[zipClaim, bool](vouchSlots), newTable[sumClaim, bool](vouchSlots), make(chan events.ModuleVersion, vouchQueue)}
}

func (z zipClaim) key() string {
	return fmt.Sprintf("zip %s@%s %s %v", z.mv.Path, z.mv.Version, z.digest.Hex(), z.h1)
}

func (c sumClaim) key() string {
	return fmt.Sprintf("sum %s %v %s@%s %v %v", c.database, c.repo, c.mv.Path, c.mv.Version, c.mod, c.zip)
}

// zipIs remembers that a blob is the zip of mv with this hash.
func (v *vouchers) zipIs(n *Node, mv module.Version, b events.Blob, h1 events.H1) error {
	claim := zipClaim{mv, b.Digest, h1}
	v.zips.put(claim, true)
	return n.spare(vouchSpace, claim.key(), []byte{})
}

// vouchZip checks a zip that is here and that another site states, before it is
// served first.
func (r *Repository) vouchZip(ctx context.Context, mv module.Version, c *events.HeldContent, b events.Blob, z Zip) error {
	n := r.node
	if ok, err := n.zipProved(zipClaim{mv, b.Digest, c.ZipH1}); ok || err != nil {
		return err
	}
	v := r.wantZip(mv, c, b)
	err := n.checkClaim(ctx, v, z.File, z.Size)
	if isLie(err) {
		n.sites.troubles.raise("lie "+v.from.String()+b.Digest.Hex(), err.Error())
	}
	return err
}

// wantZip is one of a content's zips, as the site that stated it first says it is.
func (r *Repository) wantZip(mv module.Version, c *events.HeldContent, b events.Blob) want {
	return want{
		Blob: b, Repo: r.repo.ID, Module: mv.Path, Version: mv.Version, ModH1: c.ModH1, ZipH1: c.ZipH1, from: c.ZipStatedBy(b),
	}
}

// zipProved reports whether the zip has been checked here before.
func (n *Node) zipProved(claim zipClaim) (bool, error) {
	if ok, _ := n.vouchers.zips.get(claim); ok {
		return true, nil
	}
	_, ok, err := n.index.Load().Local(vouchSpace).Get(claim.key())
	if ok && err == nil {
		n.vouchers.zips.put(claim, true)
	}
	return ok, err
}

// holdsZip reports whether a blob is here that is the zip, as far as that has
// been checked.
func (r *Repository) holdsZip(mv module.Version, c *events.HeldContent) (bool, error) {
	for _, b := range c.Zips {
		if !r.node.blobs.held(b) {
			continue
		}
		if r.st.alone {
			return true, nil
		}
		if ok, err := r.node.zipProved(zipClaim{mv, b.Digest, c.ZipH1}); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// right returns what may be shown of a version: of a remote repository whose
// content is in a checksum database only what that proves, asked by this site.
// Other content that a site stated is as if it weren't there; so a lie of one
// keeps nobody from the version.
//
// A site that is alone shows what it fetched, also if that was before the database
// applied: there is nobody who could hold other content, and what was served does
// not change under its clients. Sites that are several would each show what they
// recorded; so there, what was not checked is checked. What was imported is checked
// everywhere, as soon as the database answers, see unproved.go.
func (r *Repository) right(ctx context.Context, mv module.Version, v *events.Version) (*events.HeldContent, error) {
	if r.repo.Kind != events.Remote || v.Settled != nil || v.Status != events.Held && v.Status != events.Conflicted ||
		r.st.alone && !slices.ContainsFunc(v.Contents, isImported) {
		return r.readable(mv, v)
	}
	rem, err := r.remote()
	if err != nil {
		return nil, err
	}
	if !rem.covers(mv.Path) {
		return r.readable(mv, v)
	}
	if c := &v.Contents[0]; v.Status == events.Held {
		if ok, err := r.provedBefore(rem, mv, c); ok || err != nil {
			return c, err
		}
	}
	own, err := r.ownImport(rem, mv, v)
	if err != nil {
		return nil, err
	}
	sums, err := r.sumsOf(ctx, rem, mv, own)
	if err != nil {
		return r.unanswered(rem, mv, v, own, err)
	}
	return r.proved(rem, mv, v, sums)
}

// proved returns the content that the checksum database proves: all of it, or but
// for the zip if what is stated of that is wrong; nil if there is none. What it
// contradicts is reported.
func (r *Repository) proved(rem *remote, mv module.Version, v *events.Version, sums upstream.Sums) (*events.HeldContent, error) {
	var whole, part *events.HeldContent
	for i := range v.Contents {
		c := &v.Contents[i]
		switch {
		case c.ModH1 == sums.Mod && (!c.HasZip() || c.ZipH1 == sums.Zip):
			whole = c
			continue
		case c.ModH1 == sums.Mod && part == nil:
			part = withoutZip(c)
		}
		r.lie(mv, c, fmt.Sprintf("says go.mod %v zip %v", sums.Mod, sums.Zip))
	}
	if whole != nil {
		return whole, r.rememberProof(rem, mv, whole)
	}
	return part, nil
}

// lie reports content that the checksum database contradicts.
func (r *Repository) lie(mv module.Version, c *events.HeldContent, database string) {
	site := c.StatedBy()
	r.node.sites.troubles.raise("lie "+site.String()+mv.String()+c.ZipH1.String(), fmt.Sprintf(
		"%v: SECURITY ERROR: site %s states go.mod %v zip %v, the checksum database %s; it is refused", mv, site, c.ModH1, c.ZipH1, database))
}

func (r *Repository) sumClaim(rem *remote, mv module.Version, c *events.HeldContent) sumClaim {
	return sumClaim{rem.dbName, r.repo.ID, mv, c.ModH1, c.ZipH1}
}

// provedBefore reports whether this site has checked the content against the
// checksum database that applies, now or when it fetched it.
func (r *Repository) provedBefore(rem *remote, mv module.Version, c *events.HeldContent) (bool, error) {
	n := r.node
	claim := r.sumClaim(rem, mv, c)
	if ok, _ := n.vouchers.sums.get(claim); ok {
		return true, nil
	}
	_, ok, err := n.index.Load().Local(vouchSpace).Get(claim.key())
	if err == nil && !ok {
		ok, err = r.filledHere(rem, mv, c)
	}
	if ok && err == nil {
		n.vouchers.sums.put(claim, true)
	}
	return ok, err
}

func (r *Repository) rememberProof(rem *remote, mv module.Version, c *events.HeldContent) error {
	claim := r.sumClaim(rem, mv, c)
	r.node.vouchers.sums.put(claim, true)
	return r.node.spare(vouchSpace, claim.key(), []byte{})
}

// filledHere reports whether this site stated all of the content itself, having
// checked it against the checksum database that applies. What it took while the
// settings said that the module is in none, or in another one, it had not.
func (r *Repository) filledHere(rem *remote, mv module.Version, c *events.HeldContent) (bool, error) {
	cs, err := r.node.index.Load().Get(events.KeyVersion(r.repo.ID, mv))
	if err != nil {
		return false, err
	}
	mod, zip := false, !c.HasZip()
	for _, f := range cs.Of(r.node.id.Site) {
		if b, ok := f.Body.(events.VersionFilled); ok && b.ModH1 == c.ModH1 && b.Sumdb == rem.dbName {
			mod = mod || b.HasMod()
			zip = zip || b.ZipH1 == c.ZipH1
		}
	}
	return mod && zip, nil
}

// noteVouch puts fills of another site, which can be seen, down to be checked in
// the background, so that they can be served here while the checksum database
// can't be reached.
func (s *sites) noteVouch(fills []events.ModuleVersion) {
	for _, mv := range fills {
		select {
		case s.node.vouchers.todo <- mv:
		default: // it is checked when it is asked for
		}
	}
}

// vouchLoop checks fills of other sites until ctx ends.
func (s *sites) vouchLoop(ctx context.Context) {
	n := s.node
	for {
		var b events.ModuleVersion
		select {
		case b = <-n.vouchers.todo:
		case <-ctx.Done():
			return
		}
		st := n.state.Load()
		repo := st.dir.Repo(b.Repo)
		if repo == nil || repo.Deleted || st.remotes[repo.ID] == nil {
			continue
		}
		r := &Repository{node: n, st: st, repo: repo}
		v, err := n.version(st.dir, repo, b.ModVersion())
		if err != nil {
			continue
		}
		if v.Status == events.Conflicted && n.inConflict(b) {
			if err := s.noteConflict(b); err != nil {
				n.logger.Error("conflict is not put down", "module", b.Module, "version", b.Version, "error", err)
			}
			continue
		}
		if _, err := r.right(ctx, b.ModVersion(), v); err != nil && ctx.Err() == nil {
			n.logger.Debug("content of another site is not vouched for", "module", b.Module, "version", b.Version, "error", err)
		}
	}
}
