package node

import (
	"context"
	"encoding/json"
	"time"

	"registry-node/events"
	"registry-node/node/access"
)

// Say has this site's log state something.
func (n *Node) Say(ctx context.Context, bodies ...events.Body) error {
	_, err := n.commits.propose(ctx, func(view) ([]events.Body, error) { return bodies, nil })
	return err
}

// ChangeExchanged changes what this site remembers of a token.
func (n *Node) ChangeExchanged(id string, change func(map[string]any)) error {
	local := n.index.Load().Local(exchangedSpace)
	b, _, err := local.Get(id)
	row := map[string]any{}
	if err == nil {
		err = json.Unmarshal(b, &row)
	}
	if err != nil {
		return err
	}
	change(row)
	if b, err = json.Marshal(row); err != nil {
		return err
	}
	return local.Set(id, b)
}

// HasExchanged reports whether this site remembers a token.
func (n *Node) HasExchanged(id string) bool {
	_, ok, err := n.index.Load().Local(exchangedSpace).Get(id)
	return ok && err == nil
}

// LastUse returns when this site knows a token to have been used.
func (n *Node) LastUse(id string) (time.Time, error) { return n.uses.last(id) }

// VerifyLater has this node verify ID tokens as if it were later.
func (n *Node) VerifyLater(by time.Duration) {
	n.exchanges.verifier = access.NewVerifier(nil, func() time.Time { return time.Now().Add(by) })
}

// SweepExchangedNow takes away what has expired, though that was done a moment ago.
func (n *Node) SweepExchangedNow() {
	n.exchanges.swept.Store(0)
	n.sweepExchanged(time.Now())
}

// ExchangedUntil returns until when a token counts that this site remembers.
func (n *Node) ExchangedUntil(id string) time.Time {
	row, _, _ := n.exchangedRow(id)
	return row.Expires
}
