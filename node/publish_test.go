package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

func TestPublishedVersionIsReadAtOnce(t *testing.T) {
	t.Parallel()
	n, _ := newNode(t, nil)
	p := mustPublish(t, n, "corp.example/a", "v1.0.0")
	mustPublish(t, n, "corp.example/a", "v1.1.0-rc.1")
	for _, in := range []string{"local", "all"} {
		r := repo(t, n, in)
		l, err := r.List(t.Context(), "corp.example/a")
		if got := strings.Join(l.Versions, " "); err != nil || got != "v1.0.0 v1.1.0-rc.1" {
			t.Errorf("%s: list: %q, %v", in, got, err)
		}
		info, err := r.Latest(t.Context(), "corp.example/a")
		if err != nil || info.Version != "v1.0.0" {
			t.Errorf("%s: latest: %+v, %v", in, info, err)
		}
		mv := module.Version{Path: "corp.example/a", Version: "v1.0.0"}
		mod, err := r.Mod(t.Context(), mv)
		if err != nil || !strings.HasPrefix(string(mod), "module corp.example/a\n") {
			t.Errorf("%s: go.mod: %q, %v", in, mod, err)
		}
		z, err := r.Zip(t.Context(), mv)
		if err != nil || z.Digest != p.Digest || z.Size != p.Size {
			t.Fatalf("%s: zip: %+v, %v", in, z, err)
		}
		z.Close()
	}
	if _, err := repo(t, n, "all").Info(t.Context(), "corp.example/a", "v9.0.0"); !errors.Is(err, node.ErrNotFound) {
		t.Errorf("unknown version: %v", err)
	}
}

func TestPublishAgainIsTheFirstPosition(t *testing.T) {
	t.Parallel()
	n, _ := newNode(t, nil)
	first := mustPublish(t, n, "corp.example/a", "v1.0.0")
	again := mustPublish(t, n, "corp.example/a", "v1.0.0")
	if first.Existed || !again.Existed || first.Position != again.Position || !again.Time.Equal(first.Time) {
		t.Errorf("got %+v, then %+v", first, again)
	}
	_, err := publish(t, n, "corp.example/a", "v1.0.0", goMod("corp.example/a").with("a.go", "package other\n"))
	if !errors.Is(err, node.ErrExists) || !strings.Contains(err.Error(), first.H1.String()) || !strings.Contains(err.Error(), first.Time.Format("2006-01-02T15:04:05Z")) {
		t.Errorf("other content: got %v, want ErrExists that names %v and %v", err, first.H1, first.Time)
	}
}

func TestOneOfManyContentsWins(t *testing.T) {
	t.Parallel()
	n, _ := newNode(t, nil)
	before := stateHash(t, n)
	var wg sync.WaitGroup
	errs := make([]error, 50)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = publish(t, n, "corp.example/a", "v1.0.0", goMod("corp.example/a").with("a.go", fmt.Sprintf("package a // %d\n", i)))
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, node.ErrExists):
			t.Errorf("loser: %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d winners, want 1", won)
	}
	entries, err := n.Log(op, events.Site{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	published := 0
	for e, err := range entries {
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range e.Events {
			if ev.Type == "version.published" {
				published++
			}
		}
	}
	if published != 1 {
		t.Errorf("the log holds %d publications, want 1 (before: %s)", published, before)
	}
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	n, _ := newNode(t, up)
	ok := goMod("corp.example/a")
	tests := []struct {
		what, repo, path, version string
		files                     tree
		kind                      error
		text                      string
	}{
		{"unowned path", "local", "other.example/a", "v1.0.0", goMod("other.example/a"), node.ErrForbidden, "repo set local --owns 'other.example/**'"},
		{"remote repository", "public", "corp.example/a", "v1.0.0", ok, node.ErrForbidden, "local repositories here: local"},
		{"unknown repository", "nosuch", "corp.example/a", "v1.0.0", ok, node.ErrNotFound, "nosuch"},
		{"not semver", "local", "corp.example/a", "1.0", ok, node.ErrInvalid, "1.0"},
		{"wrong major", "local", "corp.example/a", "v2.0.0", ok, node.ErrInvalid, "v2"},
		{"not canonical", "local", "corp.example/a", "v1.0.0+meta", ok, node.ErrInvalid, "canonical"},
		{"other module line", "local", "corp.example/a", "v1.0.0", goMod("corp.example/b"), node.ErrUnprocessable, "says module corp.example/b"},
		{"no module line", "local", "corp.example/a", "v1.0.0", tree{"go.mod": "go 1.21\n"}, node.ErrUnprocessable, "no module line"},
		{"incompatible with go.mod", "local", "corp.example/a", "v2.0.0+incompatible", ok, node.ErrUnprocessable, "not +incompatible"},
		{"bad file name", "local", "corp.example/a", "v1.0.0", ok.with("aux.go", ""), node.ErrUnprocessable, "aux"},
		{"empty zip", "local", "corp.example/a", "v1.0.0", tree{}, node.ErrUnprocessable, "empty"},
		{"case twins", "local", "corp.example/a", "v1.0.0", ok.with("a.go", "").with("A.go", ""), node.ErrUnprocessable, "A.go"},
	}
	before := stateHash(t, n)
	for _, tt := range tests {
		mv := module.Version{Path: tt.path, Version: tt.version}
		_, err := n.Publish(t.Context(), op, node.Publication{Repo: name(tt.repo), Version: mv, Zip: bytes.NewReader(zipOf(t, mv, tt.files))})
		if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: got %v, want %v with %q", tt.what, err, tt.kind, tt.text)
		}
	}
	if after := stateHash(t, n); after != before {
		t.Errorf("refusals left something: state %s, then %s", before, after)
	}
	if got := up.count(""); got != 0 {
		t.Errorf("publishing asked the upstream %d times", got)
	}
}

// blobFiles counts what stands below the blob store, staging included.
func blobFiles(t testing.TB, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "blobs"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && len(d.Name()) > 32 {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestConflictLeavesNoBlob(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t, nil)
	mustPublish(t, n, "corp.example/a", "v1.0.0")
	before := blobFiles(t, dir)
	for i := range 5 {
		_, err := publish(t, n, "corp.example/a", "v1.0.0", goMod("corp.example/a").with("a.go", fmt.Sprintf("package a // %d\n", i)))
		if !errors.Is(err, node.ErrExists) {
			t.Fatal(err)
		}
	}
	if after := blobFiles(t, dir); before != 1 || after != before {
		t.Errorf("%d files of blobs, then %d", before, after)
	}
}

func TestSweepRemovesOnlyOrphans(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t, nil)
	p := mustPublish(t, n, "corp.example/a", "v1.0.0")
	n.Close()
	left := []byte("left by a crash")
	digest := events.DigestOf(left).Hex()
	orphan := filepath.Join(dir, "blobs", "sha256", digest[:2], digest)
	if err := errors.Join(os.MkdirAll(filepath.Dir(orphan), 0o700), os.WriteFile(orphan, left, 0o600)); err != nil {
		t.Fatal(err)
	}
	n = openNode(t, dir)
	if err := n.Sweep(t.Context(), time.Hour); err != nil || blobFiles(t, dir) != 2 {
		t.Errorf("a young orphan was removed: %v", err)
	}
	if err := n.Sweep(t.Context(), 0); err != nil || blobFiles(t, dir) != 1 {
		t.Errorf("an old orphan stays: %v", err)
	}
	if _, err := readZip(t, repo(t, n, "local"), module.Version{Path: p.Module, Version: p.Version}); err != nil {
		t.Errorf("a referred blob was removed: %v", err)
	}
}
