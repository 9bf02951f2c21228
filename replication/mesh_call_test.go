package replication_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/replication"
)

type handler = replication.Handler

// pair returns two connected sites; the second has more services and, if hidden,
// can't be dialled.
func pair(t testing.TB, hidden bool, services map[string]handler) (a, b *meshSite) {
	t.Helper()
	w := newWorld()
	cb := w.config(t, "b")
	for name, h := range services {
		cb.Services[name] = h
	}
	if hidden {
		cb.Listen = ""
	}
	a, b = w.open(t, w.config(t, "a")), w.open(t, cb)
	settle(t, a, b)
	return a, b
}

// bothWays runs f over each kind of route.
func bothWays(t *testing.T, services func() map[string]handler, f func(t *testing.T, a, b *meshSite)) {
	for name, hidden := range map[string]bool{"dialled": false, "dialled by the peer": true} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, hidden, services())
			f(t, a, b)
		})
	}
}

func TestInterimAnswersComeInOrderBeforeTheAnswer(t *testing.T) {
	bothWays(t, func() map[string]handler {
		return map[string]handler{"count": func(_ context.Context, _ events.Site, req []byte, interim func([]byte) error) ([]byte, error) {
			for i := range req[0] {
				if err := interim([]byte{i}); err != nil {
					return nil, err
				}
			}
			return req, nil
		}}
	}, func(t *testing.T, a, b *meshSite) {
		var got []byte
		answer, err := a.Request(within(t, patience), b.site, "count", []byte{50}, func(b []byte) { got = append(got, b...) })
		if err != nil || !bytes.Equal(answer, []byte{50}) || len(got) != 50 || !slices.IsSorted(got) {
			t.Errorf("got %v, then %v, %v", got, answer, err)
		}
		// One who does not look still gets the answer.
		if answer, err := a.Request(within(t, patience), b.site, "count", []byte{200}, nil); err != nil || len(answer) != 1 {
			t.Errorf("got %v, %v", answer, err)
		}
	})
}

// A request that is under way when its route breaks ends at once.
func TestRouteBreaksDuringARequest(t *testing.T) {
	running := make(chan struct{}, 1)
	bothWays(t, func() map[string]handler {
		return map[string]handler{"hang": func(ctx context.Context, _ events.Site, _ []byte, _ func([]byte) error) ([]byte, error) {
			running <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}}
	}, func(t *testing.T, a, b *meshSite) {
		failed := make(chan error, 1)
		ctx := within(t, patience)
		go func() {
			_, err := a.Request(ctx, b.site, "hang", nil, nil)
			failed <- err
		}()
		<-running
		start := time.Now()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		var perr *replication.PeerError // the handler's last word may still come through
		if err := <-failed; !errors.Is(err, replication.ErrNoAnswer) && !errors.As(err, &perr) || time.Since(start) > soon {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

func TestErrorsOfThePeer(t *testing.T) {
	bothWays(t, func() map[string]handler {
		return map[string]handler{
			"fail": func(context.Context, events.Site, []byte, func([]byte) error) ([]byte, error) {
				return nil, errors.New("disk is full")
			},
			"large": func(context.Context, events.Site, []byte, func([]byte) error) ([]byte, error) {
				return make([]byte, replication.MaxMessage+1), nil
			},
			"long": func(context.Context, events.Site, []byte, func([]byte) error) ([]byte, error) {
				return nil, errors.New(strings.Repeat("é", 1<<20))
			},
		}
	}, func(t *testing.T, a, b *meshSite) {
		for service, want := range map[string]string{"fail": "disk is full", "large": "the answer has", "long": "éé", "nosuch": `site b has no service "nosuch"`} {
			_, err := a.Request(within(t, patience), b.site, service, nil, nil)
			var perr *replication.PeerError
			if !errors.As(err, &perr) || !strings.HasPrefix(perr.Text, want) || len(perr.Text) > 8<<10 {
				t.Errorf("%s: %.80v", service, err)
			}
		}
		checkEcho(t, a, b)
	})
}

func TestLargestMessages(t *testing.T) {
	bothWays(t, func() map[string]handler {
		return map[string]handler{"same": func(_ context.Context, _ events.Site, req []byte, _ func([]byte) error) ([]byte, error) {
			return req, nil
		}}
	}, func(t *testing.T, a, b *meshSite) {
		req := bytes.Repeat([]byte("0123456789abcdef"), replication.MaxMessage/16)
		got, err := a.Request(within(t, patience), b.site, "same", req, nil)
		if err != nil || !bytes.Equal(got, req) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if _, err := a.Request(within(t, patience), b.site, "same", append(req, 0), nil); err == nil || errors.Is(err, replication.ErrNoAnswer) {
			t.Errorf("one byte more: %v", err)
		}
		if err := a.Send(b.site, "announce", append(req, 0)); err == nil {
			t.Error("notice with one byte more is sent")
		}
		checkEcho(t, a, b)
	})
}

// At most 64 calls of one peer run; the next is refused at once, and there is
// room again when one has ended. A handler's context ends with its asker's.
func TestCallsOfOnePeerAreBounded(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan struct{}, 100), make(chan struct{}, 100)
	a, b := pair(t, false, map[string]handler{"hang": func(ctx context.Context, _ events.Site, _ []byte, _ func([]byte) error) ([]byte, error) {
		begun <- struct{}{}
		<-ctx.Done()
		ended <- struct{}{}
		return nil, ctx.Err()
	}})
	ctx := within(t, 4*time.Second) // by when all must have begun
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() { _, _ = a.Request(ctx, b.site, "hang", nil, nil) })
	}
	for range 64 {
		<-begun
	}
	var perr *replication.PeerError
	if _, err := a.Request(within(t, soon), b.site, "echo", nil, nil); !errors.As(err, &perr) || !strings.Contains(perr.Text, "busy") {
		t.Errorf("call 65: %v", err)
	}
	wg.Wait()
	for range 64 {
		<-ended
	}
	waitFor(t, patience, func() bool {
		_, err := a.Request(within(t, time.Second), b.site, "echo", nil, nil)
		return err == nil
	}, "there is room again")
}

func TestNoticesComeInOrder(t *testing.T) {
	const n = 2000
	for name, hidden := range map[string]bool{"dialled": false, "dialled by the peer": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			got := make(chan uint32, n)
			cb := w.config(t, "b")
			if hidden {
				cb.Listen = ""
			}
			cb.Notices = map[string]func(events.Site, []byte){"announce": func(from events.Site, msg []byte) {
				if from.String() == "a" {
					got <- binary.BigEndian.Uint32(msg)
				}
			}}
			a, b := w.open(t, w.config(t, "a")), w.open(t, cb)
			settle(t, a, b)
			if !hidden {
				waitFor(t, patience, func() bool { return replication.Routes(a.Mesh, b.site) == 2 }, "two routes")
			}
			next := uint32(0)
			for i := range uint32(n) {
				msg := binary.BigEndian.AppendUint32(nil, i)
				waitFor(t, patience, func() bool { return a.Send(b.site, "announce", msg) == nil }, "the link takes %d", i)
				for len(got) > 0 { // so that none is dropped
					if v := <-got; v != next {
						t.Fatalf("got %d after %d", v, next)
					}
					next++
				}
			}
			for next < n {
				select {
				case v := <-got:
					if v != next {
						t.Fatalf("got %d after %d", v, next)
					}
					next++
				case <-time.After(patience):
					t.Fatalf("got %d of %d", next, n)
				}
			}
		})
	}
}

