package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/blob"
)

// Builds are what CI systems tell of a run: what it took and made, a document that the
// registry keeps and does not judge. They are in no repository. For rights they are in
// one that there can't be otherwise: artifactory-build-info, or of a project
// <project>-build-info. Who publishes there records them, who deletes there deletes
// them.

const (
	// MaxBuildInfo is how large the build info of a build may be, in bytes.
	MaxBuildInfo = 32 << 20

	buildInfoSuffix = "-build-info"
	// noProject stands in the name of that repository for builds without a project.
	noProject = "artifactory"

	// maxBuildTurns bounds the build infos that are in memory at a time.
	maxBuildTurns = 4
	// maxBuildLooks bounds the records that a list of builds looks at.
	maxBuildLooks = 200_000
	// maxBuildsDeleted bounds the numbers that one deletion names.
	maxBuildsDeleted = 500
)

// buildsNeed is what it takes to do something with the builds of a project.
func buildsNeed(a access.Action, project string) access.Need {
	if project == "" {
		project = noProject
	}
	return access.Need{Action: a, Repo: project + buildInfoSuffix}
}

// mayBuilds reports why a caller may not do something with the builds of a project.
// What is no name of a project never comes to the rules: the name of their repository
// would be made of it, and the keys of the builds that are read.
func (n *Node) mayBuilds(who *access.Caller, a access.Action, name events.BuildName) error {
	if name.Project == noProject {
		return fail(ErrInvalid, "a project can't be called %s: that stands for builds without one", noProject)
	}
	if err := name.CheckProject(); err != nil {
		return because(err, ErrInvalid, "build: %v", err)
	}
	return n.allow(who, buildsNeed(a, name.Project))
}

// checkBuild reports why no build can be called so.
func checkBuild(name events.BuildName) error {
	if err := name.Check(); err != nil {
		return because(err, ErrInvalid, "build: %v", err)
	}
	return nil
}

// RecordBuild records a run of a build with its build info, a JSON document of at most
// MaxBuildInfo bytes that says its name, its number and when it started. The same
// again is in no log. Another document for a run that started at the same time
// replaces it. Errors: ErrUnauthorized, ErrForbidden, ErrInvalid, ErrTooLarge,
// ErrNoSpace, ErrUnavailable.
func (n *Node) RecordBuild(ctx context.Context, who *access.Caller, project string, body io.Reader) (events.BuildName, error) {
	if err := n.mayBuilds(who, access.Publish, events.BuildName{Project: project}); err != nil {
		return events.BuildName{}, err
	}
	if err := n.space.check(); err != nil {
		return events.BuildName{}, err
	}
	stage, err := n.blobs.store.Stage(ctx, MaxBuildInfo)
	if err != nil {
		return events.BuildName{}, storeFailed(err, "build info")
	}
	defer stage.Discard()
	if _, err := io.Copy(stage, body); errors.Is(err, blob.ErrTooLarge) {
		return events.BuildName{}, fail(ErrTooLarge, "the build info is larger than %d MiB", MaxBuildInfo>>20)
	} else if err != nil {
		return events.BuildName{}, storeFailed(err, "build info")
	}
	b, err := n.stagedBuildInfo(ctx, stage)
	if err != nil {
		return b.BuildName, err
	}
	b.Project, b.Actor = project, who.Actor()
	if err := checkBuild(b.BuildName); err != nil {
		return b.BuildName, err
	}
	// As in admit: until it is recorded, the blob is there without a record.
	n.blobs.admitting.RLock()
	defer n.blobs.admitting.RUnlock()
	b.Info = events.Blob{Digest: stage.Digest(), Size: stage.Size()}
	if _, err := stage.Commit(b.Info.Digest); err != nil {
		return b.BuildName, storeFailed(err, "build "+b.Name)
	}
	if err := n.stillBuilds(ctx, who, b.BuildName); err != nil {
		return b.BuildName, err
	}
	_, err = n.commits.propose(ctx, func(v view) ([]events.Body, error) { return v.recordBuild(b) })
	return b.BuildName, err
}

// stillBuilds reports why a caller may no longer record a build: the upload may have
// taken minutes.
func (n *Node) stillBuilds(ctx context.Context, who *access.Caller, name events.BuildName) error {
	if err := n.recheck(ctx, who); err != nil {
		return err
	}
	return n.mayBuilds(who, access.Publish, name)
}

// stagedBuildInfo returns what a build info says of itself. Only few are in memory at
// a time, for as long as it takes to read them.
func (n *Node) stagedBuildInfo(ctx context.Context, stage *blob.Stage) (b events.BuildRecorded, err error) {
	select {
	case n.buildTurns <- struct{}{}:
		defer func() { <-n.buildTurns }()
	case <-ctx.Done():
		return b, context.Cause(ctx)
	}
	info := make([]byte, stage.Size())
	if _, err := stage.ReadAt(info, 0); err != nil {
		return b, err
	}
	if b, err = parseBuildInfo(info); err != nil {
		err = because(err, ErrInvalid, "the build info is not what is wanted: %v", err)
	}
	return b, err
}

