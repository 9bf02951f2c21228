package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/access"
)

// What an upstream says about lists and queries changes, so it is asked again
// after a while; what it says of exact versions is recorded for ever, but their
// absence only for a while. The settings of a repository say for how long.

// failedFor is how long a failure of the upstream stands for what it would say if
// it were asked again.
const failedFor = 5 * time.Second

// fresh reports whether what an upstream said still stands for what it would say.
func (r *Repository) fresh(k askKey, s seen, now time.Time) bool {
	p := r.repo.Settings.RemotePolicy
	ttl := p.QueryTTL.Or(events.DefaultQueryTTL)
	switch {
	case s.err != nil:
		ttl = failedFor
	case k.query == "":
		ttl = p.ListTTL.Or(events.DefaultListTTL)
	}
	return now.Sub(s.tried) < ttl && !r.refreshedSince(k.path, s.began)
}

// saidAbsent reports whether the upstream said a while ago that it has not got k,
// and need not be asked again.
func (r *Repository) saidAbsent(k askKey) bool {
	at, ok := r.node.fetches.absent.since(k)
	return ok && time.Since(at) < r.repo.Settings.AbsentTTL.Or(events.DefaultAbsentTTL) && !r.refreshedSince(k.path, at)
}

// tooOld reports whether an answer is older than what may be given while the
// upstream can't be asked. Who has switched the upstream off has decided to live
// with what there is.
func (r *Repository) tooOld(s seen) bool {
	return r.offline() == nil && time.Since(s.At) > r.repo.Settings.StaleFor.Or(events.DefaultStaleFor)
}

// offline is the error that the upstream is not to be asked, nil if it may be.
func (r *Repository) offline() error {
	switch {
	case r.node.offline.Load():
		return because(errOffline, ErrUnavailable, "this node is switched offline and asks no upstream; an administrator ends that with: registry-node offline off")
	case r.repo.Settings.Offline:
		return because(errOffline, ErrUnavailable, "repository %s is switched offline and asks no upstream; an administrator ends that with: registry-node repo set %s --offline=false",
			r.repo.Name, r.repo.Name)
	}
	return nil
}

// offlineNow is offline of a remote repository as it is set now.
func (n *Node) offlineNow(id events.RepoID) error {
	st := n.state.Load()
	repo := st.dir.Repo(id)
	if repo == nil {
		return because(errOffline, ErrUnavailable, "the repository has been deleted")
	}
	return (&Repository{node: n, st: st, repo: repo}).offline()
}

// errOffline is the cause of what fails since the upstream is switched off.
var errOffline = errors.New("offline")

const (
	nodeSpace  = "node" // switches of this node
	offlineKey = "offline"
)

// Offline reports whether this node is switched offline: then it asks no
// upstream, and serves what is held here or at other sites.
func (n *Node) Offline(who *access.Caller) (bool, error) {
	return n.offline.Load(), n.allow(who, access.Everything)
}

// SetOffline switches this node offline or online. It stays so across restarts;
// other sites are not concerned.
func (n *Node) SetOffline(who *access.Caller, off bool) error {
	if err := n.allow(who, access.Everything); err != nil {
		return err
	}
	local := n.index.Load().Local(nodeSpace)
	var err error
	if off {
		err = local.Set(offlineKey, []byte{})
	} else {
		err = local.Delete(offlineKey)
	}
	if err == nil {
		err = n.index.Load().Sync()
	}
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	n.offline.Store(off)
	n.sites.changes.notify()
	return nil
}

func (n *Node) loadOffline() error {
	_, off, err := n.index.Load().Local(nodeSpace).Get(offlineKey)
	n.offline.Store(off)
	return err
}

// refreshKey names a module of a repository, or with an empty path all of them,
// whose upstream was asked to be asked anew.
type refreshKey struct {
	repo events.RepoID
	path string
}

const refreshSlots = 1 << 10

// refreshedSince reports whether somebody asked for a fresh answer about a module
// after at.
func (r *Repository) refreshedSince(path string, at time.Time) bool {
	for _, k := range []refreshKey{{r.repo.ID, path}, {r.repo.ID, ""}} {
		if t, ok := r.node.fetches.refreshed.get(k); ok && !t.Before(at) {
			return true
		}
	}
	return false
}

// Refreshed is what Refresh found.
type Refreshed struct {
	Module   string   `json:"module,omitempty"`
	Versions []string `json:"versions,omitempty"` // that the upstream lists now
}

// Refresh forgets what the upstream of a remote repository said about lists,
// queries and absences: of one module, which is asked for at once, or with an
// empty path of all. What is recorded stays. Errors: ErrNotFound, ErrInvalid (the
// path, or not a remote repository), and those of the upstream.
func (n *Node) Refresh(ctx context.Context, who *access.Caller, name events.RepoName, path string) (Refreshed, error) {
	if err := n.allow(who, manage(name)); err != nil {
		return Refreshed{}, err
	}
	r, err := n.remoteNamed(name)
	if err != nil {
		return Refreshed{}, err
	}
	if path == "" {
		n.fetches.refreshed.put(refreshKey{r.repo.ID, ""}, time.Now())
		return Refreshed{}, nil
	}
	if err := module.CheckPath(path); err != nil {
		return Refreshed{}, because(err, ErrInvalid, "%v", err)
	}
	if err := r.offline(); err != nil {
		return Refreshed{}, err
	}
	switch _, kept, err := r.sources(path); {
	case err != nil:
		return Refreshed{}, err
	case kept != noBarrier:
		return Refreshed{}, r.excluded(ctx, path, kept)
	}
	now := time.Now()
	n.fetches.refreshed.put(refreshKey{r.repo.ID, path}, now)
	s, err := r.askAnew(ctx, path, now)
	switch {
	case err != nil:
		return Refreshed{}, err
	case s.err != nil:
		return Refreshed{}, s.err
	case s.absent:
		return Refreshed{}, fail(ErrNotFound, "%s: no such module upstream of repository %s", path, name)
	}
	return Refreshed{path, s.Versions}, nil
}

// askAnew asks the upstream for a list, and returns what it was asked after since.
// A request that was under way before may have been joined; its answer, kept by
// now, is then overtaken by a second one.
func (r *Repository) askAnew(ctx context.Context, path string, since time.Time) (seen, error) {
	k := r.asks(path, "")
	ask := func(ctx context.Context) (seen, error) { return r.askUpstream(ctx, k) }
	s, err := r.node.fetches.asks.do(ctx, k, ask)
	if err == nil && s.began.Before(since) {
		s, err = r.node.fetches.asks.do(ctx, k, ask)
	}
	return s, err
}

// remoteNamed returns a remote repository. It fails with ErrInvalid for another
// kind.
func (n *Node) remoteNamed(name events.RepoName) (*Repository, error) {
	r, err := n.repository(n.self(), name)
	if err != nil {
		return nil, err
	}
	if r.repo.Kind != events.Remote {
		return nil, fail(ErrInvalid, "repository %s is %v; this is for remote ones", name, r.repo.Kind)
	}
	return r, nil
}
