package node

import (
	"context"
	"reflect"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/replication"
)

// maxWebhooks bounds the webhooks: each has goroutines and connections at a site
// that sends for it.
const maxWebhooks = 64

// The operations on webhooks that sites forward.
const (
	opWebhookPut    = "webhook.put"
	opWebhookDelete = "webhook.delete"
)

// Webhooks returns the webhooks, by name, to administrators: their URLs may hold
// what only they may see. Errors: ErrUnauthorized, ErrForbidden.
func (n *Node) Webhooks(who *access.Caller) ([]events.ActiveWebhook, error) {
	if err := n.allow(who, access.Everything); err != nil {
		return nil, err
	}
	return n.directory().Webhooks(), nil
}

// Webhook returns one webhook, to administrators. Errors: ErrUnauthorized,
// ErrForbidden, ErrNotFound.
func (n *Node) Webhook(who *access.Caller, name string) (events.ActiveWebhook, error) {
	if err := n.allow(who, access.Everything); err != nil {
		return events.ActiveWebhook{}, err
	}
	w, ok := n.directory().Webhook(name)
	if !ok {
		return w, noWebhook(name)
	}
	return w, nil
}

func noWebhook(name string) error {
	return fail(ErrNotFound, "there is no webhook called %q", name)
}

// awayWebhook is a webhook between sites.
type awayWebhook struct {
	Name string `json:"name"`
	events.Webhook
}

// changedWebhook is what came of it.
type changedWebhook struct {
	Webhook events.ActiveWebhook `json:"webhook"`
	Made    bool                 `json:"made"`
}

// PutWebhook has the registry tell of events from now on, in place of what was said
// under the name before; made says whether there was nothing. What is told may be
// of all repositories, so only administrators of the registry may. The registry's
// home decides. Errors: ErrUnauthorized, ErrForbidden, ErrInvalid, ErrTooLarge
// (there are 64 webhooks, or it was changed too often), ErrNoSpace, ErrUnavailable.
func (n *Node) PutWebhook(ctx context.Context, who *access.Caller, name string, w events.Webhook) (a events.ActiveWebhook, made bool, err error) {
	if err := n.allow(who, access.Everything); err != nil {
		return a, false, err
	}
	var got changedWebhook
	f, err := n.atRegistryHome(ctx, who, opWebhookPut, awayWebhook{name, w}, &got, func() (err error) {
		got, _, err = n.putWebhook(ctx, who, awayWebhook{name, w})
		return err
	})
	if w, ok := n.directory().Webhook(name); ok && err == nil && !f.pending {
		got.Webhook = w
	}
	return got.Webhook, got.Made, err
}

// putWebhook decides at this site, the registry's home.
func (n *Node) putWebhook(ctx context.Context, who *access.Caller, b awayWebhook) (got changedWebhook, at events.Position, err error) {
	if err := n.allow(who, access.Everything); err != nil {
		return got, at, err
	}
	if err := checkWebhook(b); err != nil {
		return got, at, err
	}
	receipt, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		old, exists := v.dir.Webhook(b.Name)
		got.Made = !exists
		switch {
		case exists && reflect.DeepEqual(old.Webhook, b.Webhook):
			return nil, nil
		case !exists && len(v.dir.Webhooks()) >= maxWebhooks:
			return nil, fail(ErrTooLarge, "there are %d webhooks, which is the most", maxWebhooks)
		case !b.Via.IsZero() && !v.dir.MemberNow(b.Via):
			return nil, fail(ErrInvalid, "webhook %s: site %s, which is to send its events, is no member", b.Name, b.Via)
		}
		if err := v.room(events.KeyWebhook(b.Name), true); err != nil {
			return nil, err
		}
		return []events.Body{events.WebhookChanged{Name: b.Name, Webhook: b.Webhook, Actor: who.Actor()}}, nil
	})
	if w, ok := n.directory().Webhook(b.Name); ok && err == nil {
		got.Webhook = w
	}
	return got, receipt.Position, err
}

// checkWebhook reports why there can't be such a webhook.
func checkWebhook(b awayWebhook) error {
	if err := events.CheckUserName(b.Name); err != nil {
		return because(err, ErrInvalid, "webhook: %v", err)
	}
	if err := b.Check(); err != nil {
		return because(err, ErrInvalid, "webhook %s: %v", b.Name, err)
	}
	for _, glob := range b.Types {
		if !tellsAny(glob) {
			return fail(ErrInvalid, "webhook %s: no webhook is told of events of the type %q; write one like version.published or version.*", b.Name, glob)
		}
	}
	return nil
}

// tellsAny reports whether there are types of events that a glob matches and that
// webhooks are told of.
func tellsAny(glob string) bool {
	for _, t := range events.Types() {
		if (events.Webhook{Types: []string{glob}}).Takes(t, events.RepoName{}, "") {
			return true
		}
	}
	return false
}

// DeleteWebhook ends a webhook: what it was not told yet it never will be. The
// registry's home decides. Errors: ErrUnauthorized, ErrForbidden, ErrNotFound,
// ErrNoSpace, ErrUnavailable.
func (n *Node) DeleteWebhook(ctx context.Context, who *access.Caller, name string) error {
	if err := n.allow(who, access.Everything); err != nil {
		return err
	}
	_, err := n.atRegistryHome(ctx, who, opWebhookDelete, awayName{name}, &nothing{}, func() error {
		_, err := n.deleteWebhook(ctx, who, name)
		return err
	})
	return err
}

func (n *Node) deleteWebhook(ctx context.Context, who *access.Caller, name string) (events.Position, error) {
	if err := n.allow(who, access.Everything); err != nil {
		return events.Position{}, err
	}
	at, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		if _, ok := v.dir.Webhook(name); !ok {
			return nil, noWebhook(name)
		}
		return []events.Body{events.WebhookDeleted{Name: name, Actor: who.Actor()}}, nil
	})
	return at.Position, err
}

// operateWebhooks runs what another site asks for about webhooks; known is false if
// it is about something else.
func (n *Node) operateWebhooks(ctx context.Context, who *access.Caller, req replication.DecideRequest) (answer any, at events.Position, known bool, err error) {
	switch req.Op {
	case opWebhookPut:
		answer, at, err = run(req, func(b awayWebhook) (changedWebhook, events.Position, error) { return n.putWebhook(ctx, who, b) })
	case opWebhookDelete:
		answer, at, err = deleting(ctx, who, req, n.deleteWebhook)
	default:
		return nil, events.Position{}, false, nil
	}
	return answer, at, true, err
}
