package node

import (
	"context"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/replication"
)

// The operations on users, groups, rules and tokens that sites forward to the
// registry's home.
const (
	opUserPut     = "user.put"
	opUserDelete  = "user.delete"
	opGroupPut    = "group.put"
	opGroupDelete = "group.delete"
	opRulePut     = "permission.put"
	opRuleDelete  = "permission.delete"
	opTokenIssue  = "token.issue"
)

// operateIdentities runs what another site asks for about identities; known is false
// if it is about something else.
func (n *Node) operateIdentities(ctx context.Context, who *access.Caller, req replication.DecideRequest) (answer any, at events.Position, known bool, err error) {
	switch req.Op {
	case opUserPut:
		answer, at, err = run(req, func(b awayUser) (changedUser, events.Position, error) { return n.putUser(ctx, who, b) })
	case opGroupPut:
		answer, at, err = run(req, func(b awayGroup) (changedGroup, events.Position, error) { return n.putGroup(ctx, who, b) })
	case opRulePut:
		answer, at, err = run(req, func(b awayRule) (changedRule, events.Position, error) { return n.putPermission(ctx, who, b) })
	case opTokenIssue:
		answer, at, err = run(req, func(b awayToken) (events.TokenIssued, events.Position, error) { return n.issueToken(ctx, who, b) })
	case opUserDelete:
		answer, at, err = deleting(ctx, who, req, n.deleteUser)
	case opGroupDelete:
		answer, at, err = deleting(ctx, who, req, n.deleteGroup)
	case opRuleDelete:
		answer, at, err = deleting(ctx, who, req, n.deletePermission)
	default:
		return nil, events.Position{}, false, nil
	}
	return answer, at, true, err
}

// deleting runs what deletes something that another site names.
func deleting(ctx context.Context, who *access.Caller, req replication.DecideRequest,
	f func(ctx context.Context, who *access.Caller, name string) (events.Position, error)) (any, events.Position, error) {
	return run(req, func(b awayName) (nothing, events.Position, error) {
		at, err := f(ctx, who, b.Name)
		return nothing{}, at, err
	})
}
