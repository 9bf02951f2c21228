package node_test

import (
	"fmt"
	"slices"
	"testing"

	"registry-node/node"
)

// Much trouble of one kind hides no other.
func TestTroublesOfOneKindHideNoOther(t *testing.T) {
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
