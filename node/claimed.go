package node

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/blob"
	"registry-node/node/upstream"
)

// claimed is a blob on its way here from other sites, with what one of them
// states of it.
type claimed struct {
	*arrival
	sites *sites
	want  want
}

// claimedKey: one set of bytes may be claimed to be several module versions. Each
// claim is checked by itself.
type claimedKey struct {
	digest  events.Digest
	repo    events.RepoID
	mv      module.Version
	isMod   bool
	isBuild bool
	mod, h1 events.H1
}

func (v want) claimedKey() claimedKey {
	return claimedKey{v.Blob.Digest, v.Repo, module.Version{Path: v.Module, Version: v.Version}, v.Mod, v.Build, v.ModH1, v.ZipH1}
}

// arrive joins the arrival of a blob from other sites, or begins it.
func (s *sites) arrive(v want) *arrival {
	return s.coming.join(v.claimedKey(), func(ctx context.Context, a *arrival) error {
		c := &claimed{a, s, v}
		return c.fetch(ctx)
	})
}

// fetch brings the blob here, verifies and stores it.
func (c *claimed) fetch(ctx context.Context) error {
	s, n, v := c.sites, c.sites.node, c.want
	if err := n.space.check(); err != nil {
		return err
	}
	sources := s.holders(v.from, v.Blob.Digest)
	if len(sources) == 0 {
		return errNotThere
	}
	stage, err := n.blobs.store.Stage(ctx, v.Blob.Size)
	if err != nil {
		return storeFailed(err, v.Module+"@"+v.Version)
	}
	c.begin(stage, v.Blob.Size)
	c.allow()
	t := transfer{sites: s, blob: v.Blob, stage: stage, progress: func(int64) { c.arrived() }}
	if err := t.gather(ctx, sources); err != nil {
		return err
	}
	if stage.Digest() != v.Blob.Digest {
		return c.blame(ctx, sources)
	}
	return c.keep(ctx, stage)
}

// keep verifies and stores the bytes of the blob.
func (c *claimed) keep(ctx context.Context, stage *blob.Stage) error {
	v := c.want
	if err := c.verify(ctx, stage); err != nil {
		return err
	}
	// A blob is never here without a record that refers to it: the entry that
	// states it is applied, or is being applied.
	c.sites.node.blobs.admitting.RLock()
	defer c.sites.node.blobs.admitting.RUnlock()
	if _, err := stage.Commit(v.Blob.Digest); err != nil {
		return storeFailed(err, v.Module+"@"+v.Version)
	}
	return errors.Join(c.sites.node.clearUnkept(v.Blob.Digest), c.sites.node.stored(v.Blob.Digest))
}

// blame finds out which of several sources gave wrong bytes, and stores the right
// ones if somebody has them. The arrival fails in any case, since clients have
// read some of the wrong ones; who asks again finds the blob here.
func (c *claimed) blame(ctx context.Context, sources []events.Site) error {
	v := c.want
	for _, site := range sources {
		stage, err := c.sites.node.blobs.store.Stage(ctx, v.Blob.Size)
		if err != nil {
			return err
		}
		t := transfer{sites: c.sites, blob: v.Blob, stage: stage}
		err = t.from(ctx, site)
		if err == nil && stage.Digest() == v.Blob.Digest {
			if err := c.keep(ctx, stage); err != nil {
				return errors.Join(err, stage.Discard())
			}
		} else if err == nil {
			c.sites.troubles.raise("blob "+site.String(), fmt.Sprintf("site %s gave other bytes than those of blob %v (%s@%s); they were refused",
				site, v.Blob.Digest, v.Module, v.Version))
			c.sites.shun(site, v.Blob.Digest)
		}
		stage.Discard()
	}
	return fmt.Errorf("blob %v came with wrong bytes", v.Blob.Digest)
}

// lie is content that is not what a site states of it.
type lie struct{ error }

func isLie(err error) bool { return errors.As(err, new(lie)) }

// verify checks that the bytes are the content that the site states: what it
// says about them is a claim (I6).
func (c *claimed) verify(ctx context.Context, stage *blob.Stage) error {
	v, s := c.want, c.sites
	err := s.node.checkClaim(ctx, v, stage, stage.Size())
	if isLie(err) {
		s.troubles.raise("lie "+v.from.String()+v.Blob.Digest.Hex(), err.Error())
	}
	return err
}

// checkClaim checks bytes against what is stated of them.
func (n *Node) checkClaim(ctx context.Context, v want, r io.ReaderAt, size int64) error {
	if v.Build {
		return nil // the entry says nothing of it but its digest
	}
	mv := module.Version{Path: v.Module, Version: v.Version}
	if v.Mod {
		data := make([]byte, size)
		if _, err := r.ReadAt(data, 0); err != nil && err != io.EOF {
			return err
		}
		if h := events.HashMod(data); h != v.ModH1 {
			return lie{fmt.Errorf("site %s states the go.mod hash %v for %v, and its blob has %v; it is refused", v.from, v.ModH1, mv, h)}
		}
		return nil
	}
	z, err := upstream.CheckZip(ctx, mv, r, size)
	if errors.Is(err, upstream.ErrBadZip) {
		return lie{fmt.Errorf("site %s states a zip for %v that breaks the rules: %w; it is refused", v.from, mv, err)}
	}
	if err != nil {
		return err
	}
	if z.H1 != v.ZipH1 {
		return lie{fmt.Errorf("site %s states the hash %v for %v, and its zip has %v; it is refused", v.from, v.ZipH1, mv, z.H1)}
	}
	repo := n.directory().Repo(v.Repo)
	if repo != nil && repo.Kind == events.Local && z.HasGoMod && z.GoModH1 != v.ModH1 {
		return lie{fmt.Errorf("site %s states another go.mod for %v than is in its zip; it is refused", v.from, mv)}
	}
	return n.vouchers.zipIs(n, mv, v.Blob, v.ZipH1)
}
