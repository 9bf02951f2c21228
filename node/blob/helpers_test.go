package blob_test

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"registry-node/events"
	"registry-node/node/blob"
)

// newDir returns the directory of a new, closed store.
func newDir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "blobs")
	if err := blob.Create(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func openStore(t testing.TB, dir string, h blob.Hook) *blob.Store {
	t.Helper()
	s, err := blob.OpenHooked(dir, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newStore(t testing.TB) (*blob.Store, string) {
	t.Helper()
	dir := newDir(t)
	return openStore(t, dir, nil), dir
}

// content returns n bytes that differ from seed to seed, and their digest.
func content(seed uint64, n int) ([]byte, events.Digest) {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b, events.DigestOf(b)
}

// sameShard returns n bytes other than those of d, whose digest has the same
// first byte as d.
func sameShard(d events.Digest, n int) ([]byte, events.Digest) {
	for seed := uint64(1 << 32); ; seed++ {
		if b, e := content(seed, n); e[0] == d[0] && e != d {
			return b, e
		}
	}
}

func put(t testing.TB, s *blob.Store, b []byte) events.Digest {
	t.Helper()
	d := events.DigestOf(b)
	if err := s.Put(t.Context(), d, int64(len(b)), bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	return d
}

func blobPath(d events.Digest) string { return "sha256/" + d.Hex()[:2] + "/" + d.Hex() }

// tree returns the files below dir, by their slash-separated path.
func tree(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(rel)], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// checkTree fails the test unless dir holds exactly the files want.
func checkTree(t testing.TB, dir string, want map[string][]byte) {
	t.Helper()
	got := tree(t, dir)
	if !maps.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("store holds %s\nwant %s", describe(got), describe(want))
	}
}

func describe(files map[string][]byte) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		b.WriteString("\n\t" + name + " with " + events.DigestOf(files[name]).String())
	}
	if b.Len() == 0 {
		return "nothing"
	}
	return b.String()
}

// corrupt flips one bit of the blob d.
func corrupt(t testing.TB, dir string, d events.Digest) []byte {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(blobPath(d)))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 4
	overwrite(t, dir, d, b)
	return b
}

// overwrite makes b the bytes of the blob d, in place.
func overwrite(t testing.TB, dir string, d events.Digest, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(blobPath(d))), b, 0o600); err != nil {
		t.Fatal(err)
	}
}
