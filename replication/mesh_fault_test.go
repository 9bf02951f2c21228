package replication_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/replication"
)

// A cutter stands between sites. While it is cut, nothing passes in either
// direction, neither end is told when the other closes, and dialling takes until
// its context ends. Connections that were cut stay dead.
type cutter struct {
	done chan struct{} // closed when the test has ended

	mu  sync.Mutex
	cut bool
}

func newCutter(t *testing.T) *cutter {
	c := &cutter{done: make(chan struct{})}
	t.Cleanup(func() { close(c.done) })
	return c
}

func (c *cutter) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
}

func (c *cutter) isCut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}

func (c *cutter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if c.isCut() {
		t := time.NewTicker(5 * time.Millisecond)
		defer t.Stop()
		for c.isCut() {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-t.C:
			}
		}
	}
	far, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	near, inner := tcpPair()
	go c.copy(far, inner)
	go c.copy(inner, far)
	return near, nil
}

// copy copies from src to dst until one of them closes or nothing passes.
func (c *cutter) copy(dst, src net.Conn) {
	defer src.Close()
	defer dst.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if c.isCut() {
			<-c.done
			return
		}
		if _, werr := dst.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

func TestBlackholedPeer(t *testing.T) {
	t.Parallel()
	w := newWorld()
	cut := newCutter(t)
	ca, cb := w.config(t, "a"), w.config(t, "b")
	ca.Dial, cb.Dial = cut.dial, cut.dial
	a, b := w.open(t, ca), w.open(t, cb)
	settle(t, a, b)
	checkEcho(t, a, b)

	cut.set(true)
	begin := time.Now()
	large := make([]byte, replication.MaxMessage)
	var asking sync.WaitGroup
	for i := range 150 { // more than fit into the connection and what waits before it
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, err := a.Request(ctx, b.site, "echo", large[:1+i*len(large)/150], nil)
			// It runs out of time, or the dead connection was noticed before.
			if late := errors.Is(err, replication.ErrNoAnswer) && errors.Is(err, context.DeadlineExceeded); !late && !errors.Is(err, replication.ErrNotConnected) {
				t.Errorf("request %d: %v", i, err)
			}
			if took := time.Since(start); took > soon {
				t.Errorf("request %d takes %s", i, took)
			}
		})
	}
	asking.Wait()
	for _, s := range []*meshSite{a, b} {
		other := map[*meshSite]*meshSite{a: b, b: a}[s]
		waitFor(t, 5*time.Second-time.Since(begin), func() bool { return !s.Connected(other.site) }, "%v notices", s.site)
	}
	if err := a.Send(b.site, "announce", nil); !errors.Is(err, replication.ErrNotConnected) {
		t.Errorf("Send = %v", err)
	}
	if _, err := a.Request(t.Context(), b.site, "echo", nil, nil); !errors.Is(err, replication.ErrNotConnected) {
		t.Errorf("Request = %v", err)
	}

	cut.set(false)
	begin = time.Now()
	waitFor(t, patience, func() bool { return a.Connected(b.site) && b.Connected(a.site) }, "both are back")
	if took := time.Since(begin); took > soon {
		t.Errorf("back after %s", took)
	}
	checkEcho(t, a, b)
	checkEcho(t, b, a)
}

func TestOtherRouteIsTakenAfterSilence(t *testing.T) {
	t.Parallel()
	w := newWorld()
	cut := newCutter(t)
	ca := w.config(t, "a")
	ca.Dial = cut.dial
	a, b := w.open(t, ca), w.open(t, w.config(t, "b"))
	settle(t, a, b)
	// Both connections must be there: the one that b made, and a's.
	waitFor(t, patience, func() bool { return replication.Routes(a.Mesh, b.site) == 2 }, "two routes")
	cut.set(true)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := a.Request(ctx, b.site, "echo", nil, nil); !errors.Is(err, context.DeadlineExceeded) { // with no answer, or not even sent
		t.Fatalf("over the dead route: %v", err)
	}
	start := time.Now()
	checkEcho(t, a, b)
	if took := time.Since(start); took > soon {
		t.Errorf("over the other: %s", took)
	}
}

