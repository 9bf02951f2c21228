package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/module"
)

// place is where a version is published: its repository and its name.
type place struct {
	repo string
	module.Version
}

func (p place) file(kind string) string {
	return "/go/" + p.repo + "/" + p.Path + "/@v/" + p.Version.Version + kind
}

// ledger knows what publishers were told at all sites, and holds the sites to
// it: what was acknowledged by one is there at all of them, as it was; a version
// has one content; what a site has once shown it shows for as long as it runs.
type ledger struct {
	t testing.TB

	mu    sync.Mutex // guards what follows
	tried map[place]*attempts
	acked []place            // in the order of their answers
	held  map[string][]place // by site: what it must be able to show
	holds map[heldAt]bool    // the same
	told  map[string]int     // answers, by what was asked for and how it ended
}

type heldAt struct {
	site string
	place
}

// attempts is what became of the attempts to publish one version.
type attempts struct {
	tags  []string // of the contents that were tried
	acked bool
	tag   string // of the one that was acknowledged
}

func newLedger(t testing.TB) *ledger {
	return &ledger{t: t, tried: map[place]*attempts{}, held: map[string][]place{}, holds: map[heldAt]bool{}, told: map[string]int{}}
}

// count notes how something ended.
func (l *ledger) count(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told[what]++
}

// counts are what has been counted since the last call.
func (l *ledger) counts() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []string
	for _, what := range slices.Sorted(maps.Keys(l.told)) {
		list = append(list, fmt.Sprintf("%s %d", what, l.told[what]))
	}
	clear(l.told)
	return strings.Join(list, ", ")
}

// publish publishes content at a site and notes the outcome. It fails with
// errDown, or if a site that is up gives no answer.
func (l *ledger) publish(s *site, p place, tag string) (answer, error) {
	l.mu.Lock()
	at := l.tried[p]
	if at == nil {
		at = &attempts{}
		l.tried[p] = at
	}
	if !slices.Contains(at.tags, tag) {
		at.tags = append(at.tags, tag)
	}
	l.mu.Unlock()

	files := content(p.Version, tag)
	a, err := s.ask(http.MethodPut, "/api/v1/repos/"+p.repo+"/modules/"+p.Path+"/@v/"+p.Version.Version, zipOf(p.Version, files))
	if err != nil {
		return a, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch a.status {
	case http.StatusCreated, http.StatusOK, http.StatusAccepted:
		var said published
		if err := json.Unmarshal(a.body, &said); err != nil || said.H1 != h1(p.Version, files) {
			return a, fmt.Errorf("site %s: %v: acknowledged as %q", s.name, p, a.body)
		}
		if at.acked && at.tag != tag {
			return a, fmt.Errorf("site %s: %v: content %q is acknowledged after content %q", s.name, p, tag, at.tag)
		}
		if !at.acked {
			at.acked, at.tag = true, tag
			l.acked = append(l.acked, p)
		}
		if a.status != http.StatusAccepted {
			l.hold(s.name, p)
		}
	case http.StatusConflict:
		if len(at.tags) == 1 || at.acked && at.tag == tag {
			return a, fmt.Errorf("site %s: %v: refused as other content than itself: %s", s.name, p, a.body)
		}
	}
	return a, nil
}

// hold notes that a site can show a version. l.mu is held.
func (l *ledger) hold(site string, p place) {
	if at := (heldAt{site, p}); !l.holds[at] {
		l.holds[at] = true
		l.held[site] = append(l.held[site], p)
	}
}

// pick returns a version that was acknowledged, and whether the site must be
// able to show it.
func (l *ledger) pick(r *rand.Rand, site string) (p place, held, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := l.acked
	if r.IntN(2) == 0 {
		from = l.held[site]
	}
	if len(from) == 0 {
		return p, false, false
	}
	p = from[r.IntN(len(from))]
	return p, l.holds[heldAt{site, p}], true
}

// read reads a version at a site. What is answered must be what was acknowledged.
func (l *ledger) read(s *site, p place) (status int, err error) {
	a, err := s.ask(http.MethodGet, p.file(".zip"), nil)
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	at := *l.tried[p]
	l.mu.Unlock()
	if a.status == http.StatusOK {
		if string(a.body) != string(zipOf(p.Version, content(p.Version, at.tag))) {
			return 0, fmt.Errorf("site %s: %v has other bytes than were acknowledged", s.name, p)
		}
		l.mu.Lock()
		l.hold(s.name, p)
		l.mu.Unlock()
	}
	return a.status, nil
}

// check holds all sites to the versions that the filter names, while nobody
// publishes and all sites agree.
func (l *ledger) check(w *world, filter func(place) bool) (checked int) {
	l.t.Helper()
	for p, at := range l.tried {
		if !filter(p) {
			continue
		}
		checked++
		if err := l.sameEverywhere(w, p, at); err != nil {
			l.t.Error(err)
			if checked > 20 && l.t.Failed() {
				l.t.FailNow()
			}
		}
	}
	return checked
}

// sameEverywhere compares what the sites show of a version with each other, and
// with what was acknowledged.
func (l *ledger) sameEverywhere(w *world, p place, at *attempts) error {
	found, first := "", ""
	for _, name := range w.names {
		a, err := w.sites[name].ask(http.MethodGet, p.file(".zip"), nil)
		if err != nil {
			return err
		}
		shown := "nothing"
		switch {
		case a.status == http.StatusOK:
			i := slices.IndexFunc(at.tags, func(tag string) bool { return string(a.body) == string(zipOf(p.Version, content(p.Version, tag))) })
			if i < 0 {
				return fmt.Errorf("site %s: %v: bytes that nobody published", name, p)
			}
			shown = "content " + at.tags[i]
		case a.status != http.StatusNotFound:
			return fmt.Errorf("site %s: %v: %d %.200q", name, p, a.status, a.body)
		}
		if want := "content " + at.tag; at.acked && shown != want {
			return fmt.Errorf("site %s: %v: shows %s, and %s was acknowledged", name, p, shown, want)
		}
		if first == "" {
			found, first = shown, name
		}
		if shown != found {
			return fmt.Errorf("%v: site %s shows %s, site %s %s", p, first, found, name, shown)
		}
	}
	return nil
}

// checkLogs compares the logs that the sites hold, event by event.
func (w *world) checkLogs() {
	w.t.Helper()
	for _, origin := range w.names {
		var want []string
		for i, name := range w.names {
			got := w.sites[name].events(origin)
			if dup := duplicate(got); dup != "" {
				w.t.Errorf("site %s: event %s is twice in the log of site %s", name, dup, origin)
			}
			if i == 0 {
				want = got
			}
			if !slices.Equal(got, want) {
				w.t.Errorf("sites %s and %s hold different logs of site %s: %d and %d events", w.names[0], name, origin, len(want), len(got))
			}
		}
	}
}

// events returns the ids and types of all events of a site's log, as s holds it.
func (s *site) events(origin string) (list []string) {
	s.t.Helper()
	for line := range strings.Lines(s.must("log", "--site", origin, "--from", "1")) {
		var e cloudEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			s.t.Fatalf("log: line %q: %v", line, err)
		}
		list = append(list, e.ID+" "+e.Type+" "+e.Subject)
	}
	return list
}

func duplicate(list []string) string {
	seen := map[string]bool{}
	for _, text := range list {
		if seen[text] {
			return text
		}
		seen[text] = true
	}
	return ""
}

// isDown reports whether an error says no more than that a site is down.
func isDown(err error) bool { return errors.Is(err, errDown) }
