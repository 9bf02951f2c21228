package upstream

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// stopped is a clock that stands still until it is moved.
type stopped struct{ at time.Time }

func (c *stopped) now() time.Time { return c.at }

func TestBreaker(t *testing.T) {
	const period = 30 * time.Second
	failed := &Error{Class: ErrUnavailable, Status: 503}
	refused := &Error{Class: ErrUnavailable, Err: errors.New("connection refused"), connect: true}
	late := &Error{Class: ErrTimeout, Err: errTotal}
	absent := &Error{Class: ErrNotFound, Status: 404}
	canceled := &Error{Err: context.Canceled, gaveUp: true}
	impatient := &Error{Class: ErrTimeout, Err: context.DeadlineExceeded, gaveUp: true}
	busy := func(d time.Duration) *Error { return &Error{Class: ErrUnavailable, Status: 429, RetryAfter: d} }
	type ends = []error
	for name, test := range map[string]struct {
		ends ends          // of requests, one after the other
		off  time.Duration // for how long it is assumed offline then, 0: not
	}{
		"four failures":                     {ends{failed, failed, late, late}, 0},
		"five failures":                     {ends{failed, late, failed, late, failed}, period},
		"an answer between":                 {ends{failed, failed, failed, absent, failed, failed}, 0},
		"a success between":                 {ends{failed, failed, failed, nil, failed, failed}, 0},
		"two refused":                       {ends{refused, refused}, 0},
		"three refused":                     {ends{refused, refused, refused}, period},
		"refused, not in a row":             {ends{refused, refused, late, refused}, 0},
		"who gave up says nothing":          {ends{failed, failed, canceled, impatient, canceled, failed, failed}, 0},
		"nor does it end a row":             {ends{failed, failed, canceled, failed, impatient, failed, failed}, period},
		"our own faults say nothing":        {ends{errors.New("disk full"), failed, failed, failed, failed}, 0},
		"answers":                           {ends{absent, absent, absent, absent, absent, absent}, 0},
		"refusals":                          {ends{&Error{Class: ErrForbidden}, &Error{Class: ErrForbidden}, &Error{Class: ErrForbidden}, &Error{Class: ErrForbidden}, &Error{Class: ErrForbidden}}, 0},
		"bad answers":                       {ends{&Error{Class: ErrBadAnswer}, &Error{Class: ErrBadAnswer}, &Error{Class: ErrBadAnswer}, &Error{Class: ErrBadAnswer}, &Error{Class: ErrBadAnswer}}, 0},
		"asks for ten seconds":              {ends{busy(10 * time.Second)}, 10 * time.Second},
		"asks for more than is believed":    {ends{busy(time.Hour)}, period},
		"failures wrapped by those in walk": {ends{&walkError{best: failed, all: nil}, failed, failed, failed, failed}, period},
	} {
		t.Run(name, func(t *testing.T) {
			clock := &stopped{time.Unix(1_000_000, 0)}
			b := newBreaker(period, clock.now)
			for i, end := range test.ends {
				p, err := b.enter()
				if err != nil {
					t.Fatalf("request %d: %v", i, err)
				}
				p.leave(end)
			}
			h := b.health("")
			if off := h.State == EntryOffline; off != (test.off > 0) || off && h.Until.Sub(clock.at) != test.off {
				t.Errorf("%s until %v, want offline for %v", h.State, h.Until.Sub(clock.at), test.off)
			}
			if never := newBreaker(0, clock.now); true {
				for _, end := range test.ends {
					p, err := never.enter()
					if err != nil {
						t.Fatalf("without a period: %v", err)
					}
					p.leave(end)
				}
			}
		})
	}
}

// TestBreakerProbes: after the period exactly one request is made.
func TestBreakerProbes(t *testing.T) {
	failed := &Error{Class: ErrUnavailable, Status: 503}
	open := func() (*stopped, *breaker) {
		clock := &stopped{time.Unix(1_000_000, 0)}
		b := newBreaker(time.Minute, clock.now)
		for range maxFailures {
			p, _ := b.enter()
			p.leave(failed)
		}
		if _, err := b.enter(); err == nil || !strings.Contains(err.Error(), "1970-01-12T13:47:40Z") || !strings.Contains(err.Error(), "503") {
			t.Fatalf("%v, want until when and why", err)
		}
		clock.at = clock.at.Add(time.Minute)
		return clock, b
	}
	probe := func(b *breaker) *pass {
		t.Helper()
		p, err := b.enter()
		if err != nil {
			t.Fatalf("the period is over: %v", err)
		}
		if _, err := b.enter(); err == nil {
			t.Error("a second request is made while one probes")
		}
		return p
	}
	state := func(b *breaker, want EntryState) {
		t.Helper()
		if h := b.health(""); h.State != want {
			t.Errorf("%+v, want %s", h, want)
		}
	}

	_, b := open()
	p := probe(b)
	state(b, EntryProbing)
	p.leave(nil)
	state(b, EntryUp)

	clock, b := open()
	probe(b).leave(failed)
	state(b, EntryOffline)
	if h := b.health(""); h.Until.Sub(clock.at) != time.Minute {
		t.Errorf("after a probe that failed: until %v", h.Until)
	}

	_, b = open() // the one who probes goes away: another does
	probe(b).leave(context.Canceled)
	probe(b).leave(&Error{Class: ErrNotFound})
	state(b, EntryUp)

	clock = &stopped{time.Unix(1_000_000, 0)} // what began before says nothing of now
	b = newBreaker(time.Minute, clock.now)
	old, _ := b.enter()
	for range maxFailures {
		p, _ := b.enter()
		p.leave(failed)
	}
	clock.at = clock.at.Add(time.Minute)
	probe(b).answered()
	old.leave(failed)
	state(b, EntryUp)

	_, b = open() // the header lets others in, who stay on probation
	p = probe(b)
	p.answered()
	state(b, EntryUp)
	other, err := b.enter()
	if err != nil {
		t.Fatal(err)
	}
	p.leave(&Error{Class: ErrTimeout, Err: errStalled})
	state(b, EntryOffline)
	other.leave(nil) // was under way before
	state(b, EntryOffline)
}
