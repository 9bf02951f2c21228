package blob

import (
	"errors"
	"os"
	"syscall"
)

// fsyncDir does nothing: Windows has no flush of a directory (FlushFileBuffers
// refuses the handle of one). NTFS journals names by itself, but a power cut may
// take back the renames of the last seconds: on Windows a blob survives the end
// of the process, and a power cut only after a while.
func fsyncDir(*os.File) error { return nil }

// Windows' own numbers; package syscall names only the POSIX ones, which the
// system never returns.
const (
	errorHandleDiskFull    = syscall.Errno(39)
	errorDiskFull          = syscall.Errno(112)
	errorDiskQuotaExceeded = syscall.Errno(1295)
)

func isNoSpace(err error) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case errorHandleDiskFull, errorDiskFull, errorDiskQuotaExceeded:
		return true
	}
	return false
}
