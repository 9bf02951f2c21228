package blob

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
)

// A disk is a directory tree with the calls that change it. Every such call
// goes through [disk.do], so that a test sees their order and can make each of
// them fail.
type disk struct {
	root *os.Root
	hook hook // nil outside of tests

	// failed is the first fsync that failed; once set it stays.
	failed atomic.Pointer[error]
}

// A hook stands in for one system call on the file or directory name. It makes
// the call by calling do, or does not, and its result is the result of the call.
type hook func(call, name string, do func() error) error

func openDisk(dir string, h hook) (*disk, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &disk{root: root, hook: h}, nil
}

func (d *disk) do(call, name string, do func() error) error {
	var err error
	if d.hook != nil {
		err = d.hook(call, name, do)
	} else {
		err = do()
	}
	if isNoSpace(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// create makes the file name, which may not exist, open for reading and writing.
func (d *disk) create(name string) (f *os.File, err error) {
	err = d.do("create", name, func() (err error) {
		f, err = d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	})
	if err != nil && f != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, err
}

func (d *disk) write(f *os.File, name string, p []byte) (n int, err error) {
	err = d.do("write", name, func() (err error) {
		n, err = f.Write(p)
		return err
	})
	return n, err
}

// mkdir makes the directory name, or finds it made.
func (d *disk) mkdir(name string) error {
	err := d.do("mkdir", name, func() error { return d.root.Mkdir(name, 0o700) })
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// rename moves a file, replacing what has the name newname.
func (d *disk) rename(oldname, newname string) error {
	return d.do("rename", newname, func() error { return d.root.Rename(oldname, newname) })
}

// remove removes name and everything in it; that it is gone already is fine.
func (d *disk) remove(name string) error {
	return d.do("remove", name, func() error { return d.root.RemoveAll(name) })
}

// syncFile makes the bytes of f durable.
func (d *disk) syncFile(f *os.File, name string) error {
	return d.sync(name, f.Sync)
}

// syncDir makes what was made in, moved to or removed from the directory name
// durable. Syncs of one directory must not overlap, and each must see err after
// the one before it: of two that overlap, the kernel may tell only one of a
// failure that concerns both.
func (d *disk) syncDir(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return d.sync(name, func() error { return fsyncDir(f) })
}

func (d *disk) sync(name string, fsync func() error) error {
	err := d.do("sync", name, fsync)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%w: %w", ErrUnhealthy, err)
	d.failed.CompareAndSwap(nil, &err)
	return err
}

// err returns the first failure of an fsync, or nil.
func (d *disk) err() error {
	if err := d.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// stat returns the size of the file name, or that there is none. Anything but a
// regular file under that name is an error.
func (d *disk) stat(name string) (size int64, ok bool, err error) {
	fi, err := d.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, false, nil
	case err != nil:
		return 0, false, err
	case !fi.Mode().IsRegular():
		return 0, false, fmt.Errorf("%s is not a regular file but %v", name, fi.Mode())
	}
	return fi.Size(), true, nil
}

// names returns what the directory name holds, in order; a missing directory
// holds nothing.
func (d *disk) names(name string) ([]string, error) {
	entries, err := fs.ReadDir(d.root.FS(), name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// openRW opens a file in the mode that an fsync needs on Windows.
func (d *disk) openRW(name string) (*os.File, error) {
	return d.root.OpenFile(name, os.O_RDWR, 0)
}
