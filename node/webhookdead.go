package node

import (
	"context"
	"fmt"
	"time"

	"registry-node/events"
	"registry-node/node/index"
)

// tellDead tries once to tell of the oldest dead letter that is to be told again. It
// takes turns with the log, and the first refusal ends it: neither holds the other up.
func (t *teller) tellDead(ctx context.Context, hook events.ActiveWebhook) time.Duration {
	d, ok, err := t.firstRevived(t.x)
	if err != nil {
		return t.stuck(ctx, err)
	}
	if !ok {
		t.change(func(st *tellerState) { st.revived = 0 })
		return 0
	}
	e, ok, err := t.entryOf(t.x, d.Event)
	switch {
	case err != nil:
		return t.stuck(ctx, err)
	case !ok && t.head.Mark.Compare(d.Event.Mark) < 0: // the log is fetched again
		t.deadNext = time.Now().Add(5 * t.webhooks.backoff)
		return 0
	case !ok:
		t.webhooks.node.logger.Warn("webhook: a dead letter is of an event that the log no longer has", "webhook", t.name, "event", d.Event)
		return t.settleDead(ctx, d.Event, nil)
	}
	s, sent := t.sendInTurn(ctx, hook, e, d.Event.Index)
	if !sent || t.replaced() {
		return 0
	}
	d.Tries, d.Problem, d.Answer = d.Tries+1, s.problem, s.answer
	switch s.verdict {
	case taken:
		t.deadTries = 0
		t.change(func(st *tellerState) { st.told, st.lastTold = st.told+1, time.Now() })
		return t.settleDead(ctx, d.Event, nil)
	case unwanted:
		t.deadTries, d.Again = 0, false
	default:
		t.deadTries++
		t.deadNext = time.Now().Add(max(t.webhooks.wait(t.deadTries, s.unasked), s.wait))
	}
	t.change(func(st *tellerState) { st.failures++ })
	return t.settleDead(ctx, d.Event, &d)
}

// firstRevived returns the oldest dead letter that is to be told again.
func (k hookLog) firstRevived(x *index.Index) (WebhookDead, bool, error) {
	letters, err := k.deadLetters(x)
	for _, d := range letters {
		if d.Again {
			return d, true, nil
		}
	}
	return WebhookDead{}, false, err
}

// entryOf returns the entry that has an event.
func (k hookLog) entryOf(x *index.Index, id events.EventID) (events.Entry, bool, error) {
	raw, ok, err := x.Entry(id.Site, id.Mark)
	if err != nil || !ok {
		return events.Entry{}, false, err
	}
	e, err := events.DecodeEntry(raw)
	return e, err == nil && id.Index < len(e.Events), err
}

// settleDead writes down what became of a dead letter that was told again: nil if it
// is none any more. One that was given up meanwhile stays so.
func (t *teller) settleDead(ctx context.Context, id events.EventID, now *WebhookDead) time.Duration {
	x := t.x
	t.deadMu.Lock()
	defer t.deadMu.Unlock()
	_, has, err := x.Local(deadSpace).Get(t.deadKey(id))
	switch {
	case err != nil || !has:
	case now == nil:
		err = x.Local(deadSpace).Delete(t.deadKey(id))
	default:
		err = t.putDead(x, *now)
	}
	if err == nil {
		err = t.countDead(x)
	}
	if err != nil {
		return t.stuck(ctx, fmt.Errorf("dead letter %v: %w", id, err))
	}
	return 0
}

// countDead notes how many dead letters there are. The caller holds deadMu.
func (t *teller) countDead(x *index.Index) error {
	letters, err := t.deadLetters(x)
	if err != nil {
		return err
	}
	revived := 0
	for _, d := range letters {
		if d.Again {
			revived++
		}
	}
	t.change(func(st *tellerState) { st.dead, st.revived = len(letters), revived })
	t.webhooks.node.sites.changes.notify()
	return nil
}

// revive has all dead letters told again, and returns how many there are.
func (t *teller) revive(x *index.Index) (int, error) {
	t.deadMu.Lock()
	defer t.deadMu.Unlock()
	letters, err := t.deadLetters(x)
	if err != nil {
		return 0, err
	}
	for _, d := range letters {
		d.Again = true
		if err := t.putDead(x, d); err != nil {
			return 0, err
		}
	}
	err = t.countDead(x)
	poke(t.wake)
	return len(letters), err
}

// drop gives all dead letters up, and returns how many there were.
func (t *teller) drop(x *index.Index) (int, error) {
	t.deadMu.Lock()
	defer t.deadMu.Unlock()
	letters, err := t.deadLetters(x)
	if err != nil {
		return 0, err
	}
	for i, d := range letters {
		if err := x.Local(deadSpace).Delete(t.deadKey(d.Event)); err != nil {
			return i, err
		}
	}
	err = t.countDead(x)
	poke(t.wake)
	return len(letters), err
}
