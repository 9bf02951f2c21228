package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// adminSocket is the socket in a data directory through which an administrator
// speaks to the node that runs on it.
const adminSocket = "admin.sock"

// maxSocketPath is how long the path of a socket may be, in bytes, on all
// systems that are supported (macOS: 104 with the final zero).
const maxSocketPath = 103

// listenAdmin listens on the admin socket of dir, whose lock this process
// holds: a socket that is there was left by a process that is gone. Only this
// user can open it. The caller removes it in the end.
func listenAdmin(dir string) (net.Listener, error) {
	// The socket is made in a directory that nobody else can enter and moved
	// from there, so that nobody opens it before its mode is right. A crash in
	// between leaves the directory, which is removed here.
	if err := removeUnfinished(dir); err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	tmp, err := os.MkdirTemp(dir, unfinished)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	defer os.RemoveAll(tmp)
	path, release, err := socketPath(tmp, "s")
	if err != nil {
		return nil, err
	}
	defer release()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // it would look for the first path
	made := filepath.Join(tmp, "s")
	err = errors.Join(os.Chmod(made, 0o600), os.Rename(made, filepath.Join(dir, adminSocket)))
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	return l, nil
}

// unfinished begins the names of directories in which sockets are made.
const unfinished = ".admin-"

func removeUnfinished(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinished) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// dialAdmin connects to the node that runs on the data directory dir. The error
// is fs.ErrNotExist or a refused connection if none does.
func dialAdmin(ctx context.Context, dir string) (net.Conn, error) {
	if _, err := os.Stat(filepath.Join(dir, adminSocket)); errors.Is(err, fs.ErrNotExist) {
		return nil, &net.OpError{Op: "dial", Net: "unix", Err: fs.ErrNotExist}
	}
	path, release, err := socketPath(dir, adminSocket)
	if err != nil {
		return nil, err
	}
	defer release()
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

// socketPath returns a path for the socket name in dir that is short enough for
// the system, and what to call when the path is no longer used.
func socketPath(dir, name string) (path string, release func(), err error) {
	nothing := func() {}
	path = filepath.Join(dir, name)
	if len(path) <= maxSocketPath {
		return path, nothing, nil
	}
	if runtime.GOOS == "linux" { // the open directory has a short name
		d, err := os.Open(dir)
		if err != nil {
			return "", nothing, fmt.Errorf("admin socket: %w", err)
		}
		return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name), func() { d.Close() }, nil
	}
	if path, err = relative(path); err == nil && len(path) <= maxSocketPath {
		return path, nothing, nil
	}
	return "", nothing, fmt.Errorf("admin socket: the path of data directory %s is longer than this system allows for a socket; "+
		"choose a shorter one, or start in a directory near it", dir)
}

// relative returns path as seen from the working directory.
func relative(path string) (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	return filepath.Rel(wd, path)
}
