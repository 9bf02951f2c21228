package node_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"slices"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/node"
	"registry-node/replication"
)

// besieged is a registry of sites a and c with a hostile member b, whose log has
// an entry that all hold.
func besieged(t *testing.T, up *proxy) (*world, *hostile) {
	w := newWorld(t, defaults(up))
	w.join("b", "a", false)
	w.join("c", "a", false)
	w.connected()
	if _, err := w.sites["b"].Block(t.Context(), op, events.VersionPatternOf(moduleVersion("blocked.example/first", "v1.0.0")), "while it was honest"); err != nil {
		t.Fatal(err)
	}
	w.same()
	return w, w.turn("b")
}

// What a site signs or passes on counts only if it rightly continues the log that
// it is of: all else is refused, reported, and harms nobody.
func TestForgedEntriesAreRefused(t *testing.T) {
	t.Parallel()
	w, h := besieged(t, nil)
	_, otherKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := h.draft(block("evil.example/forged"))
	with := func(change func(*events.Draft)) []byte {
		d := good
		change(&d)
		return h.seal(d).Raw
	}
	flipped := slices.Clone(h.seal(good).Raw)
	at := len(flipped) - 20 // in the signature
	if flipped[at] == 'A' {
		flipped[at] = 'B'
	} else {
		flipped[at] = 'A'
	}
	stranger, err := good.Seal(otherKey)
	if err != nil {
		t.Fatal(err)
	}
	ofA := w.logAt("a", "a")[1].Raw
	huge := make([]byte, events.MaxEntry)
	for i := range huge {
		huge[i] = ' '
	}
	tests := []struct {
		name string
		raws [][]byte
		says string
	}{
		{"bad signature", [][]byte{flipped}, "not signed by the key"},
		{"another key", [][]byte{stranger.Raw}, "not signed by the key"},
		{"of another site", [][]byte{ofA}, "is none of the log of site b"},
		{"in the name of another site", [][]byte{with(func(d *events.Draft) { d.Site = site("c") })}, "is none of the log of site b"},
		{"gap", [][]byte{with(func(d *events.Draft) { d.Mark.Seq++ })}, "a gap or a repetition"},
		{"repetition", [][]byte{h.log[0].Raw}, "a gap or a repetition"},
		{"other registry", [][]byte{with(func(d *events.Draft) { d.Registry = events.DigestOf([]byte("other")) })}, "is none of the log"},
		{"backdated", [][]byte{with(func(d *events.Draft) { d.Time = h.log[0].Time.Add(-time.Second) })}, "is older than the entry before it"},
		{"dated in the future", [][]byte{with(func(d *events.Draft) { d.Time = time.Now().Add(time.Hour) })}, "the clock of site b is wrong"},
		{"an epoch skipped", [][]byte{with(func(d *events.Draft) { d.Mark.Epoch += 2 })}, "wrong epoch"},
		{"too large", [][]byte{huge}, "that are refused"},
		{"garbage", [][]byte{[]byte("\x00\xff garbage")}, "that are refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.in(t)
			before := h.count("log")
			h.serveEntries(tt.raws...)
			h.claim(h.name, events.Mark{Epoch: 1, Seq: h.tip().Mark.Seq + 2}, events.DigestOf([]byte(tt.name)))
			waitFor(t, "b to be asked", func() bool { return h.count("log") >= before+4 })
			for name := range w.sites {
				w.reported(name, "site b", tt.says)
				if m := w.status(name, name).Logs[h.name]; m.Seq != h.tip().Mark.Seq {
					t.Errorf("site %s holds the log of b up to %d", name, m.Seq)
				}
			}
			if asked := h.count("log"); asked > 2000 {
				t.Errorf("b was asked %d times", asked)
			}
		})
	}
	w.goesOn("v1.0.0")
	h.silent()
	h.state(block("evil.example/better"))
	w.goesOn("v1.1.0")
	for name := range w.sites {
		w.until(name, "has forgiven", func(r node.Replication) bool { return !saysOf(r, name, "that are refused") })
		for _, b := range must(w.sites[name].Blocks(op)) {
			if b.Module == "evil.example/forged" {
				t.Errorf("site %s took a forged block", name)
			}
		}
	}
}

