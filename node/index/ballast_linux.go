package index

import (
	"os"
	"syscall"
)

// fallocate reserves room for size bytes without writing them.
func fallocate(f *os.File, size int64) error {
	for {
		if err := syscall.Fallocate(int(f.Fd()), 0, 0, size); err != syscall.EINTR {
			return os.NewSyscallError("fallocate", err)
		}
	}
}
