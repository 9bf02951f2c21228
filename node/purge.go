package node

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/index"
	"registry-node/node/upstream"
)

// A purge takes the bytes of a version away, at every site and for ever: they hold
// a secret that leaked, or what may not be kept. Its hashes and the reason stay in
// the log, and so does a go.mod that is small, since the log is for ever.
//
// Each site has a row for each purge that it still has to carry out, written
// together with the entry that states it: a crash in between forgets none.

// Purged is what a purge did.
type Purged struct {
	Module  string `json:"module"`
	Version string `json:"version"`
	// Repos are the repositories that held the version.
	Repos []events.RepoName `json:"repositories"`
}

// awayPurge is a purge between sites.
type awayPurge struct {
	Module  string `json:"module"`
	Version string `json:"version"`
	Reason  string `json:"reason"`
}

// Purge removes the bytes of mv in all repositories, at this site before it
// returns and at the others as they learn of it, and blocks it everywhere. It
// can't be undone. The registry's home decides. Errors: ErrInvalid, ErrNotFound
// (no repository holds it), ErrNoSpace, ErrUnavailable.
func (n *Node) Purge(ctx context.Context, who *access.Caller, mv module.Version, reason string) (p Purged, err error) {
	if err := n.allow(who, access.Everything); err != nil {
		return p, err
	}
	if err := events.CheckVersion(mv); err != nil {
		return p, because(err, ErrInvalid, "%v", err)
	}
	if reason == "" {
		return p, fail(ErrInvalid, "a purge needs a reason, which users are told")
	}
	_, err = n.atRegistryHome(ctx, who, opPurge, awayPurge{mv.Path, mv.Version, reason}, &p, func() (err error) {
		p, _, err = n.purge(ctx, who, mv, reason)
		return err
	})
	if err != nil {
		return p, err
	}
	return p, n.carryOutPurges(ctx)
}

// purge decides at this site, the registry's home.
func (n *Node) purge(ctx context.Context, who *access.Caller, mv module.Version, reason string) (Purged, events.Position, error) {
	var p Purged
	if err := n.allow(who, access.Everything); err != nil {
		return p, events.Position{}, err
	}
	at, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		p = Purged{Module: mv.Path, Version: mv.Version}
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		var bodies []events.Body
		for _, r := range v.dir.AllRepos() {
			cs, err := v.txn.Get(events.KeyVersion(r.ID, mv))
			if err != nil {
				return nil, err
			}
			if len(cs) > 0 {
				p.Repos = append(p.Repos, r.Name)
			}
			// Also where it is not, as far as this site knows: another one may have
			// fetched it there meanwhile, and nobody is to fetch it there again.
			if held := v.dir.ResolveVersion(r, cs); held.Status == events.Purged || r.Kind == events.Virtual {
				continue
			}
			b := events.VersionPurged{ModuleVersion: events.Of(r.ID, mv), Reason: reason, Actor: who.Actor()}
			if err := notePurge(v.txn, b); err != nil {
				return nil, err
			}
			bodies = append(bodies, b)
		}
		if len(p.Repos) == 0 {
			return nil, fail(ErrNotFound, "%s@%s is in no repository; to keep it out, block it: registry-node block %s@%s", mv.Path, mv.Version, mv.Path, mv.Version)
		}
		if _, blocked := blockOf(v.dir.Blocks(), events.VersionPatternOf(mv)); !blocked && len(bodies) > 0 {
			bodies = append(bodies, events.VersionBlocked{Module: mv.Path, Version: mv.Version, Reason: reason, Actor: who.Actor()})
		}
		return bodies, nil
	})
	if err == nil {
		n.sites.purges.notify()
	}
	return p, at.Position, err
}

const purgeSpace = "purges"

// notePurge puts a purge down with the entry that txn stages.
func notePurge(txn *index.Txn, body events.Body) error {
	b, ok := body.(events.VersionPurged)
	if !ok {
		return nil
	}
	return txn.SetLocal(purgeSpace, b.Repo.String()+" "+b.Module+" "+b.Version, []byte{})
}

