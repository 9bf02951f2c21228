package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

// goods are what somebody has of a version.
type goods struct {
	mv             module.Version
	info, mod, zip []byte
}

// goodsOf returns what the go command would have of a version with these files.
func goodsOf(t testing.TB, path, version string, files tree) goods {
	mv := module.Version{Path: path, Version: version}
	return goods{mv, []byte(`{"Version":"` + version + `","Time":"2024-01-02T03:04:05Z"}`), []byte(files["go.mod"]), zipOf(t, mv, files)}
}

func (g goods) sums(t testing.TB) (mod, zip events.H1) {
	t.Helper()
	text, err := zipH1(g.zip)
	if err == nil {
		zip, err = events.ParseH1(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	return events.HashMod(g.mod), zip
}

// importation is what imports g into public; change, unless it is nil, has its way
// with it.
func importation(g goods, change func(*node.Importation)) node.Importation {
	im := node.Importation{Repo: name("public"), Version: g.mv, Open: func() (node.ImportedParts, error) {
		p := node.ImportedParts{Info: g.info, Mod: g.mod}
		if g.zip != nil {
			p.Zip = bytes.NewReader(g.zip)
		}
		return p, nil
	}}
	if change != nil {
		change(&im)
	}
	return im
}

func imports(t testing.TB, n *node.Node, g goods, change func(*node.Importation)) (node.Imported, error) {
	t.Helper()
	return n.Import(context.WithoutCancel(t.Context()), op, importation(g, change))
}

// What was imported is given out as what came from the upstream, which is not asked.
// The same again changes nothing, and the parts may come one after the other.
func TestImport(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	n := newRemote(t, up, func(s *events.RepoSettings) { s.Sumdb = "off" })
	for _, version := range []string{"v1.0.0", "v2.0.0+incompatible", "v0.0.0-20240102030405-0123456789ab"} {
		g := goodsOf(t, "pub.example/Sub/m", version, goMod("pub.example/Sub/m").with("m.go", "package m // "+version))
		modH1, h1 := g.sums(t)
		alone := g
		alone.info, alone.zip = nil, nil
		got, err := imports(t, n, alone, func(im *node.Importation) { im.ModH1 = modH1 })
		if err != nil || got.Existed || got.ModH1 != modH1 || !got.H1.IsZero() {
			t.Fatalf("%s alone: %+v, %v", version, got, err)
		}
		got, err = imports(t, n, g, func(im *node.Importation) { im.ModH1, im.ZipH1 = modH1, h1 })
		if err != nil || got.Existed || got.H1 != h1 || got.Sumdb != "" {
			t.Fatalf("%s: %+v, %v", version, got, err)
		}
		before := stateHash(t, n)
		if again, err := imports(t, n, g, nil); err != nil || !again.Existed || again.H1 != h1 {
			t.Errorf("%s again: %+v, %v", version, again, err)
		}
		if after := stateHash(t, n); after != before {
			t.Errorf("%s again wrote into the log: %s, %s", version, before, after)
		}
		r := repo(t, n, "all")
		data, err := readZip(t, r, g.mv)
		if err != nil || !bytes.Equal(data, g.zip) {
			t.Errorf("%s: %d bytes of zip, %v", version, len(data), err)
		}
		info, err := r.Info(t.Context(), g.mv.Path, g.mv.Version)
		if err != nil || !strings.Contains(string(info.Data), `"`+version+`"`) || module.IsPseudoVersion(version) != strings.Contains(string(info.Data), "2024-01-02T03:04:05Z") {
			t.Errorf("%s: info %s, %v", version, info.Data, err)
		}
	}
	if n := up.count("/@v/"); n != 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
}

// Content that is not what go.sum says, or breaks a rule, is refused, and nothing of
// it is recorded.
func TestImportRefusesContent(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	n := newRemote(t, up, func(s *events.RepoSettings) { s.Sumdb = "off" })
	good := goodsOf(t, "pub.example/m", "v1.0.0", goMod("pub.example/m").with("m.go", "package m"))
	other := goodsOf(t, "pub.example/m", "v1.0.0", goMod("pub.example/m").with("m.go", "package x"))
	otherMod := goodsOf(t, "pub.example/m", "v1.0.0", tree{"go.mod": "module pub.example/m\n\ngo 1.22\n"})
	flipped := bytes.Clone(good.zip)
	flipped[30+int(flipped[26])+int(flipped[28])+1] ^= 1 // behind the header, name and extra field of the first file
	before := stateHash(t, n)
	for what, tt := range map[string]struct {
		change func(g *goods, im *node.Importation)
		kind   error
		part   string
	}{
		"zip of other hash":    {func(g *goods, im *node.Importation) { _, im.ZipH1 = other.sums(t) }, node.ErrUnprocessable, "as the request says"},
		"go.mod of other hash": {func(g *goods, im *node.Importation) { im.ModH1, _ = otherMod.sums(t) }, node.ErrUnprocessable, "as the request says"},
		"flipped bit":          {func(g *goods, im *node.Importation) { g.zip = flipped }, node.ErrUnprocessable, "the imported zip is refused"},
		"truncated zip":        {func(g *goods, im *node.Importation) { g.zip = g.zip[:len(g.zip)-30] }, node.ErrUnprocessable, "the imported zip is refused"},
		"empty zip":            {func(g *goods, im *node.Importation) { g.zip = []byte{} }, node.ErrUnprocessable, "the imported zip is refused"},
		"zip of another": {func(g *goods, im *node.Importation) {
			g.zip = goodsOf(t, "pub.example/x", "v1.0.0", goMod("pub.example/x")).zip
		}, node.ErrUnprocessable, "refused"},
		"go.mod of another":  {func(g *goods, im *node.Importation) { g.mod = otherMod.mod }, node.ErrUnprocessable, "the go.mod in the imported zip"},
		"page for go.mod":    {func(g *goods, im *node.Importation) { g.mod = []byte("<html>") }, node.ErrUnprocessable, "go.mod"},
		"no go.mod":          {func(g *goods, im *node.Importation) { g.mod = nil }, node.ErrUnprocessable, "empty"},
		"info of another":    {func(g *goods, im *node.Importation) { g.info = []byte(`{"Version":"v1.0.1"}`) }, node.ErrUnprocessable, "v1.0.1"},
		"info that is none":  {func(g *goods, im *node.Importation) { g.info = []byte(`"v1.0.0"`) }, node.ErrUnprocessable, "info"},
		"long info":          {func(g *goods, im *node.Importation) { g.info = append(g.info, bytes.Repeat([]byte(" "), 64<<10)...) }, node.ErrTooLarge, "info"},
		"no version":         {func(g *goods, im *node.Importation) { im.Version.Version = "main" }, node.ErrInvalid, "main"},
		"no module":          {func(g *goods, im *node.Importation) { im.Version.Path = "m" }, node.ErrInvalid, "missing dot"},
		"local repository":   {func(g *goods, im *node.Importation) { im.Repo = name("local") }, node.ErrInvalid, "local"},
		"virtual repository": {func(g *goods, im *node.Importation) { im.Repo = name("all") }, node.ErrInvalid, "virtual"},
		"no repository":      {func(g *goods, im *node.Importation) { im.Repo = name("none") }, node.ErrNotFound, "none"},
		"owned path":         {func(g *goods, im *node.Importation) { im.Version.Path = "corp.example/m" }, node.ErrForbidden, "belongs to the local repository local"},
		"the go command":     {func(g *goods, im *node.Importation) { im.Version.Path, im.Unproved = "golang.org/toolchain", true }, node.ErrUpstream, "must be verified"},
	} {
		g := good
		im := importation(g, nil)
		tt.change(&g, &im)
		im.Open = importation(g, nil).Open
		_, err := n.Import(t.Context(), op, im)
		if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.part) {
			t.Errorf("%s: %v, want %v with %q", what, err, tt.kind, tt.part)
		}
	}
	if after := stateHash(t, n); after != before {
		t.Errorf("something was recorded: %s, %s", before, after)
	}
	if _, err := imports(t, n, good, nil); err != nil {
		t.Fatal(err)
	}
	before = stateHash(t, n)
	for what, g := range map[string]goods{"zip": other, "go.mod": {good.mv, good.info, otherMod.mod, nil}} {
		if _, err := imports(t, n, g, nil); !errors.Is(err, node.ErrExists) || !strings.Contains(err.Error(), "what was recorded stays") {
			t.Errorf("other %s than what is recorded: %v", what, err)
		}
	}
	if after := stateHash(t, n); after != before {
		t.Errorf("other content was recorded: %s, %s", before, after)
	}
}

// An import is no way around what keeps a version out of a repository.
func TestImportKeepsRules(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	n := newRemote(t, up, func(s *events.RepoSettings) {
		s.Sumdb, s.Exclude, s.MinAge = "off", []events.Pattern{pattern("evil.example/**")}, span("1d")
	})
	g := func(path string) goods { return goodsOf(t, path, "v1.0.0", goMod(path)) }
	refused := func(what string, g goods, part string) {
		t.Helper()
		before := stateHash(t, n)
		_, err := n.Import(t.Context(), op, importation(g, func(im *node.Importation) {
			im.Open = func() (node.ImportedParts, error) {
				t.Errorf("%s: the content was read", what)
				return node.ImportedParts{}, nil
			}
		}))
		if !errors.Is(err, node.ErrForbidden) || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v, want it refused with %q", what, err, part)
		}
		modH1, h1 := g.sums(t)
		gaps, err := n.ImportMissing(op, name("public"), []node.ImportClaim{{Version: g.mv, ModH1: modH1, ZipH1: h1}})
		if err != nil || len(gaps) != 1 || !errors.Is(gaps[0].Refused, node.ErrForbidden) || !strings.Contains(gaps[0].Refused.Error(), part) {
			t.Errorf("%s: missing are %v, %v", what, gaps, err)
		}
		if after := stateHash(t, n); after != before {
			t.Errorf("%s: something was recorded: %s, %s", what, before, after)
		}
	}
	refused("excluded", g("evil.example/m"), "patterns")
	refused("owned", g("corp.example/m"), "belongs to the local repository")
	if _, err := n.Block(t.Context(), op, versionPattern(t, "pub.example/bad"), "stolen"); err != nil {
		t.Fatal(err)
	}
	refused("blocked", g("pub.example/bad"), "stolen")
	gone := g("pub.example/gone")
	if _, err := imports(t, n, gone, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Purge(t.Context(), op, gone.mv, "a leak"); err != nil {
		t.Fatal(err)
	}
	refused("purged", gone, "a leak")

	young := g("pub.example/m")
	if _, err := imports(t, n, young, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := readZip(t, repo(t, n, "all"), young.mv); !errors.Is(err, node.ErrForbidden) || !strings.Contains(err.Error(), "too new") {
		t.Errorf("the zip of a version that was imported a moment ago: %v", err)
	}
	keep := true
	if _, err := n.ChangeRepo(t.Context(), op, name("public"), node.RepoChange{PolicyChange: node.PolicyChange{KeepNothing: &keep}}); err != nil {
		t.Fatal(err)
	}
	refused("keeps nothing", g("pub.example/n"), "keeps no zips")
}

// What is missing is what would change something: not what is held whole, nor what
// is published in the local repository that owns it.
func TestImportMissing(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	n := newRemote(t, up, func(s *events.RepoSettings) { s.Sumdb = "off" })
	files := func(path string) tree { return goMod(path).with("m.go", "package m") }
	own := mustPublish(t, n, "corp.example/m", "v1.0.0")
	held := goodsOf(t, "pub.example/held", "v1.0.0", files("pub.example/held"))
	half := goodsOf(t, "pub.example/half", "v1.0.0", files("pub.example/half"))
	none := goodsOf(t, "pub.example/none", "v1.0.0", files("pub.example/none"))
	for _, g := range []goods{held, {half.mv, half.info, half.mod, nil}} {
		if _, err := imports(t, n, g, nil); err != nil {
			t.Fatal(err)
		}
	}
	claim := func(g goods) node.ImportClaim {
		mod, zip := g.sums(t)
		return node.ImportClaim{Version: g.mv, ModH1: mod, ZipH1: zip}
	}
	alone := func(c node.ImportClaim) node.ImportClaim { c.ZipH1 = events.H1{}; return c }
	otherZip := claim(held)
	otherZip.ZipH1 = claim(none).ZipH1
	ownMV := moduleVersion("corp.example/m", "v1.0.0")
	for i, tt := range []struct {
		claim node.ImportClaim
		want  string // empty, missing, or a part of why it is refused
	}{
		{claim(held), ""}, {alone(claim(held)), ""}, {otherZip, "other content"},
		{claim(half), "missing"}, {alone(claim(half)), ""},
		{claim(none), "missing"}, {alone(claim(none)), "missing"},
		{node.ImportClaim{Version: ownMV, ModH1: own.ModH1, ZipH1: own.H1}, ""},
		{node.ImportClaim{Version: ownMV, ModH1: own.ModH1, ZipH1: claim(none).ZipH1}, "belongs to the local"},
		{node.ImportClaim{Version: none.mv}, "hash of the go.mod is missing"},
		{node.ImportClaim{Version: moduleVersion("m", "v1.0.0")}, "missing dot"},
	} {
		gaps, err := n.ImportMissing(op, name("public"), []node.ImportClaim{tt.claim})
		switch {
		case err != nil || len(gaps) != min(len(tt.want), 1):
			t.Errorf("%d: %v, %v, want %q", i, gaps, err, tt.want)
		case tt.want == "":
		case tt.want == "missing" != (gaps[0].Refused == nil):
			t.Errorf("%d: %v, want %q", i, gaps, tt.want)
		case tt.want != "missing" && !strings.Contains(gaps[0].Refused.Error(), tt.want):
			t.Errorf("%d: %v, want %q", i, gaps[0].Refused, tt.want)
		}
	}
	local := func(c node.ImportClaim) string {
		gaps, err := n.ImportMissing(op, name("local"), []node.ImportClaim{c})
		if err != nil || len(gaps) == 0 {
			return fmt.Sprint(err)
		}
		return fmt.Sprint(gaps[0].Refused)
	}
	if got := local(node.ImportClaim{Version: ownMV, ModH1: own.ModH1, ZipH1: own.H1}); got != "<nil>" {
		t.Errorf("published: %v", got)
	}
	if got := local(node.ImportClaim{Version: ownMV, ZipH1: claim(none).ZipH1}); !strings.Contains(got, "already with other content") {
		t.Errorf("published with other content: %v", got)
	}
	if got := local(claim(none)); !strings.Contains(got, "does not own") {
		t.Errorf("not owned: %v", got)
	}
	for repo, kind := range map[string]error{"all": node.ErrInvalid, "nowhere": node.ErrNotFound} {
		if _, err := n.ImportMissing(op, name(repo), []node.ImportClaim{claim(none)}); !errors.Is(err, kind) {
			t.Errorf("%s: %v", repo, err)
		}
	}
	if _, err := n.ImportMissing(nobody, name("public"), []node.ImportClaim{claim(none)}); !errors.Is(err, node.ErrUnauthorized) {
		t.Errorf("nobody: %v", err)
	}
	if _, err := n.ImportMissing(op, name("public"), make([]node.ImportClaim, node.MaxImportClaims+1)); !errors.Is(err, node.ErrInvalid) {
		t.Errorf("too many: %v", err)
	}
	if _, err := n.Evict(t.Context(), op, name("public"), events.VersionPatternOf(held.mv)); err != nil {
		t.Fatal(err)
	}
	if gaps, err := n.ImportMissing(op, name("public"), []node.ImportClaim{claim(held)}); err != nil || len(gaps) != 1 {
		t.Errorf("its bytes are gone: %v, %v", gaps, err)
	}
	if got, err := imports(t, n, held, nil); err != nil || !got.Existed {
		t.Errorf("its bytes are back: %+v, %v", got, err)
	}
	if gaps, err := n.ImportMissing(op, name("public"), []node.ImportClaim{claim(held)}); err != nil || len(gaps) != 0 {
		t.Errorf("its bytes are back: %v, %v", gaps, err)
	}
}

// What must be in the checksum database is proved by it, whatever go.sum says; only
// if it gives no answer go.sum may do, on request.
func TestImportProves(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	n := newRemote(t, up, func(s *events.RepoSettings) { s.OfflineFor = span("1s") })
	files := goMod("pub.example/m").with("m.go", "package m")
	up.add("pub.example/m", "v1.0.0", files)
	g := goodsOf(t, "pub.example/m", "v1.0.0", files)
	got, err := imports(t, n, g, nil)
	if err != nil || got.Sumdb != dbName {
		t.Fatalf("%+v, %v", got, err)
	}
	up.add("pub.example/m", "v1.1.0", files)
	forged := goodsOf(t, "pub.example/m", "v1.1.0", files.with("m.go", "package evil"))
	unproved := func(g goods) func(*node.Importation) {
		return func(im *node.Importation) { im.Unproved = true; im.ModH1, im.ZipH1 = g.sums(t) }
	}
	if _, err := imports(t, n, forged, unproved(forged)); !errors.Is(err, node.ErrUnprocessable) || !strings.Contains(err.Error(), "SECURITY ERROR") {
		t.Errorf("forged: %v", err)
	}
	if drifts, err := n.Drifts(op); err != nil || len(drifts) != 0 {
		t.Errorf("an import says something of the upstream: %v, %v", drifts, err)
	}
	unknown := goodsOf(t, "pub.example/unknown", "v1.0.0", goMod("pub.example/unknown"))
	up.fault("/sumdb/"+dbName+"/lookup/pub.example/unknown@v1.0.0", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "unknown", http.StatusNotFound) })
	if _, err := imports(t, n, unknown, unproved(unknown)); !errors.Is(err, node.ErrUnprocessable) || !strings.Contains(err.Error(), "does not know it") {
		t.Errorf("unknown to the database: %v", err)
	}
	private := goodsOf(t, "nosum.example/m", "v1.0.0", goMod("nosum.example/m"))
	if got, err := imports(t, n, private, nil); err != nil || got.Sumdb != "" {
		t.Errorf("in no database by policy: %+v, %v", got, err)
	}

	up.Close()
	lone := goodsOf(t, "pub.example/lone", "v1.0.0", goMod("pub.example/lone").with("m.go", "package lone"))
	modH1, h1 := lone.sums(t)
	for what, tt := range map[string]struct {
		change func(*node.Importation)
		kind   error
		part   string
	}{
		"as it is":       {nil, node.ErrUnavailable, "--unproved"},
		"with hashes":    {func(im *node.Importation) { im.ModH1, im.ZipH1 = modH1, h1 }, node.ErrUnavailable, "--unproved"},
		"without hashes": {func(im *node.Importation) { im.Unproved = true }, node.ErrUnavailable, "nor does go.sum have it"},
		"without zip's":  {func(im *node.Importation) { im.Unproved, im.ModH1 = true, modH1 }, node.ErrUnprocessable, "needs the hash"},
		"the go command": {func(im *node.Importation) {
			im.Unproved, im.ModH1, im.Version.Path = true, modH1, "golang.org/toolchain"
		}, node.ErrUnavailable, "not taken unproved"},
	} {
		if _, err := imports(t, n, lone, tt.change); !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.part) {
			t.Errorf("the database is away, %s: %v", what, err)
		}
	}
	if got, err := imports(t, n, lone, unproved(lone)); err != nil || got.Sumdb != "" {
		t.Fatalf("go.sum vouches: %+v, %v", got, err)
	}
	if _, err := readZip(t, repo(t, n, "all"), lone.mv); err != nil {
		t.Errorf("read what go.sum vouched for: %v", err)
	}
}

