package replication

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"sync"
	"sync/atomic"

	"registry-node/events"
)

const (
	maxCalls    = 64       // calls of one member that run at a time
	maxReqBytes = 32 << 20 // bytes of their requests
	maxWaiting  = 1024     // messages of one member that wait to be looked at
)

// The messages of the mesh itself; services and notices can't have their names.
const (
	nameHello = "hello"
	nameBeat  = "beat"
)

// A member is another site and the connections with it.
type member struct {
	m    *Mesh
	site events.Site
	http *http.Client

	ctx  context.Context // ends when the site is no member any more, and with the mesh
	stop context.CancelFunc
	kick chan struct{} // holds one token at most; see wake

	noticing sync.Mutex // held while a notice of this member is taken
	noticed  ordinal    // guarded by noticing; of the last

	telling sync.Mutex // held while a notice is numbered and sent
	told    uint64     // guarded by telling; notices so far

	mu      sync.Mutex // guards the following
	dialled *link      // nil unless in use
	session *session   // nil unless in use
	calls   int        // of this member, running here
	bytes   int        // of their requests

	on *link // where this site listens to what it sends here; guarded by Mesh.mu
}

// A session is a connection that a member made to this site.
type session struct {
	site    events.Site
	token   string
	wire    *wire
	suspect atomic.Bool // as link.suspect
}

func newMember(m *Mesh, site events.Site) *member {
	p := &member{m: m, site: site, kick: make(chan struct{}, 1)}
	p.ctx, p.stop = context.WithCancel(m.life)
	p.http = p.newClient()
	return p
}

// wake has a member that can't be reached be dialled at once.
func (p *member) wake() {
	signal(p.kick)
}

// A route is a way to send to a member.
type route struct {
	link    *link
	prefix  string // of subjects
	broken  <-chan struct{}
	suspect *atomic.Bool
}

// routes yields the ways to p that are up, the one to take first first: the
// connection that this site dialled, unless it is suspect and the other is not.
func (p *member) routes() iter.Seq[route] {
	var rs []route
	p.mu.Lock()
	if l := p.dialled; l != nil {
		rs = append(rs, route{l, subjectReq + p.m.cfg.Site.String() + ".", l.pump.wire.closed, &l.suspect})
	}
	if s, mine := p.session, p.m.mine.Load(); s != nil && mine != nil {
		rs = append(rs, route{mine, subjectTo + p.site.String() + ".", s.wire.closed, &s.suspect})
	}
	p.mu.Unlock()
	return func(yield func(route) bool) {
		for _, suspect := range []bool{false, true} {
			for _, r := range rs {
				if r.suspect.Load() == suspect && r.up() && !yield(r) {
					return
				}
			}
		}
	}
}

func (r route) up() bool {
	return !isClosed(r.broken) && !isClosed(r.link.gone)
}

// use makes l the connection that this site dialled; nil: there is none.
func (p *member) use(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialled = l
}

// greeted makes s the connection that the member made. One that it made before
// is closed: the member itself has given it up, or could not make this one.
func (p *member) greeted(s *session) {
	p.mu.Lock()
	old := p.session
	p.session = s
	p.mu.Unlock()
	if old != nil && old != s {
		_ = old.wire.Close()
	}
}

// left forgets s, which has ended.
func (p *member) left(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session == s {
		p.session = nil
	}
}

// enter takes a place for a call with n bytes; leave gives it back.
func (p *member) enter(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls >= maxCalls || p.bytes+n > maxReqBytes {
		return false
	}
	p.calls++
	p.bytes += n
	return true
}

func (p *member) leave(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls--
	p.bytes -= n
}

// hello is what a site says first over a connection that it dialled, and what it
// is answered.
type hello struct {
	V        int           `json:"v"`
	Registry events.Digest `json:"registry"`
	Token    string        `json:"token,omitempty"` // names the connection, to both ends alone
}

func (m *Mesh) hello(token string) []byte {
	b, err := json.Marshal(hello{V: WireVersion, Registry: m.cfg.Registry, Token: token})
	if err != nil {
		panic(err) // a digest and two plain values
	}
	return b
}

// readHello refuses a site that this one can't talk with.
func (m *Mesh) readHello(b []byte) (hello, error) {
	var h hello
	if err := json.Unmarshal(b, &h); err != nil {
		return hello{}, fmt.Errorf("hello: %w", err)
	}
	if h.V != WireVersion {
		return hello{}, &VersionError{Version: h.V}
	}
	if h.Registry != m.cfg.Registry {
		return hello{}, errors.New("belongs to another registry")
	}
	return h, nil
}
