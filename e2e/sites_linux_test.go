package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// world is a registry of several sites, each a process with a data directory. A
// site is dialled by the others through a proxy (see links): it listens at an
// address of its own and advertises the proxy's, which has the same port.
type world struct {
	t     testing.TB
	names []string
	links *links
	// network is the second byte of the loopback addresses that are its own.
	network int64

	mu    sync.Mutex // held to add to what follows
	sites map[string]*site
	pids  map[int64]string
}

// site is a site of a world.
type site struct {
	*server
	w    *world
	name string
	host string // loopback address on which its peers reach the node; empty: it only dials out
	port int
	// up is how it is reached now; nil while it is down. It is set before a
	// process is made to end, so that who gets no answer knows why.
	up atomic.Pointer[presence]
	mu sync.Mutex // held while a process is started or ended
}

// presence is a run of a site's process.
type presence struct {
	url    string
	opened atomic.Bool // it has said once that it takes writes
}

// worlds counts, so that each has loopback addresses of its own.
var worlds atomic.Int64

// newWorld makes a registry whose first site is the first name's; the others
// join it. It returns when all agree.
func newWorld(t testing.TB, up *upstream, names ...string) *world {
	t.Helper()
	w := &world{t: t, sites: map[string]*site{}, pids: map[int64]string{}}
	w.links = newLinks(t, w.who)
	w.network = 1 + (int64(os.Getpid())+worlds.Add(1))%250
	for i, name := range names {
		w.add(name, up, fmt.Sprintf("127.%d.%d", w.network, i))
		if i == 0 {
			w.sites[name].args = slices.Concat([]string{"serve", "--init", "--site", name}, w.sites[name].peerFlags())
			w.sites[name].rise()
		} else {
			w.join(name, names[0])
		}
	}
	w.equal(20 * time.Second)
	return w
}

// add makes a site that does not run; without a network it only dials out.
func (w *world) add(name string, up *upstream, network string) *site {
	w.t.Helper()
	s := &site{server: newServer(w.t, up.settings()...), w: w, name: name}
	w.names = append(w.names, name)
	w.mu.Lock()
	w.sites[name] = s
	w.mu.Unlock()
	if network == "" {
		return s
	}
	listener, err := net.Listen("tcp4", network+".1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	s.host, s.port = network+".2", listener.Addr().(*net.TCPAddr).Port
	w.links.proxy(w.t, listener, name, fmt.Sprintf("%s:%d", s.host, s.port))
	return s
}

// peerFlags are how a site is told where other sites reach it.
func (s *site) peerFlags() []string {
	if s.host == "" {
		return nil
	}
	proxy := strings.TrimSuffix(s.host, "2") + "1"
	return []string{"--peer-listen", fmt.Sprintf("%s:%d", s.host, s.port), "--advertise", proxy}
}

// join has a site join by an invitation of another.
func (w *world) join(name, inviter string) {
	w.t.Helper()
	s := w.sites[name]
	token := strings.TrimSpace(w.sites[inviter].must("invite", name, "--rights", "manage"))
	s.args = slices.Concat([]string{"join", token}, s.peerFlags())
	s.rise()
}

// who names the site that has dialled a connection.
func (w *world) who(dialled net.Conn) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var pids []int64
	for name, s := range w.sites {
		if pid := s.pid.Load(); pid != 0 {
			w.pids[pid] = name
			pids = append(pids, pid)
		}
	}
	return w.pids[owner(dialled, pids)]
}

// rise starts a site and fails the test if it does not come up.
func (s *site) rise() {
	s.t.Helper()
	if err := s.tryRise(); err != nil {
		s.t.Fatalf("site %s: %v", s.name, err)
	}
}

// tryRise starts a site, if it is down, and returns when it answers.
func (s *site) tryRise() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.up.Load() != nil {
		return nil
	}
	if err := s.tryStart(); err != nil {
		return err
	}
	s.args = append([]string{"serve"}, s.peerFlags()...) // it is what it is from now on
	s.up.Store(&presence{url: s.URL})
	return nil
}

// fall ends a site's process, if it runs: as an operator does, or without any
// notice.
func (s *site) fall(end func()) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.up.Swap(nil) != nil {
		end()
	}
}

// signal sends a signal to a site's process, if it runs.
func (s *site) signal(sig os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.up.Load() != nil {
		if err := s.cmd.Process.Signal(sig); err != nil {
			s.t.Errorf("site %s: %v", s.name, err)
		}
	}
}

