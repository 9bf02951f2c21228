package replication

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// connectSelf connects this site to its own server.
func (m *Mesh) connectSelf() error {
	token := m.hub.allowSelf()
	defer m.hub.forbid(token)
	l, err := newLink(m.cfg.Site, nil, &m.running, nats.InProcessServer(m.hub.srv), nats.Token(token))
	if err != nil {
		return fmt.Errorf("connect to the mesh server: %w", err)
	}
	m.mine.Store(l)
	if m.life.Err() != nil { // Close has not seen it
		l.close()
	}
	return nil
}

// keepSelf connects again when the connection to the own server ends, which
// only a flood can bring about.
func (m *Mesh) keepSelf() {
	for {
		select {
		case <-m.mine.Load().gone:
		case <-m.life.Done():
			return
		}
		if m.life.Err() != nil {
			return
		}
		m.log.Warn("connection to the mesh server ended")
		if err := m.connectSelf(); err != nil {
			if !pause(m.life, nil, beatEvery) {
				return
			}
			continue
		}
		m.mu.Lock()
		m.subscribe()
		m.mu.Unlock()
	}
}

// subscribe listens to what every member sends to this site's server: to each
// apart, so that a flood of one fills up its own queue only. The caller holds mu.
func (m *Mesh) subscribe() {
	mine := m.mine.Load()
	for _, p := range m.members {
		if p.on == mine {
			continue
		}
		if err := p.listen(mine, subjectReq+p.site.String()+".*"); err != nil {
			continue // the connection is ending, and keepSelf will be here again
		}
		p.on = mine
	}
}

// listen takes what p sends to subject on l.
func (p *member) listen(l *link, subject string) error {
	sub, err := l.nc.Subscribe(subject, func(msg *nats.Msg) { p.receive(l, msg) })
	if err != nil {
		return err
	}
	context.AfterFunc(p.ctx, func() { _ = sub.Unsubscribe() })
	return sub.SetPendingLimits(maxWaiting, 2*maxReqBytes)
}

// receive takes a message that p sent and that came over l. That it is from p
// rests on the rights of members at this site's server, and on the pinned
// certificate at another's.
func (p *member) receive(l *link, msg *nats.Msg) {
	name := msg.Subject[strings.LastIndexByte(msg.Subject, '.')+1:]
	switch {
	case name == nameBeat:
		p.heard(l)
	case msg.Reply != "":
		p.request(l, name, msg)
	default:
		p.notice(name, msg)
	}
}

// heard notes that p lives, at the other end of l.
func (p *member) heard(l *link) {
	if l != p.m.mine.Load() {
		l.suspect.Store(false)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session != nil {
		p.session.suspect.Store(false)
	}
}

func (p *member) notice(name string, msg *nats.Msg) {
	take := p.m.cfg.Notices[name]
	if take == nil || !p.m.running.enter() {
		return
	}
	defer p.m.running.leave()
	p.noticing.Lock()
	defer p.noticing.Unlock()
	number, err := parseOrdinal(msg.Header.Get(headerOrdinal))
	if err != nil || !number.follows(p.noticed) || p.ctx.Err() != nil {
		return
	}
	p.noticed = number
	take(p.site, msg.Data)
}

func (p *member) request(l *link, name string, msg *nats.Msg) {
	if err := checkReply(msg.Reply, p.site); err != nil {
		p.m.log.Warn("request of a peer refused", "peer", p.site, "service", name, "error", err)
		return
	}
	r := responder{link: l, to: msg.Reply}
	if name == nameHello && l == p.m.mine.Load() {
		answer, err := p.welcome(msg.Data)
		r.finish(p.ctx, answer, err)
		return
	}
	serve := p.m.cfg.Services[name]
	if serve == nil {
		r.refuse(p.ctx, fmt.Errorf("site %v has no service %q", p.m.cfg.Site, name))
		return
	}
	n := len(msg.Data)
	if !p.enter(n) {
		r.refuse(p.ctx, fmt.Errorf("site %v is busy with %d requests of site %v", p.m.cfg.Site, maxCalls, p.site))
		return
	}
	started := p.m.running.start(func() {
		defer p.leave(n)
		ctx, cancel := context.WithTimeout(p.ctx, patience(msg))
		defer cancel()
		answer, err := serve(ctx, p.site, msg.Data, func(b []byte) error { return r.interim(ctx, b) })
		r.finish(p.ctx, answer, err)
	})
	if !started {
		p.leave(n)
	}
}

// patience is how long the asker waits, by its own word, or maxCall.
func patience(msg *nats.Msg) time.Duration {
	ms, err := strconv.ParseInt(msg.Header.Get(headerWait), 10, 64)
	if err != nil || ms < 0 || ms > maxCall.Milliseconds() {
		return maxCall
	}
	return time.Duration(ms) * time.Millisecond
}

// welcome answers what a member says over a connection that it made: it is in use
// from now on, and the server has seen what it subscribed to before.
func (p *member) welcome(req []byte) ([]byte, error) {
	h, err := p.m.readHello(req)
	if err != nil {
		return nil, err
	}
	if p.m.door == nil || !p.m.door.greet(p, h.Token) {
		return nil, errors.New("hello over no connection of yours")
	}
	p.wake() // it is up, so try to dial it as well
	return p.m.hello(""), nil
}

// A responder answers one request. Its methods are for one goroutine at a time.
type responder struct {
	link *link
	to   string
	sent int // interim answers
}

// interim sends an interim answer.
func (r *responder) interim(ctx context.Context, b []byte) error {
	if len(b) > MaxMessage {
		return fmt.Errorf("interim answer of %d bytes: at most %d", len(b), MaxMessage)
	}
	if r.sent++; r.sent > maxInterim {
		return fmt.Errorf("more than %d interim answers", maxInterim)
	}
	return r.link.send(ctx, r.message(kindInterim, b))
}

// finish sends the answer, or err. If that is not possible, the asker finds out
// by itself.
func (r *responder) finish(ctx context.Context, answer []byte, err error) {
	if err == nil && len(answer) > MaxMessage {
		err = fmt.Errorf("the answer has %d bytes, more than %d", len(answer), MaxMessage)
	}
	ctx, cancel := context.WithTimeout(ctx, maxCall)
	defer cancel()
	if err != nil {
		_ = r.link.send(ctx, r.message(kindError, errorText(err)))
		return
	}
	_ = r.link.send(ctx, r.message("", answer))
}

// refuse answers err, unless the link is busy for long.
func (r *responder) refuse(ctx context.Context, err error) {
	ctx, cancel := context.WithTimeout(ctx, beatEvery)
	defer cancel()
	r.finish(ctx, nil, err)
}

func (r *responder) message(kind string, b []byte) *nats.Msg {
	msg := &nats.Msg{Subject: r.to, Data: b}
	if kind != "" {
		msg.Header = nats.Header{headerKind: {kind}}
	}
	return msg
}

// errorText cuts the text of an error to what a message may have.
func errorText(err error) []byte {
	return []byte(strings.ToValidUTF8(err.Error()[:min(len(err.Error()), maxText)], "?"))
}
