package node_test

import (
	"net/http"
	"strings"
	"testing"

	"registry-node/events"
)

// seen is what sites see in a repository of an upstream.
func seen(repo events.RepoID, module string) events.VersionSeen {
	return events.VersionSeen{Repo: repo, Module: "m.test/" + module, Versions: []string{"v1.0.0"}}
}

// teamRepo is the repository team-x as the registry's home makes it.
func teamRepo(home string) events.RepoCreated {
	return events.RepoCreated{Name: name("team-x"), Kind: events.Remote, Home: site(home), Settings: events.RepoSettings{Upstream: "http://127.0.0.1:1", Sumdb: "off"}}
}

// An entry is in the log before the Directory knows of it: an event about a
// repository that it makes is told all the same.
func TestWebhookIsToldOfARepositoryAtOnce(t *testing.T) {
	t.Parallel()
	h := newHooked(t, events.Webhook{Repos: []string{"team-*"}, Types: []string{"version.seen", "repo.created"}})
	waitFor(t, "it to begin", func() bool { return len(h.deliveries().Logs) == 1 })
	at := h.deliveries().Logs[0].Head
	repo := events.RepoID{EventID: events.EventID{Site: site("a"), Mark: events.Mark{Epoch: at.Epoch, Seq: at.Seq + 1}}}
	release := h.node.HoldDirectory()
	done := make(chan error, 1)
	go func() { done <- h.node.Record(t.Context(), teamRepo("a"), seen(repo, "one")) }()
	waitFor(t, "the entry", func() bool { return h.deliveries().Logs[0].Head == repo.Mark })
	h.node.StepWebhook()
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	h.wants("a", " one")
	if m := h.messages("a")[1]; m.Repository != "team-x" {
		t.Errorf("%+v", m)
	}
}

// What an event of one log is about, and its right, may be said by another log that
// is behind: the event waits for it, and no longer.
func TestWebhookWaitsForTheLogThatDecides(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t, defaults(nil)), newReceiver(t)
	w.close("a")
	w.opts["a"] = r.hooked(w.opts["a"])
	a := w.open("a")
	w.join("b", "a", false)
	w.join("c", "a", false)
	w.connected()
	stateBlocks(t, w.sites["b"], "its log begins")
	w.same()
	setHookSecret(t, w.path("a"))
	b := w.turn("b")
	hook := events.Webhook{URL: r.url(), Secret: "hook", Repos: []string{"team-*"}, Via: site("a")}
	if _, _, err := a.PutWebhook(t.Context(), op, "ci", hook); err != nil {
		t.Fatal(err)
	}
	waits := func(why string) {
		t.Helper()
		waitFor(t, why, func() bool {
			d, err := a.Deliveries(op, "ci")
			for _, l := range d.Logs {
				if err == nil && l.Log == site("b") && strings.Contains(l.Problem, why) && l.LagEntries > 0 {
					return true
				}
			}
			return false
		})
	}
	in := func(s string, m events.Mark) events.RepoID {
		return events.RepoID{EventID: events.EventID{Site: site(s), Mark: m}}
	}
	head := markOf(must(a.Replication(op)), "a", site("a"))
	repo := in("a", events.Mark{Epoch: head.Epoch, Seq: head.Seq + 1})
	b.state(seen(repo, "one"))
	waits("waits for the log of site a, which is here up to " + head.String())
	if err := a.Record(t.Context(), teamRepo("c")); err != nil {
		t.Fatal(err)
	}
	r.wants("b", "one")

	next := b.tip().Mark
	next.Seq += 2
	b.state(seen(in("a", head), "no-repository-there"), seen(in("b", next), "made-later"), seen(repo, "two"))
	r.wants("b", "one two")

	a.HearHead(site("c"), events.Mark{Epoch: 1, Seq: 1 << 40})
	b.state(events.PropertiesChanged{ModuleVersion: events.Of(repo, moduleVersion("m.test/p", "v1.0.0")), File: "zip", Set: []events.Property{{Key: "k", Values: []string{"v"}}}}, seen(repo, "three"))
	waits("waits for the log of site c")
	a.HearHead(site("c"), events.Mark{})
	if _, err := a.RetryWebhook(op, "ci"); err != nil { // at once
		t.Fatal(err)
	}
	r.wants("b", "one two three")
	if d := must(a.Deliveries(op, "ci")); len(d.Dead) != 1 || !strings.Contains(d.Dead[0].Problem, "has no right") {
		t.Errorf("%+v", d.Dead)
	}

	b.state(seen(in("c", events.Mark{Epoch: 1, Seq: 1 << 40}), "what-never-was"), seen(repo, "four"))
	waits("waits for the log of site c")
	if _, err := a.RemoveSite(t.Context(), op, site("c"), "it is gone"); err != nil {
		t.Fatal(err)
	}
	r.wants("b", "one two three four")
}

// A dead letter that is told again is not in the way of the log, and stays while the
// log lacks its entry.
func TestWebhookDeadLettersTakeTurns(t *testing.T) {
	t.Parallel()
	h := newHooked(t, events.Webhook{})
	h.answers(func(_ http.ResponseWriter, _ *http.Request, m message) int {
		if m.Module == "m.test/one" {
			return http.StatusGone
		}
		return http.StatusOK
	})
	stateBlocks(t, h.node, "one", "two")
	h.wants("a", "two")
	h.answers(func(w http.ResponseWriter, _ *http.Request, m message) int {
		if m.Module == "m.test/one" {
			w.Header().Set("Retry-After", "600")
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	if _, err := h.node.RetryWebhook(op, "ci"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the second round", func() bool { return h.deliveries().Dead[0].Tries >= 6 }) // 7 if it was woken in the midst of it
	stateBlocks(t, h.node, "three")
	h.wants("a", "two three")
	h.answers(nil)
	if _, err := h.node.RetryWebhook(op, "ci"); err != nil { // at once
		t.Fatal(err)
	}
	h.wants("a", "two three one")

	later := h.deliveries().Logs[0].Head
	later.Seq += 10
	if err := h.node.PutDeadLetter("ci", events.EventID{Site: site("a"), Mark: later}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.node.RetryWebhook(op, "ci"); err != nil {
		t.Fatal(err)
	}
	h.node.StepWebhook()
	stateBlocks(t, h.node, "four")
	h.wants("a", "two three one four")
	if d := h.deliveries(); len(d.Dead) != 1 || !d.Dead[0].Again {
		t.Errorf("%+v", d.Dead)
	}
}
