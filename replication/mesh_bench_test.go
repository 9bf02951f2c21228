package replication_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/replication"
)

// delayed is a connection whose bytes arrive after a while, in both directions,
// with as many under way as fit.
func delayed(delay time.Duration) replication.DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		far, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		near, inner := tcpPair()
		var both sync.WaitGroup
		both.Go(func() { late(far, inner, delay) })
		both.Go(func() { late(inner, far, delay) })
		go func() {
			both.Wait()
			_ = far.Close()
			_ = inner.Close()
		}()
		return near, nil
	}
}

func tcpPair() (a, b net.Conn) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer lis.Close()
	if a, err = net.Dial("tcp", lis.Addr().String()); err != nil {
		panic(err)
	}
	if b, err = lis.Accept(); err != nil {
		panic(err)
	}
	return a, b
}

// late copies what comes from src to dst, each part after delay.
func late(dst, src net.Conn, delay time.Duration) {
	type part struct {
		b  []byte
		at time.Time
	}
	parts := make(chan part, 4096)
	go func() {
		defer close(parts)
		for {
			b := make([]byte, 32<<10)
			n, err := src.Read(b)
			if err != nil {
				return
			}
			parts <- part{b[:n], time.Now().Add(delay)}
		}
	}()
	for p := range parts {
		time.Sleep(time.Until(p.at))
		if _, err := dst.Write(p.b); err != nil {
			_ = src.Close()
		}
	}
	_ = dst.Close()
}

func benchPair(b *testing.B, dial replication.DialFunc) (x, y *meshSite) {
	w := newWorld()
	cy := w.config(b, "y")
	cy.Services["log"] = func(context.Context, events.Site, []byte, func([]byte) error) ([]byte, error) {
		return make([]byte, replication.MaxAnswer), nil
	}
	cx := w.config(b, "x")
	cx.Dial = dial
	cy.Dial = dial
	x, y = w.open(b, cx), w.open(b, cy)
	settle(b, x, y)
	waitFor(b, 10*time.Second, func() bool { return replication.Routes(x.Mesh, y.site) == 2 }, "two routes")
	return x, y
}

func BenchmarkRequest(b *testing.B) {
	x, y := benchPair(b, nil)
	for b.Loop() {
		if _, err := x.Request(b.Context(), y.site, "echo", []byte("hi"), nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLargeAnswer asks for 4 MiB at a time, with up to that many askers.
func BenchmarkLargeAnswer(b *testing.B) {
	for name, dial := range map[string]replication.DialFunc{"loopback": nil, "50ms": delayed(25 * time.Millisecond)} {
		for askers, label := range map[int]string{1: "/1", 4: "/4"} {
			b.Run(name+label, func(b *testing.B) {
				x, y := benchPair(b, dial)
				b.SetBytes(replication.MaxAnswer)
				jobs := make(chan struct{})
				var wg sync.WaitGroup
				for range askers {
					wg.Go(func() {
						for range jobs {
							if _, err := x.Request(b.Context(), y.site, "log", nil, nil); err != nil {
								b.Error(err)
							}
						}
					})
				}
				for b.Loop() {
					jobs <- struct{}{}
				}
				close(jobs)
				wg.Wait()
			})
		}
	}
}
