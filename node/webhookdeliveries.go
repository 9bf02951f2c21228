package node

import (
	"context"
	"time"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/index"
)

// WebhookDeliveries is how this site stands in telling a webhook.
type WebhookDeliveries struct {
	Name string      `json:"name"`
	Site events.Site `json:"site"` // which says so
	// Problem is why it could tell nothing, or doesn't.
	Problem string `json:"problem,omitempty"`
	// Logs are those that it tells the webhook of.
	Logs []WebhookLog `json:"logs"`
	// Dead are the events that the receiver refused, in the order of each log.
	Dead []WebhookDead `json:"dead_letters"`
}

// WebhookLog is how far a webhook was told of a log.
type WebhookLog struct {
	Log events.Site `json:"log"`
	// Told is the entry up to which nothing is left to tell, Head the last one.
	Told events.Mark `json:"told"`
	Head events.Mark `json:"head"`
	// LagEntries is how many entries lie between the two, LagSeconds how old the
	// event is that is due; 0 if none is.
	LagEntries uint64         `json:"lag_entries"`
	LagSeconds float64        `json:"lag_seconds"`
	Due        events.EventID `json:"due,omitzero"` // the event that is being told
	Tries      int            `json:"tries,omitempty"`
	Problem    string         `json:"problem,omitempty"` // why it has not been told yet
	Answer     string         `json:"answer,omitempty"`  // what the receiver said, if it said something
	NextTry    time.Time      `json:"next_try,omitzero"`
	LastTold   time.Time      `json:"last_told,omitzero"`
	// Delivered and Failures are counted since the node started, or the webhook
	// was switched on.
	Delivered   uint64 `json:"delivered"`
	Failures    uint64 `json:"failures"`
	DeadLetters int    `json:"dead_letters"`
}

// WebhookDead is an event that a receiver refused, as it is kept and shown: a dead
// letter. The event itself is in the log.
type WebhookDead struct {
	Event   events.EventID `json:"event"`
	Type    events.Type    `json:"type"`
	Since   time.Time      `json:"since"`
	Tries   int            `json:"tries"`
	Problem string         `json:"problem"`          // why
	Answer  string         `json:"answer,omitempty"` // what the receiver said
	// Again says that it is about to be sent again.
	Again bool `json:"again,omitempty"`
}

// Deliveries returns how this site stands in telling a webhook, to administrators;
// other sites stand elsewhere. Errors: ErrUnauthorized, ErrForbidden, ErrNotFound.
func (n *Node) Deliveries(who *access.Caller, name string) (WebhookDeliveries, error) {
	hook, err := n.Webhook(who, name)
	if err != nil {
		return WebhookDeliveries{}, err
	}
	d := WebhookDeliveries{Name: name, Site: n.id.Site, Logs: []WebhookLog{}, Dead: []WebhookDead{}}
	d.Problem = n.webhookProblem(hook)
	x := n.index.Load()
	for _, t := range n.webhooks.list() {
		if t.id != hook.ID {
			continue
		}
		l, err := t.figures(x)
		if err != nil {
			return d, err
		}
		d.Logs = append(d.Logs, l)
	}
	letters, err := deadOf(x, hook.ID)
	d.Dead = append(d.Dead, letters...)
	return d, err
}

// webhookProblem says why this site could tell a webhook nothing, or tells it
// nothing.
func (n *Node) webhookProblem(w events.ActiveWebhook) string {
	_, err := n.secrets.webhookKey(w.Secret)
	switch {
	case w.Disabled:
		return "it is disabled: what happens meanwhile is told when it is enabled"
	case !w.Via.IsZero() && w.Via != n.id.Site:
		return "its events are sent by site " + w.Via.String()
	case err != nil:
		return err.Error()
	}
	return ""
}

// figures returns how a teller stands.
func (t *teller) figures(x *index.Index) (WebhookLog, error) {
	head, _, err := x.Head(t.log)
	if err != nil {
		return WebhookLog{}, err
	}
	st := t.standing()
	l := WebhookLog{
		Log: t.log, Told: st.at.At, Head: head.Position.Mark, Due: st.due, Tries: st.tries, Problem: st.problem, Answer: st.answer,
		NextTry: st.next.UTC(), LastTold: st.lastTold.UTC(), Delivered: st.told, Failures: st.failures, DeadLetters: st.dead,
	}
	if l.Head.Seq > l.Told.Seq {
		l.LagEntries = l.Head.Seq - l.Told.Seq
	}
	if !st.dueTime.IsZero() {
		l.LagSeconds = max(0, time.Since(st.dueTime).Seconds())
	}
	return l, nil
}

