package node_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

// Two sites tell a receiver of their own logs. It is down for a while, in which one
// of them restarts: once it is back it gets everything, in order per site.
func TestWebhookReceiverThatIsDownGetsEverything(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t, defaults(nil)), newReceiver(t)
	w.close("a")
	w.opts["a"] = r.hooked(w.opts["a"])
	a := w.open("a")
	w.join("b", "a", false)
	w.close("b")
	w.opts["b"] = r.hooked(w.opts["b"])
	b := w.open("b")
	w.equal()
	setHookSecret(t, w.path("a"))
	setHookSecret(t, w.path("b"))
	hook := events.Webhook{URL: r.url(), Secret: "hook", Types: []string{"version.*"}}
	if _, made, err := b.PutWebhook(t.Context(), op, "ci", hook); err != nil || !made { // decided at a
		t.Fatal(made, err)
	}
	w.equal()
	stateBlocks(t, a, "a1", "a2")
	stateBlocks(t, b, "b1")
	r.wants("a", "a1 a2")
	r.wants("b", "b1")
	sawAnswers(t, a)
	sawAnswers(t, b)

	r.down()
	stateBlocks(t, a, "a3 a4 a5", "a6")
	stateBlocks(t, b, "b2")
	waitFor(t, "a failure at b", func() bool {
		d, err := b.Deliveries(op, "ci")
		return err == nil && len(d.Logs) == 1 && d.Logs[0].Failures > 0
	})
	w.close("b")
	b = w.open("b")
	w.equal()
	stateBlocks(t, b, "b3", "b4")
	if _, err := w.publish("b", module.Version{Path: "corp.example/m", Version: "v1.0.0"}, goMod("corp.example/m")); err != nil { // decided at a
		t.Fatal(err)
	}
	r.up()
	r.wants("a", "a1 a2 a3 a4 a5 a6 corp.example/m")
	r.wants("b", "b1 b2 b3 b4")
	last := r.messages("a")[6]
	if last.Type != "version.published" || last.Repository != "local" || last.ModuleVersion != "v1.0.0" || !strings.Contains(string(last.Data), `"mod_h1"`) {
		t.Errorf("%+v", last)
	}
}

// One site tells of all logs, also of one that joins later; a webhook is told of
// nothing that is older than itself.
func TestWebhookViaOneSite(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t, defaults(nil)), newReceiver(t)
	a := w.sites["a"]
	w.join("b", "a", false)
	w.close("b")
	w.opts["b"] = r.hooked(w.opts["b"])
	b := w.open("b")
	w.equal()
	setHookSecret(t, w.path("b"))
	stateBlocks(t, a, "old")
	stateBlocks(t, b, "old")
	w.equal()
	hook := events.Webhook{URL: r.url(), Secret: "hook", Types: []string{"version.blocked"}, Via: site("c")}
	if _, _, err := a.PutWebhook(t.Context(), op, "ci", hook); !errors.Is(err, node.ErrInvalid) {
		t.Errorf("by a site that is none: %v", err)
	}
	hook.Via, hook.Disabled = site("b"), true
	if _, _, err := a.PutWebhook(t.Context(), op, "ci", hook); err != nil {
		t.Fatal(err)
	}
	w.equal()
	// As if b had lacked its log's beginning when it was told of the webhook.
	if err := b.SetWebhookCursor("ci", site("b"), events.Mark{}, events.Digest{}); err != nil {
		t.Fatal(err)
	}
	hook.Disabled = false
	if _, _, err := a.PutWebhook(t.Context(), op, "ci", hook); err != nil {
		t.Fatal(err)
	}
	stateBlocks(t, a, "a1", "a2")
	c := w.join("c", "a", false)
	stateBlocks(t, c, "c1")
	stateBlocks(t, b, "b1")
	r.wants("a", "a1 a2")
	r.wants("b", "b1")
	r.wants("c", "c1")
	if d, err := a.Deliveries(op, "ci"); err != nil || len(d.Logs) != 0 || !strings.Contains(d.Problem, "site b") {
		t.Errorf("at a: %+v, %v", d, err)
	}
}

