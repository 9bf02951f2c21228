package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/blob"
	"registry-node/node/index"
)

// Verification is what Verify found.
type Verification struct {
	Entries   uint64          `json:"entries"`
	StateHash index.StateHash `json:"state_hash"` // of the site's own log
	Blobs     int             `json:"blobs"`
	Bytes     int64           `json:"bytes"` // of blobs that were hashed
	Problems  []string        `json:"problems"`
}

// OK reports whether everything was as it should be.
func (v *Verification) OK() bool { return len(v.Problems) == 0 }

func (v *Verification) String() string {
	if v.OK() {
		return fmt.Sprintf("%d entries, chain intact, state hash %v, %d blobs", v.Entries, v.StateHash, v.Blobs)
	}
	return fmt.Sprintf("%d entries, state hash %v, %d blobs, %d problems", v.Entries, v.StateHash, v.Blobs, len(v.Problems))
}

// maxProblems bounds how many problems are listed.
const maxProblems = 100

func (v *Verification) problem(format string, args ...any) {
	switch len(v.Problems) {
	case maxProblems:
	case maxProblems - 1:
		v.Problems = append(v.Problems, "and more")
	default:
		v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
	}
}

// Verify checks everything that can be checked at this node: the chain and the
// signatures of the log in both its copies, the state hash against a full scan
// of the index, and every blob that the log refers to against its digest.
// progress is told what is being done and how far it is.
func (n *Node) Verify(ctx context.Context, who *access.Caller, progress func(what string, done uint64)) (*Verification, error) {
	if err := n.allow(who, access.Everything); err != nil {
		return nil, err
	}
	v := &Verification{Problems: []string{}}
	x := n.index.Load()
	rep, err := x.Audit(ctx, n.keyOf, func(r index.Report) { progress("index", uint64(r.Contributions)) })
	if err != nil {
		return nil, fmt.Errorf("verify the index: %w", err)
	}
	for _, p := range rep.Problems {
		v.problem("index: %v", p)
	}
	for site, start := range rep.Starts {
		first, err := n.firstPrev(site)
		if err != nil || start != first {
			v.problem("index: the log of site %s does not start from the entry with which it joined", site)
		}
	}
	head, _, err := x.Head(n.id.Site)
	if err != nil {
		return nil, err
	}
	v.StateHash = head.StateHash
	if err := n.verifyStream(ctx, v, head, progress); err != nil {
		return nil, err
	}
	return v, n.verifyBlobs(ctx, v, x, progress)
}

// keyOf returns the key that signs an entry of a site, nil if there is none.
func (n *Node) keyOf(s events.Site, m events.Mark) ed25519.PublicKey {
	if s == n.id.Site {
		return n.key.Public().(ed25519.PublicKey)
	}
	member, _ := n.directory().Site(s)
	return ed25519.PublicKey(member.Key(m))
}

// verifyStream checks copy one of the log: chain, signatures, and that it ends
// at the index's head.
func (n *Node) verifyStream(ctx context.Context, v *Verification, head index.Head, progress func(string, uint64)) error {
	first, err := n.firstPrev(n.id.Site)
	if err != nil {
		return err
	}
	prev := events.Entry{Position: events.Position{Site: n.id.Site, Hash: first}}
	raws := func(yield func([]byte, error) bool) {
		for rec, err := range n.log.Read(ctx, 1) {
			if !yield(rec.Data, err) || err != nil || rec.Seq == head.Position.Mark.Seq {
				return
			}
		}
	}
	verify := func(e events.Entry) error { return e.Verify(n.keyOf(n.id.Site, e.Position.Mark)) }
	for e, err := range index.DecodeAll(ctx, raws, verify) {
		if err == nil {
			err = e.Follows(n.id.Registry, prev.Position, prev.Time)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			v.problem("stream: after entry %d: %v", prev.Position.Mark.Seq, err)
			return nil
		}
		prev = e
		if v.Entries++; v.Entries%1000 == 0 {
			progress("log", v.Entries)
		}
	}
	empty := prev.Position.Mark.IsZero() && head.Position.Mark.IsZero() // this site has written nothing yet
	if prev.Position != head.Position && !empty {
		v.problem("stream: ends at %v, the index at %v", prev.Position, head.Position)
	}
	return nil
}