// recordBuild returns what records a run, nothing if it is recorded.
func (v view) recordBuild(b events.BuildRecorded) ([]events.Body, error) {
	cs, err := v.txn.Get(b.Key(events.EventID{}))
	if err != nil {
		return nil, err
	}
	for _, old := range v.dir.ResolveBuilds(cs) {
		if old.Started.Equal(b.Started) && old.Info == b.Info {
			return nil, nil
		}
	}
	if cs.Of(v.at.Site).FullBut(spareFacts) {
		return nil, fail(ErrTooLarge, "build %s number %s was recorded too often; use another number", b.Name, b.Number)
	}
	return []events.Body{b}, nil
}

// Builds yields the runs of builds of a project that a caller may read: those of one
// name, or with an empty one of all, by name and number, those of one number by when
// they started. An error ends it: ErrUnauthorized, ErrForbidden, ErrTooLarge (there
// are too many for a list), or what ends ctx.
func (n *Node) Builds(ctx context.Context, who *access.Caller, project, name string) iter.Seq2[events.Build, error] {
	return func(yield func(events.Build, error) bool) {
		if err := n.mayBuilds(who, access.Read, events.BuildName{Project: project}); err != nil {
			yield(events.Build{}, err)
			return
		}
		dir, looks := n.directory(), 0
		for rec, err := range n.index.Load().Prefix(events.BuildsPrefix(project, name)) {
			switch looks++; {
			case err != nil:
				err = fmt.Errorf("builds: index: %w", err)
			case ctx.Err() != nil:
				err = context.Cause(ctx)
			case looks > maxBuildLooks:
				err = fail(ErrTooLarge, "there are too many builds for a list; ask for one by its name")
			}
			if err != nil {
				yield(events.Build{}, err)
				return
			}
			for _, b := range dir.ResolveBuilds(rec.Contributions) {
				if !yield(b, nil) {
					return
				}
			}
		}
	}
}

// LatestBuild stands for the number of the run of a build that started last.
const LatestBuild = "LATEST"

// Build returns a run of a build with its build info: that which started at a time,
// or, if that is zero, the last one of the number. The caller closes info, which has
// b.Info.Size bytes. If they are not here they are fetched from another site. Errors: ErrUnauthorized, ErrForbidden, ErrInvalid,
// ErrNotFound, ErrTooLarge (as Builds, for LatestBuild), ErrUnavailable.
func (n *Node) Build(ctx context.Context, who *access.Caller, name events.BuildName, started time.Time) (b events.Build, info io.ReadCloser, err error) {
	if err := n.mayBuilds(who, access.Read, name); err != nil {
		return b, nil, err
	}
	if err := checkBuild(name); err != nil {
		return b, nil, err
	}
	found := false
	for run, err := range n.runs(ctx, who, name) {
		if err != nil {
			return b, nil, err
		}
		if started.IsZero() && !run.Started.Before(b.Started) || !started.IsZero() && run.Started.Equal(started) {
			b, found = run, true
		}
	}
	if !found {
		return b, nil, fail(ErrNotFound, "No build was found for build name: %s, build number: %s", name.Name, name.Number)
	}
	info, err = n.buildInfo(ctx, b)
	return b, info, err
}

// runs yields the runs of a number, or of all for LatestBuild.
func (n *Node) runs(ctx context.Context, who *access.Caller, name events.BuildName) iter.Seq2[events.Build, error] {
	if name.Number == LatestBuild {
		return n.Builds(ctx, who, name.Project, name.Name)
	}
	return func(yield func(events.Build, error) bool) {
		cs, err := n.index.Load().Get(events.KeyBuild(name))
		if err != nil {
			yield(events.Build{}, fmt.Errorf("build %s: index: %w", name.Name, err))
			return
		}
		for _, b := range n.directory().ResolveBuilds(cs) {
			if !yield(b, nil) {
				return
			}
		}
	}
}

// buildStands reports whether some build has the build info that a site stated: one
// that was not deleted. While the site isn't known here, it may be.
func (n *Node) buildStands(v want) (bool, error) {
	x, d := n.index.Load(), n.directory()
	if _, known := d.Site(v.from); !known {
		return true, nil
	}
	for key, err := range x.Referrers(v.Blob.Digest) {
		if err != nil {
			return false, fmt.Errorf("build info: index: %w", err)
		}
		cs, err := x.Get(key)
		if err != nil {
			return false, fmt.Errorf("build info: index: %w", err)
		}
		if slices.ContainsFunc(d.ResolveBuilds(cs), func(b events.Build) bool { return b.Info == v.Blob }) {
			return true, nil
		}
	}
	return false, nil
}

// buildInfo returns the build info of a run.
func (n *Node) buildInfo(ctx context.Context, b events.Build) (io.ReadCloser, error) {
	if b.Info.Size > MaxBuildInfo {
		return nil, fail(ErrUnavailable, "the build info that site %s states is larger than one may be", b.Event.Site)
	}
	info, ok, err := n.blobs.open(ctx, b.Info)
	if ok {
		return info.File, nil
	}
	if err != nil {
		return nil, fmt.Errorf("build info: %w", err)
	}
	for _, v := range statedIn(b.Event, events.BuildRecorded{BuildName: b.BuildName, Started: b.Started, Info: b.Info}) {
		a := n.sites.arrive(v)
		err = a.whole(ctx)
		a.leave()
	}
	if err == nil {
		info, ok, err = n.blobs.open(ctx, b.Info)
	}
	if err != nil || !ok {
		return nil, because(opaque(err), ErrUnavailable, "the build info is not here yet, and no site that has it can be reached: it was recorded at site %s; try again later", b.Event.Site)
	}
	return info.File, nil
}
