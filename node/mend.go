package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strconv"

	"registry-node/events"
	"registry-node/node/index"
	"registry-node/replication"
)

// The index directory holds numbered directories, of which the file "current"
// names the one in use. A rebuild fills the next number and then says so: a
// crash before that leaves the old one.
const currentFile = "current"

func (n *Node) indexPath(number int) string {
	return filepath.Join(n.dir, indexDir, strconv.Itoa(number))
}

// currentIndex returns the number of the index in use, 0 if there is none.
func (n *Node) currentIndex() (int, error) {
	b, err := os.ReadFile(filepath.Join(n.dir, indexDir, currentFile))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("index: %w", err)
	}
	num, err := strconv.Atoi(string(b))
	if err != nil || num < 1 {
		return 0, fmt.Errorf("index: the file %s holds %q, not a number", currentFile, b)
	}
	return num, nil
}

// openIndex opens the index, brings it and the stream to the same end, and
// mends each from the other. It fails if neither copy of the log is whole.
func (n *Node) openIndex(ctx context.Context) error {
	x, why := n.tryIndex()
	if x == nil {
		if checkFormat(n.dir) == nil { // else it is being made, see Init
			n.logger.Warn("index is rebuilt from the log", "reason", why)
		}
		return n.rebuildIndex(ctx)
	}
	n.index.Store(x)
	return n.compare(ctx, x)
}

// tryIndex opens the index in use. It returns why it can't be used, if so.
func (n *Node) tryIndex() (*index.Index, error) {
	num, err := n.currentIndex()
	if err != nil {
		return nil, err
	}
	if num == 0 {
		return nil, errors.New("there is none")
	}
	x, err := index.Open(n.indexPath(num), index.Options{Logger: n.logger})
	if err != nil {
		return nil, err
	}
	if x.Registry() != n.id.Registry {
		x.Close()
		return nil, fmt.Errorf("it belongs to registry %v", x.Registry())
	}
	return x, nil
}

// compare brings the two copies of the site's log together: what the stream has
// beyond the index is applied, what it lacks is given back to it.
func (n *Node) compare(ctx context.Context, x *index.Index) error {
	head, _, err := x.Head(n.id.Site)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	st, err := n.log.Check(ctx)
	if err != nil {
		return err
	}
	seq := head.Position.Mark.Seq
	reason := ""
	switch {
	case st.Last < seq:
		reason = fmt.Sprintf("the stream ends at entry %d, the index at %d", st.Last, seq)
	case !st.Whole():
		reason = fmt.Sprintf("the stream has %d of %d entries", st.Entries, st.Last)
	case seq > 0:
		raw, ok, err := n.log.Get(ctx, seq)
		if err != nil {
			return err
		}
		if !ok || events.DigestOf(raw) != head.Position.Hash {
			reason = fmt.Sprintf("the stream's entry %d is not the one that the index holds", seq)
		}
	}
	if reason != "" && !n.opts.noMend {
		return n.mendStream(ctx, x, reason)
	}
	return n.replay(ctx, x, func(uint64) {})
}

// mendStream rewrites the stream from the index's copy of each entry, after
// applying to the index what the stream has beyond it.
func (n *Node) mendStream(ctx context.Context, x *index.Index, reason string) error {
	n.logger.Warn("log is mended from the index", "stream", streamDir, "reason", reason)
	if err := n.replay(ctx, x, func(uint64) {}); err != nil {
		return fmt.Errorf("mend the log in %s: %w", filepath.Join(n.dir, streamDir), err)
	}
	if err := n.log.Rewrite(ctx, n.entriesOf(x), nil); err != nil {
		return fmt.Errorf("mend the log in %s from the index: %w", filepath.Join(n.dir, streamDir), err)
	}
	head, _, err := x.Head(n.id.Site)
	if err != nil {
		return err
	}
	n.logger.Info("log is mended", "entries", head.Position.Mark.Seq, "state_hash", head.StateHash)
	return nil
}

// entriesOf yields the index's copy of the site's own log. It fails at the
// first that is missing or whose chain is broken, so that a damaged copy never
// replaces the other.
func (n *Node) entriesOf(x *index.Index) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		prev := events.Entry{Position: events.Position{Site: n.id.Site}}
		for raw, err := range x.Entries(n.id.Site, events.Mark{}) {
			if err == nil {
				var e events.Entry
				if e, err = events.DecodeEntry(raw); err == nil {
					if prev.Position.Mark.IsZero() {
						prev.Position.Hash = e.Prev // the audit tells whether it is right
					}
					err = e.Follows(n.id.Registry, prev.Position, prev.Time)
				}
				prev = e
			}
			if !yield(raw, err) || err != nil {
				return
			}
		}
	}
}

