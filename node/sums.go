package node

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"

	"registry-node/events"
)

// Sums are the checksums of a file. SHA1 and MD5 prove nothing to anybody: they are
// for clients that compare files by them, such as the JFrog CLI. They are in no log;
// each node computes them from bytes that it holds, once.
type Sums struct {
	SHA256 events.Digest
	SHA1   [sha1.Size]byte
	MD5    [md5.Size]byte
}

const (
	sumsSpace = "sums" // of local state: SHA-1 and MD5 by SHA-256
	sumsBytes = sha1.Size + md5.Size
	sumsSlots = 1 << 12
)

// sumsOfBytes returns the checksums of a small file.
func sumsOfBytes(b []byte) Sums {
	return Sums{events.DigestOf(b), sha1.Sum(b), md5.Sum(b)}
}

// fileSums are the checksums that blobs were found to have.
type fileSums struct {
	known     *table[events.Digest, Sums]
	computing *flights[events.Digest, Sums]
}

func newFileSums(l *life) *fileSums {
	return &fileSums{newTable[events.Digest, Sums](sumsSlots), newFlights[events.Digest, Sums](l.ctx, &l.wg)}
}

// sumsOf returns the checksums of a blob; ok is false if its bytes are not here. It
// fetches nothing.
func (n *Node) sumsOf(ctx context.Context, b events.Blob) (s Sums, ok bool, err error) {
	if s, ok := n.sums.known.get(b.Digest); ok {
		return s, true, nil
	}
	row, _, err := n.index.Load().Local(sumsSpace).Get(b.Digest.Hex())
	if err != nil {
		return s, false, fmt.Errorf("index: %w", err)
	}
	if s, ok = readSums(b.Digest, row); ok {
		n.sums.known.put(b.Digest, s)
		return s, true, nil
	}
	if !n.blobs.held(b) {
		return s, false, nil
	}
	s, err = n.sums.computing.do(ctx, b.Digest, func(ctx context.Context) (Sums, error) { return n.computeSums(ctx, b) })
	if errors.Is(err, errNotThere) {
		return s, false, nil
	}
	return s, err == nil, err
}

func readSums(d events.Digest, row []byte) (s Sums, ok bool) {
	if len(row) != sumsBytes {
		return s, false
	}
	s.SHA256 = d
	copy(s.SHA1[:], row)
	copy(s.MD5[:], row[sha1.Size:])
	return s, true
}

// computeSums reads a blob through and remembers what it is. It fails with
// errNotThere if it is not here, or not what it should be.
func (n *Node) computeSums(ctx context.Context, b events.Blob) (s Sums, err error) {
	f, ok, err := n.blobs.open(ctx, b)
	switch {
	case err != nil:
		return s, fmt.Errorf("blob %v: %w", b.Digest, err)
	case !ok:
		return s, errNotThere
	}
	defer f.Close()
	one, other := sha1.New(), md5.New()
	if _, err := io.Copy(io.MultiWriter(one, other), io.NewSectionReader(f, 0, f.Size)); err != nil {
		return s, fmt.Errorf("blob %v: %w", b.Digest, err)
	}
	row := other.Sum(one.Sum(nil))
	s, _ = readSums(b.Digest, row)
	n.sums.known.put(b.Digest, s)
	return s, n.spare(sumsSpace, b.Digest.Hex(), row)
}

// forgetSums forgets the checksums of a blob that has been removed. It is not to fail
// where the disk is full: then a few bytes are left.
func (n *Node) forgetSums(d events.Digest) {
	if err := n.index.Load().Local(sumsSpace).Delete(d.Hex()); err != nil {
		n.logger.Warn("the checksums of a blob that was removed are left", "digest", d, "error", err)
	}
}
