package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"registry-node/events"
)

// When a home is given up by force, it may have published more, in good faith,
// than was known when its tenure was ended. The new home looks at each such
// version when it learns of it, and publishes anew what does not conflict; what
// does is reported (DESIGN 4.3).

// adoptEvery is how often what could not be adopted is tried again.
const adoptEvery = 5 * time.Second

// adoptLoop does that until ctx ends.
func (s *sites) adoptLoop(ctx context.Context) {
	for {
		ch := s.moved.wait()
		var again <-chan time.Time
		if err := s.adopt(ctx); err != nil && ctx.Err() == nil {
			s.node.logger.Debug("versions of a former home wait", "error", err)
			again = time.After(adoptEvery)
		}
		select {
		case <-ch:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// adopt looks at what former homes published too late, in all repositories that
// this site is home of.
func (s *sites) adopt(ctx context.Context) error {
	var errs []error
	for _, r := range s.node.directory().Repos() {
		if r.Kind != events.Local || r.Home() != s.node.id.Site {
			continue
		}
		for i, t := range r.Homes {
			if t.Forced && i+1 < len(r.Homes) {
				errs = append(errs, s.adoptFrom(ctx, r, t))
			}
		}
	}
	return errors.Join(errs...)
}

// adoptFrom looks at what one former home published after the end of its tenure.
func (s *sites) adoptFrom(ctx context.Context, r *events.Repo, t events.Tenure) error {
	x := s.node.index.Load()
	from := t.Until
	if m, ok := s.adopted[adoptKey{r.ID, t.Site}]; ok && m.Compare(from) > 0 {
		from = m
	}
	var failed error // the first of them; what is behind it is looked at all the same
	for raw, err := range x.Entries(t.Site, from) {
		if err != nil {
			return err
		}
		e, err := events.DecodeEntry(raw)
		if err != nil {
			return err
		}
		for _, ev := range e.Events {
			b, ok := ev.Body.(events.VersionPublished)
			if !ok || b.Repo != r.ID || inTenure(r.Homes, ev.ID) {
				continue
			}
			failed = errors.Join(failed, s.adoptVersion(ctx, r, ev, b))
		}
		if failed == nil {
			s.adopted[adoptKey{r.ID, t.Site}] = e.Position.Mark
		}
	}
	return failed
}

// adoptKey names a former home of a repository.
type adoptKey struct {
	repo events.RepoID
	site events.Site
}

func inTenure(homes []events.Tenure, id events.EventID) bool {
	for _, t := range homes {
		if t.Site == id.Site && t.Holds(id.Mark) {
			return true
		}
	}
	return false
}

// adoptVersion publishes a version anew that a former home published, unless
// there is other content.
func (s *sites) adoptVersion(ctx context.Context, r *events.Repo, ev events.Event, b events.VersionPublished) error {
	n := s.node
	mv := b.ModVersion()
	for _, v := range statedIn(ev.ID, b) {
		if err := s.checkHere(ctx, v); isLie(err) {
			s.troubles.raise("lie "+v.key, err.Error())
			return nil
		} else if err != nil {
			return fmt.Errorf("%v: %w", mv, err)
		}
	}
	a := admission{repo: r, mv: mv, published: true, actor: b.Actor}
	_, err := n.propose(ctx, a, b.Content)
	var told *Error
	switch {
	case err == nil:
		n.logger.Info("version of a former home is kept", "repository", r.Name, "module", mv.Path, "version", mv.Version, "from", ev.ID)
		return nil
	case errors.As(err, &told) && told.Kind == ErrExists, errors.As(err, &told) && told.Kind == ErrForbidden:
		s.lost(r, ev, b)
		return nil
	}
	return err
}

// checkHere brings a blob here, if it isn't, and checks what is stated of it.
func (s *sites) checkHere(ctx context.Context, v want) error {
	if !s.node.blobs.held(v.Blob) {
		a := s.arrive(v)
		defer a.leave()
		return a.whole(ctx)
	}
	f, ok, err := s.node.blobs.open(ctx, v.Blob)
	if err != nil || !ok {
		return errors.Join(err, errNotThere)
	}
	defer f.Close()
	return s.node.checkClaim(ctx, v, f, f.Size)
}

// lost reports a version that could not be kept.
func (s *sites) lost(r *events.Repo, ev events.Event, b events.VersionPublished) {
	s.troubles.raise("lost "+ev.ID.String(), fmt.Sprintf("%s@%s in repository %s was published at site %s after that had been given up as its home (%v, %v), "+
		"and the name has other content: it is not kept. Publish it under another version", b.Module, b.Version, r.Name, ev.ID.Site, ev.ID, b.ZipH1))
}
