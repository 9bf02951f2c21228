package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

func span(s string) events.Span {
	v, err := events.ParseSpan(s)
	if err != nil {
		panic(err)
	}
	return v
}

// newRemote makes a node whose remote repository public, of which all is made, has
// a policy.
func newRemote(t testing.TB, up *proxy, change func(*events.RepoSettings)) *node.Node {
	t.Helper()
	repos := defaults(up)
	change(&repos[1].Settings)
	dir := t.TempDir()
	opts, _ := options(t)
	if _, err := node.Init(t.Context(), dir, site("a"), node.Fresh{Repos: repos}, opts); err != nil {
		t.Fatal(err)
	}
	return openNode(t, dir)
}

func listed(t testing.TB, r *node.Repository, path string) string {
	t.Helper()
	l, err := r.List(context.WithoutCancel(t.Context()), path)
	if err != nil {
		return kindOf(err).Error()
	}
	return strings.Join(l.Versions, " ")
}

func down(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusBadGateway) }

// A list stands for as long as the settings say, and not longer; a forced refresh
// ends that.
func TestListStandsForItsTime(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	n := newRemote(t, up, func(s *events.RepoSettings) { s.ListTTL, s.AbsentTTL = span("1h"), span("1h") })
	r := repo(t, n, "all")
	if got := listed(t, r, "pub.example/m"); got != "v1.0.0" {
		t.Fatal(got)
	}
	if got := listed(t, r, "pub.example/new"); got != node.ErrNotFound.Error() {
		t.Fatal(got)
	}
	if _, err := r.Info(t.Context(), "pub.example/m", "v1.1.0"); !errors.Is(err, node.ErrNotFound) {
		t.Fatal(err)
	}
	up.add("pub.example/m", "v1.1.0", goMod("pub.example/m"))
	up.add("pub.example/new", "v0.1.0", goMod("pub.example/new"))
	for range 3 {
		listed(t, r, "pub.example/m")
		listed(t, r, "pub.example/new")
		r.Info(t.Context(), "pub.example/m", "v1.1.0")
	}
	for _, path := range []string{"/m/@v/list", "/new/@v/list", "/m/@v/v1.1.0.mod"} {
		if got := up.count(path); got != 1 {
			t.Errorf("%s: asked %d times within its time, want once", path, got)
		}
	}
	got, err := n.Refresh(t.Context(), op, name("public"), "pub.example/m")
	if err != nil || strings.Join(got.Versions, " ") != "v1.0.0 v1.1.0" {
		t.Errorf("refreshed: %+v, %v", got, err)
	}
	if got := listed(t, r, "pub.example/m"); got != "v1.0.0 v1.1.0" {
		t.Errorf("after the refresh of the module: %s", got)
	}
	if _, err := r.Info(t.Context(), "pub.example/m", "v1.1.0"); err != nil {
		t.Errorf("a version that is new since: %v", err)
	}
	if got := listed(t, r, "pub.example/new"); got != node.ErrNotFound.Error() {
		t.Errorf("another module: %s", got)
	}
	if _, err := n.Refresh(t.Context(), op, name("public"), ""); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, r, "pub.example/new"); got != "v0.1.0" {
		t.Errorf("after the refresh of all: %s", got)
	}
	if _, err := n.Refresh(t.Context(), op, name("local"), ""); !errors.Is(err, node.ErrInvalid) {
		t.Errorf("refresh of a local repository: %v", err)
	}
}

func TestTimesToLive(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	n := newRemote(t, up, func(s *events.RepoSettings) { s.ListTTL, s.AbsentTTL = span("1s"), span("1s") })
	r := repo(t, n, "all")
	listed(t, r, "pub.example/m")
	listed(t, r, "pub.example/new")
	up.add("pub.example/m", "v1.1.0", goMod("pub.example/m"))
	up.add("pub.example/new", "v0.1.0", goMod("pub.example/new"))
	waitFor(t, "the list's time to end", func() bool { return listed(t, r, "pub.example/m") == "v1.0.0 v1.1.0" })
	waitFor(t, "the absence's time to end", func() bool { return listed(t, r, "pub.example/new") == "v0.1.0" })
}

