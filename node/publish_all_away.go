package node

import (
	"context"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/access"
)

// awayPublications are versions that another site wants published here, all or
// none.
type awayPublications struct {
	Repo     events.RepoID     `json:"repo"`
	Versions []awayPublication `json:"versions"` // at most MaxPublications; their Repo is not looked at
}

// publishAllAway has the home of a repository decide about publications. As with
// publishAway, the zips are made durable here first.
func (n *Node) publishAllAway(ctx context.Context, who *access.Caller, home events.Site, all *together) ([]Published, error) {
	ps, done, err := n.alreadyAll(all)
	if err != nil || done {
		return ps, err
	}
	if err := all.fits(); err != nil {
		return nil, err
	}
	n.blobs.admitting.RLock()
	defer n.blobs.admitting.RUnlock()
	ask := awayPublications{Repo: all.repo.ID}
	for i := range all.list {
		a := &all.list[i]
		if err := a.store(); err != nil {
			return nil, err
		}
		ask.Versions = append(ask.Versions, awayPublication{
			Module: a.mv.Path, Version: a.mv.Version, Time: a.at, H1: a.content.ZipH1, Zip: a.content.Zip,
		})
	}
	f, err := n.sites.forward(ctx, who, home, opPublishAll, ask, &ps)
	if err != nil {
		return nil, err
	}
	if len(ps) != len(all.list) {
		return nil, fail(ErrUnavailable, "site %s gave an answer about %d versions and was asked about %d; is it of another version?", home, len(ps), len(all.list))
	}
	for i := range ps {
		ps[i].At = positionOf(ps[i].Position)
		ps[i].Pending = f.pending
	}
	return ps, nil
}

// publishAllFor publishes at this site, the home, what another site asks for. The
// position is that of the entry that was appended, or of the last one if all are
// there already.
func (n *Node) publishAllFor(ctx context.Context, who *access.Caller, from events.Site, b awayPublications) ([]Published, events.Position, error) {
	none := events.Position{}
	r, err := n.deploysAtHome(b.Repo)
	if err != nil {
		return nil, none, err
	}
	if len(b.Versions) == 0 {
		return nil, none, fail(ErrInvalid, "there is no version to publish")
	}
	var all together
	defer all.discard()
	for _, v := range b.Versions {
		mv := module.Version{Path: v.Module, Version: v.Version}
		if err := n.pullGather(ctx, who, from, r, &all, v); err != nil {
			return nil, none, aboutVersion(mv, err)
		}
	}
	ps, err := n.admitAll(ctx, who, &all)
	if err != nil {
		return nil, none, err
	}
	return ps, lastAt(ps, n.id.Site), nil
}

// pullGather is gather for what another site has the zip of.
func (n *Node) pullGather(ctx context.Context, who *access.Caller, from events.Site, r *events.Repo, all *together, b awayPublication) error {
	if err := all.room(module.Version{Path: b.Module, Version: b.Version}); err != nil {
		return err
	}
	a, err := n.pullPublication(ctx, who, from, r, b)
	if err != nil {
		return err
	}
	return n.add(ctx, all, a)
}

// lastAt returns the last of the positions in a site's log; zero if there is none:
// then all were published at a former home, long ago.
func lastAt(ps []Published, site events.Site) (last events.Position) {
	for _, p := range ps {
		if p.At.Site == site && p.At.Mark.Compare(last.Mark) > 0 {
			last = p.At
		}
	}
	return last
}
