package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/time/rate"

	"registry-node/events"
)

// SetAside durably moves the blob d to aside, under the name (relative to the
// store's root) that it returns, so that the right bytes can be put in its
// place. It reads the blob once more first: one whose bytes are right stays
// where it is, because somebody may have healed it since it was found corrupt.
// Ok tells whether something was moved. Unreadable blobs are moved too.
func (s *Store) SetAside(ctx context.Context, d events.Digest) (name string, ok bool, err error) {
	f, ok, err := s.Open(d)
	if err != nil || !ok {
		return "", false, err
	}
	defer f.Close()
	got, _, err := newRehash(rate.Inf).sum(ctx, f)
	if cause := context.Cause(ctx); cause != nil {
		return "", false, fmt.Errorf("set aside blob %v: %w", d, cause)
	}
	if err == nil && got == d {
		return "", false, nil
	}
	if name, ok, err = s.asideIfStill(d, f.File); err != nil {
		return "", false, fmt.Errorf("set aside blob %v: %w", d, err)
	}
	return name, ok, nil
}

// asideIfStill moves d aside if it is still the file f.
func (s *Store) asideIfStill(d events.Digest, f *os.File) (name string, ok bool, err error) {
	sh := &s.shards[d[0]]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if err := s.Err(); err != nil {
		return "", false, err
	}
	read, err := f.Stat()
	if err != nil {
		return "", false, err
	}
	now, err := s.disk.root.Lstat(blobName(d))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(read, now) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	name, err = s.moveAside(d)
	return name, err == nil, err
}

// moveAside moves the blob d, which is there, to a free name in aside. The
// shard's mu is held, and with it all names of d in aside are this caller's. A
// crash leaves it in one of the two places; the new one is synced first, so that
// a power cut between the syncs cannot leave it in none.
func (s *Store) moveAside(d events.Digest) (name string, err error) {
	name = asideName(d)
	for n := 1; ; n++ {
		if _, err := s.disk.root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return "", err
		}
		name = fmt.Sprintf("%s.%d", asideName(d), n)
	}
	if err := s.disk.rename(blobName(d), name); err != nil {
		return "", err
	}
	if err := s.syncTop(asideDir); err != nil {
		return "", err
	}
	return name, s.disk.syncDir(shardName(d))
}

// Remove durably removes the blob d; ok is false if there is none. That nothing
// refers to it, and nobody is about to, is for the caller to know.
func (s *Store) Remove(d events.Digest) (ok bool, err error) {
	if ok, err = s.removeLocked(d); err != nil {
		return false, fmt.Errorf("remove blob %v: %w", d, err)
	}
	return ok, nil
}

func (s *Store) removeLocked(d events.Digest) (ok bool, err error) {
	sh := &s.shards[d[0]]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if err := s.Err(); err != nil {
		return false, err
	}
	if _, ok, err := s.disk.stat(blobName(d)); err != nil || !ok {
		return false, err
	}
	if err := s.disk.remove(blobName(d)); err != nil {
		return false, err
	}
	if err := s.disk.syncDir(shardName(d)); err != nil {
		return false, err
	}
	return true, nil
}

// Erase durably removes the blob d and all that was set aside of it; ok is false
// if there was nothing. What is open is read to its end by who opened it.
func (s *Store) Erase(d events.Digest) (ok bool, err error) {
	if ok, err = s.eraseLocked(d); err != nil {
		return false, fmt.Errorf("erase blob %v: %w", d, err)
	}
	return ok, nil
}

func (s *Store) eraseLocked(d events.Digest) (ok bool, err error) {
	if ok, err = s.removeLocked(d); err != nil {
		return ok, err
	}
	sh := &s.shards[d[0]]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	names, err := s.disk.names(asideDir)
	if err != nil {
		return ok, err
	}
	erased := false
	for _, name := range names {
		if name != d.Hex() && !strings.HasPrefix(name, d.Hex()+".") {
			continue
		}
		if err := s.disk.remove(asideDir + "/" + name); err != nil {
			return ok, err
		}
		erased = true
	}
	if erased {
		err = s.disk.syncDir(asideDir)
	}
	return ok || erased, err
}
