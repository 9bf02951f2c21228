package upstream

import (
	"context"
	"errors"
	"fmt"
)

// Empty removes all clones. It waits for commands that are under way in them.
func (v *VCS) Empty(ctx context.Context) error {
	s := v.shelf
	s.mu.Lock()
	var all []*book
	for _, b := range s.books {
		b.lent++
		all = append(all, b)
	}
	s.mu.Unlock()
	var errs []error
	for _, b := range all {
		errs = append(errs, s.empty(ctx, b))
	}
	return errors.Join(errs...)
}

// empty removes what is in a book that the caller has lent and not got yet.
func (s *shelf) empty(ctx context.Context, b *book) error {
	select {
	case b.busy <- struct{}{}:
	case <-ctx.Done():
		s.leave(b)
		return ctx.Err()
	}
	err := b.wipe()
	s.giveBack(b)
	if err != nil {
		return fmt.Errorf("remove clones: %w", err)
	}
	return nil
}
