package upstream

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
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
	var err error
	if f.use, err = c.use(e); err != nil {
		return nil, f.make(Error{Class: ErrUnavailable, Err: err})
	}
	pass, err := c.breakerOf(e, rq).enter()
	if err != nil {
		return nil, f.make(Error{Class: ErrUnavailable, Err: err})
	}
	a, err := c.openSlot(ctx, rq, target, f)
	if err != nil {
		pass.leave(err)
		return nil, err
	}
	pass.answered()
	closeAll := a.close
	a.close = func() {
		closeAll()
		pass.leave(a.ended())
	}
	return a, nil
}

// openSlot is open in one of the slots for requests.
func (c *Client) openSlot(ctx context.Context, rq request, target *url.URL, f failure) (*answer, error) {
	if err := c.takeSlot(f); err != nil {
		return nil, err
	}
	total, cancel := context.WithTimeoutCause(ctx, c.totalTime(rq), errTotal)
	during, stop := context.WithCancelCause(total)
	release := func() {
		stop(nil)
		cancel()
		<-c.slots
	}
	f.during = during

	a, err := c.send(withUse(during, f.use), stop, rq, target, f)
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

// totalTime returns how long an answer may take as a whole. Only zips are so
// large that they may take long without a fault.
func (c *Client) totalTime(rq request) time.Duration {
	if rq.exact {
		return c.opts.TotalTimeout
	}
	return min(c.opts.TotalTimeout, 2*c.opts.HeaderTimeout)
}

// takeSlot waits for a slot, no longer than for a header.
func (c *Client) takeSlot(f failure) error {
	timer := time.NewTimer(c.opts.HeaderTimeout)
	defer timer.Stop()
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-f.ctx.Done():
		return f.of(f.ctx.Err())
	case <-timer.C:
		return f.make(Error{Class: ErrUnavailable, gaveUp: true,
			Err: fmt.Errorf("%d requests to upstreams are under way, the most that are allowed, and none ended within %v", cap(c.slots), c.opts.HeaderTimeout)})
	}
}

// send makes the request of open; stop ends it.
func (c *Client) send(ctx context.Context, stop context.CancelCauseFunc, rq request, target *url.URL, f failure) (*answer, error) {
	hr, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, f.of(err)
	}
	c.setHeaders(hr, rq)
	resp, err := c.http.Do(hr)
	if err != nil {
		return nil, f.of(err)
	}
	f.body = true
	timer := time.AfterFunc(c.opts.StallTimeout, func() { stop(errStalled) })
	timer.Stop()
	body := &pacedReader{body: resp.Body, timer: timer, pace: c.opts.StallTimeout, fail: f}
	a := &answer{
		body:       body,
		rq:         rq,
		fail:       f,
		size:       resp.ContentLength,
		endUnknown: endIsUnknown(resp),
		ended:      func() error { return body.err },
		close: func() {
			timer.Stop()
			resp.Body.Close()
		},
	}
	if err := check(resp, a); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (c *Client) setHeaders(hr *http.Request, rq request) {
	hr.Header.Set("User-Agent", c.opts.UserAgent)
	if c.opts.Via != "" {
		hr.Header.Set(ViaHeader, c.opts.Via)
	}
	if rq.exact {
		// Or net/http would ask for gzip, and hide the length of the body.
		hr.Header.Set("Accept-Encoding", "identity")
	}
}

// check returns the error that resp's header says, if any.
func check(resp *http.Response, a *answer) error {
	switch {
	case resp.StatusCode != http.StatusOK:
		return a.fail.make(Error{
			Status: resp.StatusCode, Detail: detail(resp, a.body), Class: classOfStatus(resp.StatusCode),
			RetryAfter: retryAfter(resp, time.Now()),
		})
	case !slices.Contains([]string{"", "identity"}, resp.Header.Get("Content-Encoding")):
		// net/http has taken away the gzip that it asked for.
		return a.bad(fmt.Errorf("unasked Content-Encoding %q", clip(resp.Header.Get("Content-Encoding"))))
	case a.size > a.rq.limit:
		return a.tooLarge()
	}
	return nil
}

// retryAfter returns for how long an upstream that can't answer now asks not to
// be asked (RFC 9110, 10.2.3), 0 if it does not.
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	text := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// join returns base with an escaped path below it.
func join(base *url.URL, path string) *url.URL {
	u := *base
	u.Path = strings.TrimSuffix(base.Path, "/") + "/" + path
	u.RawPath = strings.TrimSuffix(base.EscapedPath(), "/") + "/" +
		strings.ReplaceAll(url.PathEscape(path), "%2F", "/")
	return &u
}

// endIsUnknown reports whether the body of resp ends where the connection ends.
func endIsUnknown(resp *http.Response) bool {
	return resp.ContentLength < 0 && resp.ProtoMajor == 1 && len(resp.TransferEncoding) == 0 && !resp.Uncompressed
}
