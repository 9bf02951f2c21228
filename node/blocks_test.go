package node_test

import (
	"fmt"
	"testing"

	"registry-node/events"
	"registry-node/node"
)

func versionPattern(t testing.TB, s string) events.VersionPattern {
	t.Helper()
	p, err := events.ParseVersionPattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestBlocksWithWildcardsAreBounded holds that every request looks at no more
// than so many, and that what is needed to get out of that still works.
func TestBlocksWithWildcardsAreBounded(t *testing.T) {
	t.Parallel()
	n, _ := newNode(t, nil)
	block := func(s string) error {
		_, err := n.Block(t.Context(), op, versionPattern(t, s), "bad")
		return err
	}
	for i := range 256 {
		if err := block(fmt.Sprintf("m%d.example/**", i)); err != nil {
			t.Fatal(err)
		}
	}
	isKind(t, block("more.example/**"), node.ErrTooLarge, "256 blocks with wildcards", "block list")
	if err := block("m0.example/**"); err != nil {
		t.Errorf("one that is in force: %v", err)
	}
	if err := block("more.example/a"); err != nil {
		t.Errorf("without wildcards: %v", err)
	}
	if err := n.Unblock(t.Context(), op, versionPattern(t, "m0.example/**")); err != nil {
		t.Fatal(err)
	}
	if err := block("more.example/**"); err != nil {
		t.Errorf("with room again: %v", err)
	}
	_, err := n.Block(t.Context(), op, events.VersionPattern{}, "bad")
	isKind(t, err, node.ErrInvalid, "pattern")
}
