package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"registry-node/events"
	"registry-node/node/upstream"
)

// seen is what an upstream said to a list or a query, and when.
type seen struct {
	At       time.Time `json:"at"`
	Upstream string    `json:"upstream"`           // that said so, as the settings name it
	Versions []string  `json:"versions,omitempty"` // of a list
	Version  string    `json:"version,omitempty"`  // of a query: the one it stands for
	Info     []byte    `json:"info,omitempty"`     // of a query

	absent bool // it said that there is no such thing
	long   bool // its versions are in the index only
	// outdated says that it failed, and what it said before is too old.
	outdated bool
	err      error     // it failed; what stands above is what it said before, if At is set
	began    time.Time // when it was asked
	tried    time.Time // when it had answered, or failed
}

func (s seen) known() bool { return !s.At.IsZero() }

// askKey is what is asked of an upstream. The upstream is part of it, so that
// nothing that one said is taken for what another says, even if the settings
// change while it is being asked.
type askKey struct {
	repo     events.RepoID
	upstream string // as the settings name it
	path     string
	query    string // empty: list; latestQuery: @latest; or a version
}

// asks returns the key for a list or a query.
func (r *Repository) asks(path, query string) askKey {
	return askKey{r.repo.ID, r.repo.Settings.Upstream, path, query}
}

const latestQuery = "@latest"

// listRemote returns the versions that the upstream lists, fresh if it can be
// asked, together with those that are held.
func (r *Repository) listRemote(ctx context.Context, path string) (List, error) {
	h, err := r.node.heldVersions(r.st.dir, r.repo, path)
	if err != nil {
		return List{}, err
	}
	s, err := r.ask(ctx, path, "")
	if err != nil {
		return List{}, err
	}
	switch {
	case s.outdated:
		return List{}, s.err
	case s.known() || h.any:
	case s.err != nil && !r.belowHeld(path):
		return List{}, s.err
	default:
		return List{}, because(s.err, ErrNotFound, "%s: no such module upstream of repository %s", path, r.repo.Name)
	}
	merged := r.merge(path, s.Versions, h)
	versions, err := r.ripened(ctx, path, merged)
	if err != nil {
		return List{}, err
	}
	young, err := r.youngOf(path, without(merged, versions))
	return List{Versions: versions, Stale: s.err != nil, young: young}, err
}

// youngOf returns those of versions that a list leaves out which it does for their
// age.
func (r *Repository) youngOf(path string, versions []string) (young []string, err error) {
	if len(versions) == 0 || r.repo.Settings.MinAge.IsZero() {
		return nil, nil
	}
	ages, err := r.node.firstSeen(r.st.dir, r.repo, path)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for _, v := range versions {
		if _, hide := r.opensAt(ages, module.Version{Path: path, Version: v}, now); hide {
			young = append(young, v)
		}
	}
	return young, nil
}

// merge returns what an upstream listed together with what is held, sorted,
// without what may not be shown. Both are sorted.
func (r *Repository) merge(path string, listed []string, h *held) []string {
	merged := slices.Clip(listed)
	for _, v := range h.listed {
		if i, ok := slices.BinarySearchFunc(listed, v, compareVersions); !ok || listed[i] != v {
			merged = append(merged, v)
		}
	}
	if len(merged) > len(listed) {
		semver.Sort(merged)
	}
	hidden := func(v string) bool {
		_, blocked := r.st.dir.Blocked(module.Version{Path: path, Version: v})
		return blocked || slices.Contains(h.gone, v)
	}
	if slices.ContainsFunc(merged, hidden) {
		merged = slices.DeleteFunc(slices.Clone(merged), hidden)
	}
	return merged
}

// compareVersions is the order of semver.Sort.
func compareVersions(a, b string) int {
	return cmp.Or(semver.Compare(a, b), cmp.Compare(a, b))
}

// belowHeld reports whether path lies below a module of which this repository
// holds a version. While the upstream is out of reach, such a path is taken not
// to be a module: a failure there would fail "go get M/sub/pkg" although M is
// held (GOPROXY reference, candidate paths).
func (r *Repository) belowHeld(path string) bool {
	for i := strings.LastIndexByte(path, '/'); i > 0; i = strings.LastIndexByte(path[:i], '/') {
		h, err := r.node.heldVersions(r.st.dir, r.repo, path[:i])
		if err == nil && h.any {
			return true
		}
	}
	return false
}

// queryRemote resolves a query upstream, or says what it stood for last if the
// upstream can't be asked.
func (r *Repository) queryRemote(ctx context.Context, path, query string) (Info, error) {
	s, err := r.ask(ctx, path, query)
	if err != nil {
		return Info{}, err
	}
	switch {
	case s.known():
		mv := module.Version{Path: path, Version: s.Version}
		if err := blocked(r.st.dir, mv); err != nil {
			return Info{}, err
		}
		if at, young, err := r.opens(mv, time.Now()); err != nil || young {
			return Info{}, cmp.Or(err, r.tooYoung(mv, at))
		}
		return Info{Version: s.Version, Data: s.Info}, nil
	case s.err != nil && !r.belowHeld(path):
		return Info{}, s.err
	}
	return Info{}, because(s.err, ErrNotFound, "%s@%s: not found upstream of repository %s", path, query, r.repo.Name)
}

