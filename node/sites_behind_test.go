package node_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

// What is decided at the registry's home and read back at the site that asked counts
// there at once, also where another site decides that has not heard of it: that site
// finds out before it refuses.
func TestHomeThatIsBehindRefusesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	b := w.join("b", "a", true)
	c := w.join("c", "a", false)
	w.connected()
	w.equal()
	v := mv("team.example/x", "v1.0.0")
	publish := func(ctx context.Context) (node.Published, error) {
		return b.Publish(ctx, op, node.Publication{Repo: name("team"), Version: v, Zip: zipReader(t, v, goMod(v.Path))})
	}
	release := c.StopFollowing()
	if _, err := b.CreateRepo(t.Context(), op, node.NewRepo{Name: name("team"), Kind: events.Local, Home: site("c"),
		Settings: events.RepoSettings{Owns: []events.Pattern{pattern("team.example/**")}}}); err != nil {
		release()
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	_, err := publish(soon)
	cancel()
	release()
	isKind(t, err, node.ErrUnavailable, "site c") // it is still waiting to hear of the repository
	got, err := publish(t.Context())
	if err != nil || got.Position.Site != site("c") {
		t.Fatalf("published: %v, %v", got.Position, err)
	}

	// What c has not heard of is one thing, what it refuses is another.
	_, err = b.Publish(t.Context(), op, node.Publication{Repo: name("team"), Version: mv("other.example/x", "v1.0.0"), Zip: zipReader(t, mv("other.example/x", "v1.0.0"), goMod("other.example/x"))})
	isKind(t, err, node.ErrForbidden, "does not own")
}

// A home that is lost before it has written a first entry is given up like any other.
func TestForcedMoveFromAHomeThatWroteNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	w.connected()
	x := mv("corp.example/x", "v1.0.0")
	if _, err := w.publish("a", x, goMod(x.Path)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.sites["a"].MoveHome(t.Context(), op, "local", site("b"), false, ""); err != nil {
		t.Fatal(err)
	}
	w.equal()
	w.close("b")
	w.until("a", "without b", func(r node.Replication) bool { return !r.Sites[1].Connected })
	m, err := w.sites["a"].MoveHome(t.Context(), op, "local", site("a"), true, "b burnt down")
	if err != nil || m.Until == nil || !m.Until.IsZero() {
		t.Fatalf("forced: %+v, %v", m, err)
	}
	if got, err := w.publish("a", mv(x.Path, "v1.1.0"), goMod(x.Path)); err != nil || got.Position.Site != site("a") {
		t.Errorf("publish at the new home: %v, %v", got.Position, err)
	}
	if _, err := w.zip("a", "local", x); err != nil {
		t.Errorf("what was published before: %v", err)
	}
}

// A home that moves while a publication is on its way into the log has the next one
// decide about it.
func TestHomeMovesUnderAPublication(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	a := w.sites["a"]
	w.join("b", "a", false)
	w.connected()
	w.equal()
	for i, publish := range []func(module.Version) (node.Published, error){
		func(v module.Version) (node.Published, error) { return w.publish("a", v, goMod(v.Path)) },
		func(v module.Version) (node.Published, error) {
			all, err := a.PublishAll(t.Context(), op, func(yield func(node.Publication, error) bool) {
				yield(node.Publication{Repo: name("local"), Version: v, Zip: zipReader(t, v, goMod(v.Path))}, nil)
			})
			if err != nil {
				return node.Published{}, err
			}
			return all[0], nil
		},
	} {
		v := mv("corp.example/x", fmt.Sprintf("v1.%d.0", i))
		moved := make(chan struct{})
		move := a.RecordOnce(t.Context(), moved, events.HomeCeded{Repo: w.repoID("local"), Tenure: 2 * i, To: site("b"), After: markOf(must(a.Replication(op)), "a", site("b"))})
		published := make(chan error, 1)
		go func() {
			got, err := publish(v)
			if err == nil && got.Position.Site != site("b") {
				err = fmt.Errorf("decided by site %v", got.Position.Site)
			}
			published <- err
		}()
		data := zipOf(t, v, goMod(v.Path))
		waitFor(t, "the zip to be stored at a", func() bool { return a.HasBlob(events.DigestOf(data)) })
		close(moved)
		if err := errors.Join(<-move, <-published); err != nil {
			t.Errorf("%v: %v", v, err)
		}
		if _, err := w.sites["b"].MoveHome(t.Context(), op, "local", site("a"), false, ""); err != nil {
			t.Fatal(err)
		}
		w.equal()
	}
}
