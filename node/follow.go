package node

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"registry-node/events"
	"registry-node/node/index"
	"registry-node/replication"
)

// follower reads the log of another site, from that site or from whoever has
// more of it than this node, verifies every entry and stores it. It is the only
// writer of that log's part of the index.
type follower struct {
	sites *sites
	site  events.Site
	wake  chan struct{} // has room for one: somebody has more

	size int // bytes to ask for; grows while answers come in time
	// frozen says that the log has two different entries in one place. Whoever
	// finds that out sets it.
	frozen atomic.Bool
	// behind says that the last answer was not the end of the log.
	behind atomic.Bool
}

const (
	// followEvery is how often a follower looks whether somebody has more,
	// without being woken.
	followEvery = time.Second
	// pullTimeout bounds the wait for one answer.
	pullTimeout = 5 * time.Second
	minPull     = 64 << 10
	maxPull     = 4 << 20
)

// Errors of a pull that say who is to blame.
var (
	errSource = errors.New("the peer gives what it must not")
	errLog    = errors.New("the log can't be followed further")
)

func (f *follower) run(ctx context.Context) {
	f.size = minPull
	f.frozen.Store(f.sites.isForked(f.site))
	for {
		for f.step(ctx) {
		}
		select {
		case <-f.wake:
		case <-time.After(followEvery):
		case <-ctx.Done():
			return
		}
	}
}

// step brings the log as far as one peer has it, and reports whether that moved
// it.
func (f *follower) step(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	if f.frozen.Load() {
		return f.thaw(ctx)
	}
	if err := f.cutOff(); err != nil {
		f.sites.node.logger.Error("log of a site that left can't be cut off", "site", f.site, "error", err)
		return false
	}
	at, err := f.head()
	if err != nil {
		return false
	}
	for _, peer := range f.sources(at.Mark) {
		moved, err := f.pull(ctx, peer, at)
		f.account(peer, err)
		if moved {
			return true
		}
		if errors.Is(err, errLog) {
			return false
		}
	}
	return false
}

// account raises or clears what a pull says about the peer and about the log.
func (f *follower) account(peer events.Site, err error) {
	if f.sites.node.life.ctx.Err() != nil {
		return
	}
	t := &f.sites.troubles
	bad := "source " + peer.String() + " " + f.site.String()
	stuck := "log " + f.site.String()
	switch {
	case err == nil:
		t.clear(bad)
		t.clear(stuck)
	case errors.Is(err, errSource):
		if t.raise(bad, fmt.Sprintf("site %s gives entries of the log of site %s that are refused: %v", peer, f.site, err)) {
			f.sites.node.logger.Warn("entries refused", "from", peer, "log", f.site, "error", err)
		}
	case errors.Is(err, errLog):
		if t.raise(stuck, fmt.Sprintf("the log of site %s: %v", f.site, err)) {
			f.sites.node.logger.Error("log can't be followed", "log", f.site, "error", err)
		}
	default:
		f.sites.node.logger.Debug("pull failed", "from", peer, "log", f.site, "error", err)
	}
}

// head returns the last entry stored of the log, applied or not.
func (f *follower) head() (events.Position, error) {
	x := f.sites.node.index.Load()
	kept, _, ok, err := x.Kept(f.site)
	if ok || err != nil {
		return kept, err
	}
	h, _, err := x.Head(f.site)
	h.Position.Site = f.site
	return h.Position, err
}

