package node_test

import (
	"context"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

// record has a node state something, with no questions asked.
func record(t testing.TB, n *node.Node, bodies ...events.Body) {
	t.Helper()
	if err := n.Record(t.Context(), bodies...); err != nil {
		t.Fatal(err)
	}
}

// grant is a rule that is called as its principal is.
func grant(name, principal, repos, actions string, include ...string) events.PermissionChanged {
	g := events.Grant{Principals: []string{principal}, Repos: strings.Fields(repos), Actions: strings.Fields(actions)}
	for _, p := range include {
		g.Include = append(g.Include, pattern(p))
	}
	return events.PermissionChanged{Name: name, Grant: g}
}

// token gives a user a token.
func token(t testing.TB, n *node.Node, user string, scope access.Scope, expires time.Time) access.Token {
	t.Helper()
	tok := access.NewToken(false)
	record(t, n, events.TokenIssued{ID: tok.ID(), User: user, Hash: tok.Hash(), Repos: scope.Repos, Actions: scope.Actions, Modules: scope.Modules, Expires: expires})
	return tok
}

// login returns a user who has shown a new token.
func login(t testing.TB, n *node.Node, user string) *access.Caller {
	t.Helper()
	who, err := n.Authenticate(t.Context(), access.TokenCredential(token(t, n, user, access.Scope{}, time.Time{})), netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	return who
}

var nobody = access.Anonymous(netip.Addr{})

// newTeams makes a node with two teams: a local repository of each, one remote, and
// a virtual one over all of them.
func newTeams(t testing.TB, up *proxy) *node.Node {
	t.Helper()
	opts, _ := options(t)
	local := func(team string) node.NewRepo {
		return node.NewRepo{Name: name(team), Kind: events.Local, Settings: events.RepoSettings{Owns: []events.Pattern{pattern("corp.example/" + team)}}}
	}
	repos := []node.NewRepo{local("team-a"), local("team-b"), {Name: name("public"), Kind: events.Remote, Settings: events.RepoSettings{Upstream: up.URL, Sumdb: up.key}},
		{Name: name("all"), Kind: events.Virtual, Settings: events.RepoSettings{Members: []events.RepoName{name("team-a"), name("team-b"), name("public")}}}}
	dir := t.TempDir()
	if _, err := node.Init(t.Context(), dir, site("a"), node.Fresh{Repos: repos}, opts); err != nil {
		t.Fatal(err)
	}
	n := openNode(t, dir)
	record(t, n, events.UserCreated{Name: "ann"}, events.UserCreated{Name: "ben"}, events.UserCreated{Name: "cy"}, events.UserCreated{Name: "dee"},
		events.GroupChanged{Name: "team-a", Members: []string{"ann"}}, events.GroupChanged{Name: "team-b", Members: []string{"ben"}})
	record(t, n, grant("a", "group:team-a", "team-a public", "read publish"), grant("b", "group:team-b", "team-b", "read publish delete"),
		grant("cy", "user:cy", "public", "read", "golang.example/**"), grant("dee", "user:dee", "public", "read"))
	return n
}

// reads are all ways to ask for a module version in a repository.
func reads(t testing.TB, n *node.Node, who *access.Caller, repo string, v module.Version) map[string]error {
	errs := map[string]error{}
	r, err := n.Repository(who, name(repo))
	if err != nil {
		for _, how := range []string{"list", "latest", "info", "query", "mod", "zip", "lookup"} {
			errs[how] = err
		}
		return errs
	}
	ctx := context.WithoutCancel(t.Context())
	_, errs["list"] = r.List(ctx, v.Path)
	_, errs["latest"] = r.Latest(ctx, v.Path)
	_, errs["info"] = r.Info(ctx, v.Path, v.Version)
	_, errs["query"] = r.Info(ctx, v.Path, "main")
	_, errs["mod"] = r.Mod(ctx, v)
	z, err := r.Zip(ctx, v)
	if errs["zip"] = err; err == nil {
		z.Close()
	}
	_, errs["lookup"] = r.Sumdb(ctx, dbName+"/lookup/"+v.Path+"@"+v.Version)
	return errs
}

// What one may not read answers alike on all endpoints, whether or not it is there,
// and nobody upstream is asked for it.
func TestReadsAreByRights(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	pub := up.add("golang.example/x", "v1.0.0", goMod("golang.example/x"))
	up.add("other.example/x", "v1.0.0", goMod("other.example/x"))
	n := newTeams(t, up)
	ann, ben, cy, dee := login(t, n, "ann"), login(t, n, "ben"), login(t, n, "cy"), login(t, n, "dee")
	a := mv("corp.example/team-a/x", "v1.0.0")
	if _, err := n.Publish(t.Context(), ann, node.Publication{Repo: name("team-a"), Version: a, Zip: zipReader(t, a, goMod(a.Path))}); err != nil {
		t.Fatal(err)
	}
	for how, err := range reads(t, n, ann, "all", a) {
		if how != "query" && how != "lookup" && err != nil { // no branch; in no database
			t.Errorf("ann: %s: %v", how, err)
		}
	}
	for how, err := range reads(t, n, cy, "all", pub) {
		if how != "query" && err != nil {
			t.Errorf("cy: %s: %v", how, err)
		}
	}
	asked := up.count("")
	for _, tt := range []struct {
		who  *access.Caller
		repo string
		v    module.Version
	}{
		{ben, "all", a}, {ben, "team-a", a}, {ben, "all", mv("corp.example/team-a/none", "v1.0.0")}, {ben, "team-a", mv("corp.example/team-a/none", "v1.0.0")},
		{ben, "none", a}, {ben, "public", pub}, {ben, "all", pub}, {ben, "all", mv("none.example/x", "v1.0.0")},
		{cy, "all", mv("other.example/x", "v1.0.0")}, {cy, "public", mv("other.example/x", "v1.0.0")}, {cy, "all", a}, {dee, "all", a}, {dee, "public", a}, {dee, "all", mv("corp.example/team-a/none", "v1.0.0")},
		{nobody, "all", a}, {nobody, "team-a", a}, {nobody, "none", a}, {nobody, "all", pub}, {nil, "all", a},
		{access.LoopbackCaller(netip.Addr{}), "all", a}, {access.SiteCaller(site("b")), "all", a},
	} {
		want := node.ErrForbidden
		if !tt.who.Known() {
			want = node.ErrUnauthorized
		}
		for how, err := range reads(t, n, tt.who, tt.repo, tt.v) {
			if !errors.Is(err, want) {
				t.Errorf("%v: %s of %v in %s: %v, want it %v", tt.who, how, tt.v, tt.repo, err, want)
			}
		}
	}
	if now := up.count(""); now != asked {
		t.Errorf("the upstream was asked %d times for what nobody may read", now-asked)
	}
	there, not := reads(t, n, ben, "team-a", a), reads(t, n, ben, "team-a", mv("corp.example/team-a/x", "v9.9.9"))
	for how := range there {
		if there[how].Error() != not[how].Error() {
			t.Errorf("%s tells what is there: %v; %v", how, there[how], not[how])
		}
	}
}

// The go command asks for all prefixes of an import path: below a module that one
// may read, what one may not read is not there, whether or not it is.
func TestProbingBelowReadable(t *testing.T) {
	t.Parallel()
	n := newTeams(t, newProxy(t))
	x, nested, sibling := mv("corp.example/team-b/x", "v1.0.0"), mv("corp.example/team-b/x/secret", "v1.0.0"), mv("corp.example/team-b/y", "v1.0.0")
	for _, v := range []module.Version{x, nested, sibling} {
		if _, err := n.Publish(t.Context(), op, node.Publication{Repo: name("team-b"), Version: v, Zip: zipReader(t, v, goMod(v.Path))}); err != nil {
			t.Fatal(err)
		}
	}
	g := grant("cy-b", "user:cy", "team-b", "read", x.Path)
	g.Exclude = []events.Pattern{pattern(nested.Path), pattern(x.Path + "/none")}
	record(t, n, g)
	cy := login(t, n, "cy")
	for v, want := range map[module.Version]error{
		x: nil, nested: node.ErrNotFound, mv(x.Path+"/none", "v1.0.0"): node.ErrNotFound, mv(x.Path+"/pkg", "v1.0.0"): node.ErrNotFound,
		sibling: node.ErrForbidden, mv("corp.example/team-b/none", "v1.0.0"): node.ErrForbidden, mv("corp.example", "v1.0.0"): node.ErrForbidden,
	} {
		for _, how := range []string{"list", "info", "mod", "zip"} {
			if err := reads(t, n, cy, "all", v)[how]; !errors.Is(err, want) {
				t.Errorf("%s of %v: %v, want %v", how, v, err, want)
			}
		}
	}
}

// withID returns a token with its secret under another's id.
func withID(t testing.TB, tok access.Token, id string) access.Token {
	t.Helper()
	text := strings.Replace(tok.Secret(), tok.ID(), id, 1)
	text = text[:len(text)-7]
	lower := base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	forged, err := access.ParseToken(text + lower.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(text)))))
	if err != nil {
		t.Fatal(err)
	}
	return forged
}

