package node_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
	"registry-node/replication"
)

// hostile is a member gone bad: it has the keys of a site that joined properly,
// and says what the test has it say.
type hostile struct {
	*replication.Mesh
	w        *world
	name     events.Site
	registry events.Digest
	key      ed25519.PrivateKey
	cert     tls.Certificate
	addr     string
	log      []events.Entry // its own, as the honest sites hold it

	mu       sync.Mutex                                        // guards what follows
	logs     map[events.Site]replication.LogState              // what it announces
	origin   []replication.SignedHead                          // with these heads
	twist    func(*replication.Announcement)                   // and then this
	perSite  func(to events.Site, a *replication.Announcement) // and this to each
	services map[string]func(ctx context.Context, from events.Site, req []byte) ([]byte, error)
	blobs    http.HandlerFunc
	asked    map[string]int // requests, by service
	stop     func()
}

// turn closes the node of a site and opens a hostile member in its place, which
// at first announces nothing but that it is there.
func (w *world) turn(name string) *hostile {
	w.t.Helper()
	h := &hostile{
		w: w, name: site(name), registry: w.sites[name].Registry(), addr: w.sites[name].PeerAddr().String(),
		logs:     map[events.Site]replication.LogState{},
		services: map[string]func(context.Context, events.Site, []byte) ([]byte, error){},
		asked:    map[string]int{},
	}
	w.reachable(name)
	if log, err := w.sites[name].Log(op, h.name, 1); err == nil {
		h.log = entriesOf(w.t, log)
	} // else it has written nothing
	w.close(name)
	h.key = seedOf(w.t, filepath.Join(w.path(name), "keys", "site.key"))
	h.cert = w.certificate(name)
	peers := w.peers(name)
	mesh, err := replication.OpenMesh(w.t.Context(), replication.MeshConfig{
		Site: h.name, Registry: h.registry, Certificate: h.cert, Listen: h.addr,
		Peers: func() []replication.Peer { return peers },
		Services: map[string]replication.Handler{
			"log": h.serve("log"), "decide": h.serve("decide"), "push": h.serve("push"), "sum": h.serve("sum"), "version": h.serve("version"),
		},
		Notices: map[string]func(events.Site, []byte){"announce": func(events.Site, []byte) {}},
		HTTP:    http.HandlerFunc(h.serveHTTP), Logger: quiet(w.t, "hostile "+name),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	h.Mesh = mesh
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { h.announceTo(ctx, peers) })
	h.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := mesh.Close(); err != nil {
			w.t.Errorf("close the hostile mesh: %v", err)
		}
	})
	w.t.Cleanup(h.stop)
	for at, n := range w.sites {
		waitFor(w.t, "the hostile member to be connected with "+at, func() bool {
			return n.Ready() == nil && w.status(at, name).Connected && h.Connected(site(at))
		})
	}
	return h
}

// reachable waits until all sites know at which address one is reached.
func (w *world) reachable(name string) {
	w.t.Helper()
	addr := w.sites[name].PeerAddr().String()
	for at, n := range w.sites {
		waitFor(w.t, at+" to know how "+name+" is reached", func() bool {
			return slices.ContainsFunc(must(n.Sites(op)), func(s node.SiteInfo) bool { return s.Name == site(name) && slices.Contains(s.Addresses, addr) })
		})
	}
}

