package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"registry-node/events"
	"registry-node/node/index"
	"registry-node/replication"
)

// sites is what a node has to do with the other sites: it hears how far they
// are, follows their logs, and tells them of its own.
type sites struct {
	node     *Node
	troubles troubles
	moved    notifier      // some log has got entries here
	changes  notifier      // what Replication says may be another thing
	purges   notifier      // something is to be purged
	announce chan struct{} // has room for one: something is to be told
	wants    *wants
	decided  *table[string, replication.DecideAnswer] // by asker and id, for retries
	deciding *flights[string, replication.DecideAnswer]
	joins    *rate.Limiter
	summing  chan struct{} // holds a value while a log's rows are summed for a peer
	standing standing
	// folding is held for reading by who folds another site's log, and for
	// writing by who replaces the index.
	folding sync.RWMutex

	mesh atomic.Pointer[replication.Mesh] // nil: this node speaks to no other site

	mu        sync.Mutex
	heard     map[events.Site]*heard                 // guarded by mu; what each site said last
	heads     map[events.Site]replication.SignedHead // guarded by mu; the furthest of each log that its site signed
	synced    map[events.Site]replication.LogState   // guarded by mu; what is durable here
	followers map[events.Site]*follower              // guarded by mu
	overreach map[events.EventID]events.Event        // guarded by mu; stated by other sites, and seemed to have no right
	lastMoved time.Time                              // guarded by mu; when some log got entries here
	lastEqual time.Time                              // guarded by mu
	doubts    map[events.Site]map[events.Site]doubt  // guarded by mu; by peer and log: state hashes that differ
	signed    replication.SignedHead                 // guarded by mu; own, as signed last
	claims    map[events.Site]events.Position        // guarded by mu; of this site's log, by peer, that were not shown to be true
	shunned   map[shunKey]bool                       // guarded by mu
	inquiries map[events.Site]bool                   // guarded by mu; whose claims are looked into

	conflicting map[string]events.ModuleVersion // guarded by mu; see conflicts.go

	coming  *arrivals[claimedKey]
	adopted map[adoptKey]events.Mark // of adoptLoop: how far it has looked
}

// shunKey names a blob of which a site gave wrong bytes.
type shunKey struct {
	site   events.Site
	digest events.Digest
}

// shun has nobody ask a site for a blob again.
func (s *sites) shun(site events.Site, d events.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.shunned) < maxTroubles {
		s.shunned[shunKey{site, d}] = true
	}
}

// hears reports whether what a site said last is recent. The caller holds mu.
func (s *sites) hears(h *heard) bool { return h != nil && time.Since(h.at) < silence }

// heard is what a site said last, and when.
type heard struct {
	at   time.Time
	said replication.Announcement
	logs map[events.Site]replication.LogState
	// compared are the logs of which what was said is held here alike, or is
	// known to differ. It belongs to hear.
	compared map[events.Site]bool
}

// doubt is a place in a log at which a peer has another state hash.
type doubt struct {
	at           events.Mark
	here, theirs index.StateHash
}

const (
	// announceEvery is how often a site says how far it is, if nothing happens.
	announceEvery = 500 * time.Millisecond
	// silence is how long a site may say nothing until it counts as not connected.
	silence = 1500 * time.Millisecond
	// maxSkew is how far clocks may be apart.
	maxSkew = 5 * time.Minute
)

func newSites(n *Node) *sites {
	s := &sites{
		node: n, announce: make(chan struct{}, 1),
		decided:  newTable[string, replication.DecideAnswer](1 << 10),
		deciding: newFlights[string, replication.DecideAnswer](n.life.ctx, &n.life.wg),
		joins:    rate.NewLimiter(joinRate, joinBurst), summing: make(chan struct{}, 1),
		heard: map[events.Site]*heard{}, heads: map[events.Site]replication.SignedHead{},
		synced: map[events.Site]replication.LogState{}, followers: map[events.Site]*follower{},
		overreach: map[events.EventID]events.Event{}, doubts: map[events.Site]map[events.Site]doubt{},
		shunned: map[shunKey]bool{}, inquiries: map[events.Site]bool{}, claims: map[events.Site]events.Position{}, coming: newArrivals[claimedKey](n.life, n.logger), adopted: map[adoptKey]events.Mark{},
		conflicting: map[string]events.ModuleVersion{},
	}
	s.troubles = troubles{changed: s.changes.notify, all: map[string]trouble{}}
	s.wants = newWants(s)
	return s
}