func (n *Node) verifyBlobs(ctx context.Context, v *Verification, x *index.Index, progress func(string, uint64)) error {
	for b, err := range x.Blobs() {
		if err != nil {
			return fmt.Errorf("verify blobs: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		v.Blobs++
		v.Bytes += b.Size
		size, ok, err := n.blobs.store.Has(b.Digest)
		if ok && err == nil && size == b.Size {
			_, err = n.blobs.store.Verify(ctx, b.Digest)
		}
		switch {
		case errors.Is(err, blob.ErrCorrupt), err == nil && ok && size != b.Size:
			v.problem("blob %v is damaged", b.Digest)
		case err != nil:
			v.problem("blob %v can't be read: %v", b.Digest, err)
		case !ok:
			due, err := n.sites.wants.missed(b)
			if err != nil {
				return fmt.Errorf("verify blobs: %w", err)
			}
			if due {
				v.problem("blob %v is missing", b.Digest)
			}
		}
		progress("blobs", uint64(v.Blobs))
	}
	return nil
}

// Rebuild makes the index anew from the log, while the node goes on reading
// from the old one; writes wait for the last part only. It returns the head of
// the site's log as the new index has it.
func (n *Node) Rebuild(ctx context.Context, who *access.Caller, progress func(entries uint64)) (index.Head, error) {
	if err := n.allow(who, access.Everything); err != nil {
		return index.Head{}, err
	}
	if !n.rebuilding.TryLock() {
		return index.Head{}, fail(ErrUnavailable, "the index is being rebuilt already")
	}
	defer n.rebuilding.Unlock()
	x, number, err := n.buildIndex(ctx, progress)
	if err != nil {
		return index.Head{}, err
	}
	// What can't be copied of the other sites' logs comes from them again.
	err = n.copyLogs(ctx, n.index.Load(), x, progress)
	n.commits.mu.Lock()
	defer n.commits.mu.Unlock()
	n.sites.folding.Lock()
	defer n.sites.folding.Unlock()
	if err == nil {
		err = n.copyLogs(ctx, n.index.Load(), x, progress)
	}
	if err != nil && (ctx.Err() != nil || !n.bootstrap.any()) {
		return index.Head{}, errors.Join(err, x.Close())
	}
	if err != nil {
		n.logger.Warn("other sites' logs are fetched again", "error", err)
	}
	if err := n.replay(ctx, x, progress); err != nil {
		return index.Head{}, errors.Join(err, x.Close())
	}
	// What this node alone knows goes along: what it has yet to do, what the checksum
	// database has proved, what upstreams have listed.
	if err := x.Succeed(n.index.Load(), func() error { return n.adoptIndex(x, number) }); err != nil {
		return index.Head{}, errors.Join(err, x.Close())
	}
	if err := errors.Join(n.sites.resync(x), n.refreshDirectory()); err != nil {
		return index.Head{}, err
	}
	head, _, err := x.Head(n.id.Site)
	return head, err
}

// Log yields the entries of a site's log from seq on, as this node holds them.
// It fails with ErrNotFound if no such site is known; one that is may have written
// nothing yet.
func (n *Node) Log(who *access.Caller, site events.Site, from uint64) (iter.Seq2[events.Entry, error], error) {
	if err := n.allow(who, access.Everything); err != nil {
		return nil, err
	}
	if site.IsZero() {
		site = n.id.Site
	}
	x := n.index.Load()
	_, applied, err := x.Head(site)
	if err != nil {
		return nil, err
	}
	_, _, kept, err := x.Kept(site)
	if err != nil {
		return nil, err
	}
	if _, known := n.directory().Site(site); !known && !applied && !kept {
		return nil, fail(ErrNotFound, "no log of a site called %q is held here", site)
	}
	after := events.Mark{Epoch: 1, Seq: max(from, 1) - 1}
	return func(yield func(events.Entry, error) bool) {
		for raw, err := range x.Entries(site, after) {
			var e events.Entry
			if err == nil {
				e, err = events.DecodeEntry(raw)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}, nil
}
