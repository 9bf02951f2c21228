package node_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"registry-node/node"
)

// With a log that takes nothing more, a zip that a checksum database vouches for
// still gets to its clients and is fetched anew the next time; of another one the
// end never comes, as nobody would know tomorrow what it was.
func TestColdZipThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		path     string
		complete bool
	}{{"pub.example/m", true}, {"nosum.example/m", false}} {
		t.Run(tt.path, func(t *testing.T) {
			up := newProxy(t)
			dir := filepath.Join(tmpfs(t, 160), "data")
			opts, logged := options(t)
			if _, err := node.Init(t.Context(), dir, site("a"), node.Fresh{Repos: defaults(up)}, opts); err != nil {
				t.Fatal(err)
			}
			n, err := node.Open(t.Context(), dir, opts)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { n.Close() })
			mv := up.add(tt.path, "v1.0.0", goMod(tt.path).with("a.go", noise(1<<20)))
			zip := zipOf(t, mv, up.trees[mv])
			rest := make(chan struct{})
			up.fault(".zip", halfway(zip, rest))
			r := repo(t, n, "all")
			z := openCold(t, r, mv)
			ballast := fill(t, filepath.Dir(dir), 8<<20) // room for the zip, none for the log
			before := stateHash(t, n)
			close(rest)
			z.Stream.Seek(0, io.SeekStart)
			got, err := readAll(z)
			if complete := err == nil && bytes.Equal(got, zip); complete != tt.complete {
				t.Errorf("%d of %d bytes, %v", len(got), len(zip), err)
			}
			if !tt.complete && !errors.Is(err, node.ErrNoSpace) {
				t.Errorf("%v, want ErrNoSpace", err)
			}
			if after := stateHash(t, n); after != before {
				t.Errorf("it was recorded: %s, then %s", before, after)
			}
			if told := bytes.Contains([]byte(logged.String()), []byte("fill is not recorded")); told != tt.complete {
				t.Errorf("the operator is told: %v", told)
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "it to be recorded", func() bool {
				got, err := readZip(t, r, mv)
				return err == nil && bytes.Equal(got, zip) && stateHash(t, n) != before
			})
			verified(t, n)
		})
	}
}
