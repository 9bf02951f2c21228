package replication

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"registry-node/events"
)

// The headers of messages between sites.
const (
	headerKind    = "Rn-Kind"    // of an answer: kindInterim, kindError, or none: the answer itself
	headerWait    = "Rn-Wait"    // how many milliseconds the asker waits at most
	headerOrdinal = "Rn-Ordinal" // of a notice

	kindInterim = "interim"
	kindError   = "error"
)

// errUnsent: the link broke before the message was handed to it.
var errUnsent = errors.New("not sent")

// A link is one NATS connection: to the server of a peer, or to this site's own.
//
// Only the link's writer publishes, when the pump has room; others hand it their
// messages and wait for that under their own contexts.
type link struct {
	nc    *nats.Conn
	pump  *pump // below nc; nil for the one to this site's own server
	inbox string
	out   chan *nats.Msg
	gone  chan struct{} // closed when the connection has ended

	suspect atomic.Bool // a request got no answer here, and no beat has come since

	mu    sync.Mutex // guards the following
	calls map[string]chan *nats.Msg
	asked uint64
}

// newLink connects with opts and readies the inbox of site. The writer runs in
// crew until the link is closed.
func newLink(site events.Site, p *pump, running *crew, opts ...nats.Option) (*link, error) {
	l := &link{
		pump:  p,
		inbox: inboxOf(site),
		out:   make(chan *nats.Msg, 64),
		gone:  make(chan struct{}),
		calls: make(map[string]chan *nats.Msg),
	}
	opts = append(opts,
		nats.NoReconnect(),
		nats.NoEcho(),
		nats.SkipHostLookup(),
		nats.IgnoreDiscoveredServers(),
		nats.Timeout(helloTimeout),
		nats.PingInterval(time.Minute),
		nats.ClosedHandler(func(*nats.Conn) { close(l.gone) }),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // else it prints; who waits is told by the context
	)
	var err error
	if l.nc, err = nats.Connect("nats://127.0.0.1", opts...); err != nil {
		return nil, err
	}
	sub, err := l.nc.Subscribe(l.inbox+"*", l.answered)
	if err == nil {
		err = sub.SetPendingLimits(1<<14, 16*MaxMessage)
	}
	if err == nil && !running.start(l.write) {
		err = ErrMeshClosed
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// close ends the connection; gone is closed soon after.
func (l *link) close() {
	if l.pump != nil {
		_ = l.pump.Close()
	}
	l.nc.Close()
}

// write publishes what is handed to the link until it ends.
func (l *link) write() {
	for {
		select {
		case <-l.gone:
			return
		case msg := <-l.out:
			if err := l.nc.PublishMsg(msg); err != nil {
				l.close()
				return
			}
			if l.pump != nil {
				l.pump.wait()
			}
		}
	}
}

// send hands msg to the writer. The error is errUnsent, or the context's cause.
func (l *link) send(ctx context.Context, msg *nats.Msg) error {
	if isClosed(l.gone) {
		return errUnsent
	}
	select {
	case l.out <- msg:
		return nil
	case <-l.gone:
		return errUnsent
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errUnsent, ctx.Err())
	}
}

// offer hands msg to the writer if that takes it at once.
func (l *link) offer(msg *nats.Msg) bool {
	if isClosed(l.gone) {
		return false
	}
	select {
	case l.out <- msg:
		return true
	default:
		return false
	}
}

// call sends a request to subject and returns the answer. The route is over when
// the link is, or broken is closed. The error is errUnsent, ErrNotConnected when
// nobody is there, ErrNoAnswer or a *PeerError.
func (l *link) call(ctx context.Context, broken <-chan struct{}, subject string, req []byte, interim func([]byte)) ([]byte, error) {
	answers, reply, forget := l.expect()
	defer forget()
	msg := &nats.Msg{Subject: subject, Reply: reply, Data: req, Header: nats.Header{}}
	if deadline, ok := ctx.Deadline(); ok {
		msg.Header.Set(headerWait, strconv.FormatInt(time.Until(deadline).Milliseconds(), 10))
	}
	if err := l.send(ctx, msg); err != nil {
		return nil, err
	}
	for {
		select {
		case a := <-answers:
			switch {
			case a.Header.Get("Status") == "503": // of the server: nobody listens on subject
				return nil, ErrNotConnected
			case a.Header.Get(headerKind) == kindInterim:
				if interim != nil {
					interim(a.Data)
				}
			case a.Header.Get(headerKind) == kindError:
				return nil, &PeerError{Text: string(a.Data)}
			default:
				return a.Data, nil
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrNoAnswer, ctx.Err())
		case <-l.gone:
			return nil, fmt.Errorf("%w: the connection broke", ErrNoAnswer)
		case <-broken:
			return nil, fmt.Errorf("%w: the connection broke", ErrNoAnswer)
		}
	}
}

// expect makes an address for answers and the channel that they come by. The
// caller calls forget when it waits no more.
func (l *link) expect() (answers <-chan *nats.Msg, reply string, forget func()) {
	ch := make(chan *nats.Msg, 64)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	reply = l.inbox + strconv.FormatUint(l.asked, 10)
	l.calls[reply] = ch
	return ch, reply, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.calls, reply)
	}
}

// answered passes an answer to who waits for it. Interim answers that the asker
// is too slow for are left out, so that there is always room for the last.
func (l *link) answered(msg *nats.Msg) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ch := l.calls[msg.Subject]
	if ch == nil || msg.Header.Get(headerKind) == kindInterim && len(ch) >= cap(ch)-1 {
		return
	}
	select {
	case ch <- msg:
	default: // a second answer
	}
}
