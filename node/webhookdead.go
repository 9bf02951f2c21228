package node

import (
	"context"
	"fmt"
	"time"

	"registry-node/events"
	"registry-node/node/index"
)

// tellDead tries to tell of the oldest dead letter that is to be told again. It goes
// before the log, and waits like any event.
func (t *teller) tellDead(ctx context.Context, hook events.ActiveWebhook, st tellerState) time.Duration {
	x := t.x
	d, ok, err := t.firstRevived(x)
	if err != nil {
		return t.stuck(ctx, err)
	}
	if !ok {
		t.change(func(st *tellerState) { st.revived = 0 })
		return 0
	}
	e, ok, err := t.entryOf(x, d.Event)
	if err != nil {
		return t.stuck(ctx, err)
	}
	if !ok {
		t.webhooks.node.logger.Warn("webhook: a dead letter is of an event that the log no longer has", "webhook", t.name, "event", d.Event)
		return t.settleDead(ctx, d.Event, nil)
	}
	wait, end := t.try(ctx, hook, e, d.Event.Index)
	st = t.standing()
	if t.replaced() {
		return 0
	}
	switch end {
	case told:
		return t.settleDead(ctx, d.Event, nil)
	case buried:
		d.Tries, d.Problem, d.Answer, d.Again = d.Tries+st.tries, st.problem, st.answer, false
		return t.settleDead(ctx, d.Event, &d)
	}
	return wait
}

// firstRevived returns the oldest dead letter that is to be told again.
func (k hookLog) firstRevived(x *index.Index) (deadLetter, bool, error) {
	letters, err := k.deadLetters(x)
	for _, d := range letters {
		if d.Again {
			return d, true, nil
		}
	}
	return deadLetter{}, false, err
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
func (t *teller) settleDead(ctx context.Context, id events.EventID, now *deadLetter) time.Duration {
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
	t.change(func(st *tellerState) { st.nothingDue() })
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
