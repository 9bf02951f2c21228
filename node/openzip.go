package node

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/blob"
)

// openZip opens the first of the zip's blobs that is here and right. One that is
// not here is fetched from another site, and only if none has it from the
// upstream of a remote repository, where the content must be the same.
func (r *Repository) openZip(ctx context.Context, mv module.Version, c *events.HeldContent) (Zip, error) {
	z, ok, err := r.zipHere(ctx, mv, c)
	if ok || err != nil {
		return z, err
	}
	if r.repo.Settings.KeepNothing {
		return r.passingZip(ctx, mv)
	}
	z, cause := r.zipElsewhere(ctx, mv, c)
	if cause == nil {
		return z, nil
	}
	lost := func(cause error) error { // never an absence, whatever the upstream says now
		return &Error{ErrUnavailable, fmt.Sprintf("%s@%s: its zip is lost or damaged at this node (%v) and is not served until it is healed",
			mv.Path, mv.Version, c.Zip.Digest), opaque(cause)}
	}
	removed, unread := r.removedZip(c)
	switch {
	case r.HeldOnly && removed && errors.Is(cause, errNotThere): // nor does another site hold it
		return Zip{}, errAbsent
	case r.repo.Kind == events.Local || r.HeldOnly:
		return Zip{}, lost(errors.Join(cause, unread))
	}
	z, err = r.arrivingZip(ctx, mv)
	switch {
	case err == nil:
		return z, nil
	case errors.Is(err, errDrift):
		return Zip{}, err
	}
	switch {
	case unread != nil || !removed:
		return Zip{}, lost(errors.Join(err, cause, unread))
	case errors.Is(err, ErrNotFound):
		err = because(opaque(err), ErrUpstream, "%s@%s: its zip was removed from the cache of repository %s, and the upstream, which had it, says that it is not there",
			mv.Path, mv.Version, r.repo.Name)
	}
	return Zip{}, err
}

// zipHere opens the first of the zip's blobs that is here and what it is said to
// be.
func (r *Repository) zipHere(ctx context.Context, mv module.Version, c *events.HeldContent) (z Zip, ok bool, err error) {
	for _, b := range c.Zips {
		f, ok, err := r.node.blobs.open(ctx, b)
		if err != nil {
			return Zip{}, false, fmt.Errorf("%s@%s: zip %v: %w", mv.Path, mv.Version, b.Digest, err)
		}
		if !ok {
			continue
		}
		z := Zip{File: f, Digest: b.Digest, Time: c.First.Time}
		if r.st.alone {
			return z, true, nil
		}
		err = r.vouchZip(ctx, mv, c, b, z)
		if err == nil {
			return z, true, nil
		}
		f.Close()
		if !isLie(err) {
			return Zip{}, false, err
		}
	}
	return Zip{}, false, nil
}

// zipElsewhere has another site send the zip, and returns it as it comes.
func (r *Repository) zipElsewhere(ctx context.Context, mv module.Version, c *events.HeldContent) (Zip, error) {
	s := r.node.sites
	cause := errNotThere
	for _, b := range c.Zips {
		v := r.wantZip(mv, c, b)
		if len(s.holders(v.from, b.Digest)) == 0 {
			continue
		}
		a := s.arrive(v)
		if cause = a.begins(ctx); cause == nil {
			return Zip{File: blob.File{Size: b.Size}, Stream: a.read(ctx), Digest: b.Digest, Time: c.First.Time}, nil
		}
		a.leave()
	}
	return Zip{}, cause
}
