package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// unsure reports whether this site's log may have lost entries.
func (n *Node) unsure() bool {
	_, err := os.Stat(filepath.Join(n.dir, unsureFile))
	return !errors.Is(err, fs.ErrNotExist)
}

// setUnsure sets or removes the mark that says so, durably.
func (n *Node) setUnsure(v bool) error {
	file := filepath.Join(n.dir, unsureFile)
	if v {
		return WriteFile(file, []byte("another site must say how far it has seen this site's log\n"), 0o600)
	}
	if err := os.Remove(file); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return syncDir(n.dir)
}
