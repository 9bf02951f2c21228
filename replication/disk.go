package replication

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// probeBytes is what a disk must take beyond the entry before the log is taken
// up again: the server writes files of its own when it starts.
const probeBytes = 64 << 10

const probePrefix = ".probe-"

// probe returns nil when dir takes a durable write of need bytes and some more.
func probe(dir string, need int) error {
	f, err := os.CreateTemp(dir, probePrefix)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(make([]byte, need+probeBytes))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// removeProbes removes what a process that died while probing left.
func removeProbes(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, probePrefix+"*"))
	for _, name := range left {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// writeSynced writes a file and syncs it, not its directory.
func writeSynced(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncFile syncs a file that may have been written by another process.
func syncFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncStream syncs a stream's message blocks, and all directories from them up to
// dir, in which the server runs.
func syncStream(dir, name string) error {
	stream := filepath.Join(streamsDir, name)
	err := filepath.WalkDir(filepath.Join(dir, stream), func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // the server's own temporary files come and go
		case err != nil:
			return err
		case d.IsDir():
			return syncDir(name)
		case strings.HasSuffix(name, ".blk"):
			return syncFile(name)
		}
		return nil
	})
	for up := stream; err == nil && up != "."; {
		up = filepath.Dir(up)
		err = syncDir(filepath.Join(dir, up))
	}
	return err
}

// syncTail syncs the newest blocks of a messages directory, if there is one, and
// the directory. Older blocks were synced before the next one was begun.
func syncTail(msgs string) error {
	newest, err := newestBlock(msgs)
	if err != nil {
		return err
	}
	for n := newest; n > 0 && n+2 > newest; n-- {
		if err := syncFile(blockName(msgs, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if newest == 0 {
		return nil
	}
	return syncDir(msgs)
}

// blocks follows the files that a stream's messages go to. JetStream syncs each
// message into its file but never the directory when it begins a new file, and
// a file whose name is not durable is lost with all that it holds.
type blocks struct {
	dir    string
	newest int // number of the newest block whose name is durable
}

// openBlocks returns the blocks of a messages directory whose names are durable.
func openBlocks(dir string) (blocks, error) {
	newest, err := newestBlock(dir)
	if err == nil && newest > 0 {
		err = syncDir(dir)
	}
	return blocks{dir: dir, newest: newest}, err
}

// settle makes durable the name of every block that has been begun. It costs one
// stat when there is none.
func (b *blocks) settle() error {
	n := b.newest
	for {
		if _, err := os.Lstat(blockName(b.dir, n+1)); err != nil {
			break
		}
		n++
	}
	if n == b.newest {
		return nil
	}
	if err := syncDir(b.dir); err != nil {
		return fmt.Errorf("sync %s: %w", b.dir, err)
	}
	b.newest = n
	return nil
}

func blockName(dir string, n int) string {
	return filepath.Join(dir, strconv.Itoa(n)+".blk")
}

// newestBlock returns the highest block number in a messages directory, or 0.
func newestBlock(dir string) (int, error) {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	newest := 0
	for _, f := range files {
		if n, err := strconv.Atoi(strings.TrimSuffix(f.Name(), ".blk")); err == nil {
			newest = max(newest, n)
		}
	}
	return newest, nil
}
