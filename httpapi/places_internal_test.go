package httpapi

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"registry-node/node"
	"registry-node/node/access"
)

// TestPlaces: one user does not get all places, and who waits too long is told to try
// again.
func TestPlaces(t *testing.T) {
	p := newPlaces(3, 2)
	p.wait = time.Millisecond
	of := func(user string) echo.Context {
		w := &writer{ResponseWriter: httptest.NewRecorder(), who: access.UserCaller(access.Login{User: user})}
		c := echo.New().NewContext(httptest.NewRequest("GET", "/", nil), w)
		c.Response().Writer = w
		return c
	}
	var given []func()
	for i, tt := range []struct {
		user string
		ok   bool
	}{{"ann", true}, {"ann", true}, {"ann", false}, {"bob", true}, {"carol", false}} {
		done, err := p.take(of(tt.user), "searches")
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, node.ErrUnavailable) {
			t.Errorf("%d: %v", i, err)
		}
		if err == nil {
			given = append(given, done)
		}
	}
	p.wait = time.Minute
	waited := make(chan error)
	go func() {
		done, err := p.take(of("ann"), "searches")
		if err == nil {
			done()
		}
		waited <- err
	}()
	for _, done := range given {
		done()
	}
	if err := <-waited; err != nil || p.taken != 0 || len(p.of) != 0 {
		t.Errorf("%v, and %d places are taken by %v", err, p.taken, p.of)
	}
}