// slow is a connection that sends a mebibyte per second.
type slow struct{ net.Conn }

func (c slow) Write(b []byte) (int, error) {
	sent := 0
	for part := range slices.Chunk(b, 8<<10) {
		time.Sleep(time.Second / 128)
		n, err := c.Conn.Write(part)
		if sent += n; err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// A message that takes longer than the silence after which a connection counts as
// dead does not end it, in whichever direction it goes.
func TestSlowLinkIsNotDead(t *testing.T) {
	t.Parallel()
	w := newWorld()
	var said lockedBuffer
	cb := w.config(t, "b")
	cb.Listen = ""
	cb.Logger = slog.New(slog.NewTextHandler(&said, nil))
	cb.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return slow{c}, err
	}
	cb.Services["large"] = func(context.Context, events.Site, []byte, func([]byte) error) ([]byte, error) {
		return make([]byte, 6<<20), nil
	}
	a, b := w.open(t, w.config(t, "a")), w.open(t, cb)
	settle(t, a, b)
	got, err := a.Request(within(t, patience), b.site, "large", nil, nil)
	if err != nil || len(got) != 6<<20 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if strings.Contains(said.String(), "ended") {
		t.Errorf("b says %s", said.String())
	}
}

// A flood of connections that never shake hands keeps nobody out, and is gone
// within seconds.
func TestSlowHandshakes(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("needs several loopback addresses")
	}
	w := newWorld()
	a := w.open(t, w.config(t, "a"))
	ended := make(chan struct{})
	const flood = 300
	for range flood {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
		c, err := d.Dial("tcp", a.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		go func() {
			_, _ = c.Read(make([]byte, 1))
			ended <- struct{}{}
		}()
	}
	for i := range flood - 128 { // those that were pushed out
		select {
		case <-ended:
		case <-time.After(soon):
			t.Fatalf("%d connections of %d are closed", i, flood)
		}
	}
	b := w.open(t, w.config(t, "b"))
	settle(t, a, b)
	checkEcho(t, b, a)
	for range 128 {
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatal("a connection without a handshake stays")
		}
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	count := func() (n int, stacks string) {
		buf := make([]byte, 1<<20)
		buf = buf[:runtime.Stack(buf, true)]
		for s := range strings.SplitSeq(string(buf), "\n\n") {
			if strings.Contains(s, "replication.(*") || strings.Contains(s, "nats") {
				n++
				stacks += s + "\n\n"
			}
		}
		return n, stacks
	}
	before, _ := count()
	w := newWorld()
	ca := w.config(t, "a")
	entered := make(chan struct{}, 10)
	ca.Services["hang"] = func(ctx context.Context, _ events.Site, _ []byte, _ func([]byte) error) ([]byte, error) {
		entered <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	a, b := w.open(t, ca), w.open(t, w.config(t, "b"))
	settle(t, a, b)
	failed := make(chan error, 1)
	go func() {
		_, err := b.Request(t.Context(), a.site, "hang", nil, nil)
		failed <- err
	}()
	<-entered
	client, base, _ := b.HTTP(a.site)
	if resp, err := client.Get(base + "/"); err != nil {
		t.Fatal(err)
	} else {
		_ = resp.Body.Close()
	}
	start := time.Now()
	if err := errors.Join(b.Close(), a.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > soon {
		t.Errorf("Close takes %s", took)
	}
	if err := <-failed; !errors.Is(err, replication.ErrMeshClosed) {
		t.Errorf("request that was running: %v", err)
	}
	if _, err := b.Request(t.Context(), a.site, "echo", nil, nil); !errors.Is(err, replication.ErrMeshClosed) {
		t.Errorf("request after Close: %v", err)
	}
	defer func() {
		if t.Failed() {
			_, stacks := count()
			t.Log(stacks)
		}
	}()
	waitFor(t, patience, func() bool {
		n, _ := count()
		return n <= before
	}, "goroutines end")
}
