package node

import (
	"context"
	"errors"
	"iter"
	"strings"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/access"
)

// MaxPublications is how many versions may be published together.
const MaxPublications = 64

// together are publications that are decided as one: all of them, or none. Each
// has been verified.
type together struct {
	repo *events.Repo
	list []candidate
}

// candidate is an admission whose content has been verified.
type candidate struct {
	admission
	content events.Content
}

// discard discards the stages.
func (t *together) discard() {
	for i := range t.list {
		t.list[i].zip.Discard()
	}
}

// PublishAll puts versions into one local repository, all of them or none: one
// entry of the log holds those that were not there. Each zip is read and checked
// before the next publication is asked for. A repetition is safe: what is there
// already with the same content succeeds as it does with Publish.
//
// The errors are those of Publish, with the version that is at fault in their text,
// and what ps yields; ErrInvalid also for none, for more than MaxPublications, for
// a version that comes twice and for a second repository, ErrTooLarge also if the
// go.mod files together are more than an entry takes.
func (n *Node) PublishAll(ctx context.Context, who *access.Caller, ps iter.Seq2[Publication, error]) ([]Published, error) {
	var all together
	defer all.discard()
	for p, err := range ps {
		if err != nil {
			return nil, err
		}
		if err := n.gather(ctx, who, &all, p); err != nil {
			return nil, aboutVersion(p.Version, err)
		}
	}
	if len(all.list) == 0 {
		return nil, fail(ErrInvalid, "there is no version to publish")
	}
	return n.publishAll(ctx, who, &all)
}

// gather stages and checks one more publication.
func (n *Node) gather(ctx context.Context, who *access.Caller, all *together, p Publication) error {
	if err := all.room(p.Version); err != nil {
		return err
	}
	a, err := n.arrive(ctx, who, p)
	if err != nil {
		return err
	}
	return n.add(ctx, all, a)
}

// add checks an admission, whose stage all has from here on.
func (n *Node) add(ctx context.Context, all *together, a admission) error {
	all.list = append(all.list, candidate{admission: a})
	last := &all.list[len(all.list)-1]
	switch {
	case all.repo == nil:
		all.repo = a.repo
	case all.repo.ID != a.repo.ID:
		return fail(ErrInvalid, "what is published together goes into one repository, and these are %s and %s", all.repo.Name, a.repo.Name)
	}
	if err := blocked(n.directory(), a.mv); err != nil {
		return err
	}
	var err error
	last.content, err = n.verify(ctx, &last.admission)
	last.describe(&last.content)
	return err
}

// room reports why one more version can't be published with the others.
func (t *together) room(mv module.Version) error {
	for i := range t.list {
		if t.list[i].mv == mv {
			return fail(ErrInvalid, "the version is there twice; publish it once")
		}
	}
	if len(t.list) == MaxPublications {
		return fail(ErrInvalid, "more than %d versions can't be published together; publish them in several calls, those that others require first", MaxPublications)
	}
	return nil
}

// publishAll decides about publications at the repository's home.
func (n *Node) publishAll(ctx context.Context, who *access.Caller, all *together) (ps []Published, err error) {
	err = n.atHome(ctx, n.homeOf(all.repo.ID), func() (err error) {
		ps, err = n.admitAll(ctx, who, all)
		return err
	}, func(home events.Site) (err error) {
		ps, err = n.publishAllAway(ctx, who, home, all)
		return err
	})
	if err != nil {
		return nil, err
	}
	return ps, nil
}