// sources returns the sites that say they have more of the log than up to m: the
// log's own site first, then who has most. While there is more by the word of the
// log's site, the others are asked as well: they announce only what they have
// applied, and may hold entries that they can't apply.
func (f *follower) sources(m events.Mark) []events.Site {
	type source struct {
		site events.Site
		has  events.Mark
	}
	var list []source
	f.sites.mu.Lock()
	further := f.sites.heads[f.site].Position.Mark.Compare(m) > 0
	for site, h := range f.sites.heard {
		has := h.logs[f.site].Position.Mark
		if time.Since(h.at) < silence && (has.Compare(m) > 0 || further && site != f.site) {
			list = append(list, source{site, has})
		}
	}
	f.sites.mu.Unlock()
	slices.SortFunc(list, func(a, b source) int {
		own := func(s source) int {
			if s.site == f.site {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(own(a), own(b)), b.has.Compare(a.has), cmp.Compare(a.site.String(), b.site.String()))
	})
	var sites []events.Site
	for _, s := range list {
		sites = append(sites, s.site)
	}
	return sites
}

// pull reads what a peer has behind at, until that ends or fails. While one
// answer is applied the next is on its way.
func (f *follower) pull(ctx context.Context, peer events.Site, at events.Position) (moved bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := f.ask(ctx, peer, at.Mark)
	for {
		var a pulled
		select {
		case a = <-next:
		case <-ctx.Done():
			return moved, ctx.Err()
		}
		if a.err != nil {
			f.size = max(minPull, f.size/4)
			return moved, a.err
		}
		if len(a.entries) == 0 {
			if a.head.Compare(at.Mark) > 0 {
				err = fmt.Errorf("%w: it says to have the log up to %v, and gives nothing behind %v", errSource, a.head, at.Mark)
			}
			return moved, err
		}
		last, err := events.DecodeEntry(a.entries[len(a.entries)-1])
		if err != nil {
			return moved, fmt.Errorf("%w: %w", errSource, err)
		}
		more := a.head.Compare(last.Position.Mark) > 0
		f.behind.Store(more)
		if more {
			f.size = min(maxPull, 2*f.size)
			at = last.Position
			next = f.ask(ctx, peer, at.Mark)
		}
		n, err := f.store(ctx, peer, a.entries)
		moved = moved || n > 0
		if err != nil || !more || n < len(a.entries) { // none: the log is cut off, forked or in a new epoch
			return moved, err
		}
	}
}

// pulled is an answer of the service "log".
type pulled struct {
	entries [][]byte
	head    events.Mark
	err     error
}

// ask asks a peer for entries behind m. The answer comes on the channel.
func (f *follower) ask(ctx context.Context, peer events.Site, m events.Mark) <-chan pulled {
	ch := make(chan pulled, 1)
	size := f.size
	if m.IsZero() {
		size = 1 // the first entry alone may say who signs the others
	}
	f.sites.node.life.wg.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, pullTimeout)
		defer cancel()
		entries, head, err := f.sites.entriesFrom(ctx, peer, f.site, m, size)
		ch <- pulled{entries, head, err}
	})
	return ch
}

// entriesFrom asks a peer for up to size bytes of the entries of a log behind m,
// but one at least.
func (s *sites) entriesFrom(ctx context.Context, peer, log events.Site, m events.Mark, size int) ([][]byte, events.Mark, error) {
	req, err := replication.Encode(replication.LogRequest{Site: log, After: m, MaxBytes: size})
	if err != nil {
		return nil, events.Mark{}, err
	}
	raw, err := s.request(ctx, peer, "log", req, nil)
	if err != nil {
		return nil, events.Mark{}, err
	}
	a, err := replication.Decode[replication.LogAnswer](raw)
	if err != nil {
		return nil, events.Mark{}, fmt.Errorf("%w: %w", errSource, err)
	}
	return a.Entries, a.Head, nil
}

// store verifies entries and puts those before the first that fails into the
// index, durably and in one batch.
func (f *follower) store(ctx context.Context, peer events.Site, raws [][]byte) (stored int, err error) {
	stored, odd, err := f.storeFirst(ctx, raws)
	if odd != nil { // not under folding, which a rewind takes
		return 0, f.unfit(ctx, peer, odd)
	}
	return stored, err
}

// storeFirst is store; odd is set if the very first entry does not follow what is
// held, though its site signed it.
func (f *follower) storeFirst(ctx context.Context, raws [][]byte) (stored int, odd *unfit, err error) {
	s, n := f.sites, f.sites.node
	s.folding.RLock()
	defer s.folding.RUnlock()
	if err := n.space.check(); err != nil {
		return 0, nil, err
	}
	x := n.index.Load()
	at, err := f.head()
	if err != nil {
		return 0, nil, err
	}
	prev := events.Entry{Position: at}
	if !at.Mark.IsZero() {
		if prev.Time, err = s.timeOf(x, at); err != nil {
			return 0, nil, err
		}
	}
	txn := x.Begin(f.site)
	defer txn.Discard()
	b := &batch{follower: f, x: x, txn: txn, prev: prev}
	for e, err := range index.DecodeAll(ctx, each(raws), f.verify) {
		if err == nil {
			err = b.add(e)
		}
		switch {
		case err == nil:
			continue
		case b.entries > 0: // what is before it is good; the rest is asked for again
		case errors.Is(err, errCutOff):
			return 0, nil, nil
		default:
			errors.As(err, &odd)
			return 0, odd, err
		}
		break
	}
	return b.entries, nil, b.commit()
}

