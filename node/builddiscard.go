package node

import (
	"context"
	"slices"
	"time"

	"registry-node/events"
	"registry-node/node/access"
)

// KeptBuilds say which numbers of a build are kept when others are discarded.
type KeptBuilds struct {
	Last    int       // how many, those that started last; 0: all
	Since   time.Time // that started then, or later; zero: all
	Numbers []string  // and these in any case
}

// DiscardBuilds deletes the numbers of a build that are not kept, as DeleteBuilds does.
// A number started when the last of its runs did. Errors: those of DeleteBuilds.
func (n *Node) DiscardBuilds(ctx context.Context, who *access.Caller, project, name string, keep KeptBuilds) error {
	if err := n.mayBuilds(who, access.Delete, events.BuildName{Project: project}); err != nil {
		return err
	}
	if err := (awayBuilds{Project: project, Name: name}).check(); err != nil {
		return err
	}
	var all []events.Build // the last run of each number
	for b, err := range n.Builds(ctx, n.self(), project, name) {
		if err != nil {
			return err
		}
		if k := len(all); k > 0 && all[k-1].Number == b.Number {
			all = all[:k-1]
		}
		all = append(all, b)
	}
	for discarded := range slices.Chunk(keep.others(all), maxBuildsDeleted) {
		if err := n.DeleteBuilds(ctx, who, project, name, discarded); err != nil {
			return err
		}
	}
	return nil
}

// others returns the numbers of those that are not kept.
func (k KeptBuilds) others(all []events.Build) (numbers []string) {
	slices.SortStableFunc(all, func(a, b events.Build) int { return b.Started.Compare(a.Started) })
	for i, b := range all {
		if (k.Last > 0 && i >= k.Last || b.Started.Before(k.Since)) && !slices.Contains(k.Numbers, b.Number) {
			numbers = append(numbers, b.Number)
		}
	}
	return numbers
}
