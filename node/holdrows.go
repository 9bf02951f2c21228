package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
)

const (
	holdsSpace = "holds" // of local state, see partsKey
	// The bounds of what is held: in all, and of one user.
	maxHolds, maxHoldsOfOne         = 1000, 100
	maxHoldBytes, maxHoldBytesOfOne = 20 << 30, 4 << 30 // of zips
	// holdsLooked is how often expired holds, and zips that may go, are looked for.
	holdsLooked = 3 * time.Second
)

// partsKey names a version of which parts are held.
func partsKey(r events.RepoID, mv module.Version) string {
	return fmt.Sprintf("%v %s %s", r, mv.Path, mv.Version)
}

// heldParts are the versions of which this node holds parts. The rows are in the index;
// here is what would take reading them all.
type heldParts struct {
	time       time.Duration // see Options.HoldTime
	bytesOfOne int64         // maxHoldBytesOfOne, or less in tests

	mu    sync.Mutex // guards what follows
	known map[string]holdSum
	busy  map[string]chan struct{} // closed when who works on the version is done
	// loose are the zips of holds that have ended, until they are removed: they take
	// up what their holders may have.
	loose map[events.Digest]zipSum
	// ended are the versions of which there are ended zips, and until when.
	ended map[string]time.Time
}

// zipSum is what counts of a zip.
type zipSum struct {
	bytes int64
	by    string // sent it
}

// holdSum is what counts of a hold.
type holdSum struct {
	digest events.Digest // of the zip; zero: none yet
	zip    zipSum
	by     string // began it
	until  time.Time
}

func newParts(d time.Duration) *heldParts {
	return &heldParts{time: d, bytesOfOne: maxHoldBytesOfOne, known: map[string]holdSum{}, busy: map[string]chan struct{}{}, loose: map[events.Digest]zipSum{}, ended: map[string]time.Time{}}
}

func (h hold) sum() holdSum {
	return holdSum{h.Zip.Blob.Digest, h.Zip.sum(), h.By, h.Until}
}

func (z heldZip) sum() zipSum { return zipSum{z.Blob.Size, z.By.Name} }

// loadHolds reads what was held when the node stopped.
func (n *Node) loadHolds() error {
	for r, err := range n.index.Load().Local(holdsSpace).All("") {
		var h hold
		if err == nil {
			err = json.Unmarshal(r.Value, &h)
		}
		if err != nil {
			return fmt.Errorf("index: held parts: %w", err)
		}
		n.parts.known[r.Key] = h.sum()
	}
	return n.loadEnded()
}

