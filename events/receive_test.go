package events_test

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"registry-node/events"
)

// signedMove returns a forced move of the registry that the recovery key signed.
func (w *world) signedMove(b events.HomeForced) events.HomeForced {
	b.Signature = ed25519.Sign(signer(operator), events.ForcedText(w.h.registry, b))
	return b
}

// cutOff checks the cut-off of a site, "" for none.
func (w *world) cutOff(s, want string) {
	w.t.Helper()
	got := ""
	if m, left := w.directory().CutOff(site(s)); left {
		got = m.String()
	}
	if got != want {
		w.t.Errorf("cut-off of %s is %q, want %q", s, got, want)
	}
}

// A home that an attacker has removes a healthy site before an operator can take
// the registry from it, there or to there.
func TestRemovalByALostHomeDoesNotStopItsRecovery(t *testing.T) {
	block := events.VersionBlocked{Module: "m.test/a", Reason: "late"}
	t.Run("to the site that states it", func(t *testing.T) {
		w := newWorld(t)
		w.say("a", events.SiteLeft{Name: site("b"), CutOff: w.ends["b"]})
		w.say("b", block)
		w.cutOff("b", "0/0")
		w.say("b", w.signedMove(events.HomeForced{At: w.ends["a"], To: site("b"), After: w.ends["b"]}))
		w.cutOff("b", "")
		if d := w.directory(); d.Home() != site("b") || !d.MemberNow(site("b")) || len(d.Blocks()) != 1 {
			t.Errorf("home %s, b is a member: %t, blocks %v", d.Home(), d.MemberNow(site("b")), d.Blocks())
		}
		w.say("b", events.HomeCeded{Tenure: 1, To: site("c"), After: w.ends["c"]})
		w.cutOff("b", "")
		w.say("c", events.SiteLeft{Name: site("b"), CutOff: mark("1/1")})
		w.cutOff("b", "1/3") // where its tenure ended
	})
	t.Run("to another that was removed too", func(t *testing.T) {
		w := newWorld(t)
		w.say("a", events.SiteLeft{Name: site("b"), CutOff: w.ends["b"]})
		w.say("a", events.SiteLeft{Name: site("c"), CutOff: w.ends["c"]})
		w.say("b", w.signedMove(events.HomeForced{At: w.ends["a"], To: site("c"), After: w.ends["c"]}))
		w.say("b", block)
		w.cutOff("b", "1/1")
		w.cutOff("c", "")
		if d := w.directory(); d.Home() != site("c") || !d.MemberNow(site("c")) || len(d.Blocks()) != 0 {
			t.Errorf("home %s, blocks %v", d.Home(), d.Blocks())
		}
		w.say("c", events.HomeCeded{Tenure: 1, To: site("a"), After: w.ends["a"]})
		w.cutOff("c", "")
	})
	t.Run("stated again by one that was removed for cause", func(t *testing.T) {
		w := newWorld(t)
		move := w.signedMove(events.HomeForced{At: w.ends["a"], To: site("c"), After: w.ends["c"]})
		w.say("c", move)
		w.say("c", events.SiteLeft{Name: site("b"), CutOff: w.ends["b"]})
		again := w.say("b", move)
		w.cutOff("b", "0/0")
		if err := w.directory().Right(again, move); err == nil {
			t.Error("it has the right to state what c stated")
		}
	})
}

// Receivers refuse what lies behind a cut-off from the moment they know of it,
// and set aside what they have of it by then. In whatever order the logs come to
// them, they end with the answers of one who knows all that was ever written.
func TestReceiversThatRefuseMeet(t *testing.T) {
	refused := 0
	eachHistory(t, func(seed uint64, h *history) error {
		all, err := fold(h.delivery(h.rng))
		if err != nil {
			return err
		}
		r := &receiver{h: h, rng: rand.New(rand.NewPCG(seed, 1)), next: map[events.Site]int{}, st: state{}}
		if err := r.run(); err != nil {
			return err
		}
		for _, s := range h.sites {
			refused += len(h.logs[s]) - r.next[s]
		}
		for k := range all {
			if _, ok := r.st[k]; !ok {
				r.st[k] = nil // the same reads
			}
		}
		if got, want := r.st.answers(h), all.answers(h); got != want {
			return fmt.Errorf("got\n%s, want\n%s", got, want)
		}
		return nil
	})
	if refused == 0 {
		t.Error("nothing was refused in any history")
	}
}

// A receiver has the events before next of each log.
type receiver struct {
	h    *history
	rng  *rand.Rand
	next map[events.Site]int
	st   state
}

func (r *receiver) run() error {
	for idle, rounds := 0, 0; idle < 1; rounds++ {
		if rounds > 1000 {
			return fmt.Errorf("it takes and sets aside for ever, at %v", r.next)
		}
		idle++
		for _, i := range r.rng.Perm(len(r.h.sites)) {
			took, err := r.receive(r.h.sites[i])
			if err != nil {
				return err
			}
			if took {
				idle = 0
			}
			r.setAside()
		}
	}
	return nil
}

// receive takes what follows in a site's log, if it may.
func (r *receiver) receive(s events.Site) (took bool, err error) {
	rest := r.h.logs[s][r.next[s]:]
	n := min(len(rest), 1+r.rng.IntN(12))
	d := r.st.directory(r.h)
	if cut, left := d.CutOff(s); left {
		n = min(n, len(upTo(rest, cut)))
		for i, ev := range slices.Backward(rest) {
			if b, ok := ev.Body.(events.HomeForced); ok && b.Repo.IsZero() && d.Right(ev.ID, b) == nil {
				n = max(n, i+1)
				break
			}
		}
	}
	for _, ev := range rest[:n] {
		if err := r.st.apply(ev); err != nil {
			return false, err
		}
	}
	r.next[s] += n
	return n > 0, nil
}

// setAside takes back what lies behind cut-offs that it knows now.
func (r *receiver) setAside() {
	for s, cut := range r.st.directory(r.h).CutsOff() {
		r.next[s] = min(r.next[s], len(upTo(r.h.logs[s], cut)))
		for k, cs := range r.st {
			if facts := cs.Of(s); len(facts) > len(facts.Until(cut)) {
				r.st[k] = cs.With(s, facts.Until(cut))
			}
		}
	}
}
