package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

// say uploads a part with properties.
func (u *uploads) say(who *access.Caller, v upload, file string, properties map[string][]string) error {
	_, err := u.Deploy(u.t.Context(), who, node.Part{Repo: name("local"), Version: v.mv, File: file, Body: u.body(v, file), Properties: properties})
	return err
}

// TestPropertiesOfParts: a part whose properties no log takes is not held, and a part
// that comes again without any has none.
func TestPropertiesOfParts(t *testing.T) {
	t.Parallel()
	u := newUploads(t, time.Hour)
	v := uploadOf("v1.0.0", "one")
	for _, bad := range []map[string][]string{{"bé": {"1"}}, {"a b": {"1"}}, {"a": {"\x01"}}, {"a": make([]string, 65)}, {"a": {"\xff"}}, {"a": {strings.Repeat("x", 1025)}}} {
		if err := u.say(u.ann, v, "zip", bad); !errors.Is(err, node.ErrInvalid) || u.HeldParts() != 0 || blobFiles(t, u.dir) != 0 {
			t.Errorf("properties %q: %v; %d held", bad, err, u.HeldParts())
		}
	}
	must(0, u.say(u.ann, v, "zip", map[string][]string{"wrong": {"1"}}))
	must(0, u.say(u.ann, v, "zip", nil))
	must(0, u.say(u.ann, v, "mod", map[string][]string{"right": {"1"}}))
	for file, want := range map[string]string{"zip": "map[]", "mod": "map[right:[1]]"} {
		if got := propertiesOf(t, u.Node, v.mv, file); got != want {
			t.Errorf("%s has the properties %s, want %s", file, got, want)
		}
	}
}

// TestPropertiesOfHeldParts: what is held of a version brings its properties along
// when somebody else publishes the same in between.
func TestPropertiesOfHeldParts(t *testing.T) {
	t.Parallel()
	u := newUploads(t, time.Hour)
	v := uploadOf("v1.0.0", "one")
	u.mustPut(u.ann, v, "zip")
	must(publish(t, u.Node, v.mv.Path, "v1.0.0", v.files))
	u.mustPut(u.ann, v, "mod")
	if got := propertiesOf(t, u.Node, v.mv, "zip"); got != "map[build.number:[7] file:[zip]]" || u.HeldParts() != 0 {
		t.Errorf("the zip has the properties %s, %d held", got, u.HeldParts())
	}
}

// TestRepeatedWithoutRoom: the same bytes again are welcome when no more can be said
// of them.
func TestRepeatedWithoutRoom(t *testing.T) {
	t.Parallel()
	u := newUploads(t, time.Hour)
	v := uploadOf("v1.0.0", "one")
	u.mustPut(u.ann, v, "zip", "mod")
	for i := range 6 { // with fewer bytes than a file may have at a time
		must(0, u.say(u.ann, v, "zip", map[string][]string{fmt.Sprint("k", i): many(strings.Repeat("x", 1000), 16)}))
	}
	if got := len(propertiesOf(t, u.Node, v.mv, "zip")); got > 64<<10 {
		t.Errorf("properties of %d bytes", got)
	}
}

func many(s string, n int) (list []string) {
	for range n {
		list = append(list, s)
	}
	return list
}

// TestStaleHoldOfAnother: a zip that somebody has uploaded, and that lost, is in the
// way of nobody else, nor of who has uploaded the right one since.
func TestStaleHoldOfAnother(t *testing.T) {
	t.Parallel()
	u := newUploads(t, time.Hour)
	one, two := uploadOf("v1.0.0", "one"), uploadOf("v1.0.0", "two")
	u.mustPut(u.ann, one, "zip")
	must(publish(t, u.Node, two.mv.Path, "v1.0.0", two.files))
	u.mustPut(u.bob, two, "zip", "mod", "info")
	for _, file := range []string{"mod", "info"} {
		_, err := u.put(u.ann, one, file)
		isKind(t, err, node.ErrExists, "already with other content", "publish another one")
	}
	u.mustPut(u.ann, two, "zip", "mod", "info")
	if u.HeldParts() != 0 {
		t.Errorf("%d held", u.HeldParts())
	}
}

