package node

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/upstream"
)

// zipFill is the zip of a version on its way here from the upstream. Its clients
// get what has come as soon as info and go.mod are known and the checksum database,
// if there is one for it, has answered: so what is not there, or may not be had, is
// answered by a status, as ever. They get the end when the zip has been verified;
// if no checksum database vouches for it, when it is recorded, so that no other
// content is ever recorded than what somebody has.
type zipFill struct {
	*arrival
	repo *Repository
	mv   module.Version
}

// arrivingZip opens the zip of mv as it comes from the upstream. Concurrent calls
// are one fetch, which also brings the go.mod if that is missing.
func (r *Repository) arrivingZip(ctx context.Context, mv module.Version) (Zip, error) {
	a := r.node.fetches.zips.join(fillKey{r.repo.ID, mv}, func(ctx context.Context, a *arrival) error {
		f := &zipFill{a, r, mv}
		return f.fetch(ctx)
	})
	if err := a.begins(ctx); err != nil {
		a.leave()
		return Zip{}, err
	}
	if !a.over() {
		return Zip{Stream: a.read(ctx)}, nil
	}
	c, err := r.held(ctx, mv)
	if err == nil && c != nil && c.HasZip() {
		z, ok, err := r.zipHere(ctx, mv, c)
		if ok || err != nil {
			a.leave()
			return z, err
		}
	}
	if a.stage == nil { // it was here a moment ago
		a.leave()
		return Zip{}, because(err, ErrUnavailable, "%s@%s: its zip has been lost at this node; try again in a moment", mv.Path, mv.Version)
	}
	return Zip{Stream: a.read(ctx)}, nil
}

// passingZip opens the recorded zip of a repository that keeps none: it comes from
// the upstream each time, and from no other site. It is no absence if the upstream
// has it no more.
func (r *Repository) passingZip(ctx context.Context, mv module.Version) (Zip, error) {
	if r.HeldOnly {
		return Zip{}, fail(ErrNotFound, "%s@%s: repository %s keeps no zips", mv.Path, mv.Version, r.repo.Name)
	}
	z, err := r.arrivingZip(ctx, mv)
	if errors.Is(err, ErrNotFound) {
		err = because(opaque(err), ErrUpstream, "%s@%s: repository %s keeps no zips, and the upstream, which had this one, says that it is not there", mv.Path, mv.Version, r.repo.Name)
	}
	return z, err
}

// fetch brings the zip here, verifies and records it. It does nothing if it is
// here.
func (f *zipFill) fetch(ctx context.Context) error {
	r := f.repo
	c, err := r.held(ctx, f.mv)
	if err != nil {
		return err
	}
	if c != nil {
		if ok, err := r.holdsZip(f.mv, c); ok || err != nil {
			return err
		}
	}
	return r.unlessAbsent(f.mv, func(rem *remote) error { return f.fill(ctx, rem) })
}

// fill is fetch for a zip that is not here.
func (f *zipFill) fill(ctx context.Context, rem *remote) error {
	n := f.repo.node
	if err := n.space.check(); err != nil {
		return err
	}
	stage, err := n.blobs.store.Stage(ctx, maxZip)
	if err != nil {
		return storeFailed(err, "fetch "+f.mv.String())
	}
	f.begin(stage, -1)
	c, sums, err := f.gather(ctx, rem)
	if err != nil {
		return f.repo.fetchFailed(err, f.mv)
	}
	_, err = f.repo.record(ctx, rem, admission{
		mv: f.mv, modH1: c.ModH1, zip: stage, sums: sums, recorded: c.ZipH1, verified: f.verified,
	})
	f.recorded(ctx, err)
	return err
}

// Write takes the bytes from the upstream.
func (f *zipFill) Write(p []byte) (int, error) {
	n, err := f.stage.Write(p)
	f.arrived()
	return n, err
}

// gather has the zip come, and sees to it meanwhile that the go.mod is held,
// which says whether the version is there, and that the checksum database has
// said what it is.
func (f *zipFill) gather(ctx context.Context, rem *remote) (*events.HeldContent, upstream.Sums, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	came := make(chan error, 1)
	go func() { // ends by cancel, and is waited for
		_, err := rem.client.Zip(ctx, f.mv, f, func(size int64) { f.begin(f.stage, size) })
		came <- err
	}()
	c, err := f.repo.fetchMod(ctx, f.mv, f.allow)
	var sums upstream.Sums
	if err == nil {
		sums, err = rem.sums(ctx, f.mv)
	}
	if err != nil {
		cancel()
		<-came
		return nil, sums, err
	}
	f.allow()
	return c, sums, <-came
}

// verified is told that the zip is what it should be: vouched, if the checksum
// database says so. Then clients need not wait for it to be recorded, unless it
// was purged meanwhile, or the registry's home has decided otherwise.
func (f *zipFill) verified(vouched bool) {
	n := f.repo.node
	v, err := n.version(n.directory(), f.repo.repo, f.mv)
	if vouched && err == nil && v.Settled == nil && v.Status != events.Purged {
		f.pass()
	}
}

const troubleFill = "fill"

// recorded reports what a client can't see: that a zip which it has got could
// not be recorded.
func (f *zipFill) recorded(ctx context.Context, err error) {
	n := f.repo.node
	switch {
	case err == nil:
		n.sites.troubles.clear(troubleFill)
	case f.whether().passed && ctx.Err() == nil:
		text := fmt.Sprintf("%v: served from the upstream and not recorded, so it is fetched anew when it is asked for: %v", f.mv, err)
		if n.sites.troubles.raise(troubleFill, text) {
			n.logger.Error("fill is not recorded", "module", f.mv.Path, "version", f.mv.Version, "error", err)
		}
	}
}
