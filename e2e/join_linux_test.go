package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"
)

// invited adds a site with an invitation that it has not used. Its peers reach
// it at an address of its own.
func (w *world) invited(name string, up *upstream) *site {
	w.t.Helper()
	s := w.add(name, up, fmt.Sprintf("127.%d.%d", w.network, len(w.names)))
	s.args = slices.Concat([]string{"join", strings.TrimSpace(w.sites["a"].must("invite", name, "--rights", "manage"))}, s.peerFlags())
	return s
}

// beginAndKill runs a site's command and kills it after a while.
func (s *site) beginAndKill(after time.Duration) {
	s.t.Helper()
	cmd := exec.Command(program(s.t), append(slices.Clone(s.args), "--data", s.dir, "--listen", "127.0.0.1:0")...)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, s.said, s.said
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.pid.Store(int64(cmd.Process.Pid))
	time.AfterFunc(after, func() { cmd.Process.Kill() }) // the moment is random on purpose
	cmd.Wait()                                           // that it was killed is known
}

// TestInterruptedJoin kills a site that joins, again and again, at random
// moments, while others publish: the same command goes on where it was. E2E_SEED
// repeats the moments.
func TestInterruptedJoin(t *testing.T) {
	seed := number(t, "E2E_SEED", rand.Uint64N(1e9))
	t.Logf("E2E_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	up := newUpstream(t)
	w := newWorld(t, up, "a", "b")
	w.makeRepos()
	end := w.publishing(t)
	c := w.invited("c", up)
	for range 8 {
		c.beginAndKill(time.Duration(r.Int64N(int64(700 * time.Millisecond))))
	}
	c.rise()
	end()
	w.joined(c)
}

// joined checks that a site which has joined holds what the others hold, and
// publishes.
func (w *world) joined(c *site) {
	w.t.Helper()
	w.equal(healWithin)
	home := w.names[0]
	p := place{homeRepo(home), module.Version{Path: home + ".example/by", Version: "v1.0.0"}}
	l := newLedger(w.t)
	if a, err := l.publish(c, p, c.name); err != nil || a.status != http.StatusCreated {
		w.t.Errorf("site %s: %v: %d %s, %v", c.name, p, a.status, a.body, err)
	}
	if a, err := c.ask(http.MethodPost, "/api/v1/blocks", []byte(`{"module":"pub.example/bad","reason":"a test"}`)); err != nil || a.status/100 != 2 {
		w.t.Errorf("site %s: block: %d %s, %v", c.name, a.status, a.body, err)
	}
	w.equal(healWithin)
	l.check(w, func(place) bool { return true })
	w.checkLogs()
}

// TestJoinOverABadLink has a site join while its connections are slow and break
// all the time. E2E_SEED repeats the moments.
func TestJoinOverABadLink(t *testing.T) {
	seed := number(t, "E2E_SEED", rand.Uint64N(1e9))
	t.Logf("E2E_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 3))
	up := newUpstream(t)
	w := newWorld(t, up, "a", "b")
	w.makeRepos()
	end := w.publishing(t)
	c := w.invited("c", up)
	links := slices.Concat(between("a", "c"), between("b", "c"))
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 10 {
			w.links.set(fault{rate: 128 << 10, delay: 5 * time.Millisecond}, links...)
			until(t.Context(), time.Now().Add(time.Duration(r.Int64N(int64(800*time.Millisecond)))))
			w.links.set(fault{cut: true}, links...)
		}
		w.links.heal()
	})
	eventually(t, 2*readyWithin, "site c joins", c.tryRise) // one that can't reach anybody gives up, and is started again
	wg.Wait()
	end()
	w.joined(c)
}

// publishing publishes at all sites that there are now until end is called.
func (w *world) publishing(t testing.TB) (end func()) {
	over := make(chan struct{})
	var wg sync.WaitGroup
	l := newLedger(t)
	for _, name := range w.names {
		s := w.sites[name]
		wg.Go(func() {
			for k := 0; ; k++ {
				select {
				case <-over:
					return
				default:
				}
				p := place{homeRepo(name), module.Version{Path: name + ".example/p", Version: fmt.Sprintf("v1.0.%d", k)}}
				if a, err := l.publish(s, p, ""); err != nil || a.status/100 != 2 {
					t.Errorf("site %s: %v: %d %s, %v", name, p, a.status, a.body, err)
					return
				}
			}
		})
	}
	stop := sync.OnceFunc(func() { close(over); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

// TestBadInvitations tries tokens that are none, and one that was used.
func TestBadInvitations(t *testing.T) {
	up := newUpstream(t)
	w := newWorld(t, up, "a")
	good := strings.TrimSpace(w.sites["a"].must("invite", "b", "--rights", "manage"))
	half := good[:len(good)/2]
	flipped := []byte(good)
	flipped[len(flipped)/2] ^= 1
	b := w.invited("b", up) // by a second invitation, which replaces the first
	used := b.args[1]
	b.rise()
	for what, token := range map[string]string{
		"blank": " ", "short": good[:8], "half": half, "tampered with": string(flipped), "of before": good, "used": used,
	} {
		s := newServer(t, up.settings()...)
		s.args = []string{"join", token}
		begin := time.Now()
		if err := s.tryStart(); err == nil {
			t.Errorf("a token that is %s: the site joins", what)
		} else if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("a token that is %s is refused after %v", what, took)
		}
		if strings.Contains(s.said.String(), token) && len(token) > 20 {
			t.Errorf("a token that is %s stands in what the command says", what)
		}
	}
	w.equal(healWithin)
}
