package node_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

func propertiesOf(t *testing.T, n *node.Node, mv module.Version, file string) string {
	t.Helper()
	i, err := repo(t, n, "local").Item(t.Context(), mv, file)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(i.Properties)
}

func TestPropertiesAreBounded(t *testing.T) {
	t.Parallel()
	n, _ := newNode(t, nil)
	mustPublish(t, n, "corp.example/a", "v1.0.0")
	mv := module.Version{Path: "corp.example/a", Version: "v1.0.0"}
	set := func(values map[string][]string, remove ...string) error {
		return n.SetProperties(t.Context(), op, node.PropertyChange{Repo: name("all"), Version: mv, File: "mod", Set: values, Remove: remove})
	}
	many := func(prefix string, k int, value string) map[string][]string {
		m := map[string][]string{}
		for i := range k {
			m[fmt.Sprint(prefix, i)] = []string{value}
		}
		return m
	}
	if err := errors.Join(set(many("a", 200, "x")), set(many("b", 56, "x"))); err != nil {
		t.Fatal(err)
	}
	if err := set(many("c", 1, "x")); !errors.Is(err, node.ErrTooLarge) || !strings.Contains(err.Error(), "257 properties") {
		t.Errorf("a property too many: %v", err)
	}
	if err := errors.Join(set(nil, "a0", "a1"), set(many("c", 2, "x")), set(many("a", 50, strings.Repeat("x", 1000)), "c0", "c1")); err != nil {
		t.Error(err)
	}
	if err := set(many("b", 20, strings.Repeat("x", 1000))); !errors.Is(err, node.ErrTooLarge) {
		t.Errorf("too many bytes: %v", err)
	}
	for what, c := range map[string]node.PropertyChange{
		"file": {File: "txt", Set: many("a", 1, "x")}, "value": {File: "info", Set: many("a", 1, "\x00")}, "key": {File: "info", Set: many("a b", 1, "x")}, "no values": {File: "info", Set: map[string][]string{"a": {}}},
	} {
		c.Repo, c.Version = name("local"), mv
		if err := n.SetProperties(t.Context(), op, c); !errors.Is(err, node.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestPropertiesOfFullRecord holds that a change of a record which takes no more is
// refused, rather than without effect, and that what is there can be taken away longer.
func TestPropertiesOfFullRecord(t *testing.T) {
	t.Parallel()
	mv := module.Version{Path: "corp.example/a", Version: "v1.0.0"}
	for facts, want := range map[int][2]bool{4000: {true, true}, 4050: {false, true}, 4096: {false, false}} {
		for i, sets := range []bool{true, false} {
			err := node.RoomForProperties(make(events.Contribution, facts), mv, sets)
			if (err == nil) != want[i] || err != nil && (!errors.Is(err, node.ErrTooLarge) || !strings.Contains(err.Error(), "too often")) {
				t.Errorf("%d facts, sets %v: %v", facts, sets, err)
			}
		}
	}
}

// TestPropertiesAcrossSites changes properties at a site that is not the repository's
// home, which reads them back at once, and decides whether the home may be asked.
func TestPropertiesAcrossSites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	mv := module.Version{Path: "corp.example/a", Version: "v1.0.0"}
	if _, err := w.publish("a", mv, goMod(mv.Path)); err != nil {
		t.Fatal(err)
	}
	w.equal()
	set := func(at, value string) error {
		return w.sites[at].SetProperties(t.Context(), op, node.PropertyChange{Repo: name("local"), Version: mv, File: "zip", Set: map[string][]string{"qa": {value}}})
	}
	for _, c := range [][2]string{{"b", "1"}, {"a", "2"}, {"b", "3"}, {"b", "3"}} {
		if err := set(c[0], c[1]); err != nil {
			t.Fatal(err)
		}
		if got := propertiesOf(t, w.sites[c[0]], mv, "zip"); got != "map[qa:["+c[1]+"]]" {
			t.Errorf("site %s reads back %s", c[0], got)
		}
		w.equal()
	}
	for name, n := range w.sites {
		if got := propertiesOf(t, n, mv, "zip"); got != "map[qa:[3]]" {
			t.Errorf("site %s has %s", name, got)
		}
	}
	missing := node.PropertyChange{Repo: name("local"), Version: module.Version{Path: mv.Path, Version: "v2.0.0+incompatible"}, File: "zip", Set: map[string][]string{"qa": {"1"}}}
	if err := w.sites["b"].SetProperties(t.Context(), op, missing); !errors.Is(err, node.ErrNotFound) {
		t.Errorf("of a version that is not there: %v", err)
	}
	w.close("a")
	if err := set("b", "4"); !errors.Is(err, node.ErrUnavailable) || !strings.Contains(err.Error(), "site a") {
		t.Errorf("without its home: %v", err)
	}
}
