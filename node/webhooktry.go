package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"registry-node/events"
)

const (
	// maxRefusals is how often an event is sent that the receiver does not want.
	maxRefusals = 5
	// maxBackoff is how many times as long as the first wait the longest is.
	maxBackoff = 300
	// secretWait is how often a secret is looked for that is missing.
	secretWait = 15 * time.Second
)

// tellNext tries to tell of the next event of the log.
func (t *teller) tellNext(ctx context.Context, hook events.ActiveWebhook, e events.Entry, i int) time.Duration {
	ev := e.Events[i]
	if t.saved != t.standing().at { // a write that failed is made up for before anything more is told
		if err := t.save(); err != nil {
			return t.stuck(ctx, err)
		}
	}
	wait, done := t.try(ctx, hook, e, i)
	switch {
	case done == waits:
		return wait
	case t.replaced(): // it is told again, as what it writes now may be lost
		return 0
	case done == buried:
		if err := t.bury(ev); err != nil {
			return t.unburied(ctx, err)
		}
	}
	t.change(func(st *tellerState) {
		st.at = st.at.behindEvent(ev.ID, e.Position.Hash)
		if i == len(e.Events)-1 {
			st.at = st.at.behindEntry(e.Position)
		}
	})
	if err := t.save(); err != nil {
		return t.stuck(ctx, err)
	}
	return 0
}

// ending is how a try ends.
type ending int

const (
	waits  ending = iota // it is tried again
	told                 // the receiver has it
	buried               // the receiver does not want it
)

// try sends an event once, when it is the webhook's turn, and returns how long to
// wait before the next try.
func (t *teller) try(ctx context.Context, hook events.ActiveWebhook, e events.Entry, i int) (time.Duration, ending) {
	ev := e.Events[i]
	t.change(func(st *tellerState) {
		if st.due != ev.ID {
			st.due, st.dueTime, st.tries, st.refusals, st.answer = ev.ID, ev.Time, 0, 0, ""
		}
		if st.tries == 0 {
			st.problem = ""
		}
		st.next = time.Time{}
	})
	s, sent := t.sendInTurn(ctx, hook, e, i)
	if !sent {
		return 0, waits
	}
	return t.judge(ev, s)
}

// sendInTurn sends an event when it is the webhook's turn; sent is false if ctx ended
// before anything came of it.
func (t *teller) sendInTurn(ctx context.Context, hook events.ActiveWebhook, e events.Entry, i int) (s attempt, sent bool) {
	select {
	case t.turns <- struct{}{}:
	case <-ctx.Done():
		return attempt{}, false
	}
	s = t.sendOne(ctx, hook, e, i)
	<-t.turns
	return s, s.verdict == taken || ctx.Err() == nil
}

// wait returns how long to wait after a number of tries.
func (w *webhooks) wait(tries int, unasked bool) time.Duration {
	wait := w.backoff * time.Duration(min(maxBackoff, 1<<min(tries-1, 16)))
	if unasked {
		wait = min(wait, secretWait)
	}
	return wait - rand.N(wait/4+1)
}

// sendOne sends an event. One of another site that has no right to state it counts
// as refused, see hookView.judge for one that may have it.
func (t *teller) sendOne(ctx context.Context, hook events.ActiveWebhook, e events.Entry, i int) attempt {
	n := t.webhooks.node
	if ev := e.Events[i]; ev.ID.Site != n.id.Site {
		if err := n.directory().Right(ev.ID, ev.Body); err != nil {
			return attempt{verdict: unwanted, problem: "it is not sent: " + err.Error()}
		}
	}
	body, err := n.tell(e, i)
	if err != nil {
		return attempt{verdict: unwanted, problem: "it can't be sent: " + err.Error()}
	}
	return t.webhooks.send(ctx, hook.Webhook, e.Events[i].ID.String(), body)
}

// judge notes what came of a try.
func (t *teller) judge(ev events.Event, s attempt) (wait time.Duration, end ending) {
	level := slog.LevelDebug
	t.change(func(st *tellerState) {
		st.tries++
		if st.problem != s.problem {
			level = slog.LevelInfo
		}
		st.problem, st.answer = s.problem, s.answer
		if s.verdict == taken {
			st.told++
			st.lastTold = time.Now()
			end = told
			return
		}
		st.failures++
		if s.verdict == unwanted {
			st.refusals++
		}
		if st.refusals >= maxRefusals {
			end = buried
			return
		}
		wait = max(t.webhooks.wait(st.tries, s.unasked), s.wait)
		st.next = time.Now().Add(wait)
	})
	if end == waits {
		t.webhooks.node.logger.Log(t.webhooks.node.life.ctx, level, "webhook is told later", "webhook", t.name, "event", ev.ID, "problem", s.problem, "wait", wait.Round(time.Millisecond))
	}
	return wait, end
}

// bury keeps an event as a dead letter, which is written before the cursor passes
// it.
func (t *teller) bury(ev events.Event) error {
	st := t.standing()
	if st.dead >= maxDead {
		return errDeadFull
	}
	x := t.x
	t.deadMu.Lock()
	defer t.deadMu.Unlock()
	d := WebhookDead{Event: ev.ID, Type: ev.Type, Since: time.Now().UTC(), Tries: st.tries, Problem: st.problem, Answer: st.answer}
	if err := errors.Join(t.putDead(x, d), t.countDead(x)); err != nil {
		return err
	}
	t.webhooks.node.logger.Error("webhook: the receiver refuses an event, which is kept", "webhook", t.name, "event", ev.ID, "type", ev.Type, "problem", st.problem)
	return nil
}

// unburied has an event wait that can't be kept as a dead letter.
func (t *teller) unburied(ctx context.Context, err error) time.Duration {
	if !errors.Is(err, errDeadFull) {
		return t.stuck(ctx, err)
	}
	wait := t.webhooks.backoff * maxBackoff
	t.change(func(st *tellerState) {
		st.problem = fmt.Sprintf("%v (%d): %s", errDeadFull, maxDead, st.problem)
		st.refusals, st.next = 0, time.Now().Add(wait)
	})
	t.webhooks.node.logger.Error("webhook stands still", "webhook", t.name, "log", t.log, "error", err)
	return wait
}
