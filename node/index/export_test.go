package index

import (
	"encoding/json"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"registry-node/events"
)

// Comparer and Split are the key order under test.
var (
	Comparer = comparer
	Split    = split
)

// WithFS returns options with which the index lives in fs, without a ballast.
func WithFS(fs vfs.FS) Options { return Options{fs: fs, Logger: slog.New(slog.DiscardHandler)} }

// CreateIn is Create in another file system.
func CreateIn(fs vfs.FS, dir string, registry events.Digest) error {
	return create(dir, registry, WithFS(fs))
}

// DB is the store, to break it.
func (x *Index) DB() *pebble.DB { return x.db }

// Keys of rows, to break them.
var (
	ContributionKey = contributionKey
	EntryKey        = entryKey
	BlobKey         = blobKey
)

// SetStamp changes what the index says it is.
func (x *Index) SetStamp(format, apply int) error {
	value, err := json.Marshal(stamp{format, x.stamp.Registry, apply})
	if err != nil {
		return err
	}
	return x.db.Set([]byte{spaceStamp}, value, pebble.Sync)
}

// Fatalf is what Pebble calls when it can't go on.
func (x *Index) Fatalf(format string, args ...any) { x.disk.Fatalf(format, args...) }

// BallastSize returns the size of the ballast, in bytes.
func (x *Index) BallastSize() int64 { return x.disk.ballast.size }

// SetHistory changes how many state hashes of each log are kept from now on.
func (x *Index) SetHistory(n uint64) { x.history = n }

// Flush starts to write what is in memory to a table. done is closed when it is
// written.
func (x *Index) Flush() (done <-chan struct{}, err error) {
	err = x.disk.wait(func() (err error) {
		done, err = x.db.AsyncFlush()
		return err
	})
	return done, err
}

// NewScheduler and Start make a scheduler and let it run compactions.
var NewScheduler = newScheduler

func (s *scheduler) Start() { s.start() }
