package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/module"
)

// shownWithin is how soon status must show what has changed, on a machine that has
// time for it; up to 1.5 s of that are silence that is waited for. A node built with
// the race detector is several times as slow.
var shownWithin = map[bool]time.Duration{false: 2 * time.Second, true: 8 * time.Second}[raceDetector]

// shows waits until a site's status is as it should be, by the API and then by
// the command, which must say the same.
func (s *site) shows(what string, check func(standing) error) {
	s.t.Helper()
	begin, late := time.Now(), lateness(s.t)
	eventually(s.t, 4*shownWithin, fmt.Sprintf("site %s shows %s", s.name, what), func() error {
		st, err := s.standing()
		if err != nil {
			return err
		}
		return check(st)
	})
	took, busy := time.Since(begin), late()
	s.t.Logf("site %s shows %s after %v; the machine was late by %v", s.name, what, took.Round(time.Millisecond), busy.Round(time.Millisecond))
	if took > shownWithin+busy {
		s.t.Errorf("site %s shows %s after %v, want %v at most and the %v for which others had the machine", s.name, what, took, shownWithin, busy)
	}
	r := s.command("status", "--json")
	var st standing
	if err := json.Unmarshal([]byte(r.stdout), &st); err != nil {
		s.t.Fatalf("site %s: status --json: %v\n%s%s", s.name, err, r.stdout, r.stderr)
	}
	if err := check(st); err != nil {
		s.t.Errorf("site %s: status --json does not show %s: %v", s.name, what, err)
	}
}

// lateness measures, until the function that it returns is called, for how long the
// machine kept waiting what was due: tests of other packages run on it, too.
func lateness(t testing.TB) func() time.Duration {
	const pause = 5 * time.Millisecond
	var late time.Duration
	end := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTimer(pause)
		defer tick.Stop()
		for due := time.Now().Add(pause); ; due = time.Now().Add(pause) {
			select {
			case now := <-tick.C:
				late += now.Sub(due)
				tick.Reset(pause)
			case <-end:
				return
			}
		}
	})
	stop := sync.OnceFunc(func() { close(end); watch.Wait() })
	t.Cleanup(stop)
	return func() time.Duration { stop(); return max(late, 0) }
}

// hears returns a check of whether a site is connected, and of why not.
func hears(name string, want bool) func(standing) error {
	return func(st standing) error {
		of := st.of(name)
		if of.Connected != want || !want && len(of.Reasons) == 0 {
			return fmt.Errorf("%s: connected %v, reasons %q", name, of.Connected, of.Reasons)
		}
		return nil
	}
}

// allEqual is a check that all sites are connected and hold the same.
func allEqual(st standing) error {
	for _, of := range st.Sites {
		if !of.Connected || of.Agrees != "equal" || of.LagEntries != 0 || of.BlobsMissing != 0 {
			return fmt.Errorf("%+v", of)
		}
	}
	if st.Agreement != "equal" {
		return fmt.Errorf("agreement is %s", st.Agreement)
	}
	return nil
}

// everywhere holds the status of all sites that run to a check.
func (w *world) everywhere(what string, check func(standing) error) {
	w.t.Helper()
	for _, name := range w.names {
		if s := w.sites[name]; s.up.Load() != nil {
			s.shows(what, check)
		}
	}
}