// TestEndedHold: who has uploaded a zip of which nothing came is not told that the
// version is published, when another one is, also if somebody sent the same zip after
// that, and the node was started again.
func TestEndedHold(t *testing.T) {
	t.Parallel()
	u := newUploads(t, 10*time.Minute)
	one, two := uploadOf("v1.0.0", "one"), uploadOf("v1.0.0", "two")
	u.mustPut(u.ann, one, "zip")
	u.mustPut(u.bob, one, "zip")
	must(0, u.ExpireHoldsAt(time.Now().Add(11*time.Minute)))
	must(publish(t, u.Node, two.mv.Path, "v1.0.0", two.files))
	u.reopen()
	for _, who := range []*access.Caller{u.ann, u.bob} {
		for _, file := range []string{"mod", "info"} {
			_, err := u.put(who, one, file)
			isKind(t, err, node.ErrExists, "already with other content", "was not published")
		}
	}
	u.mustPut(op, two, "mod", "info")
	u.mustPut(u.ann, two, "zip", "mod", "info")
	if _, err := u.put(u.bob, one, "mod"); !errors.Is(err, node.ErrExists) {
		t.Errorf("what one has mended is mended for another: %v", err)
	}
	must(0, u.ExpireHoldsAt(time.Now().Add(2*time.Hour)))
	u.mustPut(u.bob, one, "mod")
}

// TestInfoAlone: an info of which nothing else is here comes too early, but from those
// who upload files in any order.
func TestInfoAlone(t *testing.T) {
	t.Parallel()
	u := newUploads(t, time.Hour)
	v := uploadOf("v1.0.0", "one")
	_, err := u.put(u.ann, v, "info")
	isKind(t, err, node.ErrExists, "come before its info")
	if u.HeldParts() != 0 {
		t.Errorf("%d held", u.HeldParts())
	}
	must(0, u.say(u.ann, v, "info", nil))
	u.mustPut(u.ann, v, "zip")
	u.mustPut(u.ann, v, "mod")
	if u.HeldParts() != 0 {
		t.Errorf("%d held when it is published", u.HeldParts())
	}
}

// TestHeldBytesAreBounded: uploads at the same time have no more held than one may
// have, and a zip counts, for who sent it, until it is gone.
func TestHeldBytesAreBounded(t *testing.T) {
	t.Parallel()
	u := newUploads(t, 10*time.Minute)
	size := int64(len(zipOf(t, mv("corp.example/m", "v1.0.0"), uploadOf("v1.0.0", "one").files)))
	u.BoundHolds(size * 3 / 2)
	var all sync.WaitGroup
	var worked atomic.Int32
	for i := range 8 {
		all.Go(func() {
			_, err := u.put(u.ann, uploadOf(fmt.Sprintf("v1.0.%d", i), "one"), "zip")
			if err == nil {
				worked.Add(1)
			} else if !errors.Is(err, node.ErrUnavailable) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if worked.Load() != 1 {
		t.Errorf("%d zips at a time are held", worked.Load())
	}
	u.mustPut(u.bob, uploadOf("v1.3.0", "one"), "zip")
	done := u.Admitting()
	must(0, u.ExpireHoldsAt(time.Now().Add(11*time.Minute)))
	next := uploadOf("v1.1.0", "one")
	_, err := u.put(u.ann, next, "zip")
	isKind(t, err, node.ErrUnavailable, "too much is uploaded")
	done()
	u.reopen()
	must(0, u.ExpireHolds())
	if n := blobFiles(t, u.dir); n != 0 {
		t.Errorf("%d blobs are left", n)
	}
	u.BoundHolds(size * 3 / 2)
	u.mustPut(u.ann, next, "zip", "mod")
	u.mustPut(u.ann, uploadOf("v1.2.0", "one"), "zip") // what is published does not count
}

// TestKnownFile: a file is known by all checksums that are said of it, if its version
// is published.
func TestKnownFile(t *testing.T) {
	t.Parallel()
	u := newUploads(t, time.Hour)
	v := uploadOf("v1.0.0", "one")
	zip := zipOf(t, v.mv, v.files)
	known := func(said node.Sums) bool {
		t.Helper()
		d, ok, err := u.DeployKnown(t.Context(), u.bob, node.Part{Repo: name("local"), Version: v.mv, File: "zip"}, said)
		if err != nil || ok && (d.Size != int64(len(zip)) || d.Sums.SHA1 == node.Sums{}.SHA1 || d.Sums.MD5 == node.Sums{}.MD5) {
			t.Fatalf("%+v, %v", d, err)
		}
		return ok
	}
	right := node.Sums{SHA256: events.DigestOf(zip)}
	u.mustPut(u.ann, v, "zip")
	if known(right) {
		t.Error("what is only held is known")
	}
	u.mustPut(u.ann, v, "mod")
	lie, another := right, right
	lie.SHA1[0], another.MD5[0] = 1, 1
	if !known(right) || known(lie) || known(another) || known(node.Sums{SHA256: events.DigestOf(bytes.ToUpper(zip))}) {
		t.Error("a file is not known by its checksums")
	}
}
