package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"registry-node/events"
	"registry-node/node"
)

func patterns(list ...string) (ps []events.Pattern) {
	for _, s := range list {
		ps = append(ps, pattern(s))
	}
	return ps
}

// damageBlobs flips a bit in every blob below a data directory.
func damageBlobs(t testing.TB, dir string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "blobs", "sha256"), func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return flip(file, -1)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// flip flips a bit of a file, at an offset or, if that is negative, in the
// middle.
func flip(file string, at int64) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if at < 0 {
		at = int64(len(b)) / 2
	}
	b[at] ^= 0x10
	return os.WriteFile(file, b, 0o600)
}

// blockFiles returns the message files of the stream, and what stands beside
// them that a crash would not have left.
func blockFiles(t testing.TB, dir string) (blocks, state []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "stream"), func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
		case strings.HasSuffix(file, ".blk"):
			blocks = append(blocks, file)
		case strings.HasSuffix(file, "index.db"):
			state = append(state, file)
		}
		return err
	})
	if err != nil || len(blocks) == 0 {
		t.Fatalf("no block files: %v", err)
	}
	return blocks, state
}

func TestCopiesMendEachOther(t *testing.T) {
	t.Parallel()
	const versions = 30
	damage := []struct {
		name   string
		hurt   func(t *testing.T, dir string)
		says   string // in the log
		losing bool   // without mending, entries are lost
	}{
		{"index deleted", func(t *testing.T, dir string) { remove(t, dir, "index") }, "index is rebuilt from the log", false},
		{"index emptied", func(t *testing.T, dir string) { remove(t, dir, "index"); os.Mkdir(filepath.Join(dir, "index"), 0o700) }, "index is rebuilt", false},
		{"index unreadable", func(t *testing.T, dir string) { remove(t, dir, "index/1/CURRENT"); hurtManifest(t, dir) }, "index is rebuilt", false},
		{"stream deleted", func(t *testing.T, dir string) { remove(t, dir, "stream") }, "log is mended from the index", true},
		{"bit flipped in an entry", func(t *testing.T, dir string) { flipEntry(t, dir, true) }, "log is mended", true},
		{"bit flipped in an entry, after a crash", func(t *testing.T, dir string) { flipEntry(t, dir, false) }, "log is mended", true},
		{"stream truncated", truncateStream, "log is mended", true},
	}
	for _, tt := range damage {
		t.Run(tt.name, func(t *testing.T) {
			n, dir := newNode(t, nil)
			for i := range versions {
				mustPublish(t, n, "corp.example/a", fmt.Sprintf("v1.%d.0", i))
			}
			before := stateHash(t, n)
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			tt.hurt(t, dir)
			if tt.losing {
				showLoss(t, dir, versions)
			}
			opts, said := options(t)
			n, err := node.Open(t.Context(), dir, opts)
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			waitFor(t, "the log to say what was mended", func() bool { return strings.Contains(said.String(), tt.says) })
			if after := stateHash(t, n); after != before {
				t.Errorf("state hash %s, then %s", before, after)
			}
			waitFor(t, "the copies to be equal", func() bool {
				v, err := n.Verify(t.Context(), op, func(string, uint64) {})
				return err == nil && v.OK()
			})
			for i := range versions {
				if p := mustPublish(t, n, "corp.example/a", fmt.Sprintf("v1.%d.0", i)); !p.Existed {
					t.Errorf("v1.%d.0 is gone", i)
				}
			}
			mustPublish(t, n, "corp.example/a", "v2.0.0-rc.1"[:0]+"v1.100.0")
		})
	}
}

// showLoss opens a copy of the directory without mending: the stream then does
// not hold what was acknowledged.
func showLoss(t *testing.T, dir string, versions int) {
	t.Helper()
	broken := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(broken, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	opts, _ := options(t)
	n, err := node.Open(t.Context(), broken, opts.WithoutMending())
	if err != nil {
		t.Logf("without mending: does not open: %v", err)
		return
	}
	defer n.Close()
	v, err := n.Verify(t.Context(), op, func(string, uint64) {})
	if err != nil || v.OK() {
		t.Errorf("without mending nothing is lost: %v, %v", v, err)
	}
	t.Logf("without mending: %v", v.Problems)
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func hurtManifest(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "index", "1", "MANIFEST-*"))
	marker, err2 := filepath.Glob(filepath.Join(dir, "index", "1", "marker.manifest*"))
	for _, f := range append(files, marker...) {
		err = errors.Join(err, os.Remove(f))
	}
	if err = errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
}

