package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Classes of errors, to be tested with errors.Is. An error of this package has
// at most one of them; one without a class is a fault of this node (its disk, a
// canceled context).
var (
	// ErrNotFound: all entries that may be asked answered 404 or 410, or what
	// was asked for is malformed and cannot exist.
	ErrNotFound = errors.New("not found")
	// ErrForbidden: the upstream refuses (401, 403, 451), which does not mean
	// that it has not got what was asked for.
	ErrForbidden = errors.New("refused by the upstream")
	// ErrTimeout: connected, but no complete answer in time.
	ErrTimeout = errors.New("upstream timed out")
	// ErrUnavailable: no connection, 5xx, 429, a connection reset, a file tree
	// that can't be read, or an upstream that is not asked: it is assumed offline,
	// too much is under way, or its credential can't be sent safely.
	ErrUnavailable = errors.New("upstream unavailable")
	// ErrBadAnswer: an answer that can't be what was asked for: HTML, a wrong
	// version, truncated, too large, junk, a redirect that is refused.
	ErrBadAnswer = errors.New("bad answer from the upstream")

	// ErrOldGo: the upstream has it, and the go command of this node is too old to
	// read it.
	ErrOldGo = errors.New("the go command of this node is too old")

	// ErrBadZip: a zip that breaks a rule for module zips.
	ErrBadZip = errors.New("not a valid module zip")

	// ErrPrivate: the module is not in the checksum database by policy, and its
	// name is not sent there.
	ErrPrivate = errors.New("not in the checksum database by policy")
	// ErrNotInDatabase: the checksum database answered that it does not know
	// the module version. It says nothing about an upstream having it.
	ErrNotInDatabase = errors.New("unknown to the checksum database")
	// ErrSecurity: what was received as the checksum database contradicts what
	// it signed, or lacks a proof: forged, forked or mutilated.
	ErrSecurity = errors.New("checksum database verification failed")
)

// Error is a failed request to one upstream entry.
type Error struct {
	Op     string // what was asked for: list, latest, info, mod, zip, sumdb, go-import
	URL    string // the URL asked, without credentials; empty if none was asked
	Status int    // HTTP status, 0 if there was none
	Detail string // what the upstream said in text/plain: printable, ≤ 8 lines, ≤ 648 bytes
	Class  error  // one of the classes, or nil
	Err    error  // what went wrong; nil if Status says it

	// RetryAfter is for how long the upstream asks not to be asked again (429
	// and 503), 0 if it does not.
	RetryAfter time.Duration

	connect bool // no connection was made
	gaveUp  bool // the caller did, which says nothing of the upstream
}

// Error returns one line: operation, URL, reason, and what the upstream said.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.URL != "" {
		b.WriteString(" " + e.URL)
	}
	b.WriteString(": " + e.reason())
	if e.Detail != "" {
		b.WriteString(": " + strings.ReplaceAll(e.Detail, "\n", "; "))
	}
	return b.String()
}

// reason says why, but not what was asked for.
func (e *Error) reason() string {
	switch {
	case e.Err != nil:
		return e.Err.Error()
	case e.Status != 0:
		return strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status)))
	}
	return e.Class.Error()
}

// Unwrap returns the class and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.Class != nil {
		errs = append(errs, e.Class)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// classOfStatus returns the class of an HTTP status other than 200.
func classOfStatus(status int) error {
	switch {
	case status == http.StatusNotFound, status == http.StatusGone:
		return ErrNotFound
	case status == http.StatusUnauthorized, status == http.StatusForbidden,
		status == http.StatusUnavailableForLegalReasons:
		return ErrForbidden
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return ErrUnavailable
	}
	return ErrBadAnswer
}

// classOfContext returns the class of an operation that its caller's context
// ended: a deadline is a time-out, a cancellation has no class.
func classOfContext(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return ErrTimeout
	}
	return nil
}