// entriesOf returns all of a log.
func entriesOf(t testing.TB, log iter.Seq2[events.Entry, error]) (list []events.Entry) {
	t.Helper()
	for e, err := range log {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// logAt returns a site's log as another one holds it.
func (w *world) logAt(at, of string) []events.Entry {
	w.t.Helper()
	log, err := w.sites[at].Log(op, site(of), 1)
	if err != nil {
		w.t.Fatal(err)
	}
	return entriesOf(w.t, log)
}

// in has a subtest fail by itself.
func (w *world) in(t *testing.T) {
	parent := w.t
	w.t = t
	t.Cleanup(func() { w.t = parent })
}

// seedOf reads a key as the data directory holds it.
func seedOf(t testing.TB, file string) ed25519.PrivateKey {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		t.Fatalf("%s holds no PEM", file)
	}
	return ed25519.NewKeyFromSeed(block.Bytes)
}

// certificate reads the certificate by which a site is known.
func (w *world) certificate(name string) tls.Certificate {
	w.t.Helper()
	keys := filepath.Join(w.path(name), "keys")
	cert, err := tls.LoadX509KeyPair(filepath.Join(keys, "peer.crt"), filepath.Join(keys, "peer.key"))
	if err != nil {
		w.t.Fatal(err)
	}
	return cert
}

// peers returns all sites but one, with the addresses of those that run.
func (w *world) peers(but string) (list []replication.Peer) {
	for name := range w.opts {
		if name == but {
			continue
		}
		p := replication.Peer{Site: site(name), Certificates: []events.Digest{replication.CertificateDigest(w.certificate(name))}}
		if n := w.sites[name]; n != nil && n.PeerAddr() != nil {
			p.Addresses = []string{n.PeerAddr().String()}
		}
		list = append(list, p)
	}
	return list
}

// status returns how a site stands as another one sees it.
func (w *world) status(at, of string) node.SiteStatus {
	w.t.Helper()
	r, err := w.sites[at].Replication(op)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range r.Sites {
		if s.Name == site(of) {
			return s
		}
	}
	return node.SiteStatus{}
}

// announceTo announces until ctx ends.
func (h *hostile) announceTo(ctx context.Context, peers []replication.Peer) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, p := range peers {
			h.announce(p.Site)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// announce tells a peer what h says at present.
func (h *hostile) announce(to events.Site) {
	h.mu.Lock()
	a := replication.Announcement{Site: h.name, Version: "evil", Level: events.Level, Time: time.Now().UTC(), Writable: true, Origin: h.origin}
	for _, s := range sortedSites(h.logs) {
		a.Logs = append(a.Logs, h.logs[s])
	}
	if h.twist != nil {
		h.twist(&a)
	}
	if h.perSite != nil {
		h.perSite(to, &a)
	}
	h.mu.Unlock()
	msg, err := replication.Encode(a)
	if err != nil {
		h.w.t.Errorf("announcement: %v", err)
		return
	}
	_ = h.Send(to, "announce", msg) // it is not connected yet, or busy: the next one arrives
}

func sortedSites[V any](m map[events.Site]V) []events.Site {
	return slices.SortedFunc(maps.Keys(m), func(a, b events.Site) int { return a.Compare(b.String()) })
}

// claim has h announce that it holds a log up to a place.
func (h *hostile) claim(log events.Site, m events.Mark, hash events.Digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.logs[log] = replication.LogState{Position: events.Position{Site: log, Mark: m, Hash: hash}}
}

// silent has h claim nothing any more.
func (h *hostile) silent() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.logs)
	clear(h.services)
	h.twist, h.perSite, h.origin = nil, nil, nil
}

// answer has a service of h answer with f.
func (h *hostile) answer(service string, f func(ctx context.Context, from events.Site, req []byte) ([]byte, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.services[service] = f
}

func (h *hostile) serve(service string) replication.Handler {
	return func(ctx context.Context, from events.Site, req []byte, _ func([]byte) error) ([]byte, error) {
		h.mu.Lock()
		h.asked[service]++
		f := h.services[service]
		h.mu.Unlock()
		if f == nil {
			return nil, fmt.Errorf("no %s today", service)
		}
		return f(ctx, from, req)
	}
}

func (h *hostile) serveHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	f := h.blobs
	h.asked["blob"]++
	h.mu.Unlock()
	if f == nil {
		http.NotFound(w, r)
		return
	}
	f(w, r)
}

// count returns how often h was asked for something.
func (h *hostile) count(service string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked[service]
}

// serveEntries has h answer for its log with these entries, as if it had more,
// whatever is asked for.
func (h *hostile) serveEntries(raws ...[]byte) {
	h.answer("log", func(_ context.Context, _ events.Site, req []byte) ([]byte, error) {
		return replication.Encode(replication.LogAnswer{Entries: raws, Head: events.Mark{Epoch: 1, Seq: 1 << 40}})
	})
}

