package node

import (
	"errors"
	"fmt"

	"registry-node/events"
	"registry-node/node/index"
)

// A log may come to have another history than a webhook was told: one that forked
// goes back to where its new epoch begins, and goes on from there. What a webhook
// was told of the entries that were set aside can't be taken back; all that follows
// the last entry that is still in the log is told, as nothing may be skipped.

// errParted says that the cursor was set back in the midst of a look at the log.
var errParted = errors.New("the log has another history than a webhook was told")

// recheck compares the cursor with the log, which has moved.
func (t *teller) recheck(x *index.Index, hook events.ActiveWebhook) error {
	c := t.standing().at
	if held := t.held.Position; !held.Mark.IsZero() {
		if ok, err := t.has(x, held); ok || err != nil {
			return err // and so what is before it
		}
		t.held = events.Entry{}
	}
	if c.At.IsZero() || c.Hash.IsZero() {
		return nil
	}
	head, _, err := x.Head(t.log)
	if err != nil || head.Position.Mark.Compare(c.At) < 0 {
		return err // see beyond
	}
	if ok, err := t.has(x, events.Position{Site: t.log, Mark: c.At, Hash: c.Hash}); ok || err != nil {
		return err
	}
	return t.setBack(x, hook)
}

// has reports whether the log has this very entry.
func (t *teller) has(x *index.Index, p events.Position) (bool, error) {
	raw, ok, err := x.Entry(t.log, p.Mark)
	return ok && err == nil && events.DigestOf(raw) == p.Hash, err
}

// setBack has the log told from where its history and that of the cursor part.
func (t *teller) setBack(x *index.Index, hook events.ActiveWebhook) error {
	c := t.standing().at
	to, err := t.lastCommon(x, hook, c)
	if err != nil {
		return err
	}
	t.webhooks.node.logger.Error("the log has another history than a webhook was told: it is told again from where they part", "webhook", t.name, "log", t.log, "told", c.At, "from", to.At)
	t.held = events.Entry{}
	t.change(func(st *tellerState) {
		st.nothingDue()
		st.at = to
	})
	return nil // it is saved with the next event: until then a crash finds out again
}

// lastCommon returns the cursor behind the last entry that the log has of the history
// of c: those that were set aside lead back to it. If they don't, it is where the
// webhook began, which nothing goes back behind.
func (t *teller) lastCommon(x *index.Index, hook events.ActiveWebhook, c cursor) (cursor, error) {
	first, err := firstCursor(x, hook, t.log)
	if err != nil {
		return cursor{}, err
	}
	type link struct {
		at   events.Mark
		prev events.Digest
	}
	aside := map[events.Digest]link{}
	for raw, err := range x.SetAside(t.log) {
		e, derr := events.DecodeEntry(raw)
		if err := errors.Join(err, derr); err != nil {
			return cursor{}, fmt.Errorf("what is set aside of the log of site %s: %w", t.log, err)
		}
		aside[e.Position.Hash] = link{e.Position.Mark, e.Prev}
	}
	p := events.Position{Site: t.log, Mark: c.At, Hash: c.Hash}
	for {
		if ok, err := t.has(x, p); err != nil {
			return cursor{}, err
		} else if ok {
			break
		}
		l, known := aside[p.Hash]
		switch before, further := aside[l.prev]; {
		case !known:
			return first, nil
		case further:
			p.Mark, p.Hash = before.at, l.prev
		default:
			p.Mark, p.Hash = events.Mark{Epoch: l.at.Epoch, Seq: l.at.Seq - 1}, l.prev
			if p.Mark, err = t.stands(x, p); err != nil || p.Mark.IsZero() {
				return first, err
			}
		}
	}
	if p.Mark.Compare(first.At) <= 0 {
		return first, nil
	}
	return cursor{Name: c.Name}.behindEntry(p), nil
}

// stands returns where the entry of a position is in the log, in its epoch or an
// earlier one; the zero Mark if it is not.
func (t *teller) stands(x *index.Index, p events.Position) (events.Mark, error) {
	for m := p.Mark; m.Seq > 0 && m.Epoch > 0; m.Epoch-- {
		p.Mark = m
		if ok, err := t.has(x, p); ok || err != nil {
			return m, err
		}
	}
	return events.Mark{}, nil
}
