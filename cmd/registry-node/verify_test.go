package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"registry-node/node"
)

// published returns a node that holds one version.
func published(t *testing.T) *running {
	t.Helper()
	s := fresh(t)
	ok(t, "repo", "set", "local", "--owns", "corp.example/**")
	ok(t, "publish", packModule(t, "corp.example/a", "v1.0.0").file, "--version", "v1.0.0")
	return s
}

var verified = regexp.MustCompile(`^8 entries, chain intact, state hash ([0-9a-f]{64}), 1 blobs\n$`)

// TestVerifyAndRebuild asks the running node in both ways, and the directory
// when it is stopped.
func TestVerifyAndRebuild(t *testing.T) {
	s := published(t)
	var hash string
	check := func(way string, args ...string) {
		t.Helper()
		out := ok(t, append([]string{"verify"}, args...)...)
		m := verified.FindStringSubmatch(out)
		if m == nil || hash != "" && m[1] != hash {
			t.Fatalf("%s: verify prints %q; state hash before: %q", way, out, hash)
		}
		hash = m[1]
		if out, want := ok(t, append([]string{"rebuild"}, args...)...), "rebuilt up to main/1/8, state hash "+hash+"\n"; out != want {
			t.Errorf("%s: rebuild prints %q, want %q", way, out, want)
		}
		var r rebuilt
		if err := json.Unmarshal([]byte(ok(t, append([]string{"rebuild", "--json"}, args...)...)), &r); err != nil || r.StateHash.String() != hash {
			t.Errorf("%s: rebuild --json: %+v, %v", way, r, err)
		}
	}
	check("over TCP")
	check("through the admin socket", "--data", s.data)
	s.end(t)
	check("alone", "--data", s.data)
	serving(t, s.data).end(t)
	check("alone again", "--data", s.data)
}

func TestVerifyPrintsWhatIsWrong(t *testing.T) {
	s := published(t)
	blob := theBlob(t, s.data)
	whole, err := os.ReadFile(blob)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(blob, 0o600); err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte{}, whole...)
	flipped[len(flipped)/2] ^= 1
	if err := os.WriteFile(blob, flipped, 0o600); err != nil {
		t.Fatal(err)
	}
	name := "sha256:" + filepath.Base(blob)
	for _, args := range [][]string{{"verify"}, {"verify", "--data", s.data}} {
		r := try(t, args...)
		if r.code != exitNo || !strings.Contains(r.stdout, "blob "+name+" is damaged\n") || !strings.Contains(r.stdout, ", 1 problems\n") {
			t.Errorf("%q: %+v", args, r)
		}
		if r.stderr != "" {
			t.Errorf("%q: standard error has %q", args, r.stderr)
		}
	}
	s.end(t)
	if err := os.Remove(blob); err != nil {
		t.Fatal(err)
	}
	r := try(t, "verify", "--data", s.data, "--json")
	var v node.Verification
	if err := json.Unmarshal([]byte(r.stdout), &v); err != nil || r.code != exitNo || len(v.Problems) != 1 || !strings.Contains(v.Problems[0], "missing") {
		t.Errorf("verify --json: %+v, %v", r, err)
	}
}

// theBlob returns the file of the one blob in a data directory.
func theBlob(t *testing.T, data string) (file string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(data, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && len(d.Name()) == 64 {
			file = path
		}
		return err
	})
	if err != nil || file == "" {
		t.Fatalf("no blob: %v", err)
	}
	return file
}

func TestVerifyNeedsADirectoryOfARegistry(t *testing.T) {
	refused(t, exitNo, []string{"verify", "--data", t.TempDir()}, "holds no registry")
	refused(t, exitNo, []string{"rebuild", "--data", filepath.Join(t.TempDir(), "none")}, "holds no registry")
}

// TestVerifyOfADirectoryInUseByWhoDoesNotAnswer has a node whose admin socket is
// gone.
func TestVerifyOfADirectoryInUseByWhoDoesNotAnswer(t *testing.T) {
	s := fresh(t)
	if err := os.Remove(filepath.Join(s.data, adminSocket)); err != nil {
		t.Fatal(err)
	}
	refused(t, exitNo, []string{"verify", "--data", s.data}, "does not answer on its admin socket")
}
