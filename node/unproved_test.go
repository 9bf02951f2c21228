package node_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"registry-node/events"
	"registry-node/node"
)

// lookups has the checksum database refuse to say anything of a module, or answer
// again.
func (p *proxy) lookups(path string, answer bool) {
	fault := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not now", http.StatusForbidden) }
	if answer {
		fault = nil
	}
	p.fault("/lookup/"+path+"@v1.0.0", fault)
}

func unproved(t testing.TB, g goods) func(*node.Importation) {
	return func(im *node.Importation) { im.Unproved = true; im.ModH1, im.ZipH1 = g.sums(t) }
}

func claimOf(t testing.TB, g goods) node.ImportClaim {
	mod, zip := g.sums(t)
	return node.ImportClaim{Version: g.mv, ModH1: mod, ZipH1: zip}
}

// An import that nothing proved is served where it was decided, also if other sites
// join. At those it waits for the proof, or for the same decision.
func TestUnprovedImportHoldsAtItsSite(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	w := newWorld(t, defaults(up))
	files := goMod("pub.example/m").with("m.go", "package m")
	up.add("pub.example/m", "v1.0.0", files)
	up.lookups("pub.example/m", false)
	g := goodsOf(t, "pub.example/m", "v1.0.0", files)
	if got, err := imports(t, w.sites["a"], g, unproved(t, g)); err != nil || got.Sumdb != "" {
		t.Fatalf("%+v, %v", got, err)
	}
	served := func(at, when string) {
		t.Helper()
		if data, err := w.zip(at, "all", g.mv); err != nil || !bytes.Equal(data, g.zip) {
			t.Errorf("at %s %s: %d bytes, %v", at, when, len(data), err)
		}
		if err := w.heldMod(at, g.mv); err != nil {
			t.Errorf("go.mod at %s %s, of what is held alone: %v", at, when, err)
		}
		if gaps, err := w.sites[at].ImportMissing(op, name("public"), []node.ImportClaim{claimOf(t, g)}); err != nil || len(gaps) != 0 {
			t.Errorf("missing at %s %s: %v, %v", at, when, gaps, err)
		}
	}
	served("a", "alone")
	b := w.join("b", "a", false)
	w.equal()
	served("a", "when b has joined")

	if _, err := w.zip("b", "all", g.mv); kindOf(err) != node.ErrUnavailable || !strings.Contains(err.Error(), "site a imported it") || !strings.Contains(err.Error(), "--unproved") {
		t.Errorf("at b, where nobody decided: %v", err)
	}
	mod := claimOf(t, g) // of what is here
	mod.ZipH1 = events.H1{}
	if gaps, err := b.ImportMissing(op, name("public"), []node.ImportClaim{mod}); err != nil || len(gaps) != 1 || gaps[0].Refused != nil {
		t.Errorf("missing at b: %v, %v", gaps, err)
	}
	if got, err := imports(t, b, g, unproved(t, g)); err != nil || got.Existed {
		t.Errorf("import at b, too: %+v, %v", got, err)
	}
	if got, err := imports(t, b, g, unproved(t, g)); err != nil || !got.Existed {
		t.Errorf("import at b again: %+v, %v", got, err)
	}
	served("b", "when it was imported there, too")
	up.lookups("pub.example/m", true)
	served("a", "when it is proved")
	served("b", "when it is proved")
}

// The checksum database has the last word about an import as soon as it answers, at a
// site that is alone, too. What is right is served then, once it is there.
func TestUnprovedImportIsProvedLater(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	n := newRemote(t, up, func(*events.RepoSettings) {})
	files := goMod("pub.example/m").with("m.go", "package m")
	right, forged := goodsOf(t, "pub.example/m", "v1.0.0", files), goodsOf(t, "pub.example/m", "v1.0.0", files.with("m.go", "package evil"))
	up.add("pub.example/m", "v1.0.0", files)
	for _, ext := range []string{"zip", "mod", "info"} {
		up.fault("/@v/v1.0.0."+ext, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not now", http.StatusForbidden) })
	}
	up.lookups("pub.example/m", false)
	if _, err := imports(t, n, forged, unproved(t, forged)); err != nil {
		t.Fatal(err)
	}
	if data, err := readZip(t, repo(t, n, "all"), forged.mv); err != nil || !bytes.Equal(data, forged.zip) {
		t.Errorf("while nobody knows better: %d bytes, %v", len(data), err)
	}
	up.lookups("pub.example/m", true)
	if data, err := readZip(t, repo(t, n, "all"), forged.mv); err == nil {
		t.Errorf("the database says otherwise, and it is served: %d bytes", len(data))
	}
	st, err := n.Status(op)
	if err != nil || !strings.Contains(strings.Join(st.Replication.Sites[0].Reasons, " "), "SECURITY ERROR: site a states") {
		t.Errorf("nothing is said of it: %v, %v", st.Replication.Sites[0].Reasons, err)
	}
	up.lookups("pub.example/m", false)
	if _, err := readZip(t, repo(t, n, "all"), forged.mv); err == nil {
		t.Error("what the database said is forgotten when it is away again")
	}
	gaps, err := n.ImportMissing(op, name("public"), []node.ImportClaim{claimOf(t, forged), claimOf(t, right)})
	if err != nil || len(gaps) != 2 || !errors.Is(gaps[0].Refused, node.ErrUnprocessable) || gaps[1].Refused != nil {
		t.Errorf("missing: %v, %v", gaps, err)
	}
	if got, err := imports(t, n, right, nil); err != nil || got.Sumdb != dbName {
		t.Fatalf("import of what is right: %+v, %v", got, err)
	}
	if data, err := readZip(t, repo(t, n, "all"), right.mv); err != nil || !bytes.Equal(data, right.zip) {
		t.Errorf("what is right: %d bytes, %v", len(data), err)
	}
}

// That the checksum database does not know an import is an answer as well, which it
// need not repeat.
func TestUnprovedImportIsUnknownLater(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	n := newRemote(t, up, func(*events.RepoSettings) {})
	g := goodsOf(t, "pub.example/m", "v1.0.0", goMod("pub.example/m"))
	up.lookups("pub.example/m", false)
	if _, err := imports(t, n, g, unproved(t, g)); err != nil {
		t.Fatal(err)
	}
	lookup := "/lookup/pub.example/m@v1.0.0"
	up.fault(lookup, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "unknown", http.StatusNotFound) })
	read := func() error { _, err := readZip(t, repo(t, n, "all"), g.mv); return err }
	if err := read(); !errors.Is(err, node.ErrUpstream) || !strings.Contains(err.Error(), "does not know it") {
		t.Errorf("unknown: %v", err)
	}
	up.lookups("pub.example/m", false)
	if err := read(); err == nil {
		t.Error("it is served again once the database is away")
	}
	modH1, zipH1 := g.sums(t)
	if err := n.Settle(t.Context(), op, name("public"), g.mv, modH1, zipH1, "ours"); err != nil {
		t.Fatal(err)
	}
	if err := read(); err != nil {
		t.Errorf("settled: %v", err)
	}
}
