package node_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

// audited keeps what a node tells who audits it.
type audited struct {
	mu   sync.Mutex
	told []string
}

func (a *audited) event(e node.AuditEvent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	outcome := "done"
	if e.Err != nil {
		outcome = kindOf(e.Err).Error()
	}
	position := ""
	if !e.Position.Mark.IsZero() {
		position = "at " + e.Position.Site.String()
	}
	thing := e.Module
	if e.Version != "" {
		thing += "@" + e.Version
	}
	request := ""
	if e.Request != "" {
		request = "request"
	}
	a.told = append(a.told, strings.Join(strings.Fields(fmt.Sprintln(e.Action, outcome, e.Actor, e.Token, "at", e.Site, "via", e.Via, e.Repo, thing, e.Name, e.Reason, position, request)), " "))
}

// take returns what was told since it was asked last.
func (a *audited) take() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	told := strings.Join(a.told, "\n")
	a.told = nil
	return told
}

// What a site decides for another one, and who joins, is audited, with who asked
// there as the home has found out; what a node does for its own callers is not its
// business.
func TestDecisionsForOthersAreAudited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.close("a")
	var home audited
	o := w.opts["a"]
	o.Audit = home.event
	w.opts["a"] = o
	a := w.open("a")
	b := w.join("b", "a", true)
	want := func(lines ...string) {
		t.Helper()
		if got := home.take(); got != strings.Join(lines, "\n") {
			t.Errorf("told:\n%s\nwant:\n%s", got, strings.Join(lines, "\n"))
		}
	}
	want("join done at a via b at a request") // via nobody: that is its name

	record(t, a, events.UserCreated{Name: "ann"}, grant("ann", "user:ann", "local", "publish read", "corp.example/**"))
	tok := token(t, a, "ann", access.Scope{}, time.Time{})
	w.equal()
	home.take()
	ann, err := b.Authenticate(t.Context(), access.TokenCredential(tok), netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, receipt := node.WithReceipt(t.Context(), "r1")
	v := mv("corp.example/one", "v1.0.0")
	if _, err := b.Publish(ctx, ann, node.Publication{Repo: name("local"), Version: v, Zip: zipReader(t, v, goMod(v.Path))}); err != nil {
		t.Fatal(err)
	}
	if at := receipt.At(); at.Site != site("a") || at.Mark.Seq == 0 {
		t.Errorf("the receipt names %v, not the entry of a", at)
	}
	want("publish done ann " + tok.ID() + " at a via b local corp.example/one@v1.0.0 at a request")
	two, three := mv("corp.example/two", "v1.0.0"), mv("corp.example/three", "v1.0.0")
	if _, err := b.PublishAll(ctx, ann, several(plain(t, two, ""), plain(t, three, ""))); err != nil {
		t.Fatal(err)
	}
	line := "publish done ann " + tok.ID() + " at a via b local corp.example/%s@v1.0.0 at a request"
	want(fmt.Sprintf(line, "two"), fmt.Sprintf(line, "three")) // one for each version
	if _, err := b.CreateRepo(t.Context(), ann, node.NewRepo{Name: name("mine"), Kind: events.Local}); err == nil {
		t.Error("ann makes repositories")
	}
	if _, err := b.Purge(t.Context(), access.Operator(site("b")), v, "leak"); err != nil {
		t.Error(err)
	}
	told := home.take()
	for _, line := range []string{"purge done site:b at a via b corp.example/one@v1.0.0 leak at a"} {
		if !strings.Contains(told, line) {
			t.Errorf("told:\n%s\nwhich lacks %s", told, line)
		}
	}

	// A token that was used, and one that nobody made.
	inv, err := a.Invite(t.Context(), op, site("c"), time.Hour, node.RightsNone)
	if err != nil {
		t.Fatal(err)
	}
	for i, dir := range []string{"c", "d"} {
		if err := node.Join(t.Context(), inv.Token, filepath.Join(w.dir, dir), node.Options{}); (err == nil) != (i == 0) {
			t.Errorf("join %d: %v", i, err)
		}
	}
	want("join done at a via c at a request", "join forbidden at a via c request")
}
