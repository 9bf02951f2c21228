package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

func exists(t *testing.T, file string) bool {
	t.Helper()
	_, err := os.Lstat(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return err == nil
}

func TestServeNeverMakesARegistryUnasked(t *testing.T) {
	empty := t.TempDir()
	refused(t, exitNo, []string{"serve", "--data", empty, "--listen", "127.0.0.1:0"}, "holds no registry", "serve --init")
	absent := filepath.Join(t.TempDir(), "data")
	refused(t, exitNo, []string{"serve", "--data", absent, "--listen", "127.0.0.1:0"}, "holds no registry")
	other := writeTree(t, t.TempDir(), map[string]string{"letter.txt": "Dear"})
	refused(t, exitNo, []string{"serve", "--data", other, "--init", "--listen", "127.0.0.1:0"}, "holds letter.txt and no registry")
	if entries, err := os.ReadDir(empty); err != nil || len(entries) > 0 {
		t.Errorf("the empty directory holds %v, %v", entries, err)
	}
	if exists(t, absent) {
		t.Error("the absent directory has been made")
	}
}

func TestInitIsForTheFirstStart(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	first := serving(t, data, "--init", "--site", "oslo")
	ok(t, "repo", "set", "local", "--owns", "corp.example/**", "--server", first.url)
	first.end(t)
	t.Setenv("GOPROXY", "https://user:s3cret@a.example") // is not looked at any more
	second := serving(t, data, "--init")
	if out := ok(t, "repo", "show", "local", "--server", second.url); !strings.Contains(out, "corp.example/**") {
		t.Errorf("the registry is not the one from before:\n%s", out)
	}
	second.end(t)
	plain := serving(t, data)
	plain.end(t)
	proxied := serving(t, data, "--trusted-proxy", "127.0.0.1")
	proxied.end(t)
	const warning = "registry-node permission delete trial"
	if strings.Contains(plain.log.String(), warning) || !strings.Contains(proxied.log.String(), warning) {
		t.Errorf("without a proxy:\n%s\nwith one:\n%s", plain.log, proxied.log)
	}
	serving(t, data, "--site", "oslo").end(t)
	refused(t, exitNo, []string{"serve", "--data", data, "--site", "turku", "--listen", "127.0.0.1:0"}, "is of site oslo, not turku")
}

func TestInitMakesTheDefaultRepositories(t *testing.T) {
	fresh(t)
	for repo, wants := range map[string][]string{
		"local":  {"local", "owns", "-"},
		"public": {"remote", "http://upstream.invalid", "off"},
		"all":    {"virtual", "local, public", "deploy"},
	} {
		out := ok(t, "repo", "show", repo)
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("repo show %s lacks %q:\n%s", repo, want, out)
			}
		}
	}
}

func TestUnknownDataFormatIsRefused(t *testing.T) {
	data := writeTree(t, t.TempDir(), map[string]string{"format": "registry-node data 99\n"})
	refused(t, exitNo, []string{"serve", "--data", data, "--init", "--listen", "127.0.0.1:0"}, `"registry-node data 99"`, "knows only")
}

// TestStaleAddressGoesFirst opens a directory that a killed node left, and can't.
func TestStaleAddressGoesFirst(t *testing.T) {
	data := writeTree(t, t.TempDir(), map[string]string{"format": "registry-node data 99\n", addrFile: "127.0.0.1:1"})
	refused(t, exitNo, []string{"serve", "--data", data, "--listen", "127.0.0.1:0"}, "knows only")
	if exists(t, filepath.Join(data, addrFile)) {
		t.Error("http.addr of the killed node is still there")
	}
}

func TestPlainHTTPForOthersMustBeAskedFor(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	refused(t, exitUsage, []string{"serve", "--data", data, "--init", "--listen", "0.0.0.0:0"}, "--tls-cert", "--insecure-http")
	if exists(t, data) {
		t.Error("the data directory has been made")
	}
	s := serving(t, data, "--init", "--listen", "0.0.0.0:0", "--insecure-http")
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	server := "http://127.0.0.1:" + port
	refused(t, exitNo, []string{"status", "--server", server}, "credentials")
	refused(t, exitNo, []string{"repo", "list", "--server", server}, "credentials")
	ok(t, "repo", "list", "--data", data)
}

func TestServeOverTLS(t *testing.T) {
	dir := t.TempDir()
	pool := makeCertificate(t, dir)
	data := filepath.Join(dir, "data")
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	refused(t, exitNo, []string{"serve", "--data", data, "--tls-cert", key, "--tls-key", cert}, "TLS certificate")
	s := serving(t, data, "--init", "--listen", "0.0.0.0:0", "--tls-cert", cert, "--tls-key", key)
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	addr := "127.0.0.1:" + port
	for max, works := range map[uint16]bool{tls.VersionTLS13: true, tls.VersionTLS12: true, tls.VersionTLS11: false} {
		conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS10, MaxVersion: max})
		if (err == nil) != works {
			t.Errorf("up to %s: %v", tls.VersionName(max), err)
		}
		if err == nil {
			conn.Close()
		}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("https://" + addr + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
		t.Errorf("over TLS: %s %s", resp.Proto, resp.Status)
	}
}

