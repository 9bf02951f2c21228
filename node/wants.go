package node

import (
	"encoding/json"
	"fmt"
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

// want is a blob of a module version that an entry states, or the build info of a
// build, of which Module is the name and Version the number.
type want struct {
	Blob    events.Blob   `json:"blob"`
	Mod     bool          `json:"mod,omitempty"` // it is the go.mod, else the zip
	Build   bool          `json:"build,omitempty"`
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
// since all resolving needs it, and a build info, which is in no repository.
func (w *wants) due(v want) (due, known bool) {
	n := w.sites.node
	if v.Build {
		return true, true
	}
	st := n.state.Load()
	if st == nil {
		return false, false // the index is just being made
	}
	r := st.dir.Repo(v.Repo)
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
