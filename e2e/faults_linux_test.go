package e2e

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// schedule is what goes wrong in a world while it is used: a function of its
// seed.
type schedule struct {
	seed   uint64
	faults []mishap
}

// mishap is one thing that goes wrong, and when.
type mishap struct {
	kind        string
	site, other string
	begin, end  time.Duration
}

func (m mishap) String() string {
	return fmt.Sprintf("%s %s-%s %v…%v", m.kind, m.site, m.other, m.begin.Round(time.Millisecond), m.end.Round(time.Millisecond))
}

// mishaps are the kinds: what is done to a site, and to a link.
var mishaps = []string{"kill", "stop", "freeze", "cut all", "cut", "blackhole", "one-way loss", "slow"}

// newSchedule draws a schedule of two to four mishaps within three seconds.
func newSchedule(seed uint64, names []string) schedule {
	r := rand.New(rand.NewPCG(seed, 1))
	s := schedule{seed: seed}
	for range 2 + r.IntN(3) {
		i := r.IntN(len(names))
		m := mishap{kind: mishaps[r.IntN(len(mishaps))], site: names[i], other: names[(i+1+r.IntN(len(names)-1))%len(names)]}
		m.begin = time.Duration(r.Int64N(int64(1500 * time.Millisecond)))
		m.end = m.begin + 300*time.Millisecond + time.Duration(r.Int64N(int64(1200*time.Millisecond)))
		s.faults = append(s.faults, m)
	}
	return s
}

// run has the mishaps happen, and returns when they are over and all sites run.
func (s schedule) run(ctx context.Context, w *world) {
	var wg sync.WaitGroup
	hurt := map[string]*sync.Mutex{} // held while a site's process is the worse for it
	for _, name := range w.names {
		hurt[name] = new(sync.Mutex)
	}
	start := time.Now()
	for _, m := range s.faults {
		wg.Go(func() {
			until(ctx, start.Add(m.begin))
			if m.kind == "kill" || m.kind == "stop" || m.kind == "freeze" {
				hurt[m.site].Lock()
				defer hurt[m.site].Unlock()
			}
			undo := w.happen(m)
			until(ctx, start.Add(m.end))
			undo()
		})
	}
	wg.Wait()
	w.links.heal()
}

// until waits for a moment of the schedule: that it comes then is the point.
func until(ctx context.Context, at time.Time) {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// happen has something go wrong. It returns what puts it right.
func (w *world) happen(m mishap) (undo func()) {
	s := w.sites[m.site]
	rise := func() {
		if err := s.tryRise(); err != nil {
			w.t.Errorf("site %s after %q: %v", m.site, m, err)
		}
	}
	good := func(flows []flow) func() { return func() { w.links.set(fault{}, flows...) } }
	link := between(m.site, m.other)
	switch m.kind {
	case "kill":
		s.fall(s.kill)
		return rise
	case "stop":
		s.fall(s.stop)
		return rise
	case "freeze":
		s.signal(syscall.SIGSTOP)
		return func() { s.signal(syscall.SIGCONT) }
	case "cut all":
		link = nil
		for _, other := range w.names {
			if other != m.site {
				link = append(link, between(m.site, other)...)
			}
		}
		w.links.set(fault{cut: true}, link...)
	case "cut":
		w.links.set(fault{cut: true}, link...)
	case "blackhole":
		w.links.set(fault{silent: true}, link...)
	case "one-way loss":
		link = link[:1]
		w.links.set(fault{silent: true}, link...)
	case "slow":
		w.links.set(fault{delay: 75 * time.Millisecond, rate: 128 << 10}, link...)
	}
	return good(link)
}

// healWithin is how long sites may take until they are equal again, on a machine
// that runs a dozen nodes and other tests besides. How long they do take is for
// the benchmark.
const healWithin = 30 * time.Second

// TestSitesThroughFaults runs worlds of three sites under load through random
// schedules of faults. E2E_CYCLES says how many schedules, and E2E_SEED with
// E2E_CYCLES=1 repeats one (though not what the scheduler makes of it).
func TestSitesThroughFaults(t *testing.T) {
	cycles := int(number(t, "E2E_CYCLES", 20))
	if testing.Short() {
		cycles = min(cycles, 3)
	}
	seed := number(t, "E2E_SEED", rand.Uint64N(1e9))
	const parallel = 4 // worlds, which mostly wait, so there are more than processors
	var worlds sync.WaitGroup
	for i := range min(parallel, cycles) {
		worlds.Go(func() {
			t.Run(fmt.Sprint("world ", i), func(t *testing.T) {
				endureAll(t, seed, func(yield func(int) bool) {
					for k := i; k < cycles && !t.Failed() && yield(k); k += parallel {
					}
				})
			})
		})
	}
	worlds.Wait()
}

// endureAll runs schedules in one world, and compares its logs in the end.
func endureAll(t *testing.T, seed uint64, rounds iter.Seq[int]) {
	up := newUpstream(t)
	w := newWorld(t, up, "a", "b", "c")
	w.makeRepos()
	l := newLedger(t)
	for k := range rounds {
		w.endure(l, up, newSchedule(seed+uint64(k), w.names), k)
	}
	w.checkLogs()
	for _, name := range w.names {
		w.sites[name].must("verify")
	}
}

// endure runs one schedule and judges the sites by what they do in it and after.
func (w *world) endure(l *ledger, up *upstream, s schedule, round int) {
	w.t.Helper()
	replay := fmt.Sprintf("E2E_CYCLES=1 E2E_SEED=%d go test ./e2e -run '^TestSitesThroughFaults$' -count 1 -v", s.seed)
	defer func() {
		if w.t.Failed() {
			fmt.Fprintf(os.Stderr, "seed %d failed: %v\nreplay: %s\n", s.seed, s.faults, replay)
		}
	}()
	ctx, stop := context.WithCancel(w.t.Context())
	defer stop()
	load := newLoad(w, l, up, round, s.seed)
	load.begin(ctx)
	s.run(ctx, w)
	healed := time.Now()
	stop()
	load.wait()
	drained := time.Since(healed)
	took := w.equal(healWithin)
	load.checkBlocks()
	mine := fmt.Sprintf("v1.%d.", round)
	n := l.check(w, func(p place) bool { return strings.HasPrefix(p.Version.Version, mine) })
	w.t.Logf("seed %d: %v\n\tlast answer %v after the heal, equal %v later, %d versions checked at %d sites\n\t%s",
		s.seed, s.faults, drained.Round(time.Millisecond), took.Round(time.Millisecond), n, len(w.names), l.counts())
}
