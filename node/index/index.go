package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"registry-node/events"
)

const (
	// format is the number of the key and value layout in the package comment.
	format = 1
	// applyVersion is raised when events.Apply, or what is derived from it here,
	// gives another result for the same log.
	applyVersion = 1

	// HashHistory is how many state hashes of each log are kept, the last ones.
	HashHistory = 100_000
)

var (
	// ErrNotIndex is the error of Open for a directory that holds no index: it
	// isn't there, is empty, or holds something else.
	ErrNotIndex = errors.New("not an index")
	// ErrExists is the error of Create where something is already.
	ErrExists = errors.New("exists already")
	// ErrFormat is the error of Open for an index of a layout that this version
	// doesn't know.
	ErrFormat = errors.New("unknown index format")
	// ErrApplyVersion is the error of Open for an index that another version of
	// this code folded: it must be made again from the logs. See
	// Options.AnyApplyVersion.
	ErrApplyVersion = errors.New("index was folded by another version")
	// ErrCorrupt is the error of whatever meets data on disk that is not what was
	// written.
	ErrCorrupt = errors.New("index is corrupt")
	// ErrFull refuses writes since a write met a full disk. Nothing of a refused
	// write is done. See Index.Refill.
	ErrFull = errors.New("the disk of the index is full")
	// ErrStopped refuses writes for good since one failed. What became of the
	// write that met it first is known only when the index is opened again.
	ErrStopped = errors.New("index writes no more until it is opened again")
	// ErrTwoWriters is the error of Commit if the log has got another entry since
	// Begin: two of its writers run at once. Nothing of the commit is done.
	ErrTwoWriters = errors.New("the log moved under its writer")
	// ErrKept refuses to apply an entry to a log that has entries which could not
	// be applied: they come first. See Txn.Keep and Index.ApplyKept.
	ErrKept = errors.New("the log has entries that wait to be applied")
)

// Options change how an index is opened. The zero Options are right for a node.
type Options struct {
	// Logger hears of faults; slog.Default if nil.
	Logger *slog.Logger
	// CacheBytes bounds the cache of blocks read from disk; 32 MiB if 0.
	CacheBytes int64
	// AnyApplyVersion opens an index that another version of this code folded, so
	// that its entries can be read into a new one. Its records say what that
	// version made of them, and Begin's transactions refuse to commit.
	AnyApplyVersion bool
	// Bulk is for folding a whole log into a new index, by one goroutine: it
	// takes more memory, and what is committed is durable only after a synced
	// commit that follows.
	Bulk bool

	fs vfs.FS // for tests; without a ballast
}

// Index is an open index. Its methods may be called from any goroutine; reads
// share no lock with writes. Close must come after all else.
type Index struct {
	db      *pebble.DB
	disk    *disk
	dir     string
	stamp   stamp
	history uint64 // HashHistory, less in tests
	bulk    bool   // see Options.Bulk; there is no write-ahead log then
	// written are the keys of the contributions that a bulk index has, so that it
	// needn't look for those it can't have; nil if it had some when it was opened.
	written     *keyFilter
	generations *generations

	// refs is held for reading while a log's commit is written, and by Rewind from
	// its look at the references of other logs to its own write. It is taken behind
	// siteLog.mu.
	refs sync.RWMutex

	// local is held for reading while local state is written, and by Succeed.
	local sync.RWMutex
	next  *Index // guarded by local; the index that took the place of this one, or nil

	mu   sync.Mutex
	logs map[events.Site]*siteLog // guarded by mu; made when first written to
}

// stamp is the row that says what an index is.
type stamp struct {
	Format   int           `json:"format"`
	Registry events.Digest `json:"registry"`
	Apply    int           `json:"apply"`
}

// Create makes an empty index for a registry in dir, durably, and its ballast.
// The directory above must be there; dir may be, if it is empty, else it fails
// with ErrExists. The index is made beside dir and gets its name when it is
// whole, so one that was cut short is not there, and what it left goes next time.
func Create(dir string, registry events.Digest) error {
	return create(dir, registry, Options{})
}

