package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"registry-node/events"
)

const (
	// hookTurns bounds the requests for one webhook at a time, at a site that tells
	// it of many logs. So a receiver that is slow keeps no other waiting, and all of
	// them take at most hookTurns*maxWebhooks connections.
	hookTurns = 2
	// behindTime is how late an event may be until a person should know.
	behindTime = 5 * time.Minute
)

// webhooks tells receivers of events: of each webhook and each log that this site
// tells it of there is one teller.
type webhooks struct {
	node    *Node
	client  *http.Client
	backoff time.Duration
	timeout time.Duration
	changed chan struct{} // has room for one: there is a new Directory

	mu      sync.Mutex
	tellers map[hookLog]*teller              // guarded by mu
	turns   map[events.EventID]chan struct{} // guarded by mu; a place for each request
}

func newWebhooks(n *Node) *webhooks {
	o := n.opts.webhooks
	return &webhooks{
		node: n, client: newWebhookClient(o), changed: make(chan struct{}, 1), tellers: map[hookLog]*teller{}, turns: map[events.EventID]chan struct{}{},
		backoff: cmp.Or(o.backoff, time.Second), timeout: cmp.Or(o.timeout, webhookTimeout),
	}
}

// run starts and ends tellers as the Directory says, until ctx ends. The tellers end
// with it.
func (w *webhooks) run(ctx context.Context) {
	defer w.client.CloseIdleConnections()
	for {
		w.match(ctx)
		select {
		case <-w.changed:
		case <-ctx.Done():
			return
		}
	}
}

// match has the tellers be those that the Directory asks for.
func (w *webhooks) match(ctx context.Context) {
	due := w.due(w.node.directory())
	w.mu.Lock()
	var ended []*teller
	for key, t := range w.tellers {
		if _, ok := due[key]; !ok {
			t.cancel()
			ended = append(ended, t)
			delete(w.tellers, key)
		}
	}
	w.mu.Unlock()
	for _, t := range ended { // outside of mu, which they take
		<-t.ended
	}
	w.mu.Lock()
	for key, hook := range due {
		if t := w.tellers[key]; t == nil {
			w.start(ctx, key, hook)
		} else if !t.since.Equal(hook.Changed) {
			t.since = hook.Changed
			poke(t.wake)
		}
	}
	w.mu.Unlock()
	if err := w.forget(); err != nil && ctx.Err() == nil {
		w.node.logger.Warn("what is kept of webhooks that were deleted is not taken away", "error", err)
	}
}

// start starts a teller. The caller holds mu.
func (w *webhooks) start(ctx context.Context, key hookLog, hook events.ActiveWebhook) {
	if w.turns[key.id] == nil {
		w.turns[key.id] = make(chan struct{}, hookTurns)
	}
	ctx, cancel := context.WithCancel(ctx)
	t := &teller{
		hookLog: key, webhooks: w, name: hook.Name, since: hook.Changed, turns: w.turns[key.id],
		began: time.Now(), cancel: cancel, ended: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	w.tellers[key] = t
	w.node.life.wg.Go(func() {
		defer close(t.ended)
		t.run(ctx)
	})
}

// due returns the webhooks that this site tells, with the logs that it tells them
// of: its own, or those of all sites if it sends for all.
func (w *webhooks) due(d *events.Directory) map[hookLog]events.ActiveWebhook {
	due := map[hookLog]events.ActiveWebhook{}
	own := w.node.id.Site
	for _, hook := range d.Webhooks() {
		switch {
		case hook.Disabled:
		case hook.Via.IsZero():
			due[hookLog{hook.ID, own}] = hook
		case hook.Via == own:
			for _, m := range d.Sites() {
				if len(m.Keys) > 0 { // one that left, too: up to its cut-off
					due[hookLog{hook.ID, m.Name}] = hook
				}
			}
		}
	}
	return due
}

// forget takes away what is kept of webhooks that were deleted. A Directory that
// lacks one because it lags is no reason to.
func (w *webhooks) forget() error {
	d, x := w.node.directory(), w.node.index.Load()
	known := map[string]bool{}
	for _, hook := range d.Webhooks() {
		known[hook.ID.String()] = true
	}
	w.mu.Lock()
	maps.DeleteFunc(w.turns, func(id events.EventID, _ chan struct{}) bool { return !known[id.String()] })
	w.mu.Unlock()
	for row, err := range x.Local(cursorSpace).All("") {
		if err != nil {
			return err
		}
		id, _, _ := strings.Cut(row.Key, " ")
		var c cursor
		if known[id] || json.Unmarshal(row.Value, &c) != nil {
			continue
		}
		cs, err := x.Get(events.KeyWebhook(c.Name))
		if err != nil {
			return err
		}
		is, ok := d.ResolveIdentity(cs)
		if !ok || !is.Deleted && is.Since.Event.String() == id {
			continue
		}
		if err := w.forgetLog(row.Key); err != nil {
			return err
		}
	}
	return nil
}

// forgetLog takes away what is kept of a webhook in a log: the cursor last, by which
// the rest is found.
func (w *webhooks) forgetLog(key string) error {
	x := w.node.index.Load()
	for row, err := range x.Local(deadSpace).All(key + " ") {
		if err == nil {
			err = x.Local(deadSpace).Delete(row.Key)
		}
		if err != nil {
			return err
		}
	}
	return x.Local(cursorSpace).Delete(key)
}

// list returns the tellers by webhook and log.
func (w *webhooks) list() []*teller {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.SortedFunc(maps.Values(w.tellers), func(a, b *teller) int {
		return cmp.Or(strings.Compare(a.name, b.name), a.log.Compare(b.log.String()))
	})
}

// reasons says which webhooks a person should look at.
func (w *webhooks) reasons(now time.Time) (list []string) {
	for _, t := range w.list() {
		st := t.standing()
		if st.dead > 0 {
			list = append(list, fmt.Sprintf("webhook %s: its receiver refused %d events of the log of site %s, which are kept: look with registry-node webhook show %s, "+
				"then send them again (webhook retry) or give them up (webhook drop)", t.name, st.dead, t.log, t.name))
		}
		if late := st.late(now, t.began); late > behindTime {
			list = append(list, fmt.Sprintf("webhook %s is %s behind in the log of site %s: %s", t.name, late.Round(time.Second), t.log, cmp.Or(st.problem, "it has much to tell")))
		}
	}
	return list
}

// errDeadFull is the problem of a webhook whose dead letters are all that there may
// be.
var errDeadFull = errors.New("its receiver refuses events, and no more of those are kept")