const purgeRetry = time.Minute

// purgeLoop carries purges out until ctx ends.
func (n *Node) purgeLoop(ctx context.Context) {
	for {
		ch := n.sites.purges.wait()
		if err := n.carryOutPurges(ctx); err != nil && ctx.Err() == nil {
			n.sites.troubles.raise("purge", fmt.Sprintf("what was purged can't be removed: %v", err))
		} else {
			n.sites.troubles.clear("purge")
		}
		select {
		case <-ch:
		case <-time.After(purgeRetry):
		case <-ctx.Done():
			return
		}
	}
}

// carryOutPurges removes the bytes of what has been purged.
func (n *Node) carryOutPurges(ctx context.Context) error {
	x := n.index.Load()
	local := x.Local(purgeSpace)
	for row, err := range local.All("") {
		if err != nil {
			return fmt.Errorf("index: %w", err)
		}
		var repo, path, version string
		if _, err := fmt.Sscan(row.Key, &repo, &path, &version); err != nil {
			return fmt.Errorf("index: purge %q: %w", row.Key, err)
		}
		id, err := events.ParseRepoID(repo)
		if err != nil {
			return err
		}
		mv := module.Version{Path: path, Version: version}
		cs, err := x.Get(events.KeyVersion(id, mv))
		if err != nil {
			return fmt.Errorf("index: %w", err)
		}
		if purged, err := n.isPurged(id, mv); err != nil || !purged {
			continue // who states it may have no right to, as far as this node knows
		}
		for _, c := range cs {
			for v := range wantsOf(c.Site, c.Facts) {
				if err := n.erase(v.Blob.Digest); err != nil {
					return err
				}
			}
		}
		if err := n.state.Load().forget(ctx, id); err != nil {
			return err
		}
		if err := local.Delete(row.Key); err != nil {
			return err
		}
		n.logger.Info("purged", "module", path, "version", version)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// erase removes a blob with all its copies, if all that refers to it was purged.
func (n *Node) erase(d events.Digest) error {
	purged, err := n.allPurged(d)
	if err != nil || !purged {
		return err
	}
	if _, err = n.blobs.store.Erase(d); err == nil {
		n.forgetSums(d)
	}
	return err
}

// forget has a remote repository of VCS hosts remove its clones, which hold the
// bytes, too.
func (st *state) forget(ctx context.Context, id events.RepoID) error {
	rem := st.remotes[id]
	if rem == nil || rem.broken != nil {
		return nil
	}
	v, ok := rem.client.(*upstream.VCS)
	if !ok {
		return nil
	}
	return v.Empty(ctx)
}

// isPurged reports whether a version was purged by who may.
func (n *Node) isPurged(id events.RepoID, mv module.Version) (bool, error) {
	d := n.directory()
	r := d.Repo(id)
	if r == nil {
		return false, nil
	}
	v, err := n.version(d, r, mv)
	return err == nil && v.Status == events.Purged, err
}

// allPurged reports whether records refer to a blob, and each of them was purged.
func (n *Node) allPurged(d events.Digest) (bool, error) {
	x, dir := n.index.Load(), n.directory()
	any := false
	for key, err := range x.Referrers(d) {
		if err != nil {
			return false, fmt.Errorf("index: %w", err)
		}
		id, _, ok := key.Version()
		r := dir.Repo(id)
		if !ok || r == nil {
			return false, nil
		}
		cs, err := x.Get(key)
		if err != nil {
			return false, fmt.Errorf("index: %w", err)
		}
		if v := dir.ResolveVersion(r, cs); v.Status != events.Purged {
			return false, nil
		}
		any = true
	}
	return any, nil
}

// stored is told of a blob that has just been stored: of one that was purged while
// it came, nothing may stay.
func (n *Node) stored(d events.Digest) error { return n.erase(d) }
