package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
)

// damageVersions are published before a copy of the log is damaged.
const damageVersions = 30

// TestDamageIsMended damages one copy of the log of a node that does not run.
// The node starts, says what it mended, and is as it was.
func TestDamageIsMended(t *testing.T) {
	for _, tt := range []struct {
		name  string
		hurt  func(t *testing.T, dir string)
		crash bool   // the node did not end well before
		says  string // in the log; nothing if nothing needs mending
	}{
		{"index deleted", removeAll("index"), false, "index is rebuilt from the log"},
		{"index deleted after a crash", removeAll("index"), true, "index is rebuilt from the log"},
		{"stream deleted", removeAll("stream"), false, "log is mended from the index"},
		{"stream deleted after a crash", removeAll("stream"), true, "log is mended from the index"},
		{"bit flipped in an entry", flipEntry, false, "log is mended"},
		{"bit flipped in an entry after a crash", flipEntry, true, "log is mended"},
		{"stream truncated", truncateStream, false, "log is mended"},
		{"stream truncated after a crash", truncateStream, true, "log is mended"},
		{"stream's own records of itself deleted", removeRecords, true, ""},
	} {
		if testing.Short() && !tt.crash {
			continue // the same as after one, with less to mend
		}
		t.Run(tt.name, func(t *testing.T) {
			s, before := damagedServer(t, tt.crash, tt.hurt)
			s.start()
			if after := s.status(); after != before {
				t.Fatalf("status %+v, before it was %+v", after, before)
			}
			eventually(t, 20*time.Second, "the log says "+tt.says, func() error {
				if !strings.Contains(s.said.String(), tt.says) {
					return fmt.Errorf("it says:\n%s", s.said)
				}
				return nil
			})
			eventually(t, 20*time.Second, "both copies are whole", func() error {
				if r := s.command("verify"); r.code != 0 || !strings.Contains(r.stdout, "chain intact, state hash "+before.StateHash) {
					return fmt.Errorf("verify: exit code %d, %s%s", r.code, r.stdout, r.stderr)
				}
				return nil
			})
			for i := range damageVersions {
				mv := damageVersion(i)
				if p := s.publish(mv, library(mv.Path, mv.Version)); !p.Existed {
					t.Errorf("%v was lost", mv)
				}
			}
			next := damageVersion(damageVersions)
			if p := s.publish(next, library(next.Path, next.Version)); p.Existed || entryOf(t, p.Position) != before.Seq+1 {
				t.Errorf("the next version is at %s, existed: %v", p.Position, p.Existed)
			}
		})
	}
}

// TestBothCopiesGone: a node that has lost both copies of its log says so and
// names them; it does not begin anew.
func TestBothCopiesGone(t *testing.T) {
	s, _ := damagedServer(t, false, func(t *testing.T, dir string) {
		removeAll("index")(t, dir)
		removeAll("stream")(t, dir)
	})
	err := s.tryStart()
	said := s.said.String()
	if err == nil || s.cmd != nil {
		t.Fatal("the node starts")
	}
	if !strings.Contains(err.Error(), "exit status 1") || !strings.Contains(said, "both copies of the log are gone") ||
		!strings.Contains(said, filepath.Join(s.dir, "stream")) || !strings.Contains(said, filepath.Join(s.dir, "index")) {
		t.Errorf("%v; want exit status 1 and a text that names the two directories", err)
	}
}

