package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

// uploads is a registry into which versions are published in parts, by ann and bob.
type uploads struct {
	identities
	opts     node.Options
	ann, bob *access.Caller
}

func newUploads(t testing.TB, hold time.Duration) *uploads {
	t.Helper()
	u := &uploads{identities: identities{t: t, dir: t.TempDir()}}
	o, _ := options(t)
	o.HoldTime = hold
	u.opts = o.PasswordCost(4)
	if _, err := node.Init(t.Context(), u.dir, site("a"), node.Fresh{Repos: defaults(nil)}, u.opts); err != nil {
		t.Fatal(err)
	}
	u.reopen()
	u.user("ann")
	u.user("bob")
	u.rule("team", "user:ann,user:bob", "local", "read,publish")
	u.ann, u.bob = u.token(op, node.NewToken{User: "ann"}), u.token(op, node.NewToken{User: "bob"})
	return u
}

// reopen stops the node, if it runs, and starts it.
func (u *uploads) reopen() {
	u.t.Helper()
	if u.Node != nil {
		if err := u.Close(); err != nil {
			u.t.Fatal(err)
		}
	}
	n, err := node.Open(u.t.Context(), u.dir, u.opts)
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { n.Close() })
	u.Node = n
}

// upload is a version with its files.
type upload struct {
	mv    module.Version
	files tree
}

func uploadOf(version, text string) upload {
	return upload{mv("corp.example/m", version), goMod("corp.example/m").with("m.go", "package m\n\n// "+text+"\n")}
}

func (u *uploads) body(v upload, file string) io.Reader {
	switch file {
	case events.ZipFile:
		return bytes.NewReader(zipOf(u.t, v.mv, v.files))
	case events.ModFile:
		return strings.NewReader(v.files["go.mod"])
	}
	return strings.NewReader(`{"Version":"` + v.mv.Version + `"}`)
}

// put uploads a part as jf go-publish does.
func (u *uploads) put(who *access.Caller, v upload, file string) (node.Deployed, error) {
	return u.Deploy(u.t.Context(), who, node.Part{
		Repo: name("all"), Version: v.mv, File: file, Body: u.body(v, file), InOrder: true,
		Properties: map[string][]string{"build.number": {"7"}, "file": {file}},
	})
}

func (u *uploads) mustPut(who *access.Caller, v upload, files ...string) {
	u.t.Helper()
	for _, file := range files {
		if _, err := u.put(who, v, file); err != nil {
			u.t.Fatalf("%v, %s: %v", v.mv, file, err)
		}
	}
}

// shows returns what the registry shows of a version: the text in its zip, or "".
func (u *uploads) shows(v upload) string {
	u.t.Helper()
	r := repo(u.t, u.Node, "local")
	l, err := r.List(u.t.Context(), v.mv.Path)
	listed := err == nil && strings.Contains(strings.Join(l.Versions, " "), v.mv.Version)
	z, err := r.Zip(u.t.Context(), v.mv)
	if errors.Is(err, node.ErrNotFound) && !listed {
		return ""
	}
	if err != nil || !listed {
		u.t.Fatalf("a half version: listed %v, zip %v", listed, err)
	}
	defer z.Close()
	data, err := io.ReadAll(io.NewSectionReader(z.File.File, 0, z.Size))
	if err != nil {
		u.t.Fatal(err)
	}
	for _, text := range []string{"one", "two"} {
		if bytes.Equal(data, zipOf(u.t, v.mv, uploadOf(v.mv.Version, text).files)) {
			return text
		}
	}
	return "?"
}

