package replication

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"registry-node/events"
)

// Request asks the site to for service and returns its answer. Interim answers go
// to interim, if that is not nil, in this goroutine and in order.
//
// The error is ErrNotConnected (the peer has not seen the request), ErrNoAnswer
// (it may have), a *PeerError with what the peer said, or ErrMeshClosed; what ctx
// ended with is in it.
func (m *Mesh) Request(ctx context.Context, to events.Site, service string, req []byte, interim func([]byte)) ([]byte, error) {
	answer, err := m.request(ctx, to, service, req, interim)
	if err != nil && m.life.Err() != nil {
		return nil, ErrMeshClosed
	}
	if perr := (*PeerError)(nil); err != nil && !errors.As(err, &perr) {
		return nil, fmt.Errorf("request %s of site %v: %w", service, to, err)
	}
	return answer, err
}

func (m *Mesh) request(ctx context.Context, to events.Site, service string, req []byte, interim func([]byte)) ([]byte, error) {
	if len(req) > MaxMessage {
		return nil, fmt.Errorf("%d bytes are more than %d", len(req), MaxMessage)
	}
	p := m.member(to)
	if p == nil {
		return nil, fmt.Errorf("%w: it is no member", ErrNotConnected)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	err := ErrNotConnected
	for r := range p.routes() {
		var answer []byte
		answer, err = r.link.call(ctx, r.broken, r.prefix+service, req, interim)
		switch {
		case err == nil:
			return answer, nil
		case errors.Is(err, context.DeadlineExceeded):
			r.suspect.Store(true)
		}
		if ctx.Err() != nil || !errors.Is(err, errUnsent) && !errors.Is(err, ErrNotConnected) {
			break
		}
	}
	if errors.Is(err, errUnsent) {
		return nil, fmt.Errorf("%w: %w", ErrNotConnected, err)
	}
	return nil, err
}

// errBusy: more is waiting to be sent than a notice is worth waiting for.
var errBusy = errors.New("the connection is busy")

// Send sends a notice to the site to, if that is connected and the connection is
// not busy. No error does not mean that it arrived. The error is ErrNotConnected,
// ErrMeshClosed, or says that the notice is too large or the connection busy.
func (m *Mesh) Send(to events.Site, notice string, msg []byte) error {
	if len(msg) > MaxMessage {
		return fmt.Errorf("notice %s: %d bytes are more than %d", notice, len(msg), MaxMessage)
	}
	if m.life.Err() != nil {
		return ErrMeshClosed
	}
	err := ErrNotConnected
	if p := m.member(to); p != nil {
		err = p.tell(notice, msg)
	}
	if err != nil {
		return fmt.Errorf("notice %s to site %v: %w", notice, to, err)
	}
	return nil
}

// tell sends a notice over the first route, with the next number.
func (p *member) tell(notice string, msg []byte) error {
	p.telling.Lock()
	defer p.telling.Unlock()
	for r := range p.routes() {
		p.told++
		number := ordinal{p.m.born, p.told}
		header := nats.Header{headerOrdinal: {number.String()}}
		if !r.link.offer(&nats.Msg{Subject: r.prefix + notice, Data: msg, Header: header}) {
			return errBusy
		}
		return nil
	}
	return ErrNotConnected
}

// An ordinal numbers the notices of one site to another, so that one that a
// connection which was given up delivers late is known to be old.
type ordinal struct {
	run int64 // when the sender's mesh was opened, in nanoseconds
	n   uint64
}

func (o ordinal) String() string { return fmt.Sprintf("%d/%d", o.run, o.n) }

func parseOrdinal(s string) (ordinal, error) {
	run, n, _ := strings.Cut(s, "/")
	r, err := strconv.ParseInt(run, 10, 64)
	if err != nil {
		return ordinal{}, err
	}
	k, err := strconv.ParseUint(n, 10, 64)
	return ordinal{r, k}, err
}

// follows reports whether a notice with number o is to be taken after p.
func (o ordinal) follows(p ordinal) bool { return o.run != p.run || o.n > p.n }

// Connected reports whether there is a route to the site to. A peer that has
// become silent counts as connected for up to 5 s.
func (m *Mesh) Connected(to events.Site) bool {
	if p := m.member(to); p != nil {
		for range p.routes() {
			return true
		}
	}
	return false
}