func each(raws [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, r := range raws {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// verify checks what an entry shows by itself: whose it is, and that its site
// signed it.
func (f *follower) verify(e events.Entry) error {
	if e.Registry != f.sites.node.id.Registry || e.Position.Site != f.site {
		return fmt.Errorf("%w: entry %v of registry %v is none of the log of site %s", errSource, e.Position, e.Registry, f.site)
	}
	key := f.sites.node.keyFor(e)
	if key == nil {
		return fmt.Errorf("site %s is not known as a member yet", f.site)
	}
	if err := e.Verify(key); err != nil {
		return fmt.Errorf("%w: %w", errSource, err)
	}
	return nil
}

// keyFor returns the key that must have signed an entry: that of the member, or
// for the first entry of a registry the key that the registry's id proves.
func (n *Node) keyFor(e events.Entry) ed25519.PublicKey {
	if key := n.keyOf(e.Position.Site, e.Position.Mark); key != nil {
		return key
	}
	if e.Prev != n.id.Registry || len(e.Events) == 0 {
		return nil
	}
	b, ok := e.Events[0].Body.(events.SiteJoined)
	if !ok || b.Name != e.Position.Site || b.Genesis.IsZero() || events.RegistryID(b) != n.id.Registry {
		return nil
	}
	return ed25519.PublicKey(b.PublicKey)
}

// batch are entries of one log on their way into the index.
type batch struct {
	*follower
	x       *index.Index
	txn     *index.Txn
	prev    events.Entry
	entries int
	changes stateChange            // what may be another one afterwards
	purges  bool                   // some version was purged
	seen    []sighting             // what other sites saw
	wants   []want                 // of the entries
	fills   []events.ModuleVersion // to be vouched for
}

// add checks how an entry stands to those before it, and to the clock and the
// membership, and stages it.
func (b *batch) add(e events.Entry) error {
	n := b.sites.node
	if b.prev.Position.Mark.IsZero() {
		first, err := n.firstPrev(b.site)
		if err != nil {
			return err
		}
		b.prev.Position = events.Position{Site: b.site, Hash: first}
	}
	if err := e.Follows(n.id.Registry, b.prev.Position, b.prev.Time); err != nil {
		return &unfit{e, err}
	}
	if cut, left := n.directory().CutOff(b.site); left && e.Position.Mark.Compare(cut) > 0 {
		return errCutOff
	}
	if ahead := time.Until(e.Time); ahead > maxSkew {
		return fmt.Errorf("%w: entry %v is dated %s from now; the clock of site %s is wrong", errLog, e.Position, ahead.Round(time.Minute), b.site)
	}
	if _, unknown := e.Unknown(); unknown || b.keeps() {
		if err := b.txn.Keep(e); err != nil {
			return err
		}
		b.sites.unknown(b.site, e)
	} else {
		if err := b.txn.Append(e); err != nil {
			return err
		}
		if err := b.look(e); err != nil {
			return err
		}
	}
	b.prev = e
	b.entries++
	return nil
}

var errCutOff = errors.New("the site left before")

// unfit is an entry, signed by its site, that does not follow what is held.
type unfit struct {
	entry events.Entry
	err   error
}

func (u *unfit) Error() string { return u.err.Error() }

// keeps reports whether entries are stored behind the applied ones. It is also
// so if the very first entry of the log could not be applied.
func (b *batch) keeps() bool {
	return !b.prev.Position.Mark.IsZero() && b.txn.Head().Position.Mark != b.prev.Position.Mark
}

// look notes what an entry means besides the index: blobs to fetch, what is to
// be checked, and events that seem to have no right.
func (b *batch) look(e events.Entry) error {
	wants, err := b.sites.noteAsked(b.txn, e)
	if err != nil {
		return err
	}
	b.wants = append(b.wants, wants...)
	for _, ev := range e.Events {
		b.changes = max(b.changes, changeOf(ev.Body.Key(ev.ID).Kind()))
		if s, ok := b.sites.node.seenElsewhere(ev.Body); ok {
			b.seen = append(b.seen, s)
		}
		b.purges = b.purges || ev.Type == events.VersionPurged{}.Type()
		if fill, ok := ev.Body.(events.VersionFilled); ok {
			b.fills = append(b.fills, fill.ModuleVersion)
		}
		b.sites.noteRight(ev)
	}
	return nil
}

// commit makes the batch durable and visible, and tells of it.
func (b *batch) commit() error {
	if b.entries == 0 {
		return nil
	}
	b.sites.wants.counted(b.wants) // before they can be seen, and be done
	if err := b.txn.Commit(true); err != nil {
		return errors.Join(err, b.sites.wants.load())
	}
	if len(b.wants) > 0 {
		b.sites.wants.more.notify() // now they can be seen
	}
	if b.purges {
		b.sites.purges.notify()
	}
	if err := b.sites.node.refresh(b.changes); err != nil {
		return err
	}
	b.sites.noteVouch(b.fills) // now the versions, and their repositories, can be seen
	h, ok, err := b.x.Head(b.site)
	if err != nil || !ok {
		return err
	}
	b.sites.durable(h)
	for _, s := range b.seen {
		b.sites.node.sightings.put(s)
	}
	return nil
}