// TestCutUpload cuts an upload after each of its parts, and in the middle of one:
// nothing of it shows, nothing is left when its time is over, and it can be repeated.
func TestCutUpload(t *testing.T) {
	t.Parallel()
	u := newUploads(t, 20*time.Millisecond)
	for i, cut := range [][]string{{"zip"}, {"mod"}, {"zip", "cut"}, {"cut"}} {
		v := uploadOf(fmt.Sprintf("v1.0.%d", i), "one")
		for _, file := range cut {
			if file == "cut" {
				zip := zipOf(t, v.mv, v.files)
				_, err := u.Deploy(t.Context(), u.ann, node.Part{Repo: name("local"), Version: v.mv, File: "zip", Body: io.MultiReader(bytes.NewReader(zip[:len(zip)/2]), brokenReader{})})
				if !errors.Is(err, errBroken) {
					t.Errorf("a body that is cut: %v", err)
				}
				continue
			}
			u.mustPut(u.ann, v, file)
		}
		if got := u.shows(v); got != "" {
			t.Errorf("after %v: %s", cut, got)
		}
		waitFor(t, "what was held to go", func() bool { return u.HeldParts() == 0 && blobFiles(t, u.dir) == 0 })
	}
	u.opts.HoldTime = time.Hour
	u.reopen()
	for i := range 4 {
		v := uploadOf(fmt.Sprintf("v1.0.%d", i), "two") // other content: nobody has the name
		u.mustPut(u.bob, v, "zip", "mod")
		if got := u.shows(v); got != "two" {
			t.Errorf("an upload in time: %q", got)
		}
	}
}

type brokenReader struct{}

var errBroken = errors.New("broken off")

func (brokenReader) Read([]byte) (int, error) { return 0, errBroken }

// TestPartsOutliveTheNode: an upload goes on after a restart, a rebuild of the index
// and a sweep, and is published with the properties of all parts in one entry.
func TestPartsOutliveTheNode(t *testing.T) {
	t.Parallel()
	u := newUploads(t, time.Hour)
	v := uploadOf("v1.0.0", "one")
	u.mustPut(u.ann, v, "zip")
	u.reopen()
	if err := u.Sweep(t.Context(), 0); err != nil || blobFiles(t, u.dir) != 1 {
		t.Fatalf("swept: %v, %d blobs left", err, blobFiles(t, u.dir))
	}
	if _, err := u.Rebuild(t.Context(), op, func(uint64) {}); err != nil {
		t.Fatal(err)
	}
	if err := u.Sweep(t.Context(), 0); err != nil || blobFiles(t, u.dir) != 1 {
		t.Fatalf("swept after the rebuild: %v, %d blobs left", err, blobFiles(t, u.dir))
	}
	before := u.seqOf()
	u.mustPut(u.ann, v, "mod")
	if got := u.shows(v); got != "one" || u.seqOf() != before+1 || u.HeldParts() != 0 {
		t.Errorf("published %q in %d entries, %d held", got, u.seqOf()-before, u.HeldParts())
	}
	for _, file := range []string{"zip", "mod"} {
		i, err := repo(t, u.Node, "local").Item(t.Context(), v.mv, file)
		if got := fmt.Sprint(i.Properties); err != nil || got != "map[build.number:[7] file:["+file+"]]" {
			t.Errorf("%s: properties %s, %v", file, got, err)
		}
	}
	u.mustPut(u.ann, v, "zip", "mod") // once more: nothing new
	if u.seqOf() != before+1 || u.HeldParts() != 0 {
		t.Errorf("the same again took %d entries, %d held", u.seqOf()-before-1, u.HeldParts())
	}
	u.reopen()
	if got := u.shows(v); got != "one" {
		t.Errorf("after a restart: %q", got)
	}
}

func (u *uploads) seqOf() uint64 {
	u.t.Helper()
	r, err := u.Replication(op)
	if err != nil {
		u.t.Fatal(err)
	}
	return r.Sites[0].Logs[site("a")].Seq
}

