package node_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"registry-node/events"
	"registry-node/node"
)

func change(t *testing.T, n *node.Node, c node.RepoChange) {
	t.Helper()
	if _, err := n.ChangeRepo(t.Context(), op, name("public"), c); err != nil {
		t.Fatal(err)
	}
}

// What one upstream said, in memory or kept for times when it is down, is not given
// out for another's.
func TestAnotherUpstreamIsAskedAnew(t *testing.T) {
	t.Parallel()
	up, other := newProxy(t), newProxy(t)
	up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	for _, path := range []string{"pub.example/m", "pub.example/new"} {
		other.add(path, "v1.1.0", goMod(path))
	}
	n := newRemote(t, up, func(s *events.RepoSettings) { s.ListTTL, s.AbsentTTL = span("1h"), span("1h") })
	read := func() [3]string {
		r := repo(t, n, "all")
		got := [3]string{listed(t, r, "pub.example/m"), listed(t, r, "pub.example/new"), "v1.1.0"}
		if _, err := r.Info(t.Context(), "pub.example/m", "v1.1.0"); err != nil {
			got[2] = kindOf(err).Error()
		}
		return got
	}
	absent := node.ErrNotFound.Error()
	if got := read(); got != [3]string{"v1.0.0", absent, absent} {
		t.Fatalf("before: %q", got)
	}
	other.fault("/list", down)
	change(t, n, node.RepoChange{Upstream: &other.URL, Sumdb: &other.key})
	if got := listed(t, repo(t, n, "all"), "pub.example/m"); got != node.ErrUpstream.Error() {
		t.Errorf("while the new upstream is down: %s", got)
	}
	if _, err := n.Refresh(t.Context(), op, name("public"), ""); err != nil {
		t.Fatal(err)
	}
	other.fault("/list", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("v1.1.0\n")) })
	if got := read(); got != [3]string{"v1.1.0", "v1.1.0", "v1.1.0"} {
		t.Errorf("after: %q", got)
	}
}

// A change of settings that a connection is not made of ends no request, and counts
// at once.
func TestChangeKeepsConnection(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	mv := up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	n := newRemote(t, up, func(*events.RepoSettings) {})
	began, rest := make(chan struct{}), make(chan struct{})
	lookup := func(w http.ResponseWriter, r *http.Request) {
		close(began)
		select {
		case <-rest:
			http.StripPrefix("/sumdb/"+dbName, up.db).ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}
	up.fault("/lookup/pub.example/m@v1.0.0", lookup)
	got := make(chan error)
	go func() {
		_, err := repo(t, n, "all").Info(t.Context(), mv.Path, mv.Version)
		got <- err
	}()
	<-began
	change(t, n, node.RepoChange{Description: new("another"), PolicyChange: node.PolicyChange{MinAge: new(span("1s"))}})
	off := node.RepoChange{PolicyChange: node.PolicyChange{Offline: new(true)}}
	close(rest)
	if err := <-got; err != nil {
		t.Errorf("a request under way: %v", err)
	}
	change(t, n, off)
	asked := up.count("")
	if _, err := repo(t, n, "all").Sumdb(t.Context(), dbName+"/lookup/pub.example/x@v1.0.0"); kindOf(err) != node.ErrUpstream && kindOf(err) != node.ErrUnavailable || up.count("") != asked {
		t.Errorf("a lookup after the change to offline: %v, asked %d times", err, up.count("")-asked)
	}
	change(t, n, node.RepoChange{NoSumdb: patterns("pub.example/**"), PolicyChange: node.PolicyChange{Offline: new(false)}})
	if _, err := repo(t, n, "all").Sumdb(t.Context(), dbName+"/lookup/pub.example/x@v1.0.0"); kindOf(err) != node.ErrForbidden {
		t.Errorf("a lookup of what is private now: %v", err)
	}
}

// The clones of a VCS remote stay as long as it leads where it led.
func TestChangeKeepsClones(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opts, _ := options(t)
	repos := defaults(newProxy(t))
	repos[1].Settings.Upstream = events.UpstreamVCS
	if _, err := node.Init(t.Context(), dir, site("a"), node.Fresh{Repos: repos}, opts); err != nil {
		t.Fatal(err)
	}
	n := openNode(t, dir)
	clones := func() []string {
		found, err := filepath.Glob(filepath.Join(dir, "vcs", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	before := clones()
	if len(before) != 1 {
		t.Fatalf("directories of clones: %q", before)
	}
	change(t, n, node.RepoChange{Description: new("another"), NoSumdb: patterns("nosum.example", "corp.test")})
	if got := clones(); !slices.Equal(got, before) {
		t.Errorf("after another description: %q, want %q", got, before)
	}
	change(t, n, node.RepoChange{PolicyChange: node.PolicyChange{Timeout: new(span("9s"))}})
	waitFor(t, "the old directory to be removed", func() bool {
		_, err := os.Stat(before[0])
		return os.IsNotExist(err) && len(clones()) == 1
	})
}

// What an upstream said to one credential or by one way says nothing about another.
func TestAnotherConnectionAsksAnew(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	n := newRemote(t, up, func(s *events.RepoSettings) { s.AbsentTTL = span("1h") })
	for _, c := range []struct {
		change node.RepoChange
		asked  int
	}{
		{node.RepoChange{Description: new("another")}, 1},
		{node.RepoChange{PolicyChange: node.PolicyChange{Timeout: new(span("9s"))}}, 2},
	} {
		listed(t, repo(t, n, "all"), "pub.example/new")
		change(t, n, c.change)
		if listed(t, repo(t, n, "all"), "pub.example/new"); up.count("/new/") != c.asked {
			t.Errorf("after %+v: asked %d times in all, want %d", c.change, up.count("/new/"), c.asked)
		}
	}
}
