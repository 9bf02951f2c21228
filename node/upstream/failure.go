package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
)

// failure makes *Errors of what goes wrong with one request.
type failure struct {
	ctx    context.Context // of the caller
	during context.Context // of the request: ends with ctx, a stall, or the total time
	op     string
	url    string
	use    *use // nil if nothing was sent
	body   bool // the header has arrived
}

// make completes e.
func (f failure) make(e Error) *Error {
	e.Op, e.URL = f.op, f.url
	return f.use.withheld(&e)
}

// of returns the *Error for err.
func (f failure) of(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // its text would repeat the URL, perhaps one with a secret
	}
	e := Error{Err: err}
	switch {
	case f.ctx.Err() != nil:
		e.Class, e.Err, e.gaveUp = classOfContext(f.ctx.Err()), f.ctx.Err(), true
	case f.during.Err() != nil:
		e.Class, e.Err = ErrTimeout, context.Cause(f.during)
	case errors.Is(err, errRedirect), errors.Is(err, errAddress):
		e.Class = ErrBadAnswer
	default:
		e.Class, e.Err = f.classify(err)
		e.connect = !f.body && isConnect(err)
	}
	return f.make(e)
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

// isConnect reports whether err is that of a connection that was not made, to
// the upstream or to the proxy.
func isConnect(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect" || op.Op == "socks connect")
}
