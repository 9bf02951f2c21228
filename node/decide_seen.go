package node

import (
	"context"
	"errors"
	"slices"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/replication"
)

// Who asks for a decision goes by what is to be read at the site that was asked: a
// repository, a rule or a token that has just been made. To the site that decides that
// may be news. So the asking site says how far it is, and the home that lacks some of
// that finds out before it refuses anything.

// seen returns how far the logs are here that say what there is and who may do what:
// those of the registry's homes, and this site's own. The log of who is asked is none
// of them: that site knows it best.
func (s *sites) seen(asked events.Site) (list []events.Position) {
	logs := []events.Site{s.node.id.Site}
	for _, t := range s.node.directory().Homes {
		logs = append(logs, t.Site)
	}
	slices.SortFunc(logs, func(a, b events.Site) int { return a.Compare(b.String()) })
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, log := range slices.Compact(logs) {
		if p := s.synced[log].Position; log != asked && !p.Mark.IsZero() {
			list = append(list, p)
		}
	}
	return list
}

// decision is what came of a proposal.
type decision struct {
	who    *access.Caller
	result any
	at     events.Position // zero if nothing was appended
	err    error
}

// judge decides about a proposal of another site. What is refused by what this node
// knows, while that site knows more, is looked at again as soon as this node knows
// that, too.
func (s *sites) judge(ctx context.Context, from events.Site, req replication.DecideRequest) decision {
	behind := slices.ContainsFunc(req.Seen, func(p events.Position) bool { return !s.has(p) })
	d := s.judgeOnce(ctx, from, req)
	if !behind || !d.mayBeStale() {
		return d
	}
	wait, cancel := context.WithTimeout(ctx, atLeastPatience)
	defer cancel()
	for _, p := range req.Seen {
		if s.applied(wait, p.Site, p.Mark) != nil {
			d.err = because(opaque(d.err), ErrUnavailable, "site %s decides about this and has not received %v yet, which site %s has; try again in a moment", s.node.id.Site, p, from)
			return d
		}
	}
	return s.judgeOnce(ctx, from, req)
}

func (s *sites) judgeOnce(ctx context.Context, from events.Site, req replication.DecideRequest) (d decision) {
	if d.who, d.err = s.whoAsks(ctx, from, req); d.err == nil {
		d.result, d.at, d.err = s.operate(ctx, d.who, from, req)
	}
	return d
}

// has reports whether this node has applied a log up to p.
func (s *sites) has(p events.Position) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.synced[p.Site].Position.Mark.Compare(p.Mark) >= 0
}

// errTokenUnknown is the cause of a refusal of a token that was never issued, as far
// as this node knows.
var errTokenUnknown = errors.New("token not known")

// mayBeStale reports whether it is a refusal that more entries could make undue.
func (d decision) mayBeStale() bool {
	return errors.Is(d.err, errTokenUnknown) || slices.ContainsFunc([]error{ErrNotFound, ErrForbidden, ErrUnauthorized, ErrInvalid},
		func(kind error) bool { return errors.Is(d.err, kind) })
}
