package node

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"runtime"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/index"
	"registry-node/replication"
)

// WithoutMending opens a node that does not mend its copies of the log, to show
// what mending is for.
func (o Options) WithoutMending() Options {
	o.noMend = true
	return o
}

// OfLevel makes a node say that it understands event types up to a level.
func (o Options) OfLevel(level int) Options {
	o.level = level
	return o
}

// Dialling has a node reach other sites by dial.
func (o Options) Dialling(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Options {
	o.dialPeer = dial
	return o
}

// Reserve sets how many bytes a node keeps free.
func (n *Node) Reserve(bytes uint64) { n.space.reserve = bytes }

// Sweep removes blobs older than age that nothing refers to.
func (n *Node) Sweep(ctx context.Context, age time.Duration) error { return n.sweep(ctx, age) }

// StopFollowing keeps a node from storing what other sites write, until release.
func (n *Node) StopFollowing() (release func()) {
	n.sites.folding.Lock()
	return n.sites.folding.Unlock
}

// Ended waits until what came of the arrival is known.
func (s *Stream) Ended() { <-s.arrival.ended }

// NothingToRecord reports whether all that upstreams showed so far has been looked
// through, see sightings.
func (n *Node) NothingToRecord() bool { return n.sightings.waiting.Load() == 0 }

// PurgeWithoutCarryingOut has the log record a purge, as if the process died before
// it was carried out.
func (n *Node) PurgeWithoutCarryingOut(ctx context.Context, mv module.Version) error {
	n.life.cancel() // ends purgeLoop, and the committer
	n.life.wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go n.commits.run(ctx)
	_, _, err := n.purge(ctx, n.self(), mv, "a test")
	return err
}

// PurgeWithoutAnswer has the log take a purge of what one repository holds, and the
// index not: it is applied before this node writes the next entry, or at its start.
func (n *Node) PurgeWithoutAnswer(ctx context.Context, repo events.RepoName, mv module.Version) error {
	c := n.commits
	c.mu.Lock()
	defer c.mu.Unlock()
	txn := n.index.Load().Begin(n.id.Site)
	defer txn.Discard()
	d := &draft{id: c.id, txn: txn, dir: c.directory(), time: entryTime(txn.Head().Time)}
	r := d.dir.RepoNamed(repo)
	d.bodies = []events.Body{events.VersionPurged{ModuleVersion: events.Of(r.ID, mv), Reason: "a test"}}
	d.bodies = append(d.bodies, events.VersionBlocked{Module: mv.Path, Version: mv.Version, Reason: "a test"})
	e, err := d.seal(c.key, c.origin)
	if err != nil {
		return err
	}
	c.unsettled = &e
	return c.log.Append(ctx, e.Position.Mark.Seq, e.Raw)
}

// CopyLogs is copyLogs.
func (n *Node) CopyLogs(ctx context.Context, from, to *index.Index) error {
	return n.copyLogs(ctx, from, to, func(uint64) {})
}

// DoNotAsk ends a node's waiting for other sites to say how far they have seen its
// log.
func (n *Node) DoNotAsk() { n.commits.release(holdStart) }

// AddUpstreams is addUpstreams.
func (s *Status) AddUpstreams(remotes []RemoteStatus) { s.addUpstreams(remotes) }

// Raise says that there is trouble.
func (n *Node) Raise(key, text string) bool { return n.sites.troubles.raise(key, text) }

// RefreshedSoFar reports whether a refresh of a module has begun.
func (n *Node) RefreshedSoFar(name events.RepoName, path string) bool {
	r, err := n.repository(n.self(), name)
	if err != nil {
		return false
	}
	_, ok := n.fetches.refreshed.get(refreshKey{r.repo.ID, path})
	return ok
}

// Record has this node record something, with no questions asked.
func (n *Node) Record(ctx context.Context, bodies ...events.Body) error {
	_, err := n.commits.propose(ctx, func(view) ([]events.Body, error) { return bodies, nil })
	return err
}

// RecordOnce has the log record events in an entry that is begun now, and ends when
// until is closed: what is proposed meanwhile is decided behind it. It returns when
// the entry is begun; what comes of it is to be had from the channel.
func (n *Node) RecordOnce(ctx context.Context, until <-chan struct{}, bodies ...events.Body) <-chan error {
	begun, done := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := n.commits.propose(ctx, func(view) ([]events.Body, error) {
			close(begun)
			<-until
			return bodies, nil
		})
		done <- err
	}()
	<-begun
	return done
}

// FillIndex writes until the index has met a full disk.
func (n *Node) FillIndex() error {
	x := n.index.Load()
	for !x.Full() {
		if err := x.Local("filling").SetSynced("row", make([]byte, 64<<10)); err != nil && !errors.Is(err, index.ErrFull) {
			return err
		}
	}
	return nil
}

// Propose has the committer call decide, which appends nothing.
func (n *Node) Propose(ctx context.Context, decide func()) error {
	_, err := n.commits.propose(ctx, func(view) ([]events.Body, error) { decide(); return nil, nil })
	return err
}

// PasswordCost makes a node hash passwords at another cost than bcrypt's 12.
func (o Options) PasswordCost(cost int) Options {
	o.passwordCost = cost
	return o
}

// PasswordsHashed returns how many passwords this node has compared with a hash.
func (n *Node) PasswordsHashed() int64 { return n.passwords.compared.Load() }

