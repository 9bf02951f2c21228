package node

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// slotsSpace lists the tokens that a user has by an issuer, oldest first, with the
	// families of those that have one, see slot.
	slotsSpace = "exchanged-slots"
	// maxExchanged bounds what one user has by one issuer at a site: an ID token can
	// be exchanged again and again.
	maxExchanged = 32
	// maxForPassword bounds what one user has by password at a site. Each job of a CI
	// system may ask for one anew, and the oldest is to outlive the longest job.
	maxForPassword = 512
	// maxFamily bounds the tokens of one family: each may be refreshed again and again,
	// while what it is replaced by is still to come to all who have it.
	maxFamily = 32
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

// familyOf returns the id of the first of the tokens that took each other's place, of
// which one has an id.
func (row exchangedToken) familyOf(id string) string { return cmp.Or(row.Family, id) }

// most is how many tokens a user may have like this one.
func (row exchangedToken) most() int {
	if row.forPassword() {
		return maxForPassword
	}
	return maxExchanged
}

// givenSlot is a token in the list of a user and issuer.
type givenSlot struct{ key, id, family string }

// slotsOf returns the slots of those who have the user and the issuer of a token,
// oldest first.
func (n *Node) slotsOf(row exchangedToken) (list []givenSlot, err error) {
	for r, err := range n.index.Load().Local(slotsSpace).All(row.slots()) {
		if err != nil {
			return nil, fmt.Errorf("index: %w", err)
		}
		id := r.Key[len(row.slots())+len("0123456789abcdef/"):]
		list = append(list, givenSlot{r.Key, id, cmp.Or(string(r.Value), id)})
	}
	return list, nil
}

// putExchanged remembers a token, durably, in place of the oldest of its family, or of
// its user and issuer, if there are too many. The caller holds exchanges.mu.
func (n *Node) putExchanged(id string, row exchangedToken) error {
	b, err := json.Marshal(row)
	if err != nil {
		return err
	}
	slots, err := n.slotsOf(row)
	if err != nil {
		return err
	}
	kin := slices.DeleteFunc(slices.Clone(slots), func(s givenSlot) bool { return s.family != row.familyOf(id) })
	drop := kin[:max(0, len(kin)-maxFamily+1)]
	if more := len(slots) - len(drop) - row.most() + 1; more > 0 {
		drop = append(drop, slots[:more]...)
	}
	if len(drop) > 0 {
		if err := n.dropSlots(drop); err != nil {
			return storeFailed(err, "replace a token of user "+row.User)
		}
	}
	// The slot first: a row without one would not be counted. The row is durable with
	// all that was written before.
	x := n.index.Load()
	return storeFailed(errors.Join(x.Local(slotsSpace).Set(row.slot(id), []byte(row.Family)), x.Local(exchangedSpace).SetSynced(id, b)), "keep token "+id)
}

// dropSlots forgets the tokens of slots: first the rows, which are what counts,
// durably.
func (n *Node) dropSlots(slots []givenSlot) (err error) {
	var ids []string
	for _, s := range slots {
		ids = append(ids, s.id)
	}
	x := n.index.Load()
	if err := x.Local(exchangedSpace).DeleteSynced(ids...); err != nil {
		return err
	}
	for _, s := range slots {
		err = errors.Join(err, x.Local(slotsSpace).Delete(s.key), n.uses.forget(s.id))
	}
	return err
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
		if err := n.dropExpired(r.Key, row); err != nil {
			n.logger.Warn("an expired token is not taken away", "token", r.Key, "error", err)
			return
		}
	}
	n.exchanges.at = ""
}

// dropExpired forgets a token that counts no more anyhow, the row first.
func (n *Node) dropExpired(id string, row exchangedToken) error {
	x := n.index.Load()
	if err := x.Local(exchangedSpace).Delete(id); err != nil {
		return err
	}
	return errors.Join(x.Local(slotsSpace).Delete(row.slot(id)), n.uses.forget(id))
}
