package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pairIn writes a new pair for hosts into a directory.
func pairIn(t *testing.T, dir string, now time.Time, hosts ...string) (certFile, keyFile string) {
	t.Helper()
	private, err := selfSigned{}.key()
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := selfSign(private, hosts, now)
	if err != nil {
		t.Fatal(err)
	}
	writeTree(t, dir, map[string]string{certName: string(cert), keyName: string(key)})
	return filepath.Join(dir, certName), filepath.Join(dir, keyName)
}

// TestCertificateIsTakenUp replaces the files of a certificate while it is in use:
// by a good pair, in two steps, and by what is no good.
func TestCertificateIsTakenUp(t *testing.T) {
	dir, log := t.TempDir(), &bytes.Buffer{}
	certFile, keyFile := pairIn(t, dir, time.Now(), "one.test")
	c, err := loadCertificate(certFile, keyFile, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	now := c.looked
	shows := func(want string, looks int) {
		t.Helper()
		for range looks {
			now = now.Add(certificateEvery)
			c.look(now)
		}
		if got := c.now.Load().Leaf.DNSNames; !slices.Equal(got, []string{want}) {
			t.Fatalf("it shows the certificate of %v, want %s: %s", got, want, log)
		}
	}
	shows("one.test", 3)
	pairIn(t, dir, time.Now(), "two.test")
	c.look(now.Add(certificateEvery / 2))
	shows("one.test", 1) // it may not be there in whole
	shows("two.test", 1)

	whole, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	pairIn(t, dir, time.Now(), "three.test")
	next, _ := os.ReadFile(certFile)
	writeTree(t, dir, map[string]string{certName: string(next[:100])})
	shows("two.test", 1)
	writeTree(t, dir, map[string]string{certName: string(next)}) // written on, a moment later
	shows("two.test", 1)
	shows("three.test", 1)
	if strings.Contains(log.String(), "no good") {
		t.Errorf("half a file was looked at: %s", log)
	}

	writeTree(t, dir, map[string]string{certName: string(whole)}) // of another key
	shows("three.test", 5)
	if n := strings.Count(log.String(), "no good"); n != 1 {
		t.Errorf("a broken pair is logged %d times: %s", n, log)
	}
	pairIn(t, dir, time.Now().AddDate(-2, 0, 0), "late.test")
	shows("three.test", 3)
	if !strings.Contains(log.String(), "expired") {
		t.Errorf("nothing says that the new one has expired: %s", log)
	}
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	shows("three.test", 3)
	if n := strings.Count(log.String(), "can't be read"); n != 1 {
		t.Errorf("a lost file is logged %d times: %s", n, log)
	}
	pairIn(t, dir, time.Now(), "four.test")
	shows("four.test", 2)
}

// TestSelfSignedIsKept makes a certificate and asks for it again: under the same
// hosts, others, and shortly before its end.
func TestSelfSignedIsKept(t *testing.T) {
	data, now := t.TempDir(), time.Now()
	hosts := []string{"127.0.0.1", "::1", "localhost", "node.test"}
	last, lastKey := "", ""
	for _, tt := range []struct {
		why   string
		hosts []string
		at    time.Time
		anew  bool
	}{
		{"none", hosts, now, true},
		{"the same", hosts, now.AddDate(0, 10, 0), false},
		{"fewer hosts", hosts[:2], now, false},
		{"another host", append(slices.Clip(hosts), "192.0.2.1"), now, true},
		{"it ends soon", hosts, now.AddDate(0, 11, 10), true},
	} {
		s, err := makeSelfSigned(data, tt.hosts, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		print, err := s.fingerprint()
		if err != nil || (print != last) != tt.anew || len(print) != 64 {
			t.Errorf("%s: %s after %s, %v", tt.why, print, last, err)
		}
		last = print
		key, err := os.ReadFile(s.keyFile)
		if err != nil || lastKey != "" && string(key) != lastKey {
			t.Errorf("%s: another key, %v", tt.why, err)
		}
		lastKey = string(key)
		if info, err := os.Stat(s.keyFile); err != nil || info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
			t.Errorf("%s: %v %v", tt.why, info.Mode(), err)
		}
		pair, err := tls.LoadX509KeyPair(s.certFile, s.keyFile)
		if err != nil || pair.Leaf.IsCA || pair.Leaf.NotAfter.Sub(tt.at) > selfSignedFor {
			t.Errorf("%s: %v, %v", tt.why, pair.Leaf, err)
		}
	}
}

// TestHourlyLookIsForTheEnd: new addresses of this machine are no reason for
// another certificate, its end is, and it is told of.
func TestHourlyLookIsForTheEnd(t *testing.T) {
	data, now, log := t.TempDir(), time.Now(), &bytes.Buffer{}
	own, err := makeSelfSigned(data, []string{"gone.test"}, now)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	l := &secureListener{Listener: tcp, own: own, cfg: serveConfig{data: data, listen: "node.test:1", logger: slog.New(slog.NewTextHandler(log, nil))}}
	first, _ := own.fingerprint()
	if err := l.renew(now); err != nil || log.Len() > 0 {
		t.Fatalf("%v: %s", err, log)
	}
	if again, err := own.fingerprint(); err != nil || again != first {
		t.Errorf("it is another one: %v", err)
	}
	if err := l.renew(now.AddDate(0, 11, 10)); err != nil {
		t.Fatal(err)
	}
	if next, err := own.fingerprint(); err != nil || next == first || !strings.Contains(log.String(), next) {
		t.Errorf("at its end: %v: %s", err, log)
	}
}

// TestEndOfCertificateIsWarnedOf also judges whether it may be for browsers.
func TestEndOfCertificateIsWarnedOf(t *testing.T) {
	log, now := &bytes.Buffer{}, time.Now()
	certFile, keyFile := pairIn(t, t.TempDir(), now, "one.test")
	logger := slog.New(slog.NewTextHandler(log, nil))
	c, err := loadCertificate(certFile, keyFile, logger)
	if err != nil {
		t.Fatal(err)
	}
	l := &secureListener{certificate: c, cfg: serveConfig{logger: logger}}
	for days, want := range map[int]string{-16: "", -13: "ends soon", 1: "has ended"} {
		log.Reset()
		l.warnOfEnd(c.now.Load().Leaf.NotAfter.AddDate(0, 0, days))
		if got := log.String(); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%d days: %q", days, got)
		}
	}
}