// A site that is alone goes on with what it fetched: what is proved later is refused
// rather than made a conflict of, in which nobody would get anything.
func TestImportLeavesWhatWasFetched(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	n := newRemote(t, up, func(*events.RepoSettings) {})
	files := goMod("pub.example/m").with("m.go", "package m")
	right, wrong := goodsOf(t, "pub.example/m", "v1.0.0", files), goodsOf(t, "pub.example/m", "v1.0.0", files.with("m.go", "package x"))
	change := func(c node.RepoChange) {
		if _, err := n.ChangeRepo(t.Context(), op, name("public"), c); err != nil {
			t.Fatal(err)
		}
	}
	private := []events.Pattern{pattern("pub.example")}
	change(node.RepoChange{NoSumdb: private})
	up.add("pub.example/m", "v1.0.0", files.with("m.go", "package x"))
	if _, err := readZip(t, repo(t, n, "all"), wrong.mv); err != nil {
		t.Fatal(err)
	}
	up.add("pub.example/m", "v1.0.0", files)
	change(node.RepoChange{UseSumdb: private})
	if _, err := imports(t, n, right, nil); !errors.Is(err, node.ErrExists) {
		t.Errorf("import of other content: %v", err)
	}
	if data, err := readZip(t, repo(t, n, "all"), right.mv); err != nil || !bytes.Equal(data, wrong.zip) {
		t.Errorf("what was served changed: %d bytes, %v", len(data), err)
	}
}