// What the upstream said last is given out while it is down, up to an age.
func TestStaleUpToAnAge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		staleFor string
		want     string
	}{{"1h", "v1.0.0"}, {"1s", node.ErrUpstream.Error()}} {
		up := newProxy(t)
		up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
		n := newRemote(t, up, func(s *events.RepoSettings) { s.ListTTL, s.StaleFor = span("1s"), span(tt.staleFor) })
		r := repo(t, n, "all")
		if got := listed(t, r, "pub.example/m"); got != "v1.0.0" {
			t.Fatal(got)
		}
		up.fault("/list", down)
		waitFor(t, "the upstream to be asked again", func() bool {
			listed(t, r, "pub.example/m")
			return up.count("/list") > 1
		})
		if tt.staleFor == "1s" {
			waitFor(t, "the answer to be too old", func() bool { return listed(t, r, "pub.example/m") == tt.want })
			if _, err := n.ChangeRepo(t.Context(), op, name("public"), node.RepoChange{PolicyChange: node.PolicyChange{Offline: new(true)}}); err != nil {
				t.Fatal(err)
			}
			if got := listed(t, repo(t, n, "all"), "pub.example/m"); got != "v1.0.0" {
				t.Errorf("switched offline: %s", got)
			}
			continue
		}
		if l, err := r.List(t.Context(), "pub.example/m"); err != nil || !l.Stale || len(l.Versions) != 1 {
			t.Errorf("while the upstream is down: %+v, %v", l, err)
		}
	}
}

