package node_test

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

// items returns the repository and the path of each item that a caller gets.
func items(t *testing.T, n *node.Node, who *access.Caller, q node.ItemQuery) (paths []string) {
	t.Helper()
	for i, err := range n.Items(t.Context(), who, q) {
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, i.Repo.String()+":"+i.Dir()+"/"+i.Name())
	}
	return paths
}

func filesOf(repo, path, version string) []string {
	base := repo + ":" + path + "/@v/" + version
	return []string{base + ".info", base + ".mod", base + ".zip"}
}

func same(t *testing.T, what string, got []string, want ...[]string) {
	t.Helper()
	if all := slices.Concat(want...); !slices.Equal(got, all) {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(all, "\n"))
	}
}

func TestItems(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	up.add("up.example/m", "v1.0.0", goMod("up.example/m"))
	n, _ := newNode(t, up)
	for _, mv := range []string{"A/B v1.0.0", "a v1.0.0", "a v1.0.0-rc.zip.1", "a v1.1.0", "a v1.10.0", "a/v2 v2.0.0", "ab v1.0.0", "b v1.0.0", "gone v1.0.0", "blocked v1.0.0", "purged v1.0.0"} {
		path, version, _ := strings.Cut(mv, " ")
		mustPublish(t, n, "corp.example/"+path, version)
	}
	if _, err := readZip(t, repo(t, n, "public"), module.Version{Path: "up.example/m", Version: "v1.0.0"}); err != nil {
		t.Fatal(err)
	}
	asked := up.count("")
	if err := n.Hide(t.Context(), op, name("local"), module.Version{Path: "corp.example/gone", Version: "v1.0.0"}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Block(t.Context(), op, must(events.ParseVersionPattern("corp.example/blocked")), "a test"); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Purge(t.Context(), op, module.Version{Path: "corp.example/purged", Version: "v1.0.0"}, "a test"); err != nil {
		t.Fatal(err)
	}

	a := func(version string) []string { return filesOf("local", "corp.example/a", version) }
	local := slices.Concat(filesOf("local", "corp.example/A/B", "v1.0.0"), a("v1.0.0"), a("v1.0.0-rc.zip.1"), a("v1.1.0"), a("v1.10.0"),
		filesOf("local", "corp.example/a/v2", "v2.0.0"), filesOf("local", "corp.example/ab", "v1.0.0"), filesOf("local", "corp.example/b", "v1.0.0"))
	public := filesOf("public", "up.example/m", "v1.0.0")
	for _, c := range []struct {
		repo, prefix string
		looks        int
		want         []string
	}{
		{"local", "", 12, local},
		{"public", "", 4, public}, // a purge is stated in all repositories,
		{"all", "", 16, slices.Concat(local, public)},
		{"local", "corp.example/", 12, local},
		{"local", "corp.example/a/", 7, slices.Concat(a("v1.0.0"), a("v1.0.0-rc.zip.1"), a("v1.1.0"), a("v1.10.0"), filesOf("local", "corp.example/a/v2", "v2.0.0"))},
		{"local", "corp.example/a/@v", 5, slices.Concat(a("v1.0.0"), a("v1.0.0-rc.zip.1"), a("v1.1.0"), a("v1.10.0"))},
		{"local", "corp.example/a/@v/v1.1", 3, slices.Concat(a("v1.1.0"), a("v1.10.0"))},
		{"local", "corp.example/a/@v/v1.0.0.zip", 3, a("v1.0.0")[2:]},
		{"local", "corp.example/a/@v/v1.0.0-rc.zip", 2, a("v1.0.0-rc.zip.1")},
		{"local", "corp.example/a/@v/v1.0.0-rc.zip.1.z", 2, a("v1.0.0-rc.zip.1")[2:]},
		{"local", "corp.example/none/@v/v1.0.0.zip", 1, nil},
		{"local", "corp.example/gone/@v/v1.0.0.zip", 2, nil},
		{"local", "/@v/", 12, nil},
		{"local", "\x00", 1, nil},
	} {
		looks := 100
		same(t, c.repo+" "+c.prefix, items(t, n, op, node.ItemQuery{Repo: name(c.repo), Prefix: c.prefix, Looks: &looks}), c.want)
		if 100-looks > c.looks {
			t.Errorf("%s %q: %d records were looked at, want at most %d", c.repo, c.prefix, 100-looks, c.looks)
		}
	}
	if now := up.count(""); now != asked {
		t.Errorf("the upstream was asked %d times", now-asked)
	}

	// Where there is nothing it looks, too, and not for ever.
	looks := 3
	for range 3 {
		items(t, n, op, node.ItemQuery{Repo: name("local"), Prefix: "corp.example/none", Looks: &looks})
	}
	ended, end := context.WithCancel(t.Context())
	end()
	for _, c := range []struct {
		ctx  context.Context
		left int
		want error
	}{{t.Context(), 0, node.ErrTooLarge}, {ended, 1, context.Canceled}} {
		var got error
		for _, err := range n.Items(c.ctx, op, node.ItemQuery{Repo: name("local"), Prefix: "corp.example/none", Looks: &c.left}) {
			got = err
		}
		if !errors.Is(got, c.want) || looks != 0 {
			t.Errorf("%v, %d looks are left, want %v", got, looks, c.want)
		}
	}
	looks = 3
	for _, err := range n.Items(t.Context(), op, node.ItemQuery{Repo: name("local"), Looks: &looks}) {
		if err != nil && !errors.Is(err, node.ErrTooLarge) {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	count := 0
	for _, err := range n.Items(ctx, op, node.ItemQuery{Repo: name("local")}) {
		cancel()
		if count++; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if looks != 0 || count > 4 {
		t.Errorf("%d looks were left, %d items came after the end of the context", looks, count)
	}
}

// TestItemsAndRights holds that what a caller may not read is not there, and that a
// module of which that is so costs one look, whatever it holds.
func TestItemsAndRights(t *testing.T) {
	t.Parallel()
	n, _ := newNode(t, nil)
	for _, v := range []string{"v1.0.0", "v1.0.1", "v1.0.2"} {
		mustPublish(t, n, "corp.example/a", v)
		mustPublish(t, n, "corp.example/a/secret", v)
	}
	rule := events.Grant{Principals: []string{"user:alice"}, Repos: []string{"local"}, Actions: []string{"read"}, Exclude: []events.Pattern{pattern("corp.example/a/secret")}}
	if err := n.Record(t.Context(), events.PermissionChanged{Name: "alice", Grant: rule}); err != nil {
		t.Fatal(err)
	}
	alice := access.UserCaller(access.Login{User: "alice"})
	want := slices.Concat(filesOf("local", "corp.example/a", "v1.0.0"), filesOf("local", "corp.example/a", "v1.0.1"), filesOf("local", "corp.example/a", "v1.0.2"))
	for _, c := range []struct {
		repo, prefix string
		looks        int
		want         []string
	}{
		{"local", "", 6, want}, {"all", "", 6, want}, {"local", "corp.example/a", 6, want},
		{"local", "corp.example/a/secret", 3, nil}, {"local", "corp.example/a/secret/@v/v1", 3, nil}, {"local", "corp.example/a/s", 3, nil},
	} {
		looks := 100
		same(t, c.repo+" "+c.prefix, items(t, n, alice, node.ItemQuery{Repo: name(c.repo), Prefix: c.prefix, Looks: &looks}), c.want)
		if 100-looks > c.looks {
			t.Errorf("%s %q: %d records were looked at, want at most %d", c.repo, c.prefix, 100-looks, c.looks)
		}
	}
	for _, err := range n.Items(t.Context(), access.UserCaller(access.Login{User: "bob"}), node.ItemQuery{Repo: name("local")}) {
		if !errors.Is(err, node.ErrForbidden) {
			t.Errorf("bob: %v", err)
		}
	}
}

func TestItemSums(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t, nil)
	p := mustPublish(t, n, "corp.example/a", "v1.0.0")
	mv := module.Version{Path: "corp.example/a", Version: "v1.0.0"}
	for range 2 {
		for file, want := range map[string][]byte{
			"zip": must(readZip(t, repo(t, n, "all"), mv)), "mod": must(repo(t, n, "all").Mod(t.Context(), mv)), "info": must(repo(t, n, "all").Info(t.Context(), mv.Path, mv.Version)).Data,
		} {
			i, err := repo(t, n, "all").Item(t.Context(), mv, file)
			if err != nil {
				t.Fatal(err)
			}
			s, ok, err := i.Sums(t.Context())
			if !ok || err != nil || s.SHA256 != events.DigestOf(want) || s.SHA1 != sha1.Sum(want) || s.MD5 != md5.Sum(want) || i.SHA256() != s.SHA256 || i.Size != int64(len(want)) {
				t.Errorf("%s: %+v %+v %v %v", file, i, s, ok, err)
			}
			if i.Repo != name("local") || !i.Created.Equal(p.Time) || i.CreatedBy != "operator@a" {
				t.Errorf("%s: %+v", file, i)
			}
		}
		if err := n.Close(); err != nil { // the second time they are read from where they were kept
			t.Fatal(err)
		}
		n = openNode(t, dir)
	}
	for _, c := range []struct {
		version, file string
		want          error
	}{{"v1.0.1", "zip", node.ErrNotFound}, {"v1.0.0", "txt", node.ErrNotFound}, {"x", "zip", node.ErrNotFound}} {
		if _, err := repo(t, n, "local").Item(t.Context(), module.Version{Path: mv.Path, Version: c.version}, c.file); !errors.Is(err, c.want) {
			t.Errorf("%v: %v", c, err)
		}
	}
	// They go with the bytes.
	zip := must(repo(t, n, "local").Item(t.Context(), mv, events.ZipFile)).SHA256()
	if !n.HasSums(zip) {
		t.Error("no checksums are kept")
	}
	if _, err := n.Purge(t.Context(), op, mv, "a test"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the checksums to go", func() bool { return !n.HasBlob(zip) && !n.HasSums(zip) })
}

// TestItemsOfVirtual holds that of a version which two members have, the one that
// answers for it is shown.
func TestItemsOfVirtual(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	n, _ := newNode(t, up)
	for _, r := range []node.NewRepo{
		{Name: name("mirror"), Kind: events.Remote, Settings: events.RepoSettings{Upstream: up.URL, Sumdb: up.key}},
		{Name: name("both"), Kind: events.Virtual, Settings: events.RepoSettings{Members: []events.RepoName{name("public"), name("mirror")},
			MemberRules: []events.MemberRule{{Member: name("mirror"), Exclude: []events.Pattern{pattern("up.example/kept/out")}}}}},
	} {
		if _, err := n.CreateRepo(t.Context(), op, r); err != nil {
			t.Fatal(err)
		}
	}
	for path, from := range map[string][]string{"up.example/a": {"public", "mirror"}, "up.example/b": {"mirror"}, "up.example/kept/out": {"mirror"}} {
		mv := up.add(path, "v1.0.0", goMod(path))
		for _, r := range from {
			if _, err := readZip(t, repo(t, n, r), mv); err != nil {
				t.Fatal(err)
			}
		}
	}
	same(t, "both", items(t, n, op, node.ItemQuery{Repo: name("both")}), filesOf("public", "up.example/a", "v1.0.0"), filesOf("mirror", "up.example/b", "v1.0.0"))
	if _, err := n.Evict(t.Context(), op, name("public"), must(events.ParseVersionPattern("up.example/a"))); err != nil {
		t.Fatal(err)
	}
	same(t, "public without the zip", items(t, n, op, node.ItemQuery{Repo: name("public")}), filesOf("public", "up.example/a", "v1.0.0")[:2])
}