// A token counts while it, and its user, are what they were when it was issued.
func TestTokenCounts(t *testing.T) {
	t.Parallel()
	n := newTeams(t, newProxy(t))
	auth := func(tok access.Token) error {
		who, err := n.Authenticate(t.Context(), access.TokenCredential(tok), netip.MustParseAddr("192.0.2.7"))
		if err == nil && (who.User() != "ann" || who.TokenID() != tok.ID() || who.Actor() != "ann/"+tok.ID() || who.From().String() != "192.0.2.7") {
			t.Errorf("authenticated as %v from %v", who, who.From())
		}
		return err
	}
	good := token(t, n, "ann", access.Scope{}, time.Now().UTC().Add(time.Hour))
	if err := auth(good); err != nil {
		t.Fatal(err)
	}
	isKind(t, auth(access.NewToken(false)), node.ErrUnauthorized, "not known")
	isKind(t, auth(access.NewToken(true)), node.ErrUnauthorized, "not known")
	other := token(t, n, "ann", access.Scope{}, time.Time{})
	isKind(t, auth(withID(t, other, good.ID())), node.ErrUnauthorized, "not known")
	expired := token(t, n, "ann", access.Scope{}, time.Now().UTC().Add(-time.Second))
	isKind(t, auth(expired), node.ErrUnauthorized, "expired at")
	record(t, n, events.TokenRevoked{ID: good.ID()})
	isKind(t, auth(good), node.ErrUnauthorized, "revoked")
	record(t, n, events.UserChanged{Name: "ann", User: events.User{Disabled: true}})
	isKind(t, auth(other), node.ErrUnauthorized, "disabled")
	record(t, n, events.UserChanged{Name: "ann"})
	if err := auth(other); err != nil {
		t.Error(err)
	}
	record(t, n, events.UserDeleted{Name: "ann"})
	isKind(t, auth(other), node.ErrUnauthorized, "deleted")
	record(t, n, events.UserCreated{Name: "ann"})
	isKind(t, auth(other), node.ErrUnauthorized, "deleted")
	// All at one time, in one entry.
	first, second := access.NewToken(false), access.NewToken(false)
	if err := n.Say(t.Context(), events.UserDeleted{Name: "ann"}, events.UserCreated{Name: "ann"},
		events.TokenIssued{ID: first.ID(), User: "ann", Hash: first.Hash()},
		events.UserDeleted{Name: "ann"}, events.UserCreated{Name: "ann"},
		events.TokenIssued{ID: second.ID(), User: "ann", Hash: second.Hash()}); err != nil {
		t.Fatal(err)
	}
	isKind(t, auth(first), node.ErrUnauthorized, "deleted")
	if err := auth(second); err != nil {
		t.Errorf("issued after its user was made: %v", err)
	}
	none := token(t, n, "nobody", access.Scope{}, time.Time{})
	isKind(t, auth(none), node.ErrUnauthorized, "deleted")
}