// flipEntry flips a bit inside an acknowledged entry of the stream. Without its
// state files the stream is as a crash leaves it.
func flipEntry(t *testing.T, dir string, keepState bool) {
	t.Helper()
	blocks, state := blockFiles(t, dir)
	b, err := os.ReadFile(blocks[len(blocks)-1])
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte(`"version":"v1.15.0"`))
	if at < 0 {
		t.Fatal("no entry of v1.15.0 in the newest block")
	}
	if err := flip(blocks[len(blocks)-1], int64(at)+12); err != nil {
		t.Fatal(err)
	}
	for _, f := range state {
		if !keepState {
			os.Remove(f)
		}
	}
}

func truncateStream(t *testing.T, dir string) {
	t.Helper()
	blocks, state := blockFiles(t, dir)
	st, err := os.Stat(blocks[len(blocks)-1])
	if err == nil {
		err = os.Truncate(blocks[len(blocks)-1], st.Size()*6/10)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range state {
		os.Remove(f)
	}
}

func TestBothCopiesGoneIsRefused(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t, nil)
	mustPublish(t, n, "corp.example/a", "v1.0.0")
	n.Close()
	remove(t, dir, "index")
	remove(t, dir, "stream")
	opts, _ := options(t)
	_, err := node.Open(t.Context(), dir, opts)
	if err == nil || !strings.Contains(err.Error(), "both copies") || !strings.Contains(err.Error(), filepath.Join(dir, "stream")) {
		t.Errorf("got %v, want a refusal that names the files", err)
	}
}

func TestOpenNeverCreates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opts, _ := options(t)
	if _, err := node.Open(t.Context(), dir, opts); !errors.Is(err, node.ErrNoData) {
		t.Errorf("empty directory: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("Open left %v", entries)
	}
	os.WriteFile(filepath.Join(dir, "format"), []byte("registry-node data 99\n"), 0o600)
	if _, err := node.Open(t.Context(), dir, opts); err == nil || !strings.Contains(err.Error(), "data 99") {
		t.Errorf("unknown format: %v", err)
	}
}

func TestDirectoryIsLocked(t *testing.T) {
	t.Parallel()
	_, dir := newNode(t, nil)
	opts, _ := options(t)
	if _, err := node.Open(t.Context(), dir, opts); !errors.Is(err, node.ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	}
}

func TestRebuildWhileRunning(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	mv := up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	up.add("pub.example/listed", "v1.0.0", goMod("pub.example/listed"))
	n, dir := newNode(t, up)
	mustPublish(t, n, "corp.example/a", "v1.0.0")
	r := repo(t, n, "all")
	if _, err := readZip(t, r, mv); err != nil {
		t.Fatal(err)
	}
	if _, err := r.List(t.Context(), "pub.example/listed"); err != nil {
		t.Fatal(err)
	}
	before := stateHash(t, n)
	if _, err := n.Rebuild(t.Context(), op, func(uint64) {}); err != nil {
		t.Fatal(err)
	}
	if after := stateHash(t, n); after != before {
		t.Errorf("state hash %s, then %s", before, after)
	}
	up.Close()
	cached := repo(t, n, "all")
	cached.HeldOnly = true // asks the index, not the memory of what was asked lately
	if l, err := cached.List(t.Context(), "pub.example/listed"); err != nil || len(l.Versions) != 1 {
		t.Errorf("what the upstream listed is forgotten: %+v, %v", l, err)
	}
	mustPublish(t, n, "corp.example/a", "v1.1.0")
	l, err := repo(t, n, "all").List(t.Context(), "corp.example/a")
	if err != nil || len(l.Versions) != 2 {
		t.Errorf("list: %+v, %v", l, err)
	}
	before = stateHash(t, n)
	n.Close()
	n = openNode(t, dir)
	if after := stateHash(t, n); after != before {
		t.Errorf("after a restart: state hash %s, then %s", before, after)
	}
}
