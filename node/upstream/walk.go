package upstream

import (
	"context"
	"errors"
	"strings"
)

// walk asks the entries of c's list in order until one answers.
//
// It goes on after an error as the entry's separator allows. An error that is no
// *Error is not of an entry's making and ends the walk, as does the end of ctx.
func walk[T any](ctx context.Context, c *Client, op string, ask func(entry) (T, error)) (T, error) {
	var zero T
	var failed []*Error
	for _, e := range c.list.entries {
		v, err := ask(e)
		if err == nil {
			return v, nil
		}
		var f *Error
		if !errors.As(err, &f) {
			return zero, err
		}
		failed = append(failed, f)
		if ctx.Err() != nil || !e.onAnyError && !errors.Is(f, ErrNotFound) {
			break
		}
	}
	if len(failed) == 0 {
		return zero, &Error{Op: op, Class: ErrForbidden, Err: errors.New(`the upstream list is "off": nothing is fetched`)}
	}
	return zero, walkFailed(failed)
}

// walkFailed returns the error of a walk in which all that were asked failed.
// Absence is known only if all said so; an entry that could not be heard counts
// before one that refused.
func walkFailed(failed []*Error) error {
	if len(failed) == 1 {
		return failed[0]
	}
	best := failed[0]
	for _, f := range failed[1:] {
		if rank(f) > rank(best) {
			best = f
		}
	}
	return &walkError{best: best, all: failed}
}

func rank(e *Error) int {
	switch e.Class {
	case ErrNotFound:
		return 0
	case ErrForbidden:
		return 1
	}
	return 2
}

// walkError tells what each entry said. Its class is that of the best.
type walkError struct {
	best *Error
	all  []*Error
}

func (w *walkError) Error() string {
	texts := make([]string, len(w.all))
	for i, e := range w.all {
		texts[i] = e.Error()
	}
	return strings.Join(texts, " | ")
}

func (w *walkError) Unwrap() error { return w.best }
