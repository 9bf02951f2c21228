package node

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"registry-node/events"
	"registry-node/node/access"
)

// Dated says since when a version is known, as a line of an index feed does.
type Dated struct {
	Path      string
	Version   string
	Timestamp time.Time
}

// MaxDates bounds how many dates one call of SeedTimes takes.
const MaxDates = 5000

// awayDates are dates between sites.
type awayDates struct {
	Repo  events.RepoName `json:"repo"`
	Dates []Dated         `json:"dates"`
}

// Seeded is what became of dates.
type Seeded struct {
	Recorded int `json:"recorded"`
	Known    int `json:"known"` // for as long or longer already
}

// SeedTimes has the registry record since when versions are known upstream of a
// remote repository, where that is longer than it knows itself, so that a minimum
// age does not take the whole world for new. The registry's home decides. Errors:
// ErrNotFound, ErrInvalid (a path, version or time; more than MaxDates; not a
// remote repository), ErrNoSpace, ErrUnavailable.
func (n *Node) SeedTimes(ctx context.Context, who *access.Caller, repo events.RepoName, dates []Dated) (s Seeded, err error) {
	if err := n.allow(who, manage(repo)); err != nil {
		return s, err
	}
	if _, err := n.remoteNamed(repo); err != nil {
		return s, err
	}
	if len(dates) > MaxDates {
		return s, fail(ErrInvalid, "more than %d dates at a time", MaxDates)
	}
	_, err = n.atRegistryHome(ctx, who, opDates, awayDates{repo, dates}, &s, func() (err error) {
		s, _, err = n.seedTimes(ctx, who, awayDates{repo, dates})
		return err
	})
	return s, err
}

// seedTimes decides at this site, the registry's home.
func (n *Node) seedTimes(ctx context.Context, who *access.Caller, a awayDates) (s Seeded, at events.Position, err error) {
	if err := n.allow(who, manage(a.Repo)); err != nil {
		return s, at, err
	}
	if len(a.Dates) > MaxDates {
		return s, at, fail(ErrInvalid, "more than %d dates at a time", MaxDates)
	}
	a.Dates = slices.Clone(a.Dates)
	now := time.Now()
	for i, d := range a.Dates {
		if err := events.CheckVersion(module.Version{Path: d.Path, Version: d.Version}); err != nil {
			return s, at, because(err, ErrInvalid, "%v", err)
		}
		if d.Timestamp.IsZero() || d.Timestamp.After(now) {
			return s, at, fail(ErrInvalid, "%s@%s is dated %s, which is no time in the past", d.Path, d.Version, d.Timestamp.Format(time.RFC3339))
		}
		a.Dates[i].Timestamp = d.Timestamp.UTC()
	}
	slices.SortFunc(a.Dates, func(a, b Dated) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), semver.Compare(a.Version, b.Version), a.Timestamp.Compare(b.Timestamp))
	})
	a.Dates = slices.CompactFunc(a.Dates, func(a, b Dated) bool {
		return a.Path == b.Path && semver.Compare(a.Version, b.Version) == 0
	})
	for chunk := range slices.Chunk(a.Dates, datesPerEntry) {
		one, p, err := n.recordDates(ctx, who, a.Repo, chunk)
		if err != nil {
			return s, at, err
		}
		s.Recorded += one
		s.Known += len(chunk) - one
		if !p.Mark.IsZero() {
			at = p
		}
	}
	return s, at, nil
}

// datesPerEntry keeps the events about so many dates, with paths and versions of
// common length, well below what an entry holds.
const datesPerEntry = 1000

// recordDates records sorted dates, and returns how many were news.
func (n *Node) recordDates(ctx context.Context, who *access.Caller, repo events.RepoName, dates []Dated) (recorded int, at events.Position, err error) {
	got, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		recorded = 0
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		r := v.dir.RepoNamed(repo)
		if r == nil || r.Deleted || r.Kind != events.Remote {
			return nil, fail(ErrNotFound, "there is no remote repository called %q", repo)
		}
		var bodies []events.Body
		for i := 0; i < len(dates); {
			end := i
			for end < len(dates) && dates[end].Path == dates[i].Path {
				end++
			}
			cs, err := v.txn.Get(events.KeyModule(r.ID, dates[i].Path))
			if err != nil {
				return nil, err
			}
			b := newDates(v.dir.ResolveSeen(r, cs), dates[i:end])
			b.Repo, b.Module, b.Actor = r.ID, dates[i].Path, who.Actor()
			if len(b.Versions) > 0 {
				bodies = append(bodies, b)
				recorded += len(b.Versions)
			}
			i = end
		}
		return bodies, nil
	})
	if err != nil {
		return 0, at, fmt.Errorf("record dates: %w", err)
	}
	return recorded, got.Position, nil
}

// newDates returns those of one module's dates that are earlier than what is known.
func newDates(known map[string]time.Time, dates []Dated) (b events.VersionDated) {
	for _, d := range dates {
		if t, ok := known[d.Version]; ok && !d.Timestamp.Before(t) {
			continue
		}
		b.Versions = append(b.Versions, d.Version)
		b.Times = append(b.Times, d.Timestamp)
	}
	return b
}
