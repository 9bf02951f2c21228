package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight           // hashes of a full tile
	maxTile    = tileWidth * tlog.HashSize // bytes of a hash tile
	maxData    = 1 << 20                   // bytes of a data tile
)

// tileKey returns the key of all widths of t.
func (s *Sumdb) tileKey(t tlog.Tile) string {
	t.W = tileWidth
	return s.key(t.Path())
}

// storedTile returns t if it, or a wider form of it, is in state.
func (s *Sumdb) storedTile(t tlog.Tile) ([]byte, bool, error) {
	data, ok, err := s.state.Get(s.tileKey(t))
	if err != nil {
		return nil, false, fmt.Errorf("read stored %s: %w", t.Path(), err)
	}
	if size := t.W * tlog.HashSize; ok && len(data) >= size {
		return data[:size:size], true, nil
	}
	return nil, false, nil
}

// storeTile stores t, which was authenticated, unless state has it as wide or
// wider already. With mend, what state has counts only if it agrees with data.
func (s *Sumdb) storeTile(t tlog.Tile, data []byte, mend bool) error {
	s.tileMu.Lock()
	defer s.tileMu.Unlock()
	key := s.tileKey(t)
	have, ok, err := s.state.Get(key)
	if err != nil {
		return fmt.Errorf("read stored %s: %w", t.Path(), err)
	}
	if ok && len(have) >= len(data) && (!mend || bytes.HasPrefix(have, data)) {
		return nil
	}
	if err := s.state.Set(key, data); err != nil {
		return fmt.Errorf("store %s: %w", t.Path(), err)
	}
	return nil
}

// fetchTile asks the database for a hash tile. What it returns is not
// authenticated. Concurrent requests for one tile are one.
func (s *Sumdb) fetchTile(ctx context.Context, t tlog.Tile) ([]byte, error) {
	path := t.Path()
	return s.tiles.do(ctx, path, func(ctx context.Context) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, lookupTime)
		defer cancel()
		data, err := s.remote.get(ctx, path, maxTile)
		if err == nil && len(data) != t.W*tlog.HashSize {
			err = sumdbError(ErrBadAnswer, fmt.Errorf("%s has %d bytes instead of %d", path, len(data), t.W*tlog.HashSize))
		}
		return data, err
	})
}

// within reports whether the tree of size n has the tile t, at least as wide.
func within(t tlog.Tile, n int64) bool {
	hashes := n >> (tileHeight * t.L) // on t's level
	return t.N < hashes>>tileHeight || t.N == hashes>>tileHeight && int64(t.W) <= hashes&(tileWidth-1)
}

// authenticTile returns t, which is within h's tree, after it and its parents
// were fetched in their form under h, authenticated and stored.
func (s *Sumdb) authenticTile(ctx context.Context, h *head, t tlog.Tile) ([]byte, error) {
	r := &tileReader{s: s, ctx: ctx}
	first := tlog.StoredHashIndex(tileHeight*t.L, t.N<<tileHeight)
	_, err := tlog.TileHashReader(h.tree, r).ReadHashes([]int64{first})
	switch {
	case errors.Is(r.failed, ErrNotFound): // a lost tile, not an absent one
		return nil, sumdbError(ErrUnavailable, fmt.Errorf("%s", r.failed))
	case r.failed != nil:
		return nil, r.failed
	case err != nil:
		return nil, sumdbError(ErrSecurity, fmt.Errorf("%s: %w", t.Path(), err))
	}
	data, ok, err := s.storedTile(t)
	if err == nil && !ok {
		err = fmt.Errorf("%s is not stored, though it was verified", t.Path())
	}
	return data, err
}

// tileReader is a tlog.TileReader from state, else from the database.
type tileReader struct {
	s      *Sumdb
	ctx    context.Context
	failed error // of state or database, not of authentication
}

func (r *tileReader) Height() int { return tileHeight }

func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	errs := make([]error, len(tiles))
	var wg sync.WaitGroup
	for i, t := range tiles {
		wg.Go(func() { data[i], errs[i] = r.read(t) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			r.failed = err
			return nil, err
		}
	}
	return data, nil
}

func (r *tileReader) read(t tlog.Tile) ([]byte, error) {
	if data, ok, err := r.s.storedTile(t); ok || err != nil {
		return data, err
	}
	data, err := r.s.fetchTile(r.ctx, t)
	if errors.Is(err, ErrNotFound) && t.W < tileWidth {
		// A database may keep only the full form of what is complete by now.
		full := t
		full.W = tileWidth
		if data, fullErr := r.s.fetchTile(r.ctx, full); fullErr == nil {
			return data[:t.W*tlog.HashSize], nil
		}
	}
	return data, err
}

func (r *tileReader) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	for i, t := range tiles {
		if err := r.s.storeTile(t, data[i], false); err != nil {
			r.failed = err
		}
	}
}