func TestOwnHosts(t *testing.T) {
	got := ownHosts("node.test:8080", "outside.test", &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8080})
	if want := []string{"127.0.0.1", "192.0.2.1", "::1", "localhost", "node.test", "outside.test"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, h := range ownHosts("0.0.0.0:1", "", &net.TCPAddr{IP: net.IPv4zero, Port: 1}) {
		if ip := net.ParseIP(h); h == "" || ip.IsUnspecified() || ip.IsLinkLocalUnicast() {
			t.Errorf("%q is no host for a certificate", h)
		}
	}
}

// TestServeSelfSigned has a client and a command trust a node's own certificate,
// and only then.
func TestServeSelfSigned(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := serving(t, data, "--init", "--tls-self-signed")
	server, cert := "https://"+s.addr, filepath.Join(data, tlsDir, certName)
	refused(t, exitNo, []string{"status", "--server", server}, "--ca")
	ok(t, "status", "--server", server, "--ca", cert)
	t.Setenv(caEnv, cert)
	ok(t, "status", "--server", server)
	refused(t, exitNo, []string{"status", "--server", server, "--ca", filepath.Join(data, tlsDir, keyName)}, "no certificate")
	text, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	defer c.CloseIdleConnections()
	resp, err := c.Get(server + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.Header.Get("Strict-Transport-Security") != "" {
		t.Errorf("%s %v", resp.Proto, resp.Header)
	}
}

func TestHourly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Minute)
		defer cancel()
		hourly(ctx, func() { calls++ })
		if calls != 3 || time.Since(start) != 150*time.Minute {
			t.Errorf("%d calls in %v", calls, time.Since(start))
		}
	})
}

func TestNetworks(t *testing.T) {
	var p prefixes
	for _, text := range []string{"10.0.0.0/8, 192.0.2.1", "2001:db8::/32"} {
		if err := p.Set(text); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.String(); got != "10.0.0.0/8,192.0.2.1/32,2001:db8::/32" {
		t.Error(got)
	}
}

func TestPlainTextIsWarnedOf(t *testing.T) {
	const warning = "others reach this node in plain text"
	data := filepath.Join(t.TempDir(), "data")
	s := serving(t, data, "--init", "--listen", "0.0.0.0:0", "--insecure-http")
	s.end(t)
	if !strings.Contains(s.log.String(), warning) {
		t.Error("plain text for others is not warned of")
	}
	s = serving(t, data)
	s.end(t)
	if strings.Contains(s.log.String(), warning) {
		t.Error("plain text on loopback is warned of")
	}
}