// slowAnswer is how long an answer may take without being noted.
const slowAnswer = 5 * time.Second

// errDown says that a site is down, or went down before it answered.
var errDown = errors.New("the site is down")

// ask sends a request to a site. It fails with errDown, or if a site that is up
// gives no answer.
func (s *site) ask(method, path string, body []byte) (answer, error) {
	up := s.up.Load()
	if up == nil {
		return answer{}, errDown
	}
	begin := time.Now()
	a, err := send(method, up.url+path, body)
	if took := time.Since(begin); took > slowAnswer {
		s.t.Logf("site %s: %s %s took %v: %d %.200s, %v", s.name, method, path, took.Round(time.Millisecond), a.status, a.body, err)
	}
	switch {
	case err != nil && s.up.Load() != up:
		return answer{}, errDown
	case err != nil:
		return answer{}, fmt.Errorf("site %s: %s %s: %w", s.name, method, path, err)
	}
	return a, nil
}

// opened reports whether a site takes writes: after a start it first asks the
// others how far they have seen its log.
func (s *site) opened() bool {
	up := s.up.Load()
	if up == nil {
		return false
	}
	if !up.opened.Load() {
		if a, err := s.ask(http.MethodGet, "/readyz", nil); err == nil && a.status == http.StatusOK {
			up.opened.Store(true)
		}
	}
	return up.opened.Load()
}

// standing is what GET /api/v1/replication says.
type standing struct {
	Site, Agreement string
	Sites           []siteStanding
}

// siteStanding is what it says of one site.
type siteStanding struct {
	Name, Agrees    string
	Self, Connected bool
	Logs            map[string]logStanding
	StateHash       string  `json:"state_hash"`
	LagEntries      uint64  `json:"lag_entries"`
	LagSeconds      float64 `json:"lag_seconds"`
	BlobsMissing    int     `json:"blobs_missing"`
	Conflicts       int
	Writable        bool
	Reasons         []string
}

// logStanding is how far a site is in one log.
type logStanding struct {
	Epoch     uint32
	Seq       uint64
	StateHash string `json:"state_hash"`
}

// of returns what is said of one site.
func (s standing) of(name string) siteStanding {
	i := slices.IndexFunc(s.Sites, func(s siteStanding) bool { return s.Name == name })
	if i < 0 {
		return siteStanding{Agrees: "not a member"}
	}
	return s.Sites[i]
}

// standing asks a site how all sites stand.
func (s *site) standing() (st standing, err error) {
	a, err := s.ask(http.MethodGet, "/api/v1/replication", nil)
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("site %s: replication: %d %s", s.name, a.status, a.body)
	}
	if err == nil {
		err = json.Unmarshal(a.body, &st)
	}
	return st, err
}

// agree returns nil if all sites hear each other, are at the same positions with
// the same state, and have all blobs that they want: each by its own word.
func (w *world) agree() error {
	hashes := map[string][]string{}
	for _, name := range w.names {
		st, err := w.sites[name].standing()
		if err != nil {
			return err
		}
		if st.Agreement != "equal" || len(st.Sites) != len(w.names) {
			return fmt.Errorf("site %s says: %s of %d sites: %+v", name, st.Agreement, len(st.Sites), st.Sites)
		}
		for _, other := range st.Sites {
			if !other.Connected || other.Agrees != "equal" {
				return fmt.Errorf("site %s says of %s: connected %v, %s, %q", name, other.Name, other.Connected, other.Agrees, other.Reasons)
			}
		}
		self := st.of(name)
		hashes[self.StateHash] = append(hashes[self.StateHash], name)
	}
	if len(hashes) != 1 {
		return fmt.Errorf("state hashes: %v", hashes)
	}
	return nil
}

// equal waits until all sites agree, and then until each has its blobs. It
// returns how long the first took.
func (w *world) equal(within time.Duration) time.Duration {
	w.t.Helper()
	begin := time.Now()
	eventually(w.t, within, "all sites agree", w.agree)
	took := time.Since(begin)
	eventually(w.t, healWithin, "all sites have all blobs", func() error {
		for _, name := range w.names {
			st, err := w.sites[name].standing()
			if err != nil {
				return err
			}
			if n := st.of(name).BlobsMissing; n > 0 {
				return fmt.Errorf("site %s lacks %d blobs: %q", name, n, st.of(name).Reasons)
			}
		}
		return nil
	})
	return took
}
