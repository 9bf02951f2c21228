package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
)

// run fetches what is wanted until ctx ends: of each log apart, so that none makes
// the others wait.
func (w *wants) run(ctx context.Context) {
	running := map[events.Site]bool{}
	for {
		ch := w.more.wait()
		w.mu.Lock()
		logs := sortedSites(w.low)
		w.mu.Unlock()
		for _, site := range logs {
			if !running[site] && ctx.Err() == nil {
				running[site] = true
				w.sites.node.life.wg.Go(func() { w.runOf(ctx, site) })
			}
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return
		}
	}
}

// runOf fetches what entries of one log tell of. Entries come first: they say
// what there is.
func (w *wants) runOf(ctx context.Context, site events.Site) {
	q := &wantQueue{wants: w, site: site, places: make(chan struct{}, fetchers)}
	for {
		ch := w.more.wait()
		again := busyAge
		if !w.sites.busy() {
			var err error
			if again, err = q.pass(ctx); err != nil && ctx.Err() == nil {
				w.sites.node.logger.Error("wanted blobs can't be read", "error", err)
				again = maxRetry
			}
		}
		select {
		case <-ch:
		case <-time.After(again):
		case <-ctx.Done():
			return
		}
	}
}

// wantQueue is what one log's entries want, as runOf goes through it.
type wantQueue struct {
	*wants
	site   events.Site
	places chan struct{} // holds a value for each blob that is being fetched
	cursor string        // the last row that was looked at
}

// pass begins to fetch what may be tried now, as places come free, and returns
// when to look again.
func (q *wantQueue) pass(ctx context.Context) (again time.Duration, err error) {
	list, again, err := q.ready()
	if err != nil {
		return again, err
	}
	for _, v := range list {
		select {
		case q.places <- struct{}{}:
		case <-ctx.Done():
			return again, ctx.Err()
		}
		q.mu.Lock()
		q.underWay[v.key] = true
		q.mu.Unlock()
		q.sites.node.life.wg.Go(func() { q.work(ctx, v) })
	}
	return again, nil
}

// work fetches one blob and gives its place back.
func (q *wantQueue) work(ctx context.Context, v want) {
	q.settle(v, q.fetch(ctx, v))
	q.mu.Lock()
	delete(q.underWay, v.key)
	_, failed := q.later[v.key]
	q.mu.Unlock()
	<-q.places
	if failed {
		q.more.notify() // it is to be tried again, and the last look passed it over
	}
}

// ready returns wants that may be tried now and are not under way, in the order of
// the log. It looks at a bounded number of rows, and goes on behind them the next
// time.
func (q *wantQueue) ready() (list []want, again time.Duration, err error) {
	again = maxRetry
	now := time.Now()
	looked := 0
	begun := q.cursor
	for row, err := range q.local().Behind(q.site.String()+"/", q.cursor) {
		if err != nil {
			return nil, again, err
		}
		if looked++; looked > maxLook || len(list) == passSize {
			return list, 0, nil
		}
		q.cursor = row.Key
		q.mu.Lock()
		r, tried := q.later[row.Key]
		busy := q.underWay[row.Key]
		q.mu.Unlock()
		if wait := r.at.Sub(now); tried && wait > 0 {
			again = min(again, wait)
			continue
		}
		if busy {
			continue
		}
		v, err := readWant(row)
		if err != nil {
			return nil, again, err
		}
		list = append(list, v)
	}
	q.cursor = "" // at the end: the next time from the beginning
	if begun != "" || len(list) > 0 {
		again = min(again, firstRetry)
	}
	return list, again, nil
}

// settle takes a want away that has been met or is none any more, and puts off
// one that failed.
func (w *wants) settle(v want, err error) {
	if err == nil {
		if err := w.done(v); err != nil {
			w.sites.node.logger.Error("index", "error", err)
		}
		return
	}
	w.sites.node.logger.Debug("blob not fetched", "digest", v.Blob.Digest, "module", v.Module, "version", v.Version, "error", err)
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.later[v.key]
	r.tries = min(r.tries+1, 6)
	longest := brokenRetry
	if errors.Is(err, errNotThere) {
		longest = maxRetry
	}
	r.at = time.Now().Add(min(longest, firstRetry<<(r.tries-1)))
	w.later[v.key] = r
	if r.tries >= 3 {
		w.sites.troubles.raise("wants", fmt.Sprintf("blobs can't be fetched from other sites, of late that of %s@%s: %v", v.Module, v.Version, err))
	}
}

// retryNow forgets who failed: another site can be reached.
func (w *wants) retryNow() {
	w.mu.Lock()
	clear(w.later)
	w.mu.Unlock()
	w.more.notify()
}

// fetch brings a wanted blob here. It returns nil, too, if it isn't wanted.
func (w *wants) fetch(ctx context.Context, v want) error {
	s := w.sites
	if _, ok, err := s.node.index.Load().Entry(v.from, v.at); err != nil || !ok {
		return err // the entry was taken back: it wants nothing any more
	}
	due, known := w.due(v)
	if purged, err := s.node.isPurged(v.Repo, module.Version{Path: v.Module, Version: v.Version}); err != nil || purged {
		return err
	}
	if v.Build {
		if stands, err := s.node.buildStands(v); err != nil || !stands {
			return err
		}
	}
	switch {
	case !known:
		return fmt.Errorf("repository %v is not known here yet", v.Repo)
	case !due || s.node.blobs.held(v.Blob):
		return nil
	}
	a := s.arrive(v)
	defer a.leave()
	err := a.whole(ctx)
	if isLie(err) { // fetching it again would not make it true
		return nil
	}
	return err
}