// start opens the mesh, if this node has to do with other sites, and begins to
// follow their logs. The node's writes are held until the others have been asked
// how far they have seen this site's log.
func (s *sites) start(ctx context.Context) error {
	n := s.node
	heads, err := n.index.Load().Heads()
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if err := errors.Join(s.wants.load(), s.loadOverreach(), s.loadConflicts(), n.loadDrifts()); err != nil {
		return err
	}
	for _, h := range heads {
		s.synced[h.Position.Site] = replication.LogState{Position: h.Position, StateHash: replication.Sum(h.StateHash)}
	}
	if n.opts.PeerListen == "" && len(s.peers()) == 0 {
		return nil
	}
	cert, err := peerCertificate(n.dir, n.id.Site)
	if err != nil {
		return err
	}
	if len(s.peers()) > 0 {
		n.commits.hold(holdStart, "it asks the other sites how far they have seen its log")
	}
	mesh, err := replication.OpenMesh(ctx, replication.MeshConfig{
		Site: n.id.Site, Registry: n.id.Registry, Certificate: cert, Listen: n.opts.PeerListen,
		Peers: s.peers, Services: s.services(),
		Notices: map[string]func(events.Site, []byte){"announce": s.hear},
		HTTP:    s.peerHandler(), Logger: n.logger, Dial: n.opts.dialPeer,
	})
	if err != nil {
		return fmt.Errorf("peer listener: %w", err)
	}
	s.mesh.Store(mesh)
	s.membersChanged()
	n.life.wg.Go(func() { s.tell(n.life.ctx) })
	n.life.wg.Go(func() { s.catchUpOwn(n.life.ctx) })
	n.life.wg.Go(func() { s.describe(n.life.ctx, cert) })
	n.life.wg.Go(func() { s.wants.run(n.life.ctx) })
	n.life.wg.Go(func() { s.adoptLoop(n.life.ctx) })
	n.life.wg.Go(func() { s.vouchLoop(n.life.ctx) })
	n.life.wg.Go(func() { s.raiseLoop(n.life.ctx) })
	n.life.wg.Go(func() { s.rescan(n.life.ctx) })
	n.life.wg.Go(func() { s.askLeftLoop(n.life.ctx) })
	return nil
}

// close ends the mesh. The node's context has ended.
func (s *sites) close() error {
	if m := s.mesh.Load(); m != nil {
		return m.Close()
	}
	return nil
}

// peers returns the other members as the Directory has them; before it has this
// site itself, as they were known when this node joined or last ran. A Directory
// that is still being followed may know the others without their addresses.
func (s *sites) peers() []replication.Peer {
	n := s.node
	d := n.directory()
	if !tellsOf(d, n.id.Site) {
		return n.bootstrap.others(n.id.Site)
	}
	var list []replication.Peer
	for _, m := range d.Sites() {
		if m.Name == n.id.Site || !d.MemberNow(m.Name) {
			continue
		}
		list = append(list, replication.Peer{Site: m.Name, Addresses: m.Addresses, Certificates: []events.Digest{m.Certificate}})
	}
	return list
}

// tellsOf reports whether a Directory has the joining of a site, and so all that
// the registry's home had stated until then.
func tellsOf(d *events.Directory, site events.Site) bool {
	m, ok := d.Site(site)
	return ok && len(m.Keys) > 0
}

// membersChanged takes up what a new Directory says of the members.
func (s *sites) membersChanged() {
	m := s.mesh.Load()
	if m == nil {
		return
	}
	n := s.node
	m.Update()
	d := n.directory()
	follow := map[events.Site]bool{}
	for _, member := range d.Sites() {
		if len(member.Keys) > 0 && member.Name != n.id.Site {
			follow[member.Name] = true // one that left, too: up to its cut-off
		}
		if member.Left {
			s.troubles.left(member.Name)
		}
	}
	if first := n.bootstrap.first(); !first.IsZero() && first != n.id.Site {
		follow[first] = true
	}
	if member, ok := d.Site(n.id.Site); ok && member.Left {
		n.commits.hold(holdLeft, fmt.Sprintf("site %s is no member of the registry any more", n.id.Site))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for site := range follow {
		if s.followers[site] == nil && n.life.ctx.Err() == nil {
			f := &follower{sites: s, site: site, wake: make(chan struct{}, 1)}
			s.followers[site] = f
			n.life.wg.Go(func() { f.run(n.life.ctx) })
		}
	}
	for _, f := range s.followers {
		poke(f.wake)
	}
	if err := n.bootstrap.remember(n.dir, n.id.Site, d); err != nil {
		n.logger.Warn("the list of members is not kept", "error", err)
	}
	s.changes.notify()
}

// rulesChanged looks again at what repositories want whose rules about blobs are
// others than before.
func (s *sites) rulesChanged(old, d *events.Directory) {
	for _, r := range d.Repos() {
		before := old.Repo(r.ID)
		if before == nil || reflect.DeepEqual(before.Settings.Blobs, r.Settings.Blobs) {
			continue
		}
		if err := s.wants.rescanDue(r); err != nil {
			s.node.logger.Error("blobs of a repository are not looked through", "repository", r.Name, "error", err)
			continue
		}
		s.node.life.wg.Go(func() { s.rescan(s.node.life.ctx) })
	}
}

// rescan looks through the repositories whose rules about blobs have changed.
func (s *sites) rescan(ctx context.Context) {
	if err := s.wants.rescanAll(ctx); err != nil && ctx.Err() == nil {
		s.node.logger.Error("blobs are not looked through", "error", err)
	}
}

// lostBlob has a blob that was found damaged fetched again.
func (s *sites) lostBlob(d events.Digest) {
	if err := s.wants.heal(d); err != nil {
		s.node.logger.Error("blob can't be put down to be fetched", "digest", d, "error", err)
	}
}

// durable records how far a log is durable here, and tells who waits for it.
func (s *sites) durable(h index.Head) {
	st := replication.LogState{Position: h.Position, StateHash: replication.Sum(h.StateHash)}
	s.mu.Lock()
	s.synced[h.Position.Site] = st
	s.lastMoved = time.Now()
	s.mu.Unlock()
	s.moved.notify()
	s.changes.notify()
	poke(s.announce)
}

// busyAge is how long ago the last of many entries may have come.
const busyAge = 250 * time.Millisecond

// busy reports whether many entries are on their way here just now.
func (s *sites) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.lastMoved) > 2*busyAge {
		return false
	}
	for _, f := range s.followers {
		if f.behind.Load() {
			return true
		}
	}
	return false
}

