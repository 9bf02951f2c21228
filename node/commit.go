package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/index"
	"registry-node/replication"
)

// committer is the only writer of the site's log, and of the site's
// contributions in the index.
//
// Its commit point is log.Append: a crash before it leaves nothing; a crash
// after it leaves an entry that the next start applies; only after the index
// batch is synced, too, does anybody get an answer.
type committer struct {
	id     identity
	key    ed25519.PrivateKey
	log    *replication.Log
	index  func() *index.Index
	space  *space
	logger *slog.Logger
	// directory returns the current Directory; refresh has everybody see what has
	// changed, before the answers go out.
	directory func() *events.Directory
	refresh   func(stateChange) error
	// origin returns what the first entry of the log is chained to.
	origin func() (events.Digest, error)
	// appended is told of each new head, which is durable in both copies.
	appended func(index.Head)
	// mayDate reports why no entry may be dated now.
	mayDate func() error

	in chan *proposal
	// held are proposals that did not fit into the entry before. Owned by run.
	held []*proposal

	// mu is held while an entry is made, appended and applied; who mends or
	// rebuilds a copy takes it to keep the log still. It guards unsettled.
	mu sync.Mutex
	// unsettled is an entry that may be in the log and is not in the index: its
	// append got no answer, or the index had no space. It is settled before
	// anything else is appended.
	unsettled *events.Entry
	// frozen is why nothing may be appended any more, until a restart.
	frozen atomic.Pointer[string]
	holds  holds
}

// holds are why nothing may be appended for now, each under the key of who lets
// go of it again.
type holds struct {
	mu  sync.Mutex
	why map[holdKey]string // guarded by mu
}

type holdKey int

// Who may keep writes out, in the order in which a user is told.
const (
	holdLeft  holdKey = iota // this site is no member any more, or is leaving
	holdFork                 // its log has two histories
	holdStart                // it asks the others how far they have seen its log
)

// hold lets no writes in until release of the same key.
func (c *committer) hold(k holdKey, why string) {
	c.holds.mu.Lock()
	defer c.holds.mu.Unlock()
	if c.holds.why == nil {
		c.holds.why = map[holdKey]string{}
	}
	c.holds.why[k] = why
}

func (c *committer) release(k holdKey) {
	c.holds.mu.Lock()
	defer c.holds.mu.Unlock()
	delete(c.holds.why, k)
}

// waits reports whether k keeps writes out.
func (c *committer) waits(k holdKey) bool {
	c.holds.mu.Lock()
	defer c.holds.mu.Unlock()
	_, ok := c.holds.why[k]
	return ok
}

// mayWrite reports why nothing may be appended, if so.
func (c *committer) mayWrite() error {
	if why := c.frozen.Load(); why != nil {
		return fail(ErrUnavailable, "this node takes no writes: %s", *why)
	}
	c.holds.mu.Lock()
	defer c.holds.mu.Unlock()
	for _, k := range []holdKey{holdLeft, holdFork, holdStart} {
		if why, ok := c.holds.why[k]; ok {
			return fail(ErrUnavailable, "this node takes no writes: %s", why)
		}
	}
	return nil
}

// proposal asks for events. decide looks at what the site knows at the moment
// of the append, the proposals before it in the same entry included, and says
// which events to append: none if it all is there already, or why not. It is
// called again if the events did not fit into an entry, and never concurrently
// with another; nor once propose has returned, so what it writes is the caller's.
type proposal struct {
	ctx    context.Context
	decide func(view) ([]events.Body, error)
	reply  chan outcome // has room for the one outcome

	deciding sync.Mutex // held while decide runs
}

// run lets the proposal decide, unless nobody waits for it any more.
func (p *proposal) run(v view) ([]events.Body, error) {
	p.deciding.Lock()
	defer p.deciding.Unlock()
	if p.ctx.Err() != nil {
		return nil, context.Cause(p.ctx)
	}
	return p.decide(v)
}

type outcome struct {
	at  receipt
	err error
}

