package upstream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/node/upstream"
)

// moving is a clock that tests move.
type moving struct{ seconds atomic.Int64 }

func (m *moving) now() time.Time { return time.Unix(1_000_000+m.seconds.Load(), 0) }

func TestUpstreamIsAssumedOffline(t *testing.T) {
	var asked atomic.Int32
	var down atomic.Bool
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if down.Load() {
			http.Error(w, "maintenance of "+r.URL.Path, http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "v1.0.0\n")
	})
	spare := serve(t, body("v1.1.0\n"))
	c := newClient(t, srv.URL+"/base|"+spare.URL, upstream.Options{})
	clock := &moving{}
	c.SetClock(clock.now)
	list := func(want string, wantAsked int32) {
		t.Helper()
		asked.Store(0)
		got, err := c.List(t.Context(), mv.Path)
		if err != nil || strings.Join(got, " ") != want || asked.Load() != wantAsked {
			t.Errorf("%q, %v, asked %d times; want %s, asked %d times", got, err, asked.Load(), want, wantAsked)
		}
	}
	list("v1.0.0", 1)
	down.Store(true)
	for range 5 {
		list("v1.1.0", 1)
	}
	list("v1.1.0", 0)
	h := c.Health()
	if len(h) != 2 || h[0].URL != srv.URL+"/base" || h[0].State != upstream.EntryOffline || h[0].Failures != 5 ||
		!h[0].Until.Equal(clock.now().Add(30*time.Second)) || !h[0].LastOK.Equal(clock.now()) ||
		!strings.Contains(h[0].LastError, "503") || h[1].State != upstream.EntryUp {
		t.Errorf("health %+v", h)
	}
	clock.seconds.Add(29)
	list("v1.1.0", 0)
	clock.seconds.Add(1)
	list("v1.1.0", 1) // the probe
	list("v1.1.0", 0)
	down.Store(false)
	list("v1.1.0", 0)
	clock.seconds.Add(30)
	list("v1.0.0", 1)
	list("v1.0.0", 1)
}

func TestOfflineErrorDoesNotTellWhatOthersAsked(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		http.Error(w, "no "+r.URL.Path, http.StatusTooManyRequests)
	})
	c := newClient(t, srv.URL, upstream.Options{})
	_, err := c.List(t.Context(), "corp.test/secret")
	var e *upstream.Error
	if !errors.As(err, &e) || e.RetryAfter != 7*time.Second {
		t.Errorf("%#v, want the time that the upstream asks for", err)
	}
	_, err = c.List(t.Context(), "pub.test/x")
	if !errors.Is(err, upstream.ErrUnavailable) || !strings.Contains(err.Error(), "assumed offline until") || strings.Contains(err.Error(), "corp.test") {
		t.Errorf("%v", err)
	}
}

func TestDeadUpstreamIsAssumedOfflineSooner(t *testing.T) {
	srv := httptest.NewServer(status(200))
	srv.Close()
	c := newClient(t, srv.URL, upstream.Options{OfflineFor: 2 * time.Hour})
	never := newClient(t, srv.URL, upstream.Options{OfflineFor: -1})
	for i := range 9 {
		_, err := c.List(t.Context(), mv.Path)
		if assumed := err != nil && strings.Contains(err.Error(), "assumed offline"); assumed != (i >= 3) {
			t.Errorf("request %d: %v", i+1, err)
		}
		if _, err := never.List(t.Context(), mv.Path); strings.Contains(err.Error(), "assumed offline") {
			t.Errorf("with OfflineFor -1: %v", err)
		}
	}
	if h := c.Health()[0]; h.Until.Sub(h.Since) > time.Hour {
		t.Errorf("offline for %v, which is longer than an hour", h.Until.Sub(h.Since))
	}
}

// TestStallingBodiesAreFailures: an upstream that answers and then sends nothing
// is down as well.
func TestStallingBodiesAreFailures(t *testing.T) {
	srv := serve(t, stall("PK v1.0.0\n"))
	c := newClient(t, srv.URL, upstream.Options{StallTimeout: 10 * time.Millisecond})
	for i := range 6 {
		_, err := c.Zip(t.Context(), mv, new(bytes.Buffer), nil)
		if want := []error{upstream.ErrTimeout, upstream.ErrUnavailable}[i/5]; !errors.Is(err, want) {
			t.Errorf("zip %d: %v, want %v", i+1, err, want)
		}
	}
}

// TestDatabaseIsJudgedApart: a proxy serves modules while the database behind it
// fails.
func TestDatabaseIsJudgedApart(t *testing.T) {
	db := newDB(t)
	db.override = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/supported") {
			return false
		}
		http.Error(w, "no", http.StatusInternalServerError)
		return true
	}
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/sumdb/") {
			db.ServeHTTP(w, r)
			return
		}
		io.WriteString(w, "v1.0.0\n")
	})
	c := newClient(t, srv.URL, upstream.Options{})
	s := openSumdb(t, db.key, "", c, newState(t))
	for i := range 6 {
		if _, err := s.Lookup(t.Context(), module.Version{Path: fmt.Sprint("pub.test/m", i), Version: "v1.0.0"}); !errors.Is(err, upstream.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	h := c.Health()
	if len(h) != 2 || h[0].State != upstream.EntryUp || h[1].State != upstream.EntryOffline || h[1].URL != srv.URL {
		t.Errorf("health %+v", h)
	}
	if _, err := c.List(t.Context(), mv.Path); err != nil {
		t.Error(err)
	}
}

func TestWaitForASlotIsBounded(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "PK")
		w.(http.Flusher).Flush()
		close(entered)
		<-r.Context().Done()
	})
	c := newClient(t, srv.URL, upstream.Options{MaxRequests: 1, HeaderTimeout: time.Second}) // which the zip must keep, too
	done := make(chan error)
	pipe, w := io.Pipe()
	go func() {
		_, err := c.Zip(t.Context(), mv, w, nil)
		done <- err
	}()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := c.List(ctx, mv.Path)
	if !errors.Is(err, upstream.ErrUnavailable) || !strings.Contains(err.Error(), "1 requests to upstreams are under way") {
		t.Errorf("%v, want why it could not be asked", err)
	}
	if h := c.Health()[0]; h.Failures > 0 {
		t.Errorf("that counts as a failure of the upstream: %+v", h)
	}
	pipe.Close()
	srv.CloseClientConnections()
	<-done
}
