//go:build unix

package blob

import (
	"errors"
	"os"
	"syscall"
)

func fsyncDir(f *os.File) error { return f.Sync() }

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
