package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"registry-node/events"
	"registry-node/replication"
)

// What a site answers to other sites over HTTPS, at its peer listener: blobs, in
// both directions, and the request of a new site to join. Who asks is known by
// the certificate.

const (
	joinPath = "/peer/join"
	maxJoin  = 16 << 10
	// joinRate bounds requests to join, which anybody who reaches the listener
	// can send, per second and at once.
	joinRate, joinBurst = 20, 500
)

func (s *sites) peerHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+blobsPath+"{digest}", s.member(s.serveBlob))
	mux.HandleFunc("PUT "+blobsPath+"{digest}", s.member(s.takeBlob))
	mux.HandleFunc("POST "+joinPath, s.serveJoin)
	mux.HandleFunc("GET "+leftPath, s.serveLeft)
	mux.HandleFunc("GET "+sumdbPath, s.serveSumdb)
	return mux
}

// member lets only members through.
func (s *sites) member(h func(w http.ResponseWriter, r *http.Request, from events.Site, d events.Digest)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from, _ := replication.PeerOf(r)
		if from.IsZero() {
			http.Error(w, "only members of the registry get this", http.StatusForbidden)
			return
		}
		d, err := events.ParseDigest("sha256:" + r.PathValue("digest"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		h(w, r, from, d)
	}
}

// serveBlob answers with a blob, whole or from a place on.
func (s *sites) serveBlob(w http.ResponseWriter, r *http.Request, _ events.Site, d events.Digest) {
	n := s.node
	size, ok, err := n.blobs.store.Has(d)
	if err != nil {
		n.logger.Error("blob", "digest", d, "error", err)
		http.Error(w, "the blob can't be read", http.StatusInternalServerError)
		return
	}
	if !ok {
		http.Error(w, "not held here", http.StatusNotFound)
		return
	}
	f, ok, err := n.blobs.open(r.Context(), events.Blob{Digest: d, Size: size})
	switch {
	case err != nil:
		http.Error(w, "the blob can't be read", http.StatusInternalServerError)
		return
	case !ok:
		http.Error(w, "not held here", http.StatusNotFound)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Etag", `"`+d.Hex()+`"`)
	http.ServeContent(w, r, "", time.Time{}, f.File)
}

// pushKey names a blob that a site was asked to send.
type pushKey struct {
	site   events.Site
	digest events.Digest
}

// delivery is where the bytes of a blob go that a site sends.
type delivery struct {
	body  chan<- sent
	done  <-chan error
	ended chan struct{} // closed when nobody expects it any more
}

// sent is a body under way; cut makes its Read fail.
type sent struct {
	io.Reader
	cut func()
}

// expect has a delivery take what a site sends, as soon as no other one of the same
// blob does.
func (w *wants) expect(ctx context.Context, k pushKey, d *delivery) error {
	for {
		w.mu.Lock()
		other := w.deliveries[k]
		if other == nil {
			w.deliveries[k] = d
		}
		w.mu.Unlock()
		if other == nil {
			return nil
		}
		select {
		case <-other.ended:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (w *wants) unexpect(k pushKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.deliveries[k].ended)
	delete(w.deliveries, k)
}

// takeBlob takes a blob that this site asked for.
func (s *sites) takeBlob(w http.ResponseWriter, r *http.Request, from events.Site, d events.Digest) {
	s.wants.mu.Lock()
	to := s.wants.deliveries[pushKey{from, d}]
	s.wants.mu.Unlock()
	if to == nil {
		http.Error(w, "nobody asked for this", http.StatusConflict)
		return
	}
	ctx := r.Context()
	conn := http.NewResponseController(w)
	cut := func() { conn.SetReadDeadline(time.Unix(1, 0)) } // an error: the connection is gone
	select {
	case to.body <- sent{r.Body, cut}:
	case <-ctx.Done():
		return
	}
	var err error
	select { // r.Body is the taker's until then
	case err = <-to.done:
	case <-s.node.life.ctx.Done():
		err = s.node.life.ctx.Err()
	}
	if err != nil {
		http.Error(w, "not taken", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// push sends a blob to a site that asked for it.
func (s *sites) push(ctx context.Context, to events.Site, b events.Blob) error {
	m := s.mesh.Load()
	client, base, ok := m.HTTP(to)
	if !ok {
		return fmt.Errorf("site %s can't be dialled from here", to)
	}
	f, ok, err := s.node.blobs.open(ctx, b)
	if err != nil || !ok {
		return errors.Join(err, errNotThere)
	}
	defer f.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, base+blobsPath+b.Digest.Hex(), io.NopCloser(f.File))
	if err != nil {
		return err
	}
	req.ContentLength = b.Size
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("site %s answers %s", to, resp.Status)
	}
	return nil
}

// serveJoin answers the request of a new site to join.
func (s *sites) serveJoin(w http.ResponseWriter, r *http.Request) {
	n := s.node
	if !s.joins.Allow() {
		http.Error(w, "too many requests to join; try again in a moment", http.StatusTooManyRequests)
		return
	}
	_, cert := replication.PeerOf(r)
	var req joinRequest
	err := json.NewDecoder(io.LimitReader(r.Body, maxJoin)).Decode(&req)
	switch {
	case err != nil:
		err = because(err, ErrInvalid, "the request to join can't be read: %v", err)
	case cert == nil || events.DigestOf(cert) != req.Certificate:
		err = fail(ErrForbidden, "the request to join comes over a connection with another certificate than it names")
	default:
		err = n.joinSite(r.Context(), req)
	}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		var told *Error
		text := "this site could not decide; try again"
		status := http.StatusServiceUnavailable
		if errors.As(err, &told) {
			text = told.Text
			if told.Kind != ErrUnavailable && told.Kind != ErrNoSpace {
				status = http.StatusForbidden
			}
		}
		n.logger.Warn("join refused", "site", req.Name, "from", r.RemoteAddr, "reason", text)
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(joinAnswer{Error: text}) // who asked is gone if this fails
		return
	}
	n.logger.Info("site joined", "site", req.Name, "from", r.RemoteAddr)
	json.NewEncoder(w).Encode(joinAnswer{First: n.directory().Homes[0].Site, Peers: n.knownPeers()})
}
