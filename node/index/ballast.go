package index

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	minBallast  = 8 << 20
	maxBallast  = 64 << 20
	ballastName = "ballast"
)

// A ballast is a file that holds room on the disk, to be given up when the disk
// is full. The zero ballast holds none.
type ballast struct {
	path string
	size int64 // bytes: 2 % of the file system, within bounds
}

// newBallast returns the ballast of the index in dir, which it does not make.
func newBallast(dir string) (ballast, error) {
	use, err := vfs.Default.GetDiskUsage(dir)
	if err != nil {
		return ballast{}, fmt.Errorf("size of the file system of %s: %w", dir, err)
	}
	size := min(max(int64(use.TotalBytes/50), minBallast), maxBallast)
	return ballast{filepath.Join(dir, ballastName), size}, nil
}

// held reports whether the ballast is there, whole.
func (b ballast) held() bool {
	if b.path == "" {
		return true
	}
	info, err := os.Stat(b.path)
	return err == nil && info.Size() == b.size
}

// release gives the room up and reports whether there was any. If the process
// dies on the way, the file is gone or it is not; both are states to start from.
func (b ballast) release() bool {
	return b.path != "" && os.Remove(b.path) == nil
}

// fill makes the ballast if that leaves as much room again. It fails with
// ErrFull if it doesn't.
func (b ballast) fill() error {
	if b.held() {
		return nil
	}
	if err := os.Remove(b.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove what is left of the ballast: %w", err)
	}
	use, err := vfs.Default.GetDiskUsage(filepath.Dir(b.path))
	if err != nil {
		return fmt.Errorf("room for the ballast %s: %w", b.path, err)
	}
	if int64(use.AvailBytes) < 2*b.size {
		return fmt.Errorf("%w: %d bytes are free, and %d are needed", ErrFull, use.AvailBytes, 2*b.size)
	}
	f, err := os.OpenFile(b.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make the ballast: %w", err)
	}
	if err := errors.Join(allocate(f, b.size), f.Sync(), f.Close()); err != nil {
		b.release()
		return fmt.Errorf("make the ballast %s: %w", b.path, err)
	}
	return nil
}

// allocate makes f size bytes long, with room on the disk behind every byte.
func allocate(f *os.File, size int64) error {
	if err := fallocate(f, size); err == nil || noRoom(err) {
		return err
	}
	return writeNoise(f, size)
}

// writeNoise writes size bytes that no file system can make smaller.
func writeNoise(f *os.File, size int64) error {
	_, err := io.CopyN(f, rand.NewChaCha8([32]byte{}), size)
	return err
}
