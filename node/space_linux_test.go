package node_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/node"
)

// tmpfs mounts a small file system for the time of the test.
func tmpfs(t *testing.T, mib int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount: %v", err)
		}
		t.Skipf("mounting a tmpfs needs root: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill leaves so many bytes free in dir, by a file that is returned. The node
// frees some space in the background, so it looks until nothing more appears.
func fill(t *testing.T, dir string, leave int64) string {
	t.Helper()
	file := filepath.Join(dir, "ballast-of-the-test")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := int64(0)
	for quiet := 0; quiet < 3; quiet++ {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		if more := int64(st.Bavail)*st.Bsize - leave; more > 0 {
			if err := syscall.Fallocate(int(f.Fd()), 0, size, more); err != nil {
				t.Fatal(err)
			}
			size += more
			quiet = -1
		}
		time.Sleep(150 * time.Millisecond) // longer than a look at the free space stays good
	}
	return file
}

func TestFullDiskIsAnsweredAndSurvived(t *testing.T) {
	tests := []struct {
		name    string
		leave   int64 // bytes
		reserve bool  // the node keeps its reserve free
	}{
		{"below the reserve", 8 << 20, true},
		{"below the log's own reserve", 8 << 20, false},
		{"to the last byte", 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := tmpfs(t, 160)
			opts, _ := options(t)
			up := newProxy(t)
			cached := up.add("pub.example/a", "v1.0.0", goMod("pub.example/a"))
			if _, err := node.Init(t.Context(), filepath.Join(dir, "data"), site("a"), node.Fresh{Repos: defaults(up)}, opts); err != nil {
				t.Fatal(err)
			}
			n := openNode(t, filepath.Join(dir, "data"))
			if !tt.reserve {
				n.Reserve(0)
			}
			first := mustPublish(t, n, "corp.example/a", "v1.0.0")
			ballast := fill(t, dir, tt.leave)
			for i := range 3 {
				begin := time.Now()
				_, err := publish(t, n, "corp.example/a", fmt.Sprintf("v1.%d.0", i+1), goMod("corp.example/a"))
				if !errors.Is(err, node.ErrNoSpace) || time.Since(begin) > 2*time.Second {
					t.Errorf("publish on a full disk: %v after %v, want ErrNoSpace within 2 s", err, time.Since(begin))
				}
			}
			if _, err := publishAll(t, n, plain(t, mv("corp.example/b", "v1.0.0"), ""), plain(t, mv("corp.example/c", "v1.0.0"), "")); !errors.Is(err, node.ErrNoSpace) {
				t.Errorf("publish two on a full disk: %v, want ErrNoSpace", err)
			}
			if err := n.Ready(); tt.reserve && !errors.Is(err, node.ErrNoSpace) {
				t.Errorf("Ready: %v", err)
			}
			if _, err := readZip(t, repo(t, n, "all"), module.Version{Path: first.Module, Version: first.Version}); err != nil {
				t.Errorf("read on a full disk: %v", err)
			}
			if tt.leave == 0 {
				readWithFullIndex(t, n, first, cached)
			}
			if err := n.Close(); err != nil {
				t.Errorf("close on a full disk: %v", err)
			}
			n = openNode(t, filepath.Join(dir, "data"))
			if _, err := readZip(t, repo(t, n, "all"), module.Version{Path: first.Module, Version: first.Version}); err != nil {
				t.Errorf("read after a start on a full disk: %v", err)
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			freed := time.Now()
			waitFor(t, "writes to resume", func() bool {
				_, err := publish(t, n, "corp.example/a", "v1.100.0", goMod("corp.example/a"))
				return err == nil
			})
			if d := time.Since(freed); d > 10*time.Second {
				t.Errorf("writes resumed after %v", d)
			}
			if ps, err := publishAll(t, n, plain(t, mv("corp.example/b", "v1.0.0"), ""), plain(t, mv("corp.example/c", "v1.0.0"), "")); err != nil || ps[0].Existed || ps[1].Existed {
				t.Errorf("publish two once there is space: %+v, %v", ps, err)
			}
			for i := range 4 {
				if _, err := publish(t, n, "corp.example/a", fmt.Sprintf("v1.%d.0", i), goMod("corp.example/a").with("a.go", "package a // v1.0.0\n")); err != nil && !errors.Is(err, node.ErrExists) {
					t.Error(err)
				}
			}
			if v, err := n.Verify(t.Context(), op, func(string, uint64) {}); err != nil || !v.OK() {
				t.Errorf("verify: %v, %v", v, err)
			}
		})
	}
}

// readWithFullIndex reads what makes a node write down what it has found out.
func readWithFullIndex(t *testing.T, n *node.Node, p node.Published, upstream module.Version) {
	t.Helper()
	if err := n.FillIndex(); err != nil {
		t.Fatal(err)
	}
	all := repo(t, n, "all")
	z, err := all.Zip(t.Context(), module.Version{Path: p.Module, Version: p.Version})
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if s, ok, err := all.ZipSums(t.Context(), z); err != nil || !ok || s.SHA256 != p.Digest {
		t.Errorf("checksums with a full index: %+v, %v, %v", s, ok, err)
	}
	if l, err := all.List(t.Context(), upstream.Path); err != nil || len(l.Versions) != 1 {
		t.Errorf("a list from upstream with a full index: %+v, %v", l, err)
	}
}
