package node_test

import (
	"strings"
	"testing"

	"registry-node/node"
)

// A zip that was removed from the cache is not there, which who asks for what is
// held is told; it is neither lost nor damaged.
func TestRemovedZipIsNotLost(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	mv := up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	n, _ := newNode(t, up)
	if _, err := readZip(t, repo(t, n, "all"), mv); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Evict(t.Context(), op, name("public"), versionPattern(t, "pub.example/**")); err != nil {
		t.Fatal(err)
	}
	asked := up.count("")
	held := repo(t, n, "all")
	held.HeldOnly = true
	if _, err := readZip(t, held, mv); kindOf(err) != node.ErrNotFound {
		t.Errorf("held only: %v, want ErrNotFound", err)
	}
	if err := n.SetOffline(op, true); err != nil {
		t.Fatal(err)
	}
	if _, err := readZip(t, repo(t, n, "all"), mv); kindOf(err) != node.ErrUnavailable || !strings.Contains(err.Error(), "offline") {
		t.Errorf("offline: %v, want what says so", err)
	}
	if up.count("") != asked {
		t.Error("the upstream was asked")
	}
}
