// # The mesh
//
// A [Mesh] carries requests, notices and HTTP between sites. It knows members and
// bytes; what messages mean is in the wire types (Encode, Decode) and in package
// node. Nothing of the log's server can be reached from here.
//
// A site listens on one address, with TLS 1.3, and accepts the connections
// itself. ALPN says what comes: "rn-mesh/1" is NATS, "http/1.1" is HTTPS. HTTP/2
// is not offered: it makes bulk transfers slower and has more to attack.
//
// Each site has a self-signed certificate, and its peers know the certificate's
// digest from the log (events.SiteJoined), so there is no authority to trust. Its
// key is not the key of the site's log, and no nkeys are used: what a TLS
// handshake or an nkey login signs is chosen partly by the other side, and a key
// that signs such things must never sign entries.
//
// NATS is a server of the mesh's own, without JetStream, system account or
// listener. A connection of a current member is piped into it. To the server it
// shows as its token a secret that both ends derive from this very TLS session
// (RFC 8446, section 7.5). It is good for one login over that session, so a NATS
// user is bound to a TLS session and a token is worth nothing elsewhere.
//
// # Subjects
//
// On the server of site A, a member B may
//
//	publish    rn1.req.B.NAME    a request or a notice to A; the sender stands in the subject
//	subscribe  rn1.to.B.NAME     requests and notices of A to B
//	           rn1.inbox.B.ID    answers to B's requests
//	answer     what it received from A, below rn1.inbox.A.
//
// and nothing else. A request to a peer takes the connection that this site
// dialled, else the one that the peer dialled; so a site that can't be dialled is
// a full peer. Whoever answers checks that the reply goes to the inbox of the one
// who asks, or a member could have A speak for it to others.
//
// # Liveness
//
// Each side sends a beat every second over every connection, in each direction,
// and closes a connection on which no byte has arrived for 4 s. NATS's own pings
// are not used for that: their answers queue up behind a large message, so that
// on a slow link they would cut a connection which is busy.
package replication

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"registry-node/events"
)

const (
	// MaxMessage is the largest request, answer or notice in bytes: what NATS
	// takes at most, less its headers.
	MaxMessage = 8<<20 - maxHeader

	dialTimeout  = 2 * time.Second // to connect and shake hands
	helloTimeout = 2 * time.Second // from there to a connection in use
	acceptWait   = 4 * time.Second // for the handshake of who connects
	beatEvery    = time.Second
	silence      = 4 * time.Second // after which a connection is dead

	// maxCall bounds how long a handler runs and how late it may answer.
	maxCall = 10 * time.Minute
)

// DialFunc connects to an address, as net.Dialer.DialContext does.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// Peer is another member as the log knows it.
type Peer struct {
	Site         events.Site
	Addresses    []string        // host:port, tried in turn; none: it can't be dialled
	Certificates []events.Digest // SHA-256 of the DER; any of them is its
}

// Handler answers a request of a peer. It may send interim answers first, which
// are progress only: when many come at once, some are left out. ctx ends with the
// asker's, when the peer is no member any more, after 10 minutes, and with Close.
// The asker sees the text of an error, so it must hold no secrets.
type Handler func(ctx context.Context, from events.Site, req []byte, interim func([]byte) error) ([]byte, error)

// MeshConfig says who a site is and what it answers. Site, Registry, Certificate
// and Peers are needed.
type MeshConfig struct {
	Site        events.Site
	Registry    events.Digest   // peers of another registry are refused
	Certificate tls.Certificate // see NewCertificate
	// Listen is host:port; empty: this site can't be dialled.
	Listen string
	// Peers returns the other members now. It is called often, by any goroutine,
	// also within Update.
	Peers func() []Peer
	// Services answer requests, by name ([a-z]+). Each call has its own goroutine;
	// of one peer, at most 64 calls with 32 MiB of requests run at a time, and more
	// are refused at once.
	Services map[string]Handler
	// Notices take one-way messages, by name. Those of one peer come one after the
	// other and in order. What comes late, over a connection that has been given up,
	// is dropped, and so is what comes while 1024 wait. They must not block for long.
	Notices map[string]func(from events.Site, msg []byte)
	// HTTP answers HTTPS on the listener, also to who is no member, see PeerOf.
	// Nil: 404.
	HTTP   http.Handler
	Logger *slog.Logger // nil discards
	Dial   DialFunc     // nil: net.Dialer
}

// Mesh is a site's connections with all other sites. Its methods may be called
// concurrently.
type Mesh struct {
	cfg  MeshConfig
	log  *slog.Logger
	hub  *hub
	door *door                // nil if the site doesn't listen
	mine atomic.Pointer[link] // to hub; nil while there is none

	pins pins
	born int64 // when it was opened, in nanoseconds: tells notices of one run from those of another

	// life ends when Close begins. Everything that runs is in running.
	life    context.Context
	stop    context.CancelFunc
	running crew

	mu      sync.Mutex // guards members, and subscriptions of mine
	members map[events.Site]*member
}

// The errors of requests, to be told apart with errors.Is. PeerError is another.
var (
	// ErrNotConnected: there is no route to the peer; it has not seen the request.
	ErrNotConnected = errors.New("not connected")
	// ErrNoAnswer: the context ended, or the route broke, after the request was
	// sent. The peer may have handled it, or still be at it.
	ErrNoAnswer = errors.New("no answer")
	// ErrMeshClosed: Close has been called.
	ErrMeshClosed = errors.New("the mesh is closed")
)