// A crash between an answer and its cursor, and one in the midst of an entry: the
// event that was under way is told again, the ones before it are not.
func TestWebhookIsToldAtLeastOnce(t *testing.T) {
	t.Parallel()
	h := newHooked(t, events.Webhook{})
	reached := make(chan message, 1)
	h.answers(func(_ http.ResponseWriter, q *http.Request, m message) int {
		if m.Module == "m.test/two" {
			reached <- m
			<-q.Context().Done() // it has it, and its answer is lost
			return 0
		}
		return http.StatusOK
	})
	stateBlocks(t, h.node, "one two three", "four")
	first := <-reached
	began := time.Now()
	h.node.Close()
	if took := time.Since(began); took > patience/2 {
		t.Errorf("a delivery held up the end for %v", took)
	}
	h.answers(nil)
	h.open()
	h.wants("a", "one two three four")
	if again := h.messages("a")[1]; again.ID != first.ID {
		t.Errorf("%q is told again as %q", first.ID, again.ID)
	}
}

// While an event is under way the index is made anew: what is written of it then may
// be lost, so it is told again.
func TestWebhookOverARebuild(t *testing.T) {
	t.Parallel()
	h := newHooked(t, events.Webhook{})
	reached, rebuilt := make(chan bool, 10), make(chan bool)
	h.answers(func(_ http.ResponseWriter, _ *http.Request, m message) int {
		if m.Module == "m.test/two" {
			reached <- true
			<-rebuilt
		}
		return http.StatusOK
	})
	stateBlocks(t, h.node, "one", "two", "three")
	<-reached
	_, err := h.node.Rebuild(t.Context(), op, func(uint64) {})
	close(rebuilt)
	if err != nil {
		t.Fatal(err)
	}
	h.wants("a", "one two two three")
}

// What hinders a receiver only for a while is tried again, and what is behind it
// waits; what it refuses is kept after five tries, and goes out when asked.
func TestWebhookRefusals(t *testing.T) {
	t.Parallel()
	h := newHooked(t, events.Webhook{})
	bad, tries := map[string]int{"m.test/two": http.StatusServiceUnavailable, "m.test/three": http.StatusGone, "m.test/four": http.StatusFound}, map[string]int{}
	h.answers(func(w http.ResponseWriter, _ *http.Request, m message) int {
		tries[m.Module]++ // one at a time
		status := bad[m.Module]
		switch {
		case status == http.StatusServiceUnavailable && tries[m.Module] > 6:
			return http.StatusOK
		case status == http.StatusFound:
			w.Header().Set("Location", h.url())
		case status == 0:
			return http.StatusOK
		}
		http.Error(w, "no "+m.Module, status)
		return -status
	})
	stateBlocks(t, h.node, "one two three", "four five")
	h.wants("a", "one two five")
	d := h.deliveries()
	if len(d.Dead) != 2 || d.Dead[0].Tries != 5 || d.Dead[0].Problem != "the receiver answered 410 Gone" || d.Dead[0].Answer != "no m.test/three?" || d.Dead[1].Problem != "the receiver answered 302 Found" {
		t.Fatalf("%+v", d.Dead)
	}
	waitFor(t, "a reason", func() bool {
		return strings.Contains(h.reasons(), "webhook ci: its receiver refused 2 events of the log of site a")
	})

	h.node.Close() // they outlive a restart, and so does that they go out again
	h.open()
	waitFor(t, "the dead letters", func() bool { return len(h.deliveries().Logs) == 1 && h.deliveries().Logs[0].DeadLetters == 2 })
	h.answers(func(_ http.ResponseWriter, _ *http.Request, m message) int {
		if m.Module == "m.test/four" {
			return http.StatusGone
		}
		return http.StatusOK
	})
	if count, err := h.node.RetryWebhook(op, "ci"); err != nil || count != 2 {
		t.Fatal(count, err)
	}
	waitFor(t, "the second round", func() bool { d := h.deliveries(); return len(d.Dead) == 1 && !d.Dead[0].Again })
	h.wants("a", "one two five three")
	if d := h.deliveries(); d.Dead[0].Tries != 6 {
		t.Errorf("%+v", d.Dead)
	}
	if count, err := h.node.DropDeadLetters(op, "ci"); err != nil || count != 1 || len(h.deliveries().Dead) != 0 {
		t.Errorf("dropped %d, %v: %+v", count, err, h.deliveries())
	}
	waitFor(t, "no reason", func() bool { return h.reasons() == "" })
}

