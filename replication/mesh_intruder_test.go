package replication_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"registry-node/events"
	"registry-node/replication"
)

// dialAs shakes hands with s as the holder of cert, and returns the session and
// the token that it is worth.
func dialAs(t testing.TB, s *meshSite, cert tls.Certificate) (*tls.Conn, string, error) {
	t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", s.Addr().String(), &tls.Config{
		Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, NextProtos: []string{"rn-mesh/1"}, InsecureSkipVerify: true,
	})
	if err != nil {
		return nil, "", err
	}
	t.Cleanup(func() { _ = c.Close() })
	cs := c.ConnectionState()
	ekm, err := cs.ExportKeyingMaterial("registry-node mesh 1", nil, 32)
	return c, hex.EncodeToString(ekm), err
}

type oneConn struct{ net.Conn }

func (c oneConn) Dial(string, string) (net.Conn, error) { return c.Conn, nil }

// A member gone bad, with a NATS connection to s and no rules of its own.
type intruder struct {
	*nats.Conn
	mu   sync.Mutex
	errs []string
}

func login(t testing.TB, c net.Conn, token string) (*intruder, error) {
	t.Helper()
	in := &intruder{}
	nc, err := nats.Connect("nats://127.0.0.1", nats.SetCustomDialer(oneConn{c}), nats.Token(token), nats.NoReconnect(), nats.SkipHostLookup(),
		nats.Timeout(5*time.Second), nats.PermissionErrOnSubscribe(true), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			in.mu.Lock()
			defer in.mu.Unlock()
			in.errs = append(in.errs, err.Error())
		}))
	if err != nil {
		return nil, err
	}
	t.Cleanup(nc.Close)
	in.Conn = nc
	return in, nil
}

func intrude(t testing.TB, s *meshSite, cert tls.Certificate) *intruder {
	t.Helper()
	c, token, err := dialAs(t, s, cert)
	if err != nil {
		t.Fatal(err)
	}
	in, err := login(t, c, token)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// refused reports whether the server has refused what names subject.
func (in *intruder) refused(subject string) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, e := range in.errs {
		if strings.Contains(strings.ToLower(e), "permissions violation") && strings.Contains(e, `"`+subject+`"`) {
			return true
		}
	}
	return false
}

// hears collects what reaches a site that must be left alone.
type hears struct {
	mu  sync.Mutex
	all []string
}

func (h *hears) note(kind string) func(events.Site, []byte) {
	return func(from events.Site, msg []byte) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.all = append(h.all, fmt.Sprintf("%s of %v: %s", kind, from, msg))
	}
}