// replay applies what the stream has beyond the index. It stops with a
// replication.ErrGap at a hole, having applied what stands before it.
func (n *Node) replay(ctx context.Context, x *index.Index, progress func(entries uint64)) error {
	head, _, err := x.Head(n.id.Site)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	from := head.Position.Mark.Seq + 1
	raws := func(yield func([]byte, error) bool) {
		for rec, err := range n.log.Read(ctx, from) {
			if !yield(rec.Data, err) || err != nil {
				return
			}
		}
	}
	verify := func(e events.Entry) error { return e.Verify(n.key.Public().(ed25519.PublicKey)) }
	f := folder{x: x, site: n.id.Site, progress: progress, also: notePurges}
	return f.fold(index.DecodeAll(ctx, raws, verify))
}

// copyLogs folds what an index holds of the other sites' logs into another one.
// The entries have been verified when they were stored.
func (n *Node) copyLogs(ctx context.Context, from, to *index.Index, progress func(entries uint64)) error {
	heads, err := from.Heads()
	if err != nil {
		return err
	}
	for _, h := range heads {
		site := h.Position.Site
		if site == n.id.Site {
			continue
		}
		at, _, err := to.Head(site)
		if err != nil {
			return err
		}
		// The rows of local state tell what the applied entries ask, but not what is
		// applied now for the first time.
		also := func(txn *index.Txn, e events.Entry) (err error) {
			if e.Position.Mark.Compare(h.Position.Mark) > 0 {
				_, err = n.sites.noteAsked(txn, e) // who takes up the index counts them
			}
			return err
		}
		f := folder{x: to, site: site, progress: progress, also: also}
		trusted := func(events.Entry) error { return nil }
		if err := f.fold(index.DecodeAll(ctx, from.Entries(site, at.Position.Mark), trusted)); err != nil {
			return fmt.Errorf("log of site %s: %w", site, err)
		}
		for raw, err := range from.SetAside(site) {
			e, derr := events.DecodeEntry(raw)
			if err := errors.Join(err, derr); err != nil {
				return fmt.Errorf("log of site %s: what is set aside: %w", site, err)
			}
			if err := to.PutAside(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// fold appends entries to the log, and keeps those that can't be applied.
func (f *folder) fold(entries iter.Seq2[events.Entry, error]) error {
	defer f.discard()
	for e, err := range entries {
		if err != nil {
			return errors.Join(f.flush(false), err)
		}
		if err := f.append(e); err != nil {
			return fmt.Errorf("apply the log: %w", err)
		}
	}
	return f.flush(true)
}

// folder applies entries of one log to an index, many in a batch. A crash loses
// a suffix of both entries and what they say, which the log has still.
type folder struct {
	x        *index.Index
	site     events.Site
	progress func(entries uint64)
	also     func(*index.Txn, events.Entry) error // what else is staged with an entry that is applied

	txn  *index.Txn
	size int
	done uint64
	keep bool // from an entry of an unknown type on
}

const foldBytes = 4 << 20

func (f *folder) append(e events.Entry) error {
	if f.txn == nil {
		f.txn = f.x.Begin(f.site)
	}
	_, unknown := e.Unknown()
	f.keep = f.keep || unknown
	store := f.txn.Keep
	if !f.keep {
		store = func(e events.Entry) error { return errors.Join(f.txn.Append(e), f.also(f.txn, e)) }
	}
	if err := store(e); err != nil {
		return err
	}
	f.done++
	if f.size += len(e.Raw); f.size < foldBytes {
		return nil
	}
	return f.flush(false)
}

func (f *folder) flush(sync bool) error {
	if f.txn == nil {
		if !sync || f.done == 0 { // nothing to sync: a full disk doesn't matter
			return nil
		}
		f.txn = f.x.Begin(f.site)
	}
	err := f.txn.Commit(sync)
	f.txn, f.size = nil, 0
	f.progress(f.done)
	return err
}

func (f *folder) discard() {
	if f.txn != nil {
		f.txn.Discard()
	}
}

// rebuildIndex makes a new index from the stream where there is none that can
// be used. The other sites' logs come from the old one if that can be read, else
// from the other sites; so does what the stream has lost, if there are any.
func (n *Node) rebuildIndex(ctx context.Context) error {
	x, number, err := n.buildIndex(ctx, func(uint64) {})
	if err != nil {
		return err
	}
	if err := n.copyOld(ctx, x, number-1); err != nil {
		n.logger.Warn("the other sites' logs are fetched again", "error", err)
	}
	if err := n.adoptIndex(x, number); err != nil {
		return errors.Join(err, x.Close())
	}
	st, err := n.log.Check(ctx)
	if err != nil || st.Whole() {
		return err
	}
	return n.mendStream(ctx, x, fmt.Sprintf("the stream has %d of %d entries, and the index is lost; the other sites hold the rest", st.Entries, st.Last))
}

// copyOld copies the other sites' logs and the local state from the index with
// this number, whatever version folded it.
func (n *Node) copyOld(ctx context.Context, x *index.Index, number int) error {
	if number < 1 {
		return nil
	}
	old, err := index.Open(n.indexPath(number), index.Options{Logger: n.logger, AnyApplyVersion: true})
	if err != nil {
		return err
	}
	defer old.Close()
	if old.Registry() != n.id.Registry {
		return nil
	}
	return errors.Join(n.copyLogs(ctx, old, x, func(uint64) {}), x.CopyLocal(old), x.Sync())
}

// buildIndex makes a new index from the stream, and leaves the one in use where
// it is. The directory of the new one has the number that is returned.
func (n *Node) buildIndex(ctx context.Context, progress func(entries uint64)) (*index.Index, int, error) {
	st, err := n.log.Check(ctx)
	if err != nil {
		return nil, 0, err
	}
	if err := n.checkLogWhole(st); err != nil {
		return nil, 0, err
	}
	number, err := n.currentIndex()
	if err != nil {
		n.logger.Warn("index directory is damaged", "error", err)
	}
	number++
	path := n.indexPath(number)
	if err := errors.Join(os.RemoveAll(path), os.MkdirAll(filepath.Dir(path), 0o700)); err != nil {
		return nil, 0, fmt.Errorf("index: %w", err)
	}
	if err := index.Create(path, n.id.Registry); err != nil {
		return nil, 0, err
	}
	x, err := index.Open(path, index.Options{Logger: n.logger, Bulk: true})
	if err != nil {
		return nil, 0, err
	}
	err = n.replay(ctx, x, progress)
	if errors.Is(err, replication.ErrGap) && n.bootstrap.any() {
		err = n.setUnsure(true) // the other sites hold what follows
	}
	if err := errors.Join(err, x.Close()); err != nil {
		return nil, 0, fmt.Errorf("rebuild the index from %s: %w", filepath.Join(n.dir, streamDir), err)
	}
	x, err = index.Open(path, index.Options{Logger: n.logger})
	return x, number, err
}

// checkLogWhole refuses a stream that can't be the whole log where no index can
// help: an empty one in a directory that has been a registry, or one with holes.
// If there are other sites, they are asked before anything is written.
func (n *Node) checkLogWhole(st replication.State) error {
	if n.bootstrap.any() { // other sites hold it, too
		if st.Last == 0 || !st.Whole() {
			return n.setUnsure(true)
		}
		return nil
	}
	if err := checkFormat(n.dir); err == nil && st.Last == 0 {
		return fmt.Errorf("both copies of the log are gone: %s holds no entries and %s can't be read; restore them from a backup",
			filepath.Join(n.dir, streamDir), filepath.Join(n.dir, indexDir))
	}
	if !st.Whole() {
		return fmt.Errorf("both copies of the log are damaged: %s has %d of %d entries and %s can't be read; restore one from a backup",
			filepath.Join(n.dir, streamDir), st.Entries, st.Last, filepath.Join(n.dir, indexDir))
	}
	return nil
}

// adoptIndex makes x, which stands in the directory with this number, the index
// in use and removes the others. If it fails, nothing has changed.
func (n *Node) adoptIndex(x *index.Index, num int) error {
	head, _, err := x.Head(n.id.Site)
	if err != nil {
		return err
	}
	if err := WriteFile(filepath.Join(n.dir, indexDir, currentFile), []byte(strconv.Itoa(num)), 0o600); err != nil {
		return err
	}
	if old := n.index.Swap(x); old != nil {
		n.retire(old, num-1)
	} else {
		n.removeOldIndexes(num)
	}
	n.logger.Info("index is rebuilt", "entries", head.Position.Mark.Seq, "state_hash", head.StateHash)
	return nil
}

func (n *Node) removeOldIndexes(current int) {
	entries, err := os.ReadDir(filepath.Join(n.dir, indexDir))
	for _, e := range entries {
		if e.IsDir() && e.Name() != strconv.Itoa(current) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(n.dir, indexDir, e.Name())))
		}
	}
	if err != nil {
		n.logger.Warn("old index is not removed", "error", err)
	}
}

// pull returns a function that gives the index's copies of a log's entries one
// by one, and one that ends it.
func pull(x *index.Index, site events.Site) (next func() ([]byte, error), stop func()) {
	step, stop := iter.Pull2(x.Entries(site, events.Mark{}))
	return func() ([]byte, error) {
		raw, err, ok := step()
		if !ok {
			return nil, errors.New("it ends before")
		}
		return raw, err
	}, stop
}
