package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"sync"
	"time"

	"registry-node/events"
	"registry-node/node/index"
)

// teller tells one receiver of one log: one event after the other, each until the
// receiver has it or refuses it for good. So what it tells is in the order of the
// log.
type teller struct {
	hookLog
	webhooks *webhooks
	name     string
	turns    chan struct{} // of the webhook: a place for each request
	began    time.Time
	since    time.Time // belongs to webhooks.match: when the webhook was changed
	cancel   context.CancelFunc
	ended    chan struct{} // closed when run has returned
	wake     chan struct{} // has room for one: try at once

	// What follows is run's alone.
	x       *index.Index    // from which it was loaded, and into which it writes; nil: it wasn't
	head    events.Position // where the log ended when the cursor was last found to be in it
	saved   cursor
	skipped int          // entries since then
	held    events.Entry // the entry that it is in the midst of, so that it is read once
	warned  bool
	// Dead letters that are told again take turns with the log.
	deadTurn  bool
	deadNext  time.Time // of the next try
	deadTries int       // of the first of them

	// deadMu is held by who changes dead letters, before mu.
	deadMu sync.Mutex

	mu sync.Mutex
	st tellerState // guarded by mu
}

// tellerState is how a teller stands.
type tellerState struct {
	at       cursor
	dead     int // dead letters
	revived  int // of those, such as are to be told again
	due      events.EventID
	dueTime  time.Time // of the event due; zero if none is
	tries    int       // of the event due
	refusals int       // among them
	problem  string    // why it is not told yet
	answer   string    // what the receiver said
	next     time.Time // of the next try; zero: none waits
	lastTold time.Time
	told     uint64 // since the start
	failures uint64 // since the start
}

const (
	// skipBatch is how many entries with nothing to tell are passed until that is
	// written down, or something else is done.
	skipBatch = 256
)

func (t *teller) standing() tellerState {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.st
}

func (t *teller) change(f func(*tellerState)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.st)
}

// nothingDue is how it stands when there is nothing to tell.
func (st *tellerState) nothingDue() {
	st.due, st.dueTime, st.tries, st.refusals, st.problem, st.answer, st.next = events.EventID{}, time.Time{}, 0, 0, "", "", time.Time{}
}

// late returns how late the event is that is due. A teller that has failed at
// nothing has had no more time than since it began.
func (st tellerState) late(now, began time.Time) time.Duration {
	if st.dueTime.IsZero() {
		return 0
	}
	if st.problem == "" && began.After(st.dueTime) {
		return now.Sub(began)
	}
	return now.Sub(st.dueTime)
}

// run tells until ctx ends.
func (t *teller) run(ctx context.Context) {
	for {
		moved := t.webhooks.node.sites.moved.wait()
		wait := t.step(ctx)
		if ctx.Err() != nil {
			t.stop()
			return
		}
		if wait == 0 {
			continue
		}
		var again <-chan time.Time
		if wait > 0 {
			again = time.After(wait)
		}
		if time.Now().Before(t.standing().next) { // what is new changes nothing for an event that waits
			moved = nil
		}
		select {
		case <-moved:
		case <-again:
		case <-t.wake:
			t.deadNext = time.Time{}
			t.change(func(st *tellerState) { st.next = time.Time{} })
		case <-ctx.Done():
		}
	}
}

// stop writes down how far it is.
func (t *teller) stop() {
	if t.x == nil || t.replaced() {
		return
	}
	if err := t.save(); err != nil {
		t.webhooks.node.logger.Warn("how far a webhook was told is not kept", "webhook", t.name, "log", t.log, "error", err)
	}
}

// idle has run wait until there is something new.
const idle time.Duration = -1

// step does the next thing that is to be done, and returns how long to wait before
// the one after it.
func (t *teller) step(ctx context.Context) time.Duration {
	n := t.webhooks.node
	hook, ok := n.directory().Webhook(t.name)
	if !ok || hook.ID != t.id {
		return idle // it ends in a moment
	}
	if err := t.load(hook); err != nil {
		return t.stuck(ctx, err)
	}
	st, now := t.standing(), time.Now()
	waits := now.Before(st.next)
	if st.revived > 0 && !now.Before(t.deadNext) && (t.deadTurn || waits) {
		t.deadTurn = false
		return t.tellDead(ctx, hook)
	}
	t.deadTurn = true
	if waits {
		return t.orDead(st.next.Sub(now))
	}
	return t.orDead(t.tellLog(ctx, hook))
}

// orDead returns how long to wait if dead letters are to be told again, too.
func (t *teller) orDead(wait time.Duration) time.Duration {
	if t.standing().revived == 0 || wait == 0 {
		return wait
	}
	dead := max(0, time.Until(t.deadNext))
	if wait == idle {
		return dead
	}
	return min(wait, dead)
}

// tellLog does the next thing that the log has to be done.
func (t *teller) tellLog(ctx context.Context, hook events.ActiveWebhook) time.Duration {
	e, i, err := t.find(ctx, hook)
	if errors.Is(err, errParted) {
		return t.webhooks.backoff
	}
	if err != nil {
		return t.stuck(ctx, err)
	}
	if i < 0 {
		if t.skipped < skipBatch { // a crash has them passed again
			return idle
		}
		if err := t.save(); err != nil {
			return t.stuck(ctx, err)
		}
		return 0
	}
	return t.tellNext(ctx, hook, e, i)
}