// A node or a repository that is switched offline asks no upstream, serves what it
// holds, and calls nothing absent.
func TestOfflineAsksNobody(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	held := up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	up.add("pub.example/m", "v1.1.0", goMod("pub.example/m"))
	dir := t.TempDir()
	opts, _ := options(t)
	if _, err := node.Init(t.Context(), dir, site("a"), node.Fresh{Repos: defaults(up)}, opts); err != nil {
		t.Fatal(err)
	}
	n := openNode(t, dir)
	if _, err := readZip(t, repo(t, n, "all"), held); err != nil {
		t.Fatal(err)
	}
	listed(t, repo(t, n, "all"), "pub.example/m")
	check := func(what string) {
		t.Helper()
		r := repo(t, n, "all")
		asked := up.count("")
		if _, err := readZip(t, r, held); err != nil {
			t.Errorf("%s: what is held: %v", what, err)
		}
		if l, err := r.List(t.Context(), "pub.example/m"); err != nil || !l.Stale || len(l.Versions) != 2 {
			t.Errorf("%s: list: %+v, %v", what, l, err)
		}
		for what, err := range map[string]error{
			"a version that is not held": func() error { _, err := r.Info(t.Context(), "pub.example/m", "v1.1.0"); return err }(),
			"a module that is not held":  func() error { _, err := r.List(t.Context(), "pub.example/x"); return err }(),
			"a branch":                   func() error { _, err := r.Info(t.Context(), "pub.example/m", "main"); return err }(),
			"a lookup":                   func() error { _, err := r.Sumdb(t.Context(), dbName+"/lookup/pub.example/m@v1.1.0"); return err }(),
		} {
			if kind := kindOf(err); kind != node.ErrUnavailable && kind != node.ErrUpstream || !strings.Contains(err.Error(), "offline") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if got := listed(t, r, "pub.example/m/sub"); got != node.ErrNotFound.Error() {
			t.Errorf("%s: a path below a module that is held: %s", what, got)
		}
		if got := up.count(""); got != asked {
			t.Errorf("%s: the upstream was asked %d times", what, got-asked)
		}
	}
	if err := n.SetOffline(op, true); err != nil {
		t.Fatal(err)
	}
	check("the node")
	n.Close()
	n = openNode(t, dir)
	check("the node, after a restart")
	if err := n.SetOffline(op, false); err != nil {
		t.Fatal(err)
	}
	if _, err := n.ChangeRepo(t.Context(), op, name("public"), node.RepoChange{PolicyChange: node.PolicyChange{Offline: new(true)}}); err != nil {
		t.Fatal(err)
	}
	check("the repository")
	if _, err := n.ChangeRepo(t.Context(), op, name("public"), node.RepoChange{PolicyChange: node.PolicyChange{Offline: new(false)}}); err != nil {
		t.Fatal(err)
	}
	if _, err := repo(t, n, "all").Info(t.Context(), "pub.example/m", "v1.1.0"); err != nil {
		t.Errorf("online again: %v", err)
	}
}

// Patterns hold on every endpoint, and what they keep out is not asked for.
func TestPatterns(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	up.add("evil.example/m", "v1.0.0", goMod("evil.example/m"))
	up.add("other.example/m", "v1.0.0", goMod("other.example/m"))
	n := newRemote(t, up, func(s *events.RepoSettings) {
		s.Include, s.Exclude = patterns("pub.example/**", "evil.example"), patterns("evil.example/**", "pub.example/m/internal/**")
	})
	for _, in := range []string{"all", "public"} {
		r := repo(t, n, in)
		for _, path := range []string{"evil.example/m", "other.example/m"} {
			mv := module.Version{Path: path, Version: "v1.0.0"}
			for what, err := range map[string]error{
				"list":   func() error { _, err := r.List(t.Context(), path); return err }(),
				"latest": func() error { _, err := r.Latest(t.Context(), path); return err }(),
				"info":   func() error { _, err := r.Info(t.Context(), path, mv.Version); return err }(),
				"query":  func() error { _, err := r.Info(t.Context(), path, "main"); return err }(),
				"mod":    func() error { _, err := r.Mod(t.Context(), mv); return err }(),
				"zip":    func() error { _, err := readZip(t, r, mv); return err }(),
				"sumdb":  func() error { _, err := r.Sumdb(t.Context(), dbName+"/lookup/"+path+"@v1.0.0"); return err }(),
			} {
				if kindOf(err) != node.ErrForbidden || !strings.Contains(err.Error(), "pattern") {
					t.Errorf("%s of %s in %s: %v", what, path, in, err)
				}
			}
		}
		if got := listed(t, r, "pub.example/m"); got != "v1.0.0" {
			t.Errorf("%s: %s", in, got)
		}
		// Of a package below a module that is there: not a module.
		if got := listed(t, r, "pub.example/m/internal/x"); got != node.ErrNotFound.Error() {
			t.Errorf("below a module, in %s: %s", in, got)
		}
	}
	if got := up.count("evil") + up.count("other") + up.count("internal"); got != 0 {
		t.Errorf("the upstream was asked %d times for what patterns keep out", got)
	}
}

// A virtual repository asks a member only for what its rule lets through.
func TestMemberRules(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	up.add("pub.example/secret", "v1.0.0", goMod("pub.example/secret"))
	repos := defaults(up)
	repos[2].Settings.MemberRules = []events.MemberRule{{Member: name("public"), Exclude: patterns("pub.example/secret")}}
	dir := t.TempDir()
	opts, _ := options(t)
	if _, err := node.Init(t.Context(), dir, site("a"), node.Fresh{Repos: repos}, opts); err != nil {
		t.Fatal(err)
	}
	n := openNode(t, dir)
	if got := listed(t, repo(t, n, "all"), "pub.example/secret"); got != node.ErrForbidden.Error() || up.count("secret") != 0 {
		t.Errorf("through the virtual one: %s", got)
	}
	if got := listed(t, repo(t, n, "public"), "pub.example/secret"); got != "v1.0.0" {
		t.Errorf("directly: %s", got)
	}
	if got := listed(t, repo(t, n, "all"), "pub.example/m"); got != "v1.0.0" {
		t.Errorf("another module: %s", got)
	}
}

// Names that are nowhere are asked for once in their time, and are no events.
func TestAbsencesAreNoEvents(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	n := newRemote(t, up, func(s *events.RepoSettings) { s.AbsentTTL = span("1h") })
	before := stateHash(t, n)
	r := repo(t, n, "all")
	for i := range 300 {
		if got := listed(t, r, fmt.Sprintf("pub.example/none%d", i)); got != node.ErrNotFound.Error() {
			t.Fatal(got)
		}
	}
	if got := listed(t, r, "pub.example/none299"); got != node.ErrNotFound.Error() || up.count("none299") != 1 {
		t.Errorf("%s, asked %d times", got, up.count("none299"))
	}
	if after := stateHash(t, n); after != before {
		t.Errorf("absences were recorded: %s, then %s", before, after)
	}
}

// A list that is too long for memory stands for its time as others do.
func TestLongListStandsForItsTime(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	var lines strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&lines, "v1.%d.0\n", i)
	}
	up.fault("/long/@v/list", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, lines.String()) })
	n := newRemote(t, up, func(s *events.RepoSettings) { s.ListTTL = span("1h") })
	for range 3 {
		if l, err := repo(t, n, "all").List(t.Context(), "pub.example/long"); err != nil || len(l.Versions) != 5000 {
			t.Fatalf("%d versions, %v", len(l.Versions), err)
		}
	}
	if got := up.count("/list"); got != 1 {
		t.Errorf("the upstream was asked %d times", got)
	}
	waitFor(t, "what was seen to be recorded", n.NothingToRecord)
}

