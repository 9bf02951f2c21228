package httpapi

import (
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"registry-node/node"
)

// placeTime is how long a request waits for a place at most.
const placeTime = 5 * time.Second

// places bound how many requests of a kind are under way, of all and of each user.
type places struct {
	most, each int
	wait       time.Duration // placeTime, shorter in tests

	mu    sync.Mutex // guards what follows
	taken int
	of    map[string]int // by user, or by address of those who are none
	freed chan struct{}  // closed as a place gets free
}

func newPlaces(most, each int) *places {
	return &places{most: most, each: each, wait: placeTime, of: map[string]int{}, freed: make(chan struct{})}
}

// take waits for a place for a request, a few seconds at most. Who gets one gives it
// back by done, once. Errors: ErrUnavailable, or what ends the request.
func (p *places) take(c echo.Context, what string) (done func(), err error) {
	w := c.Response().Writer.(*writer)
	user := "user " + w.who.User()
	if w.who.User() == "" {
		user = w.client.String()
	}
	late := time.NewTimer(p.wait)
	defer late.Stop()
	for {
		freed, ok := p.try(user)
		if ok {
			return func() { p.give(user) }, nil
		}
		select {
		case <-freed:
		case <-late.C:
			return nil, fail(node.ErrUnavailable, "as many "+what+" as may be are under way at this node, or yours are; try again in a moment")
		case <-c.Request().Context().Done():
			return nil, c.Request().Context().Err()
		}
	}
}

// try takes a place, or returns what is closed as one gets free.
func (p *places) try(user string) (freed <-chan struct{}, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken == p.most || p.of[user] == p.each {
		return p.freed, false
	}
	p.taken++
	p.of[user]++
	return nil, true
}

func (p *places) give(user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.of[user]--; p.of[user] == 0 {
		delete(p.of, user)
	}
	close(p.freed)
	p.freed = make(chan struct{})
}
