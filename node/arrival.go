package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/blob"
	"registry-node/node/upstream"
)

// An arrival is a blob on its way here from other sites. Whoever wants it shares
// it: who waits for the whole, and clients that are served while it comes. A
// client gets the last bytes only when the whole has been verified, so none
// takes wrong bytes for a complete file.
type arrival struct {
	sites *sites
	want  want
	stage *blob.Stage // nil until started, and if that failed

	started chan struct{} // closed when bytes come, or it has ended
	ended   chan struct{} // closed when err says what came of it
	more    notifier      // passable has grown, or it has ended

	mu       sync.Mutex
	passable int64 // guarded by mu; bytes that clients may have
	begun    bool  // guarded by mu; started is closed
	users    int   // guarded by sites.arrivals' lock
	err      error // set before ended is closed
}

// heldBack is how many bytes at the end of a zip clients get only after it was
// verified: its directory is there, so what is cut before is no zip.
const heldBack = 64 << 10

// arrivals are the blobs on their way, by digest.
type arrivals struct {
	mu  sync.Mutex
	all map[arrivalKey]*arrival // guarded by mu
}

// arrivalKey: one set of bytes may be claimed to be several module versions.
// Each claim is checked by itself.
type arrivalKey struct {
	digest  events.Digest
	repo    events.RepoID
	mv      module.Version
	isMod   bool
	mod, h1 events.H1
}

func (v want) arrivalKey() arrivalKey {
	return arrivalKey{v.Blob.Digest, v.Repo, module.Version{Path: v.Module, Version: v.Version}, v.Mod, v.ModH1, v.ZipH1}
}

// arrive joins the arrival of a blob, or begins it. The caller leaves it in the
// end. It goes on in any case.
func (s *sites) arrive(v want) *arrival {
	s.coming.mu.Lock()
	defer s.coming.mu.Unlock()
	a := s.coming.all[v.arrivalKey()]
	if a == nil {
		a = &arrival{sites: s, want: v, started: make(chan struct{}), ended: make(chan struct{}), users: 1}
		s.coming.all[v.arrivalKey()] = a
		s.node.life.wg.Go(func() { a.run(s.node.life.ctx) })
	}
	a.users++
	return a
}

// leave ends the use of an arrival.
func (a *arrival) leave() {
	s := a.sites
	s.coming.mu.Lock()
	a.users--
	last := a.users == 0
	s.coming.mu.Unlock()
	if last && a.stage != nil {
		if err := a.stage.Discard(); err != nil {
			s.node.logger.Warn("stage is not removed", "error", err)
		}
	}
}

func (a *arrival) run(ctx context.Context) {
	a.err = a.fetch(ctx)
	s := a.sites
	s.coming.mu.Lock()
	delete(s.coming.all, a.want.arrivalKey())
	s.coming.mu.Unlock()
	a.mu.Lock()
	if a.err == nil {
		a.passable = a.want.Blob.Size
	}
	close(a.ended) // first: who sees that it has begun sees that it failed, too
	a.begin()
	a.mu.Unlock()
	a.more.notify()
	a.leave()
}

// begin closes started. The caller holds mu.
func (a *arrival) begin() {
	if !a.begun {
		a.begun = true
		close(a.started)
	}
}

// fetch brings the blob here, verifies and stores it.
func (a *arrival) fetch(ctx context.Context) error {
	s, n, v := a.sites, a.sites.node, a.want
	if err := n.space.check(); err != nil {
		return err
	}
	sources := s.holders(v.from, v.Blob.Digest)
	if len(sources) == 0 {
		return errNotThere
	}
	stage, err := n.blobs.store.Stage(ctx, v.Blob.Size)
	if err != nil {
		return storeFailed(err, v.Module+"@"+v.Version)
	}
	a.stage = stage
	t := transfer{sites: s, blob: v.Blob, stage: stage, progress: a.arrived}
	if err := t.gather(ctx, sources); err != nil {
		return err
	}
	if stage.Digest() != v.Blob.Digest {
		return a.blame(ctx, sources)
	}
	return a.keep(ctx, stage)
}

// keep verifies and stores the bytes of the blob.
func (a *arrival) keep(ctx context.Context, stage *blob.Stage) error {
	v := a.want
	if err := a.verify(ctx, stage); err != nil {
		return err
	}
	// A blob is never here without a record that refers to it: the entry that
	// states it is applied, or is being applied.
	a.sites.node.blobs.admitting.RLock()
	defer a.sites.node.blobs.admitting.RUnlock()
	_, err := stage.Commit(v.Blob.Digest)
	return storeFailed(err, v.Module+"@"+v.Version)
}

// arrived lets clients have more, but for the end.
func (a *arrival) arrived(done int64) {
	a.mu.Lock()
	a.passable = max(a.passable, min(done, a.want.Blob.Size-heldBack))
	if a.passable > 0 {
		a.begin()
	}
	a.mu.Unlock()
	a.more.notify()
}

