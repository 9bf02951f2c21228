package node_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

// What a request brings that was under way before a refresh does not stand after it;
// a refresh that joins such a request asks again.
func TestRefreshIsNoOlderThanItself(t *testing.T) {
	t.Parallel()
	for what, path := range map[string]string{"the module": "pub.example/m", "all": ""} {
		t.Run(what, func(t *testing.T) { refreshMeanwhile(t, path) })
	}
}

func refreshMeanwhile(t *testing.T, path string) {
	up := newProxy(t)
	began, rest := make(chan struct{}), make(chan struct{})
	var asked atomic.Int32
	up.fault("/m/@v/list", func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) > 1 {
			io.WriteString(w, "v1.0.0\nv1.1.0\n")
			return
		}
		close(began)
		<-rest
		io.WriteString(w, "v1.0.0\n")
	})
	n := newRemote(t, up, func(s *events.RepoSettings) { s.ListTTL = span("1h") })
	first := make(chan string)
	go func() { first <- listed(t, repo(t, n, "public"), "pub.example/m") }()
	<-began
	got := make(chan string)
	go func() {
		r, err := n.Refresh(t.Context(), op, name("public"), path)
		got <- fmt.Sprint(r.Versions, err)
	}()
	waitFor(t, "the refresh to wait", func() bool { return n.RefreshedSoFar(name("public"), path) })
	close(rest)
	if old := <-first; old != "v1.0.0" {
		t.Errorf("the older request: %s", old)
	}
	if r, want := <-got, map[bool]string{true: "[] <nil>", false: "[v1.0.0 v1.1.0] <nil>"}[path == ""]; r != want {
		t.Errorf("refreshed: %s", r)
	}
	if l := listed(t, repo(t, n, "public"), "pub.example/m"); l != "v1.0.0 v1.1.0" {
		t.Errorf("list after the refresh: %s", l)
	}
}

// A list that the upstream has taken back is not given out when it is down later.
func TestListTakenBackStaysSo(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	n := newRemote(t, up, func(s *events.RepoSettings) { s.ListTTL, s.AbsentTTL = span("1s"), span("1s") })
	r := repo(t, n, "all")
	if got := listed(t, r, "pub.example/m"); got != "v1.0.0" {
		t.Fatal(got)
	}
	up.fault("/list", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", http.StatusNotFound) })
	waitFor(t, "the list to be gone", func() bool { return listed(t, r, "pub.example/m") == node.ErrNotFound.Error() })
	up.fault("/list", down)
	waitFor(t, "the absence's time to end", func() bool { return listed(t, r, "pub.example/m") != node.ErrNotFound.Error() })
	if got := listed(t, r, "pub.example/m"); got != node.ErrUpstream.Error() {
		t.Errorf("while the upstream is down: %s", got)
	}
}

// For a path that patterns keep out, few requests tell whether it lies below a
// module; that an upstream is down is no refusal, and no matter for what is known.
func TestExcludedAsksLittle(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	n := newRemote(t, up, func(s *events.RepoSettings) { s.ListTTL, s.Exclude = span("1s"), patterns("**/internal") })
	deep := module.Version{Path: "x.example" + strings.Repeat("/a", 400) + "/internal", Version: "v1.0.0"}
	if _, err := repo(t, n, "all").Mod(t.Context(), deep); kindOf(err) != node.ErrForbidden || up.count("") > 3 {
		t.Errorf("%v, the upstream was asked %d times", err, up.count(""))
	}
	const below = "pub.example/m/a/b/c/d/internal"
	if got := listed(t, repo(t, n, "all"), "pub.example/m"); got != "v1.0.0" {
		t.Fatal(got)
	}
	up.fault("/list", down)
	if got := listed(t, repo(t, n, "all"), below); got != node.ErrNotFound.Error() {
		t.Errorf("below a module that was listed: %s", got)
	}
	if got := listed(t, repo(t, n, "all"), "pub.example/x/internal"); got != node.ErrUpstream.Error() {
		t.Errorf("below what is not known while the upstream is down: %s", got)
	}
}

// A virtual repository lists no version whose zip a member refuses that comes before
// the one which lists it.
func TestEarlierMemberHoldsBack(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	mv := up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	pseudo := up.add("pub.example/p", "v0.0.0-20240102030405-0123456789ab", goMod("pub.example/p"))
	for _, strictFirst := range []bool{true, false} {
		repos := defaults(up)
		second := repos[1]
		second.Name = name("second")
		strict, all := &repos[1], repos[2]
		if !strictFirst {
			strict = &second
		}
		strict.Settings.MinAge = span("7d")
		all.Settings.Members = append(all.Settings.Members, second.Name)
		repos = append(repos[:2:2], second, all)
		dir := t.TempDir()
		opts, _ := options(t)
		if _, err := node.Init(t.Context(), dir, site("a"), node.Fresh{Repos: repos}, opts); err != nil {
			t.Fatal(err)
		}
		n := openNode(t, dir)
		r := repo(t, n, "all")
		if _, err := repo(t, n, "second").Mod(t.Context(), pseudo); err != nil {
			t.Fatal(err)
		}
		want := map[bool]string{true: "", false: "v1.0.0"}[strictFirst]
		if got := listed(t, r, mv.Path); got != want {
			t.Errorf("strict first %t: list %q, want %q", strictFirst, got, want)
		}
		for _, mv := range []module.Version{mv, pseudo} {
			_, zipErr := readZip(t, r, mv)
			info, err := r.Latest(t.Context(), mv.Path)
			if refused := errors.Is(zipErr, node.ErrForbidden); refused != strictFirst || refused == (err == nil && info.Version == mv.Version) {
				t.Errorf("strict first %t: zip of %v: %v; @latest %s, %v", strictFirst, mv, zipErr, info.Version, err)
			}
		}
	}
}
