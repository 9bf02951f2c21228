package upstream

import (
	"context"
	"errors"
	"sync"
)

var errClosed = errors.New("closed")

// flights joins concurrent calls of one key into one. A call runs under the
// context of the flights, not of a caller: it does not die with its first
// caller, and each caller waits only as long as its own context allows.
type flights[V any] struct {
	ctx context.Context // of the owner; ends all calls

	mu    sync.Mutex
	calls map[string]*call[V] // guarded by mu
	wg    sync.WaitGroup      // Add under mu, while ctx is alive
}

type call[V any] struct {
	done  chan struct{} // closed when value and err are set
	value V
	err   error
}

func newFlights[V any](ctx context.Context) *flights[V] {
	return &flights[V]{ctx: ctx, calls: make(map[string]*call[V])}
}

// do returns the result of run, called by this or by a concurrent do. If ctx ends
// first, the error is an *Error.
func (f *flights[V]) do(ctx context.Context, key string, run func(context.Context) (V, error)) (V, error) {
	c, err := f.join(key, run)
	if err != nil {
		var zero V
		return zero, err
	}
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		var zero V
		return zero, sumdbError(classOfContext(ctx.Err()), ctx.Err())
	}
}

func (f *flights[V]) join(key string, run func(context.Context) (V, error)) (*call[V], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, ok := f.calls[key]; ok {
		return c, nil
	}
	if f.ctx.Err() != nil {
		return nil, errClosed
	}
	c := &call[V]{done: make(chan struct{})}
	f.calls[key] = c
	f.wg.Go(func() {
		c.value, c.err = run(f.ctx)
		f.mu.Lock()
		delete(f.calls, key)
		f.mu.Unlock()
		close(c.done)
	})
	return c, nil
}

// wait returns when no call is under way any more. The owner has ended ctx.
func (f *flights[V]) wait() {
	f.mu.Lock() // a join that saw ctx alive has called Add
	wg := &f.wg
	f.mu.Unlock()
	wg.Wait()
}
