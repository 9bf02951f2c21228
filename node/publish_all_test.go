package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

// several are publications for PublishAll.
func several(ps ...node.Publication) iter.Seq2[node.Publication, error] {
	return func(yield func(node.Publication, error) bool) {
		for _, p := range ps {
			if !yield(p, nil) {
				return
			}
		}
	}
}

// plain is the publication of a small module; text makes its content another one.
func plain(t testing.TB, v module.Version, text string) node.Publication {
	t.Helper()
	files := goMod(v.Path).with("a.go", "package a // "+text+"\n")
	return node.Publication{Repo: name("local"), Version: v, Zip: bytes.NewReader(zipOf(t, v, files))}
}

func publishAll(t testing.TB, n *node.Node, ps ...node.Publication) ([]node.Published, error) {
	t.Helper()
	return n.PublishAll(t.Context(), op, several(ps...))
}

// publications returns the versions that each entry of a site's log publishes.
func publications(t testing.TB, n *node.Node, of string) (entries [][]string) {
	t.Helper()
	log, err := n.Log(op, site(of), 1)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range log {
		if err != nil {
			t.Fatal(err)
		}
		var in []string
		for _, ev := range e.Events {
			if b, ok := ev.Body.(events.VersionPublished); ok {
				in = append(in, b.Module+"@"+b.Version)
			}
		}
		if len(in) > 0 {
			entries = append(entries, in)
		}
	}
	return entries
}

func TestPublishTogetherIsOneEntry(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t, nil)
	one, two, three := mv("corp.example/one", "v1.0.0"), mv("corp.example/two", "v1.0.0"), mv("corp.example/three/v2", "v2.0.1")
	ps, err := publishAll(t, n, plain(t, one, ""), plain(t, two, ""), plain(t, three, ""))
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"corp.example/one@v1.0.0", "corp.example/two@v1.0.0", "corp.example/three/v2@v2.0.1"}}
	if got := publications(t, n, "a"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the log has %v, want %v", got, want)
	}
	for i, p := range ps {
		if p.Existed || p.Position.Index != i || p.At != ps[0].At || p.Module+"@"+p.Version != want[0][i] {
			t.Errorf("answer %d: %+v", i, p)
		}
		if _, err := readZip(t, repo(t, n, "all"), module.Version{Path: p.Module, Version: p.Version}); err != nil {
			t.Errorf("%s: %v", p.Module, err)
		}
	}
	if got := blobFiles(t, dir); got != 3 {
		t.Errorf("%d blobs, want 3", got)
	}

	// A repetition, also of a call of which a part was there before.
	more := mv("corp.example/more", "v0.1.0")
	again, err := publishAll(t, n, plain(t, three, ""), plain(t, more, ""), plain(t, one, ""))
	if err != nil {
		t.Fatal(err)
	}
	if !again[0].Existed || again[1].Existed || !again[2].Existed || again[0].Position != ps[2].Position || !again[2].Time.Equal(ps[0].Time) || again[1].Position.Index != 0 {
		t.Errorf("a part again: %+v", again)
	}
	before := stateHash(t, n)
	if again, err = publishAll(t, n, plain(t, three, ""), plain(t, more, ""), plain(t, one, "")); err != nil || stateHash(t, n) != before {
		t.Errorf("all again: %+v, %v", again, err)
	}
	for _, p := range again {
		if !p.Existed {
			t.Errorf("not there: %+v", p)
		}
	}
}