// deadOf returns the dead letters of a webhook in all logs.
func deadOf(x *index.Index, id events.EventID) ([]WebhookDead, error) {
	var all []WebhookDead
	heads, err := x.Heads()
	if err != nil {
		return nil, err
	}
	for _, h := range heads {
		list, err := hookLog{id, h.Position.Site}.deadLetters(x)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

// RetryWebhook has this site try at once what it is about to tell a webhook, and
// tell it again what the receiver refused; it returns how many events that are.
// Errors: ErrUnauthorized, ErrForbidden, ErrNotFound, ErrInvalid (this site tells it
// nothing).
func (n *Node) RetryWebhook(who *access.Caller, name string) (events int, err error) {
	hook, err := n.Webhook(who, name)
	if err != nil {
		return 0, err
	}
	found := false
	for _, t := range n.webhooks.list() {
		if t.id != hook.ID {
			continue
		}
		found = true
		count, err := t.revive(n.index.Load())
		if err != nil {
			return events, storeFailed(err, "webhook "+name)
		}
		events += count
	}
	if !found {
		return 0, fail(ErrInvalid, "this site tells webhook %s nothing: %s", name, n.webhookProblem(hook))
	}
	return events, nil
}

// DropDeadLetters gives up the events that the receiver of a webhook refused, of
// this site, and returns how many those were. Errors: ErrUnauthorized, ErrForbidden,
// ErrNotFound.
func (n *Node) DropDeadLetters(who *access.Caller, name string) (events int, err error) {
	hook, err := n.Webhook(who, name)
	if err != nil {
		return 0, err
	}
	x := n.index.Load()
	for _, t := range n.webhooks.list() {
		if t.id != hook.ID {
			continue
		}
		count, err := t.drop(x)
		events += count
		if err != nil {
			return events, storeFailed(err, "webhook "+name)
		}
	}
	letters, err := deadOf(x, hook.ID) // of a webhook that nobody is told of now
	if err != nil {
		return events, err
	}
	for _, d := range letters {
		if err := x.Local(deadSpace).Delete(hookLog{hook.ID, d.Event.Site}.deadKey(d.Event)); err != nil {
			return events, storeFailed(err, "webhook "+name)
		}
		events++
	}
	return events, nil
}

// WebhookTest is what came of a test.
type WebhookTest struct {
	Event   string  `json:"event"` // id of what was sent
	Taken   bool    `json:"taken"`
	Status  int     `json:"status,omitempty"`  // of the answer; 0 if there was none
	Problem string  `json:"problem,omitempty"` // why it was not taken
	Answer  string  `json:"answer,omitempty"`  // what the receiver said
	Seconds float64 `json:"seconds"`
}

// TestWebhook sends an event of the type ping from this site, once, signed like any
// other, and returns what came of it. It is in no log. Errors: ErrUnauthorized,
// ErrForbidden, ErrNotFound.
func (n *Node) TestWebhook(ctx context.Context, who *access.Caller, name string) (WebhookTest, error) {
	hook, err := n.Webhook(who, name)
	if err != nil {
		return WebhookTest{}, err
	}
	id, body, err := n.ping(name)
	if err != nil {
		return WebhookTest{}, err
	}
	began := time.Now()
	a := n.webhooks.send(ctx, hook.Webhook, id, body)
	return WebhookTest{id, a.verdict == taken, a.status, a.problem, a.answer, time.Since(began).Seconds()}, ctx.Err()
}

// WebhookFigures returns how all tellers at this site stand, by webhook and log, to
// administrators. Errors: ErrUnauthorized, ErrForbidden.
func (n *Node) WebhookFigures(who *access.Caller) (map[string][]WebhookLog, error) {
	if err := n.allow(who, access.Everything); err != nil {
		return nil, err
	}
	x := n.index.Load()
	all := map[string][]WebhookLog{}
	for _, t := range n.webhooks.list() {
		l, err := t.figures(x)
		if err != nil {
			return nil, err
		}
		all[t.name] = append(all[t.name], l)
	}
	return all, nil
}
