package replication

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/nats-io/nats.go"
)

// The wait between rounds of dialling doubles from minBackoff to maxBackoff, less
// up to half by chance. It is short, so that a peer that is back is soon heard.
const (
	minBackoff = 250 * time.Millisecond
	maxBackoff = time.Second
)

// keepDialled dials p for as long as it is a member.
func (p *member) keepDialled() {
	defer p.http.CloseIdleConnections()
	backoff, said := minBackoff, ""
	for p.ctx.Err() == nil {
		used, err := p.round()
		if used {
			backoff, said = minBackoff, ""
		}
		if err != nil && err.Error() != said && p.ctx.Err() == nil {
			said = err.Error()
			p.m.log.Info("peer can't be dialled", "peer", p.site, "error", err)
		}
		if !pause(p.ctx, p.kick, backoff/2+rand.N(backoff/2)) {
			return
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// round tries the addresses of p in turn, and stays with the first that works
// until that connection ends. It reports whether there was one.
func (p *member) round() (used bool, err error) {
	peer, ok := p.m.peer(p.site)
	if !ok || len(peer.Addresses) == 0 {
		pause(p.ctx, p.kick, maxBackoff)
		return false, nil
	}
	var errs []error
	for _, addr := range peer.Addresses {
		l, err := p.dial(peer, addr)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", addr, err))
			continue
		}
		p.stay(l, addr)
		return true, nil
	}
	return false, errors.Join(errs...)
}

// stay has l in use until it ends.
func (p *member) stay(l *link, addr string) {
	p.m.log.Info("connected to peer", "peer", p.site, "address", addr)
	p.use(l)
	select {
	case <-l.gone:
	case <-p.ctx.Done():
	}
	p.use(nil)
	l.close()
	<-l.gone
	p.m.log.Info("connection to peer ended", "peer", p.site, "address", addr, "cause", l.nc.LastError())
}

// dial makes a connection to the server of p that is ready for use.
func (p *member) dial(peer Peer, addr string) (*link, error) {
	if own := p.m.Addr(); own != nil && own.String() == addr {
		return nil, errors.New("is this site's own address")
	}
	tc, w, err := p.m.dialTLS(p.ctx, peer, addr, protoMesh, kindDialled)
	if err != nil {
		return nil, err
	}
	l, err := p.login(tc, w)
	if err != nil {
		_ = w.Close()
		return nil, err
	}
	return l, nil
}

func (p *member) login(tc *tls.Conn, w *wire) (*link, error) {
	token, err := binding(tc.ConnectionState())
	if err != nil {
		return nil, err
	}
	w.limit(silence)
	ctx, cancel := context.WithTimeout(p.ctx, 2*helloTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = w.Close() })()
	pump := newPump(&framedConn{Conn: tc}, w)
	if !p.m.running.start(pump.run) {
		return nil, ErrMeshClosed
	}
	l, err := newLink(p.m.cfg.Site, pump, &p.m.running, nats.Token(token), nats.SetCustomDialer(dialed{pump}))
	if err != nil {
		return nil, err
	}
	if err := p.greet(ctx, l, token); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// greet listens to p on l and has p use it as well.
func (p *member) greet(ctx context.Context, l *link, token string) error {
	me := p.m.cfg.Site.String()
	if err := p.listen(l, subjectTo+me+".*"); err != nil {
		return err
	}
	answer, err := l.call(ctx, nil, subjectReq+me+"."+nameHello, p.m.hello(token), nil)
	if err != nil {
		return err
	}
	_, err = p.m.readHello(answer)
	return err
}

// dialed is a connection as a dialer for the NATS client, which dials once.
type dialed struct{ conn net.Conn }

// Dial returns the connection.
func (d dialed) Dial(string, string) (net.Conn, error) { return d.conn, nil }

// dialTLS connects to addr with proto, as long as what answers there has a
// certificate of peer's. The connection is closed when that is not its any more.
func (m *Mesh) dialTLS(ctx context.Context, peer Peer, addr, proto string, kind connKind) (*tls.Conn, *wire, error) {
	tc, w, err := dialPinned(ctx, m.cfg.Dial, addr, clientTLS(m.cfg.Certificate, proto, peer.Certificates))
	if err != nil {
		return nil, nil, err
	}
	if !m.pins.add(w, peer.Site, peerDigest(tc.ConnectionState()), kind) {
		return nil, nil, errors.New("is no member any more, or has too many connections")
	}
	return tc, w, nil
}

func dialPinned(ctx context.Context, dial DialFunc, addr string, cfg *tls.Config) (*tls.Conn, *wire, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := dial(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	w := newWire(c)
	tc := tls.Client(w, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = w.Close()
		return nil, nil, fmt.Errorf("TLS: %w", err)
	}
	return tc, w, nil
}

// pause waits for d, or for a token in kick, and reports whether ctx goes on.
func pause(ctx context.Context, kick <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-kick:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
