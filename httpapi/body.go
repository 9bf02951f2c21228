package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"registry-node/node"
)

// drainTime is how long a client has to send the rest of a body that was not
// read; net/http waits for up to 256 KiB of it.
const drainTime = 5 * time.Second

// body is a request body whose client must keep the pace. It owns the read
// deadline of the connection until its end, and takes it away there: net/http
// reads on to see whether the client is still there.
//
// Errors of Read other than io.EOF are fit to be told.
type body struct {
	io.ReadCloser
	conn *http.ResponseController
	pace time.Duration
	// lingers says that the client waited for leave to send the body. If it is
	// answered before the end of it, net/http cuts the connection at once, and the
	// client may never see why.
	lingers bool

	read     int64
	moved    int       // bytes since the deadline was set anew
	deadline time.Time // zero before the first Read
	returned time.Time // when the last Read returned
	end      error     // what ended it: io.EOF, or a failure
}

func (b *body) Read(p []byte) (int, error) {
	now := time.Now()
	if b.deadline.IsZero() || b.moved >= paceBytes {
		b.deadline, b.moved = now.Add(b.pace), 0
	} else {
		b.deadline = b.deadline.Add(now.Sub(b.returned)) // we did not listen meanwhile
	}
	b.conn.SetReadDeadline(b.deadline)
	n, err := b.ReadCloser.Read(p)
	b.returned = time.Now()
	b.moved += n
	b.read += int64(n)
	if err == io.EOF {
		b.conn.SetReadDeadline(time.Time{})
	} else {
		err = b.told(err)
	}
	b.end = err
	return n, err
}

// told says what a failure to read means for who sent the body.
func (b *body) told(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &node.Error{Kind: node.ErrInvalid, Text: fmt.Sprintf("the body ends after %d bytes, before its end", b.read), Err: err}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &node.Error{Kind: errSlow, Text: fmt.Sprintf("the body came too slowly: less than %d KiB in %v, after %d bytes", paceBytes>>10, b.pace, b.read), Err: err}
	}
	return &node.Error{Kind: node.ErrInvalid, Text: fmt.Sprintf("the body can't be read after %d bytes: %v", b.read, err), Err: err}
}

// leave bounds the time in which net/http, before it answers, reads what a
// handler left of a body. Of one that failed it should read nothing. The answer has
// been given when it is called.
func (b *body) leave() {
	switch b.end {
	case io.EOF:
	case nil:
		b.conn.SetReadDeadline(time.Now().Add(drainTime))
		if b.lingers && b.read > 0 && b.conn.Flush() == nil {
			io.Copy(io.Discard, b.ReadCloser) // until the client has seen the answer, and goes
		}
	default:
		b.conn.SetReadDeadline(time.Now())
	}
}

// limited bounds the body of a request, also by what it says of itself. A larger
// one is an ErrTooLarge.
func limited(w *writer, r *http.Request, limit int64, what string) (io.Reader, error) {
	tooLarge := &node.Error{Kind: node.ErrTooLarge, Text: fmt.Sprintf("%s is larger than %d MiB", what, limit>>20)}
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	return &limitReader{http.MaxBytesReader(w.ResponseWriter, r.Body, limit), tooLarge}, nil
}

type limitReader struct {
	io.Reader
	tooLarge error
}

func (l *limitReader) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	var over *http.MaxBytesError
	if errors.As(err, &over) {
		err = l.tooLarge
	}
	return n, err
}