// admitAll is admit for publications that have been verified: it makes their blobs
// durable and then has the log record them in one entry. A crash, or one that may
// not be recorded, leaves blobs that nothing refers to and nothing else.
func (n *Node) admitAll(ctx context.Context, who *access.Caller, all *together) ([]Published, error) {
	if err := n.space.check(); err != nil {
		return nil, err
	}
	ps, done, err := n.alreadyAll(all)
	if err != nil || done {
		return ps, err
	}
	if err := all.fits(); err != nil {
		return nil, err
	}
	n.blobs.admitting.RLock()
	defer n.blobs.admitting.RUnlock()
	if err := n.storeAll(ctx, all); err != nil {
		return nil, err
	}
	if err := n.stillMayAll(ctx, who, all); err != nil {
		return nil, err
	}
	ps, err = n.proposeAll(ctx, all)
	for i := range all.list {
		err = errors.Join(err, n.stored(all.list[i].content.Zip.Digest))
	}
	return ps, err
}

// alreadyAll answers publications that are all there, see already.
func (n *Node) alreadyAll(all *together) (ps []Published, done bool, err error) {
	done = true
	for i := range all.list {
		a := &all.list[i]
		if err := blocked(n.directory(), a.mv); err != nil {
			return nil, true, aboutVersion(a.mv, err)
		}
		got, there, err := n.already(&a.admission, a.content)
		if err != nil {
			return nil, true, aboutVersion(a.mv, err)
		}
		done = done && there
		ps = append(ps, published(a.repo, a.mv, got))
	}
	return ps, done, nil
}

// fits reports whether one entry takes the events of all.
func (t *together) fits() error {
	size := 0
	for i := range t.list {
		data, err := events.EncodeBody(t.list[i].body(t.repo, t.list[i].content))
		if err != nil {
			return aboutVersion(t.list[i].mv, because(err, ErrInvalid, "%v", err))
		}
		size += len(data) + eventFrame
	}
	if size <= batchBytes {
		return nil
	}
	return fail(ErrTooLarge, "the %d versions are too much for one entry of the log: with their go.mod files they take %d KiB in it, and %d are the limit; publish them in several calls, those that others require first",
		len(t.list), (size+1023)>>10, batchBytes>>10)
}

// storeAll makes the blobs of all durable.
func (n *Node) storeAll(ctx context.Context, all *together) error {
	for i := range all.list {
		a := &all.list[i]
		if err := n.storeBlobs(ctx, &a.admission, &a.content); err != nil {
			return aboutVersion(a.mv, err)
		}
		n.vouched(&a.admission, a.content)
	}
	return nil
}

// stillMayAll is stillMay for all.
func (n *Node) stillMayAll(ctx context.Context, who *access.Caller, all *together) error {
	if err := n.recheck(ctx, who); err != nil {
		return err
	}
	for i := range all.list {
		a := &all.list[i]
		if err := n.allow(who, access.Need{Action: access.Publish, Repo: a.repo.Name.String(), Module: a.mv.Path}); err != nil {
			return aboutVersion(a.mv, err)
		}
	}
	return nil
}

// proposeAll has the log record what is not there yet, in one entry.
func (n *Node) proposeAll(ctx context.Context, all *together) ([]Published, error) {
	var got []admitted
	at, err := n.commits.propose(ctx, func(v view) (bodies []events.Body, err error) {
		got = got[:0] // it may be called again
		for i := range all.list {
			a := &all.list[i]
			one, more, err := n.decide(v, &a.admission, a.content)
			if err != nil {
				return nil, aboutVersion(a.mv, err)
			}
			got = append(got, one)
			bodies = append(bodies, more...)
			v.at.Index += len(more)
		}
		return bodies, nil
	})
	if err != nil {
		return nil, err
	}
	ps := make([]Published, len(got))
	for i, one := range got {
		if !one.Existed {
			one.Time = at.Time
		}
		ps[i] = published(all.repo, all.list[i].mv, one)
	}
	return ps, nil
}

// aboutVersion has the text of an error for users say which version is at fault,
// where it doesn't.
func aboutVersion(mv module.Version, err error) error {
	what := mv.Path + "@" + mv.Version
	var told *Error
	if !errors.As(err, &told) || strings.Contains(told.Text, what) {
		return err
	}
	return &Error{Kind: told.Kind, Text: what + ": " + told.Text, Err: told.Err}
}