// receipt says which entry took the events of a proposal; it is zero if there
// was nothing to append.
type receipt struct {
	Position events.Position
	Time     time.Time
}

// view is what a proposal decides on.
type view struct {
	txn *index.Txn
	dir *events.Directory
	at  events.EventID // of the first event it would append
}

const (
	maxBatch = 512
	// batchBytes leaves room in an entry for what stands around its events, and
	// eventFrame for what stands around an event's data.
	batchBytes = events.MaxEntry - 1<<10
	eventFrame = 64
)

// entryTime returns the time of an entry that follows one of time prev: now, in
// milliseconds, but never earlier.
func entryTime(prev time.Time) time.Time {
	now := time.Now().UTC().Truncate(time.Millisecond)
	if now.Before(prev) {
		return prev
	}
	return now
}

// propose hands decide to the committer and waits for the outcome. If ctx ends
// first the events may be appended nevertheless.
func (c *committer) propose(ctx context.Context, decide func(view) ([]events.Body, error)) (receipt, error) {
	p := &proposal{ctx: ctx, decide: decide, reply: make(chan outcome, 1)}
	select {
	case c.in <- p:
	case <-ctx.Done():
		return receipt{}, context.Cause(ctx)
	}
	select {
	case o := <-p.reply:
		receiptOf(ctx).note(o.at.Position)
		return o.at, o.err
	case <-ctx.Done():
		p.deciding.Lock() // so it has run, or never will
		defer p.deciding.Unlock()
		return receipt{}, context.Cause(ctx)
	}
}

// run commits proposals until ctx ends. Whoever waits then gets ctx's error.
func (c *committer) run(ctx context.Context) {
	for {
		batch := c.collect(ctx)
		if batch == nil {
			return
		}
		c.mu.Lock()
		c.commit(ctx, batch)
		c.mu.Unlock()
	}
}

// collect waits for a proposal and takes those that wait behind it, without
// delay. It returns nil when ctx has ended.
func (c *committer) collect(ctx context.Context) []*proposal {
	batch := c.held
	c.held = nil
	if len(batch) == 0 {
		select {
		case p := <-c.in:
			batch = append(batch, p)
		case <-ctx.Done():
			return nil
		}
	}
	for len(batch) < maxBatch {
		select {
		case p := <-c.in:
			batch = append(batch, p)
		default:
			return batch
		}
	}
	return batch
}

// commit makes one entry of what the proposals decide and answers them. If the
// entry can't be made durable, nobody is told what was decided on top of it.
func (c *committer) commit(ctx context.Context, batch []*proposal) {
	err := c.ready(ctx)
	if err != nil {
		answer(batch, func(*proposal) outcome { return outcome{err: err} })
		return
	}
	txn := c.index().Begin(c.id.Site)
	defer txn.Discard()
	d := &draft{id: c.id, txn: txn, dir: c.directory(), time: entryTime(txn.Head().Time), errs: map[*proposal]error{}}
	n := d.take(batch)
	batch, c.held = batch[:n], batch[n:]

	var at receipt
	if len(d.bodies) > 0 {
		at, err = c.append(ctx, d)
	}
	answer(batch, func(p *proposal) outcome {
		switch own, nothing := d.errs[p]; {
		case err != nil:
			return outcome{err: err}
		case nothing:
			return outcome{err: own}
		}
		return outcome{at: at}
	})
}

func answer(batch []*proposal, outcomeOf func(*proposal) outcome) {
	for _, p := range batch {
		p.reply <- outcomeOf(p)
	}
}

// ready reports why nothing can be appended now. It settles an append that got
// no answer first.
func (c *committer) ready(ctx context.Context) error {
	for _, check := range []func() error{c.mayWrite, c.space.check, c.mayDate} {
		if err := check(); err != nil {
			return err
		}
	}
	if c.unsettled == nil {
		return nil
	}
	stored, err := c.log.Settle(ctx, c.unsettled.Position.Mark.Seq, c.unsettled.Raw)
	if err != nil {
		return c.failed(err)
	}
	if stored { // else it never will be; who proposed it was told to repeat it
		txn := c.index().Begin(c.id.Site)
		defer txn.Discard()
		if err := errors.Join(txn.Append(*c.unsettled), notePurges(txn, *c.unsettled)); err != nil {
			return c.freeze("the index can't take an entry of the log", err)
		}
		if err := c.finish(txn, changesDirectory); err != nil {
			return err
		}
	}
	c.unsettled = nil
	return nil
}