// lock has nobody else work on a version, until unlock is called.
func (h *heldParts) lock(ctx context.Context, key string) (unlock func(), err error) {
	for {
		h.mu.Lock()
		busy := h.busy[key]
		if busy == nil {
			done := make(chan struct{})
			h.busy[key] = done
			h.mu.Unlock()
			return func() { h.unlock(key, done) }, nil
		}
		h.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (h *heldParts) unlock(key string, done chan struct{}) {
	h.mu.Lock()
	delete(h.busy, key)
	h.mu.Unlock()
	close(done)
}

// refer reports whether a hold names a blob.
func (h *heldParts) refer(d events.Digest) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refers(d)
}

// refers is refer for who has h.mu.
func (h *heldParts) refers(d events.Digest) bool {
	for _, s := range h.known {
		if s.digest == d && !d.IsZero() {
			return true
		}
	}
	return false
}

// unlessHeld calls do if no hold names a blob. None comes to before do has returned,
// and who holds the same bytes then finds out whether they are still here.
func (h *heldParts) unlessHeld(d events.Digest, do func() error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refers(d) {
		return nil
	}
	return do()
}

// reserve counts next under a key, if there is room, and returns what counted there
// before. Who holds nothing in the end calls unreserve.
func (h *heldParts) reserve(key string, next hold, isNew bool) (before holdSum, err error) {
	s := next.sum()
	count, own := 0, 0
	var bytes, ownBytes int64
	add := func(z zipSum) {
		bytes += z.bytes
		if z.by == s.zip.by {
			ownBytes += z.bytes
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, other := range h.known {
		if k == key {
			continue
		}
		count++
		if other.by == s.by {
			own++
		}
		add(other.zip)
	}
	for d, z := range h.loose {
		if d != s.digest && !h.refers(d) {
			add(z)
		}
	}
	switch {
	case isNew && (count >= maxHolds || own >= maxHoldsOfOne):
		return before, fail(ErrUnavailable, "too many versions are uploaded in part, and not complete: %d, of which %d by %s; those that nobody completes end by themselves within %v", count, own, s.by, h.time)
	case s.zip.bytes > 0 && (bytes+s.zip.bytes > maxHoldBytes || ownBytes+s.zip.bytes > h.bytesOfOne):
		return before, fail(ErrUnavailable, "too much is uploaded of versions that are not complete: %d MiB, of which %d MiB by %s; those that nobody completes end by themselves within %v", bytes>>20, ownBytes>>20, s.zip.by, h.time)
	}
	before = h.known[key]
	h.known[key] = s
	return before, nil
}

// unreserve has count again what reserve returned.
func (h *heldParts) unreserve(key string, before holdSum) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if before == (holdSum{}) {
		delete(h.known, key)
	} else {
		h.known[key] = before
	}
}

// held returns what is held under a key; ok is false if nothing is. What has expired
// ends now. The caller has the lock of the version.
func (n *Node) held(key string, now time.Time) (h hold, ok bool, err error) {
	b, ok, err := n.index.Load().Local(holdsSpace).Get(key)
	if err != nil || !ok {
		return h, false, err
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return h, false, fmt.Errorf("index: held parts: %w", err)
	}
	if !now.Before(h.Until) {
		n.logger.Info("parts of a version that nobody completed are removed", "version", key)
		return hold{}, false, n.endHold(key, h)
	}
	return h, true, nil
}

// putHold makes a hold durable. The caller has the lock of the version.
func (n *Node) putHold(key string, h hold) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := n.index.Load().Local(holdsSpace).SetSynced(key, b); err != nil {
		return storeFailed(err, "hold parts of a version")
	}
	n.parts.mu.Lock()
	defer n.parts.mu.Unlock()
	n.parts.known[key] = h.sum()
	return nil
}

// dropHold takes a hold away. Its zip goes, too, as soon as it may, unless a record
// or another hold names it. The caller has the lock of the version.
func (n *Node) dropHold(key string) error {
	if err := n.index.Load().Local(holdsSpace).Delete(key); err != nil {
		return storeFailed(err, "end a hold")
	}
	n.parts.mu.Lock()
	before := n.parts.known[key]
	delete(n.parts.known, key)
	n.parts.mu.Unlock()
	n.loosen(before)
	return nil
}

// endHold takes away a hold that came to nothing, and remembers for a while whose it
// was. The caller has the lock of the version.
func (n *Node) endHold(key string, h hold) error {
	if !h.Zip.H1.IsZero() && !h.Done {
		if err := n.rememberEnded(key, h.Zip); err != nil {
			return err
		}
	}
	return n.dropHold(key)
}

// loosen has the zip go that a hold named, unless something else names it.
func (n *Node) loosen(s holdSum) {
	if s.digest.IsZero() {
		return
	}
	if refers, err := n.refers(s.digest); refers && err == nil {
		return // as it is after a publication
	}
	n.parts.mu.Lock()
	defer n.parts.mu.Unlock()
	n.parts.loose[s.digest] = s.zip
}

// expireHolds takes away what nobody completes, until ctx ends.
func (n *Node) expireHolds(ctx context.Context) {
	tick := time.NewTicker(max(min(n.parts.time/4, holdsLooked), time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			if err := n.sweepHolds(now); err != nil {
				n.logger.Warn("parts of versions that nobody completes are not removed", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// sweepHolds takes away the holds that have expired. One that somebody works on is
// for the next time: it may get more time, or be complete.
func (n *Node) sweepHolds(now time.Time) error {
	var expired []string
	n.parts.mu.Lock()
	for key, s := range n.parts.known {
		if !now.Before(s.until) && n.parts.busy[key] == nil {
			expired = append(expired, key)
		}
	}
	for key, until := range n.parts.ended {
		if !now.Before(until) && n.parts.busy[key] == nil {
			expired = append(expired, key)
		}
	}
	n.parts.mu.Unlock()
	var errs []error
	for _, key := range expired {
		errs = append(errs, n.expireHold(key, now))
	}
	return errors.Join(append(errs, n.removeLoose())...)
}

// removeLoose removes the zips of holds that have ended, but for those that a record
// names. While something is being admitted nothing is removed: the next time, then.
func (n *Node) removeLoose() error {
	n.parts.mu.Lock()
	loose := slices.Collect(maps.Keys(n.parts.loose))
	n.parts.mu.Unlock()
	var errs []error
	for _, d := range loose {
		err := n.removeOrphan(d, 0)
		_, there, e := n.blobs.store.Has(d)
		refers, e2 := n.refers(d)
		if errs = append(errs, err, e, e2); err == nil && e == nil && e2 == nil && (refers || !there) {
			n.parts.mu.Lock()
			delete(n.parts.loose, d)
			n.parts.mu.Unlock()
		}
	}
	return errors.Join(errs...)
}

func (n *Node) expireHold(key string, now time.Time) error {
	unlock, err := n.parts.lock(n.life.ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	_, _, err = n.held(key, now)
	return errors.Join(err, n.expireEnded(key, now))
}
