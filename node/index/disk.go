package index

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A disk is the file system that Pebble writes to. It keeps errors of writing
// away from Pebble, which would end the process for some (WAL, MANIFEST) and try
// others again at once and for ever (flush, compaction):
//
//   - No room: the ballast gives way and the write is done again; if there is
//     still no room it waits. New commits are refused by then, see admit.
//   - Any other error: the disk stops, see fail. The goroutine that met the error
//     and every other that wants to write from now on are parked for good. So
//     what is on the disk is what a crash at this moment would leave, and no code
//     of Pebble runs that was written for a process about to exit.
//
// While the index is being opened nothing depends on it yet, so errors are
// passed on and become those of Open.
type disk struct {
	vfs.FS
	log       *slog.Logger
	ballast   ballast
	scheduler *scheduler
	opening   atomic.Bool
	full      atomic.Bool   // a write met a full disk, and Refill has not run since
	broken    atomic.Bool   // Pebble's own state is wrong: nothing can be read either
	dead      chan struct{} // closed when the disk stops

	mu  sync.Mutex
	err error // why it stopped; set before dead is closed
}

func newDisk(under vfs.FS, b ballast, log *slog.Logger) *disk {
	d := &disk{FS: under, log: log, ballast: b, scheduler: newScheduler(), dead: make(chan struct{})}
	d.opening.Store(true)
	return d
}

// opened ends the time in which errors are passed on.
func (d *disk) opened() {
	d.opening.Store(false)
	d.scheduler.start()
}

// abandon stops a disk that could not be opened: Pebble may have left goroutines
// that still tidy up, and the directory is no longer locked against others.
func (d *disk) abandon(err error) {
	d.opening.Store(false)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = err
		close(d.dead)
	}
}

const (
	// patience is how long a commit waits for room on a full disk before the
	// disk is stopped: what became of the commit would be unknown for longer.
	patience = 2 * time.Second
	// roomPoll is how often a write looks for room on a full disk.
	roomPoll = 100 * time.Millisecond
)

// fail stops the disk because of err, and returns the error it stopped with
// first.
func (d *disk) fail(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = fmt.Errorf("%w: %w", ErrStopped, err)
		close(d.dead)
		d.log.Error("index stopped", "err", err)
	}
	return d.err
}

// stopped returns why the disk stopped, or nil.
func (d *disk) stopped() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// admit reports why no new write may start.
func (d *disk) admit() error {
	if err := d.stopped(); err != nil {
		return err
	}
	if d.full.Load() {
		return ErrFull
	}
	return nil
}

// wait runs op, a call into Pebble that may write, and returns what it returns.
// If the disk stops first, op's goroutine is given up with all others.
func (d *disk) wait(op func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- d.fail(fmt.Errorf("pebble: %v", p))
			}
		}()
		done <- op()
	}()
	tick := time.NewTimer(patience)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-d.dead:
			return d.stopped()
		case <-tick.C:
			if d.full.Load() {
				return d.fail(fmt.Errorf("the disk is full, and no room came for %v", patience))
			}
			tick.Reset(patience)
		}
	}
}

// do runs op, one operation that changes the disk, until it succeeds. It returns
// an error only while the index is being opened.
func (d *disk) do(what string, op func() error) error {
	for {
		select {
		case <-d.dead:
			if d.opening.Load() {
				return d.stopped()
			}
			select {} // parked
		default:
		}
		err := op()
		switch {
		case err == nil:
			return nil
		case noRoom(err):
			gave := d.makeRoom(what, err)
			if !gave && d.opening.Load() {
				return err
			}
			if !gave {
				d.pause()
			}
		case d.opening.Load():
			return err
		default:
			d.fail(fmt.Errorf("%s: %w", what, err))
		}
	}
}

// doOnce is do for what must not be done again after an error: after a failed
// fsync the next one succeeds although the data is lost.
func (d *disk) doOnce(what string, op func() error) error {
	return d.do(what, func() error {
		err := op()
		if noRoom(err) {
			err = fmt.Errorf("%v", err) // not one to try again
		}
		return err
	})
}

// noRoom reports whether err says that there is no room on the disk. Only what
// the system says counts.
func noRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// makeRoom notes that the disk is full and lets the ballast go. It reports
// whether there was any to let go.
func (d *disk) makeRoom(what string, err error) bool {
	gave := d.ballast.release()
	if first := !d.full.Swap(true); first || gave {
		d.log.Error("disk full", "at", what, "err", err, "ballast_released", gave)
	}
	return gave
}

// pause waits a little for room, or for the disk to stop.
func (d *disk) pause() {
	t := time.NewTimer(roomPoll)
	defer t.Stop()
	select {
	case <-t.C:
	case <-d.dead:
	}
}

