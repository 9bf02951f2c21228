package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"registry-node/events"
	"registry-node/node/index"
)

// wants are the blobs that entries of other sites' logs refer to, that this site
// is to hold, and does not hold yet. They are rows of local state, written
// before the entries themselves, so none is forgotten.
type wants struct {
	sites   *sites
	more    notifier // there may be something to fetch
	limiter *rate.Limiter

	mu       sync.Mutex
	count    int                         // guarded by mu
	bytes    int64                       // guarded by mu
	low      map[events.Site]events.Mark // guarded by mu; of each log the first entry with a want
	later    map[string]retry            // guarded by mu; those that failed, by key
	underWay map[string]bool             // guarded by mu; being fetched, by key
	// deliveries are the blobs that sites that can't be dialled were asked for.
	deliveries map[pushKey]*delivery // guarded by mu
}

type retry struct {
	at    time.Time
	tries int
}

// want is a blob of a module version that an entry states.
type want struct {
	Blob    events.Blob   `json:"blob"`
	Mod     bool          `json:"mod,omitempty"` // it is the go.mod, else the zip
	Repo    events.RepoID `json:"repo"`
	Module  string        `json:"module"`
	Version string        `json:"version"`
	ModH1   events.H1     `json:"mod_h1"`
	ZipH1   events.H1     `json:"zip_h1,omitzero"`

	key  string
	from events.Site // that stated it
	at   events.Mark
}

const (
	wantsSpace = "wants"
	// fetchers is how many blobs of one log are fetched at a time.
	fetchers = 6
	// passSize bounds how many wants one pass takes up.
	passSize = 256
	// maxGoMod bounds a go.mod that is fetched, as the go command does.
	maxGoMod = 16 << 20
	// maxLook bounds the rows of one log that one pass looks at.
	maxLook = 4096
	// A blob that no site holds is asked for again after at most maxRetry, one that
	// a broken link kept from coming after brokenRetry.
	firstRetry  = time.Second
	maxRetry    = time.Minute
	brokenRetry = 4 * time.Second
)

func newWants(s *sites) *wants {
	return &wants{
		sites: s, limiter: newLimiter(s.node.opts.PeerBandwidth),
		underWay: map[string]bool{},
		low:      map[events.Site]events.Mark{}, later: map[string]retry{}, deliveries: map[pushKey]*delivery{},
	}
}

func (w *wants) local() *index.Local { return w.sites.node.index.Load().Local(wantsSpace) }

func wantKey(id events.EventID, d events.Digest) string {
	return fmt.Sprintf("%s/%010d/%016d/%s", id.Site, id.Mark.Epoch, id.Mark.Seq, d.Hex())
}

// load counts the wants that an earlier run of this node left.
func (w *wants) load() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count, w.bytes = 0, 0
	clear(w.low)
	for row, err := range w.local().All("") {
		if err != nil {
			return fmt.Errorf("index: %w", err)
		}
		v, err := readWant(row)
		if err != nil {
			return err
		}
		w.add(v)
	}
	return nil
}

// add counts a want. The caller holds mu.
func (w *wants) add(v want) {
	w.count++
	w.bytes = min(w.bytes+v.Blob.Size, math.MaxInt64/2)
	if low, ok := w.low[v.from]; !ok || v.at.Compare(low) < 0 {
		w.low[v.from] = v.at
	}
}

func readWant(row index.LocalRow) (want, error) {
	var v want
	if err := json.Unmarshal(row.Value, &v); err != nil {
		return v, fmt.Errorf("index: want %s: %w", row.Key, err)
	}
	v.key = row.Key
	parts := strings.SplitN(row.Key, "/", 4)
	if len(parts) != 4 {
		return v, fmt.Errorf("index: want %q has no key of one", row.Key)
	}
	var err error
	if v.from, err = events.ParseSite(parts[0]); err != nil {
		return v, err
	}
	_, err = fmt.Sscanf(parts[1]+" "+parts[2], "%d %d", &v.at.Epoch, &v.at.Seq)
	return v, err
}

// missing returns how many blobs are wanted, and their bytes.
func (w *wants) missing() (count int, bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count, w.bytes
}

// mark returns up to where this site holds all wanted blobs of a log that it has
// applied up to head.
func (w *wants) mark(site events.Site, head events.Mark) events.Mark {
	w.mu.Lock()
	defer w.mu.Unlock()
	low, ok := w.low[site]
	switch {
	case !ok || low.Compare(head) > 0:
		return head
	case low.Seq <= 1:
		return events.Mark{}
	}
	return events.Mark{Epoch: low.Epoch, Seq: low.Seq - 1}
}

// note puts down, with the entry that txn stages, the blobs that one of its events
// refers to, if this site is to hold them. What an unknown repository wants shows
// when it is known. The caller counts them.
func (w *wants) note(txn *index.Txn, ev events.Event) ([]want, error) {
	var noted []want
	for _, v := range statedIn(ev.ID, ev.Body) {
		if due, known := w.due(v); known && !due {
			continue
		}
		value, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		if err := txn.SetLocal(wantsSpace, v.key, value); err != nil {
			return nil, err
		}
		noted = append(noted, v)
	}
	return noted, nil
}

// counted counts wants that note has staged, right before they are committed.
func (w *wants) counted(list []want) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range list {
		w.add(v)
	}
}

// put puts a want down that is none of an entry under way.
func (w *wants) put(v want) error {
	value, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, has, err := w.local().Get(v.key)
	if err != nil || has {
		return err
	}
	if err := w.local().Set(v.key, value); err != nil {
		return err
	}
	w.add(v)
	w.more.notify()
	return nil
}

