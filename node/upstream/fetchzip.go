package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"

	"golang.org/x/mod/module"
)

// Zip writes the zip of mv, a canonical version, to w as it arrives, and returns
// the number of bytes written. What has been written is to be discarded if the
// error is not nil; none of it has been verified in any case (see CheckZip).
//
// Before the first byte, begin, unless it is nil, is told how many there will
// be, -1 if the upstream does not say; if Zip succeeds, then there were so many.
//
// If an entry fails after bytes of it were written and the list lets the next
// one be asked, then that one must have the same bytes so far and the same
// length, and Zip goes on from there: w never sees a byte twice. An error of w is
// returned as it is.
//
// Zips take at most three quarters of the requests that may be under way, since
// they take long: a go.mod never waits for one.
func (c *Client) Zip(ctx context.Context, mv module.Version, w io.Writer, begin func(size int64)) (int64, error) {
	rq, err := canonicalRequest("zip", mv, ".zip", c.maxZip)
	if err != nil {
		return 0, err
	}
	rq.exact = true
	select {
	case c.zips <- struct{}{}:
		defer func() { <-c.zips }()
	case <-ctx.Done():
		return 0, &Error{Op: rq.op, Class: classOfContext(ctx.Err()), Err: ctx.Err()}
	}
	out := &zipWriter{w: w, begin: begin, size: -1}
	_, err = walk(ctx, c, rq.op, func(e entry) (struct{}, error) {
		return struct{}{}, c.zipFrom(ctx, e, rq, out)
	})
	return out.n, err
}

func (c *Client) zipFrom(ctx context.Context, e entry, rq request, out *zipWriter) error {
	a, err := c.open(ctx, e, rq)
	if err != nil {
		return err
	}
	defer a.close()
	body := bufio.NewReaderSize(a.body, 128<<10)
	// Nothing of an error page with status 200 reaches w.
	if magic, err := body.Peek(2); string(magic) != "PK" {
		var failed *Error
		if errors.As(err, &failed) {
			return failed
		}
		return a.bad(errors.New("the answer is no zip"))
	}
	switch {
	case out.n == 0:
		out.size = a.size
	case out.size >= 0 && a.size >= 0 && a.size != out.size:
		return a.bad(otherLength(a.size, out.size))
	}
	if err := skipSame(a, body, out); err != nil {
		return err
	}
	limit := rq.limit - out.n
	n, err := io.Copy(out, io.LimitReader(body, limit))
	if err == nil && n == limit {
		if _, err := body.ReadByte(); err == nil {
			return a.tooLarge()
		}
	}
	switch {
	case err != nil:
		return err
	case a.size >= 0 && out.n != a.size:
		return a.bad(errTruncated)
	case out.size >= 0 && out.n != out.size:
		return a.bad(otherLength(out.n, out.size))
	}
	return nil
}

func otherLength(got, before int64) error {
	return fmt.Errorf("its length is %d, that of the upstream before %d", got, before)
}

// skipSame reads what out already has from body, and fails if it differs.
func skipSame(a *answer, body io.Reader, out *zipWriter) error {
	var sum maphash.Hash
	sum.SetSeed(out.sum.Seed())
	_, err := io.CopyN(&sum, body, out.n)
	if err == nil && sum.Sum64() == out.sum.Sum64() {
		return nil
	}
	var failed *Error
	if errors.As(err, &failed) {
		return failed
	}
	return a.bad(fmt.Errorf("the first %d bytes differ from those of the upstream before", out.n))
}

// zipWriter counts and hashes what was written to w, so that another upstream
// can go on where one failed. The hash guards against mixing two zips by
// accident; what arrives is verified as a whole anyway.
type zipWriter struct {
	w     io.Writer
	begin func(size int64) // may be nil
	size  int64            // that begin was, or is to be told
	n     int64
	sum   maphash.Hash
}

func (z *zipWriter) Write(p []byte) (int, error) {
	if z.n == 0 && z.begin != nil {
		z.begin(z.size)
	}
	n, err := z.w.Write(p)
	z.n += int64(n)
	z.sum.Write(p[:n])
	return n, err
}