// TestTwoUploads: of two uploads of one version with different content the first
// goes on, and the other is told of whom and until when.
func TestTwoUploads(t *testing.T) {
	t.Parallel()
	u := newUploads(t, time.Hour)
	one, two := uploadOf("v1.0.0", "one"), uploadOf("v1.0.0", "two")
	u.mustPut(u.ann, one, "zip")
	for range 4 {
		_, err := u.put(u.bob, two, "zip")
		isKind(t, err, node.ErrExists, "is being uploaded with other content, by ann", "try again after that", "h1:")
	}
	u.mustPut(u.bob, one, "zip") // the same content is welcome
	u.mustPut(u.ann, one, "mod", "info")
	if got := u.shows(one); got != "one" {
		t.Errorf("published %q", got)
	}
	_, err := u.put(u.bob, two, "zip")
	isKind(t, err, node.ErrExists, "already with other content")
}

// TestPublishedBetweenParts: a version that is published with other content between
// the zip and the go.mod of an upload, which is the same, fails the upload, as often
// as the go.mod comes again.
func TestPublishedBetweenParts(t *testing.T) {
	t.Parallel()
	u := newUploads(t, time.Hour)
	one, two := uploadOf("v1.0.0", "one"), uploadOf("v1.0.0", "two")
	u.mustPut(u.ann, one, "zip")
	if _, err := publish(t, u.Node, two.mv.Path, "v1.0.0", two.files); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		_, err := u.put(u.ann, one, "mod")
		isKind(t, err, node.ErrExists, "already with other content", "publish another one")
	}
	if got := u.shows(one); got != "two" {
		t.Errorf("published %q", got)
	}
}

// TestPublishersRace has jobs publish one version at the same moment with two
// contents, by one request and by parts. One content wins, and nobody who has the
// other is told that it worked.
func TestPublishersRace(t *testing.T) {
	t.Parallel()
	u := newUploads(t, time.Hour)
	for round := range 4 {
		version := fmt.Sprintf("v1.%d.0", round)
		var mu sync.Mutex
		worked := map[string]int{}
		var all sync.WaitGroup
		for job, text := range []string{"one", "two", "one", "two"} {
			v := uploadOf(version, text)
			all.Go(func() {
				var err error
				if job == round%4 {
					_, err = publish(t, u.Node, v.mv.Path, version, v.files)
				} else {
					for _, file := range []string{"zip", "mod", "info"} {
						if _, err = u.put(u.ann, v, file); err != nil {
							break
						}
					}
				}
				if err != nil && !errors.Is(err, node.ErrExists) {
					t.Errorf("job %d of round %d: %v", job, round, err)
				}
				if err == nil {
					mu.Lock()
					worked[text]++
					mu.Unlock()
				}
			})
		}
		all.Wait()
		got := u.shows(uploadOf(version, ""))
		if len(worked) > 1 || got == "" || worked[got] == 0 {
			t.Errorf("round %d: worked %v, published %q", round, worked, got)
		}
	}
}

// TestHolderIsJudgedAgain: whose right to publish has ended, or whose token was
// revoked, has nothing published by somebody else, and is in nobody's way.
func TestHolderIsJudgedAgain(t *testing.T) {
	t.Parallel()
	u := newUploads(t, time.Hour)
	ends := []func(){
		func() { must(0, u.DeleteUser(t.Context(), op, "ann")) },
		func() { must(0, u.RevokeToken(t.Context(), op, u.ann.TokenID(), "leaked")) },
		func() { u.rule("team", "user:bob", "local", "read,publish") },
	}
	for i, end := range ends {
		one, two := uploadOf(fmt.Sprintf("v1.%d.0", i), "one"), uploadOf(fmt.Sprintf("v1.%d.0", i), "two")
		other := uploadOf(fmt.Sprintf("v1.%d.1", i), "one")
		u.mustPut(u.ann, one, "zip")
		u.mustPut(u.ann, other, "zip")
		end()
		_, err := u.put(u.bob, one, "mod")
		isKind(t, err, node.ErrForbidden, "its zip was uploaded by ann, who may not publish it any more")
		if got := u.shows(one); got != "" {
			t.Errorf("published %q", got)
		}
		u.mustPut(u.bob, two, "zip", "mod")
		u.mustPut(u.bob, uploadOf(other.mv.Version, "two"), "zip", "mod")
		u.user("ann")
		u.rule("team", "user:ann,user:bob", "local", "read,publish")
		u.ann = u.token(op, node.NewToken{User: "ann"})
	}
	waitFor(t, "the zips of ann to go", func() bool { u.ExpireHolds(); return blobFiles(t, u.dir) == 2*len(ends) })
}