func create(dir string, registry events.Digest, opts Options) error {
	if registry.IsZero() {
		return fmt.Errorf("create index %s: no registry id", dir)
	}
	under := opts.under()
	names, err := under.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("create index %s: %w", dir, err)
	}
	if len(names) > 0 {
		return fmt.Errorf("create index %s: it %w", dir, ErrExists)
	}
	made := dir + ".new"
	if err := under.RemoveAll(made); err != nil {
		return fmt.Errorf("create index %s: %w", dir, err)
	}
	if err := fillNew(made, registry, opts); err != nil {
		return fmt.Errorf("create index %s: %w", dir, err)
	}
	if err := moveInto(under, made, dir); err != nil {
		return fmt.Errorf("create index %s: %w", dir, err)
	}
	return nil
}

// fillNew makes an index in a directory that isn't there, and closes it.
func fillNew(dir string, registry events.Digest, opts Options) error {
	if err := opts.under().MkdirAll(dir, 0o700); err != nil {
		return err
	}
	db, d, err := openStore(dir, opts, true)
	if err != nil {
		return err
	}
	value, err := json.Marshal(stamp{format, registry, applyVersion})
	if err == nil {
		err = db.Set([]byte{spaceStamp}, value, pebble.Sync)
	}
	if err == nil {
		err = d.ballast.fill()
	}
	return errors.Join(err, db.Close())
}

// moveInto gives the directory made the name dir, which is free or that of an
// empty directory, durably.
func moveInto(under vfs.FS, made, dir string) error {
	if err := under.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := under.Rename(made, dir); err != nil {
		return err
	}
	parent, err := under.OpenDir(under.PathDir(dir))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// Open opens the index in dir; it never makes one. It fails with ErrNotIndex,
// ErrFormat, ErrApplyVersion, ErrCorrupt, or an error of the disk.
func Open(dir string, opts Options) (*Index, error) {
	x, err := open(dir, opts)
	if err != nil {
		return nil, fmt.Errorf("open index %s: %w", dir, err)
	}
	return x, nil
}

func open(dir string, opts Options) (*Index, error) {
	desc, err := pebble.Peek(dir, opts.under())
	if errors.Is(err, fs.ErrNotExist) || err == nil && !desc.Exists {
		return nil, ErrNotIndex
	}
	if err != nil {
		return nil, corrupt(err)
	}
	db, d, err := openStore(dir, opts, false)
	if err != nil {
		return nil, corrupt(err)
	}
	x := &Index{
		db: db, disk: d, dir: dir, history: HashHistory, bulk: opts.Bulk,
		generations: &generations{seed: maphash.MakeSeed()},
		logs:        map[events.Site]*siteLog{},
	}
	if err := x.readStamp(opts.AnyApplyVersion); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if heads, err := x.Heads(); err == nil && len(heads) == 0 && opts.Bulk {
		x.written = newKeyFilter()
	}
	if err := d.ballast.fill(); err != nil {
		d.full.Store(true)
		d.log.Error("disk full", "at", "open", "err", err)
	}
	d.opened()
	return x, nil
}

func (x *Index) readStamp(anyApply bool) error {
	value, ok, err := x.get([]byte{spaceStamp})
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%w: a store without the stamp of one", ErrNotIndex)
	}
	if err := json.Unmarshal(value, &x.stamp); err != nil {
		return fmt.Errorf("%w: stamp %q: %w", ErrCorrupt, value, err)
	}
	if x.stamp.Format != format {
		return fmt.Errorf("%w: it has format %d, this version knows %d", ErrFormat, x.stamp.Format, format)
	}
	if x.stamp.Apply != applyVersion && !anyApply {
		return fmt.Errorf("%w: apply version %d, this is %d", ErrApplyVersion, x.stamp.Apply, applyVersion)
	}
	return nil
}