// Rights that are taken away are gone with the next request.
func TestRightsEndAtOnce(t *testing.T) {
	t.Parallel()
	n := newTeams(t, newProxy(t))
	ann := login(t, n, "ann")
	v := mv("corp.example/team-a/x", "v1.0.0")
	publish := func() error {
		_, err := n.Publish(t.Context(), ann, node.Publication{Repo: name("team-a"), Version: v, Zip: zipReader(t, v, goMod(v.Path))})
		return err
	}
	if err := publish(); err != nil {
		t.Fatal(err)
	}
	record(t, n, events.GroupChanged{Name: "team-a"})
	isKind(t, publish(), node.ErrForbidden, "ann may not publish", "registry-node permission set")
	record(t, n, grant("ann", "user:ann", "team-a", "publish", "corp.example/team-a/y"))
	isKind(t, publish(), node.ErrForbidden, "ann may not publish")
	record(t, n, grant("ann", "user:ann", "team-a", "publish", "corp.example/team-a/x"))
	if err := publish(); err != nil {
		t.Error(err)
	}
	record(t, n, events.PermissionDeleted{Name: "ann"})
	isKind(t, publish(), node.ErrForbidden, "ann may not publish")
}

// during is a body whose reading does something.
type during struct {
	io.Reader
	do func()
}

