package node

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// syncDir does nothing: Windows has no way to sync a directory, and NTFS
// journals its changes to directories.
func syncDir(string) error { return nil }

// lockFile takes an exclusive lock on f that ends with the process. taken says
// that another process has it.
func lockFile(f *os.File) (taken bool, err error) {
	const all = ^uint32(0)
	err = windows.LockFileEx(windows.Handle(f.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, all, all, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return true, nil
	}
	return false, err
}

// freeSpace returns the bytes that a file system has in all, and those left for
// this user.
func freeSpace(dir string) (total, free uint64, err error) {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, err
	}
	err = windows.GetDiskFreeSpaceEx(p, &free, &total, nil)
	return total, free, err
}
