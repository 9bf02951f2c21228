//go:build !linux

package index

import (
	"errors"
	"os"
)

// fallocate is not known for this system; the caller writes instead.
func fallocate(*os.File, int64) error { return errors.ErrUnsupported }