// Where the cursor stands holds over a rebuilt index, a time of being disabled, a
// restart and a new epoch.
func TestWebhookGoesOnFromItsCursor(t *testing.T) {
	t.Parallel()
	blocks := events.Webhook{Types: []string{"version.blocked"}}
	h := newHooked(t, blocks)
	stateBlocks(t, h.node, "one", "two three")
	h.wants("a", "one two three")
	if _, err := h.node.Rebuild(t.Context(), op, func(uint64) {}); err != nil {
		t.Fatal(err)
	}
	stateBlocks(t, h.node, "four")
	h.wants("a", "one two three four")
	h.put(events.Webhook{Disabled: true})
	if _, err := h.node.NewEpoch(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	stateBlocks(t, h.node, "five", "six")
	h.node.Close()
	h.open()
	if d := h.deliveries(); len(d.Logs) != 0 || !strings.Contains(d.Problem, "disabled") {
		t.Errorf("%+v", d)
	}
	h.put(blocks)
	stateBlocks(t, h.node, "seven")
	h.wants("a", "one two three four five six seven")
}

// A cursor that is not in the log is set back, loudly: to the log's end if that is
// before it, to the webhook's beginning if the log has another entry there.
func TestWebhookCursorThatIsNotInTheLog(t *testing.T) {
	t.Parallel()
	h := newHooked(t, events.Webhook{})
	stateBlocks(t, h.node, "one")
	h.wants("a", "one")
	at := h.deliveries().Logs[0].Head
	set := func(m events.Mark, d events.Digest) {
		t.Helper()
		h.node.Close()
		h.open()
		if err := h.node.SetWebhookCursor("ci", site("a"), m, d); err != nil {
			t.Fatal(err)
		}
		h.node.Close()
		h.open()
	}
	h.put(events.Webhook{Disabled: true}) // so that no teller writes its own
	set(events.Mark{Epoch: at.Epoch, Seq: at.Seq + 100}, events.DigestOf([]byte("x")))
	h.put(events.Webhook{})
	waitFor(t, "a warning", func() bool { return strings.Contains(h.log.String(), "no longer has") })
	stateBlocks(t, h.node, "two")
	h.wants("a", "one two")
	h.put(events.Webhook{Disabled: true})
	set(at, events.DigestOf([]byte("another entry")))
	h.put(events.Webhook{})
	h.wants("a", "one two one two")
	if !strings.Contains(h.log.String(), "another history") {
		t.Error("nothing says so")
	}
}

// A webhook begins in another site's log where its entries are no older than it,
// which is found without reading all of it.
func TestWebhookBeginsByTime(t *testing.T) {
	t.Parallel()
	n, _ := newNode(t, nil)
	var times []time.Time
	var marks []events.Mark
	for e, err := range must(n.Log(op, site("a"), 1)) {
		if err != nil {
			t.Fatal(err)
		}
		times, marks = append(times, e.Time), append(marks, e.Position.Mark)
	}
	for i := range 5 {
		if i == 3 {
			if _, err := n.NewEpoch(t.Context(), op); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Millisecond) // entries have times of whole milliseconds
		stateBlocks(t, n, fmt.Sprint("m", i))
	}
	times, marks = times[:0], marks[:0]
	for e := range must(n.Log(op, site("a"), 1)) {
		times, marks = append(times, e.Time), append(marks, e.Position.Mark)
	}
	for i, at := range times {
		if i > 0 && at.Equal(times[i-1]) {
			continue
		}
		got, err := n.FirstWebhookCursor(at, site("a"))
		want := events.Mark{}
		if i > 0 {
			want = events.Mark{Epoch: marks[i].Epoch, Seq: marks[i].Seq - 1}
		}
		if err != nil || got != want {
			t.Errorf("from %v on: behind %v, %v; want %v", at, got, err, want)
		}
	}
	if got, err := n.FirstWebhookCursor(times[len(times)-1].Add(time.Millisecond), site("a")); err != nil || got != marks[len(marks)-1] {
		t.Errorf("from the end on: behind %v, %v", got, err)
	}
}

func TestWebhookFilters(t *testing.T) {
	t.Parallel()
	h := newHooked(t, events.Webhook{Types: []string{"version.blocked", "version.published"}, Modules: []events.Pattern{pattern("m.test/x/**"), pattern("corp.example/**")}})
	stateBlocks(t, h.node, "a x/b", "c", "x/d")
	mustPublish(t, h.node, "corp.example/m", "v1.0.0")
	h.wants("a", "x/b x/d corp.example/m")
	h.put(events.Webhook{Repos: []string{"loc*"}}) // a block is about no repository
	stateBlocks(t, h.node, "x/e")
	mustPublish(t, h.node, "corp.example/n", "v1.0.0")
	h.wants("a", "x/b x/d corp.example/m corp.example/n")
}

// Without its secret nothing is sent, and it shows why; it is sent as soon as the
// secret is there. Neither secret nor URL shows where they must not.
func TestWebhookSecrets(t *testing.T) {
	t.Parallel()
	h := newHooked(t, events.Webhook{})
	if err := os.Remove(filepath.Join(h.dir, "secrets", "hook")); err != nil {
		t.Fatal(err)
	}
	stateBlocks(t, h.node, "one")
	waitFor(t, "the problem", func() bool {
		d := h.deliveries()
		return len(d.Logs) == 1 && strings.Contains(d.Logs[0].Problem, "the secret hook is missing at this site")
	})
	if got := h.messages(""); len(got) > 0 {
		t.Fatalf("sent without a signature: %v", got)
	}
	setHookSecret(t, h.dir)
	h.wants("a", "one")
	h.down()
	stateBlocks(t, h.node, "two")
	waitFor(t, "a failure", func() bool { return strings.Contains(h.deliveries().Logs[0].Problem, "refused") })
	if now := h.node.WebhookReasons(time.Now()); len(now) > 0 {
		t.Errorf("at once: %q", now)
	}
	if later := h.node.WebhookReasons(time.Now().Add(6 * time.Minute)); len(later) != 1 || !strings.HasPrefix(later[0], "webhook ci is 6m0s behind in the log of site a: the receiver gave no answer: dial tcp") {
		t.Errorf("after 6 minutes: %q", later)
	}
	d, test := h.deliveries(), must(h.node.TestWebhook(t.Context(), op, "ci"))
	for _, shown := range []string{h.log.String(), h.reasons(), fmt.Sprintf("%+v %+v", d, test)} {
		if strings.Contains(shown, canary) || strings.Contains(shown, strings.TrimPrefix(hookKey, "whsec_")) {
			t.Errorf("shown in %s", shown)
		}
	}
	secrets := must(node.OpenSecrets(h.dir))
	if err := secrets.Set(name("hook"), must(node.ParseSecret([]byte(`{"bearer":{"token":"x"}}`)))); err != nil {
		t.Fatal(err)
	}
	if test := must(h.node.TestWebhook(t.Context(), op, "ci")); !strings.Contains(test.Problem, "of the kind bearer") {
		t.Errorf("%+v", test)
	}
}

// Receivers that do what they should not.
func TestWebhookOddReceivers(t *testing.T) {
	t.Parallel()
	h := newHooked(t, events.Webhook{Types: []string{"home.*"}})
	for what, c := range map[string]struct {
		answer  func(http.ResponseWriter, *http.Request, message) int
		taken   bool
		problem string
	}{
		"a body without end": {func(w http.ResponseWriter, q *http.Request, _ message) int {
			w.WriteHeader(http.StatusOK)
			for q.Context().Err() == nil {
				if _, err := w.Write([]byte(strings.Repeat("x", 4096))); err != nil {
					break
				}
			}
			return 0
		}, true, ""},
		"a large header": {func(w http.ResponseWriter, _ *http.Request, _ message) int {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			return http.StatusOK
		}, false, "gave no answer"},
		"a cut connection": {func(http.ResponseWriter, *http.Request, message) int { panic(http.ErrAbortHandler) }, false, "gave no answer"},
		"a redirect": {func(w http.ResponseWriter, q *http.Request, _ message) int {
			w.Header().Set("Location", "http://169.254.169.254/")
			return http.StatusTemporaryRedirect
		}, false, "307 Temporary Redirect"},
	} {
		h.answers(c.answer)
		got, err := h.node.TestWebhook(t.Context(), op, "ci")
		if err != nil || got.Taken != c.taken || !strings.Contains(got.Problem, c.problem) || strings.Contains(got.Problem, canary) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	h.answers(nil)
	if got, err := h.node.TestWebhook(t.Context(), op, "ci"); err != nil || !got.Taken || got.Status != http.StatusNoContent || h.messages("")[len(h.messages(""))-1].Type != "ping" {
		t.Errorf("%+v, %v", got, err)
	}
	h.put(events.Webhook{URL: "https://169.254.169.254/x"})
	if got, err := h.node.TestWebhook(t.Context(), op, "ci"); err != nil || got.Taken || !strings.Contains(got.Problem, "metadata service") {
		t.Errorf("%+v, %v", got, err)
	}
}

// A receiver may ask to be left alone for longer than the back-off.
func TestWebhookRetryAfter(t *testing.T) {
	t.Parallel()
	h := newHooked(t, events.Webhook{})
	h.answers(func(w http.ResponseWriter, _ *http.Request, m message) int {
		w.Header().Set("Retry-After", "40")
		return http.StatusTooManyRequests
	})
	stateBlocks(t, h.node, "one")
	waitFor(t, "the next try", func() bool {
		d := h.deliveries()
		return len(d.Logs) == 1 && time.Until(d.Logs[0].NextTry) > 30*time.Second
	})
	h.answers(nil)
	if _, err := h.node.RetryWebhook(op, "ci"); err != nil { // at once
		t.Fatal(err)
	}
	h.wants("a", "one")
}

// What is kept of a webhook goes with it, and another one of its name begins anew.
func TestWebhookThatIsDeleted(t *testing.T) {
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
	if rows := h.node.WebhookRows(); len(rows) != 2 {
		t.Errorf("rows: %q", rows)
	}
	if err := h.node.DeleteWebhook(t.Context(), op, "ci"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "no rows", func() bool { return len(h.node.WebhookRows()) == 0 })
	stateBlocks(t, h.node, "three")
	h.put(events.Webhook{})
	stateBlocks(t, h.node, "four")
	h.wants("a", "two four")
}

func TestWebhooksThatCannotBe(t *testing.T) {
	t.Parallel()
	h := newHooked(t, events.Webhook{})
	for text, w := range map[string]events.Webhook{
		"no webhook is told":   {URL: "https://x.test/", Secret: "hook", Types: []string{"user.*"}},
		"no webhook is told o": {URL: "https://x.test/", Secret: "hook", Types: []string{"version.publishd"}},
		"is https":             {URL: "http://x.test/", Secret: "hook"},
		"no user":              {URL: "https://u:p@x.test/", Secret: "hook"},
		"needs the name":       {URL: "https://x.test/"},
	} {
		if _, _, err := h.node.PutWebhook(t.Context(), op, "x", w); !errors.Is(err, node.ErrInvalid) || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v, want %q", w, err, text)
		}
	}
	nobody := access.Anonymous(netip.MustParseAddr("203.0.113.1"))
	good := events.Webhook{URL: "https://x.test/", Secret: "hook"}
	_, _, put := h.node.PutWebhook(t.Context(), nobody, "x", good)
	_, list := h.node.Webhooks(nobody)
	_, show := h.node.Deliveries(nobody, "ci")
	_, retry := h.node.RetryWebhook(nobody, "ci")
	_, drop := h.node.DropDeadLetters(nobody, "ci")
	_, test := h.node.TestWebhook(t.Context(), nobody, "ci")
	_, figures := h.node.WebhookFigures(nobody)
	for i, err := range []error{put, list, show, retry, drop, test, figures, h.node.DeleteWebhook(t.Context(), nobody, "ci")} {
		if !errors.Is(err, node.ErrUnauthorized) {
			t.Errorf("%d: %v", i, err)
		}
	}
	for i := range 63 {
		if _, made, err := h.node.PutWebhook(context.WithoutCancel(t.Context()), op, fmt.Sprint("x", i), events.Webhook{URL: "https://x.test/", Secret: "hook", Disabled: true}); err != nil || !made {
			t.Fatal(i, made, err)
		}
	}
	if _, _, err := h.node.PutWebhook(t.Context(), op, "y", good); !errors.Is(err, node.ErrTooLarge) {
		t.Errorf("the 65th: %v", err)
	}
}
