package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/blob"
	"registry-node/node/upstream"
)

// fetches are the requests to upstreams that are under way, and what they said
// lately. All memory here is bounded, whatever is asked.
type fetches struct {
	asks  *flights[askKey, seen]
	mods  *flights[fillKey, *events.HeldContent]
	zips  *arrivals[fillKey]
	asked *table[askKey, seen]
	// absent are lists, queries and versions (each part is its own) that are not
	// there.
	absent    *negatives
	refreshed *table[refreshKey, time.Time]
}

type fillKey struct {
	repo events.RepoID
	mv   module.Version
}

const askedSlots = 1 << 13

func newFetches(l *life, logger *slog.Logger) *fetches {
	return &fetches{
		asks:   newFlights[askKey, seen](l.ctx, &l.wg),
		mods:   newFlights[fillKey, *events.HeldContent](l.ctx, &l.wg),
		zips:   newArrivals[fillKey](l, logger),
		asked:  newTable[askKey, seen](askedSlots),
		absent: newNegatives(negativeSlots), refreshed: newTable[refreshKey, time.Time](refreshSlots),
	}
}

// unlessAbsent fetches, unless the upstream said a moment ago that there is no
// such version or is not to be asked, and remembers if it says so now. It runs
// within a flight, so that who comes too late for one finds what that one learnt.
func (r *Repository) unlessAbsent(mv module.Version, fetch func(*remote) error) error {
	if err := r.offline(); err != nil {
		return err
	}
	k := r.asks(mv.Path, mv.Version)
	if r.saidAbsent(k) {
		return r.fetchFailed(upstream.ErrNotFound, mv)
	}
	rem, err := r.remote()
	if err != nil {
		return err
	}
	began := time.Now()
	if !r.Misses.take() {
		return overspent(k.String())
	}
	err = fetch(rem)
	if !errors.Is(err, ErrNotFound) {
		r.Misses.giveBack()
	}
	if err == nil || errors.Is(err, upstream.ErrUnavailable) || errors.Is(err, upstream.ErrTimeout) {
		rem.asked(err) // else it answered, with something that is refused
	}
	if errors.Is(err, ErrNotFound) {
		r.putAbsent(k, began)
	}
	return err
}

// held returns what is held of mv now, nil if nothing is.
func (r *Repository) held(ctx context.Context, mv module.Version) (*events.HeldContent, error) {
	st := r.node.state.Load()
	repo := st.dir.Repo(r.repo.ID)
	v, err := r.node.version(st.dir, repo, mv)
	if err != nil {
		return nil, err
	}
	return r.right(ctx, mv, v)
}

// fetchMod fetches info and go.mod of mv, verifies and records them. Concurrent
// calls are one. If it is this call that fetches, then fetched, unless it is nil,
// is told when they have come, a moment before they are recorded.
func (r *Repository) fetchMod(ctx context.Context, mv module.Version, fetched func()) (*events.HeldContent, error) {
	return r.node.fetches.mods.do(ctx, fillKey{r.repo.ID, mv}, func(ctx context.Context) (*events.HeldContent, error) {
		c, err := r.held(ctx, mv)
		if err != nil || c != nil && c.HasMod() {
			return c, err
		}
		err = r.unlessAbsent(mv, func(rem *remote) error {
			f, err := rem.fetchMod(ctx, mv)
			if err != nil {
				return r.fetchFailed(err, mv)
			}
			if fetched != nil && (f.sums == (upstream.Sums{}) || f.sums.Mod == upstream.GoModH1(f.mod)) {
				fetched()
			}
			c, err = r.record(ctx, rem, f)
			return err
		})
		return c, err
	})
}

// fetchMod asks the upstream for info and go.mod, and the checksum database
// for the hashes, all at once. The go.mod says whether the version is there:
// a tree of files, such as a module cache, may hold it without the info.
func (rem *remote) fetchMod(ctx context.Context, mv module.Version) (admission, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var info upstream.Info
	var sums upstream.Sums
	var infoErr, sumsErr error
	wg.Go(func() { info, infoErr = rem.client.Info(ctx, mv) })
	wg.Go(func() { sums, sumsErr = rem.sums(ctx, mv) })
	mod, err := rem.client.Mod(ctx, mv)
	if err != nil {
		cancel() // a database may take long to find that a version is unknown
	}
	wg.Wait()
	if errors.Is(infoErr, upstream.ErrNotFound) {
		info, infoErr = upstream.Info{Version: mv.Version, Raw: fmt.Appendf(nil, `{"Version":%q}`, mv.Version)}, nil
	}
	for _, e := range []error{err, infoErr, sumsErr} {
		if e != nil {
			return admission{}, e
		}
	}
	if info.Version != mv.Version {
		return admission{}, fail(ErrUpstream, "%s@%s: the upstream's info is for version %s", mv.Path, mv.Version, info.Version)
	}
	return admission{mv: mv, info: info.Raw, mod: mod, sums: sums}, nil
}

// record admits what was fetched and returns what is held then.
func (r *Repository) record(ctx context.Context, rem *remote, a admission) (*events.HeldContent, error) {
	a.repo = r.repo
	if a.sums != (upstream.Sums{}) {
		a.sumdb = rem.dbName
	}
	a.upstream = rem.settings.Upstream
	if _, err := r.node.admit(ctx, &a); err != nil {
		return nil, err
	}
	c, err := r.held(ctx, a.mv)
	if err == nil && c == nil {
		err = fail(ErrUnavailable, "%s@%s: repository %s has been changed meanwhile", a.mv.Path, a.mv.Version, r.repo.Name)
	}
	return c, err
}

// sums asks the checksum database for the hashes of mv. It returns none if the
// settings say that the module is not in there.
func (rem *remote) sums(ctx context.Context, mv module.Version) (upstream.Sums, error) {
	if !rem.covers(mv.Path) {
		return upstream.Sums{}, nil
	}
	return rem.sumdb.Lookup(ctx, mv)
}

const toolchainModule = "golang.org/toolchain"

// covers reports whether content must be in the checksum database to be
// recorded. The toolchain must always be.
func (rem *remote) covers(path string) bool {
	return rem.sumdb.Covers(path) && (path == toolchainModule || !events.MatchAny(rem.settings.NoSumdb, path))
}

// fetchFailed says what a failed fetch means for who asked.
func (r *Repository) fetchFailed(err error, mv module.Version) error {
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	what := mv.Path + "@" + mv.Version
	switch {
	case errors.Is(err, upstream.ErrNotInDatabase):
		return because(err, ErrUpstream, "%s: the checksum database %s does not know it, so it is not served; if it is private, an administrator adds its path with: registry-node repo set %s --no-sumdb",
			what, r.repo.Settings.Sumdb, r.repo.Name)
	case errors.Is(err, upstream.ErrSecurity):
		return because(err, ErrUpstream, "%s: SECURITY ERROR: what came as the checksum database's answer is not what it signed: %v", what, err)
	case errors.Is(err, upstream.ErrNotFound):
		return because(err, ErrNotFound, "%s: not found upstream of repository %s", what, r.repo.Name)
	case errors.Is(err, blob.ErrNoSpace), errors.Is(err, blob.ErrUnhealthy), errors.Is(err, blob.ErrTooLarge):
		return storeFailed(err, what)
	}
	return upstreamFailed(err, what)
}
