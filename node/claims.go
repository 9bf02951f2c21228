package node

import (
	"context"
	"fmt"
	"iter"

	"registry-node/events"
)

// missed reports whether a blob that is not here should be: this site stated it,
// or is to hold it and has not put it down to be fetched.
func (w *wants) missed(b events.Blob) (bool, error) {
	n := w.sites.node
	if purged, err := n.allPurged(b.Digest); err != nil || purged {
		return false, err
	}
	for v, err := range w.claims(b.Digest) {
		if err != nil {
			return false, err
		}
		if v.Blob != b {
			continue
		}
		if unkept, err := n.unkept(v); err != nil {
			return false, err
		} else if unkept {
			continue
		}
		if v.from == n.id.Site {
			return true, nil
		}
		_, put, err := w.local().Get(v.key)
		if err != nil {
			return false, err
		}
		if due, _ := w.due(v); due && !put {
			return true, nil
		}
	}
	return false, nil
}

// heal puts a blob that was lost or damaged down to be fetched from another site,
// if this site is to hold it.
func (w *wants) heal(d events.Digest) error {
	for v, err := range w.claims(d) {
		if err != nil {
			return err
		}
		if due, _ := w.due(v); !due && v.from != w.sites.node.id.Site {
			continue
		}
		if unkept, err := w.sites.node.unkept(v); err != nil {
			return err
		} else if unkept {
			continue
		}
		return w.put(v)
	}
	return nil
}

const rescansSpace = "rescans"

// rescanDue puts down that a repository is to be looked through, until rescan
// has done it.
func (w *wants) rescanDue(r *events.Repo) error {
	return w.sites.node.index.Load().Local(rescansSpace).Set(r.ID.String(), []byte{})
}

// rescanAll looks through the repositories that are to be.
func (w *wants) rescanAll(ctx context.Context) error {
	n := w.sites.node
	local := n.index.Load().Local(rescansSpace)
	for row, err := range local.All("") {
		if err != nil {
			return err
		}
		id, err := events.ParseRepoID(row.Key)
		if err != nil {
			return err
		}
		if r := n.directory().Repo(id); r != nil {
			if err := w.rescan(ctx, r); err != nil {
				return fmt.Errorf("repository %s: %w", r.Name, err)
			}
		}
		if err := local.Delete(row.Key); err != nil {
			return err
		}
	}
	return nil
}

// rescan puts down what a repository wants at this site since its rules have
// changed.
func (w *wants) rescan(ctx context.Context, r *events.Repo) error {
	n := w.sites.node
	for rec, err := range n.index.Load().Prefix(events.VersionsPrefix(r.ID, "")) {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, c := range rec.Contributions {
			for v := range wantsOf(c.Site, c.Facts) {
				if due, _ := w.due(v); !due || n.blobs.held(v.Blob) {
					continue
				}
				if err := w.put(v); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// claims yields what is stated about a blob.
func (w *wants) claims(d events.Digest) iter.Seq2[want, error] {
	x := w.sites.node.index.Load()
	return func(yield func(want, error) bool) {
		for key, err := range x.Referrers(d) {
			if err != nil {
				yield(want{}, err)
				return
			}
			cs, err := x.Get(key)
			if err != nil {
				yield(want{}, err)
				return
			}
			for _, c := range cs {
				for v := range wantsOf(c.Site, c.Facts) {
					if v.Blob.Digest == d && !yield(v, nil) {
						return
					}
				}
			}
		}
	}
}

// wantsOf yields the blobs that facts of a site state.
func wantsOf(site events.Site, facts events.Contribution) iter.Seq[want] {
	return func(yield func(want) bool) {
		for _, f := range facts {
			id := events.EventID{Site: site, Mark: f.Mark, Index: f.Index}
			for _, v := range statedIn(id, f.Body) {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// statedIn returns the blobs that an event states.
func statedIn(id events.EventID, body events.Body) []want {
	var c events.Content
	var mv events.ModuleVersion
	switch b := body.(type) {
	case events.VersionPublished:
		c, mv = b.Content, b.ModuleVersion
	case events.VersionFilled:
		c, mv = b.Content, b.ModuleVersion
	case events.BuildRecorded:
		if b.Info.Size > MaxBuildInfo {
			return nil
		}
		return []want{{
			Blob: b.Info, Build: true, Module: b.Name, Version: b.Number,
			key: wantKey(id, b.Info.Digest), from: id.Site, at: id.Mark,
		}}
	default:
		return nil
	}
	var list []want
	for _, b := range c.Blobs() {
		if b.Size > maxZip || b == c.ModBlob && b.Size > maxGoMod {
			continue // nothing that may be served is so large
		}
		list = append(list, want{
			Blob: b, Mod: b == c.ModBlob, Repo: mv.Repo, Module: mv.Module, Version: mv.Version,
			ModH1: c.ModH1, ZipH1: c.ZipH1, key: wantKey(id, b.Digest), from: id.Site, at: id.Mark,
		})
	}
	return list
}