// Fatalf is called by Pebble for what it can't go on after: a table that is
// gone, a broken invariant. It returns, unlike what Pebble asks for, but after
// it nothing reaches the disk and nothing that is read is believed.
func (d *disk) Fatalf(format string, args ...any) {
	d.broken.Store(true)
	d.fail(fmt.Errorf("pebble: %s", fmt.Sprintf(format, args...)))
}

// Infof is called by Pebble.
func (d *disk) Infof(format string, args ...any) { d.log.Debug(fmt.Sprintf(format, args...)) }

// Errorf is called by Pebble.
func (d *disk) Errorf(format string, args ...any) { d.log.Error(fmt.Sprintf(format, args...)) }

// Unwrap returns the file system below.
func (d *disk) Unwrap() vfs.FS { return d.FS }

// doFile is do for what makes a file that is written to.
func (d *disk) doFile(what, name string, op func() (vfs.File, error)) (f vfs.File, err error) {
	err = d.do(what+" "+name, func() error {
		f, err = op()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &diskFile{f, d, name}, nil
}

// Create implements vfs.FS.
func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.doFile("create", name, func() (vfs.File, error) { return d.FS.Create(name, c) })
}

// OpenReadWrite implements vfs.FS.
func (d *disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return d.doFile("open", name, func() (vfs.File, error) { return d.FS.OpenReadWrite(name, c, o...) })
}

// ReuseForWrite implements vfs.FS.
func (d *disk) ReuseForWrite(oldname, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.doFile("reuse", name, func() (vfs.File, error) { return d.FS.ReuseForWrite(oldname, name, c) })
}

// OpenDir implements vfs.FS. Directories are opened to be synced.
func (d *disk) OpenDir(name string) (vfs.File, error) {
	return d.doFile("open", name, func() (vfs.File, error) { return d.FS.OpenDir(name) })
}

// Link implements vfs.FS.
func (d *disk) Link(oldname, newname string) error {
	return d.do("link "+newname, func() error { return d.FS.Link(oldname, newname) })
}

// Rename implements vfs.FS.
func (d *disk) Rename(oldname, newname string) error {
	return d.do("rename to "+newname, func() error { return d.FS.Rename(oldname, newname) })
}

// Remove implements vfs.FS. What is gone already is an answer, not a fault.
func (d *disk) Remove(name string) (gone error) {
	err := d.do("remove "+name, func() error {
		gone = nil
		err := d.FS.Remove(name)
		if errors.Is(err, fs.ErrNotExist) {
			gone, err = err, nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return gone
}

// RemoveAll implements vfs.FS.
func (d *disk) RemoveAll(name string) error {
	return d.do("remove "+name, func() error { return d.FS.RemoveAll(name) })
}

// MkdirAll implements vfs.FS.
func (d *disk) MkdirAll(dir string, perm os.FileMode) error {
	return d.do("make "+dir, func() error { return d.FS.MkdirAll(dir, perm) })
}

// Lock implements vfs.FS. Pebble locks only while it opens.
func (d *disk) Lock(name string) (io.Closer, error) { return d.FS.Lock(name) }

// A diskFile is a file or directory that is written to or synced.
type diskFile struct {
	vfs.File
	d    *disk
	name string
}

// Write implements vfs.File. What a full disk cut short goes on where it ended.
func (f *diskFile) Write(p []byte) (n int, err error) {
	err = f.d.do("write "+f.name, func() error {
		m, err := f.File.Write(p[n:])
		n += m
		return err
	})
	return n, err
}

// WriteAt implements vfs.File.
func (f *diskFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.d.do("write "+f.name, func() error {
		m, err := f.File.WriteAt(p[n:], off+int64(n))
		n += m
		return err
	})
	return n, err
}

// Preallocate implements vfs.File. It only makes later writes cheaper, so that
// it failed says nothing.
func (f *diskFile) Preallocate(offset, length int64) error {
	_ = f.File.Preallocate(offset, length)
	return nil
}

// Sync implements vfs.File.
func (f *diskFile) Sync() error { return f.d.doOnce("sync "+f.name, f.File.Sync) }

// SyncData implements vfs.File.
func (f *diskFile) SyncData() error { return f.d.doOnce("sync "+f.name, f.File.SyncData) }

// SyncTo implements vfs.File.
func (f *diskFile) SyncTo(length int64) (fullSync bool, err error) {
	err = f.d.doOnce("sync "+f.name, func() error {
		fullSync, err = f.File.SyncTo(length)
		return err
	})
	return fullSync, err
}

// Close implements vfs.File. A file system may report a failed write only here.
func (f *diskFile) Close() error { return f.d.doOnce("close "+f.name, f.File.Close) }
