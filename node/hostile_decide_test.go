package node_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/replication"
)

func pair(t testing.TB, certPEM, keyPEM []byte) tls.Certificate {
	t.Helper()
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// What a member asks the home to decide, and may not or can't have, is refused
// with a reason, and the home goes on.
func TestProposalsAreJudgedAtHome(t *testing.T) {
	t.Parallel()
	w, h := besieged(t, nil)
	id := w.repoID("local")
	mv := moduleVersion("corp.example/evil", "v1.0.0")
	files := goMod(mv.Path)
	good := zipOf(t, mv, files)
	publish := func(path string, data []byte, size int64) map[string]any {
		return map[string]any{"repo": id, "module": path, "version": mv.Version, "zip": events.Blob{Digest: events.DigestOf(data), Size: size}}
	}
	give := func(data []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.Write(data) }
	}
	stranger := goMod("corp.example/other")
	tests := []struct {
		name, op string
		body     any
		blobs    http.HandlerFunc
		code     string
		says     string
	}{
		{"addresses of another site", "site.change", events.SiteChanged{Name: site("c"), Addresses: []string{"127.0.0.1:1"}}, nil, "forbidden", "can't change what is said of site c"},
		{"certificate of another site", "site.change", events.SiteChanged{Name: h.name, Addresses: []string{h.addr}, Certificate: replication.CertificateDigest(w.certificate("c"))}, nil, "forbidden", "another site's"},
		{"a path that the repository does not own", "publish", publish("other.example/x", good, int64(len(good))), give(good), "", "owns"},
		{"a zip that it does not give", "publish", publish(mv.Path, good, int64(len(good))), http.NotFound, "unavailable", "could not fetch the zip"},
		{"a zip of other bytes", "publish", publish(mv.Path, good, int64(len(good))), give(bytes.Repeat([]byte("x"), len(good))), "", ""},
		{"a zip of another module", "publish", publish(mv.Path, zipOf(t, moduleVersion("corp.example/other", "v1.0.0"), stranger), int64(len(zipOf(t, moduleVersion("corp.example/other", "v1.0.0"), stranger)))),
			give(zipOf(t, moduleVersion("corp.example/other", "v1.0.0"), stranger)), "", ""},
		{"a zip that is cut", "publish", publish(mv.Path, good, int64(len(good))), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			w.Write(good[:10])
		}, "unavailable", "could not fetch the zip"},
		{"a zip of a negative size", "publish", publish(mv.Path, good, -1), give(good), "", ""},
		{"a zip of all bytes that there are", "publish", publish(mv.Path, good, 1<<50), give(good), "too_large", "larger than"},
		{"no such operation", "registry.give", map[string]any{}, nil, "unavailable", "does not know the operation"},
		{"a body of another kind", "publish", []int{1}, nil, "invalid", ""},
		{"a repository that is not", "publish", map[string]any{"repo": events.RepoID{EventID: events.EventID{Site: site("a"), Mark: events.Mark{Epoch: 1, Seq: 1 << 40}}}, "module": mv.Path, "version": mv.Version}, nil, "not_found", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.in(t)
			h.mu.Lock()
			h.blobs = tt.blobs
			h.mu.Unlock()
			a, err := h.ask("a", tt.op, tt.body)
			if err != nil {
				t.Fatal(err)
			}
			if a.Code == "" || tt.code != "" && a.Code != tt.code || !strings.Contains(a.Text, tt.says) {
				t.Errorf("answer %q %q, want %q %q", a.Code, a.Text, tt.code, tt.says)
			}
		})
	}
	for name := range w.sites {
		if _, err := w.zip(name, "local", mv); err == nil {
			t.Errorf("site %s holds what was refused", name)
		}
	}
	w.goesOn("v1.0.0")
}

// Many proposals at once, with slow zips, and a giant one, do not keep the home
// from others.
func TestFloodOfProposalsHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w, h := besieged(t, nil)
	release := make(chan struct{})
	h.mu.Lock()
	h.blobs = func(rw http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		http.NotFound(rw, r)
	}
	h.mu.Unlock()
	id := w.repoID("local")
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			_, _ = h.ask("a", "publish", map[string]any{"repo": id, "module": "corp.example/flood", "version": "v1.0.0",
				"zip": events.Blob{Digest: events.DigestOf([]byte{byte(i)}), Size: 1 << 20}}) // refused in one way or the other
		})
	}
	start := time.Now()
	waitFor(t, "the flood to arrive", func() bool { return h.count("blob") > 10 })
	if _, err := h.Request(t.Context(), site("a"), "decide", make([]byte, replication.MaxMessage), nil); err == nil {
		t.Error("a message of nothing but zero bytes is decided")
	}
	w.goesOn("v1.0.0")
	t.Logf("others went on after %s", time.Since(start).Round(time.Millisecond))
	close(release)
	wg.Wait()
}

// Blobs are for members, and only who was asked for one may send it.
func TestPeerHTTPIsForMembers(t *testing.T) {
	t.Parallel()
	w, h := besieged(t, nil)
	mv := moduleVersion("corp.example/blob", "v1.0.0")
	if _, err := w.publish("a", mv, goMod(mv.Path)); err != nil {
		t.Fatal(err)
	}
	data := zipOf(t, mv, goMod(mv.Path))
	path := "/peer/blobs/sha256/" + events.DigestOf(data).Hex()
	certPEM, keyPEM, err := replication.NewCertificate(site("b"))
	if err != nil {
		t.Fatal(err)
	}
	pin := replication.CertificateDigest(w.certificate("a"))
	base := "https://" + w.sites["a"].PeerAddr().String()
	do := func(cert tls.Certificate, method, path string, body io.Reader) int {
		client := replication.PinnedClient(cert, pin)
		defer client.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	for name, cert := range map[string]tls.Certificate{"no certificate": {}, "a certificate of its own making": pair(t, certPEM, keyPEM)} {
		if got := do(cert, http.MethodGet, path, nil); got != http.StatusForbidden {
			t.Errorf("GET with %s: %d", name, got)
		}
		if got := do(cert, http.MethodPut, path, strings.NewReader("x")); got != http.StatusForbidden {
			t.Errorf("PUT with %s: %d", name, got)
		}
	}
	if got := do(h.cert, http.MethodGet, path, nil); got != http.StatusOK {
		t.Errorf("GET by a member: %d", got)
	}
	if got := do(h.cert, http.MethodPut, path, strings.NewReader("unasked")); got != http.StatusConflict {
		t.Errorf("PUT of what nobody asked for: %d", got)
	}
	if got := do(h.cert, http.MethodGet, "/peer/blobs/sha256/..%2f..%2fkeys", nil); got != http.StatusBadRequest {
		t.Errorf("GET of no digest: %d", got)
	}
	if got, err := w.zip("c", "local", mv); err != nil || !bytes.Equal(got, data) {
		t.Errorf("c reads %d bytes, %v", len(got), err)
	}
}
