package node

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"registry-node/events"
	"registry-node/replication"
)

// A site that was removed is cut off at once, so it can't follow the log that
// says so. It asks over HTTPS, where its certificate is still known, and gets the
// one entry, signed by the registry's home, that ended its membership.

const (
	leftPath = "/peer/left"
	// askLeftEvery is how often a site that is linked to nobody asks whether it was
	// removed. It asks first when it notices.
	askLeftEvery = 5 * time.Second
)

// serveLeft tells a former member with which entry it was removed.
func (s *sites) serveLeft(w http.ResponseWriter, r *http.Request) {
	n := s.node
	_, cert := replication.PeerOf(r)
	d := n.directory()
	for _, m := range d.Sites() {
		if !m.Left || cert == nil || m.Certificate != events.DigestOf(cert) {
			continue
		}
		raw, err := n.leftEntry(d, m.Name)
		if err != nil || raw == nil {
			http.Error(w, "the entry can't be read", http.StatusInternalServerError)
			return
		}
		w.Write(raw) // who asked is gone if this fails
		return
	}
	http.Error(w, "no former member has this certificate", http.StatusNotFound)
}

// leftEntry returns the entry that ended a membership.
func (n *Node) leftEntry(d *events.Directory, site events.Site) ([]byte, error) {
	x := n.index.Load()
	cs, err := x.Get(events.KeySite(site))
	if err != nil {
		return nil, err
	}
	for _, c := range cs {
		for _, f := range c.Facts {
			if _, ok := f.Body.(events.SiteLeft); ok && d.Right(events.EventID{Site: c.Site, Mark: f.Mark, Index: f.Index}, f.Body) == nil {
				raw, _, err := x.Entry(c.Site, f.Mark)
				return raw, err
			}
		}
	}
	return nil, nil
}

// askLeftLoop asks, while this site is linked to nobody, whether it was removed.
func (s *sites) askLeftLoop(ctx context.Context) {
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	var asked time.Time // since it is linked to nobody
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if s.linked() {
			asked = time.Time{}
			continue
		}
		if time.Since(asked) < askLeftEvery {
			continue
		}
		asked = time.Now()
		for _, p := range s.peers() {
			if s.askLeft(ctx, p.Site) {
				return
			}
		}
	}
}

// linked reports whether another site is heard and connected, or there is none.
func (s *sites) linked() bool {
	peers, m := s.peers(), s.mesh.Load()
	return len(peers) == 0 || slices.ContainsFunc(peers, func(p replication.Peer) bool { return m.Connected(p.Site) && s.connected(p.Site) })
}

// askLeft asks one site. It reports whether this one was removed.
func (s *sites) askLeft(ctx context.Context, peer events.Site) bool {
	n := s.node
	client, base, ok := s.mesh.Load().HTTP(peer)
	if !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, headTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+leftPath, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, events.MaxEntry))
	if err != nil || resp.StatusCode != http.StatusOK {
		return false
	}
	e, err := events.DecodeEntry(raw)
	if err != nil || e.Registry != n.id.Registry || e.Verify(n.keyOf(e.Position.Site, e.Position.Mark)) != nil {
		return false
	}
	for _, ev := range e.Events {
		b, ok := ev.Body.(events.SiteLeft)
		if ok && b.Name == n.id.Site && n.directory().Right(ev.ID, b) == nil {
			why := fmt.Sprintf("site %s is no member of the registry any more: it was removed at %v (%s)", b.Name, e.Position, b.Reason)
			n.commits.hold(holdLeft, why)
			n.logger.Error("this site was removed from the registry", "by", ev.ID, "reason", b.Reason)
			s.changes.notify()
			return true
		}
	}
	return false
}