// newEpoch appends the first entry of a new epoch. The caller holds mu. What was
// on hold stays so; what is frozen is refused.
func (c *committer) newEpoch(ctx context.Context, who *access.Caller) (events.Position, error) {
	if why := c.frozen.Load(); why != nil {
		return events.Position{}, fail(ErrUnavailable, "this node takes no writes: %s", *why)
	}
	if c.unsettled != nil {
		return events.Position{}, fail(ErrUnavailable, "an entry is being settled; try again in a moment")
	}
	if err := c.space.check(); err != nil {
		return events.Position{}, err
	}
	txn := c.index().Begin(c.id.Site)
	defer txn.Discard()
	d := &draft{id: c.id, txn: txn, dir: c.directory(), time: entryTime(txn.Head().Time), newEpoch: true, errs: map[*proposal]error{}}
	base := txn.Head().Position
	if base.Mark.IsZero() {
		return events.Position{}, fail(ErrUnavailable, "this site's log is empty; there is nothing to go on from")
	}
	body := events.LogContinued{Site: c.id.Site, Base: base.Mark, Actor: who.Actor()}
	evs, size, err := d.events([]events.Body{body})
	if err != nil {
		return events.Position{}, err
	}
	if err := d.add(evs, []events.Body{body}, size); err != nil {
		return events.Position{}, err
	}
	at, err := c.append(ctx, d)
	receiptOf(ctx).note(at.Position)
	return at.Position, err
}

// append makes the draft's entry durable in the log and applies it.
func (c *committer) append(ctx context.Context, d *draft) (receipt, error) {
	entry, err := d.seal(c.key, c.origin)
	if err != nil {
		return receipt{}, fmt.Errorf("make an entry: %w", err)
	}
	if err := c.log.Append(ctx, entry.Position.Mark.Seq, entry.Raw); err != nil {
		if !errors.Is(err, replication.ErrConflict) && !errors.Is(err, replication.ErrRollback) {
			c.unsettled = &entry
		}
		return receipt{}, c.failed(err)
	}
	if err := d.txn.Record(entry); err != nil {
		return receipt{}, c.freeze("the index can't take an entry of the log", err)
	}
	if err := c.finish(d.txn, d.changes); err != nil {
		c.unsettled = &entry
		return receipt{}, err
	}
	return receipt{entry.Position, entry.Time}, nil
}

// finish commits txn, synced, and tells of a new Directory. If that fails, the
// entry is in the log all the same: it is unsettled, and is applied when there
// is space or, if the index failed for good, at the next start.
func (c *committer) finish(txn *index.Txn, changes stateChange) error {
	head := txn.Head()
	err := txn.Commit(true)
	if errors.Is(err, index.ErrFull) { // nothing of it is done, and Refill ends it
		return noSpace(err)
	}
	if err != nil {
		return c.freeze("the index can't be written", err)
	}
	if err := c.refresh(changes); err != nil {
		return c.freeze("the index can't be read", err)
	}
	c.appended(head)
	return nil
}

// failed turns a failure of the log into one for users. What means that the log
// is not what it was freezes it.
func (c *committer) failed(err error) error {
	switch {
	case errors.Is(err, replication.ErrRollback), errors.Is(err, replication.ErrGap):
		return c.freeze("the log has lost entries that were acknowledged; restart the node to mend it", err)
	case errors.Is(err, replication.ErrConflict):
		return c.freeze("another process appends to this site's log", err)
	case errors.Is(err, replication.ErrNoSpace):
		return noSpace(err)
	}
	return because(err, ErrUnavailable, "the log gave no answer; whether the write is in it is not known yet, and a repetition is safe")
}