// applied waits until this node has applied a site's log up to m.
func (s *sites) applied(ctx context.Context, site events.Site, m events.Mark) error {
	for {
		ch := s.moved.wait()
		s.mu.Lock()
		at := s.synced[site].Position.Mark
		s.mu.Unlock()
		if at.Compare(m) >= 0 {
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// connected reports whether a site has been heard a moment ago.
func (s *sites) connected(site events.Site) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.heard[site]
	return h != nil && time.Since(h.at) < silence
}

// inquire looks into a claim of a peer, one at a time: a peer that claims much
// and shows nothing costs no more than one that shows it.
func (s *sites) inquire(from events.Site, look func(ctx context.Context)) {
	s.mu.Lock()
	busy := s.inquiries[from]
	s.inquiries[from] = true
	s.mu.Unlock()
	if busy {
		return // it says so again
	}
	s.node.life.wg.Go(func() {
		look(s.node.life.ctx)
		s.mu.Lock()
		delete(s.inquiries, from)
		s.mu.Unlock()
	})
}

// request asks a service of a site and says in words for users why it gave no
// answer.
func (s *sites) request(ctx context.Context, to events.Site, service string, req []byte, interim func([]byte)) ([]byte, error) {
	m := s.mesh.Load()
	if m == nil {
		return nil, fail(ErrUnavailable, "site %s can't be reached: this node speaks to no other site", to)
	}
	answer, err := m.Request(ctx, to, service, req, interim)
	var told *replication.PeerError
	switch {
	case err == nil:
		return answer, nil
	case errors.As(err, &told):
		return nil, because(err, ErrUnavailable, "site %s could not answer: %s", to, told.Text)
	}
	return nil, because(err, ErrUnavailable, "site %s can't be reached%s", to, s.lastHeard(to))
}

// lastHeard says in words when a site was heard last.
func (s *sites) lastHeard(site events.Site) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.heard[site]
	if h == nil {
		return "; it has not been heard since this node started"
	}
	return fmt.Sprintf("; it was last heard %s ago", time.Since(h.at).Round(time.Second))
}

// PeerAddr returns the address on which this node listens for other sites, nil
// if it doesn't.
func (n *Node) PeerAddr() net.Addr {
	if m := n.sites.mesh.Load(); m != nil {
		return m.Addr()
	}
	return nil
}

// resync takes over how far an index is that replaced another one.
func (s *sites) resync(x *index.Index) error {
	heads, err := x.Heads()
	if err != nil {
		return err
	}
	s.mu.Lock()
	clear(s.synced)
	for _, h := range heads {
		s.synced[h.Position.Site] = replication.LogState{Position: h.Position, StateHash: replication.Sum(h.StateHash)}
	}
	clear(s.doubts)
	s.mu.Unlock()
	if err := s.wants.load(); err != nil {
		return err
	}
	s.changes.notify()
	poke(s.announce)
	return nil
}

func sortedSites[V any](m map[events.Site]V) []events.Site {
	return slices.SortedFunc(maps.Keys(m), func(a, b events.Site) int { return a.Compare(b.String()) })
}
