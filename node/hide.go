package node

import (
	"context"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/access"
)

// awayHiding is a deletion that another site forwards.
type awayHiding struct {
	Repo    events.RepoName `json:"repo"`
	Module  string          `json:"module"`
	Version string          `json:"version"`
	Reason  string          `json:"reason,omitempty"`
}

// Hide deletes a version from a local repository: it is shown no more, at any
// site. Its name stays burnt, also for the same content, and its bytes stay: who
// wants those gone purges it. The repository's home decides. What is hidden
// already stays so. Errors: ErrUnauthorized, ErrForbidden, ErrInvalid (path or
// version; not a local repository), ErrNotFound, ErrNoSpace, ErrUnavailable.
func (n *Node) Hide(ctx context.Context, who *access.Caller, repo events.RepoName, mv module.Version, reason string) error {
	a := awayHiding{repo, mv.Path, mv.Version, reason}
	r, err := n.hidable(who, a)
	if err != nil {
		return err
	}
	return n.atHome(ctx, n.homeOf(r.ID), func() error {
		_, err := n.hide(ctx, who, a)
		return err
	}, func(home events.Site) error {
		_, err := n.sites.forward(ctx, who, home, opHide, a, &nothing{})
		return err
	})
}

// hidable returns the repository that a deletion is for.
func (n *Node) hidable(who *access.Caller, a awayHiding) (*events.Repo, error) {
	if err := events.CheckVersion(module.Version{Path: a.Module, Version: a.Version}); err != nil {
		return nil, because(err, ErrInvalid, "%v", err)
	}
	if err := n.allow(who, access.Need{Action: access.Delete, Repo: a.Repo.String(), Module: a.Module}); err != nil {
		return nil, err
	}
	r := n.directory().RepoNamed(a.Repo)
	switch {
	case r == nil || r.Deleted:
		return nil, fail(ErrNotFound, "there is no repository called %q", a.Repo)
	case r.Kind != events.Local:
		return nil, fail(ErrInvalid, "repository %s is %v: only what was published into a local one can be deleted; to keep a version out, block it: registry-node block %s@%s", a.Repo, r.Kind, a.Module, a.Version)
	}
	return r, nil
}

// hide decides at this site, the repository's home.
func (n *Node) hide(ctx context.Context, who *access.Caller, a awayHiding) (events.Position, error) {
	r, err := n.hidable(who, a)
	if err != nil {
		return events.Position{}, err
	}
	mv := module.Version{Path: a.Module, Version: a.Version}
	at, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		now := v.dir.Repo(r.ID)
		if now == nil || now.Deleted {
			return nil, fail(ErrNotFound, "there is no repository called %q", a.Repo)
		}
		if err := n.isHomeOf(now); err != nil {
			return nil, err
		}
		cs, err := v.txn.Get(events.KeyVersion(r.ID, mv))
		if err != nil {
			return nil, err
		}
		switch held := v.dir.ResolveVersion(now, cs); held.Status {
		case events.Hidden:
			return nil, nil
		case events.Held:
			return []events.Body{events.VersionHidden{ModuleVersion: events.Of(r.ID, mv), Reason: a.Reason, Actor: who.Actor()}}, nil
		default:
			return nil, fail(ErrNotFound, "%s@%s is not in repository %s", a.Module, a.Version, a.Repo)
		}
	})
	return at.Position, err
}