// TestWhoCompletesIsJudged: rights that end between two parts end the upload.
func TestWhoCompletesIsJudged(t *testing.T) {
	t.Parallel()
	u := newUploads(t, time.Hour)
	v := uploadOf("v1.0.0", "one")
	u.mustPut(u.ann, v, "zip")
	u.rule("team", "user:bob", "local", "read,publish")
	_, err := u.put(u.ann, v, "mod")
	isKind(t, err, node.ErrForbidden, "ann may not publish")
	u.rule("team", "user:ann,user:bob", "local", "read,publish")
	u.mustPut(u.ann, v, "mod")
}

// TestRepoEndsBetweenParts: so does the repository's end.
func TestRepoEndsBetweenParts(t *testing.T) {
	t.Parallel()
	u := newUploads(t, time.Hour)
	gone := node.NewRepo{Name: name("gone"), Kind: events.Local, Settings: events.RepoSettings{Owns: []events.Pattern{pattern("gone.example/**")}}}
	if _, err := u.CreateRepo(t.Context(), op, gone); err != nil {
		t.Fatal(err)
	}
	v := upload{mv("gone.example/m", "v1.0.0"), goMod("gone.example/m").with("m.go", "package m\n")}
	put := func(file string) error {
		_, err := u.Deploy(t.Context(), op, node.Part{Repo: gone.Name, Version: v.mv, File: file, Body: u.body(v, file)})
		return err
	}
	must(0, put("zip"))
	must(0, u.DeleteRepo(t.Context(), op, gone.Name, "x"))
	isKind(t, put("mod"), node.ErrNotFound, "gone")
}

// TestHoldsAreBounded: who begins uploads and completes none has no more after a
// while, and others go on.
func TestHoldsAreBounded(t *testing.T) {
	t.Parallel()
	u := newUploads(t, time.Hour)
	for i := range 100 {
		u.mustPut(u.ann, uploadOf(fmt.Sprintf("v1.0.%d", i), "one"), "mod")
	}
	_, err := u.put(u.ann, uploadOf("v1.1.0", "one"), "mod")
	isKind(t, err, node.ErrUnavailable, "100 by ann", "end by themselves")
	u.mustPut(u.ann, uploadOf("v1.0.0", "one"), "mod", "zip")
	u.mustPut(u.bob, uploadOf("v1.1.0", "one"), "zip", "mod")
	u.mustPut(u.ann, uploadOf("v1.2.0", "one"), "mod") // one was completed
}

// TestHomeIsAway: parts are held where they are uploaded, and published at the home;
// while that can't be reached they stay, and the last one again completes them.
func TestHomeIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	b := w.join("b", "a", false)
	u := &uploads{identities: identities{t: t, Node: b, dir: w.path("b")}}
	v := uploadOf("v1.0.0", "one")
	u.mustPut(op, v, "zip")
	ends := u.HoldsEnd()
	w.close("a")
	_, err := u.put(op, v, "mod")
	isKind(t, err, node.ErrUnavailable, "site a")
	if u.HeldParts() != 1 || !u.HoldsEnd().Equal(ends) {
		t.Fatalf("%d held until %v, and %v before", u.HeldParts(), u.HoldsEnd(), ends)
	}
	w.open("a")
	waitFor(t, "the home to be back", func() bool { _, err = u.put(op, v, "mod"); return err == nil })
	u.mustPut(op, v, "info")
	w.equal()
	for _, at := range []string{"a", "b"} {
		i, err := repo(t, w.sites[at], "local").Item(t.Context(), v.mv, "zip")
		if got := fmt.Sprint(i.Properties); err != nil || got != "map[build.number:[7] file:[zip]]" {
			t.Errorf("at %s: properties %s, %v", at, got, err)
		}
	}
}
