package node

import (
	"context"
	"slices"

	"golang.org/x/mod/module"

	"registry-node/events"
)

// Blocks returns what is blocked, by module and version.
func (n *Node) Blocks() []events.Block {
	if list := n.directory().Blocks(); list != nil {
		return list
	}
	return []events.Block{}
}

// Block forbids a module version in all repositories, or with an empty version
// all versions of the module. Any site may, at once. Errors: ErrInvalid,
// ErrNoSpace, ErrUnavailable.
func (n *Node) Block(ctx context.Context, mv module.Version, reason, actor string) (events.Block, error) {
	if err := checkBlock(mv); err != nil {
		return events.Block{}, err
	}
	if reason == "" {
		return events.Block{}, fail(ErrInvalid, "a block needs a reason, which users are told")
	}
	_, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		if slices.ContainsFunc(v.dir.Blocks(), func(b events.Block) bool { return b.Module == mv.Path && b.Version == mv.Version }) {
			return nil, nil
		}
		return []events.Body{events.VersionBlocked{Module: mv.Path, Version: mv.Version, Reason: reason, Actor: actor}}, nil
	})
	if err != nil {
		return events.Block{}, err
	}
	b, _ := n.directory().Blocked(mv)
	return b, nil
}

func checkBlock(mv module.Version) error {
	if mv.Version == "" {
		if err := module.CheckPath(mv.Path); err != nil {
			return because(err, ErrInvalid, "%v", err)
		}
		return nil
	}
	if err := events.CheckVersion(mv); err != nil {
		return because(err, ErrInvalid, "%v", err)
	}
	return nil
}

// awayVersion names a module version between sites.
type awayVersion struct {
	Module  string `json:"module"`
	Version string `json:"version,omitempty"`
}

func (v awayVersion) version() module.Version {
	return module.Version{Path: v.Module, Version: v.Version}
}

// Unblock takes all blocks back that are known of a module version, or with an
// empty version those of the module as a whole. The registry's home decides.
// Errors: ErrNotFound (it is not blocked), ErrInvalid, ErrNoSpace,
// ErrUnavailable.
func (n *Node) Unblock(ctx context.Context, mv module.Version, actor string) error {
	if err := checkBlock(mv); err != nil {
		return err
	}
	_, err := n.atRegistryHome(ctx, opUnblock, actor, awayVersion{mv.Path, mv.Version}, &nothing{}, func() error {
		_, err := n.unblock(ctx, mv, actor)
		return err
	})
	return err
}

// unblock decides at this site, the registry's home.
func (n *Node) unblock(ctx context.Context, mv module.Version, actor string) (events.Position, error) {
	at, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		cs, err := v.txn.Get(events.KeyBlock(mv))
		if err != nil {
			return nil, err
		}
		blocked := slices.ContainsFunc(v.dir.Blocks(), func(b events.Block) bool { return b.Module == mv.Path && b.Version == mv.Version })
		if !blocked {
			return nil, fail(ErrNotFound, "%s %s is not blocked", mv.Path, mv.Version)
		}
		b := events.VersionUnblocked{Module: mv.Path, Version: mv.Version, Actor: actor}
		for _, c := range cs {
			if len(c.Facts) > 0 {
				b.Clears = append(b.Clears, events.Cleared{Site: c.Site, At: c.Facts[len(c.Facts)-1].Mark})
			}
		}
		return []events.Body{b}, nil
	})
	return at.Position, err
}
