package node

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/replication"
)

// What the home of a name decides, another site forwards to it (DESIGN 8,
// "decide"): the home runs the very method that it would run for its own users,
// and says at which position it stands. The asking site waits until it has
// applied that position, so that who asked reads what was decided. A proposal
// carries an id, so a repetition after a broken link is answered from memory,
// or, if the home was started anew, by rules that make repeating it safe: the
// same content is there already, the same name exists.

const (
	// decidePatience is how long the home may say nothing at all.
	decidePatience = 10 * time.Second
	// decideLimit is how long a decision with a large zip may take.
	decideLimit = 10 * time.Minute
	// readBack is how long an asking site waits until it has applied what was
	// decided.
	readBack = 5 * time.Second
)

// codes are the kinds of error by the names that they have between sites.
var codes = map[string]error{
	"not_found": ErrNotFound, "exists": ErrExists, "invalid": ErrInvalid, "unprocessable": ErrUnprocessable,
	"too_large": ErrTooLarge, "forbidden": ErrForbidden, "upstream": ErrUpstream, "upstream_timeout": ErrUpstreamTimeout,
	"unavailable": ErrUnavailable, "no_space": ErrNoSpace, "unauthorized": ErrUnauthorized,
}

// errNotHome is the cause of a refusal by a site that is not home, as far as it
// knows. Where homes have just moved, the one that asks and the one that is
// asked see it at different moments.
var errNotHome = errors.New("not home")

// codeNotHome is its name between sites.
const codeNotHome = "not_home"

// homePatience is how long sites may disagree about who is home before who asked
// is told.
const homePatience = 3 * time.Second

