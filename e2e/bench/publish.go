package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// publish measures durable publishes: the latency of one client, the rate of 64.
func (b *bench) publish(ctx context.Context) error {
	s, err := b.serve(ctx, filepath.Join(b.dir, "publish"))
	if err != nil {
		return err
	}
	defer s.stop()
	if err := b.command(ctx, s.data, "repo", "set", "local", "--owns", "corp.example/**"); err != nil {
		return err
	}
	_, times, err := b.publishers(ctx, s.addr, "one", 1)
	if err != nil {
		return err
	}
	slices.Sort(times)
	p99 := times[len(times)*99/100]
	b.add("publish, 1 client, p99", p99.Round(10*time.Microsecond).String(), "p50 "+times[len(times)/2].Round(10*time.Microsecond).String(), "", "≤ 30ms")
	rate, times, err := b.publishers(ctx, s.addr, "many", 64)
	if err != nil {
		return err
	}
	slices.Sort(times)
	b.add("publish, 64 clients", fmt.Sprintf("%.0f/s", rate), "p99 "+times[len(times)*99/100].Round(100*time.Microsecond).String(), "", "≥ 500/s")
	return nil
}

// publishers publishes new versions with some clients for the bench's duration.
// It returns the rate and each publish's time.
func (b *bench) publishers(ctx context.Context, addr, name string, clients int) (perSecond float64, times []time.Duration, err error) {
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer c.CloseIdleConnections()
	var mu sync.Mutex // guards times and err
	var next atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for range clients {
		wg.Go(func() {
			for time.Since(begin) < b.duration {
				i := next.Add(1)
				path, version := fmt.Sprintf("corp.example/%s%d", name, i%100), fmt.Sprintf("v1.%d.0", i)
				z, e := moduleZip(path, version, 1<<10)
				var d time.Duration
				if e == nil {
					d, e = put(ctx, c, addr, path, version, z)
				}
				mu.Lock()
				if e != nil {
					err = e
				} else {
					times = append(times, d)
				}
				mu.Unlock()
				if e != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	if err == nil && len(times) == 0 {
		err = fmt.Errorf("nothing was published")
	}
	return float64(len(times)) / time.Since(begin).Seconds(), times, err
}
