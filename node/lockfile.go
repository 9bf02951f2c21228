package node

import (
	"errors"
	"fmt"
	"os"
)

// LockFile takes the lock of a file, which is made with mode 0600 if it is not
// there, until unlock is called or this process ends. With taken, somebody else has
// it, and unlock is nil.
func LockFile(name string) (unlock func() error, taken bool, err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}
	taken, err = lockFile(f)
	if taken || err != nil {
		if err = errors.Join(err, f.Close()); err != nil {
			err = fmt.Errorf("lock %s: %w", name, err)
		}
		return nil, taken, err
	}
	return f.Close, false, nil
}
