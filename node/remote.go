package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/index"
	"registry-node/node/upstream"
)

// remote is what a remote repository works with: its settings, and the connection
// that they name.
type remote struct {
	settings events.RepoSettings
	*connection
}

// connection is the client of a repository's upstreams and of its checksum
// database. It outlives changes of settings that it is not made of, and so do the
// requests under way and the clones.
type connection struct {
	client source
	sumdb  *upstream.Sumdb
	dbName string // of the checksum database, empty if there is none
	// broken is why the settings can't be used at this node, if so: what one
	// version of the program accepts another may not.
	broken error
	// dir is where a VCS upstream keeps its clones; empty if it is none.
	dir string
	// failing is since when the upstream has failed, and how; nil if it has not, or
	// not since it last answered.
	failing atomic.Pointer[failing]
}

type failing struct {
	since, last time.Time // the first and the last failure
	err         error
}

// asked notes how a request to the upstream ended. What is absent is an answer.
func (c *connection) asked(err error) {
	switch {
	case err == nil, errors.Is(err, upstream.ErrNotFound), errors.Is(err, upstream.ErrOldGo):
		c.failing.Store(nil)
	case errors.Is(err, context.Canceled):
	default:
		now := time.Now()
		f := &failing{now, now, err}
		if old := c.failing.Load(); old != nil {
			f.since = old.since
		}
		c.failing.Store(f)
	}
}

// source is where a remote repository fetches from.
type source interface {
	List(ctx context.Context, path string) ([]string, error)
	Latest(ctx context.Context, path string) (upstream.Info, error)
	Query(ctx context.Context, path, query string) (upstream.Info, error)
	Info(ctx context.Context, mv module.Version) (upstream.Info, error)
	Mod(ctx context.Context, mv module.Version) ([]byte, error)
	Zip(ctx context.Context, mv module.Version, w io.Writer, size func(int64)) (int64, error)
	Close()
}

func (c *connection) close() {
	if c.broken == nil {
		c.sumdb.Close()
		c.client.Close()
	}
}

// connects returns those settings that a connection is made of, in openRemote and
// what it calls; the others are zero.
func connects(s events.RepoSettings) events.RepoSettings {
	return events.RepoSettings{Upstream: s.Upstream, Sumdb: s.Sumdb, RemotePolicy: events.RemotePolicy{
		OfflineFor: s.OfflineFor, Timeout: s.Timeout,
		AllowTargets: s.AllowTargets, AllowInside: s.AllowInside, PlainHosts: s.PlainHosts,
		Proxy: s.Proxy, Secrets: s.Secrets,
	}}
}

// serves reports whether the connection of r, which may be nil, does for settings.
// One that is broken is made anew with every change.
func (r *remote) serves(s events.RepoSettings) bool {
	switch {
	case r == nil:
		return false
	case r.broken != nil:
		return reflect.DeepEqual(r.settings, s)
	}
	return reflect.DeepEqual(connects(r.settings), connects(s))
}

// ViaHeader is the header by which nodes recognise requests that come round to
// them again.
const ViaHeader = upstream.ViaHeader

// Via returns what this node writes into ViaHeader.
func (n *Node) Via() string { return n.id.Registry.Hex()[:16] + "/" + n.id.Site.String() }

// setDirectory makes d the Directory that everybody sees, with connections for its
// remote repositories. The caller holds resolving.
func (n *Node) setDirectory(d *events.Directory) {
	by := compileDelegation(d)
	st := &state{dir: d, remotes: map[events.RepoID]*remote{}, rights: by.table, delegation: by,
		identities: newTable[events.Key, knownIdentity](identitySlots), alone: len(d.Sites()) <= 1}
	old := n.state.Load()
	var before map[events.RepoID]*remote
	if old != nil {
		before = old.remotes
	}
	for _, r := range d.Repos() {
		if r.Kind != events.Remote {
			continue
		}
		rem := &remote{settings: r.Settings}
		if was := before[r.ID]; was.serves(r.Settings) {
			rem.connection = was.connection
		} else {
			rem.connection = n.openRemote(r)
		}
		st.remotes[r.ID] = rem
	}
	n.state.Store(st)
	if old == nil {
		strays := n.strayClones(st)
		n.life.wg.Go(func() { n.removeClones(strays) })
	}
	for id, was := range before {
		if now := st.remotes[id]; now == nil || now.connection != was.connection {
			// What came by another way (other credentials, another proxy) says nothing now.
			n.fetches.refreshed.put(refreshKey{id, ""}, time.Now())
			n.life.wg.Go(func() { n.discard(was.connection) }) // waits for what is under way
		}
	}
}

