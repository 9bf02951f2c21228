package node_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"registry-node/node"
)

// A node that is alone tells who watches it of what shows by a look alone.
func TestChangesOfANodeThatIsAlone(t *testing.T) {
	t.Parallel()
	n, _ := newNode(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	writable := true
	for r, err := range n.ReplicationChanges(ctx, op) {
		if err != nil {
			t.Fatal(err)
		}
		if writable = r.Sites[0].Writable; !writable {
			break
		}
		n.Reserve(1 << 62)
	}
	if writable {
		t.Error("nothing was said of the full disk")
	}
}

// Much trouble of one kind hides no other.
func TestTroublesOfOneKindHideNoOther(t *testing.T) {
	t.Parallel()
	n, _ := newNode(t, nil)
	for i := range 300 {
		n.Raise(fmt.Sprintf("drift %d", i), fmt.Sprintf("drift of version %d", i))
	}
	if !n.Raise("lie of b", "site b lies") {
		t.Error("it is no news")
	}
	r, err := n.Replication(op)
	if err != nil {
		t.Fatal(err)
	}
	self := func(s node.SiteStatus) bool { return s.Self }
	if reasons := r.Sites[slices.IndexFunc(r.Sites, self)].Reasons; !slices.Contains(reasons, "site b lies") || !slices.Contains(reasons, "drift of version 0") {
		t.Errorf("%q", reasons)
	}
}