// WriteUses writes down when tokens were used, as is done each minute.
func (n *Node) WriteUses() { n.uses.write() }

// TakePasswordTurns takes all places of checks of passwords, until release.
func (n *Node) TakePasswordTurns() (release func()) {
	for range passwordsAtOnce {
		n.passwords.turns <- struct{}{}
	}
	return func() {
		for range passwordsAtOnce {
			<-n.passwords.turns
		}
	}
}

// Tables returns what judges, asked twice each: by the Directory in force, in a
// proposal, and by a Directory that an entry in the making comes to.
func (n *Node) Tables(ctx context.Context) (inForce, drafted [2]*access.Table, err error) {
	_, err = n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		d, err := resolveDirectory(n.id.Registry, v.txn.Prefix)
		for i := range 2 {
			inForce[i], drafted[i] = n.delegationIn(v.dir).table, n.delegationIn(d).table
		}
		return nil, err
	})
	return inForce, drafted, err
}

// Rights returns the rules in force, compiled.
func (n *Node) Rights() *access.Table { return n.state.Load().rights }

// Webhooks has a node send to receivers that roots certify, with another wait before
// the second try than a second and another limit to a request than 30.
func (o Options) Webhooks(roots *x509.CertPool, backoff, timeout time.Duration) Options {
	o.webhooks = webhookOptions{roots, backoff, timeout}
	return o
}

// SetWebhookCursor writes that a webhook was told of a log up to an entry.
func (n *Node) SetWebhookCursor(name string, log events.Site, at events.Mark, hash events.Digest) error {
	hook, _ := n.directory().Webhook(name)
	row, err := json.Marshal(cursor{Name: name, At: at, Hash: hash})
	if err != nil {
		return err
	}
	return n.index.Load().Local(cursorSpace).Set(hookLog{hook.ID, log}.String(), row)
}

// HoldDirectory has the Directory stay as it is until it is released.
func (n *Node) HoldDirectory() (release func()) {
	n.resolving.Lock()
	return n.resolving.Unlock
}

// StepWebhook returns when the one webhook of a site that is alone has been looked
// after: who looks waits anew before.
func (n *Node) StepWebhook() {
	waited := func() bool {
		n.sites.moved.mu.Lock()
		defer n.sites.moved.mu.Unlock()
		return n.sites.moved.ch != nil
	}
	for range 2 {
		n.sites.moved.notify()
		for !waited() {
			runtime.Gosched()
		}
	}
}

// PutDeadLetter has an event be a dead letter of a webhook.
func (n *Node) PutDeadLetter(name string, id events.EventID) error {
	hook, _ := n.directory().Webhook(name)
	return hookLog{hook.ID, id.Site}.putDead(n.index.Load(), WebhookDead{Event: id})
}

// HearHead has a node believe that a log goes on up to an entry; the zero Mark is not
// to have heard of it.
func (n *Node) HearHead(log events.Site, m events.Mark) {
	n.sites.mu.Lock()
	defer n.sites.mu.Unlock()
	n.sites.heads[log] = replication.SignedHead{Registry: n.id.Registry, Position: events.Position{Site: log, Mark: m}}
	if m.IsZero() {
		delete(n.sites.heads, log)
	}
}

// FirstWebhookCursor returns the entry behind which a webhook that was made at a
// time, at no site whose log this is, begins in a log.
func (n *Node) FirstWebhookCursor(made time.Time, log events.Site) (events.Mark, error) {
	c, err := firstCursor(n.index.Load(), events.ActiveWebhook{Created: made}, log)
	return c.At, err
}

// WebhookReasons returns what a person should know of webhooks at a time.
func (n *Node) WebhookReasons(now time.Time) []string { return n.webhooks.reasons(now) }

// WebhookRows returns the keys of all that is kept of webhooks.
func (n *Node) WebhookRows() (keys []string) {
	for _, space := range []string{cursorSpace, deadSpace} {
		for row := range n.index.Load().Local(space).All("") {
			keys = append(keys, row.Key)
		}
	}
	return keys
}

// HeldParts returns of how many versions parts are held.
func (n *Node) HeldParts() int {
	n.parts.mu.Lock()
	defer n.parts.mu.Unlock()
	return len(n.parts.known)
}

// ExpireHolds does what the node does now and then.
func (n *Node) ExpireHolds() error { return n.sweepHolds(time.Now()) }

// ExpireHoldsAt does what the node does now and then, at another time.
func (n *Node) ExpireHoldsAt(now time.Time) error { return n.sweepHolds(now) }

// HoldsEnd returns when the first hold ends.
func (n *Node) HoldsEnd() (first time.Time) {
	n.parts.mu.Lock()
	defer n.parts.mu.Unlock()
	for _, s := range n.parts.known {
		if first.IsZero() || s.until.Before(first) {
			first = s.until
		}
	}
	return first
}

// BoundHolds has zips of so many bytes be held for one user.
func (n *Node) BoundHolds(bytes int64) {
	n.parts.mu.Lock()
	defer n.parts.mu.Unlock()
	n.parts.bytesOfOne = bytes
}

// Admitting has no blob removed until done is called.
func (n *Node) Admitting() (done func()) {
	n.blobs.admitting.RLock()
	return n.blobs.admitting.RUnlock
}
