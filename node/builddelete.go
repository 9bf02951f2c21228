package node

import (
	"context"
	"fmt"

	"registry-node/events"
	"registry-node/node/access"
)

// awayBuilds are builds that another site wants deleted.
type awayBuilds struct {
	Project string   `json:"project,omitempty"`
	Name    string   `json:"name"`
	Numbers []string `json:"numbers"`
	// Seen is how far the asking site's own log is: who asks there has seen runs that
	// were recorded up to there.
	Seen events.Mark `json:"seen,omitzero"`
}

const opBuildsDelete = "builds.delete"

// DeleteBuilds deletes the runs of a build with these numbers, at most 500, or, if
// there are none, with all that this node knows. The registry's home decides. A number
// of which there are none is passed over. Errors: ErrUnauthorized, ErrForbidden,
// ErrInvalid, ErrTooLarge, ErrNoSpace, ErrUnavailable.
func (n *Node) DeleteBuilds(ctx context.Context, who *access.Caller, project, name string, numbers []string) error {
	a := awayBuilds{Project: project, Name: name, Numbers: sortedSet(numbers)}
	if err := n.mayBuilds(who, access.Delete, events.BuildName{Project: project}); err != nil {
		return err
	}
	if err := a.check(); err != nil {
		return err
	}
	if len(numbers) == 0 {
		var err error
		if a.Numbers, err = n.buildNumbers(ctx, project, name); err != nil || len(a.Numbers) == 0 {
			return err
		}
	}
	head, _, err := n.index.Load().Head(n.id.Site)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	a.Seen = head.Position.Mark
	_, err = n.atRegistryHome(ctx, who, opBuildsDelete, a, &nothing{}, func() error {
		_, err := n.deleteBuilds(ctx, who, a)
		return err
	})
	return err
}

func (a awayBuilds) check() error {
	if len(a.Numbers) > maxBuildsDeleted {
		return fail(ErrTooLarge, "%d numbers of a build are named; at most %d are deleted at a time", len(a.Numbers), maxBuildsDeleted)
	}
	for _, number := range append([]string{"0"}, a.Numbers...) { // the name also where there are no numbers
		if err := checkBuild(events.BuildName{Project: a.Project, Name: a.Name, Number: number}); err != nil {
			return err
		}
	}
	return nil
}

// buildNumbers returns the numbers of a build, as many as are deleted at a time.
func (n *Node) buildNumbers(ctx context.Context, project, name string) (numbers []string, err error) {
	for b, err := range n.Builds(ctx, n.self(), project, name) {
		if err != nil {
			return nil, err
		}
		if k := len(numbers); k == 0 || numbers[k-1] != b.Number {
			numbers = append(numbers, b.Number)
		}
		if len(numbers) > maxBuildsDeleted {
			return nil, fail(ErrTooLarge, "build %s has more than %d numbers; name those that are to be deleted", name, maxBuildsDeleted)
		}
	}
	return numbers, nil
}

// deleteBuildsFor deletes what another site asks for, once this one knows what is
// known there.
func (n *Node) deleteBuildsFor(ctx context.Context, who *access.Caller, from events.Site, a awayBuilds) (nothing, events.Position, error) {
	if err := n.AtLeast(ctx, from, a.Seen); err != nil {
		return nothing{}, events.Position{}, err
	}
	at, err := n.deleteBuilds(ctx, who, a)
	return nothing{}, at, err
}

// deleteBuilds decides at this site, the registry's home.
func (n *Node) deleteBuilds(ctx context.Context, who *access.Caller, a awayBuilds) (events.Position, error) {
	if err := n.mayBuilds(who, access.Delete, events.BuildName{Project: a.Project}); err != nil {
		return events.Position{}, err
	}
	if err := a.check(); err != nil {
		return events.Position{}, err
	}
	at, err := n.commits.propose(ctx, func(v view) (bodies []events.Body, err error) {
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		for _, number := range a.Numbers {
			b, err := v.deleteBuild(events.BuildName{Project: a.Project, Name: a.Name, Number: number})
			if err != nil {
				return nil, err
			}
			if len(b.Clears) > 0 {
				b.Actor = who.Actor()
				bodies = append(bodies, b)
			}
		}
		return bodies, nil
	})
	return at.Position, err
}

// deleteBuild returns what ends the runs of a number; it clears nothing if there are
// none.
func (v view) deleteBuild(name events.BuildName) (b events.BuildDeleted, err error) {
	b.BuildName = name
	cs, err := v.txn.Get(events.KeyBuild(name))
	if err != nil || len(v.dir.ResolveBuilds(cs)) == 0 {
		return b, err
	}
	if cs.Of(v.at.Site).Full() {
		return b, fail(ErrTooLarge, "build %s number %s was recorded and deleted too often, and stays", name.Name, name.Number)
	}
	for _, c := range cs {
		if len(c.Facts) > 0 {
			b.Clears = append(b.Clears, events.Cleared{Site: c.Site, At: c.Facts[len(c.Facts)-1].Mark})
		}
	}
	return b, nil
}
