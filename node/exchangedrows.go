package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	// slotsSpace lists the tokens that a user has by an issuer, oldest first, see
	// slot.
	slotsSpace = "exchanged-slots"
	// maxExchanged bounds what one user has by one issuer at a site: an ID token can
	// be exchanged again and again.
	maxExchanged = 32
	// maxForPassword bounds what one user has by password at a site. Each job of a CI
	// system may ask for one anew, and the oldest is to outlive the longest job.
	maxForPassword = 512
	// sweepRows bounds the rows that one sweep reads.
	sweepRows = 1000
)

// slots are what the keys of all slots of a user and issuer start with. Neither
// name has a slash, and no issuer has an empty one.
func (row exchangedToken) slots() string { return row.Issuer + "/" + row.User + "/" }

// slot is where a token is listed.
func (row exchangedToken) slot(id string) string {
	return fmt.Sprintf("%s%016x/%s", row.slots(), row.Given.UnixNano(), id)
}

// most is how many tokens a user may have like this one.
func (row exchangedToken) most() int {
	if row.forPassword() {
		return maxForPassword
	}
	return maxExchanged
}

// putExchanged remembers a token, in place of the oldest of its user and issuer if
// there are too many.
func (n *Node) putExchanged(id string, row exchangedToken) error {
	b, err := json.Marshal(row)
	if err != nil {
		return err
	}
	n.exchanges.mu.Lock()
	defer n.exchanges.mu.Unlock()
	x := n.index.Load()
	var slots []string
	for r, err := range x.Local(slotsSpace).All(row.slots()) {
		if err != nil {
			return fmt.Errorf("index: %w", err)
		}
		slots = append(slots, r.Key)
	}
	for len(slots) >= row.most() {
		oldest := slots[0]
		if err := n.dropSlot(oldest, oldest[len(row.slots())+len("0123456789abcdef/"):]); err != nil {
			return storeFailed(err, "replace a token of user "+row.User)
		}
		slots = slots[1:]
	}
	// The slot first: a row without one would not be counted.
	return storeFailed(errors.Join(x.Local(slotsSpace).Set(row.slot(id), nil), x.Local(exchangedSpace).Set(id, b)), "keep token "+id)
}

// dropExchanged forgets a token. The caller holds exchanges.mu.
func (n *Node) dropExchanged(id string, row exchangedToken) error {
	return n.dropSlot(row.slot(id), id)
}

// dropSlot forgets the token of a slot: the row first, which is what counts.
func (n *Node) dropSlot(slot, id string) error {
	x := n.index.Load()
	if err := x.Local(exchangedSpace).Delete(id); err != nil {
		return err
	}
	return x.Local(slotsSpace).Delete(slot)
}

// sweepExchanged takes away the rows of tokens that have expired, now and then, so
// many at a time. What fails is tried again the next time.
func (n *Node) sweepExchanged(now time.Time) {
	last := n.exchanges.swept.Load()
	if now.Unix()-last < int64(sweepEvery/time.Second) || !n.exchanges.swept.CompareAndSwap(last, now.Unix()) {
		return
	}
	n.exchanges.mu.Lock()
	defer n.exchanges.mu.Unlock()
	read := 0
	for r, err := range n.index.Load().Local(exchangedSpace).Behind("", n.exchanges.at) {
		if err != nil {
			n.logger.Warn("expired tokens are not taken away", "error", err)
			return
		}
		if read == sweepRows {
			n.exchanges.swept.Store(0) // the next exchange goes on
			return
		}
		read++
		n.exchanges.at = r.Key
		var row exchangedToken
		if json.Unmarshal(r.Value, &row) == nil && now.Before(row.Expires) {
			continue
		}
		if err := n.dropExchanged(r.Key, row); err != nil {
			n.logger.Warn("an expired token is not taken away", "token", r.Key, "error", err)
			return
		}
	}
	n.exchanges.at = ""
}
