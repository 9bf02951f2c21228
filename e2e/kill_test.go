package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"
)

// TestKilledNodeKeepsItsWord kills a node at random moments while 8 publishers
// and 8 readers use it. E2E_CYCLES says how often, and E2E_SEED repeats a run's
// choices (though not what the scheduler makes of them).
func TestKilledNodeKeepsItsWord(t *testing.T) {
	cycles := number(t, "E2E_CYCLES", 5)
	if testing.Short() {
		cycles = min(cycles, 2)
	}
	seed := number(t, "E2E_SEED", rand.Uint64N(1e9))
	t.Logf("%d cycles with E2E_SEED=%d", cycles, seed)
	rnd := rand.New(rand.NewPCG(seed, 0))

	up := newUpstream(t)
	s := serve(t, up.settings()...)
	s.owns()
	o := newOracle(t)
	for cycle := range int(cycles) {
		for i := range 40 { // more to be filled in each cycle
			v := fmt.Sprintf("v1.%d.%d", cycle, i)
			up.add("pub.example/m", v, library("pub.example/m", v))
		}
		l := &load{oracle: o, server: s, cycle: cycle, seed: rnd.Uint64(), upstream: up}
		l.run(50*time.Millisecond + time.Duration(rnd.Int64N(int64(1450*time.Millisecond))))
		if t.Failed() {
			return
		}
		begin := time.Now()
		s.start()
		ready := time.Since(begin)
		mine := fmt.Sprintf("v1.%d.", cycle)
		n := o.check(s, func(mv module.Version) bool { return strings.HasPrefix(mv.Version, mine) || rnd.IntN(20) == 0 })
		t.Logf("cycle %d: ready again in %v, %d versions checked, %d acknowledged so far", cycle, ready.Round(time.Millisecond), n, len(o.acked))
	}

	o.check(s, func(module.Version) bool { return true })
	o.checkLists(s)
	for i, mv := range o.acked { // publishing again says where it was first
		if i%10 == 0 {
			o.publish(s, mv, o.tried[mv].tag)
		}
	}
	before := s.status()
	if out := s.must("verify"); !strings.Contains(out, "chain intact, state hash "+before.StateHash) {
		t.Errorf("verify: %s", out)
	}
	s.must("rebuild")
	if after := s.status(); after != before {
		t.Errorf("the log is folded to %+v now, and was to %+v", after, before)
	}
}

// number returns a setting of the environment.
func number(t testing.TB, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// load is what publishers and readers do to a node until it is killed.
type load struct {
	*oracle
	server   *server
	upstream *upstream
	cycle    int
	seed     uint64
}

// run loads the node for a while and then kills it.
func (l *load) run(during time.Duration) {
	over := make(chan struct{}) // closed when the node is dead
	var wg sync.WaitGroup
	for i := range 8 {
		r := rand.New(rand.NewPCG(l.seed, uint64(i)))
		wg.Go(func() { l.repeat(over, func(k int) error { return l.publishOne(i, k) }) })
		wg.Go(func() { l.repeat(over, func(int) error { return l.readOne(r) }) })
	}
	time.Sleep(during) // the moment is random on purpose
	l.server.kill()
	close(over)
	wg.Wait()
}

// repeat does something until the load is over or the node is gone.
func (l *load) repeat(over <-chan struct{}, do func(k int) error) {
	for k := 0; ; k++ {
		select {
		case <-over:
			return
		default:
		}
		if err := do(k); err != nil {
			if !errors.Is(err, errGone) {
				l.t.Error(err)
			}
			return
		}
	}
}

// publishOne publishes a version of the publisher's own, or, each fourth time,
// one over which all publishers fight.
func (l *load) publishOne(publisher, k int) error {
	mv := module.Version{Path: fmt.Sprintf("corp.example/p%d", publisher), Version: fmt.Sprintf("v1.%d.%d", l.cycle, k)}
	tag := ""
	if k%4 == 3 {
		mv.Path = "corp.example/shared"
		tag = fmt.Sprint(publisher)
	}
	switch status := l.publish(l.server, mv, tag); status {
	case http.StatusCreated, http.StatusOK:
	case http.StatusConflict:
		if tag == "" {
			return fmt.Errorf("publish %v: conflict", mv)
		}
	case 0:
		return errGone
	default:
		return fmt.Errorf("publish %v: %d", mv, status)
	}
	return nil
}

// readOne reads something that was acknowledged, or has the node fetch from the
// upstream.
func (l *load) readOne(r *rand.Rand) error {
	if mv, tag, ok := l.some(r); ok && r.IntN(2) == 0 {
		return l.read(l.server, mv, tag)
	}
	mv := module.Version{Path: "pub.example/m", Version: fmt.Sprintf("v1.%d.%d", r.IntN(l.cycle+1), r.IntN(40))}
	a, err := send(http.MethodGet, l.server.URL+"/go/all/"+mv.Path+"/@v/"+mv.Version+".zip", nil)
	switch {
	case err != nil:
		return errGone
	case a.status != http.StatusOK || string(a.body) != string(zipOf(mv, library(mv.Path, mv.Version))):
		return fmt.Errorf("%v: %d %.200q", mv, a.status, a.body)
	}
	return nil
}