// A version that is younger than the repository's minimum age is in no list and
// its zip is refused with the time at which it opens; info and go.mod can be read.
func TestCooldown(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	old := up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	exempt := up.add("pub.example/m", "v1.0.1", goMod("pub.example/m"))
	n := newRemote(t, up, func(s *events.RepoSettings) {
		s.MinAge, s.ListTTL = span("7d"), span("1s")
		s.NoMinAge = []events.VersionPattern{versionPattern(t, "pub.example/m@v1.0.1"), versionPattern(t, "trusted.example/**")}
	})
	year := time.Now().AddDate(-1, 0, 0)
	seeded, err := n.SeedTimes(t.Context(), op, name("public"), []node.Dated{{Path: "pub.example/m", Version: "v1.0.0", Timestamp: year}})
	if err != nil || seeded != (node.Seeded{Recorded: 1}) {
		t.Fatalf("%+v, %v", seeded, err)
	}
	r := repo(t, n, "all")
	young := up.add("pub.example/m", "v1.1.0", tree{"go.mod": "module pub.example/m\n\ngo 1.21\n\nretract v1.0.0 // broken\n"})
	if got := listed(t, r, "pub.example/m"); got != "v1.0.1" { // v1.1.0 is left out, and so is what it retracts
		t.Errorf("list: %s", got)
	}
	if info, err := r.Latest(t.Context(), "pub.example/m"); err != nil || info.Version != "v1.0.1" {
		t.Errorf("latest: %+v, %v", info, err)
	}
	for _, mv := range []module.Version{old, exempt} {
		if _, err := readZip(t, r, mv); err != nil {
			t.Errorf("zip of %v: %v", mv, err)
		}
	}
	opens := time.Now().AddDate(0, 0, 7).UTC().Format("2006-01-02")
	if _, err := readZip(t, r, young); kindOf(err) != node.ErrForbidden || !strings.Contains(err.Error(), opens) {
		t.Errorf("zip of what is too new: %v, want it to name %s", err, opens)
	}
	if _, err := r.Info(t.Context(), young.Path, young.Version); err != nil {
		t.Errorf("info of what is too new: %v", err)
	}
	if data, err := r.Mod(t.Context(), young); err != nil || !bytes.Contains(data, []byte("retract")) {
		t.Errorf("go.mod of what is too new: %s, %v", data, err)
	}
	// Never listed: its time begins when it is asked for.
	direct := up.add("pub.example/direct", "v0.1.0", goMod("pub.example/direct"))
	if _, err := readZip(t, r, direct); kindOf(err) != node.ErrForbidden || !strings.Contains(err.Error(), opens) {
		t.Errorf("zip of what nobody has seen: %v", err)
	}
	if got := up.count("direct/@v/v0.1.0.zip"); got != 0 {
		t.Errorf("its zip was fetched %d times", got)
	}
	if _, err := readZip(t, r, module.Version{Path: "pub.example/direct", Version: "v0.2.0"}); kindOf(err) != node.ErrNotFound {
		t.Errorf("zip of what there is not: %v", err)
	}
	// A branch stands for a pseudo-version, which passes the same gate.
	up.add("pub.example/m", "v0.0.0-20240102030405-0123456789ab", goMod("pub.example/m"))
	waitFor(t, "the query to be recorded", func() bool {
		_, err := r.Info(t.Context(), "pub.example/m", "main")
		return kindOf(err) == node.ErrForbidden
	})
	trusted := up.add("trusted.example/x", "v1.0.0", goMod("trusted.example/x"))
	if _, err := readZip(t, r, trusted); err != nil {
		t.Errorf("exempt: %v", err)
	}
	waitFor(t, "what was seen to be recorded", n.NothingToRecord)
	pending, more, err := n.Pending(t.Context(), op, name("public"))
	var names []string
	for _, p := range pending {
		names = append(names, p.Module+"@"+p.Version)
		if !p.Opens.After(time.Now()) || p.Opens.Sub(p.FirstSeen) != 7*24*time.Hour {
			t.Errorf("pending %+v", p)
		}
	}
	if got := strings.Join(names, " "); err != nil || more || got != "pub.example/m@v1.1.0 pub.example/direct@v0.1.0 pub.example/m@v0.0.0-20240102030405-0123456789ab" {
		t.Errorf("pending: %s, %v", got, err)
	}
	// When it opens, all of it does.
	if _, err := n.ChangeRepo(t.Context(), op, name("public"), node.RepoChange{PolicyChange: node.PolicyChange{MinAge: new(span("1s"))}}); err != nil {
		t.Fatal(err)
	}
	r = repo(t, n, "all")
	waitFor(t, "the version to open", func() bool { _, err := readZip(t, r, young); return err == nil })
	if got := listed(t, r, "pub.example/m"); got != "v1.0.0 v1.0.1 v1.1.0" {
		t.Errorf("list of what is open: %s", got)
	}
}

