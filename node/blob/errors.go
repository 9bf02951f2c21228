package blob

import "errors"

var (
	// ErrMismatch says that the bytes are not those that were promised: their
	// digest or size is another one.
	ErrMismatch = errors.New("content mismatch")

	// ErrTooLarge says that a stage was given more bytes than its limit.
	ErrTooLarge = errors.New("content too large")

	// ErrNoSpace says that the disk, or the user's share of it, is full.
	ErrNoSpace = errors.New("no room for blobs")

	// ErrCorrupt says that a stored blob's bytes do not have its digest.
	ErrCorrupt = errors.New("corrupt blob")

	// ErrUnhealthy says that an fsync failed since the store was opened, so
	// that it accepts no more writes.
	ErrUnhealthy = errors.New("blob store is unhealthy")

	errCommitted = errors.New("stage is committed already")
	errDiscarded = errors.New("stage is discarded")
)
