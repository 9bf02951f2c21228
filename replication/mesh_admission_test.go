package replication_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/replication"
)

// whoIs answers who asks, and on /wait not before the request ends.
func whoIs(rw http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/elsewhere" {
		http.Redirect(rw, r, "/x", http.StatusFound)
		return
	}
	site, cert := replication.PeerOf(r)
	fmt.Fprintf(rw, "%q %v", site.String(), events.DigestOf(cert))
	if cert == nil {
		fmt.Fprint(rw, " none")
	}
	if r.URL.Path == "/wait" {
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
	}
}

func get(client *http.Client, url string) (string, error) {
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func TestHTTPKnowsThePeer(t *testing.T) {
	w := newWorld()
	ca := w.config(t, "a")
	ca.HTTP = http.HandlerFunc(whoIs)
	a, b := w.open(t, ca), w.open(t, w.config(t, "b"))
	settle(t, a, b)
	pin := replication.CertificateDigest(a.cert)
	stranger := newCert(t, "c")
	client, base, ok := b.HTTP(a.site)
	if !ok {
		t.Fatal("a has no address")
	}
	url := "https://" + a.Addr().String()
	for _, tt := range []struct {
		name, url, want string
		client          *http.Client
	}{
		{"member", base + "/x", fmt.Sprintf(`"b" %v`, replication.CertificateDigest(b.cert)), client},
		{"member by address", url, fmt.Sprintf(`"b" %v`, replication.CertificateDigest(b.cert)), replication.PinnedClient(b.cert, pin)},
		{"stranger", url, fmt.Sprintf(`"" %v`, replication.CertificateDigest(stranger)), replication.PinnedClient(stranger, pin)},
		{"no certificate", url, fmt.Sprintf(`"" %v none`, events.DigestOf(nil)), replication.PinnedClient(tls.Certificate{}, pin)},
	} {
		defer tt.client.CloseIdleConnections()
		if got, err := get(tt.client, tt.url); err != nil || got != tt.want {
			t.Errorf("%s: %s, %v, want %s", tt.name, got, err, tt.want)
		}
	}
	if _, err := get(replication.PinnedClient(b.cert, replication.CertificateDigest(b.cert)), url); err == nil {
		t.Error("another certificate than the pinned one is accepted")
	}
	if _, err := get(client, strings.Replace(base, "https", "http", 1)); err == nil {
		t.Error("asks without TLS")
	}
	if _, _, ok := b.HTTP(siteNamed(t, "c")); ok {
		t.Error("there is a client for no member")
	}
	if resp, err := client.Get(base + "/elsewhere"); err != nil || resp.StatusCode != http.StatusFound {
		t.Errorf("redirect: %v, %v", resp, err)
	} else {
		_ = resp.Body.Close()
	}
	// b answers nothing on HTTP.
	back, base, _ := a.HTTP(b.site)
	if resp, err := back.Get(base); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("no handler: %v, %v", resp, err)
	} else {
		_ = resp.Body.Close()
	}
}

func TestHTTPTriesAddressesInTurn(t *testing.T) {
	w := newWorld()
	a, b := w.open(t, w.config(t, "a")), w.open(t, w.config(t, "b"))
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	w.set(replication.Peer{Site: a.site, Certificates: []events.Digest{replication.CertificateDigest(a.cert)},
		Addresses: []string{closed.Addr().String(), b.Addr().String(), a.Addr().String()}})
	settle(t, a, b)
	waitFor(t, patience, func() bool { return replication.Routes(b.Mesh, a.site) == 2 }, "b has dialled a")
	client, base, _ := b.HTTP(a.site)
	if _, err := get(client, base); err != nil {
		t.Error(err)
	}
}

func TestWrongPinIsNotDialled(t *testing.T) {
	w := newWorld()
	ca := w.config(t, "a")
	ca.Listen = "" // or b would still be reached over what it dials
	a, b := w.open(t, ca), w.open(t, w.config(t, "b"))
	w.set(replication.Peer{Site: b.site, Addresses: []string{b.Addr().String()}, Certificates: []events.Digest{replication.CertificateDigest(a.cert)}})
	b.Update()
	a.Update()
	if _, err := a.Request(within(t, 300*time.Millisecond), b.site, "echo", nil, nil); !errors.Is(err, replication.ErrNotConnected) {
		t.Errorf("request: %v", err)
	}
	client, base, _ := a.HTTP(b.site)
	if _, err := get(client, base); err == nil || !strings.Contains(err.Error(), "certificate is not the one") {
		t.Errorf("HTTP: %v", err)
	}
	// Once the log says which certificate it is, it is dialled.
	w.set(replication.Peer{Site: b.site, Addresses: []string{b.Addr().String()}, Certificates: []events.Digest{replication.CertificateDigest(b.cert)}})
	settle(t, a, b)
	checkEcho(t, a, b)
}

