package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/tlog"
)

// prove verifies that rec is in the database, and that it is below the pinned
// head, which it moves if it must; signed is the head that came with rec.
func (s *Sumdb) prove(ctx context.Context, mv module.Version, rec record, signed []byte) error {
	if h := s.head.Load(); rec.id < h.tree.N {
		return s.verify(ctx, mv, rec, h, h)
	}
	offered, err := s.openHead(signed)
	if err != nil {
		return err
	}
	if rec.id >= offered.tree.N {
		return sumdbError(ErrBadAnswer, fmt.Errorf("record %d of a tree of %d", rec.id, offered.tree.N))
	}
	s.offer(offered)
	moved, err := s.moveHead(ctx, mv, rec, offered)
	if err != nil || moved {
		return err
	}
	h := s.head.Load()
	return s.verify(ctx, mv, rec, h, h)
}

// moveHead moves the pinned head beyond rec, which it verifies on the way, and
// reports whether it did: while it waited for its turn another may have moved
// the head far enough, and then rec is still to be verified.
//
// Moving goes to the largest head offered, so that of many lookups of new
// records the first moves it for all. The order of writes makes a crash
// harmless: tiles (by verify), then the head, then (by the caller) the record.
func (s *Sumdb) moveHead(ctx context.Context, mv module.Version, rec record, offered *head) (moved bool, err error) {
	select {
	case s.advance <- struct{}{}:
		defer func() { <-s.advance }()
	case <-ctx.Done():
		return false, sumdbError(classOfContext(ctx.Err()), ctx.Err())
	}
	old := s.head.Load()
	if rec.id < old.tree.N {
		return false, nil
	}
	next := s.newest.Swap(nil)
	if next == nil || next.tree.N < offered.tree.N {
		next = offered
	}
	if err := s.verify(ctx, mv, rec, old, next); err != nil {
		return false, err
	}
	if err := s.state.Set(s.key("latest"), next.note); err != nil {
		return false, fmt.Errorf("store the head of %s: %w", s.db.Name(), err)
	}
	s.head.Store(next)
	return true, nil
}

// offer remembers h if it is larger than what was offered before. One that turns
// out to be a fork fails the lookup that tries it, and is forgotten.
func (s *Sumdb) offer(h *head) {
	for {
		newest := s.newest.Load()
		if newest != nil && newest.tree.N >= h.tree.N || s.newest.CompareAndSwap(newest, h) {
			return
		}
	}
}

// verify has the client of golang.org/x/mod/sumdb, starting from the head old,
// check rec as if it had come with the head next: that next is signed, that old
// is its beginning, that rec is in it. All tiles it used are in state afterwards.
// They include, in their form under next, those that were incomplete under old:
// the proof that old is the beginning of next is made of them and their parents.
//
// Each call has its own client, because that client keeps every record, tile and
// error in memory for as long as it lives; what is worth keeping is in state.
func (s *Sumdb) verify(ctx context.Context, mv module.Version, rec record, old, next *head) error {
	answer, err := tlog.FormatRecord(rec.id, rec.text)
	if err != nil {
		return sumdbError(ErrBadAnswer, err)
	}
	answer = append(answer, next.note...)
	ops := &sumdbOps{s: s, ctx: ctx, answer: answer, latest: old.note}
	err = ops.lookup(mv)
	if errors.Is(err, ErrSecurity) && ops.security == "" && ops.stored {
		// No proof of a fork, but tiles that do not fit: a stored one may have
		// gone bad. What the database sends now decides.
		ops = &sumdbOps{s: s, ctx: ctx, answer: answer, latest: old.note, fresh: true}
		err = ops.lookup(mv)
	}
	return err
}

// sumdbOps is the outside world of one lookup of the x/mod client.
type sumdbOps struct {
	s      *Sumdb
	ctx    context.Context
	answer []byte // to the lookup
	fresh  bool   // take no tiles from state

	mu       sync.Mutex // guards what follows
	latest   []byte
	verified []savedTile      // to be stored if the lookup succeeds
	stored   bool             // a tile came from state
	failed   map[string]error // tile without ".p/…" → why it could not be had
	fault    error            // of state
	security string
}

type savedTile struct {
	tile tlog.Tile
	data []byte
}

// lookup makes the lookup, stores the tiles that it verified, and finds out what an error of the client means: the
// client turns all errors into text.
func (o *sumdbOps) lookup(mv module.Version) error {
	o.failed = make(map[string]error)
	_, err := sumdb.NewClient(o).Lookup(mv.Path, mv.Version)
	switch {
	case o.security != "":
		return sumdbError(ErrSecurity, errors.New(o.security))
	case o.fault != nil:
		return o.fault
	case err == nil:
		return o.save()
	}
	for _, cause := range o.failed {
		if errors.Is(cause, ErrNotFound) || errors.Is(cause, ErrNotInDatabase) {
			// The database lost a tile; nobody asked for a module.
			return sumdbError(ErrUnavailable, fmt.Errorf("%s", cause))
		}
		return cause
	}
	return sumdbError(ErrSecurity, err)
}

func (o *sumdbOps) ReadRemote(path string) ([]byte, error) {
	if strings.HasPrefix(path, "/lookup/") {
		return o.answer, nil
	}
	t, err := tlog.ParseTilePath(path[1:])
	if err != nil {
		return nil, err
	}
	data, err := o.s.fetchTile(o.ctx, t)
	o.mu.Lock()
	defer o.mu.Unlock()
	key, _, _ := strings.Cut(path, ".p/")
	delete(o.failed, key) // a full tile in place of a missing partial one is as good
	if err != nil {
		o.failed[key] = err
	}
	return data, err
}

func (o *sumdbOps) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return []byte(o.s.db.key), nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.latest, nil
}

func (o *sumdbOps) WriteConfig(_ string, old, new []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if string(o.latest) != string(old) {
		return sumdb.ErrWriteConflict
	}
	o.latest = new
	return nil
}

var errNotCached = errors.New("not cached")

func (o *sumdbOps) ReadCache(file string) ([]byte, error) {
	t, ok := o.tile(file)
	if !ok || o.fresh {
		return nil, errNotCached
	}
	data, ok, err := o.s.storedTile(t)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.fault = err
	}
	if !ok {
		return nil, errNotCached
	}
	o.stored = true
	return data, nil
}

// WriteCache is called with tiles after they were authenticated against a signed
// head. That the head is no fork may turn out later, so they are stored at the
// end.
func (o *sumdbOps) WriteCache(file string, data []byte) {
	if t, ok := o.tile(file); ok { // else the lookup, which fetchRecord stores
		o.mu.Lock()
		defer o.mu.Unlock()
		o.verified = append(o.verified, savedTile{t, data})
	}
}

func (o *sumdbOps) save() error {
	for _, v := range o.verified {
		if err := o.s.storeTile(v.tile, v.data, o.fresh); err != nil {
			return err
		}
	}
	return nil
}

func (o *sumdbOps) tile(file string) (tlog.Tile, bool) {
	path, _ := strings.CutPrefix(file, o.s.db.Name()+"/")
	t, err := tlog.ParseTilePath(path)
	return t, err == nil
}

func (o *sumdbOps) Log(string) {}

func (o *sumdbOps) SecurityError(msg string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.security = msg
}
