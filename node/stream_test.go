package node_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/node"
)

// halfway sends half of a zip, and the rest when the channel is closed.
func halfway(zip []byte, rest <-chan struct{}) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Write(zip[:len(zip)/2])
		w.(http.Flusher).Flush()
		<-rest
		w.Write(zip[len(zip)/2:])
	}
}

// openCold opens a zip of which half has come, and reads some of it.
func openCold(t *testing.T, r *node.Repository, mv module.Version) node.Zip {
	t.Helper()
	z, err := r.Zip(context.WithoutCancel(t.Context()), mv)
	if err == nil && z.Stream == nil {
		t.Fatal("the zip is held")
	}
	if err == nil {
		_, err = io.ReadFull(z.Stream, make([]byte, 1000))
	}
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// A node that stops ends what is on its way; of which nothing is left at the next
// start, even if a client was slow to go.
func TestStopEndsAColdZip(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	mv := up.add("pub.example/m", "v1.0.0", goMod("pub.example/m").with("a.go", noise(1<<20)))
	n, dir := newNode(t, up)
	rest := make(chan struct{})
	up.fault(".zip", halfway(zipOf(t, mv, up.trees[mv]), rest))
	t.Cleanup(func() { close(rest) }) // before the proxy's, which waits
	z := openCold(t, repo(t, n, "all"), mv)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := readAll(z); !errors.Is(err, context.Canceled) {
			t.Errorf("read: %v, want that it was canceled", err)
		}
	})
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	openNode(t, dir)
	if left, err := os.ReadDir(filepath.Join(dir, "blobs", "tmp")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A recorded zip whose bytes were lost streams, too, and only with the recorded
// hash to its end.
func TestLostZipStreamsWithTheRecordedHash(t *testing.T) {
	t.Parallel()
	const path = "nosum.example/m"
	up := newProxy(t)
	files := goMod(path).with("a.go", noise(1<<20))
	mv := up.add(path, "v1.0.0", files)
	zip := zipOf(t, mv, files)
	n, dir := newNode(t, up)
	r := repo(t, n, "all")
	if _, err := readZip(t, r, mv); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(blobFile(dir, zip)); err != nil {
		t.Fatal(err)
	}
	before := stateHash(t, n)
	rest := make(chan struct{})
	up.fault(".zip", halfway(zipOf(t, mv, goMod(path).with("a.go", noise(1<<20))), rest))
	z := openCold(t, r, mv)
	close(rest)
	if got, err := readAll(z); !errors.Is(err, node.ErrUpstream) || len(got) > len(zip)-64<<10 {
		t.Errorf("other content: %d bytes, %v", len(got), err)
	}
	rest = make(chan struct{})
	up.fault(".zip", halfway(zip, rest))
	z = openCold(t, r, mv)
	close(rest)
	z.Stream.Seek(0, io.SeekStart)
	if got, err := readAll(z); err != nil || !bytes.Equal(got, zip) {
		t.Errorf("the same content: %d bytes, %v", len(got), err)
	}
	if after := stateHash(t, n); after != before {
		t.Errorf("more was recorded: %s, then %s", before, after)
	}
	verified(t, n)
}

// What was recorded stays, even if a checksum database that is asked since vouches
// for what the upstream has now.
func TestRecordedZipBeatsWhatIsVouchedForSince(t *testing.T) {
	t.Parallel()
	const path = "nosum.example/m"
	up := newProxy(t)
	mv := up.add(path, "v1.0.0", goMod(path).with("a.go", noise(1<<20)))
	zip := zipOf(t, mv, up.trees[mv])
	n, dir := newNode(t, up)
	r := repo(t, n, "all")
	if _, err := readZip(t, r, mv); err != nil {
		t.Fatal(err)
	}
	up.add(path, "v1.0.0", goMod(path).with("a.go", noise(1<<20)))
	if _, err := n.ChangeRepo(t.Context(), op, name("public"), node.RepoChange{UseSumdb: patterns("nosum.example")}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(blobFile(dir, zip)); err != nil {
		t.Fatal(err)
	}
	got, err := readZip(t, repo(t, n, "all"), mv)
	if err == nil || len(got) > len(zip)-64<<10 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if up.count("/lookup/"+path) == 0 {
		t.Error("the checksum database was not asked")
	}
}
