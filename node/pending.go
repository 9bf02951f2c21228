package node

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/index"
)

// Pending is a version that a repository does not give out yet.
type Pending struct {
	Module  string `json:"module"`
	Version string `json:"version"`
	// FirstSeen and Opens are zero if no site has seen it yet whose clock counts.
	FirstSeen time.Time `json:"first_seen,omitzero"`
	Opens     time.Time `json:"opens,omitzero"`
}

// MaxPending bounds how many versions Pending lists.
const MaxPending = 10_000

// Pending returns the versions that a remote repository does not give out yet, the
// next to open first, at most MaxPending; more says whether there are others. It
// reads what the logs say since the minimum age ago, and nothing before. Errors:
// ErrNotFound, ErrInvalid (not a remote repository, or one without a minimum age).
func (n *Node) Pending(ctx context.Context, who *access.Caller, name events.RepoName) (list []Pending, more bool, err error) {
	if err := n.allow(who, manage(name)); err != nil {
		return nil, false, err
	}
	r, err := n.remoteNamed(name)
	if err != nil {
		return nil, false, err
	}
	age := r.repo.Settings.MinAge
	if age.IsZero() {
		return nil, false, fail(ErrInvalid, "repository %s has no minimum age; registry-node repo set %s --min-age 7d sets one", name, name)
	}
	now := time.Now()
	found := map[string]map[string]bool{} // versions by module
	x := n.index.Load()
	heads, err := x.Heads()
	if err != nil {
		return nil, false, fmt.Errorf("index: %w", err)
	}
	for _, h := range heads {
		err := since(ctx, x, h, now.Add(-age.Or(0)), func(ev events.Event) {
			for _, mv := range shownBy(ev, r.repo.ID) {
				if found[mv.Path] == nil {
					found[mv.Path] = map[string]bool{}
				}
				found[mv.Path][mv.Version] = true
			}
		})
		if err != nil {
			return nil, false, err
		}
	}
	list = []Pending{}
	for path, versions := range found {
		ages, err := n.firstSeen(r.st.dir, r.repo, path)
		if err != nil {
			return nil, false, err
		}
		for v := range versions {
			if at, young := r.opensAt(ages, module.Version{Path: path, Version: v}, now); young {
				list = append(list, Pending{path, v, ages[v], at})
			}
		}
	}
	slices.SortFunc(list, func(a, b Pending) int {
		return cmp.Or(a.Opens.Compare(b.Opens), cmp.Compare(a.Module, b.Module), cmp.Compare(a.Version, b.Version))
	})
	more = len(list) > MaxPending
	return list[:min(len(list), MaxPending)], more, nil
}

// shownBy returns the versions of a repository that an event is the sight of.
func shownBy(ev events.Event, repo events.RepoID) (list []module.Version) {
	switch b := ev.Body.(type) {
	case events.VersionSeen:
		if b.Repo == repo {
			for _, v := range b.Versions {
				list = append(list, module.Version{Path: b.Module, Version: v})
			}
		}
	case events.VersionFilled:
		if b.Repo == repo {
			list = append(list, b.ModVersion())
		}
	}
	return list
}

// since calls f with the events of a log whose entries are not older than at. The
// times in a log never go back, so the first of them is found by halving.
func since(ctx context.Context, x *index.Index, head index.Head, at time.Time, f func(events.Event)) error {
	site, last := head.Position.Site, head.Position.Mark
	var failed error
	seq := sortSearch(last.Seq, func(seq uint64) bool {
		for raw, err := range x.Entries(site, events.Mark{Epoch: last.Epoch, Seq: seq - 1}) {
			var e events.Entry
			if err == nil {
				e, err = events.DecodeEntry(raw)
			}
			if err != nil {
				failed = err
			}
			return err != nil || !e.Time.Before(at)
		}
		return true
	})
	if failed != nil {
		return fmt.Errorf("index: log of site %s: %w", site, failed)
	}
	behind := events.Mark{Epoch: last.Epoch, Seq: seq - 1}
	if seq <= 1 { // it may begin in an earlier epoch
		behind = events.Mark{}
	}
	for raw, err := range x.Entries(site, behind) {
		var e events.Entry
		if err == nil {
			e, err = events.DecodeEntry(raw)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("log of site %s: %w", site, err)
		}
		if e.Time.Before(at) {
			continue
		}
		for _, ev := range e.Events {
			f(ev)
		}
	}
	return nil
}

// sortSearch returns the first of 1…n for which ok holds, or n+1.
func sortSearch(n uint64, ok func(uint64) bool) uint64 {
	low, high := uint64(1), n+1
	for low < high {
		if mid := low + (high-low)/2; ok(mid) {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}
