package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"
)

// fight is a version that two sites publish at once, each with content of its own.
type fight struct {
	place
	parties [2]string
}

// TestFirstPublishWins has two sites publish the same version with different
// content at once, where the home is one of them or a third, with all links good
// and with one of them cut off from the home. One wins; the other is refused, by
// 503 while it is cut off and by 409 then; and all sites show the winner's.
func TestFirstPublishWins(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 40
	}
	up := newUpstream(t)
	w := newWorld(t, up, "a", "b", "c")
	w.makeRepos()
	l := newLedger(t)
	for batch, tt := range []struct {
		parties [2]string
		cut     bool // the second party from the home, which is a
	}{
		{[2]string{"a", "b"}, false}, {[2]string{"c", "b"}, false}, {[2]string{"a", "b"}, true}, {[2]string{"c", "b"}, true},
	} {
		var fights []fight
		for i := range rounds / 4 {
			mv := module.Version{Path: "a.example/fight", Version: fmt.Sprintf("v1.%d.%d", batch, i)}
			fights = append(fights, fight{place{homeRepo("a"), mv}, tt.parties})
		}
		begin := time.Now()
		if tt.cut {
			w.links.set(fault{cut: true}, between("a", "b")...)
		}
		won := w.fight(l, fights, tt.cut)
		w.links.heal()
		w.equal(healWithin)
		if tt.cut {
			w.fightAgain(l, fights)
		}
		w.equal(healWithin)
		t.Logf("%d rounds of %v, cut: %v: won by %v, all in %v", len(fights), tt.parties, tt.cut, won, time.Since(begin).Round(time.Millisecond))
	}
	if n := l.check(w, func(place) bool { return true }); n != rounds {
		t.Errorf("%d versions were checked, want %d", n, rounds)
	}
	for p, at := range l.tried {
		if !at.acked {
			t.Errorf("%v: nobody won", p)
		}
	}
	w.sameSums([]string{"v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0"})
}

// fight has the parties of all fights publish, ten fights at a time. It returns
// how often each won.
func (w *world) fight(l *ledger, fights []fight, cut bool) map[string]int {
	w.t.Helper()
	won := map[string]int{}
	var mu sync.Mutex // guards won
	room := make(chan struct{}, 10)
	var wg sync.WaitGroup
	for _, f := range fights {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			winner := w.fightOne(l, f, cut)
			mu.Lock()
			defer mu.Unlock()
			won[winner]++
		})
	}
	wg.Wait()
	return won
}

// fightOne has both parties publish at once and returns who won.
func (w *world) fightOne(l *ledger, f fight, cut bool) (winner string) {
	var answers [2]answer
	var wg sync.WaitGroup
	for i, name := range f.parties {
		wg.Go(func() {
			if name == "a" { // it is the home, so the other has a longer way
				time.Sleep(rand.N(120 * time.Millisecond))
			}
			a, err := l.publish(w.sites[name], f.place, name)
			if err != nil {
				w.t.Error(err)
			}
			answers[i] = a
		})
	}
	wg.Wait()
	for i, a := range answers {
		switch a.status {
		case http.StatusCreated, http.StatusAccepted:
			if winner != "" {
				w.t.Errorf("%v: both win", f)
			}
			winner = f.parties[i]
		case http.StatusServiceUnavailable:
			if !cut || i == 0 {
				w.t.Errorf("%v: site %s, which is not cut off: %d %s", f, f.parties[i], a.status, a.body)
			}
		case http.StatusConflict:
		default:
			w.t.Errorf("%v: site %s: %d %s", f, f.parties[i], a.status, a.body)
		}
	}
	if winner == "" {
		w.t.Errorf("%v: nobody wins: %d %s, %d %s", f, answers[0].status, answers[0].body, answers[1].status, answers[1].body)
	}
	return winner
}

// fightAgain has the party that was cut off try once more, after the heal.
func (w *world) fightAgain(l *ledger, fights []fight) {
	w.t.Helper()
	for _, f := range fights {
		a, err := l.publish(w.sites[f.parties[1]], f.place, f.parties[1])
		if err != nil || a.status != http.StatusConflict {
			w.t.Errorf("%v, tried again by site %s: %d %s, %v", f, f.parties[1], a.status, a.body, err)
		}
	}
}

// sameSums has the go command fetch versions at each site: its go.sum must be
// the same at all of them.
func (w *world) sameSums(versions []string) {
	w.t.Helper()
	for _, v := range versions {
		sums := map[string][]string{}
		for _, name := range w.names {
			c := newGoClient(w.t, tree{"go.mod": "module app.example/app\n\ngo 1.21\n"}, w.sites[name].URL+"/go/"+homeRepo("a"), "GONOSUMDB=a.example")
			if r := c.run("get", "a.example/fight@"+v); r.code != 0 {
				w.t.Errorf("site %s: go get: %s", name, r.stderr)
				continue
			}
			sum, err := os.ReadFile(filepath.Join(c.dir, "go.sum"))
			if err != nil || strings.Count(string(sum), "\n") != 2 {
				w.t.Errorf("site %s: go.sum is %q, %v", name, sum, err)
			}
			sums[string(sum)] = append(sums[string(sum)], name)
		}
		if len(sums) != 1 {
			w.t.Errorf("a.example/fight@%s: go.sum differs by site: %v", v, sums)
		}
	}
}