// stuck reports a failure of this node, which is tried again.
func (t *teller) stuck(ctx context.Context, err error) time.Duration {
	if ctx.Err() == nil {
		t.webhooks.node.logger.Warn("webhook waits for this node", "webhook", t.name, "log", t.log, "error", err)
		t.change(func(st *tellerState) {
			st.problem, st.next = "this node's index can't be read or written; its log says why", time.Now().Add(t.webhooks.backoff*5)
		})
	}
	return t.webhooks.backoff * 5
}

// load finds out where it stands, at the start and when the index is another one. It
// takes that from the index's rows and nothing from memory: between the copy of the
// rows and the moment in which the new index counts, some may have been written to
// the old one, and dead letters among them would be lost.
func (t *teller) load(hook events.ActiveWebhook) error {
	n := t.webhooks.node
	head := n.sites.headOf(t.log)
	if t.x == nil || t.replaced() {
		x := n.index.Load()
		c, err := n.loadCursor(x, hook, t.log)
		if err != nil {
			return err
		}
		t.saved, t.skipped, t.held, t.head = c, 0, events.Entry{}, events.Position{}
		t.change(func(st *tellerState) { st.at = c })
		t.deadMu.Lock()
		err = t.countDead(x)
		t.deadMu.Unlock()
		if err != nil {
			return err
		}
		t.x = x
	}
	if t.head == head {
		return nil
	}
	if err := t.recheck(t.x, hook); err != nil {
		return err
	}
	t.head = head
	return nil
}

// replaced reports whether the index is another one than it was loaded from.
func (t *teller) replaced() bool { return t.webhooks.node.index.Load() != t.x }

// find returns the next entry that has something to tell and which of its events
// that is, or -1: there is none, skipBatch entries had nothing, or it can't be said
// of an event yet whether it is to be told.
func (t *teller) find(ctx context.Context, hook events.ActiveWebhook) (events.Entry, int, error) {
	n, x := t.webhooks.node, t.x
	head, _, err := x.Head(t.log)
	if err != nil {
		return events.Entry{}, -1, err
	}
	c := t.standing().at
	if head.Position.Mark.Compare(c.At) < 0 {
		return events.Entry{}, -1, t.beyond(head)
	}
	t.warned = false
	v := n.sites.hookView()
	for e, err := range t.entries(ctx, x, c, v.covers[t.log]) {
		if err != nil {
			return events.Entry{}, -1, err
		}
		if !c.leadsTo(e) { // it was taken back this very moment
			t.change(func(st *tellerState) { st.at = c })
			return events.Entry{}, -1, cmp.Or(t.setBack(x, hook), errParted)
		}
		for i := c.first(e.Position.Mark); i < len(e.Events); i++ {
			takes, awaits := v.judge(hook, e.Events[i])
			if awaits != "" {
				t.await(e, i, c, awaits)
				return e, -1, nil
			}
			if takes {
				t.held = e
				t.change(func(st *tellerState) { st.at = c })
				return e, i, nil
			}
		}
		c = c.behindEntry(e.Position)
		if t.skipped++; t.skipped >= skipBatch {
			break
		}
	}
	t.held = events.Entry{}
	t.change(func(st *tellerState) {
		st.nothingDue()
		st.at = c
	})
	return events.Entry{}, -1, nil
}

// await has an event wait for other logs, with the cursor before it.
func (t *teller) await(e events.Entry, i int, c cursor, why string) {
	ev := e.Events[i]
	t.held = e
	t.change(func(st *tellerState) {
		st.at = c
		if st.due != ev.ID {
			st.nothingDue()
			st.due, st.dueTime = ev.ID, ev.Time
		}
		st.problem, st.next = why, time.Time{}
	})
	t.webhooks.node.logger.Debug("webhook waits for another log", "webhook", t.name, "event", ev.ID, "why", why)
}

// entries yields the entries of the log behind a cursor, up to a place: those behind
// that were kept, but not applied.
func (t *teller) entries(ctx context.Context, x *index.Index, c cursor, upTo events.Mark) iter.Seq2[events.Entry, error] {
	return func(yield func(events.Entry, error) bool) {
		from := c.At
		if !c.In.IsZero() && t.held.Position.Mark == c.In && t.held.Position.Hash == c.InHash {
			if !yield(t.held, nil) {
				return
			}
			from = c.In
		}
		if from.Compare(upTo) >= 0 {
			return
		}
		for raw, err := range x.Entries(t.log, from) {
			var e events.Entry
			if err = errors.Join(err, ctx.Err()); err == nil {
				e, err = events.DecodeEntry(raw)
			}
			if err == nil && e.Position.Mark.Compare(upTo) > 0 || !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// beyond is called while a log ends before the cursor. That of this site goes on
// from its end: the cursor is set back. Another site's is fetched again, or goes on
// in a new epoch, or has ended: what it had is not told twice.
func (t *teller) beyond(head index.Head) error {
	n := t.webhooks.node
	c := t.standing().at
	if !t.warned {
		t.warned = true
		n.logger.Warn("a webhook was told of entries that the log no longer has", "webhook", t.name, "log", t.log, "told", c.At, "ends", head.Position.Mark)
	}
	t.skipped = 0
	if t.log == n.id.Site {
		t.change(func(st *tellerState) { st.at = c.behindEntry(head.Position) })
		return t.save()
	}
	return nil
}

// save writes the cursor, if it is another one.
func (t *teller) save() error {
	c := t.standing().at
	if c == t.saved {
		return nil
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := t.x.Local(cursorSpace).Set(t.String(), raw); err != nil {
		return err
	}
	t.saved, t.skipped = c, 0
	return nil
}