func (n *Node) openRemote(r *events.Repo) *connection {
	c := &connection{dbName: databaseName(r.Settings.Sumdb)}
	broken := func(err error, format string) *connection {
		return &connection{
			dbName: c.dbName, // who asks for the database is told why it can't be
			dir:    c.dir,    // to be removed
			broken: because(err, ErrUnavailable, "repository %s can't be used at this node: "+format, r.Name, err),
		}
	}
	list, db, err := parseRemote(r.Settings, n.opts.Self)
	if err != nil {
		return broken(err, "%v")
	}
	opts, err := n.clientOptions(r.Settings)
	if err != nil {
		return broken(err, "%v")
	}
	client := upstream.New(list, opts)
	c.client = client
	if r.Settings.Upstream == events.UpstreamVCS {
		if err := n.openVCS(c, r, opts); err != nil {
			client.Close()
			return broken(err, "%v")
		}
	}
	c.sumdb, err = upstream.NewSumdb(upstream.SumdbConfig{
		Database: db, Client: client, State: localState{n, "sumdb " + r.ID.String()},
		Others: func(ctx context.Context, path string) ([]byte, error) { return n.sites.sumdbElsewhere(ctx, r.ID, path) },
		Closed: func() error { return n.offlineNow(r.ID) },
	})
	if err != nil {
		client.Close()
		c.client.Close()
		return broken(err, "checksum database: %v")
	}
	return c
}

// parseRemote checks the settings of a remote repository. self are the
// addresses of this node, to which an upstream may not lead back.
func parseRemote(s events.RepoSettings, self []string) (list upstream.List, db upstream.Database, err error) {
	goproxy := s.Upstream
	if goproxy == events.UpstreamVCS {
		goproxy = "off" // no GOPROXY is asked; the list is the way to the checksum database
	}
	if list, err = upstream.ParseList(goproxy); err != nil {
		return list, db, fmt.Errorf("upstream: %w", err)
	}
	if list.HasCredentials() {
		return list, db, fmt.Errorf("upstream %s holds a password; settings are written to the log, where secrets must not be", list)
	}
	if list.EndsInDirect() {
		return list, db, fmt.Errorf(`upstream %s ends in "direct", which this remote repository can't follow; name GOPROXY URLs only, make another one with the upstream %q, and a virtual one of both`, list, events.UpstreamVCS)
	}
	for u := range strings.FieldsFuncSeq(s.Upstream, func(r rune) bool { return r == ',' || r == '|' }) {
		if leadsBack(u, self) {
			return list, db, fmt.Errorf("upstream %s is this node itself", list)
		}
	}
	if db, err = upstream.ParseDatabase(s.Sumdb); err != nil {
		return list, db, fmt.Errorf("checksum database: %w", err)
	}
	return list, db, nil
}

// leadsBack reports whether a URL names one of the addresses in self. Names for
// the loopback address are taken for one another.
func leadsBack(rawURL string, self []string) bool {
	u, err := url.Parse(strings.TrimSpace(rawURL))
	if err != nil || u.Host == "" {
		return false
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return slices.ContainsFunc(self, func(addr string) bool {
		host, p, err := net.SplitHostPort(addr)
		return err == nil && p == port && canonicalHost(host) == canonicalHost(u.Hostname())
	})
}

func canonicalHost(h string) string {
	h = strings.ToLower(strings.TrimSuffix(h, "."))
	if ip := net.ParseIP(h); h == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) {
		return "localhost"
	}
	return h
}

// localState keeps what an upstream.Sumdb has verified in the index's local
// space. It follows the index when that is rebuilt.
type localState struct {
	node  *Node
	space string
}

func (s localState) local() *index.Local { return s.node.index.Load().Local(s.space) }

func (s localState) Get(key string) ([]byte, bool, error) { return s.local().Get(key) }
func (s localState) Set(key string, value []byte) error   { return s.local().Set(key, value) }