// TestPublishTogetherIsAllOrNothing has one of three versions fail, at each place.
func TestPublishTogetherIsAllOrNothing(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t, nil)
	taken := mv("corp.example/taken", "v1.0.0")
	mustPublish(t, n, taken.Path, taken.Version)
	if _, err := n.Block(t.Context(), op, versionPattern(t, "corp.example/blocked"), "a leak"); err != nil {
		t.Fatal(err)
	}
	bad := func(path string, files tree) node.Publication {
		v := mv(path, "v1.0.0")
		return node.Publication{Repo: name("local"), Version: v, Zip: bytes.NewReader(zipOf(t, v, files))}
	}
	wrong := plain(t, mv("corp.example/hash", "v1.0.0"), "")
	wrong.H1 = must(events.ParseH1("h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="))
	before, blobs := stateHash(t, n), blobFiles(t, dir)
	for what, c := range map[string]struct {
		p    func() node.Publication
		kind error
		text string
	}{
		"bad zip":       {func() node.Publication { return bad("corp.example/bad", goMod("corp.example/bad").with("aux.go", "")) }, node.ErrUnprocessable, "corp.example/bad@v1.0.0"},
		"other module":  {func() node.Publication { return bad("corp.example/bad", goMod("corp.example/b")) }, node.ErrUnprocessable, "corp.example/bad@v1.0.0"},
		"other content": {func() node.Publication { return plain(t, taken, "other") }, node.ErrExists, "corp.example/taken@v1.0.0"},
		"unowned":       {func() node.Publication { return plain(t, mv("other.example/a", "v1.0.0"), "") }, node.ErrForbidden, "other.example/a@v1.0.0"},
		"blocked":       {func() node.Publication { return plain(t, mv("corp.example/blocked", "v1.0.0"), "") }, node.ErrForbidden, "corp.example/blocked@v1.0.0"},
		"no version":    {func() node.Publication { return plain(t, mv("corp.example/v", "v2.0.0"), "") }, node.ErrInvalid, "corp.example/v@v2.0.0"},
		"other hash": {func() node.Publication {
			wrong.Zip = plain(t, wrong.Version, "").Zip
			return wrong
		}, node.ErrUnprocessable, "corp.example/hash@v1.0.0"},
		"twice": {func() node.Publication { return plain(t, mv("corp.example/one", "v1.0.0"), "") }, node.ErrInvalid, "corp.example/one@v1.0.0: the version is there twice"},
	} {
		for at := range 3 {
			ps := []node.Publication{plain(t, mv("corp.example/one", "v1.0.0"), ""), plain(t, mv("corp.example/two", "v1.0.0"), "")}
			_, err := publishAll(t, n, slices.Insert(ps, at, c.p())...)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s at %d: got %v, want %v with %q", what, at, err, c.kind, c.text)
			}
		}
	}
	if after := stateHash(t, n); after != before {
		t.Errorf("refusals left something in the log: %s, then %s", before, after)
	}
	if after := blobFiles(t, dir); after != blobs {
		t.Errorf("refusals left blobs: %d, then %d", blobs, after)
	}
}

