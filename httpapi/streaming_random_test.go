package httpapi_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestCompleteAnswersAreRight: whatever an upstream does to a zip on its way, in
// whatever parts it comes, and whoever asks when and leaves when, a client that
// got a whole answer with status 200 got the right bytes; and if nothing was done
// to it, all who stayed got it.
func TestCompleteAnswersAreRight(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	eachWay(t, func(t *testing.T, g *registry, repo string, sized bool) {
		for range rounds {
			r := newRound(g, rnd, repo, sized)
			r.run()
			g.waitUnstaged()
			if t.Failed() {
				return
			}
		}
	})
}

// round is one zip on its way, and those who ask for it.
type round struct {
	g     *registry
	path  string
	right []byte
	tap   *tap
	fault string
	steps []int // up to where the tap is opened, each time
	joins []int // the step before which each client asks
	quits []int // after how many bytes it leaves; -1: it stays
}

func newRound(g *registry, rnd *rand.Rand, repo string, sized bool) *round {
	size := rnd.IntN(400_000) + 1000
	mv, data := g.coldZip(size)
	r := &round{g: g, path: zipPath(repo, mv), right: data, fault: []string{"", "cut", "flip"}[rnd.IntN(3)]}
	sent := bytes.Clone(data)
	end := len(sent)
	switch r.fault {
	case "cut":
		end = rnd.IntN(len(sent))
	case "flip":
		sent[rnd.IntN(size/2)+size/4] ^= 1 // in the file, so that it shows
	}
	r.tap = newTap(g, sized, sent)
	for at := 0; at < end; {
		at = min(end, at+rnd.IntN(end/3+2))
		r.steps = append(r.steps, at)
	}
	for range 6 {
		r.joins = append(r.joins, rnd.IntN(len(r.steps)+1))
		quit := -1
		if rnd.IntN(4) == 0 {
			quit = rnd.IntN(len(data))
		}
		r.quits = append(r.quits, quit)
	}
	return r
}

func (r *round) run() {
	var wg sync.WaitGroup
	for i := range len(r.steps) + 1 {
		for c, at := range r.joins {
			if at == i {
				wg.Go(func() { r.client(c) })
			}
		}
		if i < len(r.steps) {
			r.tap.open(r.steps[i])
		}
	}
	if r.fault == "cut" {
		r.tap.ends(abort)
	}
	wg.Wait()
}

// client asks for the zip and checks what comes.
func (r *round) client(c int) {
	t, quit := r.g.t, r.quits[c]
	body, err := r.fetch(quit)
	switch {
	case err == nil && quit < 0 && !bytes.Equal(body, r.right):
		t.Errorf("fault %q: a client got %d bytes as if they were right", r.fault, len(body))
	case err != nil && quit < 0 && r.fault == "":
		t.Errorf("nothing was wrong, and a client got %d of %d bytes: %v", len(body), len(r.right), err)
	}
}

// fetch returns the body of an answer with status 200, or its first bytes only if
// quit is not negative.
func (r *round) fetch(quit int) ([]byte, error) {
	req, err := http.NewRequestWithContext(r.g.t.Context(), http.MethodGet, r.g.base+r.path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s", resp.Status)
	}
	if quit >= 0 {
		return io.ReadAll(io.LimitReader(resp.Body, int64(quit)))
	}
	return io.ReadAll(resp.Body)
}
