package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// open asks e for rq and returns the answer if it is 200, else an *Error.
func (c *Client) open(ctx context.Context, e entry, rq request) (*answer, error) {
	if e.url.Scheme == "file" {
		return openFile(e, rq)
	}
	target := join(e.url, rq.path)
	f := failure{ctx: ctx, op: rq.op, url: target.String()}

	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, f.of(ctx.Err())
	}
	total, cancel := context.WithTimeoutCause(ctx, c.opts.TotalTimeout, errTotal)
	during, stop := context.WithCancelCause(total)
	release := func() {
		stop(nil)
		cancel()
		<-c.slots
	}
	f.during = during

	a, err := c.send(during, stop, e, rq, target, f)
	if err != nil {
		release()
		return nil, err
	}
	closeBody := a.close
	a.close = func() {
		closeBody()
		release()
	}
	return a, nil
}

// send makes the request of open; stop ends it.
func (c *Client) send(ctx context.Context, stop context.CancelCauseFunc, e entry, rq request, target *url.URL, f failure) (*answer, error) {
	hr, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, f.of(err)
	}
	c.setHeaders(hr, e, rq)
	resp, err := c.http.Do(hr)
	if err != nil {
		return nil, f.of(err)
	}
	f.body = true
	timer := time.AfterFunc(c.opts.StallTimeout, func() { stop(errStalled) })
	timer.Stop()
	a := &answer{
		body: &pacedReader{body: resp.Body, timer: timer, pace: c.opts.StallTimeout, fail: f.of},
		rq:   rq,
		url:  f.url,
		size: resp.ContentLength,
		endUnknown: resp.ContentLength < 0 && resp.ProtoMajor == 1 &&
			len(resp.TransferEncoding) == 0 && !resp.Uncompressed,
		close: func() {
			timer.Stop()
			resp.Body.Close()
		},
	}
	if err := check(resp, a, e); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (c *Client) setHeaders(hr *http.Request, e entry, rq request) {
	hr.Header.Set("User-Agent", c.opts.UserAgent)
	if c.opts.Via != "" {
		hr.Header.Set(ViaHeader, c.opts.Via)
	}
	if rq.exact {
		// Or net/http would ask for gzip, and hide the length of the body.
		hr.Header.Set("Accept-Encoding", "identity")
	}
	if e.user != nil {
		password, _ := e.user.Password()
		hr.SetBasicAuth(e.user.Username(), password)
	}
}

// check returns the error that resp's header says, if any.
func check(resp *http.Response, a *answer, e entry) error {
	switch {
	case resp.StatusCode != http.StatusOK:
		text := detail(resp, a.body)
		if e.user != nil {
			text = withoutSecrets(text, e.user)
		}
		return &Error{Op: a.rq.op, URL: a.url, Status: resp.StatusCode, Detail: text, Class: classOfStatus(resp.StatusCode)}
	case a.rq.exact && resp.Header.Get("Content-Encoding") != "":
		return a.bad(fmt.Errorf("unasked Content-Encoding %q", clip(resp.Header.Get("Content-Encoding"))))
	case a.size > a.rq.limit:
		return a.tooLarge()
	}
	return nil
}

// withoutSecrets returns text, or nothing if an upstream echoes its credentials.
func withoutSecrets(text string, user *url.Userinfo) string {
	password, _ := user.Password()
	for _, secret := range []string{user.Username(), password} {
		if secret != "" && strings.Contains(text, secret) {
			return ""
		}
	}
	return text
}

// join returns base with an escaped path below it.
func join(base *url.URL, path string) *url.URL {
	u := *base
	u.Path = strings.TrimSuffix(base.Path, "/") + "/" + path
	u.RawPath = strings.TrimSuffix(base.EscapedPath(), "/") + "/" +
		strings.ReplaceAll(url.PathEscape(path), "%2F", "/")
	return &u
}

// failure makes *Errors of what goes wrong with one request.
type failure struct {
	ctx    context.Context // of the caller
	during context.Context // of the request: ends with ctx, a stall, or the total time
	op     string
	url    string
	body   bool // the header has arrived
}

// of returns the *Error for err.
func (f failure) of(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // its text would repeat the URL, perhaps one with a secret
	}
	e := &Error{Op: f.op, URL: f.url, Err: err}
	switch {
	case f.ctx.Err() != nil:
		e.Class, e.Err = classOfContext(f.ctx.Err()), f.ctx.Err()
	case f.during.Err() != nil:
		e.Class, e.Err = ErrTimeout, context.Cause(f.during)
	case errors.Is(err, errRedirect), errors.Is(err, errAddress):
		e.Class = ErrBadAnswer
	default:
		e.Class, e.Err = f.classify(err)
	}
	return e
}

func (f failure) classify(err error) (class, cause error) {
	var op *net.OpError
	var timeout net.Error
	switch isOp := errors.As(err, &op); {
	case isOp && op.Op == "dial":
		return ErrUnavailable, err
	case errors.As(err, &timeout) && timeout.Timeout():
		return ErrTimeout, err
	case isOp || !f.body:
		return ErrUnavailable, err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return ErrBadAnswer, errTruncated
	}
	return ErrBadAnswer, err // a broken chunk, a broken gzip
}

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
	a := &answer{body: fileReader{f, fail}, rq: rq, url: join(e.url, rq.path).String(), size: info.Size(), close: func() { f.Close() }}
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