// due reports whether this site is to hold a blob without being asked for it;
// known is false if the repository isn't known here yet. A go.mod always is,
// since all resolving needs it.
func (w *wants) due(v want) (due, known bool) {
	n := w.sites.node
	r := n.directory().Repo(v.Repo)
	if r == nil {
		return false, false
	}
	return v.Mod || r.Settings.BlobPolicy(r.Kind, n.id.Site, v.Module) == events.Eager, true
}

// done takes a want away.
func (w *wants) done(v want) error {
	w.mu.Lock()
	if err := w.local().Delete(v.key); err != nil {
		w.mu.Unlock()
		return err
	}
	if w.count <= 1 {
		w.sites.troubles.clear("wants")
	}
	w.count = max(0, w.count-1)
	w.bytes = max(0, w.bytes-v.Blob.Size)
	delete(w.later, v.key)
	w.mu.Unlock()
	if err := w.lower(v.from); err != nil {
		return err
	}
	w.sites.moved.notify()
	w.sites.changes.notify()
	poke(w.sites.announce)
	return nil
}

// lower finds the first entry of a log with a want. No other want comes or goes
// meanwhile: a row is there before it is counted.
func (w *wants) lower(site events.Site) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.low, site)
	for row, err := range w.local().All(site.String() + "/") {
		if err != nil {
			return err
		}
		first, err := readWant(row)
		if err == nil {
			w.low[site] = first.at
		}
		return err
	}
	return nil
}

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

// missed reports whether a blob that is not here should be: this site stated it,
// or is to hold it and has not put it down to be fetched.
func (w *wants) missed(b events.Blob) (bool, error) {
	n := w.sites.node
	for v, err := range w.claims(b.Digest) {
		if err != nil {
			return false, err
		}
		if v.Blob != b {
			continue
		}
		if v.from == n.id.Site {
			return true, nil
		}
		_, put, err := w.local().Get(v.key)
		if err != nil {
			return false, err
		}
		if due, _ := w.due(v); due && !put {
			return true, nil
		}
	}
	return false, nil
}

// heal puts a blob that was lost or damaged down to be fetched from another site,
// if this site is to hold it.
func (w *wants) heal(d events.Digest) error {
	for v, err := range w.claims(d) {
		if err != nil {
			return err
		}
		due, _ := w.due(v)
		if !due && v.from != w.sites.node.id.Site {
			continue
		}
		return w.put(v)
	}
	return nil
}

const rescansSpace = "rescans"

// rescanDue puts down that a repository is to be looked through, until rescan
// has done it.
func (w *wants) rescanDue(r *events.Repo) error {
	return w.sites.node.index.Load().Local(rescansSpace).Set(r.ID.String(), []byte{})
}

// rescanAll looks through the repositories that are to be.
func (w *wants) rescanAll(ctx context.Context) error {
	n := w.sites.node
	local := n.index.Load().Local(rescansSpace)
	for row, err := range local.All("") {
		if err != nil {
			return err
		}
		id, err := events.ParseRepoID(row.Key)
		if err != nil {
			return err
		}
		if r := n.directory().Repo(id); r != nil {
			if err := w.rescan(ctx, r); err != nil {
				return fmt.Errorf("repository %s: %w", r.Name, err)
			}
		}
		if err := local.Delete(row.Key); err != nil {
			return err
		}
	}
	return nil
}

// rescan puts down what a repository wants at this site since its rules have
// changed.
func (w *wants) rescan(ctx context.Context, r *events.Repo) error {
	n := w.sites.node
	for rec, err := range n.index.Load().Prefix(events.VersionsPrefix(r.ID, "")) {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, c := range rec.Contributions {
			for v := range wantsOf(c.Site, c.Facts) {
				if due, _ := w.due(v); !due || n.blobs.held(v.Blob) {
					continue
				}
				if err := w.put(v); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// claims yields what is stated about a blob.
func (w *wants) claims(d events.Digest) iter.Seq2[want, error] {
	x := w.sites.node.index.Load()
	return func(yield func(want, error) bool) {
		for key, err := range x.Referrers(d) {
			if err != nil {
				yield(want{}, err)
				return
			}
			cs, err := x.Get(key)
			if err != nil {
				yield(want{}, err)
				return
			}
			for _, c := range cs {
				for v := range wantsOf(c.Site, c.Facts) {
					if v.Blob.Digest == d && !yield(v, nil) {
						return
					}
				}
			}
		}
	}
}

// wantsOf yields the blobs that facts of a site state.
func wantsOf(site events.Site, facts events.Contribution) iter.Seq[want] {
	return func(yield func(want) bool) {
		for _, f := range facts {
			id := events.EventID{Site: site, Mark: f.Mark, Index: f.Index}
			for _, v := range statedIn(id, f.Body) {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// statedIn returns the blobs that an event states.
func statedIn(id events.EventID, body events.Body) []want {
	var c events.Content
	var mv events.ModuleVersion
	switch b := body.(type) {
	case events.VersionPublished:
		c, mv = b.Content, b.ModuleVersion
	case events.VersionFilled:
		c, mv = b.Content, b.ModuleVersion
	default:
		return nil
	}
	var list []want
	for _, b := range c.Blobs() {
		if b.Size > maxZip || b == c.ModBlob && b.Size > maxGoMod {
			continue // nothing that may be served is so large
		}
		list = append(list, want{
			Blob: b, Mod: b == c.ModBlob, Repo: mv.Repo, Module: mv.Module, Version: mv.Version,
			ModH1: c.ModH1, ZipH1: c.ZipH1, key: wantKey(id, b.Digest), from: id.Site, at: id.Mark,
		})
	}
	return list
}