// TestHostileMember: b, a member, tries at a's server everything that only
// others may, against c.
func TestHostileMember(t *testing.T) {
	w := newWorld()
	var heard hears
	configs := make(map[string]replication.MeshConfig)
	for _, n := range []string{"a", "b", "c"} {
		cfg := w.config(t, n)
		cfg.Notices = map[string]func(events.Site, []byte){"announce": heard.note(n + ": announce")}
		configs[n] = cfg
	}
	c := configs["c"]
	c.Listen = "" // all that c says to a goes over a's server
	configs["c"] = c
	asked := make(chan struct{})
	configs["a"].Services["hang"] = func(ctx context.Context, _ events.Site, _ []byte, _ func([]byte) error) ([]byte, error) {
		close(asked)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	a, sc := w.open(t, configs["a"]), w.open(t, configs["c"])
	b := configs["b"]
	w.set(replication.Peer{Site: b.Site, Certificates: []events.Digest{replication.CertificateDigest(b.Certificate)}})
	settle(t, a, sc)
	a.Update()
	in := intrude(t, a, b.Certificate)

	for _, subject := range []string{
		"$JS.API.INFO", "$JS.API.STREAM.DELETE.LOG_a_1", "$JS.API.CONSUMER.CREATE.LOG_a_1", "$JS.API.DIRECT.GET.LOG_a_1",
		"$SYS.REQ.SERVER.PING", "$SYS.REQ.USER.INFO", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.ACCOUNT.$G.CONNECT",
		"log.a.1", "rn1.req.c.announce", "rn1.req.a.announce", "rn1.to.c.announce", "rn1.to.c.echo", "rn1.to.b.announce",
		"rn1.inbox.c.1", "rn1.inbox.a.1", "rn1.req.b", "rn1.req.b.announce.x", "_INBOX.x",
	} {
		if err := in.Publish(subject, []byte("evil")); err != nil {
			t.Fatal(err)
		}
		if err := in.FlushTimeout(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		waitFor(t, patience, func() bool { return in.refused(subject) }, "publish to %s is refused", subject)
	}
	for _, subject := range []string{
		">", "*", "rn1.>", "rn1.*.*.*", "rn1.req.>", "rn1.req.c.*", "rn1.req.b.*", "rn1.to.>", "rn1.to.*.*", "rn1.to.c.*", "rn1.to.c.echo",
		"rn1.inbox.>", "rn1.inbox.*.*", "rn1.inbox.c.*", "rn1.inbox.a.*", "$SYS.>", "$JS.>", "_INBOX.>", "rn1", "rn1.to.b",
	} {
		if _, err := in.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		if err := in.FlushTimeout(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		waitFor(t, patience, func() bool { return in.refused(subject) }, "subscription to %s is refused", subject)
	}

	// It may speak to a, but not have a's answer, or a trace, go to others: least
	// of all as the answer to what they have asked.
	answered := make(chan error, 1)
	ctx := within(t, patience)
	go func() {
		answer, err := sc.Request(ctx, a.site, "hang", nil, nil)
		answered <- fmt.Errorf("%q, %w", answer, err)
	}()
	<-asked
	for i := range 20 {
		if err := in.PublishRequest("rn1.req.b.echo", fmt.Sprintf("rn1.inbox.c.%d", i), []byte("evil")); err != nil {
			t.Fatal(err)
		}
	}
	for _, reply := range []string{"rn1.to.c.announce", "rn1.inbox.c.1", "rn1.req.c.announce", "rn1.inbox.b.x", "rn1.inbox.b.1.2", "rn1.inbox.b.*"} {
		if err := in.PublishRequest("rn1.req.b.echo", reply, []byte("evil")); err != nil {
			t.Fatal(err)
		}
	}
	traced := nats.NewMsg("rn1.req.b.announce")
	traced.Data = []byte("traced")
	traced.Header.Set("Rn-Ordinal", "1/1")
	traced.Header.Set("Nats-Trace-Dest", "rn1.to.c.announce")
	if err := in.PublishMsg(traced); err != nil {
		t.Fatal(err)
	}
	if err := in.FlushTimeout(5 * time.Second); err != nil {
		t.Fatal(err)
	}

	// Others are as before, and have heard nothing.
	checkEcho(t, a, sc)
	checkEcho(t, sc, a)
	select {
	case err := <-answered:
		t.Errorf("c's request is answered: %v", err)
	default:
	}
	heard.mu.Lock()
	defer heard.mu.Unlock()
	for _, h := range heard.all {
		if h != "a: announce of b: traced" {
			t.Errorf("heard %q", h)
		}
	}
}

func TestMemberIsBoundToItsSession(t *testing.T) {
	w := newWorld()
	a := w.open(t, w.config(t, "a"))
	b, c := newCert(t, "b"), newCert(t, "c")
	for name, cert := range map[string]tls.Certificate{"b": b, "c": c} {
		w.set(replication.Peer{Site: siteNamed(t, name), Certificates: []events.Digest{replication.CertificateDigest(cert)}})
	}
	a.Update()
	_, unused, err := dialAs(t, a, b) // stays open
	if err != nil {
		t.Fatal(err)
	}
	used, usedToken, err := dialAs(t, a, b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := login(t, used, usedToken); err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{"unused": unused, "used": usedToken, "none": "", "made up": strings.Repeat("0", 64)} {
		for who, cert := range map[string]tls.Certificate{"b": b, "c": c} {
			conn, _, err := dialAs(t, a, cert)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := login(t, conn, token); err == nil {
				t.Errorf("%s logs in with a token of b that is %s", who, name)
			}
		}
	}
}

// A member that logs in properly can't log in again as another by that one's
// unused token.
func TestSecondLoginIsRefused(t *testing.T) {
	w := newWorld()
	a := w.open(t, w.config(t, "a"))
	b, c := newCert(t, "b"), newCert(t, "c")
	for name, cert := range map[string]tls.Certificate{"b": b, "c": c} {
		w.set(replication.Peer{Site: siteNamed(t, name), Certificates: []events.Digest{replication.CertificateDigest(cert)}})
	}
	a.Update()
	_, stolen, err := dialAs(t, a, b)
	if err != nil {
		t.Fatal(err)
	}
	used, usedToken, err := dialAs(t, a, b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := login(t, used, usedToken); err != nil {
		t.Fatal(err)
	}
	for _, stolen := range []string{stolen, usedToken} {
		loginTwice(t, a, c, stolen)
	}
}

func loginTwice(t *testing.T, a *meshSite, c tls.Certificate, stolen string) {
	conn, token, err := dialAs(t, a, c)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "CONNECT {\"auth_token\":%q}\r\nPING\r\n", token)
	fmt.Fprintf(conn, "CONNECT {\"auth_token\":%q}\r\nPING\r\n", stolen)
	var got strings.Builder
	buf := make([]byte, 4096)
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	for {
		n, err := conn.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			break
		}
	}
	if s := got.String(); !strings.Contains(s, "PONG") || !strings.Contains(s, "-ERR 'Authorization Violation'") {
		t.Errorf("got %q, want one PONG and a refusal", s)
	}
}

// Of the connections that a member made the latest is used; the one before is
// given up.
func TestNewestSessionCounts(t *testing.T) {
	w := newWorld()
	a := w.open(t, w.config(t, "a"))
	b, c := newCert(t, "b"), newCert(t, "c")
	for name, cert := range map[string]tls.Certificate{"b": b, "c": c} {
		w.set(replication.Peer{Site: siteNamed(t, name), Certificates: []events.Digest{replication.CertificateDigest(cert)}})
	}
	a.Update()
	greet := func(who string, cert tls.Certificate, other string) (*intruder, string, string) {
		conn, token, err := dialAs(t, a, cert)
		if err != nil {
			t.Fatal(err)
		}
		in, err := login(t, conn, token)
		if err != nil {
			t.Fatal(err)
		}
		sub, err := in.SubscribeSync("rn1.inbox." + who + ".*")
		if err != nil {
			t.Fatal(err)
		}
		if other == "" {
			other = token
		}
		hello := fmt.Sprintf(`{"v":1,"registry":%q,"token":%q}`, registryID, other)
		if err := in.PublishRequest("rn1.req."+who+".hello", "rn1.inbox."+who+".1", []byte(hello)); err != nil {
			t.Fatal(err)
		}
		msg, err := sub.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		return in, token, string(msg.Data)
	}
	first, token, answer := greet("b", b, "")
	if !a.Connected(siteNamed(t, "b")) {
		t.Errorf("b is not connected: %s", answer)
	}
	if _, _, answer := greet("c", c, token); !strings.Contains(answer, "no connection of yours") || a.Connected(siteNamed(t, "c")) {
		t.Errorf("c is greeted over b's connection: %s", answer)
	}
	second, _, _ := greet("b", b, "")
	waitFor(t, patience, first.IsClosed, "the first connection is given up")
	if second.IsClosed() || !a.Connected(siteNamed(t, "b")) {
		t.Error("so is the second")
	}
}

// What a connection that was given up delivers late is not taken.
func TestLateNoticesAreDropped(t *testing.T) {
	w := newWorld()
	ca := w.config(t, "a")
	got := make(chan string, 10)
	ca.Notices = map[string]func(events.Site, []byte){"announce": func(_ events.Site, msg []byte) { got <- string(msg) }}
	a := w.open(t, ca)
	b := newCert(t, "b")
	w.set(replication.Peer{Site: siteNamed(t, "b"), Certificates: []events.Digest{replication.CertificateDigest(b)}})
	a.Update()
	in := intrude(t, a, b)
	for _, number := range []string{"1/5", "1/3", "", "x", "1/5", "1/6", "2/1", "2/2"} {
		msg := nats.NewMsg("rn1.req.b.announce")
		msg.Header.Set("Rn-Ordinal", number)
		msg.Data = []byte(number)
		if err := in.PublishMsg(msg); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"1/5", "1/6", "2/1", "2/2"} {
		select {
		case s := <-got:
			if s != want {
				t.Errorf("got %q, want %q", s, want)
			}
		case <-time.After(patience):
			t.Fatalf("no %q", want)
		}
	}
}

func TestUnknownCertificateIsRefused(t *testing.T) {
	w := newWorld()
	a := w.open(t, w.config(t, "a"))
	for name, cert := range map[string]tls.Certificate{"of a stranger": newCert(t, "b"), "none": {}, "its own": a.cert} {
		conn, token, err := dialAs(t, a, cert)
		if err == nil { // TLS 1.3: the client learns it when it reads
			_, err = login(t, conn, token)
		}
		if err == nil {
			t.Errorf("certificate %s: logs in", name)
		}
	}
}

// TestHostileServer: a member answers who dials it with lines that make the NATS
// client panic or take all memory.
func TestHostileServer(t *testing.T) {
	for name, line := range map[string]string{
		"panic":  "MSG rn1.to.a.x 1 9223372036854775807\r\nx",
		"memory": "HMSG rn1.to.a.x 1 10 1000000000\r\nx",
		"line":   "MSG " + strings.Repeat("x", 1<<20),
		"hidden": "MSG rn1.to.a.x 1 0\r\nXXMSG y 1 4000\r\nMSG rn1.to.a.x 1 9223372036854775807\r\n" + strings.Repeat("x", 5000),
		"return": "MSG rn1.to.a.x 1 9223372036854775807\r0\r\nx",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cert := newCert(t, "b")
			lis, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"rn-mesh/1"}, ClientAuth: tls.RequestClientCert})
			if err != nil {
				t.Fatal(err)
			}
			cut := make(chan struct{}, 100)
			var served sync.WaitGroup
			served.Go(func() {
				for {
					c, err := lis.Accept()
					if errors.Is(err, net.ErrClosed) {
						return
					}
					if err != nil {
						continue
					}
					served.Go(func() {
						defer c.Close()
						r := bufio.NewReader(c)
						fmt.Fprint(c, "INFO {\"proto\":1,\"headers\":true,\"max_payload\":8388608}\r\n")
						for line := ""; err == nil && !strings.HasPrefix(line, "PING"); line, err = r.ReadString('\n') {
						}
						fmt.Fprint(c, "PONG\r\n")
						for line := ""; err == nil && !strings.HasPrefix(line, "SUB"); line, err = r.ReadString('\n') {
						}
						fmt.Fprint(c, line)
						_, _ = io.Copy(io.Discard, r)
						select {
						case cut <- struct{}{}:
						default:
						}
					})
				}
			})
			w := newWorld()
			a := w.open(t, w.config(t, "a"))
			w.set(replication.Peer{Site: siteNamed(t, "b"), Addresses: []string{lis.Addr().String()}, Certificates: []events.Digest{replication.CertificateDigest(cert)}})
			a.Update()
			select {
			case <-cut:
			case <-time.After(patience):
				t.Error("the connection stays")
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			_ = lis.Close()
			served.Wait()
		})
	}
}
