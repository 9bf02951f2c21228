package node

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/access"
)

// maxWideBlocks bounds the blocks with wildcards: each is looked at in every
// request.
const maxWideBlocks = 256

// Blocks returns what is blocked, by module and version, as far as the caller may
// block it.
func (n *Node) Blocks(who *access.Caller) ([]events.Block, error) {
	if err := n.mayLook(who); err != nil {
		return nil, err
	}
	st := n.state.Load()
	list := []events.Block{}
	for _, b := range st.dir.Blocks() {
		if st.rights.Allows(who, toBlock(events.VersionPatternOf(module.Version{Path: b.Module, Version: b.Version}))) {
			list = append(list, b)
		}
	}
	return list, nil
}

// toBlock is what it takes to block versions in all repositories: a rule for the
// module, or, if the pattern has wildcards in the path, for all modules.
func toBlock(p events.VersionPattern) access.Need {
	path, _ := p.Parts()
	if strings.ContainsAny(path, "*?") {
		path = ""
	}
	return access.Need{Action: access.Block, Repo: "*", Module: path}
}

// Block forbids the module versions that a pattern matches, in all repositories.
// Any site may, at once. What is blocked already stays as it is. Errors:
// ErrInvalid, ErrTooLarge (there are 256 blocks with wildcards), ErrNoSpace,
// ErrUnavailable.
func (n *Node) Block(ctx context.Context, who *access.Caller, p events.VersionPattern, reason string) (events.Block, error) {
	if err := checkBlock(p); err != nil {
		return events.Block{}, err
	}
	if err := n.allow(who, toBlock(p)); err != nil {
		return events.Block{}, err
	}
	if reason == "" {
		return events.Block{}, fail(ErrInvalid, "a block needs a reason, which users are told")
	}
	_, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		blocks := v.dir.Blocks()
		if _, has := blockOf(blocks, p); has {
			return nil, nil
		}
		if isWide(p) && countWide(blocks) >= maxWideBlocks {
			return nil, fail(ErrTooLarge, "%d blocks with wildcards are in force, which is the most; take back those that are no longer needed (registry-node block list), or name versions without wildcards", maxWideBlocks)
		}
		path, version := p.Parts()
		return []events.Body{events.VersionBlocked{Module: path, Version: version, Reason: reason, Actor: who.Actor()}}, nil
	})
	if err != nil {
		return events.Block{}, err
	}
	b, _ := blockOf(n.directory().Blocks(), p)
	return b, nil
}

func checkBlock(p events.VersionPattern) error {
	if _, err := events.ParseVersionPattern(p.String()); err != nil {
		return because(err, ErrInvalid, "%v", err)
	}
	return nil
}

// blockOf returns the block for this very pattern.
func blockOf(blocks []events.Block, p events.VersionPattern) (events.Block, bool) {
	path, version := p.Parts()
	i := slices.IndexFunc(blocks, func(b events.Block) bool { return b.Module == path && b.Version == version })
	if i < 0 {
		return events.Block{}, false
	}
	return blocks[i], true
}

func isWide(p events.VersionPattern) bool {
	_, exact := p.Exact()
	return !exact
}

func countWide(blocks []events.Block) (n int) {
	for _, b := range blocks {
		if isWide(events.VersionPatternOf(module.Version{Path: b.Module, Version: b.Version})) {
			n++
		}
	}
	return n
}

// neverPurged reports whether a block is that of a purge, which is for ever.
func neverPurged(v view, p events.VersionPattern) error {
	mv, exact := p.Exact()
	if !exact || mv.Version == "" {
		return nil
	}
	for _, r := range v.dir.AllRepos() {
		cs, err := v.txn.Get(events.KeyVersion(r.ID, mv))
		if err != nil {
			return err
		}
		if held := v.dir.ResolveVersion(r, cs); held.Status == events.Purged {
			return fail(ErrForbidden, "%v was purged: %s; that can't be taken back", p, held.Purged.Reason)
		}
	}
	return nil
}

// awayBlock names a block between sites.
type awayBlock struct {
	Module  string `json:"module"`
	Version string `json:"version,omitempty"`
}

func (b awayBlock) pattern() events.VersionPattern {
	return events.VersionPatternOf(module.Version{Path: b.Module, Version: b.Version})
}

// Unblock takes all blocks back that are known for this very pattern; others that
// match the same versions still hold. The registry's home decides. Errors:
// ErrNotFound (it is not blocked), ErrInvalid, ErrNoSpace, ErrUnavailable.
func (n *Node) Unblock(ctx context.Context, who *access.Caller, p events.VersionPattern) error {
	if err := n.allow(who, toBlock(p)); err != nil {
		return err
	}
	path, version := p.Parts()
	_, err := n.atRegistryHome(ctx, who, opUnblock, awayBlock{path, version}, &nothing{}, func() error {
		_, err := n.unblock(ctx, who, p)
		return err
	})
	return err
}

// unblock decides at this site, the registry's home.
func (n *Node) unblock(ctx context.Context, who *access.Caller, p events.VersionPattern) (events.Position, error) {
	if err := checkBlock(p); err != nil {
		return events.Position{}, err
	}
	if err := n.allow(who, toBlock(p)); err != nil {
		return events.Position{}, err
	}
	path, version := p.Parts()
	at, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		cs, err := v.txn.Get(events.KeyBlock(module.Version{Path: path, Version: version}))
		if err != nil {
			return nil, err
		}
		if _, blocked := blockOf(v.dir.Blocks(), p); !blocked {
			return nil, fail(ErrNotFound, "%v is not blocked", p)
		}
		if err := neverPurged(v, p); err != nil {
			return nil, err
		}
		b := events.VersionUnblocked{Module: path, Version: version, Actor: who.Actor()}
		for _, c := range cs {
			if len(c.Facts) > 0 {
				b.Clears = append(b.Clears, events.Cleared{Site: c.Site, At: c.Facts[len(c.Facts)-1].Mark})
			}
		}
		return []events.Body{b}, nil
	})
	return at.Position, err
}
