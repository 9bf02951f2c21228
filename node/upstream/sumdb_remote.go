package upstream

import (
	"context"
	"errors"
	"sync"
	"time"
)

// baseTime is for how long the way to the database is remembered.
const baseTime = time.Hour

// opSumdb is the request.op of all that is asked of the database.
const opSumdb = "sumdb"

// sumdbRemote reaches the database.
type sumdbRemote struct {
	client *Client
	db     Database
	others func(ctx context.Context, path string) ([]byte, error) // may be nil
	closed func() error                                           // may be nil
	probes *flights[entry]

	mu    sync.Mutex
	base  *entry    // guarded by mu; nil: not known
	until time.Time // guarded by mu; base holds until then
}

func newSumdbRemote(ctx context.Context, cfg SumdbConfig) *sumdbRemote {
	r := &sumdbRemote{client: cfg.Client, db: cfg.Database, others: cfg.Others, closed: cfg.Closed, probes: newFlights[entry](ctx)}
	if !r.db.Off() {
		r.client.guard.trust(r.db.direct())
	}
	return r
}

// get returns what is at path below the database, as the database says, or, if
// it can't be reached, as others have it. Errors are those of Client.
func (r *sumdbRemote) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	data, err := r.ask(ctx, path, limit)
	if err == nil || r.others == nil || ctx.Err() != nil || !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrTimeout) {
		return data, err
	}
	if data, othersErr := r.others(ctx, path); othersErr == nil && int64(len(data)) <= limit {
		return data, nil
	}
	return nil, err
}

func (r *sumdbRemote) ask(ctx context.Context, path string, limit int64) ([]byte, error) {
	if r.closed != nil {
		if err := r.closed(); err != nil {
			return nil, &Error{Op: opSumdb, Class: ErrUnavailable, Err: err}
		}
	}
	base, err := r.find(ctx)
	if err != nil {
		return nil, err
	}
	return r.read(ctx, base, path, limit)
}

func (r *sumdbRemote) read(ctx context.Context, e entry, path string, limit int64) ([]byte, error) {
	a, err := r.client.open(ctx, e, request{op: opSumdb, path: path, limit: limit})
	if err != nil {
		return nil, err
	}
	defer a.close()
	return a.readAll()
}

// find returns where the database is to be asked.
func (r *sumdbRemote) find(ctx context.Context) (entry, error) {
	if r.db.url != nil {
		return entry{url: r.db.url}, nil
	}
	r.mu.Lock()
	base, until := r.base, r.until
	r.mu.Unlock()
	if base != nil && time.Now().Before(until) {
		return *base, nil
	}
	return r.probes.do(ctx, "", func(ctx context.Context) (entry, error) {
		ctx, cancel := context.WithTimeout(ctx, lookupTime)
		defer cancel()
		found, err := r.probe(ctx)
		if err != nil {
			return entry{}, err // not remembered: it may be over soon
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.base, r.until = &found, time.Now().Add(baseTime)
		return found, nil
	})
}

// probe asks the upstreams in order for one that stands in for the database, as
// the go command does. After a 404, or any error if the separator is "|", the
// next is asked, and at the end the database itself.
func (r *sumdbRemote) probe(ctx context.Context) (entry, error) {
	for _, e := range r.client.list.entries {
		path := "sumdb/" + r.db.Name()
		_, err := r.read(ctx, e, path+"/supported", maxInfo)
		if err == nil {
			return entry{url: join(e.url, path), user: e.user}, nil
		}
		if ctx.Err() != nil || !e.onAnyError && !errors.Is(err, ErrNotFound) {
			return entry{}, err
		}
	}
	return entry{url: r.db.direct()}, nil
}