// openStore opens the Pebble store in dir, or makes it. The disk is still one
// that is being opened.
func openStore(dir string, opts Options, creating bool) (*pebble.DB, *disk, error) {
	log := opts.Logger
	if log == nil {
		log = slog.Default()
	}
	var b ballast
	if opts.fs == nil {
		var err error
		if b, err = newBallast(dir); err != nil {
			return nil, nil, err
		}
	}
	d := newDisk(opts.under(), b, log.With("index", dir))
	o := storeOptions(d, opts.CacheBytes, creating)
	if opts.Bulk {
		forBulk(o)
	}
	db, err := pebble.Open(dir, o)
	if err == nil && d.stopped() != nil {
		err = errors.Join(d.stopped(), db.Close())
	}
	if err != nil {
		d.abandon(err)
		return nil, nil, err
	}
	return db, d, nil
}

// under returns the file system that the index lives in.
func (o Options) under() vfs.FS {
	if o.fs != nil {
		return o.fs
	}
	return vfs.Default
}

const (
	defaultCache = 32 << 20
	memTable     = 16 << 20
	openTables   = 256
	dataBlock    = 16 << 10
	indexBlock   = 128 << 10 // large enough that most tables need no index of their index
)

// storeOptions bounds what Pebble keeps in memory: the cache, two memtables and
// a recycled one, and the open tables with what they keep of their metadata.
func storeOptions(d *disk, cache int64, creating bool) *pebble.Options {
	if cache <= 0 {
		cache = defaultCache
	}
	o := &pebble.Options{
		FS: d, Logger: d,
		Comparer: comparer,
		// Not FormatNewest: that may change with Pebble, and there is no way back.
		FormatMajorVersion: pebble.FormatTableFormatV6,
		ErrorIfNotExists:   !creating,
		CacheSize:          cache,
		MemTableSize:       memTable,
		MaxOpenFiles:       openTables,
		// What Bulk leaves to be merged must not hold up writes.
		L0StopWritesThreshold: 1 << 20,
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { d.log.Error("index background work failed", "err", err) },
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				d.fail(fmt.Errorf("%w: file %s: %w", ErrCorrupt, info.Path, info.Details))
			},
		},
	}
	o.Experimental.CompactionScheduler = d.scheduler
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].BlockSize = dataBlock
		o.Levels[i].IndexBlockSize = indexBlock
	}
	return o
}

// Close ends all use of the index. It writes out what commits without sync left
// in memory. If the index has stopped it only says so: its files stay locked
// until the process ends.
func (x *Index) Close() error {
	if err := x.disk.stopped(); err != nil {
		return err
	}
	if err := x.disk.wait(x.db.Close); err != nil {
		return fmt.Errorf("close index %s: %w", x.dir, err)
	}
	return nil
}

// Registry returns the id of the registry that the index belongs to.
func (x *Index) Registry() events.Digest { return x.stamp.Registry }

// Err returns why the index writes no more, or nil. It wraps ErrStopped, and
// ErrCorrupt if that is why.
func (x *Index) Err() error { return x.disk.stopped() }

// Full reports whether writes are refused because the disk was full.
func (x *Index) Full() bool { return x.disk.full.Load() }

// Refill makes the ballast again if there is room for twice its size, and lets
// writes in again. While there is none it fails with ErrFull. The caller runs it
// now and then while Full; it costs two system calls.
func (x *Index) Refill() error {
	if err := x.disk.stopped(); err != nil {
		return err
	}
	if err := x.disk.ballast.fill(); err != nil {
		return fmt.Errorf("index %s: %w", x.dir, err)
	}
	if x.disk.full.Swap(false) {
		x.disk.log.Info("disk has room again")
	}
	return nil
}

// Sync makes all that was committed before durable.
func (x *Index) Sync() error {
	b := x.db.NewBatch()
	return errors.Join(b.LogData(nil, nil), x.write(b, true))
}

// write commits a batch and closes it.
func (x *Index) write(b *pebble.Batch, sync bool) error {
	if err := x.disk.admit(); err != nil {
		return errors.Join(err, b.Close())
	}
	opt := pebble.NoSync
	if sync && !x.bulk {
		opt = pebble.Sync
	}
	return x.disk.wait(func() error {
		err := errors.Join(b.Commit(opt), b.Close())
		if err == nil && sync && x.bulk {
			err = x.db.Flush()
		}
		return err
	})
}

// corrupt marks errors that come from corrupt files.
func corrupt(err error) error {
	if err != nil && pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}
