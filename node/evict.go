package node

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/index"
)

// Evicted is what was removed from a remote repository's cache at this site.
type Evicted struct {
	Versions int   `json:"versions"` // of which a zip was removed
	Blobs    int   `json:"blobs"`
	Bytes    int64 `json:"bytes"`
}

// Evict removes the zips of matching versions from what this site caches of a
// remote repository, and forgets what the upstream said of their modules. Their
// names and hashes stay for ever: what is fetched again must be the same. Errors:
// ErrNotFound (nothing matches), ErrInvalid (not a remote repository).
func (n *Node) Evict(ctx context.Context, who *access.Caller, name events.RepoName, p events.VersionPattern) (e Evicted, err error) {
	if err := n.allow(who, manage(name)); err != nil {
		return e, err
	}
	r, err := n.remoteNamed(name)
	if err != nil {
		return e, err
	}
	matched := false
	var blobs []events.Blob // of which nothing is removed yet
	for rec, err := range n.matching(r.repo, p) {
		if err != nil {
			return e, fmt.Errorf("index: %w", err)
		}
		if ctx.Err() != nil {
			return e, context.Cause(ctx)
		}
		_, mv, _ := rec.Key.Version()
		if !p.Match(mv) {
			continue
		}
		matched = true
		n.fetches.refreshed.put(refreshKey{r.repo.ID, mv.Path}, time.Now())
		before := len(blobs)
		for _, c := range rec.Contributions {
			for v := range wantsOf(c.Site, c.Facts) {
				evicts, err := n.evicts(v)
				if err != nil {
					return e, err
				}
				if evicts && !slices.Contains(blobs[before:], v.Blob) {
					blobs = append(blobs, v.Blob)
				}
			}
		}
		if len(blobs) > before {
			e.Versions++
		}
		if len(blobs) >= evictBatch {
			if err := n.evict(blobs, &e); err != nil {
				return e, err
			}
			blobs = blobs[:0]
		}
	}
	if err := n.evict(blobs, &e); err != nil {
		return e, err
	}
	if !matched {
		return e, fail(ErrNotFound, "repository %s holds nothing that matches %v", name, p)
	}
	return e, nil
}

// matching yields the records of a repository's versions among which are all that
// the pattern matches.
func (n *Node) matching(r *events.Repo, p events.VersionPattern) iter.Seq2[index.Record, error] {
	path := ""
	if mv, ok := p.Exact(); ok {
		path = mv.Path
	}
	return n.index.Load().Prefix(events.VersionsPrefix(r.ID, path))
}

// evicts reports whether a zip can be removed: it is here, no local repository has
// the same bytes, and no upload into one.
func (n *Node) evicts(v want) (bool, error) {
	if v.Mod || !n.blobs.held(v.Blob) || n.parts.refer(v.Blob.Digest) {
		return false, nil
	}
	for key, err := range n.index.Load().Referrers(v.Blob.Digest) {
		if err != nil {
			return false, fmt.Errorf("index: %w", err)
		}
		id, _, ok := key.Version()
		if r := n.directory().Repo(id); !ok || r == nil || r.Kind != events.Remote {
			return false, nil
		}
	}
	return true, nil
}

// evictBatch is how many blobs are removed with one sync of their marks.
const evictBatch = 256

// evict removes blobs. The marks are durable before: a blob that is gone and not
// marked would be taken for lost.
func (n *Node) evict(blobs []events.Blob, e *Evicted) error {
	if len(blobs) == 0 {
		return nil
	}
	for _, b := range blobs {
		if err := n.setUnkept(b.Digest); err != nil {
			return fmt.Errorf("index: %w", err)
		}
	}
	if err := n.index.Load().Sync(); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	for _, b := range blobs {
		ok, held := false, true
		err := n.parts.unlessHeld(b.Digest, func() (err error) {
			held = false
			ok, err = n.blobs.store.Erase(b.Digest)
			return err
		})
		if held { // an upload came in between
			err = n.clearUnkept(b.Digest)
		}
		if err != nil {
			return err
		}
		n.forgetSums(b.Digest)
		if ok {
			e.Blobs++
			e.Bytes += b.Size
		}
	}
	return nil
}
