package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// What a command may use up. The error is the cause of its end.
var (
	errDisk   = errors.New("no space left within the limit of the cache")
	errMemory = errors.New("the command needs more memory than it may have")
	errNode   = errors.New("this node has no room for clones")
)

// watch ends a command when check has an error. It looks seldom where looking
// takes long.
func watch(ctx context.Context, every time.Duration, check func() error, stop context.CancelCauseFunc) {
	const seldom = 20 // times as long as looking takes
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		start := time.Now()
		if err := check(); err != nil {
			stop(err)
			return
		}
		every = max(every, seldom*time.Since(start))
	}
}

// checkDisk is an error if b is larger than the limit, alone or together with
// the others in which commands run, or if the node's own disk is too full.
func (v *VCS) checkDisk(b *book) error {
	if err := v.full(); err != nil {
		return err
	}
	size := diskUse(b.dir)
	if size > v.cfg.MaxDisk {
		return fmt.Errorf("%w: the repository needs more than %d bytes", errDisk, v.cfg.MaxDisk)
	}
	return v.shelf.grown(b, size)
}

// full is an error if the node wants nothing written.
func (v *VCS) full() error {
	if v.cfg.Full == nil {
		return nil
	}
	if err := v.cfg.Full(); err != nil {
		return fmt.Errorf("%w: %w", errNode, err)
	}
	return nil
}

// checkMemory is an error if the processes of a group have more than the limit.
func (v *VCS) checkMemory(group int) error {
	if memoryOf(group) > v.cfg.MaxMemory {
		return fmt.Errorf("%w, %d MiB: the repository is too large, or made to exhaust", errMemory, v.cfg.MaxMemory>>20)
	}
	return nil
}
