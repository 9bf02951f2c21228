package blob

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"

	"registry-node/events"
)

// A File is a blob open for reading. Pass the embedded *os.File itself to
// http.ServeContent, so that the kernel copies it to the client (sendfile). It
// stays readable when the blob is removed or set aside meanwhile.
type File struct {
	*os.File
	Size int64 // in bytes, when it was opened
}

// Info is what a listing says about a blob.
type Info struct {
	Digest events.Digest
	Size   int64 // in bytes
}

// Open opens the blob d, whose bytes it does not verify; ok is false if there is
// none. The caller closes the file, and compares its size with the recorded one
// if it has that.
func (s *Store) Open(d events.Digest) (f File, ok bool, err error) {
	file, err := s.disk.root.Open(blobName(d))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return File{}, false, nil
	case err != nil:
		return File{}, false, fmt.Errorf("blob %v: %w", d, err)
	}
	fi, err := file.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file but %v", blobName(d), fi.Mode())
	}
	if err != nil {
		return File{}, false, errors.Join(fmt.Errorf("blob %v: %w", d, err), file.Close())
	}
	return File{File: file, Size: fi.Size()}, true, nil
}

// Has returns the size of the blob d in bytes; ok is false if there is none.
func (s *Store) Has(d events.Digest) (size int64, ok bool, err error) {
	if size, ok, err = s.disk.stat(blobName(d)); err != nil {
		return 0, false, fmt.Errorf("blob %v: %w", d, err)
	}
	return size, ok, nil
}

// All lists the blobs in the order of their digests. Blobs that come or go
// meanwhile may be in it or not. An error comes with a zero Info and says that a
// name below sha256 is not one of a blob, or that a directory cannot be read;
// the listing goes on after it, unless it is the cause of the end of ctx.
func (s *Store) All(ctx context.Context) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		shards, err := s.disk.names(blobsDir)
		if err != nil && !yield(Info{}, fmt.Errorf("list blobs: %w", err)) {
			return
		}
		for _, name := range shards {
			if !s.allOf(ctx, blobsDir+"/"+name, yield) {
				return
			}
		}
	}
}

// allOf lists one shard. It reports whether the listing goes on.
func (s *Store) allOf(ctx context.Context, dir string, yield func(Info, error) bool) bool {
	if _, ok := parseShard(dir[len(blobsDir)+1:]); !ok {
		return yield(Info{}, fmt.Errorf("list blobs: %s is not a shard", dir))
	}
	names, err := s.disk.names(dir)
	if err != nil && !yield(Info{}, fmt.Errorf("list blobs: %w", err)) {
		return false
	}
	for _, name := range names {
		if err := context.Cause(ctx); err != nil {
			yield(Info{}, fmt.Errorf("list blobs: %w", err))
			return false
		}
		info, ok, err := s.info(dir, name)
		if (ok || err != nil) && !yield(info, err) {
			return false
		}
	}
	return true
}

func (s *Store) info(dir, name string) (info Info, ok bool, err error) {
	d, err := events.ParseDigest("sha256:" + name)
	if err != nil || blobName(d) != dir+"/"+name {
		return Info{}, false, fmt.Errorf("list blobs: %s/%s is not the name of a blob", dir, name)
	}
	size, ok, err := s.Has(d)
	if err != nil || !ok {
		return Info{}, false, err
	}
	return Info{Digest: d, Size: size}, true, nil
}

// parseShard returns the byte that a shard's name, two lower-case hex digits,
// stands for.
func parseShard(name string) (byte, bool) {
	b, err := hex.DecodeString(name)
	if err != nil || len(b) != 1 || hex.EncodeToString(b) != name {
		return 0, false
	}
	return b[0], true
}
