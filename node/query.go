package node

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"registry-node/events"
)

// Latest returns the info of the highest release, else of the highest
// pre-release, else of the newest pseudo-version (by commit time) that is known.
func (r *Repository) Latest(ctx context.Context, path string) (Info, error) {
	l, err := r.List(ctx, path)
	if err != nil {
		return Info{}, err
	}
	version := highest(l.Versions)
	if version == "" {
		if version, err = r.newestPseudo(ctx, path); err != nil {
			return Info{}, err
		}
	}
	info, err := r.Info(ctx, path, version)
	info.Fixed = false
	return info, err
}

func (r *Repository) newestPseudo(ctx context.Context, path string) (string, error) {
	sources, _, err := r.sources(path) // that it is a module, List has found
	if err != nil {
		return "", err
	}
	newest := ""
	for i, s := range sources {
		v, err := s.latestPseudo(ctx, path)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return "", err
		}
		if newest != "" && comparePseudo(v, newest) <= 0 {
			continue
		}
		refused, err := refusedBefore(sources[:i], module.Version{Path: path, Version: v})
		if err != nil {
			return "", err
		}
		if !refused {
			newest = v
		}
	}
	if newest == "" {
		return "", fail(ErrNotFound, "%s: repository %s knows no version of it", path, r.repo.Name)
	}
	return newest, nil
}

// refusedBefore reports whether one of the sources that are asked earlier for a
// version has seen it, and holds it back for its age.
func refusedBefore(earlier []*Repository, mv module.Version) (bool, error) {
	for _, s := range earlier {
		if at, young, err := s.opens(mv, time.Now()); err != nil || young && !at.IsZero() {
			return true, err
		}
	}
	return false, nil
}

func (r *Repository) latestPseudo(ctx context.Context, path string) (string, error) {
	var refused error // what the upstream calls the newest is not given out
	if r.repo.Kind == events.Remote && !r.HeldOnly {
		info, err := r.queryRemote(ctx, path, latestQuery)
		switch {
		case err == nil:
			return info.Version, nil
		case errors.Is(err, ErrForbidden):
			refused = err
		case !errors.Is(err, ErrNotFound):
			return "", err
		}
	}
	h, err := r.node.heldVersions(r.st.dir, r.repo, path)
	if err != nil {
		return "", err
	}
	for _, v := range slices.Backward(h.pseudo) {
		if _, young, err := r.opens(module.Version{Path: path, Version: v}, time.Now()); err != nil || !young {
			return v, err
		}
	}
	if refused != nil {
		return "", refused
	}
	return "", fail(ErrNotFound, "%s: no pseudo-version in repository %s", path, r.repo.Name)
}

// highest returns the highest release of sorted versions, else the highest
// pre-release; "" if there is none. An +incompatible version counts only if
// there is no other release, as the go command prefers.
func highest(versions []string) string {
	best := ""
	rank := func(v string) int {
		switch {
		case semver.Prerelease(v) != "":
			return 1
		case semver.Build(v) == "+incompatible":
			return 2
		}
		return 3
	}
	for _, v := range versions {
		if best == "" || rank(v) >= rank(best) {
			best = v
		}
	}
	return best
}

// query resolves what is not a canonical version.
func (r *Repository) query(ctx context.Context, path, query string) (Info, error) {
	if r.behind != nil {
		return Info{}, r.unsure(errAbsent)
	}
	if err := module.CheckPath(path); err != nil {
		return Info{}, because(err, ErrNotFound, "%v", err)
	}
	sources, kept, err := r.sources(path)
	if err != nil {
		return Info{}, err
	}
	var absent error
	for _, s := range sources {
		info, err := s.queryOne(ctx, path, query)
		if !errors.Is(err, ErrNotFound) {
			return info, err
		}
		absent = err
	}
	if kept != noBarrier {
		return Info{}, r.excluded(ctx, path, kept)
	}
	return Info{}, because(absent, ErrNotFound, "%s@%s: repository %s knows no such version, branch or commit", path, query, r.repo.Name)
}

func (r *Repository) queryOne(ctx context.Context, path, query string) (Info, error) {
	if r.repo.Kind == events.Remote {
		return r.queryRemote(ctx, path, query)
	}
	h, err := r.node.heldVersions(r.st.dir, r.repo, path)
	if err != nil {
		return Info{}, err
	}
	for _, v := range slices.Backward(h.pseudo) { // a commit, by the 12 digits that pseudo-versions have
		if rev, err := module.PseudoVersionRev(v); err == nil && len(query) >= 12 && rev == query[:12] {
			info, err := r.Info(ctx, path, v)
			info.Fixed = false
			return info, err
		}
	}
	return Info{}, fail(ErrNotFound, "%s@%s: not found in repository %s", path, query, r.repo.Name)
}

// infoJSON returns the .info of a version that is published here.
func infoJSON(version string, t time.Time) []byte {
	b, err := json.Marshal(struct {
		Version string
		Time    time.Time
	}{version, t.UTC()})
	if err != nil {
		panic(err) // a string and a time
	}
	return b
}
