package replication_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/replication"
)

var registryID = events.DigestOf([]byte("registry"))

// A world is what all sites of a test know of each other: the members.
type world struct {
	mu    sync.Mutex
	peers map[events.Site]replication.Peer
}

// A meshSite is a site of a test.
type meshSite struct {
	*replication.Mesh
	site events.Site
	cert tls.Certificate
	cfg  replication.MeshConfig
}

func newWorld() *world { return &world{peers: make(map[events.Site]replication.Peer)} }

// others returns the members but one.
func (w *world) others(site events.Site) []replication.Peer {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ps []replication.Peer
	for _, p := range w.peers {
		if p.Site != site {
			ps = append(ps, p)
		}
	}
	slices.SortFunc(ps, func(a, b replication.Peer) int { return a.Site.Compare(b.Site.String()) })
	return ps
}

func (w *world) set(p replication.Peer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.peers[p.Site] = p
}

func (w *world) remove(site events.Site) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.peers, site)
}

func siteNamed(t testing.TB, name string) events.Site {
	t.Helper()
	s, err := events.ParseSite(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newCert(t testing.TB, name string) tls.Certificate {
	t.Helper()
	cert, key, err := replication.NewCertificate(siteNamed(t, name))
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// config returns the settings of a member of w that answers "echo".
func (w *world) config(t testing.TB, name string) replication.MeshConfig {
	t.Helper()
	site := siteNamed(t, name)
	cfg := replication.MeshConfig{
		Site:        site,
		Registry:    registryID,
		Certificate: newCert(t, name),
		Listen:      "127.0.0.1:0",
		Peers:       func() []replication.Peer { return w.others(site) },
		Services: map[string]replication.Handler{
			"echo": func(_ context.Context, from events.Site, req []byte, _ func([]byte) error) ([]byte, error) {
				return fmt.Appendf(nil, "%v to %s: %s", from, name, req), nil
			},
		},
	}
	if os.Getenv("MESH_LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("site", name)
	}
	return cfg
}

// open opens a mesh and makes its site a member. The others are told by settle.
func (w *world) open(t testing.TB, cfg replication.MeshConfig) *meshSite {
	t.Helper()
	m, err := replication.OpenMesh(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	p := replication.Peer{Site: cfg.Site, Certificates: []events.Digest{replication.CertificateDigest(cfg.Certificate)}}
	if a := m.Addr(); a != nil {
		p.Addresses = []string{a.String()}
	}
	w.set(p)
	return &meshSite{m, cfg.Site, cfg.Certificate, cfg}
}

// sites opens a mesh for each name and waits until all are connected.
func (w *world) sites(t testing.TB, names ...string) []*meshSite {
	t.Helper()
	var ss []*meshSite
	for _, n := range names {
		ss = append(ss, w.open(t, w.config(t, n)))
	}
	settle(t, ss...)
	return ss
}

// settle tells sites of changes and waits until each hears each.
func settle(t testing.TB, ss ...*meshSite) {
	t.Helper()
	for _, s := range ss {
		s.Update()
	}
	for _, a := range ss {
		for _, b := range ss {
			if a != b {
				waitFor(t, patience, func() bool { return a.Connected(b.site) }, "%v hears %v", a.site, b.site)
			}
		}
	}
}

// waitFor waits until ok, and fails when that takes longer than most.
// patience is how long tests wait for what is to come: much longer than it takes, as
// only a fault has it end.
const patience = 30 * time.Second

// soon is what is at once, on a slow machine: sooner than a dead connection is noticed,
// which takes 4 seconds.
const soon = 3 * time.Second

func waitFor(t testing.TB, most time.Duration, ok func() bool, format string, args ...any) {
	t.Helper()
	deadline := time.Now().Add(most)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", most, fmt.Sprintf(format, args...))
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// checkEcho has from ask to.
func checkEcho(t testing.TB, from, to *meshSite) {
	t.Helper()
	got, err := from.Request(within(t, patience), to.site, "echo", []byte("hi"), nil)
	if want := fmt.Sprintf("%v to %v: hi", from.site, to.site); err != nil || string(got) != want {
		t.Fatalf("echo = %q, %v, want %q", got, err, want)
	}
}

func TestRequestsGoBothWays(t *testing.T) {
	ss := newWorld().sites(t, "a", "b", "c")
	for _, from := range ss {
		for _, to := range ss {
			if from != to {
				checkEcho(t, from, to)
			}
		}
	}
}

func TestSiteThatCannotBeDialledIsAFullPeer(t *testing.T) {
	w := newWorld()
	cfg := w.config(t, "b")
	cfg.Listen = ""
	a, b := w.open(t, w.config(t, "a")), w.open(t, cfg)
	settle(t, a, b)
	checkEcho(t, a, b)
	checkEcho(t, b, a)
	if _, _, ok := a.HTTP(b.site); ok || b.Addr() != (net.Addr)(nil) {
		t.Errorf("b has an address: %v", b.Addr())
	}
}
