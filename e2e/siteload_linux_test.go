package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"golang.org/x/mod/module"
)

// siteLoad is what people do at all sites of a world while its links and
// processes fail: each site has a publisher for the repository whose home it is,
// one for the others', one who fights for versions, readers of all that, somebody
// who has the upstream's modules fetched, and an administrator.
type siteLoad struct {
	*ledger
	w     *world
	round int // tells versions of one load from those of another
	seed  uint64

	wg sync.WaitGroup
	mu sync.Mutex // guards blocked
	// blocked are the upstream's versions that an administrator has blocked.
	blocked []string
}

// upstreamVersions is how many versions of a module each load has fetched.
const upstreamVersions = 20

// homeRepo names the repository whose home is a site.
func homeRepo(site string) string { return "at-" + site }

// newLoad prepares a load: repositories, and what the upstream has.
func newLoad(w *world, l *ledger, up *upstream, round int, seed uint64) *siteLoad {
	for i := range upstreamVersions {
		v := fmt.Sprintf("v1.%d.%d", round, i)
		up.add("pub.example/m", v, library("pub.example/m", v))
		up.add("pub.example/bad", v, library("pub.example/bad", v))
	}
	return &siteLoad{ledger: l, w: w, round: round, seed: seed}
}

// makeRepos gives each site a repository whose home it is.
func (w *world) makeRepos() {
	w.t.Helper()
	for _, name := range w.names {
		w.sites[w.names[0]].must("repo", "create", homeRepo(name), "--kind", "local", "--owns", name+".example/**", "--home", name)
	}
	w.equal(10 * time.Second)
}

// begin starts the load; it ends with ctx, and wait returns when it has ended.
func (l *siteLoad) begin(ctx context.Context) {
	for i, name := range l.w.names {
		s := l.w.sites[name]
		do := func(k int, every time.Duration, what func(k int, r *rand.Rand) error) {
			r := rand.New(rand.NewPCG(l.seed, uint64(i*16+k)))
			l.wg.Go(func() { l.repeat(ctx, every, r, what) })
		}
		do(0, 15*time.Millisecond, func(k int, _ *rand.Rand) error { return l.publishHome(s, k) })
		do(1, 40*time.Millisecond, func(k int, r *rand.Rand) error { return l.publishAway(s, k, r) })
		do(2, 80*time.Millisecond, func(k int, _ *rand.Rand) error { return l.contest(s, k) })
		do(3, 10*time.Millisecond, func(_ int, r *rand.Rand) error { return l.readSome(s, r) })
		do(4, 40*time.Millisecond, func(_ int, r *rand.Rand) error { return l.fetch(s, r) })
		do(5, 400*time.Millisecond, func(k int, _ *rand.Rand) error { return l.administer(s, k*len(l.w.names)+i) })
	}
}

func (l *siteLoad) wait() { l.wg.Wait() }

// repeat does something again and again, not more often than every so often.
func (l *siteLoad) repeat(ctx context.Context, every time.Duration, r *rand.Rand, do func(k int, r *rand.Rand) error) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for k := 0; ; k++ {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		if err := do(k, r); err != nil && !isDown(err) {
			l.t.Error(err)
			return
		}
	}
}

// version is one of this load's own.
func (l *siteLoad) version(repoOf, path string, k int) place {
	return place{homeRepo(repoOf), module.Version{Path: repoOf + ".example/" + path, Version: fmt.Sprintf("v1.%d.%d", l.round, k)}}
}

// publishHome publishes at the home of a repository, which must work whatever
// the links do.
func (l *siteLoad) publishHome(s *site, k int) error {
	opened := s.opened()
	p := l.version(s.name, "p", k)
	a, err := l.publish(s, p, "")
	switch {
	case err != nil:
		return err
	case a.status == http.StatusCreated || a.status == http.StatusOK:
		l.count("published at home")
	case opened || a.status != http.StatusServiceUnavailable:
		return fmt.Errorf("site %s: %v, whose home it is: %d %s", s.name, p, a.status, a.body)
	default:
		l.count("published at home before it was open")
	}
	return nil
}

// publishAway publishes to a repository of another site, which may be out of
// reach.
func (l *siteLoad) publishAway(s *site, k int, r *rand.Rand) error {
	home := l.w.names[r.IntN(len(l.w.names))]
	if home == s.name {
		return nil
	}
	return l.forwarded(s, l.version(home, "from-"+s.name, k), "")
}