// atHome decides at the site that home names: by local if it is this one, else
// by away. It goes on asking for a while where a home is just moving.
func (n *Node) atHome(ctx context.Context, home func(*events.Directory) events.Site, local func() error, away func(home events.Site) error) error {
	giveUp := time.Now().Add(homePatience)
	for {
		ch := n.sites.moved.wait()
		err := error(nil)
		if h := home(n.directory()); h == n.id.Site || h.IsZero() {
			err = local()
		} else {
			err = away(h)
		}
		if !errors.Is(err, errNotHome) || time.Now().After(giveUp) {
			return err
		}
		select {
		case <-ch:
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// atRegistryHome has the registry's home decide what body says, and reads the
// result into out; local does it at this site.
func (n *Node) atRegistryHome(ctx context.Context, who *access.Caller, what string, body, out any, local func() error) (f forwarded, err error) {
	err = n.atHome(ctx, (*events.Directory).Home, local, func(home events.Site) (err error) {
		f, err = n.sites.forward(ctx, who, home, what, body, out)
		return err
	})
	return f, err
}

// nothing is the result of a decision that has none.
type nothing struct{}

// forwarded is what came of a forwarded decision.
type forwarded struct {
	at events.Position // zero if nothing was appended
	// pending says that this node had not applied it in time.
	pending bool
}

// forward has site home decide about what, which body says, and reads its result
// into out. The home sees for itself who asks: it gets the credential that was
// shown here. For callers without one, this site speaks for itself, and says for
// whom: its operator, or who asks without credentials.
func (s *sites) forward(ctx context.Context, who *access.Caller, home events.Site, what string, body, out any) (forwarded, error) {
	if who.Credential().IsZero() && !who.IsOperator() && !slices.Contains(speechless, who.Name()) {
		return forwarded{}, fail(ErrUnauthorized, "site %s decides about this and wants to see credentials", home)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return forwarded{}, err
	}
	credential, err := s.node.abroad(who.Credential())
	if err != nil {
		return forwarded{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, decideLimit)
	defer cancel()
	deadline, _ := ctx.Deadline()
	msg, err := replication.Encode(replication.DecideRequest{
		ID: receiptOf(ctx).proposalID(rand.Text()), Op: what, Actor: who.Name(), Credential: credential.Reveal(), Deadline: deadline, Body: raw,
		Seen: s.seen(home),
	})
	if err != nil {
		return forwarded{}, err
	}
	a, err := s.askHome(ctx, home, msg)
	if err != nil {
		return forwarded{}, err
	}
	switch kind := codes[a.Code]; {
	case a.Code == "":
	case a.Code == codeNotHome:
		return forwarded{}, because(errNotHome, ErrUnavailable, "%s", a.Text)
	case kind == nil:
		return forwarded{}, fail(ErrUnavailable, "%s", a.Text)
	default:
		return forwarded{}, fail(kind, "%s", a.Text)
	}
	if err := json.Unmarshal(a.Result, out); err != nil {
		return forwarded{}, because(err, ErrUnavailable, "site %s gave an answer that can't be used; is it of another version?", home)
	}
	receiptOf(ctx).note(a.Position)
	f := forwarded{at: a.Position}
	if !a.Position.Mark.IsZero() {
		wait, cancel := context.WithTimeout(ctx, readBack)
		defer cancel()
		f.pending = s.applied(wait, a.Position.Site, a.Position.Mark) != nil
	}
	return f, nil
}

// speechless are those who have shown nothing to the site that they ask.
var speechless = []string{events.Anonymous, events.Loopback}

// askHome sends a proposal, again if the link breaks, as long as the home lets
// hear of it.
func (s *sites) askHome(ctx context.Context, home events.Site, msg []byte) (replication.DecideAnswer, error) {
	for try := 0; ; try++ {
		raw, err := s.askPatiently(ctx, home, msg)
		if err == nil {
			a, err := replication.Decode[replication.DecideAnswer](raw)
			if err != nil {
				err = because(err, ErrUnavailable, "site %s gave an answer that can't be used: %v", home, err)
			}
			return a, err
		}
		if try == 2 || !errors.Is(err, replication.ErrNoAnswer) || ctx.Err() != nil {
			return replication.DecideAnswer{}, because(err, ErrUnavailable, "site %s decides about this and can't be reached%s; nothing is lost by trying again later",
				home, s.lastHeard(home))
		}
	}
}

// askPatiently waits for an answer as long as an interim one comes now and then.
func (s *sites) askPatiently(ctx context.Context, home events.Site, msg []byte) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.AfterFunc(decidePatience, cancel)
	defer timer.Stop()
	return s.request(ctx, home, "decide", msg, func([]byte) { timer.Reset(decidePatience) })
}

// decide answers a proposal of another site.
func (s *sites) decide(ctx context.Context, from events.Site, raw []byte, interim func([]byte) error) ([]byte, error) {
	req, err := replication.Decode[replication.DecideRequest](raw)
	if err != nil {
		return nil, err
	}
	key := from.String() + " " + req.ID
	if a, ok := s.decided.get(key); ok {
		return replication.Encode(a)
	}
	// Whoever waits hears that it goes on, also for an answer that another link
	// asked for.
	told, stop := context.WithCancel(ctx)
	defer stop()
	s.node.life.wg.Go(func() { s.goesOn(told, interim) })
	a, err := s.deciding.do(ctx, key, func(ctx context.Context) (replication.DecideAnswer, error) {
		// The deadline is by the asking site's clock, which may be off.
		ctx, cancel := context.WithTimeout(ctx, min(max(time.Until(req.Deadline), decidePatience), decideLimit))
		defer cancel()
		a := s.decideNow(ctx, from, req)
		if a.Code != "unavailable" && a.Code != codeNotHome { // that may be otherwise in a moment
			s.decided.put(key, a)
		}
		return a, nil
	})
	if err != nil {
		return nil, err
	}
	return replication.Encode(a)
}

// goesOn lets who waits for a decision hear now and then that it is under way.
func (s *sites) goesOn(ctx context.Context, interim func([]byte) error) {
	tick := time.NewTicker(decidePatience / 4)
	defer tick.Stop()
	msg, err := replication.Encode(replication.Pulling{})
	for err == nil {
		select {
		case <-tick.C:
			err = interim(msg)
		case <-ctx.Done():
			return
		}
	}
}

func (s *sites) decideNow(ctx context.Context, from events.Site, req replication.DecideRequest) replication.DecideAnswer {
	d := s.judge(ctx, from, req)
	if !errors.Is(d.err, errNotHome) { // the asking site asks again
		s.node.auditDecision(d.who, from, req, d.at, d.err)
	}
	if d.err == nil {
		raw, err := json.Marshal(d.result)
		if err == nil {
			return replication.DecideAnswer{Position: d.at, Result: raw}
		}
		s.node.logger.Error("decision", "op", req.Op, "error", err)
	}
	var told *Error
	if errors.As(d.err, &told) {
		if errors.Is(d.err, errNotHome) {
			return replication.DecideAnswer{Code: codeNotHome, Text: told.Text}
		}
		for code, kind := range codes {
			if told.Kind == kind {
				return replication.DecideAnswer{Code: code, Text: told.Text}
			}
		}
	}
	s.node.logger.Error("decision failed", "op", req.Op, "from", from, "error", d.err)
	return replication.DecideAnswer{Code: "unavailable", Text: fmt.Sprintf("site %s could not decide; its log says why", s.node.id.Site)}
}

// operate runs what another site asks for.
func (s *sites) operate(ctx context.Context, who *access.Caller, from events.Site, req replication.DecideRequest) (any, events.Position, error) {
	n := s.node
	switch req.Op {
	case opPublish:
		return run(req, func(b awayPublication) (Published, events.Position, error) {
			return n.publishFor(ctx, who, from, b)
		})
	case opPublishAll:
		return run(req, func(b awayPublications) ([]Published, events.Position, error) {
			return n.publishAllFor(ctx, who, from, b)
		})
	case opProperties:
		return run(req, func(b awayProperties) (nothing, events.Position, error) {
			at, err := n.setProperties(ctx, who, b)
			return nothing{}, at, err
		})
	case opBuildsDelete:
		return run(req, func(b awayBuilds) (nothing, events.Position, error) { return n.deleteBuildsFor(ctx, who, from, b) })
	case opHide:
		return run(req, func(b awayHiding) (nothing, events.Position, error) {
			at, err := n.hide(ctx, who, b)
			return nothing{}, at, err
		})
	case opRepoCreate:
		return run(req, func(b NewRepo) (RepoInfo, events.Position, error) { return n.createRepo(ctx, who, b) })
	case opRepoChange:
		return run(req, func(b awayRepo) (RepoInfo, events.Position, error) {
			return n.changeRepo(ctx, who, b.Name, b.Change)
		})
	case opRepoDelete:
		return run(req, func(b awayRepo) (nothing, events.Position, error) {
			at, err := n.deleteRepo(ctx, who, b.Name, b.Reason)
			return nothing{}, at, err
		})
	case opRepoRestore:
		return run(req, func(b awayRepo) (RepoInfo, events.Position, error) { return n.restoreRepo(ctx, who, b.Name) })
	case opUnblock:
		return run(req, func(b awayBlock) (nothing, events.Position, error) {
			at, err := n.unblock(ctx, who, b.pattern())
			return nothing{}, at, err
		})
	case opPurge:
		return run(req, func(b awayPurge) (Purged, events.Position, error) {
			mv := module.Version{Path: b.Module, Version: b.Version}
			if err := events.CheckVersion(mv); err != nil {
				return Purged{}, events.Position{}, because(err, ErrInvalid, "%v", err)
			}
			return n.purge(ctx, who, mv, b.Reason)
		})
	case opSettle:
		return run(req, func(b awaySettlement) (nothing, events.Position, error) {
			at, err := n.settle(ctx, who, b)
			return nothing{}, at, err
		})
	case opDates:
		return run(req, func(b awayDates) (Seeded, events.Position, error) { return n.seedTimes(ctx, who, b) })
	case opIssuerPut:
		return run(req, func(b awayIssuer) (changedIssuer, events.Position, error) { return n.putIssuer(ctx, who, b) })
	case opIssuerDelete:
		return run(req, func(b awayIssuer) (nothing, events.Position, error) {
			at, err := n.deleteIssuer(ctx, who, b.Name)
			return nothing{}, at, err
		})
	case opInvite:
		return run(req, func(b awayInvitation) (SiteRule, events.Position, error) { return n.invite(ctx, who, b) })
	case opJoin:
		return run(req, func(b joinRequest) (nothing, events.Position, error) {
			at, err := n.acceptJoin(ctx, b)
			return nothing{}, at, err
		})
	case opSiteChange:
		return run(req, func(b events.SiteChanged) (nothing, events.Position, error) {
			if b.Name != from {
				return nothing{}, events.Position{}, fail(ErrForbidden, "site %s can't change what is said of site %s", from, b.Name)
			}
			at, err := n.changeSite(ctx, b)
			return nothing{}, at, err
		})
	case opSiteLeft:
		return run(req, func(b awayRemoval) (nothing, events.Position, error) {
			if b.Name != from {
				if err := n.allowUser(who, access.Everything); err != nil {
					return nothing{}, events.Position{}, err
				}
			}
			at, err := n.removeSite(ctx, who, b)
			return nothing{}, at, err
		})
	case opHomeMove:
		return run(req, func(b awayMove) (HomeMove, events.Position, error) {
			if b.Force {
				if err := n.allowUser(who, access.Everything); err != nil {
					return HomeMove{}, events.Position{}, err
				}
			}
			m, err := n.moveHome(ctx, who, b)
			return m, m.At, err
		})
	}
	if answer, at, known, err := n.operateIdentities(ctx, who, req); known {
		return answer, at, err
	}
	if answer, at, known, err := n.operateWebhooks(ctx, who, req); known {
		return answer, at, err
	}
	return nil, events.Position{}, fail(ErrUnavailable, "site %s does not know the operation %q; upgrade it", n.id.Site, req.Op)
}

// The operations that sites forward.
const (
	opPublish     = "publish"
	opPublishAll  = "publish.all"
	opHide        = "hide"
	opRepoCreate  = "repo.create"
	opRepoChange  = "repo.change"
	opRepoDelete  = "repo.delete"
	opRepoRestore = "repo.restore"
	opUnblock     = "unblock"
	opPurge       = "purge"
	opSettle      = "settle"
	opDates       = "repo.dates"
	opInvite      = "invite"
	opJoin        = "join"
	opSiteChange  = "site.change"
	opSiteLeft    = "site.left"
	opHomeMove    = "home.move"
)

// awayRepo names a repository and what to do with it.
type awayRepo struct {
	Name   events.RepoName `json:"name"`
	Change RepoChange      `json:"change,omitzero"`
	Reason string          `json:"reason,omitempty"`
}

// run decodes the body of a proposal and runs f on it.
func run[B, R any](req replication.DecideRequest, f func(B) (R, events.Position, error)) (any, events.Position, error) {
	var b B
	if err := json.Unmarshal(req.Body, &b); err != nil {
		return nil, events.Position{}, because(err, ErrInvalid, "proposal %s: %v", req.Op, err)
	}
	return f(b)
}
