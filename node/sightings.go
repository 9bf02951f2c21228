package node

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"registry-node/events"
)

// sightings have the log record which versions an upstream showed that were not
// known before: their age counts from then (version.seen). Who asked for the list
// does not wait for it. What finds no place here, or can't be logged, is seen
// again with the next list.
type sightings struct {
	in      chan sighting
	waiting atomic.Int64 // those in the queue and the one at work; for tests
}

type sighting struct {
	repo     events.RepoID
	path     string
	versions []string // sorted
}

// sightingQueue bounds the lists that wait to be looked through.
const sightingQueue = 1 << 10

func newSightings() *sightings { return &sightings{in: make(chan sighting, sightingQueue)} }

// noteSeen puts down what the upstream said of a module. What a query stands for
// is of interest only where ages are.
func (r *Repository) noteSeen(path string, s seen) {
	versions := s.Versions
	if s.Version != "" && !r.repo.Settings.MinAge.IsZero() {
		versions = []string{s.Version}
	}
	if len(versions) == 0 {
		return
	}
	r.node.sightings.put(sighting{r.repo.ID, path, versions})
}

// run records what is put down until ctx ends.
func (q *sightings) run(ctx context.Context, n *Node) {
	for {
		select {
		case s := <-q.in:
			if err := n.recordSeen(ctx, s); err != nil && ctx.Err() == nil {
				n.logger.Debug("versions seen upstream are not recorded yet", "module", s.path, "error", err)
			}
			q.waiting.Add(-1)
		case <-ctx.Done():
			return
		}
	}
}

// recordSeen has the log record the versions that nobody is known to have seen
// whose time counts.
func (n *Node) recordSeen(ctx context.Context, s sighting) error {
	st := n.state.Load()
	repo := st.dir.Repo(s.repo)
	if repo == nil || repo.Deleted {
		return nil
	}
	ages, err := n.firstSeen(st.dir, n.viewOf(repo), s.path)
	if err != nil || len(unknown(ages, s)) == 0 {
		return err
	}
	_, err = n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		repo := v.dir.Repo(s.repo)
		if repo == nil || repo.Deleted {
			return nil, nil
		}
		cs, err := v.txn.Get(events.KeyModule(s.repo, s.path))
		if err != nil {
			return nil, err
		}
		var bodies []events.Body
		for chunk := range slices.Chunk(unknown(v.dir.ResolveSeen(n.viewOf(repo), cs), s), events.MaxSeen) {
			bodies = append(bodies, events.VersionSeen{Repo: s.repo, Module: s.path, Versions: chunk})
		}
		return bodies, nil
	})
	return err
}

// seenElsewhere returns what another site saw or recorded; ok is true if the clocks
// of some sites only count in its repository, and this site's is among them.
func (n *Node) seenElsewhere(body events.Body) (s sighting, ok bool) {
	switch b := body.(type) {
	case events.VersionSeen:
		s = sighting{b.Repo, b.Module, b.Versions}
	case events.VersionFilled:
		s = sighting{b.Repo, b.Module, []string{b.Version}}
	default:
		return s, false
	}
	r := n.directory().Repo(s.repo)
	return s, r != nil && len(r.Settings.TimeSites) > 0 && r.Settings.TimeCounts(n.id.Site)
}

// put puts a sighting down if there is a place.
func (q *sightings) put(s sighting) {
	q.waiting.Add(1)
	select {
	case q.in <- s:
	default:
		q.waiting.Add(-1)
	}
}

// viewOf returns the repository with the clocks by which this site judges whether
// a version is news: those that count, or all if its own does not.
func (n *Node) viewOf(r *events.Repo) *events.Repo {
	if r.Settings.TimeCounts(n.id.Site) {
		return r
	}
	all := *r
	all.Settings.TimeSites = nil
	return &all
}

// unknown returns the versions of a sighting that can stand in an event and are
// not in known.
func unknown(known map[string]time.Time, s sighting) []string {
	var news []string
	for _, v := range s.versions {
		if _, ok := known[v]; ok || events.CheckVersion(module.Version{Path: s.path, Version: v}) != nil {
			continue
		}
		if n := len(news); n > 0 && semver.Compare(news[n-1], v) >= 0 {
			continue // it differs in build metadata only
		}
		news = append(news, v)
	}
	return news
}

// firstSeen returns when each version of a module was first seen, by the clocks
// that count in the repository: upstream, or by what was recorded of it. The
// caller does not change the result.
func (n *Node) firstSeen(d *events.Directory, r *events.Repo, path string) (map[string]time.Time, error) {
	k := seenKey{r.ID, path, len(r.Settings.TimeSites) == 0}
	x := n.index.Load()
	key := events.KeyModule(r.ID, path)
	gen := x.Generation(key)
	for _, t := range n.reads.ages {
		if e, ok := t.get(k); ok && e.generation == gen && e.dir == d && e.index == x {
			return e.ages, nil
		}
	}
	cs, err := x.Get(key)
	if err != nil {
		return nil, err
	}
	ages := d.ResolveSeen(r, cs)
	for rec, err := range x.Prefix(events.VersionsPrefix(r.ID, path)) {
		if err != nil {
			return nil, err
		}
		_, mv, _ := rec.Key.Version()
		v := d.ResolveVersion(r, rec.Contributions)
		if t := v.FirstSeen(r); !t.IsZero() {
			if old, ok := ages[mv.Version]; !ok || t.Before(old) {
				ages[mv.Version] = t
			}
		}
	}
	n.reads.agesOf(len(ages)).put(k, agesEntry{x, d, gen, ages})
	return ages, nil
}