// serveLog has h answer for logs as an honest site would, with what logFor says
// for who asks.
func (h *hostile) serveLog(logFor func(from, log events.Site) []events.Entry) {
	h.answer("log", func(_ context.Context, from events.Site, raw []byte) ([]byte, error) {
		req, err := replication.Decode[replication.LogRequest](raw)
		if err != nil {
			return nil, err
		}
		var a replication.LogAnswer
		for _, e := range logFor(from, req.Site) {
			a.Head = e.Position.Mark
			if e.Position.Mark.Compare(req.After) > 0 {
				a.Entries = append(a.Entries, e.Raw)
			}
		}
		return replication.Encode(a)
	})
}

// tip is the end of h's log.
func (h *hostile) tip() events.Position { return h.log[len(h.log)-1].Position }

// draft is what would rightly follow in h's log.
func (h *hostile) draft(bodies ...events.Body) events.Draft {
	last := h.log[len(h.log)-1]
	return events.Draft{
		Registry: h.registry, Site: h.name, Mark: events.Mark{Epoch: last.Position.Mark.Epoch, Seq: last.Position.Mark.Seq + 1},
		Time: time.Now(), Prev: last.Position.Hash, Bodies: bodies,
	}
}

func (h *hostile) seal(d events.Draft) events.Entry {
	h.w.t.Helper()
	e, err := d.Seal(h.key)
	if err != nil {
		h.w.t.Fatal(err)
	}
	return e
}

// state appends an entry with these events to h's log, and waits until the honest
// sites hold it.
func (h *hostile) state(bodies ...events.Body) events.Entry {
	h.w.t.Helper()
	return h.append(h.seal(h.draft(bodies...)))
}

func (h *hostile) append(e events.Entry) events.Entry {
	h.w.t.Helper()
	h.log = append(h.log, e)
	own := h.log
	h.serveLog(func(_, log events.Site) []events.Entry {
		if log != h.name {
			return nil
		}
		return own
	})
	h.claim(h.name, e.Position.Mark, e.Position.Hash)
	for name := range h.w.sites {
		h.w.until(name, "has "+e.Position.String(), func(r node.Replication) bool { return markOf(r, name, h.name) == e.Position.Mark })
	}
	return e
}

// sealUnknown returns an entry that rightly follows, with events as raw JSON.
func (h *hostile) sealUnknown(list string) events.Entry {
	h.w.t.Helper()
	d := h.draft()
	raw := fmt.Appendf(nil, `{"v":1,"registry":"%v","site":"%v","epoch":%d,"seq":%d,"time":"%s","prev":"%v","events":[%s]`,
		d.Registry, d.Site, d.Mark.Epoch, d.Mark.Seq, d.Time.UTC().Format("2006-01-02T15:04:05.000Z"), d.Prev, list)
	sig := ed25519.Sign(h.key, raw)
	raw = fmt.Appendf(raw, `,"sig":"%s"}`, base64.StdEncoding.EncodeToString(sig))
	e, err := events.DecodeEntry(raw)
	if err != nil {
		h.w.t.Fatal(err)
	}
	return e
}

// block is an event that any site may state.
func block(path string) events.VersionBlocked {
	return events.VersionBlocked{Module: path, Reason: "a test"}
}

// markOf returns how far a site says that it is in a log.
func markOf(r node.Replication, at string, log events.Site) events.Mark {
	for _, s := range r.Sites {
		if s.Name == site(at) {
			return events.Mark{Epoch: s.Logs[log].Epoch, Seq: s.Logs[log].Seq}
		}
	}
	return events.Mark{}
}

// reported waits until a site says of itself what a person should know, with all
// of these words in it.
func (w *world) reported(at string, words ...string) {
	w.t.Helper()
	w.until(at, "reports "+strings.Join(words, ", "), func(r node.Replication) bool { return saysOf(r, at, words...) })
}

func saysOf(r node.Replication, at string, words ...string) bool {
	for _, s := range r.Sites {
		if s.Name != site(at) {
			continue
		}
		for _, reason := range s.Reasons {
			all := true
			for _, word := range words {
				all = all && strings.Contains(reason, word)
			}
			if all {
				return true
			}
		}
	}
	return false
}