// TestBlobComesBeforeItsRecord has the blob store fail: what it could not take,
// the log does not speak of.
func TestBlobComesBeforeItsRecord(t *testing.T) {
	s := serve(t, "GOPROXY=off")
	s.owns()
	before := s.status()
	mv := damageVersion(0)
	// Where the store's directories should be there are files.
	var inTheWay []string
	for i := range 256 {
		file := filepath.Join(s.dir, "blobs", "sha256", fmt.Sprintf("%02x", i))
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		inTheWay = append(inTheWay, file)
	}
	a, err := s.put(mv, zipOf(mv, library(mv.Path, mv.Version)))
	if err != nil || a.status/100 != 5 {
		t.Errorf("publish without a blob store: %d %s, %v", a.status, a.body, err)
	}
	if after := s.status(); after != before {
		t.Errorf("the log went from %+v to %+v", before, after)
	}
	for _, file := range inTheWay {
		if err := errors.Join(os.Remove(file), os.Mkdir(file, 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	if p := s.publish(mv, library(mv.Path, mv.Version)); p.Existed {
		t.Errorf("it was there: %+v", p)
	}
}

// TestDamagedBlobIsNeverServed damages blobs of a node that runs, after it has
// served them. What an upstream has is fetched from there again; what nobody has
// is missing until it is published again, and is never denied.
func TestDamagedBlobIsNeverServed(t *testing.T) {
	up := newUpstream(t)
	remote := up.add("pub.example/m", "v1.0.0", library("pub.example/m", "v1.0.0"))
	s := serve(t, up.settings()...)
	s.owns()
	local := damageVersion(0)
	s.publish(local, library(local.Path, local.Version))
	path := func(mv module.Version) string { return "/go/all/" + mv.Path + "/@v/" + mv.Version + ".zip" }
	whole := func(mv module.Version) error {
		if a := s.get(path(mv)); a.status != 200 || !bytes.Equal(a.body, zipOf(mv, library(mv.Path, mv.Version))) {
			return fmt.Errorf("%v: %d %.200q", mv, a.status, a.body)
		}
		return nil
	}
	for what, hurt := range map[string]func(file string) error{
		"bit flipped": func(file string) error { return rewrite(file, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }) },
		"cut short":   func(file string) error { return rewrite(file, func(b []byte) []byte { return b[:len(b)/2] }) },
		"deleted":     os.Remove,
	} {
		if err := errors.Join(whole(local), whole(remote)); err != nil {
			t.Fatal(err)
		}
		for _, file := range filesBelow(t, filepath.Join(s.dir, "blobs", "sha256"), "") {
			if err := hurt(file); err != nil {
				t.Fatal(err)
			}
		}
		if a := s.get(path(local)); a.status != 503 {
			t.Errorf("%s: a published zip: %d %.200q, want 503", what, a.status, a.body)
		}
		if err := whole(remote); err != nil {
			t.Errorf("%s: a fetched zip: %v", what, err)
		}
		if r := s.command("verify"); r.code != 1 || !strings.Contains(r.stdout, "1 problems") {
			t.Errorf("%s: verify: exit code %d, %s", what, r.code, r.stdout)
		}
		if p := s.publish(local, library(local.Path, local.Version)); !p.Existed {
			t.Errorf("%s: publishing the same again is news: %+v", what, p)
		}
	}
	if err := errors.Join(whole(local), whole(remote)); err != nil {
		t.Error(err)
	}
}

// rewrite changes a file in place.
func rewrite(file string, change func([]byte) []byte) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, change(b), 0o600)
}

func damageVersion(i int) module.Version {
	return module.Version{Path: "corp.example/lib", Version: fmt.Sprintf("v1.%d.0", i)}
}

// damagedServer returns a server that has run and is damaged now, and what its
// status was.
func damagedServer(t *testing.T, crash bool, hurt func(*testing.T, string)) (*server, logStatus) {
	t.Helper()
	s := serve(t, "GOPROXY=off")
	s.owns()
	for i := range damageVersions {
		mv := damageVersion(i)
		s.publish(mv, library(mv.Path, mv.Version))
	}
	before := s.status()
	if crash {
		s.kill()
	} else {
		s.stop()
	}
	hurt(t, s.dir)
	return s, before
}

func removeAll(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// filesBelow returns the files below a directory whose names end so.
func filesBelow(t *testing.T, dir, suffix string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(file, suffix) {
			files = append(files, file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// newestBlock returns the file that holds the stream's last entries.
func newestBlock(t *testing.T, dir string) (file string, data []byte) {
	t.Helper()
	blocks := filesBelow(t, filepath.Join(dir, "stream"), ".blk")
	if len(blocks) == 0 {
		t.Fatal("the stream has no block files")
	}
	file = blocks[len(blocks)-1]
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return file, data
}

// flipEntry flips one bit in an entry in the middle of the stream.
func flipEntry(t *testing.T, dir string) {
	t.Helper()
	file, data := newestBlock(t, dir)
	at := bytes.Index(data, []byte(`"version":"`+damageVersion(damageVersions/2).Version+`"`))
	if at < 0 {
		t.Fatal("the entry is not in the newest block")
	}
	if err := rewrite(file, func(b []byte) []byte { b[at+12] ^= 1; return b }); err != nil {
		t.Fatal(err)
	}
}

// truncateStream takes away the last two fifths of the stream.
func truncateStream(t *testing.T, dir string) {
	t.Helper()
	file, data := newestBlock(t, dir)
	if err := os.Truncate(file, int64(len(data))*6/10); err != nil {
		t.Fatal(err)
	}
}

// removeRecords removes what the stream notes about itself.
func removeRecords(t *testing.T, dir string) {
	t.Helper()
	for _, file := range filesBelow(t, filepath.Join(dir, "stream"), "index.db") {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}
