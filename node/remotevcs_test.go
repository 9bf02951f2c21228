package node_test

import (
	"os"
	"path/filepath"
	"testing"

	"registry-node/node"
)

// TestStrayClonesGo: clones of repositories that are no more do not stay.
func TestStrayClonesGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opts, _ := options(t)
	if made, err := node.Init(t.Context(), dir, site("a"), node.Fresh{Repos: defaults(nil)}, opts); err != nil || !made {
		t.Fatalf("Init: %v, %v", made, err)
	}
	stray := filepath.Join(dir, "vcs", "deleted.123")
	if err := os.MkdirAll(filepath.Join(stray, "book"), 0o700); err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(t.Context(), dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	n.Close() // waits for what is under way
	if _, err := os.Stat(stray); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", stray, err)
	}
}
