package upstream

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
)

// openFile is open for a file tree. A file that is not there is absent only if
// the tree is: an unmounted volume has no modules either.
func openFile(e entry, rq request) (*answer, error) {
	fail := func(class error, err error) error {
		return &Error{Op: rq.op, URL: join(e.url, rq.path).String(), Class: class, Err: err}
	}
	root, err := os.OpenRoot(fileRoot(e.url))
	if err != nil {
		return nil, fail(ErrUnavailable, fmt.Errorf("the tree can't be read: %w", err))
	}
	defer root.Close()
	f, err := root.Open(filepath.FromSlash(rq.path))
	if isAbsent(err) {
		return nil, fail(ErrNotFound, errors.New("no such file"))
	}
	if err != nil {
		return nil, fail(ErrUnavailable, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, fail(ErrUnavailable, err)
	}
	a := &answer{body: fileReader{f, fail}, rq: rq, fail: failure{op: rq.op, url: join(e.url, rq.path).String()}, size: info.Size(), close: func() { f.Close() }}
	if a.size > rq.limit {
		f.Close()
		return nil, a.tooLarge()
	}
	return a, nil
}

type fileReader struct {
	f    *os.File
	fail func(class, err error) error
}

func (r fileReader) Read(p []byte) (int, error) {
	n, err := r.f.Read(p)
	if err != nil && err != io.EOF {
		err = r.fail(ErrUnavailable, err)
	}
	return n, err
}

// fileRoot returns the directory that a file URL names.
func fileRoot(u *url.URL) string {
	path := u.Path
	if runtime.GOOS == "windows" && len(path) > 2 && path[2] == ':' {
		path = path[1:] // file:///C:/dir
	}
	return filepath.FromSlash(path)
}
