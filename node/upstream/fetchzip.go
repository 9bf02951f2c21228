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
// If an entry fails after bytes of it were written and the list lets the next
// one be asked, then that one must have the same bytes so far, and Zip goes on
// from there: w never sees a byte twice. An error of w is returned as it is.
func (c *Client) Zip(ctx context.Context, mv module.Version, w io.Writer) (int64, error) {
	rq, err := canonicalRequest("zip", mv, ".zip", c.maxZip)
	if err != nil {
		return 0, err
	}
	rq.exact = true
	out := &zipWriter{w: w}
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
	if err == nil && a.size >= 0 && out.n != a.size {
		return a.bad(errTruncated)
	}
	return err
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
	w   io.Writer
	n   int64
	sum maphash.Hash
}

func (z *zipWriter) Write(p []byte) (int, error) {
	n, err := z.w.Write(p)
	z.n += int64(n)
	z.sum.Write(p[:n])
	return n, err
}
