package node

import (
	"context"
	"errors"
	"fmt"

	"registry-node/node/blob"
	"registry-node/node/index"
	"registry-node/node/upstream"
	"registry-node/replication"
)

// The kinds of error that a Node returns. Every error of its exported methods
// is one of these (errors.Is), or an internal one whose text is for operators
// only. The text of an *Error is for users.
var (
	// ErrNotFound: the registry knows that it is not there.
	ErrNotFound = errors.New("not found")
	// ErrExists: the name is taken, by other content.
	ErrExists = errors.New("exists")
	// ErrInvalid: the request is malformed.
	ErrInvalid = errors.New("invalid")
	// ErrUnprocessable: well-formed, but its content breaks a rule (a bad zip).
	ErrUnprocessable = errors.New("unprocessable")
	// ErrTooLarge: a limit on size is exceeded.
	ErrTooLarge = errors.New("too large")
	// ErrUnauthorized: credentials are missing, or wrong.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrForbidden: policy forbids it.
	ErrForbidden = errors.New("forbidden")
	// ErrUpstream: the upstream failed, or gave what may not be used.
	ErrUpstream = errors.New("upstream failure")
	// ErrUpstreamTimeout: the upstream did not answer in time.
	ErrUpstreamTimeout = errors.New("upstream timeout")
	// ErrUnavailable: this node can't answer now; later it may.
	ErrUnavailable = errors.New("unavailable")
	// ErrNoSpace: the disk is full; reads go on.
	ErrNoSpace = errors.New("no space")
)

// Error is a failure that a user can be told of: what, which, why, what to do.
type Error struct {
	Kind error  // one of the kinds above
	Text string // for users; no secrets, no internals
	Err  error  // the cause, for operators; may be nil
}

func (e *Error) Error() string { return e.Text }

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

func fail(kind error, format string, args ...any) error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...)}
}

// because is fail with a cause for operators.
func because(cause, kind error, format string, args ...any) error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...), Err: cause}
}

// upstreamFailed turns an error of the upstream client about what into one of
// this package. It never makes an absence of a failure.
func upstreamFailed(err error, what string) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, errSecret):
		return because(err, ErrUnavailable, "%s: %v", what, err)
	case errors.Is(err, upstream.ErrNotFound):
		return because(err, ErrNotFound, "%s: %v", what, err)
	case errors.Is(err, upstream.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return because(err, ErrUpstreamTimeout, "%s: %v", what, err)
	case errors.Is(err, upstream.ErrForbidden):
		return because(err, ErrForbidden, "%s: the upstream refuses it: %v", what, err)
	case errors.Is(err, upstream.ErrOldGo):
		return because(err, ErrUnavailable, "%s: %v", what, err)
	case errors.Is(err, ErrNoSpace):
		return because(err, ErrNoSpace, "%s: %v", what, err)
	case errors.Is(err, blob.ErrNoSpace):
		return noSpace(err)
	}
	return because(err, ErrUpstream, "%s: %v", what, err)
}

func noSpace(cause error) error {
	return because(cause, ErrNoSpace, "this node's disk is full; it serves what it holds and takes writes again when there is space")
}

// storeFailed turns an error of the blob store or the log into one of this
// package.
func storeFailed(err error, what string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, blob.ErrNoSpace), errors.Is(err, replication.ErrNoSpace), errors.Is(err, index.ErrFull):
		return noSpace(err)
	case errors.Is(err, blob.ErrTooLarge):
		return because(err, ErrTooLarge, "%s: larger than a module zip may be (%d MiB)", what, maxZip>>20)
	case errors.Is(err, blob.ErrUnhealthy):
		return because(err, ErrUnavailable, "%s: the blob store takes no writes since a sync to disk failed; restart the node", what)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// opaque keeps the text of a cause and hides what it is, so that nobody takes
// the whole for it.
func opaque(cause error) error {
	if cause == nil {
		return nil
	}
	return errors.New(cause.Error())
}