// Times that an index feed knows better replace what the registry saw itself;
// others do not, and nothing is recorded twice.
func TestSeedTimes(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	n := newRemote(t, up, func(s *events.RepoSettings) { s.MinAge = span("7d") })
	if got := listed(t, repo(t, n, "all"), "pub.example/m"); got != "" {
		t.Fatalf("list before: %q", got)
	}
	waitFor(t, "what was seen to be recorded", n.NothingToRecord)
	dates := []node.Dated{
		{Path: "pub.example/m", Version: "v1.0.0", Timestamp: time.Now().AddDate(0, -1, 0)},
		{Path: "pub.example/m", Version: "v1.0.0", Timestamp: time.Now().AddDate(0, -2, 0)},
		{Path: "pub.example/m", Version: "v1.1.0", Timestamp: time.Now().AddDate(0, -1, 0)},
		{Path: "pub.example/a", Version: "v0.0.1", Timestamp: time.Now().AddDate(0, -1, 0)},
	}
	for i, want := range []node.Seeded{{Recorded: 3}, {Known: 3}} {
		if got, err := n.SeedTimes(t.Context(), op, name("public"), dates); err != nil || got != want {
			t.Errorf("%d: %+v, %v, want %+v", i, got, err, want)
		}
	}
	if got := listed(t, repo(t, n, "all"), "pub.example/m"); got != "v1.0.0" {
		t.Errorf("list after: %q", got)
	}
	for what, d := range map[string]node.Dated{
		"the future": {Path: "m.test/a", Version: "v1.0.0", Timestamp: time.Now().Add(time.Hour)}, "no time": {Path: "m.test/a", Version: "v1.0.0"},
		"a path": {Path: "m", Version: "v1.0.0", Timestamp: time.Unix(1, 0)}, "a version": {Path: "m.test/a", Version: "v1", Timestamp: time.Unix(1, 0)},
	} {
		if _, err := n.SeedTimes(t.Context(), op, name("public"), []node.Dated{d}); !errors.Is(err, node.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Where the clocks of some sites only count, these date what others fetch: a
// version opens in its time, whoever saw it first.
func TestCooldownByTheClockOfSomeSites(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	repos := defaults(up)
	repos[1].Settings.MinAge, repos[1].Settings.TimeSites = span("1s"), []events.Site{site("a")}
	w := newWorld(t, repos)
	w.join("b", "a", false)
	mv := up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	if _, err := readZip(t, repo(t, w.sites["b"], "all"), mv); kindOf(err) != node.ErrForbidden {
		t.Fatalf("before a has seen it: %v", err)
	}
	waitFor(t, "the version to open at b", func() bool {
		_, err := readZip(t, repo(t, w.sites["b"], "all"), mv)
		return err == nil
	})
	if got := listed(t, repo(t, w.sites["b"], "all"), mv.Path); got != "v1.0.0" {
		t.Errorf("list at b: %s", got)
	}
}

// The ages of a long list are read once for a request, not once for each version.
func TestCooldownOfALongList(t *testing.T) {
	up := newProxy(t)
	var lines strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&lines, "v1.%d.0\n", i)
	}
	up.fault("/long/@v/list", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, lines.String()) })
	n := newRemote(t, up, func(s *events.RepoSettings) { s.MinAge, s.ListTTL = span("7d"), span("1h") })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 20 {
		if l, err := repo(t, n, "all").List(ctx, "pub.example/long"); err != nil || len(l.Versions) != 0 || ctx.Err() != nil {
			t.Fatalf("%d versions, %v, %v", len(l.Versions), err, ctx.Err())
		}
		waitFor(t, "what was seen to be recorded", n.NothingToRecord)
	}
}
