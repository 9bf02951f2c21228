package blob_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"registry-node/node/blob"
)

func TestOpenNeverCreates(t *testing.T) {
	empty, missing := t.TempDir(), filepath.Join(t.TempDir(), "missing")
	for _, dir := range []string{empty, missing} {
		if s, err := blob.Open(dir); err == nil {
			s.Close()
			t.Errorf("Open(%s) of no store succeeded", dir)
		}
	}
	if names, err := os.ReadDir(empty); err != nil || len(names) > 0 {
		t.Errorf("Open left %v, %v", names, err)
	}
}

func TestCreateIsIdempotent(t *testing.T) {
	s, dir := newStore(t)
	b, _ := content(1, 100)
	d := put(t, s, b)
	if err := blob.Create(dir); err != nil {
		t.Fatal(err)
	}
	checkTree(t, dir, map[string][]byte{blobPath(d): b})
}

func TestCreateTakesEmptyVolume(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := blob.Create(dir); err != nil {
		t.Fatal(err)
	}
	openStore(t, dir, nil)
}

func TestCreateRefuses(t *testing.T) {
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(foreign, "notes.txt")
	orphan := filepath.Join(t.TempDir(), "no", "parent")
	for dir, want := range map[string]string{foreign: "notes.txt", file: "notes.txt", orphan: "no"} {
		if err := blob.Create(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Create(%s) = %v, want an error naming %s", dir, err, want)
		}
	}
	checkTree(t, foreign, map[string][]byte{"notes.txt": {}})
}

func TestOpenEmptiesTmp(t *testing.T) {
	dir := newDir(t)
	if err := os.WriteFile(filepath.Join(dir, "tmp", "LEFT"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	openStore(t, dir, nil)
	checkTree(t, dir, nil)
}

func TestModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no permission bits")
	}
	s, dir := newStore(t)
	b, _ := content(1, 10)
	d := put(t, s, b)
	for name, want := range map[string]os.FileMode{
		"sha256": 0o700, "tmp": 0o700, "aside": 0o700, "sha256/" + d.Hex()[:2]: 0o700, blobPath(d): 0o600,
	} {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := fi.Mode().Perm(); got != want {
			t.Errorf("mode of %s is %v, want %v", name, got, want)
		}
	}
}
