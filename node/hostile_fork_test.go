package node_test

import (
	"slices"
	"testing"

	"registry-node/events"
	"registry-node/node"
	"registry-node/replication"
)

// fork has h show each honest site another entry in one place of its log, and
// returns them by site.
func (h *hostile) fork() map[events.Site]events.Entry {
	h.w.t.Helper()
	shown := map[events.Site]events.Entry{}
	for name := range h.w.sites {
		shown[site(name)] = h.seal(h.draft(block("evil.example/for-" + name)))
	}
	held := slices.Clone(h.log)
	h.serveLog(func(from, log events.Site) []events.Entry {
		if log != h.name {
			return nil
		}
		return append(slices.Clone(held), shown[from])
	})
	h.mu.Lock()
	h.perSite = func(to events.Site, a *replication.Announcement) {
		a.Logs = []replication.LogState{{Position: shown[to].Position}}
	}
	h.mu.Unlock()
	return shown
}

// frozen waits until all honest sites have frozen the log of b, with the other
// site's entry as evidence.
func (w *world) frozen(shown map[events.Site]events.Entry) {
	w.t.Helper()
	for name, n := range w.sites {
		w.reported(name, "site b signed two different entries for the place")
		w.until(name, "counts the conflict", func(r node.Replication) bool { return w.status(name, name).Conflicts > 0 })
		raws, err := n.Evidence(site("b"))
		if err != nil {
			w.t.Fatal(err)
		}
		for from, e := range shown {
			held := slices.ContainsFunc(w.logAt(name, "b"), func(o events.Entry) bool { return o.Position == e.Position })
			aside := slices.ContainsFunc(raws, func(raw []byte) bool { return string(raw) == string(e.Raw) })
			if held == aside {
				w.t.Errorf("site %s: what was shown to %s is held %v, set aside %v", name, from, held, aside)
			}
		}
	}
}

// Two entries in one place of a log freeze it wherever both become known, in
// whatever order, with both as evidence. It is over when the site is removed:
// then all count the same of it.
func TestForkFreezesTheLogUntilItsSiteIsRemoved(t *testing.T) {
	t.Parallel()
	w, h := besieged(t, nil)
	w.frozen(h.fork())
	w.goesOnForked("v1.0.0")
	more := h.seal(h.draft(block("evil.example/more")))
	h.claim(h.name, events.Mark{Epoch: 1, Seq: more.Position.Mark.Seq + 5}, more.Position.Hash)
	w.close("c")
	w.open("c")
	w.reported("c", "site b signed two different entries for the place") // it has not forgotten
	if _, err := w.sites["a"].RemoveSite(t.Context(), op, h.name, "it forked"); err != nil {
		t.Fatal(err)
	}
	for name := range w.sites {
		w.until(name, "is over the fork", func(r node.Replication) bool { return !saysOf(r, name, "signed two different entries") })
	}
	w.goesOn("v1.1.0")
}

// A new epoch ends a fork, too: both sites go back to its base.
func TestForkEndsWithANewEpoch(t *testing.T) {
	t.Parallel()
	w, h := besieged(t, nil)
	w.frozen(h.fork())
	base := h.tip().Mark
	d := h.draft(events.LogContinued{Site: h.name, Base: base, Actor: "operator"})
	d.Mark.Epoch++
	h.mu.Lock()
	h.perSite = nil
	h.mu.Unlock()
	h.append(h.seal(d))
	for name := range w.sites {
		w.reported(name, "site b began epoch 2 of its log", "1 entries that it had written count no more")
		w.until(name, "is over the fork", func(r node.Replication) bool { return !saysOf(r, name, "signed two different entries") })
		for _, b := range must(w.sites[name].Blocks(op)) {
			if b.Module == "evil.example/for-a" || b.Module == "evil.example/for-c" {
				t.Errorf("site %s counts an entry of before the new epoch", name)
			}
		}
	}
	h.state(block("evil.example/honest-again"))
	w.goesOn("v1.0.0")
}

// goesOnForked is goesOn while the honest sites can't be equal in the log of b.
func (w *world) goesOnForked(version string) {
	w.t.Helper()
	for name := range w.sites {
		if _, err := w.publish(name, moduleVersion("corp.example/on", version+"-"+name), goMod("corp.example/on")); err != nil {
			w.t.Errorf("publish at %s: %v", name, err)
		}
	}
	waitFor(w.t, "the log of a to be the same everywhere", func() bool {
		logs := map[node.LogStatus]bool{}
		for name := range w.sites {
			l := w.status(name, name).Logs[site("a")]
			l.Blobs = events.Mark{}
			logs[l] = true
		}
		return len(logs) == 1
	})
}

// An entry that names another one than the last as its predecessor is signed
// proof that its site wrote two histories.
func TestBrokenChainFreezesTheLog(t *testing.T) {
	t.Parallel()
	w, h := besieged(t, nil)
	d := h.draft(block("evil.example/chain"))
	d.Prev = events.DigestOf([]byte("another history"))
	e := h.seal(d)
	h.serveEntries(e.Raw)
	h.claim(h.name, e.Position.Mark, e.Position.Hash)
	for name := range w.sites {
		w.reported(name, "site b signed two different entries for the place")
		if m := w.status(name, name).Logs[h.name]; m.Seq != h.tip().Mark.Seq {
			t.Errorf("site %s holds the log of b up to %d", name, m.Seq)
		}
	}
	w.goesOn("v1.0.0")
}

// What a removed site writes after its cut-off counts nowhere, whoever passes it
// on, and it can't speak to the others any more.
func TestRemovedSiteIsFollowedNoFurther(t *testing.T) {
	t.Parallel()
	w, h := besieged(t, nil)
	if _, err := w.sites["a"].RemoveSite(t.Context(), op, h.name, "gone bad"); err != nil {
		t.Fatal(err)
	}
	w.same()
	e := h.seal(h.draft(block("evil.example/late")))
	h.serveEntries(e.Raw)
	h.claim(h.name, e.Position.Mark, e.Position.Hash)
	for name := range w.sites {
		waitFor(t, "b to be cut off from "+name, func() bool { return !h.Connected(site(name)) })
	}
	before := h.count("log")
	w.goesOn("v1.0.0")
	if n := h.count("log") - before; n != 0 {
		t.Errorf("b was asked for its log %d times", n)
	}
	for name := range w.sites {
		if m := w.status(name, name).Logs[h.name]; m.Seq > h.tip().Mark.Seq {
			t.Errorf("site %s holds the log of b up to %d", name, m.Seq)
		}
	}
}