// freeze stops all writes until a restart: memory, log and index may disagree,
// and the start-up path is what brings them together.
func (c *committer) freeze(why string, err error) error {
	c.frozen.CompareAndSwap(nil, &why)
	c.logger.Error("node takes no more writes", "why", why, "error", err)
	return because(err, ErrUnavailable, "this node takes no writes: %s", why)
}

// draft is an entry in the making: what the proposals of a batch decided.
type draft struct {
	id   identity
	txn  *index.Txn
	dir  *events.Directory // with what is drafted
	time time.Time
	// newEpoch says that the entry is the first of a new epoch.
	newEpoch bool

	bodies  []events.Body
	size    int // bytes of the bodies' data
	changes stateChange
	errs    map[*proposal]error // of those with nothing to append; nil: all there already
}

// take lets the proposals decide, one after the other, until the entry is full,
// and returns how many did.
func (d *draft) take(batch []*proposal) int {
	for i, p := range batch {
		bodies, err := p.run(view{d.txn, d.dir, d.next(0)})
		if err != nil || len(bodies) == 0 {
			d.errs[p] = err
			continue
		}
		evs, size, err := d.events(bodies)
		if err != nil {
			d.errs[p] = err
			continue
		}
		if len(d.bodies) > 0 && d.size+size > batchBytes {
			return i
		}
		if err := d.add(evs, bodies, size); err != nil {
			d.errs[p] = err
		}
	}
	return len(batch)
}

// next returns the id of the event that follows the drafted ones after i more.
func (d *draft) next(i int) events.EventID {
	m := d.txn.Head().Position.Mark
	m.Epoch = max(m.Epoch, 1)
	if d.newEpoch {
		m.Epoch++
	}
	m.Seq++
	return events.EventID{Site: d.id.Site, Mark: m, Index: len(d.bodies) + i}
}

func (d *draft) events(bodies []events.Body) (evs []events.Event, size int, err error) {
	for i, b := range bodies {
		if err := mayWriteType(d.dir, b.Type()); err != nil {
			return nil, 0, err
		}
		data, err := events.EncodeBody(b)
		if err != nil {
			return nil, 0, because(err, ErrInvalid, "%v", err)
		}
		size += len(data) + eventFrame
		evs = append(evs, events.Event{ID: d.next(i), Time: d.time, Type: b.Type(), Data: data, Body: b})
	}
	return evs, size, nil
}

func (d *draft) add(evs []events.Event, bodies []events.Body, size int) error {
	for _, ev := range evs {
		cs, err := d.txn.Get(ev.Body.Key(ev.ID))
		if err != nil {
			return err
		}
		if cs.Of(d.id.Site).Full() {
			return fail(ErrUnavailable, "the record %v takes no more events: it has been changed too often", ev.Body.Key(ev.ID))
		}
	}
	for _, ev := range evs {
		if _, err := d.txn.Apply(ev); err != nil {
			return err
		}
	}
	d.bodies = append(d.bodies, bodies...)
	d.size += size
	changes := changesNothing
	for _, ev := range evs {
		changes = max(changes, changeOf(ev.Body.Key(ev.ID).Kind()))
	}
	d.changes = max(d.changes, changes)
	if changes != changesDirectory {
		return nil
	}
	dir, err := resolveDirectory(d.id.Registry, d.txn.Prefix)
	if err == nil {
		d.dir = dir
	}
	return err
}

// seal makes the entry. origin says what a log's first one is chained to.
func (d *draft) seal(key ed25519.PrivateKey, origin func() (events.Digest, error)) (events.Entry, error) {
	prev := d.txn.Head().Position.Hash
	if d.txn.Head().Position.Mark.IsZero() {
		var err error
		if prev, err = origin(); err != nil {
			return events.Entry{}, err
		}
	}
	return events.Draft{
		Registry: d.id.Registry, Site: d.id.Site, Mark: d.next(0).Mark,
		Time: d.time, Prev: prev, Bodies: d.bodies,
	}.Seal(key)
}