// contest publishes a version that others publish with other content.
func (l *siteLoad) contest(s *site, k int) error {
	return l.forwarded(s, l.version(l.w.names[k%len(l.w.names)], "shared", k), s.name)
}

func (l *siteLoad) forwarded(s *site, p place, tag string) error {
	a, err := l.publish(s, p, tag)
	if err != nil {
		return err
	}
	switch a.status {
	case http.StatusCreated, http.StatusOK, http.StatusAccepted, http.StatusConflict, http.StatusServiceUnavailable:
		l.count(fmt.Sprintf("published away: %d", a.status))
		return nil
	}
	return fmt.Errorf("site %s: %v: %d %s", s.name, p, a.status, a.body)
}

// readSome reads what was acknowledged somewhere. What the site has shown or
// acknowledged before it must show now.
func (l *siteLoad) readSome(s *site, r *rand.Rand) error {
	p, held, ok := l.pick(r, s.name)
	if !ok {
		return nil
	}
	status, err := l.read(s, p)
	switch {
	case err != nil:
		return err
	case held && status != http.StatusOK:
		return fmt.Errorf("site %s: %v, which it holds: %d", s.name, p, status)
	case held:
		l.count("read what is held")
	default:
		l.count(fmt.Sprintf("read of others: %d", status))
	}
	return nil
}

// fetch has a site fetch one of the upstream's modules, which all sites do.
func (l *siteLoad) fetch(s *site, r *rand.Rand) error {
	mv := module.Version{Path: "pub.example/m", Version: fmt.Sprintf("v1.%d.%d", l.round, r.IntN(upstreamVersions))}
	opened := s.opened()
	a, err := s.ask(http.MethodGet, "/go/public/"+mv.Path+"/@v/"+mv.Version+".zip", nil)
	switch {
	case err != nil:
		return err
	case a.status == http.StatusOK:
		if string(a.body) != string(zipOf(mv, library(mv.Path, mv.Version))) {
			return fmt.Errorf("site %s: %v of the upstream has other bytes", s.name, mv)
		}
	case a.status < 500 || opened && a.status != http.StatusServiceUnavailable:
		return fmt.Errorf("site %s: %v of the upstream: %d %s", s.name, mv, a.status, a.body)
	}
	l.count(fmt.Sprintf("fetched: %d", a.status))
	return nil
}

// administer blocks a version, which any site does at once, and changes a
// repository, which the registry's home decides.
func (l *siteLoad) administer(s *site, k int) error {
	opened := s.opened()
	if k%2 == 0 && k < upstreamVersions {
		v := fmt.Sprintf("v1.%d.%d", l.round, k)
		a, err := s.ask(http.MethodPost, "/api/v1/blocks", fmt.Appendf(nil, `{"module":"pub.example/bad","version":%q,"reason":"a test"}`, v))
		switch {
		case err != nil:
			return err
		case a.status/100 == 2:
			l.count("blocked")
			l.mu.Lock()
			l.blocked = append(l.blocked, v)
			l.mu.Unlock()
		case opened || a.status != http.StatusServiceUnavailable:
			return fmt.Errorf("site %s: block %s: %d %s", s.name, v, a.status, a.body)
		}
	}
	a, err := s.ask(http.MethodPatch, "/api/v1/repos/"+homeRepo(s.name), fmt.Appendf(nil, `{"description":"round %d, change %d"}`, l.round, k))
	switch {
	case err != nil:
		return err
	case a.status/100 == 2 || a.status == http.StatusServiceUnavailable:
		l.count(fmt.Sprintf("repository changed: %d", a.status))
		return nil
	}
	return fmt.Errorf("site %s: change of a repository: %d %s", s.name, a.status, a.body)
}

// checkBlocks checks that what was blocked at one site is blocked at all.
func (l *siteLoad) checkBlocks() {
	for _, v := range l.blocked {
		for _, name := range l.w.names {
			a, err := l.w.sites[name].ask(http.MethodGet, "/go/public/pub.example/bad/@v/"+v+".zip", nil)
			if err != nil || a.status != http.StatusForbidden {
				l.t.Errorf("site %s: pub.example/bad@%s is blocked, and the answer is %d %.100q, %v", name, v, a.status, a.body, err)
			}
		}
	}
}
