package node_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

// world is a registry of several sites on this machine.
type world struct {
	t     testing.TB
	dir   string
	sites map[string]*node.Node
	opts  map[string]node.Options
}

// newWorld makes a registry whose first site is a.
func newWorld(t testing.TB, repos []node.NewRepo) *world {
	w := &world{t: t, dir: t.TempDir(), sites: map[string]*node.Node{}, opts: map[string]node.Options{}}
	w.opts["a"] = node.Options{Logger: quiet(t, "a"), PeerListen: anyPort()}
	if _, err := node.Init(t.Context(), w.path("a"), site("a"), node.Fresh{Repos: repos}, w.opts["a"]); err != nil {
		t.Fatal(err)
	}
	rule := events.Grant{Repos: []string{"*"}, Actions: []string{"read", "publish", "delete", "block", "manage"}}
	for _, name := range []string{"a", "b", "c", "d", "e"} { // their operators may do everything everywhere
		rule.Principals = append(rule.Principals, "site:"+name)
	}
	if err := w.open("a").Record(t.Context(), events.PermissionChanged{Name: "sites", Grant: rule}); err != nil {
		t.Fatal(err)
	}
	w.reachable("a")
	return w
}

// anyPort returns an address to listen at on a port of the system's choice. Closed, it
// can be opened again: nobody else has that host, and connections come from 127.0.0.1.
func anyPort() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1:0"
	}
	k := hosts.Add(1)
	return fmt.Sprintf("127.%d.%d.%d:0", 1+os.Getpid()%250, k/250, 1+k%250)
}

var hosts atomic.Int32 // that anyPort returned

// quiet is the log of a site's node.
func quiet(t testing.TB, name string) *slog.Logger {
	return slog.New(slog.NewTextHandler(&testLog{t: t}, &slog.HandlerOptions{Level: slog.LevelInfo})).With("node", name)
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// open opens a site's node, and closes it with the test.
func (w *world) open(name string) *node.Node {
	w.t.Helper()
	n, err := node.Open(w.t.Context(), w.path(name), w.opts[name])
	if err != nil {
		w.t.Fatalf("open %s: %v", name, err)
	}
	w.sites[name] = n
	if addr := n.PeerAddr(); addr != nil && w.opts[name].PeerListen != "" {
		o := w.opts[name]
		o.PeerListen = addr.String() // also after a restart, so that the others find it
		w.opts[name] = o
	}
	w.t.Cleanup(func() { n.Close() })
	return n
}

// close closes a site's node, which open brings back.
func (w *world) close(name string) {
	w.t.Helper()
	if err := w.sites[name].Close(); err != nil {
		w.t.Errorf("close %s: %v", name, err)
	}
	delete(w.sites, name)
}

// join has a new site join by an invitation of another one, and waits until it
// has caught up and all know how it is reached, which is in the log of the registry's
// home. With dialOnly nobody can dial it.
func (w *world) join(name, inviter string, dialOnly bool) *node.Node {
	w.t.Helper()
	inv, err := w.sites[inviter].Invite(w.t.Context(), op, site(name), time.Hour, node.RightsNone)
	if err != nil {
		w.t.Fatalf("invite %s: %v", name, err)
	}
	o := node.Options{Logger: quiet(w.t, name)}
	if !dialOnly {
		o.PeerListen = anyPort()
	}
	w.opts[name] = o
	if err := node.Join(w.t.Context(), inv.Token, w.path(name), o); err != nil {
		w.t.Fatalf("join %s: %v", name, err)
	}
	n := w.open(name)
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := n.CatchUp(ctx, func(node.JoinProgress) {}); err != nil {
		w.t.Fatalf("site %s does not catch up: %v; %s", name, err, w.text(name))
	}
	if !dialOnly {
		w.reachable(name)
	}
	return n
}

// text says how a site sees all sites.
func (w *world) text(name string) string {
	r, err := w.sites[name].Replication(op)
	if err != nil {
		return err.Error()
	}
	b := &bytes.Buffer{}
	for _, s := range r.Sites {
		b.WriteString("\n  " + s.Name.String() + " " + s.Agrees)
		for log, l := range s.Logs {
			b.WriteString(" " + log.String() + "=" + events.Mark{Epoch: l.Epoch, Seq: l.Seq}.String() + " " + l.StateHash.String()[:8])
		}
		for _, reason := range s.Reasons {
			b.WriteString("\n    " + reason)
		}
	}
	return b.String()
}

// until waits until ok holds at a site, as its status changes.
func (w *world) until(name, what string, ok func(node.Replication) bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for r, err := range w.sites[name].ReplicationChanges(ctx, op) {
		if err != nil {
			w.t.Fatal(err)
		}
		if ok(r) {
			return
		}
	}
	w.t.Fatalf("site %s: not %s in time: %s", name, what, w.text(name))
}

// equal waits until all sites that run agree and take writes, each by its own word.
func (w *world) equal() {
	w.t.Helper()
	for name := range w.sites {
		w.until(name, "equal", func(r node.Replication) bool {
			ready := 0
			for _, s := range r.Sites {
				if s.Connected && s.Writable {
					ready++
				}
			}
			return r.Agreement == node.Equal && ready == len(w.sites)
		})
	}
	hashes := map[string]bool{}
	for name, n := range w.sites {
		r, err := n.Replication(op)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, s := range r.Sites {
			if s.Name == site(name) {
				hashes[s.StateHash] = true
			}
		}
	}
	if len(hashes) != 1 {
		w.t.Fatalf("sites have %d different state hashes", len(hashes))
	}
}

// publish publishes a version at a site.
func (w *world) publish(at string, mv module.Version, files tree) (node.Published, error) {
	return w.sites[at].Publish(w.t.Context(), op, node.Publication{
		Repo: name("local"), Version: mv, Zip: bytes.NewReader(zipOf(w.t, mv, files)),
	})

}

// zip reads the zip of a version at a site.
func (w *world) zip(at, repo string, mv module.Version) ([]byte, error) {
	r, err := w.sites[at].Repository(op, name(repo))
	if err != nil {
		return nil, err
	}
	z, err := r.Zip(w.t.Context(), mv)
	if err != nil {
		return nil, err
	}
	return readAll(z)
}

// zipReader returns a reader of the module zip of a tree.
func zipReader(t testing.TB, v module.Version, files tree) io.Reader {
	return bytes.NewReader(zipOf(t, v, files))
}