func (d *during) Read(p []byte) (int, error) {
	if d.do != nil {
		d.do()
		d.do = nil
	}
	return d.Reader.Read(p)
}

// An upload that began with a right ends without one, if that was taken meanwhile.
func TestUploadOutlivesNoRight(t *testing.T) {
	t.Parallel()
	n := newTeams(t, newProxy(t))
	for i, end := range []func(*access.Caller){
		func(who *access.Caller) { record(t, n, events.TokenRevoked{ID: who.TokenID()}) },
		func(*access.Caller) { record(t, n, events.GroupChanged{Name: "team-a"}) },
	} {
		record(t, n, events.GroupChanged{Name: "team-a", Members: []string{"ann"}})
		ann := login(t, n, "ann")
		v := mv("corp.example/team-a/x", fmt.Sprintf("v1.0.%d", i))
		body := &during{zipReader(t, v, goMod(v.Path)), func() { end(ann) }}
		_, err := n.Publish(t.Context(), ann, node.Publication{Repo: name("team-a"), Version: v, Zip: body})
		if !errors.Is(err, node.ErrUnauthorized) && !errors.Is(err, node.ErrForbidden) {
			t.Errorf("%d: %v", i, err)
		}
		if err := reads(t, n, op, "team-a", v)["mod"]; !errors.Is(err, node.ErrNotFound) {
			t.Errorf("%d: it is there: %v", i, err)
		}
	}
}

// A refusal to publish tells nothing of what a name stands for; and what another
// team's repository can't have is absent, not kept from anybody.
func TestRefusalsNameNothing(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	up.add("golang.example/x", "v1.0.0", goMod("golang.example/x"))
	n := newTeams(t, up)
	deploy := name("team-b")
	if _, err := n.ChangeRepo(t.Context(), op, name("all"), node.RepoChange{Deploy: &deploy}); err != nil {
		t.Fatal(err)
	}
	v := mv("corp.example/team-b/x", "v1.0.0")
	for _, repo := range []string{"all", "none"} {
		_, err := n.Publish(t.Context(), nobody, node.Publication{Repo: name(repo), Version: v, Zip: zipReader(t, v, goMod(v.Path))})
		isKind(t, err, node.ErrUnauthorized, "in repository "+repo)
	}
	dee := login(t, n, "dee")
	if err := reads(t, n, dee, "public", v)["zip"]; !errors.Is(err, node.ErrForbidden) || strings.Contains(err.Error(), "local repository") {
		t.Errorf("dee is told whose it is: %v", err)
	}
	for how, err := range reads(t, n, dee, "all", mv("golang.example/none", "v1.0.0")) {
		if how != "lookup" && !errors.Is(err, node.ErrNotFound) {
			t.Errorf("%s of what is nowhere: %v", how, err)
		}
	}
}

