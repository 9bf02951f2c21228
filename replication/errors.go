package replication

import (
	"errors"
	"fmt"
)

// The errors of a log, to be told apart with errors.Is.
var (
	// ErrConflict: the sequence is taken by another entry; another node of the
	// site was faster. See ConflictError.
	ErrConflict = errors.New("another entry has this sequence")
	// ErrRollback: the log ends before an entry that it held, or that the caller
	// says it held. See RollbackError.
	ErrRollback = errors.New("the log has lost entries at its end")
	// ErrGap: an entry inside the log is missing or unreadable. See GapError.
	ErrGap = errors.New("the log has lost an entry")
	// ErrNoSpace: the disk is full, or fuller than Config.MinFree allows. Reading
	// goes on; the same call succeeds once there is space.
	ErrNoSpace = errors.New("no space left for the log")
	// ErrUnavailable: no answer in time, or the embedded server is being started
	// anew. The same call may succeed later.
	ErrUnavailable = errors.New("the log is unavailable")
	// ErrTooLarge: the entry is larger than MaxEntry.
	ErrTooLarge = fmt.Errorf("entry is larger than %d bytes", MaxEntry)
	// ErrClosed: Close has been called.
	ErrClosed = errors.New("the log is closed")
)

// ConflictError says that Seq is taken by an entry with other bytes.
type ConflictError struct {
	Seq  uint64 // the sequence that was asked for
	Last uint64 // the log's last sequence
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("append %d: %v (the last is %d)", e.Seq, ErrConflict, e.Last)
}

// Unwrap returns ErrConflict.
func (e *ConflictError) Unwrap() error { return ErrConflict }

// RollbackError says that entry Known was there and the log now ends at Last.
type RollbackError struct{ Known, Last uint64 }

func (e *RollbackError) Error() string {
	return fmt.Sprintf("%v: it held entry %d and now ends at %d", ErrRollback, e.Known, e.Last)
}

// Unwrap returns ErrRollback.
func (e *RollbackError) Unwrap() error { return ErrRollback }

// GapError says that entry Seq is missing or unreadable in a log that goes on to
// Last.
type GapError struct{ Seq, Last uint64 }

func (e *GapError) Error() string {
	return fmt.Sprintf("%v: %d of %d", ErrGap, e.Seq, e.Last)
}

// Unwrap returns ErrGap.
func (e *GapError) Unwrap() error { return ErrGap }

// unavailable wraps err, met while doing what, as ErrUnavailable.
func unavailable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, what, err)
}

// diskError adds ErrNoSpace to an error that says that the disk is full.
func diskError(err error) error {
	if isNoSpace(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}
