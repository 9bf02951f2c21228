package node

import (
	"context"
	"sync"
)

// flights joins concurrent calls for one key. The work runs under the flights'
// own context, so it does not die with the caller that happened to be first;
// each caller waits under its own.
type flights[K comparable, V any] struct {
	ctx context.Context // ends all work
	wg  *sync.WaitGroup // counts running work, for who ends it

	mu    sync.Mutex // guards calls
	calls map[K]*call[V]
}

type call[V any] struct {
	done  chan struct{} // closed when value and err are set
	value V
	err   error
}

func newFlights[K comparable, V any](ctx context.Context, wg *sync.WaitGroup) *flights[K, V] {
	return &flights[K, V]{ctx: ctx, wg: wg, calls: map[K]*call[V]{}}
}

// do returns what work returns for k, running it only if it isn't under way.
func (f *flights[K, V]) do(ctx context.Context, k K, work func(context.Context) (V, error)) (V, error) {
	f.mu.Lock()
	c, joined := f.calls[k]
	if !joined {
		c = &call[V]{done: make(chan struct{})}
		f.calls[k] = c
		f.wg.Go(func() { f.run(k, c, work) })
	}
	f.mu.Unlock()
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		var zero V
		return zero, context.Cause(ctx)
	}
}

func (f *flights[K, V]) run(k K, c *call[V], work func(context.Context) (V, error)) {
	c.value, c.err = work(f.ctx)
	f.mu.Lock()
	delete(f.calls, k)
	f.mu.Unlock()
	close(c.done)
}