func TestSettingsAreChecked(t *testing.T) {
	w := newWorld()
	for name, spoil := range map[string]func(*replication.MeshConfig){
		"no site":        func(c *replication.MeshConfig) { c.Site = events.Site{} },
		"no registry":    func(c *replication.MeshConfig) { c.Registry = events.Digest{} },
		"no certificate": func(c *replication.MeshConfig) { c.Certificate.Certificate = nil },
		"no peers":       func(c *replication.MeshConfig) { c.Peers = nil },
		"reserved name":  func(c *replication.MeshConfig) { c.Services["hello"] = c.Services["echo"] },
		"wildcard":       func(c *replication.MeshConfig) { c.Services["*"] = c.Services["echo"] },
		"name taken":     func(c *replication.MeshConfig) { c.Notices = map[string]func(events.Site, []byte){"echo": nil} },
		"address":        func(c *replication.MeshConfig) { c.Listen = "nowhere" },
	} {
		cfg := w.config(t, "a")
		spoil(&cfg)
		if m, err := replication.OpenMesh(t.Context(), cfg); err == nil {
			_ = m.Close()
			t.Errorf("%s: opens", name)
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestSitesOfAnotherRegistryDoNotTalk(t *testing.T) {
	w := newWorld()
	cb := w.config(t, "b")
	cb.Registry = events.DigestOf([]byte("another"))
	var said lockedBuffer
	cb.Logger = slog.New(slog.NewTextHandler(&said, nil))
	a, b := w.open(t, w.config(t, "a")), w.open(t, cb)
	a.Update()
	b.Update()
	waitFor(t, patience, func() bool { return strings.Contains(said.String(), "another registry") }, "b is refused, and says so")
	if a.Connected(b.site) || b.Connected(a.site) {
		t.Error("they are connected")
	}
	if _, err := a.Request(within(t, time.Second), b.site, "echo", nil, nil); !errors.Is(err, replication.ErrNotConnected) {
		t.Errorf("request: %v", err)
	}
	if err := a.Send(b.site, "x", nil); !errors.Is(err, replication.ErrNotConnected) {
		t.Errorf("notice: %v", err)
	}
}
