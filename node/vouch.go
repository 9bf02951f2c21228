package node

import (
	"context"
	"errors"
	"fmt"

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
	repo events.RepoID
	mv   module.Version
	mod  events.H1
	zip  events.H1 // zero if the claim is about the go.mod alone
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
	return fmt.Sprintf("sum %v %s@%s %v %v", c.repo, c.mv.Path, c.mv.Version, c.mod, c.zip)
}

// zipIs remembers that a blob is the zip of mv with this hash.
func (v *vouchers) zipIs(n *Node, mv module.Version, b events.Blob, h1 events.H1) error {
	claim := zipClaim{mv, b.Digest, h1}
	v.zips.put(claim, true)
	return n.index.Load().Local(vouchSpace).Set(claim.key(), []byte{})
}

// vouchZip checks a zip that is here and that another site states, before it is
// served first.
func (r *Repository) vouchZip(ctx context.Context, mv module.Version, c *events.HeldContent, b events.Blob, z Zip) error {
	n := r.node
	claim := zipClaim{mv, b.Digest, c.ZipH1}
	if ok, _ := n.vouchers.zips.get(claim); ok {
		return nil
	}
	_, ok, err := n.index.Load().Local(vouchSpace).Get(claim.key())
	if err != nil {
		return err
	}
	if ok {
		n.vouchers.zips.put(claim, true)
		return nil
	}
	err = n.checkClaim(ctx, want{
		Blob: b, Repo: r.repo.ID, Module: mv.Path, Version: mv.Version, ModH1: c.ModH1, ZipH1: c.ZipH1, from: c.First.Event.Site,
	}, z.File, z.Size)
	if isLie(err) {
		n.sites.troubles.raise("lie "+c.First.Event.Site.String()+b.Digest.Hex(), err.Error())
		return fail(ErrForbidden, "%v", err)
	}
	return err
}

// vouchSums checks the hashes of content that only other sites fetched against
// the checksum database.
func (r *Repository) vouchSums(ctx context.Context, mv module.Version, c *events.HeldContent) error {
	n := r.node
	if r.repo.Kind != events.Remote {
		return nil
	}
	rem, err := r.remote()
	if err != nil {
		return err
	}
	if !rem.covers(mv.Path) {
		return nil
	}
	claim := sumClaim{r.repo.ID, mv, c.ModH1, c.ZipH1}
	if ok, _ := n.vouchers.sums.get(claim); ok {
		return nil
	}
	local := n.index.Load().Local(vouchSpace)
	if _, ok, err := local.Get(claim.key()); err != nil {
		return err
	} else if ok {
		n.vouchers.sums.put(claim, true)
		return nil
	}
	if own, err := r.filledHere(mv, c); err != nil || own {
		if own {
			n.vouchers.sums.put(claim, true)
		}
		return err
	}
	sums, err := rem.sums(ctx, mv)
	if err != nil {
		if errors.Is(err, upstream.ErrNotInDatabase) {
			n.sites.troubles.raise("lie "+c.First.Event.Site.String()+mv.String(), fmt.Sprintf("site %s states content of %v, which the checksum database does not know; it is refused", c.First.Event.Site, mv))
		}
		return r.fetchFailed(err, mv)
	}
	if sums.Mod != c.ModH1 || c.HasZip() && sums.Zip != c.ZipH1 {
		text := fmt.Sprintf("%v: SECURITY ERROR: site %s states go.mod %v zip %v, the checksum database says %v and %v; it is refused",
			mv, c.First.Event.Site, c.ModH1, c.ZipH1, sums.Mod, sums.Zip)
		n.sites.troubles.raise("lie "+c.First.Event.Site.String()+mv.String(), text)
		return fail(ErrForbidden, "%s", text)
	}
	n.vouchers.sums.put(claim, true)
	return local.Set(claim.key(), []byte{})
}

// filledHere reports whether this site stated all of the content itself, which
// it had checked then.
func (r *Repository) filledHere(mv module.Version, c *events.HeldContent) (bool, error) {
	cs, err := r.node.index.Load().Get(events.KeyVersion(r.repo.ID, mv))
	if err != nil {
		return false, err
	}
	mod, zip := false, !c.HasZip()
	for _, f := range cs.Of(r.node.id.Site) {
		if b, ok := f.Body.(events.VersionFilled); ok && b.ModH1 == c.ModH1 {
			mod = mod || b.HasMod()
			zip = zip || b.ZipH1 == c.ZipH1
		}
	}
	return mod && zip, nil
}

// noteVouch puts a fill of another site down to be checked in the background, so
// that it can be served here while the checksum database can't be reached.
func (s *sites) noteVouch(ev events.Event) {
	b, ok := ev.Body.(events.VersionFilled)
	if !ok {
		return
	}
	select {
	case s.node.vouchers.todo <- b.ModuleVersion:
	default: // it is checked when it is asked for
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
		if err == nil && v.Status == events.Conflicted {
			s.troubles.raise("conflict "+b.Key(events.EventID{}).String(), fmt.Sprintf("%s@%s in repository %s came with different content to different sites; it is not served until an administrator settles it", b.Module, b.Version, repo.Name))
		}
		if err != nil || v.Status != events.Held {
			continue
		}
		if err := r.vouchSums(ctx, b.ModVersion(), &v.Contents[0]); err != nil && ctx.Err() == nil {
			n.logger.Debug("content of another site is not vouched for", "module", b.Module, "version", b.Version, "error", err)
		}
	}
}
