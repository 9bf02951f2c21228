package blob

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"registry-node/events"
)

const (
	blobsDir = "sha256"
	tmpDir   = "tmp"
	asideDir = "aside"
)

var layout = []string{blobsDir, tmpDir, asideDir}

// A Store is a blob store in a directory. Its methods may be called by many
// goroutines at once.
type Store struct {
	disk *disk

	shards [256]shard // by the first byte of the digest

	// topMu keeps the syncs of sha256 and of aside apart; taken after a
	// shard's mu.
	topMu sync.Mutex
}

// A shard is one directory below sha256.
type shard struct {
	// mu guards made and is held while blobs of the shard come, go or move and
	// the directory is synced. Readers never take it.
	mu   sync.Mutex
	made bool // the directory exists, durably
}

func shardName(d events.Digest) string { return blobsDir + "/" + d.Hex()[:2] }
func blobName(d events.Digest) string  { return shardName(d) + "/" + d.Hex() }
func asideName(d events.Digest) string { return asideDir + "/" + d.Hex() }

// Create durably makes an empty blob store in dir, whose parent must exist; dir
// itself may exist if it is empty. Where a store is already, or part of one that
// an earlier Create could not finish, Create completes it and keeps its blobs. A
// directory that holds something else is refused.
func Create(dir string) error { return create(dir, nil) }

func create(dir string, h hook) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("create blob store %s: %w", dir, err)
	}
	parent, err := openDisk(filepath.Dir(abs), h)
	if err != nil {
		return fmt.Errorf("create blob store %s: %w", dir, err)
	}
	defer parent.root.Close()
	if err := parent.mkdir(filepath.Base(abs)); err != nil {
		return fmt.Errorf("create blob store %s: %w", dir, err)
	}
	if err := createLayout(abs, h); err != nil {
		return fmt.Errorf("create blob store %s: %w", dir, err)
	}
	if err := parent.syncDir("."); err != nil {
		return fmt.Errorf("create blob store %s: parent: %w", dir, err)
	}
	return nil
}

func createLayout(dir string, h hook) error {
	d, err := openDisk(dir, h)
	if err != nil {
		return err
	}
	defer d.root.Close()
	if err := d.checkVacant(); err != nil {
		return err
	}
	for _, name := range layout {
		if err := d.mkdir(name); err != nil {
			return err
		}
		if err := d.syncDir(name); err != nil {
			return err
		}
	}
	return d.syncDir(".")
}

// checkVacant refuses a directory that is neither a store nor free to become
// one. The lost+found of a new volume is no obstacle.
func (d *disk) checkVacant() error {
	if d.checkLayout() == nil {
		return nil
	}
	names, err := d.names(".")
	if err != nil {
		return err
	}
	for _, name := range names {
		if name != "lost+found" && !slices.Contains(layout, name) {
			return fmt.Errorf("directory is neither empty nor a blob store: it holds %q", name)
		}
	}
	return nil
}

func (d *disk) checkLayout() error {
	for _, name := range layout {
		if fi, err := d.root.Lstat(name); err != nil {
			return fmt.Errorf("not a blob store: %w", err)
		} else if !fi.IsDir() {
			return fmt.Errorf("not a blob store: %s is not a directory", name)
		}
	}
	return nil
}

// Open opens the store in dir and never makes one: a directory without a
// store, such as a volume that is not mounted, is an error. It removes what
// crashes left in tmp and syncs all shards. The caller sees to it that no other
// process has the store open.
func Open(dir string) (*Store, error) { return open(dir, nil) }

func open(dir string, h hook) (*Store, error) {
	d, err := openDisk(dir, h)
	if err != nil {
		return nil, fmt.Errorf("open blob store %s: %w", dir, err)
	}
	s := &Store{disk: d}
	if err := s.sweep(); err != nil {
		d.root.Close()
		return nil, fmt.Errorf("open blob store %s: %w", dir, err)
	}
	return s, nil
}

// sweep brings the store from whatever state a crash left to that of a clean end.
func (s *Store) sweep() error {
	if err := s.disk.checkLayout(); err != nil {
		return err
	}
	stages, err := s.disk.names(tmpDir)
	if err != nil {
		return err
	}
	for _, name := range stages {
		if err := s.disk.remove(tmpDir + "/" + name); err != nil {
			return err
		}
	}
	return s.syncShards()
}

// syncShards makes durable whatever a killed process left between a rename and
// the fsync after it.
func (s *Store) syncShards() error {
	if err := s.disk.syncDir(blobsDir); err != nil {
		return err
	}
	names, err := s.disk.names(blobsDir)
	if err != nil {
		return err
	}
	for _, name := range names {
		i, ok := parseShard(name)
		if !ok {
			continue // All reports it
		}
		if err := s.disk.syncDir(blobsDir + "/" + name); err != nil {
			return err
		}
		s.shards[i].made = true
	}
	return nil
}

// Close closes the store. Stages and iterations must have ended; files that
// Open returned stay open.
func (s *Store) Close() error { return s.disk.root.Close() }

// Err returns nil, or the first failure of an fsync since the store was opened,
// which is an [ErrUnhealthy]: from then on nothing is written any more.
func (s *Store) Err() error { return s.disk.err() }
