package node_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

// noise is a file that does not compress: a zip of it is large.
func noise(size int) string {
	b := make([]byte, size)
	rand.Read(b)
	return string(b)
}

// What one site has fetched, another gets from there and not from the upstream;
// a large zip reaches the client while it comes.
func TestFilledElsewhereIsFetchedFromThere(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	x := up.add("example.org/x", "v1.0.0", goMod("example.org/x").with("a.go", noise(3<<20)))
	w := newWorld(t, defaults(up))
	w.join("b", "a", false)
	w.join("c", "a", true) // cannot be dialled, so it sends what others want of it
	want := zipOf(t, x, up.trees[x])
	if got, err := w.zip("c", "public", x); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("fill at c: %v", err)
	}
	w.equal()
	asked := up.count(".zip")
	up.fault(".zip", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", http.StatusServiceUnavailable) })
	up.fault(".mod", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", http.StatusServiceUnavailable) })
	for _, at := range []string{"a", "b"} {
		if got, err := w.zip(at, "all", x); err != nil || !bytes.Equal(got, want) {
			t.Errorf("zip at %s: %v, %d bytes", at, err, len(got))
		}
		if mod, err := repo(t, w.sites[at], "all").Mod(t.Context(), x); err != nil || string(mod) != up.trees[x]["go.mod"] {
			t.Errorf("go.mod at %s: %q, %v", at, mod, err)
		}
	}
	if n := up.count(".zip"); n != asked {
		t.Errorf("the upstream was asked %d more times for zips", n-asked)
	}
	// It has been stored: now it is read from here, with all others gone.
	w.close("a")
	w.close("c")
	if got, err := w.zip("b", "all", x); err != nil || !bytes.Equal(got, want) {
		t.Errorf("zip at b alone: %v", err)
	}
}

// A repository's rules say which sites fetch what without being asked.
func TestBlobRules(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	w := newWorld(t, defaults(up))
	w.join("b", "a", false)
	set := func(rules ...string) {
		t.Helper()
		var list []events.BlobRule
		for _, text := range rules {
			r, err := events.ParseBlobRule(text)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, r)
		}
		if _, err := w.sites["a"].ChangeRepo(t.Context(), op, name("public"), node.RepoChange{Blobs: &list}); err != nil {
			t.Fatal(err)
		}
	}
	x := up.add("example.org/x", "v1.0.0", goMod("example.org/x").with("a.go", noise(100)))
	y := up.add("example.org/y", "v1.0.0", goMod("example.org/y").with("a.go", noise(100)))
	if _, err := w.zip("a", "public", x); err != nil {
		t.Fatal(err)
	}
	w.equal()
	held := func(path string) bool {
		r := repo(t, w.sites["b"], "public")
		r.HeldOnly = true
		z, err := r.Zip(t.Context(), mv(path, "v1.0.0"))
		if err != nil {
			return false
		}
		defer z.Close()
		return z.Stream == nil // it is here, and not merely on its way
	}
	set("b:example.org/y=lazy", "b:eager")
	if _, err := w.zip("a", "public", y); err != nil {
		t.Fatal(err)
	}
	w.until("b", "holding x", func(r node.Replication) bool {
		return r.Sites[1].BlobsMissing == 0 && r.Sites[1].Logs[site("a")].Seq == r.Sites[0].Logs[site("a")].Seq && heldFile(t, w.path("b"), zipOf(t, x, up.trees[x]))
	})
	if heldFile(t, w.path("b"), zipOf(t, y, up.trees[y])) {
		t.Error("y is lazy at b, and is there")
	}
	if !held(x.Path) {
		t.Error("x is not read from here")
	}
}

// A blob that is damaged at one site is fetched from another, and is no absence
// meanwhile.
func TestDamagedBlobIsHealedFromAPeer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	v := mv("corp.example/x", "v1.0.0")
	files := goMod(v.Path).with("a.go", noise(1000))
	if _, err := w.publish("a", v, files); err != nil {
		t.Fatal(err)
	}
	data := zipOf(t, v, files)
	w.until("b", "holding the blob", func(r node.Replication) bool { return heldFile(t, w.path("b"), data) })
	for _, at := range []string{"b", "a"} {
		damage(t, blobFile(w.path(at), data))
		got, err := w.zip(at, "local", v)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("read at %s: %v", at, err)
		}
		w.until(at, "healed", func(r node.Replication) bool { return heldFile(t, w.path(at), data) })
	}
}

// With a number of sites to wait for, a publisher learns that they hold entry and
// blobs.
func TestWaitForSites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	v := mv("corp.example/x", "v1.0.0")
	got, err := w.publish("b", v, goMod(v.Path).with("a.go", noise(1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	if have, ok := w.sites["b"].WaitSites(t.Context(), got.At, -1); !ok || have != 2 {
		t.Errorf("%d sites, %t", have, ok)
	}
	at, errA := w.zip("a", "local", v)
	bt, errB := w.zip("b", "local", v)
	if errA != nil || errB != nil || !bytes.Equal(at, bt) {
		t.Errorf("the sites hold different bytes: %v, %v", errA, errB)
	}
	w.close("b")
	got, err = w.publish("a", mv(v.Path, "v1.1.0"), goMod(v.Path))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if have, ok := w.sites["a"].WaitSites(ctx, got.At, 2); ok || have != 1 {
		t.Errorf("with b gone: %d sites, %t", have, ok)
	}
}

// blobFile is where a site keeps a blob.
func blobFile(dir string, data []byte) string {
	name := events.DigestOf(data).Hex()
	return filepath.Join(dir, "blobs", "sha256", name[:2], name)
}

func heldFile(t testing.TB, dir string, data []byte) bool {
	t.Helper()
	got, err := os.ReadFile(blobFile(dir, data))
	return err == nil && bytes.Equal(got, data)
}

// damage flips a bit in the middle of a file.
func damage(t testing.TB, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// With the upstream and its checksum database gone, a site that has just joined
// proves and serves what others have fetched.
func TestSumdbThroughPeers(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	x := up.add("example.org/x", "v1.0.0", goMod("example.org/x").with("a.go", noise(100)))
	w := newWorld(t, defaults(up))
	want := zipOf(t, x, up.trees[x])
	if _, err := w.zip("a", "public", x); err != nil {
		t.Fatal(err)
	}
	up.Close()
	w.join("b", "a", false)
	if got, err := w.zip("b", "all", x); err != nil || !bytes.Equal(got, want) {
		t.Errorf("zip at b: %v", err)
	}
	if _, err := repo(t, w.sites["b"], "all").Sumdb(t.Context(), dbName+"/lookup/"+x.Path+"@"+x.Version); err != nil {
		t.Errorf("lookup at b: %v", err)
	}
	w.equal()
}

// publishAtOnce has several publish the same at a site that can't be dialled: the home
// asks it for the zip once for each, one after the other.
func (w *world) publishAtOnce(at string, v module.Version) {
	w.t.Helper()
	data := zipOf(w.t, v, goMod(v.Path).with("x.go", noise(100_000)))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := w.sites[at].Publish(w.t.Context(), op, node.Publication{Repo: name("local"), Version: v, Zip: bytes.NewReader(data)}); err != nil {
				w.t.Error(err)
			}
		})
	}
	wg.Wait()
}