// TestStatusIsTrue changes how three sites stand and looks at what each of them
// says of all.
func TestStatusIsTrue(t *testing.T) {
	w := newWorld(t, newUpstream(t), "a", "b", "c")
	w.makeRepos()
	a, b := w.sites["a"], w.sites["b"]
	w.everywhere("that all are equal", allEqual)
	t.Run("killed", func(t *testing.T) {
		b.fall(b.kill)
		w.everywhere("that b is gone", hears("b", false))
		b.rise()
		w.everywhere("that b is back", allEqual)
	})
	t.Run("frozen", func(t *testing.T) {
		b.signal(syscall.SIGSTOP)
		a.shows("that b is gone", hears("b", false))
		b.signal(syscall.SIGCONT)
		w.everywhere("that b is back", allEqual)
	})
	t.Run("one link cut", func(t *testing.T) {
		w.links.set(fault{cut: true}, between("a", "b")...)
		a.shows("that b is gone", hears("b", false))
		b.shows("that a is gone", hears("a", false))
		for _, name := range []string{"a", "b"} {
			w.sites["c"].shows("that it hears "+name, hears(name, true))
		}
		w.links.heal()
		w.everywhere("that all are equal", allEqual)
	})
	t.Run("one link blackholed", func(t *testing.T) {
		w.links.set(fault{silent: true}, between("a", "b")...)
		a.shows("that b is gone", hears("b", false))
		b.shows("that a is gone", hears("a", false))
		w.links.heal()
		w.everywhere("that all are equal", allEqual)
	})
	t.Run("one direction lost", func(t *testing.T) {
		w.links.set(fault{silent: true}, flow{"a", "b"})
		b.shows("that a is gone", hears("a", false))
		for _, name := range []string{"a", "b"} {
			w.sites["c"].shows("that it hears "+name, hears(name, true))
		}
		w.links.heal()
		w.everywhere("that all are equal", allEqual)
	})
	t.Run("one link slow", func(t *testing.T) {
		w.links.set(fault{delay: 75 * time.Millisecond, rate: 128 << 10}, between("a", "b")...)
		a.put1(t, module.Version{Path: "a.example/slow", Version: "v1.0.0"})
		w.everywhere("that all are equal", allEqual)
		w.links.heal()
	})
	t.Run("behind", func(t *testing.T) { w.behind() })
	t.Run("no room for a blob", func(t *testing.T) { w.blobMissing() })
	t.Run("removed", func(t *testing.T) {
		a.must("home", "move", homeRepo("c"), "--to", "a")
		a.must("site", "remove", "c", "--reason", "a test")
		for _, s := range []*site{a, b} {
			s.shows("that c is no member", func(st standing) error {
				if of := st.of("c"); of.Agrees != "not a member" || len(st.Sites) != 2 {
					return fmt.Errorf("%+v", st)
				}
				return allEqual(st)
			})
		}
		w.sites["c"].shows("that it takes no writes, and why", func(st standing) error {
			if of := st.of("c"); of.Writable || !strings.Contains(strings.Join(of.Reasons, " "), "no member of the registry") {
				return fmt.Errorf("%+v", of)
			}
			return nil
		})
	})
}

// behind has one site cut off while others publish.
func (w *world) behind() {
	w.t.Helper()
	a, b := w.sites["a"], w.sites["b"]
	cut := append(between("a", "b"), between("c", "b")...)
	w.links.set(fault{cut: true}, cut...)
	a.shows("that b is gone", hears("b", false))
	for i := range 7 {
		a.put1(w.t, module.Version{Path: "a.example/lag", Version: fmt.Sprintf("v1.0.%d", i)})
	}
	b.put1(w.t, module.Version{Path: "b.example/lag", Version: "v1.0.0"})
	for _, name := range []string{"a", "c"} {
		w.sites[name].shows("that b is 7 entries behind", func(st standing) error {
			if of := st.of("b"); of.LagEntries != 7 || of.LagSeconds <= 0 || of.Agrees == "equal" {
				return fmt.Errorf("%+v", of)
			}
			return nil
		})
	}
	b.shows("that a and c lack what it has", func(st standing) error {
		for _, name := range []string{"a", "c"} {
			if of := st.of(name); of.Connected || of.LagEntries != 1 || of.Agrees != "catching-up" {
				return fmt.Errorf("%+v", of)
			}
		}
		return nil
	})
	w.links.heal()
	w.equal(healWithin)
	w.everywhere("that all are equal", allEqual)
}

// put1 publishes a version to the repository whose home s is.
func (s *site) put1(t testing.TB, mv module.Version) {
	t.Helper()
	l := newLedger(t)
	if a, err := l.publish(s, place{homeRepo(s.name), mv}, ""); err != nil || a.status/100 != 2 {
		t.Fatalf("site %s: %v: %d %s, %v", s.name, mv, a.status, a.body, err)
	}
}

// blobMissing puts a file where one site's store needs a directory, so that the
// blob of a new version can't be stored there.
func (w *world) blobMissing() {
	w.t.Helper()
	a, b := w.sites["a"], w.sites["b"]
	mv, obstacle := module.Version{Path: "a.example/blob", Version: "v1.0.0"}, ""
	for tag := 0; obstacle == ""; tag++ {
		mv.Version = fmt.Sprintf("v1.0.%d", tag)
		shard := filepath.Join(b.dir, "blobs", "sha256", digest(zipOf(mv, content(mv, "")))[:2])
		if err := os.WriteFile(shard, nil, 0o600); err == nil {
			obstacle = shard
		} else if !strings.Contains(err.Error(), "is a directory") {
			w.t.Fatal(err)
		}
	}
	a.put1(w.t, mv)
	w.everywhere("that b lacks a blob", func(st standing) error {
		if of := st.of("b"); of.BlobsMissing != 1 || of.LagEntries != 0 {
			return fmt.Errorf("%+v", of)
		}
		return nil
	})
	if err := errors.Join(os.Remove(obstacle), os.Mkdir(obstacle, 0o700)); err != nil {
		w.t.Fatal(err)
	}
	eventually(w.t, 20*time.Second, "b fetches the blob", func() error { // it tries again less and less often
		st, err := b.standing()
		if n := st.of("b").BlobsMissing; err == nil && n > 0 {
			err = fmt.Errorf("%d missing", n)
		}
		return err
	})
	w.everywhere("that nothing is missing", allEqual)
}