func TestPublishTogetherHasBounds(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t, nil)
	if _, err := publishAll(t, n); !errors.Is(err, node.ErrInvalid) {
		t.Errorf("nothing: %v", err)
	}
	elsewhere := plain(t, mv("other.example/b", "v1.0.0"), "")
	elsewhere.Repo = name("second")
	if _, err := n.CreateRepo(t.Context(), op, node.NewRepo{Name: name("second"), Kind: events.Local, Settings: events.RepoSettings{Owns: []events.Pattern{pattern("other.example/**")}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := publishAll(t, n, plain(t, mv("corp.example/a", "v1.0.0"), ""), elsewhere); !errors.Is(err, node.ErrInvalid) || !strings.Contains(err.Error(), "local and second") {
		t.Errorf("two repositories: %v", err)
	}
	broken := errors.New("the client is gone")
	_, err := n.PublishAll(t.Context(), op, func(yield func(node.Publication, error) bool) {
		if yield(plain(t, mv("corp.example/a", "v1.0.0"), ""), nil) {
			yield(node.Publication{}, broken)
		}
	})
	if !errors.Is(err, broken) {
		t.Errorf("a list that breaks off: %v", err)
	}
	// Requirements that are so many that the go.mod files don't fit into one entry.
	var large []node.Publication
	for i := range 10 {
		v := mv(fmt.Sprintf("corp.example/m%d", i), "v1.0.0")
		text := goMod(v.Path).with("go.mod", "module "+v.Path+"\n//"+strings.Repeat("x", events.MaxInline-100)+"\n")
		large = append(large, node.Publication{Repo: name("local"), Version: v, Zip: bytes.NewReader(zipOf(t, v, text))})
	}
	before := stateHash(t, n)
	if _, err := publishAll(t, n, large...); !errors.Is(err, node.ErrTooLarge) || !strings.Contains(err.Error(), "several calls") {
		t.Errorf("large go.mod files: %v", err)
	}
	many := slices.Collect(func(yield func(node.Publication) bool) {
		for i := range node.MaxPublications + 1 {
			if !yield(plain(t, mv("corp.example/many", fmt.Sprintf("v1.0.%d", i)), "")) {
				return
			}
		}
	})
	if _, err := publishAll(t, n, many...); !errors.Is(err, node.ErrInvalid) || !strings.Contains(err.Error(), "64 versions") {
		t.Errorf("too many: %v", err)
	}
	if stateHash(t, n) != before || blobFiles(t, dir) != 0 {
		t.Error("refusals left something")
	}
	if ps, err := publishAll(t, n, many[:1]...); err == nil {
		t.Errorf("a zip that was read before: %+v", ps)
	}
}

// TestCrossingPublicationsTogether has calls with the same versions, in opposite
// order and with content of their own, at the same moment: one of each pair wins,
// with all of its versions.
func TestCrossingPublicationsTogether(t *testing.T) {
	t.Parallel()
	n, _ := newNode(t, nil)
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		call := []node.Publication{plain(t, mv("corp.example/x", "v1.0.0"), fmt.Sprint(i)), plain(t, mv("corp.example/y", "v1.0.0"), fmt.Sprint(i)), plain(t, mv("corp.example/z", "v1.0.0"), "")}
		if i%2 == 1 {
			slices.Reverse(call)
		}
		wg.Go(func() { _, errs[i] = publishAll(t, n, call...) })
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
	if got := publications(t, n, "a"); won != 1 || len(got) != 1 || len(got[0]) != 3 {
		t.Errorf("%d winners, the log has %v", won, got)
	}
}

// TestUploadOfSeveralOutlivesItsToken revokes the token while the versions come.
func TestUploadOfSeveralOutlivesItsToken(t *testing.T) {
	t.Parallel()
	n, _ := newNode(t, nil)
	record(t, n, events.UserCreated{Name: "ann"}, grant("ann", "user:ann", "local", "publish read", "corp.example/**"))
	tok := token(t, n, "ann", access.Scope{}, time.Time{})
	ann, err := n.Authenticate(t.Context(), access.TokenCredential(tok), netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.PublishAll(t.Context(), ann, func(yield func(node.Publication, error) bool) {
		if yield(plain(t, mv("corp.example/a", "v1.0.0"), ""), nil) {
			if err := n.RevokeToken(t.Context(), op, tok.ID(), ""); err != nil {
				t.Error(err)
			}
			yield(plain(t, mv("corp.example/b", "v1.0.0"), ""), nil)
		}
	})
	if got := publications(t, n, "a"); !errors.Is(err, node.ErrUnauthorized) || len(got) > 0 {
		t.Errorf("a revoked token: %v, the log has %v", err, got)
	}
}

// TestPublishTogetherAtAnotherSite has the home decide, also about what it refuses.
func TestPublishTogetherAtAnotherSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", true) // nobody can dial it
	taken := mv("corp.example/taken", "v1.0.0")
	if _, err := w.publish("a", taken, goMod(taken.Path)); err != nil {
		t.Fatal(err)
	}
	w.equal()
	b, one, two := w.sites["b"], mv("corp.example/one", "v1.0.0"), mv("corp.example/two", "v1.0.0")
	if _, err := publishAll(t, b, plain(t, one, ""), plain(t, taken, "other")); !errors.Is(err, node.ErrExists) {
		t.Errorf("other content: %v", err)
	}
	if _, err := w.sites["a"].Block(t.Context(), op, versionPattern(t, "corp.example/one"), "for now"); err != nil {
		t.Fatal(err)
	}
	if _, err := publishAll(t, b, plain(t, two, ""), plain(t, one, "")); !errors.Is(err, node.ErrForbidden) || !strings.Contains(err.Error(), "corp.example/one@v1.0.0") {
		t.Errorf("blocked at the home: %v", err)
	}
	if err := w.sites["a"].Unblock(t.Context(), op, versionPattern(t, "corp.example/one")); err != nil {
		t.Fatal(err)
	}
	w.equal()
	ps, err := publishAll(t, b, plain(t, one, ""), plain(t, two, ""))
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range ps {
		if p.Existed || p.Pending || p.At.Site != site("a") || p.Position.Index != i {
			t.Errorf("answer %d: %+v", i, p)
		}
		if _, err := w.zip("b", "local", module.Version{Path: p.Module, Version: p.Version}); err != nil {
			t.Errorf("b does not read its own write: %v", err)
		}
	}
	if got := publications(t, w.sites["a"], "a"); len(got) != 2 || len(got[1]) != 2 {
		t.Errorf("the log of the home has %v", got)
	}
	if again, err := publishAll(t, b, plain(t, one, ""), plain(t, two, "")); err != nil || again[1].Position != ps[1].Position || !again[0].Existed {
		t.Errorf("again: %+v, %v", again, err)
	}
	w.equal()
}
