package node

import (
	"context"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/blob"
)

// awayPublication is a version that another site wants published here, where its
// zip is to be fetched from that site.
type awayPublication struct {
	Repo    events.RepoID `json:"repo"`
	Module  string        `json:"module"`
	Version string        `json:"version"`
	Time    time.Time     `json:"time,omitzero"`
	H1      events.H1     `json:"h1,omitzero"` // as the publisher computed it, or the asking site
	Zip     events.Blob   `json:"zip"`
	// Properties are those that the version gets with it.
	Properties events.Properties `json:"properties,omitempty"`
}

// publishAway has the home of a repository decide about a publication. The zip
// is checked and made durable here first, so that the home can fetch it, and so
// that the version is readable here once this node has applied the decision.
func (n *Node) publishAway(ctx context.Context, home events.Site, a *admission) (Published, error) {
	c, err := n.verify(ctx, a)
	if err != nil {
		return Published{}, err
	}
	if got, done, err := n.already(a, c); done {
		return published(a.repo, a.mv, got), err
	}
	n.blobs.admitting.RLock()
	defer n.blobs.admitting.RUnlock()
	zip := events.Blob{Digest: a.zip.Digest(), Size: a.zip.Size()}
	if err := a.store(); err != nil {
		return Published{}, err
	}
	var p Published
	f, err := n.sites.forward(ctx, a.who, home, opPublish, awayPublication{
		Repo: a.repo.ID, Module: a.mv.Path, Version: a.mv.Version, Time: a.at, H1: c.ZipH1, Zip: zip, Properties: a.properties,
	}, &p)
	if err != nil {
		return Published{}, err
	}
	p.At, p.Pending = f.at, f.pending
	return p, nil
}

// publishFor publishes at this site, the home, what another site asks for.
func (n *Node) publishFor(ctx context.Context, who *access.Caller, from events.Site, b awayPublication) (Published, events.Position, error) {
	none := events.Position{}
	r, err := n.deploysAtHome(b.Repo)
	if err != nil {
		return Published{}, none, err
	}
	a, err := n.pullPublication(ctx, who, from, r, b)
	if err != nil {
		return Published{}, none, err
	}
	defer a.zip.Discard()
	got, err := n.admit(ctx, &a)
	if err != nil {
		return Published{}, none, err
	}
	p := published(r, a.mv, got)
	return p, p.At, nil
}

// deploysAtHome returns a repository that this site, its home, is asked to publish
// into.
func (n *Node) deploysAtHome(id events.RepoID) (*events.Repo, error) {
	r := n.directory().Repo(id)
	if r == nil || r.Deleted {
		return nil, fail(ErrNotFound, "the repository does not exist at its home, site %s", n.id.Site)
	}
	return r, n.isHomeOf(r)
}

// pullPublication stages the zip of what site from wants published here, if it may
// be. Who calls it discards the stage.
func (n *Node) pullPublication(ctx context.Context, who *access.Caller, from events.Site, r *events.Repo, b awayPublication) (admission, error) {
	mv := module.Version{Path: b.Module, Version: b.Version}
	if err := n.allow(who, access.Need{Action: access.Publish, Repo: r.Name.String(), Module: mv.Path}); err != nil {
		return admission{}, err
	}
	if err := events.CheckVersion(mv); err != nil {
		return admission{}, because(err, ErrInvalid, "%v", err)
	}
	a := admission{repo: r, mv: mv, published: true, at: b.Time, who: who, actor: who.Actor(), wantH1: b.H1, properties: b.Properties}
	if err := a.allowed(n.directory(), r); err != nil {
		return admission{}, err
	}
	if b.Zip.Size < 0 || b.Zip.Size > maxZip {
		return admission{}, fail(ErrTooLarge, "%s@%s: larger than a module zip may be (%d MiB)", mv.Path, mv.Version, maxZip>>20)
	}
	if err := n.space.check(); err != nil {
		return admission{}, err
	}
	stage, err := n.blobs.store.Stage(ctx, b.Zip.Size)
	if err != nil {
		return admission{}, storeFailed(err, "publish "+mv.String())
	}
	if err := n.sites.pullFrom(ctx, from, b.Zip, stage); err != nil {
		stage.Discard()
		return admission{}, err
	}
	a.zip = stage
	return a, nil
}

// pullFrom fetches a blob from the one site that asks for something to be done
// with it.
func (s *sites) pullFrom(ctx context.Context, from events.Site, b events.Blob, stage *blob.Stage) error {
	t := transfer{sites: s, blob: b, stage: stage}
	err := t.from(ctx, from)
	if err != nil && stage.Size() == 0 && ctx.Err() == nil {
		err = t.pushed(ctx, from) // it can be heard, if not dialled
	}
	if err != nil {
		return because(err, ErrUnavailable, "site %s could not fetch the zip from site %s: %v", s.node.id.Site, from, err)
	}
	return nil
}
