package replication

import (
	"context"
	"errors"
	"fmt"

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

// Send sends a notice to the site to, if that is connected and its link is not
// busy. No error does not mean that it arrived; the errors are ErrNotConnected and
// ErrMeshClosed.
func (m *Mesh) Send(to events.Site, notice string, msg []byte) error {
	if len(msg) > MaxMessage {
		return fmt.Errorf("notice %s: %d bytes are more than %d", notice, len(msg), MaxMessage)
	}
	if m.life.Err() != nil {
		return ErrMeshClosed
	}
	if p := m.member(to); p != nil {
		for r := range p.routes() {
			if r.notify(notice, msg) {
				return nil
			}
		}
	}
	return fmt.Errorf("notice %s to site %v: %w", notice, to, ErrNotConnected)
}

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