// Who manages a repository does not reach through it what others have.
func TestManagersReachNoFurther(t *testing.T) {
	t.Parallel()
	n := newTeams(t, newProxy(t))
	record(t, n, grant("lead", "user:ann", "team-a*", "manage"), grant("root", "user:cy", "*", "manage"))
	ann, root := login(t, n, "ann"), login(t, n, "cy")
	str := func(s string) *string { return &s }
	secrets := []events.SecretRef{{Host: "evil.example", Name: name("corp-git")}}
	for what, c := range map[string]node.RepoChange{
		"secrets":    {PolicyChange: node.PolicyChange{Secrets: &secrets}},
		"proxy":      {PolicyChange: node.PolicyChange{Proxy: str("http://evil.example:1")}},
		"inside":     {PolicyChange: node.PolicyChange{AllowInside: &[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}},
		"plain host": {PolicyChange: node.PolicyChange{PlainHosts: &[]string{"evil.example"}}},
	} {
		_, err := n.CreateRepo(t.Context(), ann, node.NewRepo{Name: name("team-a-" + strings.ReplaceAll(what, " ", "")), Kind: events.Remote, Settings: c.Apply(events.RepoSettings{Upstream: "https://up.example"})})
		isKind(t, err, node.ErrForbidden, "administrators of the registry")
	}
	_, err := n.ChangeRepo(t.Context(), ann, name("team-a"), node.RepoChange{Owns: []events.Pattern{pattern("golang.org/**")}})
	isKind(t, err, node.ErrForbidden, "owns golang.org/**")
	if _, err := n.ChangeRepo(t.Context(), ann, name("team-a"), node.RepoChange{Owns: []events.Pattern{pattern("corp.example/team-a/deep")}, Description: str("x")}); err != nil {
		t.Error(err)
	}
	if _, err := n.ChangeRepo(t.Context(), root, name("team-a"), node.RepoChange{Owns: []events.Pattern{pattern("second.example/**")}}); err != nil {
		t.Error(err)
	}
	_, err = n.ChangeRepo(t.Context(), ann, name("team-a"), node.RepoChange{Disowns: []events.Pattern{pattern("corp.example/team-a")}})
	isKind(t, err, node.ErrForbidden, "owns a name no more")
	isKind(t, n.DeleteRepo(t.Context(), ann, name("team-a"), ""), node.ErrForbidden, "owns names")
	_, err = n.CreateRepo(t.Context(), ann, node.NewRepo{Name: name("team-a-web"), Kind: events.Remote, Settings: events.RepoSettings{Upstream: "http://127.0.0.1:9090", Sumdb: "off"}})
	isKind(t, err, node.ErrForbidden, "used by no other repository")
	same, err := n.Repo(op, name("public"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.CreateRepo(t.Context(), ann, node.NewRepo{Name: name("team-a-web"), Kind: events.Remote, Settings: events.RepoSettings{Upstream: same.Upstream, Sumdb: "off"}}); err != nil {
		t.Error(err)
	}
	for _, repo := range []string{"team-b", "public", "all", "none"} {
		_, err := n.ChangeRepo(t.Context(), ann, name(repo), node.RepoChange{Description: str("mine")})
		isKind(t, err, node.ErrForbidden, "ann may not manage "+repo)
		isKind(t, n.DeleteRepo(t.Context(), ann, name(repo), ""), node.ErrForbidden, "ann may not manage "+repo)
	}
	// A virtual repository of hers shows her no more than its members do.
	b := mv("corp.example/team-b/x", "v1.0.0")
	if _, err := n.Publish(t.Context(), op, node.Publication{Repo: name("team-b"), Version: b, Zip: zipReader(t, b, goMod(b.Path))}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.CreateRepo(t.Context(), root, node.NewRepo{Name: name("team-a-all"), Kind: events.Virtual, Settings: events.RepoSettings{Members: []events.RepoName{name("team-b")}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.ChangeRepo(t.Context(), ann, name("team-a-all"), node.RepoChange{Description: str("with a member of others")}); err != nil {
		t.Error(err)
	}
	for how, err := range reads(t, n, ann, "team-a-all", b) {
		if !errors.Is(err, node.ErrForbidden) {
			t.Errorf("%s through a virtual repository: %v", how, err)
		}
	}
}

// Who manages the repositories of a project can't tell by what a virtual one may have
// for members, or by what a local one may own, which repositories of others there
// are, nor by asking about a virtual one who may do what in them.
func TestManagersLearnNothingOfOthers(t *testing.T) {
	t.Parallel()
	n := newTeams(t, newProxy(t))
	record(t, n, grant("lead", "user:ann", "team-a*", "manage"), grant("root", "user:cy", "*", "manage"))
	ann, root := login(t, n, "ann"), login(t, n, "cy")
	for _, m := range []string{"team-b", "none"} {
		members := []events.RepoName{name("team-a"), name(m)}
		_, err := n.CreateRepo(t.Context(), ann, node.NewRepo{Name: name("team-a-all"), Kind: events.Virtual, Settings: events.RepoSettings{Members: members}})
		isKind(t, err, node.ErrForbidden, "ann may not read what is in repository "+m)
	}
	own := []events.RepoName{name("team-a")}
	if _, err := n.CreateRepo(t.Context(), ann, node.NewRepo{Name: name("team-a-all"), Kind: events.Virtual, Settings: events.RepoSettings{Members: own}}); err != nil {
		t.Fatal(err)
	}
	question := node.AccessQuestion{User: "ben", Action: access.Read, Repo: "team-a-all"}
	if a, err := n.CheckAccess(ann, question); err != nil || a.Allowed {
		t.Errorf("about a virtual repository with a member of hers: %+v, %v", a, err)
	}
	both := append(own, name("team-b"))
	if _, err := n.ChangeRepo(t.Context(), root, name("team-a-all"), node.RepoChange{Members: &both}); err != nil {
		t.Fatal(err)
	}
	_, err := n.CheckAccess(ann, question)
	isKind(t, err, node.ErrForbidden, "of which you may manage all members")
	if a, err := n.CheckAccess(root, question); err != nil || !a.Allowed {
		t.Errorf("an administrator: %+v, %v", a, err)
	}

	deep := pattern("corp.example/team-a/deep")
	if _, err := n.CreateRepo(t.Context(), root, node.NewRepo{Name: name("hidden"), Kind: events.Local, Settings: events.RepoSettings{Owns: []events.Pattern{deep}}}); err != nil {
		t.Fatal(err)
	}
	_, err = n.ChangeRepo(t.Context(), ann, name("team-a"), node.RepoChange{Owns: []events.Pattern{deep}})
	isKind(t, err, node.ErrInvalid, "is owned by another repository")
	_, err = n.ChangeRepo(t.Context(), root, name("team-a"), node.RepoChange{Owns: []events.Pattern{deep}})
	isKind(t, err, node.ErrInvalid, "is owned by repository hidden")
}

// Deleting hides: nobody gets the version any more, its name stays burnt.
func TestHide(t *testing.T) {
	t.Parallel()
	n := newTeams(t, newProxy(t))
	ann, ben := login(t, n, "ann"), login(t, n, "ben")
	v := mv("corp.example/team-b/x", "v1.0.0")
	again := func() error {
		_, err := n.Publish(t.Context(), ben, node.Publication{Repo: name("team-b"), Version: v, Zip: zipReader(t, v, goMod(v.Path))})
		return err
	}
	if err := again(); err != nil {
		t.Fatal(err)
	}
	isKind(t, n.Hide(t.Context(), ann, name("team-b"), v, ""), node.ErrForbidden, "ann may not delete")
	isKind(t, n.Hide(t.Context(), ben, name("team-b"), mv(v.Path, "v1.0.1"), ""), node.ErrNotFound, "v1.0.1 is not in repository team-b")
	isKind(t, n.Hide(t.Context(), op, name("public"), v, ""), node.ErrInvalid, "block it")
	for range 2 {
		if err := n.Hide(t.Context(), ben, name("team-b"), v, "leaked"); err != nil {
			t.Fatal(err)
		}
	}
	r, err := n.Repository(ben, name("all"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Zip(t.Context(), v)
	isKind(t, err, node.ErrNotFound, "was deleted")
	if l, err := r.List(t.Context(), v.Path); slices.Contains(l.Versions, v.Version) {
		t.Errorf("listed: %v, %v", l.Versions, err)
	}
	if err := again(); err == nil {
		t.Error("a deleted version was published again")
	}
}