// blame finds out which of several sources gave wrong bytes, and stores the right
// ones if somebody has them. The arrival fails in any case, since clients have
// read some of the wrong ones; who asks again finds the blob here.
func (a *arrival) blame(ctx context.Context, sources []events.Site) error {
	v := a.want
	for _, site := range sources {
		stage, err := a.sites.node.blobs.store.Stage(ctx, v.Blob.Size)
		if err != nil {
			return err
		}
		t := transfer{sites: a.sites, blob: v.Blob, stage: stage}
		err = t.from(ctx, site)
		if err == nil && stage.Digest() == v.Blob.Digest {
			if err := a.keep(ctx, stage); err != nil {
				return errors.Join(err, stage.Discard())
			}
		} else if err == nil {
			a.sites.troubles.raise("blob "+site.String(), fmt.Sprintf("site %s gave other bytes than those of blob %v (%s@%s); they were refused",
				site, v.Blob.Digest, v.Module, v.Version))
			a.sites.shun(site, v.Blob.Digest)
		}
		stage.Discard()
	}
	return fmt.Errorf("blob %v came with wrong bytes", v.Blob.Digest)
}

// lie is content that is not what a site states of it.
type lie struct{ error }

func isLie(err error) bool { return errors.As(err, new(lie)) }

// verify checks that the bytes are the content that the site states: what it
// says about them is a claim (I6).
func (a *arrival) verify(ctx context.Context, stage *blob.Stage) error {
	v, s := a.want, a.sites
	err := s.node.checkClaim(ctx, v, stage, stage.Size())
	if isLie(err) {
		s.troubles.raise("lie "+v.from.String()+v.Blob.Digest.Hex(), err.Error())
	}
	return err
}

// checkClaim checks bytes against what is stated of them.
func (n *Node) checkClaim(ctx context.Context, v want, r io.ReaderAt, size int64) error {
	mv := module.Version{Path: v.Module, Version: v.Version}
	if v.Mod {
		data := make([]byte, size)
		if _, err := r.ReadAt(data, 0); err != nil && err != io.EOF {
			return err
		}
		if h := events.HashMod(data); h != v.ModH1 {
			return lie{fmt.Errorf("site %s states the go.mod hash %v for %v, and its blob has %v; it is refused", v.from, v.ModH1, mv, h)}
		}
		return nil
	}
	z, err := upstream.CheckZip(ctx, mv, r, size)
	if errors.Is(err, upstream.ErrBadZip) {
		return lie{fmt.Errorf("site %s states a zip for %v that breaks the rules: %w; it is refused", v.from, mv, err)}
	}
	if err != nil {
		return err
	}
	if z.H1 != v.ZipH1 {
		return lie{fmt.Errorf("site %s states the hash %v for %v, and its zip has %v; it is refused", v.from, v.ZipH1, mv, z.H1)}
	}
	repo := n.directory().Repo(v.Repo)
	if repo != nil && repo.Kind == events.Local && z.HasGoMod && z.GoModH1 != v.ModH1 {
		return lie{fmt.Errorf("site %s states another go.mod for %v than is in its zip; it is refused", v.from, mv)}
	}
	return n.vouchers.zipIs(n, mv, v.Blob, v.ZipH1)
}

// begins waits until the first bytes that clients may have are here, or it has
// failed.
func (a *arrival) begins(ctx context.Context) error {
	select {
	case <-a.started:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-a.ended:
		return a.err
	default:
		return nil
	}
}

// whole waits until the blob is here.
func (a *arrival) whole(ctx context.Context) error {
	select {
	case <-a.ended:
		return a.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// read returns a reader of the bytes as they come. Closing it leaves the
// arrival.
func (a *arrival) read(ctx context.Context) *Stream { return &Stream{ctx: ctx, arrival: a} }

// Stream reads a blob that is on its way here. Read waits for bytes; it fails if
// the blob turns out to be wrong, so that the answer is cut and nobody takes it
// for complete. It belongs to one goroutine.
type Stream struct {
	ctx     context.Context
	arrival *arrival
	off     int64
}

// Read implements io.Reader.
func (s *Stream) Read(p []byte) (int, error) {
	a := s.arrival
	for {
		ch := a.more.wait()
		a.mu.Lock()
		passable := a.passable
		a.mu.Unlock()
		switch {
		case s.off < passable:
			n, err := a.stage.ReadAt(p[:min(int64(len(p)), passable-s.off)], s.off)
			s.off += int64(n)
			if n > 0 {
				err = nil
			}
			return n, err
		case s.off >= a.want.Blob.Size && passable == a.want.Blob.Size:
			return 0, io.EOF
		}
		select {
		case <-a.ended:
			if a.err != nil {
				return 0, a.err
			}
		case <-ch:
		case <-s.ctx.Done():
			return 0, context.Cause(s.ctx)
		}
	}
}

// Seek implements io.Seeker.
func (s *Stream) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.off
	case io.SeekEnd:
		offset += s.arrival.want.Blob.Size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start")
	}
	s.off = offset
	return offset, nil
}

// Close ends the reading.
func (s *Stream) Close() error {
	s.arrival.leave()
	return nil
}
