package node

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/blob"
	"registry-node/node/index"
	"registry-node/replication"
)

// Options says how a Node runs. Zero values work.
type Options struct {
	// Logger gets what an operator may want to know. Nil discards it.
	Logger *slog.Logger
	// Version is this program's version, for status.
	Version string
	// Self are the host:port pairs under which this node is reached, so that a
	// remote repository that points back at it is refused.
	Self []string

	// PeerListen is the host:port at which other sites reach this node; empty if
	// they can't. Advertise is the host under which they know it; PeerListen's by
	// default.
	PeerListen, Advertise string
	// PeerBandwidth bounds, in bytes per second, what blobs from other sites may
	// take; 0 is no bound.
	PeerBandwidth int64

	// HoldTime is how long the parts of a version that is uploaded in several are kept
	// after the last of them came; 0: 5 minutes. See Deploy.
	HoldTime time.Duration

	// Audit is told of what is done for those who don't ask over HTTP: sites that
	// forward decisions, and sites that join. It must not block. Nil: nobody is.
	Audit func(AuditEvent)

	// noMend is for tests that show what mending is for.
	noMend bool
	// level is for tests of nodes of another version.
	level int
	// passwordCost is for tests that have no time for that of bcrypt.
	passwordCost int
	// webhooks are for tests that have no time, and have certificates of their own.
	webhooks webhookOptions
	// dialPeer is for tests that put faults between sites.
	dialPeer func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Node is one process of a site, open on its data directory.
type Node struct {
	dir    string
	id     identity
	key    ed25519.PrivateKey // signs the site's entries
	opts   Options
	logger *slog.Logger
	life   *life

	log   *replication.Log            // copy one of the site's log
	index atomic.Pointer[index.Index] // copy two, and what derives from it; replaced by Rebuild
	state atomic.Pointer[state]       // the Directory and what hangs on it
	// drafted is there so that refusals cost little, see delegationIn.
	drafted atomic.Pointer[drafted]
	blobs   *blobs
	space   *space

	secrets *Secrets // of upstreams; in no log

	commits   *committer
	reads     *reads
	fetches   *fetches
	sites     *sites
	bootstrap *bootstrap
	vouchers  *vouchers
	sightings *sightings
	exchanges *exchanges
	passwords *passwords
	uses      *uses     // of tokens
	sums      *fileSums // of blobs
	// buildTurns has a place for each build info that is in memory.
	buildTurns chan struct{}
	webhooks   *webhooks
	parts      *heldParts
	// offline says that this node asks no upstream.
	offline atomic.Bool

	resolving  sync.Mutex // held while the Directory is made anew
	rebuilding sync.Mutex // held by Rebuild
}

// state is what a Node derives from the Directory. It is replaced as a whole.
type state struct {
	dir     *events.Directory
	remotes map[events.RepoID]*remote
	// rights say who may do what.
	rights *access.Table
	// identities are users and tokens as they are while this is the state.
	identities *table[events.Key, knownIdentity]
	// delegation says who may change that; its table is rights.
	delegation delegation
	// alone says that there never was another site: all content is this site's
	// own.
	alone bool
}

// life is what a Node owns for as long as it is open.
type life struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // goroutines under ctx
	lock   *os.File       // of the data directory
	closed atomic.Bool
}

// Open opens the data directory of a site: it locks it, compares the two copies
// of the log, mends what one lacks from the other, and is ready for reads and
// writes when it returns. It never makes a registry: that is what Init does. It
// fails with ErrNoData if dir holds none.
func Open(ctx context.Context, dir string, opts Options) (_ *Node, err error) {
	if err := checkFormat(dir); err != nil {
		return nil, err
	}
	id, key, err := readIdentity(dir)
	if err != nil {
		return nil, err
	}
	return open(ctx, dir, id, key, opts)
}