// An answer that is none, or promises more for ever, costs who asks next to
// nothing and is reported.
func TestSenselessAnswersAreReported(t *testing.T) {
	t.Parallel()
	w, h := besieged(t, nil)
	far := events.Mark{Epoch: 1, Seq: 1 << 40}
	tests := []struct {
		name   string
		answer func() ([]byte, error)
	}{
		{"bytes that are no message", func() ([]byte, error) { return []byte("\xff\xfe nothing"), nil }},
		{"a message of another version", func() ([]byte, error) { return []byte(`{"v":99}` + "\n"), nil }},
		{"a length beyond the end", func() ([]byte, error) { return []byte(`{"v":1}` + "\n\xff\xff\xff\x7fx"), nil }},
		{"more without entries", func() ([]byte, error) { return replication.Encode(replication.LogAnswer{Head: far}) }},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.in(t)
			before := h.count("log")
			h.answer("log", func(context.Context, events.Site, []byte) ([]byte, error) { return tt.answer() })
			h.claim(h.name, far, events.DigestOf([]byte(tt.name)))
			for name := range w.sites {
				w.reported(name, "site b gives entries of the log of site b that are refused")
			}
			w.goesOn(fmt.Sprintf("v1.%d.0", i))
			if asked := h.count("log") - before; asked > 500 {
				t.Errorf("b was asked %d times", asked)
			}
			h.silent()
			h.state(block(fmt.Sprintf("evil.example/%d", i)))
			for name := range w.sites {
				w.until(name, "has forgiven", func(r node.Replication) bool { return !saysOf(r, name, "that are refused") })
			}
		})
	}
}

// A site that claims to have more of a dead site's log than anybody, and then
// keeps who asks waiting, does not keep them from those who have it.
func TestStallingSourceIsPassedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	for _, name := range []string{"b", "c", "d"} {
		w.join(name, "a", false)
	}
	w.connected()
	w.same()
	w.close("c")
	if _, err := w.sites["d"].Block(t.Context(), op, events.VersionPatternOf(moduleVersion("blocked.example/d", "")), "a test"); err != nil {
		t.Fatal(err)
	}
	w.until("a", "has the block", func(r node.Replication) bool { return markOf(r, "a", site("d")).Seq == 1 })
	w.close("d")
	h := w.turn("b")
	h.answer("log", func(ctx context.Context, _ events.Site, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	h.claim(site("d"), events.Mark{Epoch: 1, Seq: 1000}, events.DigestOf([]byte("evil")))
	w.open("c")
	w.until("c", "has the log of d", func(r node.Replication) bool { return markOf(r, "c", site("d")).Seq == 1 })
	w.goesOn("v1.0.0")
}

// What a member says in the name of another one, or of a log's end without that
// site's signature, is refused.
func TestFalseAnnouncementsAreRefused(t *testing.T) {
	t.Parallel()
	w, h := besieged(t, nil)
	h.mu.Lock()
	h.twist = func(a *replication.Announcement) { a.Site = site("c") }
	h.mu.Unlock()
	w.reported("a", "site b sends announcements that can't be used", "site c")
	if !w.status("a", "c").Connected || w.status("a", "c").Version == "evil" {
		t.Errorf("site a takes the word of b for that of c: %+v", w.status("a", "c"))
	}
	forged := replication.SignedHead{
		Registry: h.registry, Position: events.Position{Site: site("c"), Mark: events.Mark{Epoch: 1, Seq: 1 << 40}, Hash: events.DigestOf([]byte("x"))}, Time: time.Now(),
	}.Sign(h.key)
	h.mu.Lock()
	h.twist, h.origin = nil, []replication.SignedHead{forged}
	h.mu.Unlock()
	w.reported("a", "site b passes on a head of the log of site c that c did not sign")
	if lag := w.status("a", "a").LagEntries; lag != 0 {
		t.Errorf("site a takes itself to be %d entries behind", lag)
	}
	w.goesOn("v1.0.0")
}