// makeCertificate writes cert.pem and key.pem for 127.0.0.1.
func makeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	writeTree(t, dir, map[string]string{
		"cert.pem": string(cert),
		"key.pem":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
	})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool
}

func TestEndLeavesNoTracesOfServing(t *testing.T) {
	s := fresh(t)
	sock, addr := filepath.Join(s.data, adminSocket), filepath.Join(s.data, addrFile)
	st, err := os.Lstat(sock)
	if err != nil || st.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("admin socket: mode %v, %v", st.Mode(), err)
	}
	s.end(t)
	if exists(t, sock) || exists(t, addr) {
		t.Error("admin.sock or http.addr is still there")
	}
	entries, err := filepath.Glob(filepath.Join(s.data, ".*"))
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	refused(t, exitNo, []string{"status"}, "can't reach "+s.url, "does `registry-node serve` run there?")
	refused(t, exitNo, []string{"status", "--data", s.data}, "admin.sock", "does `registry-node serve` run there?")
}

func TestAddressInUse(t *testing.T) {
	s := fresh(t)
	data := filepath.Join(t.TempDir(), "data")
	refused(t, exitNo, []string{"serve", "--data", data, "--init", "--listen", s.addr}, "address already in use")
	if exists(t, data) {
		t.Error("the data directory has been made")
	}
}

func TestDirectoryInUse(t *testing.T) {
	s := fresh(t)
	refused(t, exitNo, []string{"serve", "--data", s.data, "--listen", "127.0.0.1:0"}, "in use by another process")
	ok(t, "status", "--data", s.data) // and the one that serves lost nothing
	ok(t, "status")
	if !exists(t, filepath.Join(s.data, addrFile)) {
		t.Error("http.addr of the node that serves is gone")
	}
}

// TestLongDataDirectory has a path that no socket can have.
func TestLongDataDirectory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has a way to sockets with long paths")
	}
	data := filepath.Join(t.TempDir(), strings.Repeat("long/", 40), "data")
	s := serving(t, data, "--init")
	ok(t, "repo", "set", "local", "--owns", "corp.example/**", "--data", data)
	s.end(t)
	if exists(t, filepath.Join(data, adminSocket)) {
		t.Error("admin.sock is still there")
	}
}

// TestSignals ends processes of their own, in the friendly way and the other.
func TestSignals(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no SIGTERM between processes")
	}
	data := filepath.Join(t.TempDir(), "data")
	addr := filepath.Join(data, addrFile)
	// start returns the log, and what sends signals and waits for the end.
	start := func(args ...string) (*watched, func(...os.Signal) error) {
		log := watch("msg=ready", "a second signal")
		cmd := command(t, append([]string{"serve", "--data", data, "--listen", "127.0.0.1:0"}, args...)...)
		cmd.Stderr = log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		select {
		case <-log.seen:
		case err := <-done:
			t.Fatalf("serve ended: %v\n%s", err, log)
		}
		return log, func(signals ...os.Signal) error {
			for i, s := range signals {
				if i > 0 {
					<-log.then
				}
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			return <-done
		}
	}
	_, end := start("--init")
	if err := end(syscall.SIGKILL); err == nil || !exists(t, addr) || !exists(t, filepath.Join(data, adminSocket)) {
		t.Fatalf("killed: %v, but it cleaned up", err)
	}
	log, end := start()
	if err := end(syscall.SIGTERM); err != nil || exists(t, addr) {
		t.Errorf("terminated: %v; http.addr exists: %v\n%s", err, exists(t, addr), log)
	}
	if !strings.Contains(log.String(), "a second signal ends it at once") {
		t.Errorf("the log does not say that it ends:\n%s", log)
	}
	_, end = start()
	text, err := os.ReadFile(addr)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", string(text)) // a request that does not finish
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "PUT /api/v1/repos/local/modules/corp.example/a/@v/v1.0.0 HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := end(syscall.SIGTERM, syscall.SIGTERM); err == nil || !strings.Contains(err.Error(), "signal: terminated") {
		t.Errorf("after a second signal: %v", err)
	}
}

// TestShutdownLetsRequestsFinish ends the node while an upload is under way.
func TestShutdownLetsRequestsFinish(t *testing.T) {
	s := fresh(t)
	ok(t, "repo", "set", "local", "--owns", "corp.example/**")
	p := packModule(t, "corp.example/a", "v1.0.0")
	zip, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	body, feed := io.Pipe()
	req, err := http.NewRequest(http.MethodPut, s.url+"/api/v1/repos/local/modules/corp.example/a/@v/v1.0.0", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Expect", "100-continue") // the body goes when the node asks for it
	client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
	answered := make(chan int, 1)
	go func() {
		defer client.CloseIdleConnections()
		resp, err := client.Do(req)
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		resp.Body.Close()
		answered <- resp.StatusCode
	}()
	if _, err := feed.Write(zip[:100]); err != nil { // the node listens
		t.Fatal(err)
	}
	s.cancel()
	for exists(t, filepath.Join(s.data, addrFile)) { // stop taking connections, then finish
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			break
		}
		conn.Close()
	}
	if _, err := feed.Write(zip[100:]); err != nil {
		t.Fatal(err)
	}
	feed.Close()
	if got := <-answered; got != http.StatusCreated {
		t.Errorf("the upload got status %d, want 201", got)
	}
	s.end(t)
}
