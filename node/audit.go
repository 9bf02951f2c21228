package node

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/replication"
)

// AuditEvent says what a node did for somebody who did not ask it over HTTP:
// another site that forwarded a decision, or a site that joins. Its texts come from
// outside and are as long as they like; none is a secret.
type AuditEvent struct {
	Request string // the id that the asking site gave it; empty if it gave none
	// Action is an operation between sites (publish, repo.create, unblock, …), with
	// join for a site that joins, and leave for one that leaves by itself.
	Action       string
	Actor, Token string // as events record it; the id of the token
	Site         events.Site
	Via          events.Site // that forwarded it; zero if nobody did

	Repo, Module, Version, Name, Reason string // what it is about

	Position events.Position // of the entry that says so; zero if none was appended
	Err      error           // why not; nil if it was done
}

// audit tells whoever audits this node.
func (n *Node) audit(e AuditEvent) {
	if n.opts.Audit != nil {
		e.Site = n.id.Site
		n.opts.Audit(e)
	}
}

// auditDecision tells of a decision that site from asked for. One about several
// versions is told of once for each.
func (n *Node) auditDecision(who *access.Caller, from events.Site, req replication.DecideRequest, at events.Position, err error) {
	type version struct {
		Module  string `json:"module"`
		Version string `json:"version"`
	}
	var b struct { // what bodies have in common; the rest of them is nobody's business
		Name string `json:"name"`
		Repo string `json:"repo"`
		version
		Versions []version `json:"versions"`
		Reason   string    `json:"reason"`
	}
	_ = json.Unmarshal(req.Body, &b) // a field of another type stays empty
	e := AuditEvent{
		Action: req.Op, Actor: who.Name(), Token: who.TokenID(), Via: from,
		Repo: b.Repo, Module: b.Module, Version: b.Version, Name: b.Name, Reason: b.Reason, Position: at, Err: err,
	}
	if request, _, ok := strings.Cut(req.ID, requestSeparator); ok {
		e.Request = request
	}
	switch {
	case strings.HasPrefix(req.Op, "repo."):
		e.Repo, e.Name = b.Repo+b.Name, "" // they have the one or the other
	case req.Op == opSiteLeft && b.Name == from.String():
		e.Action = "leave"
	case req.Op == opSiteLeft:
		e.Action = "site.remove"
	case req.Op == opPublishAll:
		e.Action = opPublish
	}
	if id, err := events.ParseRepoID(e.Repo); err == nil {
		if r := n.directory().Repo(id); r != nil {
			e.Repo = r.Name.String()
		}
	}
	for _, v := range b.Versions[:min(len(b.Versions), MaxPublications)] {
		e.Module, e.Version = v.Module, v.Version
		n.audit(e)
	}
	if len(b.Versions) == 0 {
		n.audit(e)
	}
}

// MayAudit reports why a caller may not read the audit log: administrators of the
// registry may.
func (n *Node) MayAudit(who *access.Caller) error { return n.allow(who, access.Everything) }

// HasUser reports whether there is or was a user of this name. It is for the
// audit log, which does not write down the name in a failed login unless it is
// one: it may be a password in the wrong place.
func (n *Node) HasUser(name string) bool {
	if events.CheckUserName(name) != nil {
		return false
	}
	_, ok, err := n.identity(events.KeyUser(name))
	return ok && err == nil
}

// Receipt says what became of a request: which entry took what it asked for.
type Receipt struct {
	request string
	mu      sync.Mutex
	at      events.Position // guarded by mu
}

type receiptKey struct{}

// requestSeparator stands between the id of a request and what else is in the id
// of a proposal to another site.
const requestSeparator = "."

// WithReceipt returns a context for the methods of a Node, and what they note there
// of the request with this id.
func WithReceipt(ctx context.Context, request string) (context.Context, *Receipt) {
	r := &Receipt{request: request}
	return context.WithValue(ctx, receiptKey{}, r), r
}

func receiptOf(ctx context.Context) *Receipt {
	r, _ := ctx.Value(receiptKey{}).(*Receipt)
	return r
}

// At returns the last entry that was appended for the request, of whichever site's
// log; zero if there is none.
func (r *Receipt) At() events.Position {
	if r == nil {
		return events.Position{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

// note notes that an entry was appended.
func (r *Receipt) note(at events.Position) {
	if r == nil || at.Mark.IsZero() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = at
}

// proposalID returns an id for a proposal to another site, by which its audit log
// and this site's speak of the same request.
func (r *Receipt) proposalID(id string) string {
	if r == nil {
		return id
	}
	return r.request + requestSeparator + id
}
