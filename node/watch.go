package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/time/rate"

	"registry-node/events"
	"registry-node/node/blob"
	"registry-node/node/index"
	"registry-node/replication"
)

const (
	// watchEvery is how often a node looks whether a full disk has space again.
	watchEvery = time.Second
	// scrubRate bounds how fast blobs are re-hashed in the background.
	scrubRate  = 8 << 20 // bytes per second
	scrubEvery = 24 * time.Hour
	// compareRate bounds how fast the copies of the log are compared in the
	// background, so that requests hardly notice.
	compareRate = 20_000 // entries per second
	// orphanAge is how long a blob stays that no record refers to: what a crash
	// or a lost race left.
	orphanAge = 24 * time.Hour
	// retireAfter is how long an index that has been replaced stays open for
	// the reads that began on it.
	retireAfter = time.Minute
)

// watch does what needs doing without being asked: compare the two copies of
// the log once in whole, scrub the blobs, and take up writing again after the
// disk was full.
func (n *Node) watch(ctx context.Context) {
	n.life.wg.Go(func() { n.scrub(ctx) })
	if err := n.compareAll(ctx); err != nil && ctx.Err() == nil {
		n.logger.Error("the copies of the log can't be compared", "error", err)
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := n.resume(ctx); err != nil && ctx.Err() == nil {
			n.logger.Debug("no space for writes yet", "error", err)
		}
	}
}

// resume brings back what a full disk stopped, once there is space.
func (n *Node) resume(ctx context.Context) error {
	if err := n.space.check(); err != nil {
		return err
	}
	return errors.Join(n.log.Recover(ctx), n.index.Load().Refill())
}

// compareAll reads the stream from its beginning and compares each entry with
// the index's copy. Where they differ, the copy whose chain is whole mends the
// other: the stream here, the index at the next start.
func (n *Node) compareAll(ctx context.Context) error {
	x := n.index.Load()
	head, _, err := x.Head(n.id.Site)
	if err != nil {
		return err
	}
	next, stop := pull(x, n.id.Site)
	defer stop()
	pace := rate.NewLimiter(compareRate, 1)
	for rec, err := range n.log.Read(ctx, 1) {
		if errors.Is(err, replication.ErrGap) {
			return n.mendNow(ctx, err.Error())
		}
		if err != nil || rec.Seq > head.Position.Mark.Seq {
			return err
		}
		if err := pace.Wait(ctx); err != nil {
			return err
		}
		raw, err := next()
		if err != nil {
			return fmt.Errorf("the index's copy of entry %d can't be read; run registry-node rebuild: %w", rec.Seq, err)
		}
		if string(raw) != string(rec.Data) {
			return n.mendNow(ctx, fmt.Sprintf("the stream's entry %d is not the one that the index holds", rec.Seq))
		}
	}
	return nil
}

// mendNow rewrites the stream from the index while the node runs; writes wait.
func (n *Node) mendNow(ctx context.Context, reason string) error {
	if n.opts.noMend {
		return nil
	}
	n.commits.mu.Lock()
	defer n.commits.mu.Unlock()
	return n.mendStream(ctx, n.index.Load(), reason)
}

// scrub verifies all blobs again and again, slowly, and sets corrupt ones aside,
// so that they are fetched anew instead of served.
func (n *Node) scrub(ctx context.Context) {
	for {
		err := n.blobs.store.Scrub(ctx, scrubRate, func(d events.Digest, err error) {
			if err == nil {
				return
			}
			n.logger.Error("blob is damaged", "digest", d, "error", err)
			if errors.Is(err, blob.ErrCorrupt) {
				if name, ok, err := n.blobs.store.SetAside(ctx, d); ok || err != nil {
					n.logger.Warn("blob is set aside", "digest", d, "as", name, "error", err)
				}
				if err := n.sites.wants.heal(d); err != nil {
					n.logger.Error("blob can't be put down to be fetched", "digest", d, "error", err)
				}
			}
		})
		if err == nil {
			err = n.sweep(ctx, orphanAge)
		}
		if err != nil && ctx.Err() == nil {
			n.logger.Error("blobs can't be scrubbed", "error", err)
		}
		select {
		case <-time.After(scrubEvery):
		case <-ctx.Done():
			return
		}
	}
}

// refers reports whether a record refers to a blob, or a part of a version that is
// held until the others come.
func (n *Node) refers(d events.Digest) (bool, error) {
	if n.parts.refer(d) {
		return true, nil
	}
	return n.index.Load().Refers(d)
}

// sweep removes blobs older than age that no record refers to.
func (n *Node) sweep(ctx context.Context, age time.Duration) error {
	for b, err := range n.blobs.store.All(ctx) {
		if err != nil {
			return err
		}
		refers, err := n.refers(b.Digest)
		if err != nil {
			return err
		}
		if refers {
			continue
		}
		if err := n.removeOrphan(b.Digest, age); err != nil {
			return err
		}
	}
	return nil
}

// removeOrphan removes a blob that no record refers to, if it is old enough. No
// admission is under way then, and no entry that may refer to it is unsettled.
func (n *Node) removeOrphan(d events.Digest, age time.Duration) error {
	if old, err := n.olderThan(d, age); err != nil || !old {
		return err
	}
	if !n.blobs.admitting.TryLock() {
		return nil // another time: an admission may take minutes, and none is to wait
	}
	defer n.blobs.admitting.Unlock()
	n.commits.mu.Lock()
	defer n.commits.mu.Unlock()
	refers, err := n.refers(d)
	if err != nil || refers || n.commits.unsettled != nil {
		return err
	}
	f, ok, err := n.blobs.store.Open(d)
	if err != nil || !ok {
		return err
	}
	st, err := f.Stat()
	f.Close()
	if err != nil || time.Since(st.ModTime()) < age {
		return err
	}
	if _, err := n.blobs.store.Remove(d); err != nil {
		return err
	}
	n.forgetSums(d)
	n.logger.Info("blob that nothing refers to is removed", "digest", d, "bytes", f.Size)
	return nil
}

// olderThan reports whether a blob has been here for longer than age.
func (n *Node) olderThan(d events.Digest, age time.Duration) (bool, error) {
	f, ok, err := n.blobs.store.Open(d)
	if err != nil || !ok {
		return false, err
	}
	defer f.Close()
	st, err := f.Stat()
	return err == nil && time.Since(st.ModTime()) >= age, err
}

// retire closes an index that has been replaced, and removes its directory,
// when the reads that began on it have ended.
func (n *Node) retire(x *index.Index, number int) {
	n.life.wg.Go(func() {
		select {
		case <-time.After(retireAfter):
		case <-n.life.ctx.Done():
		}
		if err := errors.Join(x.Close(), os.RemoveAll(n.indexPath(number))); err != nil {
			n.logger.Warn("old index is not removed", "error", err)
		}
	})
}