// ask returns what the upstream says to a list or a query, from memory while
// that is fresh. The error is this node's own, or the caller's context's; the
// upstream's is in the answer.
func (r *Repository) ask(ctx context.Context, path, query string) (seen, error) {
	k := r.asks(path, query)
	if r.HeldOnly {
		return r.lastSeen(k)
	}
	if off := r.offline(); off != nil {
		s, err := r.lastSeen(k)
		s.err = off
		return s, err
	}
	if s, ok := r.askedBefore(k); ok {
		return s, nil
	}
	if over := r.overspent(k); over != nil {
		s, err := r.lastSeen(k)
		s.err = over
		return s, err
	}
	return r.node.fetches.asks.do(ctx, k, func(ctx context.Context) (seen, error) {
		if s, ok := r.askedBefore(k); ok {
			return s, nil
		}
		if !r.Misses.take() {
			s, err := r.lastSeen(k)
			s.err = overspent(k.String())
			return s, err
		}
		s, err := r.askUpstream(ctx, k)
		if !s.absent {
			r.Misses.giveBack()
		}
		return s, err
	})
}

// askedBefore returns what the upstream said lately.
func (r *Repository) askedBefore(k askKey) (seen, bool) {
	s, ok := r.node.fetches.asked.get(k)
	switch {
	case !ok || !r.fresh(k, s, time.Now()):
		return seen{absent: true}, r.saidAbsent(k)
	case s.long:
		last, err := r.lastSeen(k)
		last.err, last.began, last.tried = s.err, s.began, s.tried
		return last, err == nil && last.known()
	}
	return s, true
}

// keep keeps an answer in memory; of a long list only that it is in the index.
func (r *Repository) keep(k askKey, s seen) {
	if len(s.Versions) > maxRememberedVersions {
		s.Versions, s.long = nil, true
	}
	r.node.fetches.asked.put(k, s)
}

func (r *Repository) askUpstream(ctx context.Context, k askKey) (seen, error) {
	rem, err := r.remote()
	if err != nil {
		return seen{}, err
	}
	began := time.Now()
	s, err := askOne(ctx, rem.client, k)
	rem.asked(err)
	tried := time.Now()
	switch {
	case err == nil:
		s.At, s.Upstream = tried, k.upstream
		if err := r.remember(k, s); err != nil {
			return seen{}, err
		}
		r.noteSeen(k.path, s)
	case errors.Is(err, upstream.ErrNotFound):
		r.putAbsent(k, began)
		return seen{absent: true, began: began}, r.forget(k)
	default:
		if s, err = r.failedAsk(k, err); err != nil {
			return seen{}, err
		}
	}
	s.began, s.tried = began, tried
	r.keep(k, s)
	return s, nil
}

// putAbsent remembers that the upstream, asked at began, said that it has not got
// k; unless somebody has asked for a fresh answer meanwhile.
func (r *Repository) putAbsent(k askKey, began time.Time) {
	now := time.Now() // before the look: what is refreshed after it is after now
	if !r.refreshedSince(k.path, began) {
		r.node.fetches.absent.put(k, now)
	}
}

// forget drops what the upstream said before it said that there is no such thing:
// that is not to be given out when it fails later.
func (r *Repository) forget(k askKey) error {
	if _, ok := r.node.fetches.asked.get(k); ok {
		r.node.fetches.asked.put(k, seen{})
	}
	local := r.node.index.Load().Local(seenSpace)
	_, ok, err := local.Get(k.local()) // most absences are of what never was there
	if err == nil && ok {
		err = local.Delete(k.local())
	}
	if err != nil {
		return fmt.Errorf("%v: index: %w", k, err)
	}
	return nil
}

// failedAsk returns what the upstream said before, with the failure beside it.
func (r *Repository) failedAsk(k askKey, failure error) (seen, error) {
	if errors.Is(failure, context.Canceled) {
		return seen{}, failure
	}
	s, err := r.lastSeen(k)
	s.err = upstreamFailed(failure, k.String())
	if s.known() && r.tooOld(s) {
		s = seen{err: because(s.err, kindOfFailure(s.err), "%v; what it said last, at %s, is older than may be given out (--stale-for)",
			s.err, s.At.UTC().Format(time.RFC3339)), outdated: true}
	}
	return s, err
}

// kindOfFailure returns the kind of an error of upstreamFailed.
func kindOfFailure(err error) error {
	if told, ok := errors.AsType[*Error](err); ok {
		return told.Kind
	}
	return ErrUpstream
}

func (k askKey) String() string {
	if k.query == "" {
		return k.path
	}
	return k.path + "@" + strings.TrimPrefix(k.query, "@")
}

func askOne(ctx context.Context, c source, k askKey) (seen, error) {
	switch k.query {
	case "":
		versions, err := c.List(ctx, k.path)
		return seen{Versions: versions}, err
	case latestQuery:
		info, err := c.Latest(ctx, k.path)
		return seen{Version: info.Version, Info: info.Raw}, err
	}
	info, err := c.Query(ctx, k.path, k.query)
	return seen{Version: info.Version, Info: info.Raw}, err
}

// remember keeps an answer for times when the upstream can't be asked.
func (r *Repository) remember(k askKey, s seen) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := r.node.spare(seenSpace, k.local(), b); err != nil {
		return fmt.Errorf("%v: index: %w", k, err)
	}
	return nil
}

const seenSpace = "seen"

func (k askKey) local() string { return k.repo.String() + "\x00" + k.path + "\x00" + k.query }

// lastSeen returns what k's upstream said last, of which nothing is known if the
// repository has another one since.
func (r *Repository) lastSeen(k askKey) (s seen, err error) {
	b, ok, err := r.node.index.Load().Local(seenSpace).Get(k.local())
	if err == nil && ok {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return seen{}, fmt.Errorf("%v: index: %w", k, err)
	}
	if s.Upstream != k.upstream {
		return seen{}, nil
	}
	return s, nil
}

func (r *Repository) remote() (*remote, error) {
	rem := r.st.remotes[r.repo.ID]
	if rem == nil {
		return nil, fail(ErrUnavailable, "repository %s has been deleted", r.repo.Name)
	}
	return rem, rem.broken
}
