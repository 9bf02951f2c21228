package node_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"registry-node/events"
	"registry-node/node"
)

// What a site loses of its copies of the logs comes back, from its other copy or
// from the other sites, and no place of its log is used twice.
func TestDamagedCopiesAreMendedByPeers(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(t *testing.T, dir string){
		"index deleted":            func(t *testing.T, dir string) { removeDir(t, dir, "index") },
		"stream deleted":           func(t *testing.T, dir string) { removeDir(t, dir, "stream") },
		"both deleted":             func(t *testing.T, dir string) { removeDir(t, dir, "index"); removeDir(t, dir, "stream") },
		"stream flipped":           func(t *testing.T, dir string) { flipBlocks(t, dir) },
		"stream flipped, no index": func(t *testing.T, dir string) { flipBlocks(t, dir); removeDir(t, dir, "index") },
		"stream cut":               func(t *testing.T, dir string) { cutBlocks(t, dir) },
		"stream cut, no index":     func(t *testing.T, dir string) { cutBlocks(t, dir); removeDir(t, dir, "index") },
	} {
		for _, at := range []string{"a", "b"} { // the registry's home, and one that joined
			t.Run(name+" at "+at, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, defaults(nil))
				w.join("b", "a", false)
				w.join("c", "a", false)
				for _, v := range []string{"v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0"} {
					if _, err := w.publishPatiently("a", mv("corp.example/x", v), goMod("corp.example/x")); err != nil {
						t.Fatal(err)
					}
					if _, err := w.sites["b"].Block(t.Context(), op, events.VersionPatternOf(mv("example.org/x", v)), "bad"); err != nil {
						t.Fatal(err)
					}
				}
				w.equal()
				end := lastSeq(t, w.sites[at])
				w.close(at)
				harm(t, w.path(at))
				w.open(at)
				w.until(at, "taking writes", func(r node.Replication) bool { return self(r).Writable })
				b, err := w.sites[at].Block(t.Context(), op, events.VersionPatternOf(mv("example.org/y", "v1.0.0")), "bad")
				if err != nil || b.At.Seq != end+1 || b.At.Epoch != 1 {
					t.Errorf("the next entry is %v, after %d: %v", b.At, end, err)
				}
				w.equal()
				if n := len(must(w.sites[at].Blocks(op))); n != 5 {
					t.Errorf("%d blocks are known, not 5", n)
				}
				v, err := w.sites[at].Verify(t.Context(), op, func(string, uint64) {})
				if err != nil || !v.OK() {
					t.Errorf("verify: %v, %v", v, err)
				}
			})
		}
	}
}

// lastSeq returns the number of the last entry in a site's own log.
func lastSeq(t *testing.T, n *node.Node) uint64 {
	t.Helper()
	r, err := n.Replication(op)
	if err != nil {
		t.Fatal(err)
	}
	return self(r).Logs[n.Site()].Seq
}

func removeDir(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// flipBlocks flips a bit in the middle of each file with entries of the stream,
// and cutBlocks takes its last third. What the stream knows of them besides goes,
// as in a crash.
func flipBlocks(t *testing.T, dir string) {
	eachBlock(t, dir, func(data []byte) []byte {
		data[len(data)/2] ^= 1
		return data
	})
}

func cutBlocks(t *testing.T, dir string) {
	eachBlock(t, dir, func(data []byte) []byte { return data[:len(data)*2/3] })
}

func eachBlock(t *testing.T, dir string, harm func([]byte) []byte) {
	t.Helper()
	blocks := 0
	err := filepath.WalkDir(filepath.Join(dir, "stream"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if d.Name() == "index.db" {
			return os.Remove(path)
		}
		if !strings.HasSuffix(path, ".blk") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil || len(data) == 0 {
			return err
		}
		blocks++
		return os.WriteFile(path, harm(data), 0o600)
	})
	if err != nil || blocks == 0 {
		t.Fatalf("%d files of the stream: %v", blocks, err)
	}
}
