//go:build unix

package blob_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"registry-node/node/blob"
)

// A full disk or quota is told apart from other faults wherever it shows, and
// only when it shows at an fsync is the store unhealthy.
func TestNoSpaceIsRecognised(t *testing.T) {
	b, d := content(1, 100)
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO} {
		for _, at := range []string{"create tmp/", "write tmp/", "mkdir sha256/", "rename sha256/", "sync tmp/"} {
			t.Run(errno.Error()+"/"+strings.TrimRight(at, "/"), func(t *testing.T) {
				dir := newDir(t)
				s := openStore(t, dir, func(call, name string, do func() error) error {
					if strings.HasPrefix(call+" "+name, at) {
						return errno
					}
					return do()
				})
				err := s.Put(t.Context(), d, 100, bytes.NewReader(b))
				if !errors.Is(err, errno) || errors.Is(err, blob.ErrNoSpace) != (errno != syscall.EIO) {
					t.Errorf("Put = %v", err)
				}
				if unhealthy := s.Err() != nil; unhealthy != (at == "sync tmp/") {
					t.Errorf("Err = %v", s.Err())
				}
				checkTree(t, dir, nil)
			})
		}
	}
}

// The disk gets full in the middle of a blob, is read meanwhile, and takes
// blobs again when there is room.
func fillDisk(t *testing.T, dir string) {
	s := openStore(t, dir, nil)
	small, _ := content(1, 10_000)
	d := put(t, s, small)
	large, e := content(2, 4<<20)
	for range 3 { // whatever a failure left would add up
		err := s.Put(t.Context(), e, int64(len(large)), struct{ io.Reader }{bytes.NewReader(large)})
		if !errors.Is(err, blob.ErrNoSpace) {
			t.Fatalf("Put of more than there is room for = %v, want ErrNoSpace", err)
		}
		checkTree(t, dir, map[string][]byte{blobPath(d): small})
	}
	if s.Err() != nil {
		t.Errorf("store is unhealthy: %v", s.Err())
	}
	if ok, err := s.Verify(t.Context(), d); !ok || err != nil {
		t.Errorf("Verify on a full disk = %v, %v", ok, err)
	}
	// Without the room of the failed writes this one would fail too.
	fits, f := content(3, 600_000)
	put(t, s, fits)
	checkTree(t, dir, map[string][]byte{blobPath(d): small, blobPath(f): fits})
}
