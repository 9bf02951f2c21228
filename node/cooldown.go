package node

import (
	"context"
	"slices"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"registry-node/events"
)

// A remote repository may give versions out only some time after the registry
// first saw them (the minimum age, or cooldown): most malicious releases are found
// within days. Younger ones stand in no list, are no @latest and nothing that a
// branch stands for, and their zips are refused with the time from which on they
// are given out. Info and go.mod of an exact version stay readable, so that module
// graphs resolve. Age counts from what the log says, never from what an upstream
// says of itself.

// opens returns when a version is given out; young is false if it is already. A
// version that nobody has seen yet whose clock counts opens at no time that is
// known: zero.
func (r *Repository) opens(mv module.Version, now time.Time) (at time.Time, young bool, err error) {
	p := r.repo.Settings.RemotePolicy
	if r.repo.Kind != events.Remote || p.MinAge.IsZero() || p.Exempt(mv) {
		return at, false, nil
	}
	ages, err := r.node.firstSeen(r.st.dir, r.repo, mv.Path)
	if err != nil {
		return at, false, err
	}
	at, young = r.opensAt(ages, mv, now)
	return at, young, nil
}

// opensAt is opens of a version of the module of which ages tells, where there is
// a minimum age.
func (r *Repository) opensAt(ages map[string]time.Time, mv module.Version, now time.Time) (at time.Time, young bool) {
	if r.repo.Settings.Exempt(mv) {
		return at, false
	}
	seen, ok := ages[mv.Version]
	if !ok {
		return at, true
	}
	at = seen.Add(r.repo.Settings.MinAge.Or(0))
	return at, now.Before(at)
}

// tooYoung is the error for what is not given out yet.
func (r *Repository) tooYoung(mv module.Version, at time.Time) error {
	age := r.repo.Settings.MinAge
	if at.IsZero() {
		return fail(ErrForbidden, "%s@%s: repository %s gives versions out %v after they were first seen, and no site whose clock counts there has seen this one yet",
			mv.Path, mv.Version, r.repo.Name, age)
	}
	return fail(ErrForbidden, "%s@%s is too new: repository %s gives versions out %v after they were first seen, this one from %s on; an administrator can exempt it (repo set %s --no-min-age)",
		mv.Path, mv.Version, r.repo.Name, age, at.UTC().Format("2006-01-02 15:04:05 MST"), r.repo.Name)
}

// ripe reports why the zip of mv is not given out. What the registry has not seen
// at all is asked for first, so that its time is known.
func (r *Repository) ripe(ctx context.Context, mv module.Version) error {
	at, young, err := r.opens(mv, time.Now())
	if err != nil || !young {
		return err
	}
	if at.IsZero() {
		if _, err := r.content(ctx, mv); err != nil {
			return err
		}
		// What another site recorded says nothing by a clock that does not count.
		if err := r.node.recordSeen(ctx, sighting{r.repo.ID, mv.Path, []string{mv.Version}}); err != nil {
			return err
		}
		if at, young, err = r.opens(mv, time.Now()); err != nil || !young {
			return err
		}
	}
	return r.tooYoung(mv, at)
}

// ripened returns those of sorted versions of a module that may be listed.
//
// A version that is left out may carry retractions of older ones, which the go
// command reads from the go.mod of the newest version that it is shown. So what
// the newest of those left out retracts is left out as well, unless nothing would
// be left.
func (r *Repository) ripened(ctx context.Context, path string, versions []string) ([]string, error) {
	if r.repo.Settings.MinAge.IsZero() {
		return versions, nil
	}
	ages, err := r.node.firstSeen(r.st.dir, r.repo, path)
	if err != nil {
		return nil, err
	}
	var young []string
	now := time.Now()
	ripe := make([]string, 0, len(versions))
	for _, v := range versions {
		if _, hide := r.opensAt(ages, module.Version{Path: path, Version: v}, now); hide {
			young = append(young, v)
		} else {
			ripe = append(ripe, v)
		}
	}
	newest := highest(versions) // the one whose go.mod the go command would read
	if !slices.Contains(young, newest) {
		return ripe, nil
	}
	retracted := r.retracts(ctx, module.Version{Path: path, Version: newest})
	left := slices.DeleteFunc(slices.Clone(ripe), retracted)
	if len(left) == 0 {
		return ripe, nil
	}
	return left, nil
}

// retractPatience is how long a list waits for the go.mod of a version that it
// leaves out. Without it, nothing counts as retracted.
const retractPatience = 5 * time.Second

// retracts returns what tells which versions mv's go.mod retracts.
func (r *Repository) retracts(ctx context.Context, mv module.Version) func(version string) bool {
	none := func(string) bool { return false }
	ctx, cancel := context.WithTimeout(ctx, retractPatience)
	defer cancel()
	c, err := r.content(ctx, mv)
	if err != nil {
		r.node.logger.Debug("what a version retracts is not known", "module", mv.Path, "version", mv.Version, "error", err)
		return none
	}
	data, err := r.node.mod(ctx, c)
	if err != nil {
		return none
	}
	f, err := modfile.ParseLax("go.mod", data, nil)
	if err != nil {
		return none
	}
	return func(version string) bool {
		return slices.ContainsFunc(f.Retract, func(i *modfile.Retract) bool {
			return semver.Compare(i.Low, version) <= 0 && semver.Compare(version, i.High) <= 0
		})
	}
}