// goesOn shows that the honest sites do as before: what is published at one of
// them is read at all, and they come to be at one state.
func (w *world) goesOn(version string) {
	w.t.Helper()
	files := goMod("corp.example/on").with("a.go", "package on\n")
	for name := range w.sites {
		mv := module.Version{Path: "corp.example/on", Version: version + "-" + name}
		if _, err := w.publish(name, mv, files); err != nil {
			w.t.Errorf("publish at %s: %v", name, err)
		}
	}
	w.same()
	for name := range w.sites {
		for other := range w.sites {
			mv := module.Version{Path: "corp.example/on", Version: version + "-" + other}
			if _, err := w.zip(name, "all", mv); err != nil {
				w.t.Errorf("%v at %s: %v", mv, name, err)
			}
		}
	}
}

// same waits until the honest sites are at the same positions with the same state
// hashes, each by its own word.
func (w *world) same() {
	w.t.Helper()
	var seen map[string]string
	defer func() {
		for name := range w.sites {
			if w.t.Failed() {
				w.t.Logf("as site %s sees it:%s", name, w.text(name))
			}
		}
	}()
	waitFor(w.t, "the honest sites to be equal", func() bool {
		seen = map[string]string{}
		for name := range w.sites {
			seen[w.status(name, name).StateHash] = name
		}
		if w.t.Failed() {
			w.t.FailNow()
		}
		return len(seen) == 1
	})
}

// ask has h ask a site to decide.
func (h *hostile) ask(to, op string, body any) (replication.DecideAnswer, error) {
	h.w.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		h.w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(h.w.t.Context(), 30*time.Second)
	defer cancel()
	msg, err := replication.Encode(replication.DecideRequest{
		ID: fmt.Sprintf("%s %d", op, time.Now().UnixNano()), Op: op, Actor: "evil", Deadline: time.Now().Add(20 * time.Second), Body: raw,
	})
	if err != nil {
		h.w.t.Fatal(err)
	}
	answer, err := h.Request(ctx, site(to), "decide", msg, nil)
	if err != nil {
		return replication.DecideAnswer{}, err
	}
	return replication.Decode[replication.DecideAnswer](answer)
}

func moduleVersion(path, version string) module.Version {
	return module.Version{Path: path, Version: version}
}

// repoID returns how events name a repository that was made with the registry.
func (w *world) repoID(repo string) events.RepoID {
	w.t.Helper()
	for _, e := range w.logAt("a", "a") {
		for _, ev := range e.Events {
			if b, ok := ev.Body.(events.RepoCreated); ok && b.Name == name(repo) {
				return events.RepoID{EventID: ev.ID}
			}
		}
	}
	w.t.Fatalf("no repository %s", repo)
	return events.RepoID{}
}

// h1Of returns the hash of a module zip.
func h1Of(t testing.TB, data []byte) (h events.H1) {
	t.Helper()
	text, err := zipH1(data)
	if err == nil {
		err = h.UnmarshalText([]byte(text))
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// startLog has h's log start after the entry with which its site joined: it has
// written nothing so far.
func (h *hostile) startLog(w *world) {
	for _, e := range w.logAt("a", "a") {
		for _, ev := range e.Events {
			if b, ok := ev.Body.(events.SiteJoined); ok && b.Name == h.name {
				h.log = []events.Entry{{Position: events.Position{Site: h.name, Mark: events.Mark{Epoch: 1}, Hash: e.Position.Hash}}}
			}
		}
	}
}

// connected waits until all sites that run hear each other and take writes.
func (w *world) connected() {
	w.t.Helper()
	for at := range w.sites {
		waitFor(w.t, at+" to hear all others and take writes", func() bool {
			for of := range w.sites {
				if !w.status(at, of).Connected {
					return false
				}
			}
			return w.status(at, at).Writable
		})
	}
}

// reopen closes a site's node and opens it again with o, at the same address.
func (w *world) reopen(name string, o node.Options) *node.Node {
	w.t.Helper()
	o.PeerListen = w.sites[name].PeerAddr().String()
	w.close(name)
	w.opts[name] = o
	return w.open(name)
}