// A member that is removed is cut off by Update at once, in both directions and
// on HTTP, and does not come back; the others stay.
func TestRemovedMemberIsCutOff(t *testing.T) {
	w := newWorld()
	ca := w.config(t, "a")
	ca.HTTP = http.HandlerFunc(whoIs)
	running, stopped := make(chan struct{}), make(chan struct{})
	ca.Services["hang"] = func(ctx context.Context, _ events.Site, _ []byte, _ func([]byte) error) ([]byte, error) {
		close(running)
		<-ctx.Done()
		close(stopped)
		return nil, ctx.Err()
	}
	a, b, c := w.open(t, ca), w.open(t, w.config(t, "b")), w.open(t, w.config(t, "c"))
	settle(t, a, b, c)
	waitFor(t, patience, func() bool { return replication.Routes(a.Mesh, b.site) == 2 }, "two routes")

	failed := make(chan error, 1)
	go func() {
		_, err := b.Request(t.Context(), a.site, "hang", nil, nil)
		failed <- err
	}()
	<-running
	client, base, _ := b.HTTP(a.site)
	resp, err := client.Get(base + "/wait")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := intrude(t, a, b.cert)

	w.remove(b.site)
	a.Update()
	if a.Connected(b.site) {
		t.Error("a still hears b")
	}
	<-stopped
	// The link is cut, or what served it said so with its last word.
	if err := <-failed; !errors.Is(err, replication.ErrNoAnswer) && !errors.As(err, new(*replication.PeerError)) {
		t.Errorf("b's request ends with %v", err)
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("b's download goes on")
	}
	waitFor(t, patience, in.IsClosed, "b's other connection ends")
	waitFor(t, patience, func() bool { return !b.Connected(a.site) }, "b notices")
	if _, err := a.Request(t.Context(), b.site, "echo", nil, nil); !errors.Is(err, replication.ErrNotConnected) {
		t.Errorf("a's request: %v", err)
	}
	if conn, token, err := dialAs(t, a, b.cert); err == nil {
		if _, err := login(t, conn, token); err == nil {
			t.Error("b logs in again")
		}
	}
	checkEcho(t, a, c)
	checkEcho(t, c, a)

	// Back in, it is heard again.
	w.set(replication.Peer{Site: b.site, Addresses: []string{b.Addr().String()}, Certificates: []events.Digest{replication.CertificateDigest(b.cert)}})
	settle(t, a, b)
	checkEcho(t, a, b)
	checkEcho(t, b, a)
}

// A member whose certificate is replaced is cut off until it shows the new one.
func TestReplacedCertificate(t *testing.T) {
	w := newWorld()
	a, b := w.open(t, w.config(t, "a")), w.open(t, w.config(t, "b"))
	settle(t, a, b)
	w.set(replication.Peer{Site: b.site, Addresses: []string{b.Addr().String()}, Certificates: []events.Digest{replication.CertificateDigest(newCert(t, "b"))}})
	a.Update()
	waitFor(t, patience, func() bool { return !a.Connected(b.site) && !b.Connected(a.site) }, "they are apart")
	w.set(replication.Peer{Site: b.site, Addresses: []string{b.Addr().String()},
		Certificates: []events.Digest{replication.CertificateDigest(newCert(t, "b")), replication.CertificateDigest(b.cert)}})
	settle(t, a, b)
	checkEcho(t, a, b)
}

func TestNewCertificate(t *testing.T) {
	a, b := newCert(t, "a"), newCert(t, "a")
	if replication.CertificateDigest(a) == replication.CertificateDigest(b) || replication.CertificateDigest(tls.Certificate{}) != (events.Digest{}) {
		t.Error("digests are not what they should be")
	}
	now := time.Now()
	if c := a.Leaf; c.Subject.CommonName != "a" || now.Sub(c.NotBefore) < 59*time.Minute || c.NotAfter.Before(now.AddDate(99, 0, 0)) {
		t.Errorf("certificate of %v from %v to %v", c.Subject, c.NotBefore, c.NotAfter)
	}
	if _, _, err := replication.NewCertificate(events.Site{}); err == nil {
		t.Error("certificate of no site")
	}
}