func open(ctx context.Context, dir string, id identity, key ed25519.PrivateKey, opts Options) (_ *Node, err error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	n := &Node{dir: dir, id: id, key: key, opts: opts, logger: opts.Logger, life: &life{lock: lock}, space: newSpace(dir), secrets: newSecrets(dir)}
	n.life.ctx, n.life.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	store, err := blob.Open(filepath.Join(dir, blobsDir))
	if err != nil {
		return nil, err
	}
	n.blobs = newBlobs(store, n.life)
	n.sites = newSites(n)
	n.blobs.lost = n.sites.lostBlob
	n.vouchers = newVouchers()
	n.sightings = newSightings()
	n.exchanges = newExchanges()
	n.webhooks = newWebhooks(n)
	n.parts = newParts(cmp.Or(opts.HoldTime, holdTime))
	n.uses = newUses(n.index.Load, n.logger)
	n.sums, n.buildTurns = newFileSums(n.life), make(chan struct{}, maxBuildTurns)
	if n.passwords, err = newPasswords(cmp.Or(opts.passwordCost, passwordCost)); err != nil {
		return nil, err
	}
	if n.bootstrap, err = readBootstrap(dir); err != nil {
		return nil, err
	}
	n.log, err = replication.Open(ctx, replication.Config{
		Dir: filepath.Join(dir, streamDir), Site: id.Site, Logger: n.logger, MinFree: minReserve,
	})
	if err != nil {
		return nil, err
	}
	if err := n.openIndex(ctx); err != nil {
		return nil, err
	}
	n.reads = newReads()
	n.fetches = newFetches(n.life, n.logger)
	n.commits = &committer{
		id: id, key: key, log: n.log, index: n.index.Load, space: n.space, logger: n.logger,
		directory: n.directory, refresh: n.refresh, in: make(chan *proposal),
		origin:   func() (events.Digest, error) { return n.firstPrev(id.Site) },
		appended: n.sites.durable, mayDate: n.sites.clockTrusted,
	}
	// What was kept may be of any site that is known, and say more of them.
	for _, step := range []func() error{n.loadOffline, n.loadHolds, n.refreshDirectory, n.applyKept, n.refreshDirectory} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if err := n.sites.start(ctx); err != nil {
		return nil, err
	}
	n.life.wg.Go(func() { n.commits.run(n.life.ctx) })
	n.life.wg.Go(func() { n.watch(n.life.ctx) })
	n.life.wg.Go(func() { n.purgeLoop(n.life.ctx) })
	n.life.wg.Go(func() { n.sightings.run(n.life.ctx, n) })
	n.life.wg.Go(func() { n.uses.run(n.life.ctx) })
	n.life.wg.Go(func() { n.webhooks.run(n.life.ctx) })
	n.life.wg.Go(func() { n.expireHolds(n.life.ctx) })
	return n, nil
}

// Close ends what runs and closes the stores. Requests must have ended. Closing
// again does nothing.
func (n *Node) Close() error {
	if n.life.closed.Swap(true) {
		return nil
	}
	n.life.cancel()
	var errs []error
	if n.sites != nil {
		errs = append(errs, n.sites.close())
	}
	n.life.wg.Wait()
	if st := n.state.Load(); st != nil {
		for _, r := range st.remotes {
			r.close()
		}
	}
	if n.log != nil {
		errs = append(errs, n.log.Close())
	}
	if x := n.index.Load(); x != nil {
		errs = append(errs, x.Close())
	}
	if n.blobs != nil {
		errs = append(errs, n.blobs.store.Close())
	}
	return errors.Join(append(errs, n.life.lock.Close())...)
}

// Site returns the site that this node is of.
func (n *Node) Site() events.Site { return n.id.Site }

// Registry returns the id of the registry.
func (n *Node) Registry() events.Digest { return n.id.Registry }

func (n *Node) directory() *events.Directory { return n.state.Load().dir }

// refreshDirectory makes the Directory anew from what the index holds, and has
// everybody see it. Whoever has changed a record of it calls this.
func (n *Node) refreshDirectory() error {
	n.resolving.Lock()
	defer n.resolving.Unlock()
	d, err := resolveDirectory(n.id.Registry, n.index.Load().Prefix)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	old := n.state.Load()
	n.setDirectory(d)
	n.sites.membersChanged()
	poke(n.webhooks.changed)
	if old != nil {
		n.sites.rulesChanged(old.dir, d)
	}
	return nil
}

// lockDir locks a data directory for this process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	taken, err := lockFile(f)
	if taken {
		err = fmt.Errorf("data directory %s is in use by another process; %w", dir, ErrLocked)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ErrLocked says that a running node has the data directory.
var ErrLocked = errors.New("speak to it, or stop it first")