// PeerError says that the peer received a request and failed.
type PeerError struct{ Text string }

func (e *PeerError) Error() string { return e.Text }

// OpenMesh listens, if the site does, and starts to dial the peers. It does not
// wait for them. ctx bounds the start alone.
func OpenMesh(ctx context.Context, cfg MeshConfig) (*Mesh, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("open mesh: %w", err)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.HTTP == nil {
		cfg.HTTP = http.NotFoundHandler()
	}
	m := &Mesh{cfg: cfg, log: cfg.Logger, members: make(map[events.Site]*member), born: time.Now().UnixNano()}
	m.pins.siteOf = m.siteOf
	m.life, m.stop = context.WithCancel(context.Background())
	if err := m.open(ctx); err != nil {
		m.Close()
		return nil, fmt.Errorf("open mesh: %w", err)
	}
	return m, nil
}

func (m *Mesh) open(ctx context.Context) (err error) {
	if m.hub, err = startHub(m.cfg.Site, m.log); err != nil {
		return err
	}
	if err := m.connectSelf(); err != nil {
		return err
	}
	if m.cfg.Listen != "" {
		lis, err := new(net.ListenConfig).Listen(ctx, "tcp", m.cfg.Listen)
		if err != nil {
			return err
		}
		m.door = newDoor(m, lis)
	}
	m.Update()
	m.running.start(m.keepSelf)
	m.running.start(m.beat)
	if m.door != nil {
		m.running.start(m.door.accept)
		m.running.start(m.door.serveHTTP)
	}
	return nil
}

var nameGrammar = regexp.MustCompile(`^[a-z]+$`)

func (c *MeshConfig) check() error {
	if c.Site.IsZero() || c.Registry.IsZero() || c.Peers == nil || len(c.Certificate.Certificate) == 0 {
		return errors.New("site, registry, certificate and peers are needed")
	}
	seen := map[string]bool{nameHello: true, nameBeat: true}
	claim := func(name string) error {
		if !nameGrammar.MatchString(name) || seen[name] {
			return fmt.Errorf("service or notice %q: must be a-z only, and neither taken nor reserved", name)
		}
		seen[name] = true
		return nil
	}
	for name := range c.Services {
		if err := claim(name); err != nil {
			return err
		}
	}
	for name := range c.Notices {
		if err := claim(name); err != nil {
			return err
		}
	}
	return nil
}

// Close ends all connections, calls and handlers and returns when nothing of the
// mesh runs any more. Running requests end with ErrMeshClosed. Closing again does
// nothing.
func (m *Mesh) Close() error {
	m.stop()
	if m.door != nil {
		m.door.close()
	}
	m.pins.closeAll()
	if l := m.mine.Load(); l != nil {
		l.close()
	}
	m.running.wait()
	if m.hub != nil {
		m.hub.stop()
	}
	return nil
}

// Addr returns the address that the site listens on, nil if it doesn't.
func (m *Mesh) Addr() net.Addr {
	if m.door == nil {
		return nil
	}
	return m.door.lis.Addr()
}

// Update has the mesh ask for the peers again. When it returns, every connection
// of a site that is no member any more, or with a certificate that is not a
// member's any more, is closed.
func (m *Mesh) Update() {
	m.mu.Lock()
	defer m.mu.Unlock()
	peers := m.cfg.Peers()
	for site, p := range m.members {
		if !slices.ContainsFunc(peers, func(q Peer) bool { return q.Site == site }) {
			p.stop()
			delete(m.members, site)
		}
	}
	for _, q := range peers {
		if q.Site == m.cfg.Site || q.Site.IsZero() {
			continue
		}
		p := m.members[q.Site]
		if p == nil {
			p = newMember(m, q.Site)
			m.members[q.Site] = p
			m.running.start(p.keepDialled)
		}
		p.wake()
	}
	m.subscribe()
	m.pins.sweep()
}

// member returns the member called site, nil if there is none.
func (m *Mesh) member(site events.Site) *member {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.members[site]
}

// peer returns what the log says of site now.
func (m *Mesh) peer(site events.Site) (Peer, bool) {
	for _, p := range m.cfg.Peers() {
		if p.Site == site && site != m.cfg.Site {
			return p, true
		}
	}
	return Peer{}, false
}

// siteOf returns whose certificate has this digest now; zero: no member's.
func (m *Mesh) siteOf(d events.Digest) events.Site {
	if d.IsZero() {
		return events.Site{}
	}
	for _, p := range m.cfg.Peers() {
		if p.Site != m.cfg.Site && slices.Contains(p.Certificates, d) {
			return p.Site
		}
	}
	return events.Site{}
}

// beat tells every connected peer once a second that this site lives.
func (m *Mesh) beat() {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-m.life.Done():
			return
		case <-tick.C:
		}
		m.mu.Lock()
		for _, p := range m.members {
			for r := range p.routes() {
				r.link.offer(&nats.Msg{Subject: r.prefix + nameBeat})
			}
		}
		m.mu.Unlock()
	}
}

// A crew is goroutines that are waited for. The zero crew is ready.
type crew struct {
	mu     sync.Mutex
	closed bool // guarded by mu; nobody starts any more
	wg     sync.WaitGroup
}

// start runs f in a goroutine, unless wait has been called.
func (c *crew) start(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.wg.Go(f)
	return true
}

// enter has wait wait for a leave, unless it has been called.
func (c *crew) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.wg.Add(1)
	}
	return !c.closed
}

func (c *crew) leave() { c.wg.Done() }

func (c *crew) wait() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.wg.Wait()
}
