package node

import (
	"context"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/access"
)

// awaySettlement is a settlement between sites.
type awaySettlement struct {
	Repo    events.RepoName `json:"repo"`
	Module  string          `json:"module"`
	Version string          `json:"version"`
	ModH1   events.H1       `json:"mod_h1"`
	ZipH1   events.H1       `json:"zip_h1,omitzero"`
	Reason  string          `json:"reason"`
}

// Settle says which content of a version in a remote repository holds, after sites
// filled it differently: the one with these hashes; that of the zip may be zero if
// the go.mod tells them apart. The registry's home decides. Errors: ErrNotFound,
// ErrInvalid (not a remote repository, or no site stated such content),
// ErrNoSpace, ErrUnavailable.
func (n *Node) Settle(ctx context.Context, who *access.Caller, repo events.RepoName, mv module.Version, modH1, zipH1 events.H1, reason string) error {
	if err := n.allow(who, manage(repo)); err != nil {
		return err
	}
	if err := events.CheckVersion(mv); err != nil {
		return because(err, ErrInvalid, "%v", err)
	}
	body := awaySettlement{repo, mv.Path, mv.Version, modH1, zipH1, reason}
	_, err := n.atRegistryHome(ctx, who, opSettle, body, &nothing{}, func() error {
		_, err := n.settle(ctx, who, body)
		return err
	})
	return err
}

// settle decides at this site, the registry's home.
func (n *Node) settle(ctx context.Context, who *access.Caller, s awaySettlement) (events.Position, error) {
	if err := n.allow(who, manage(s.Repo)); err != nil {
		return events.Position{}, err
	}
	mv := module.Version{Path: s.Module, Version: s.Version}
	return n.decideRepo(ctx, s.Repo, false, func(v view, r *events.Repo) (events.Body, error) {
		if r.Kind != events.Remote {
			return nil, fail(ErrInvalid, "repository %s is %v; only what remote ones fetched can differ between sites", s.Repo, r.Kind)
		}
		cs, err := v.txn.Get(events.KeyVersion(r.ID, mv))
		if err != nil {
			return nil, err
		}
		if len(cs) == 0 {
			return nil, fail(ErrNotFound, "%v is not in repository %s", mv, s.Repo)
		}
		for _, c := range cs {
			for _, f := range c.Facts {
				b, ok := f.Body.(events.VersionFilled)
				if ok && b.ModH1 == s.ModH1 && (s.ZipH1.IsZero() || b.ZipH1 == s.ZipH1) {
					return events.VersionSettled{ModuleVersion: events.Of(r.ID, mv), ModH1: s.ModH1, ZipH1: s.ZipH1, Reason: s.Reason, Actor: who.Actor()}, nil
				}
			}
		}
		return nil, fail(ErrInvalid, "no site states content of %v with go.mod %v zip %v in repository %s", mv, s.ModH1, s.ZipH1, s.Repo)
	})
}
