package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/node"
)

func readZip(t testing.TB, r *node.Repository, mv module.Version) ([]byte, error) {
	t.Helper()
	z, err := r.Zip(context.WithoutCancel(t.Context()), mv)
	if err != nil {
		return nil, err
	}
	return readAll(z)
}

// readAll reads a zip and closes it. Of one that comes from elsewhere it waits,
// too, until what came of it is known: that may be recorded a moment after.
func readAll(z node.Zip) ([]byte, error) {
	defer z.Close()
	if z.Stream == nil {
		return io.ReadAll(z.File)
	}
	data, err := io.ReadAll(z.Stream)
	z.Stream.Ended()
	return data, err
}

func TestFillIsRecordedAndServedWithoutUpstream(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	mv := up.add("pub.example/m", "v1.2.0", goMod("pub.example/m").with("m.go", "package m\n"))
	up.add("pub.example/m", "v1.3.0-beta", goMod("pub.example/m"))
	n, dir := newNode(t, up)
	r := repo(t, n, "all")
	info, err := r.Info(t.Context(), mv.Path, mv.Version)
	if err != nil || string(info.Data) != `{"Version":"v1.2.0","Time":"2024-01-02T03:04:05Z"}` {
		t.Fatalf("info: %s, %v", info.Data, err)
	}
	if _, err := r.Mod(t.Context(), mv); err != nil {
		t.Fatal(err)
	}
	want := zipOf(t, mv, up.trees[mv])
	if got, err := readZip(t, r, mv); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("zip: %d bytes, %v", len(got), err)
	}
	if l, err := r.List(t.Context(), mv.Path); err != nil || len(l.Versions) != 2 || l.Stale {
		t.Fatalf("list: %+v, %v", l, err)
	}
	before := stateHash(t, n)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	up.Close() // the upstream is gone, the node is another process
	n = openNode(t, dir)
	r = repo(t, n, "all")
	if got, err := readZip(t, r, mv); err != nil || !bytes.Equal(got, want) {
		t.Errorf("zip without upstream: %d bytes, %v", len(got), err)
	}
	if l, err := r.List(t.Context(), mv.Path); err != nil || len(l.Versions) != 2 || !l.Stale {
		t.Errorf("list without upstream: %+v, %v", l, err)
	}
	if after := stateHash(t, n); after != before {
		t.Errorf("state hash %s, then %s", before, after)
	}
}

func TestMissesAreJoined(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	mv := up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	up.add("pub.example/m", "v0.0.0-20240102030405-0123456789ab", goMod("pub.example/m")) // main
	up.gate = make(chan struct{})
	n, _ := newNode(t, up)
	r := repo(t, n, "public")
	asks := map[string]func() error{
		"/m/@v/list":        func() error { _, err := r.List(t.Context(), mv.Path); return err },
		"/m/@v/v1.0.0.info": func() error { _, err := r.Info(t.Context(), mv.Path, mv.Version); return err },
		"/m/@v/v1.0.0.mod":  func() error { _, err := r.Mod(t.Context(), mv); return err },
		"/m/@v/v1.0.0.zip":  func() error { _, err := readZip(t, r, mv); return err },
		"/m/@v/main.info":   func() error { _, err := r.Info(t.Context(), mv.Path, "main"); return err },
		"/x/@v/list": func() error {
			if _, err := r.List(t.Context(), "pub.example/x"); !errors.Is(err, node.ErrNotFound) {
				return fmt.Errorf("unknown module: %w", err)
			}
			return nil
		},
		"/x/@v/v1.0.0.info": func() error {
			if _, err := r.Info(t.Context(), "pub.example/x", "v1.0.0"); !errors.Is(err, node.ErrNotFound) {
				return fmt.Errorf("unknown version: %w", err)
			}
			return nil
		},
	}
	const callers = 1000
	var wg sync.WaitGroup
	for _, ask := range asks {
		for range callers / 4 {
			wg.Go(func() {
				if err := ask(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	waitFor(t, "requests at the upstream", func() bool { return up.count("/@v/") >= len(asks) })
	close(up.gate)
	wg.Wait()
	for path, ask := range asks {
		if err := ask(); err != nil {
			t.Error(err)
		}
		if got := up.count(path); got != 1 {
			t.Errorf("%s: the upstream was asked %d times, want once", path, got)
		}
	}
}

func TestBadUpstreamLeavesNothing(t *testing.T) {
	t.Parallel()
	html := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<!DOCTYPE html><html><body>Please log in</body></html>")
	}
	status := func(code int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "upstream says no", code) }
	}
	truncate := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		io.WriteString(w, `{"Version":"v1.0.0"`)
	}
	reset := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	other := goMod("pub.example/m").with("evil.go", "package m\n")
	mv := module.Version{Path: "pub.example/m", Version: "v1.0.0"}
	wrongZip := func(w http.ResponseWriter, _ *http.Request) { w.Write(zipOf(t, mv, other)) }
	wrongPrefix := func(w http.ResponseWriter, _ *http.Request) {
		w.Write(zipOf(t, module.Version{Path: "pub.example/other", Version: "v1.0.0"}, other))
	}
	wrongMod := func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "module pub.example/m\n\nrequire evil.example v1.0.0\n")
	}
	wrongVersion := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"Version":"v1.0.1"}`) }

	faults := []struct {
		name, suffix string
		fault        func(http.ResponseWriter, *http.Request)
	}{
		{"500 info", ".info", status(500)}, {"500 mod", ".mod", status(500)}, {"500 zip", ".zip", status(500)}, {"500 list", "/list", status(500)},
		{"429", ".info", status(429)}, {"html info", ".info", html}, {"html mod", ".mod", html}, {"html zip", ".zip", html}, {"html list", "/list", html},
		{"truncated info", ".info", truncate}, {"truncated mod", ".mod", truncate}, {"truncated zip", ".zip", truncate},
		{"reset info", ".info", reset}, {"reset zip", ".zip", reset}, {"reset list", "/list", reset},
		{"wrong hash of zip", ".zip", wrongZip}, {"wrong zip", ".zip", wrongPrefix}, {"wrong hash of go.mod", ".mod", wrongMod}, {"wrong version", ".info", wrongVersion},
		{"checksum database down", "/lookup/pub.example/m@v1.0.0", status(500)},
	}
	for _, tt := range faults {
		t.Run(tt.name, func(t *testing.T) {
			up := newProxy(t)
			up.add(mv.Path, mv.Version, goMod(mv.Path).with("m.go", "package m\n"))
			up.fault(tt.suffix, tt.fault)
			n, _ := newNode(t, up)
			before := stateHash(t, n)
			r := repo(t, n, "all")
			var err error
			if tt.suffix == "/list" {
				_, err = r.List(t.Context(), mv.Path)
			} else {
				_, err = readZip(t, r, mv)
			}
			if !errors.Is(err, node.ErrUpstream) && !errors.Is(err, node.ErrUpstreamTimeout) {
				t.Errorf("got %v, want an upstream's failure", err)
			}
			if after := stateHash(t, n); after != before && tt.suffix != ".zip" {
				t.Errorf("a bad answer was recorded: %s, then %s", before, after)
			}
			v, err := n.Verify(t.Context(), op, func(string, uint64) {})
			if err != nil || !v.OK() || v.Blobs != 0 {
				t.Errorf("verify: %v, %v", v, err)
			}
		})
	}
}

// kindOf returns what an error is to a user, whatever its cause was.
func kindOf(err error) error {
	if e, ok := errors.AsType[*node.Error](err); ok {
		return e.Kind
	}
	return err
}

func TestDeadUpstreamIsNoAbsence(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	held := up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	n, _ := newNode(t, up)
	r := repo(t, n, "all")
	if _, err := readZip(t, r, held); err != nil {
		t.Fatal(err)
	}
	up.Close()
	list := func(path string) error { _, err := r.List(t.Context(), path); return err }
	info := func(path, version string) error { _, err := r.Info(t.Context(), path, version); return err }
	for _, tt := range []struct {
		what string
		err  error
		want error
	}{
		{"list of a held module", list("pub.example/m"), nil},
		{"list below a held module", list("pub.example/m/sub/pkg"), node.ErrNotFound},
		{"list of an unknown module", list("pub.example/unknown"), node.ErrUpstream},
		{"list of a parent", list("pub.example"), node.ErrUpstream},
		{"held version", info("pub.example/m", "v1.0.0"), nil},
		{"unknown version of a held module", info("pub.example/m", "v1.1.0"), node.ErrUpstream},
		{"unknown module", info("pub.example/unknown", "v1.0.0"), node.ErrUpstream},
		{"query", info("pub.example/m", "main"), node.ErrUpstream},
		{"unknown version of an owned module", info("corp.example/x", "v1.0.0"), node.ErrNotFound},
	} {
		if got := kindOf(tt.err); got != tt.want {
			t.Errorf("%s: got %v (%v), want %v", tt.what, got, tt.err, tt.want)
		}
	}
	l, err := r.Latest(t.Context(), "pub.example/m")
	if err != nil || l.Version != "v1.0.0" {
		t.Errorf("latest of a held module: %+v, %v", l, err)
	}
}

func TestOwnedPathsNeverLeave(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	up.add("corp.example/a", "v9.9.9", goMod("corp.example/a")) // the attacker's
	up.add("corp.example/a/v2", "v2.0.0", goMod("corp.example/a/v2"))
	n, _ := newNode(t, up)
	mustPublish(t, n, "corp.example/a", "v1.0.0")
	for _, in := range []string{"all", "public", "local"} {
		r := repo(t, n, in)
		for _, path := range []string{"corp.example/a", "corp.example/a/v2", "corp.example/a/sub/pkg", "corp.example"} {
			r.List(t.Context(), path)
			r.Latest(t.Context(), path)
			r.Info(t.Context(), path, "main")
			r.Info(t.Context(), path, "v9.9.9")
			readZip(t, r, module.Version{Path: path, Version: "v9.9.9"})
			r.Sumdb(t.Context(), dbName+"/lookup/"+path+"@v9.9.9")
		}
	}
	if got := up.count("corp.example"); got != 0 {
		t.Errorf("the upstream heard of owned paths %d times", got)
	}
	if l, err := repo(t, n, "all").List(t.Context(), "corp.example/a"); err != nil || strings.Join(l.Versions, " ") != "v1.0.0" {
		t.Errorf("list: %+v, %v", l, err)
	}
	if _, err := repo(t, n, "public").List(t.Context(), "corp.example/a"); !errors.Is(err, node.ErrForbidden) {
		t.Errorf("owned path asked of the remote: %v", err)
	}
	if _, err := repo(t, n, "all").Sumdb(t.Context(), dbName+"/lookup/corp.example/a@v1.0.0"); !errors.Is(err, node.ErrForbidden) || !strings.Contains(err.Error(), "GONOSUMDB") {
		t.Errorf("lookup of an owned path: %v", err)
	}
}

func TestChangedUpstreamIsReportedNotFollowed(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	mv := up.add("nosum.example/m", "v1.0.0", goMod("nosum.example/m").with("m.go", "package m\n"))
	n, _ := newNode(t, up)
	r := repo(t, n, "public")
	if _, err := r.Mod(t.Context(), mv); err != nil {
		t.Fatal(err)
	}
	before := stateHash(t, n)
	up.add(mv.Path, mv.Version, tree{"go.mod": "module nosum.example/m\n\ngo 1.22\n"})
	_, err := readZip(t, r, mv)
	if !errors.Is(err, node.ErrUpstream) {
		t.Errorf("zip of another tree: %v", err)
	}
	if after := stateHash(t, n); after != before {
		t.Errorf("it was recorded: %s, then %s", before, after)
	}
	if up.count("lookup/nosum") != 0 {
		t.Error("a module that is in no checksum database was looked up")
	}
}

func TestVirtualListIsTheUnion(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	up.add("pub.example/m", "v1.0.0", goMod("pub.example/m"))
	up.add("pub.example/m", "v1.1.0", goMod("pub.example/m"))
	n, _ := newNode(t, up)
	_, err := n.ChangeRepo(t.Context(), op, name("local"), node.RepoChange{Owns: patterns("hotfix.example")})
	if err != nil {
		t.Fatal(err)
	}
	l, err := repo(t, n, "all").List(t.Context(), "pub.example/m")
	if err != nil || strings.Join(l.Versions, " ") != "v1.0.0 v1.1.0" {
		t.Errorf("got %+v, %v", l, err)
	}
}

func TestPseudoVersionsAreNotListed(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	pseudo := "v0.0.0-20240102030405-0123456789ab"
	mv := up.add("pub.example/m", pseudo, goMod("pub.example/m"))
	n, _ := newNode(t, up)
	r := repo(t, n, "all")
	info, err := r.Info(t.Context(), mv.Path, "main")
	if err != nil || info.Version != pseudo || info.Fixed {
		t.Fatalf("query: %+v, %v", info, err)
	}
	if _, err := r.Mod(t.Context(), mv); err != nil {
		t.Fatal(err)
	}
	if l, err := r.List(t.Context(), mv.Path); err != nil || len(l.Versions) != 0 {
		t.Errorf("list: %+v, %v", l, err)
	}
	// The upstream has no @latest; what is held answers.
	if info, err = r.Latest(t.Context(), mv.Path); err != nil || info.Version != pseudo {
		t.Errorf("latest: %+v, %v", info, err)
	}
}

func TestLostBlobIsHealedFromUpstream(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	mv := up.add("pub.example/m", "v1.0.0", goMod("pub.example/m").with("m.go", "package m\n"))
	n, dir := newNode(t, up)
	r := repo(t, n, "all")
	want, err := readZip(t, r, mv)
	if err != nil {
		t.Fatal(err)
	}
	gone := up.add("pub.example/m", "v1.1.0", goMod("pub.example/m"))
	if _, err := readZip(t, r, gone); err != nil {
		t.Fatal(err)
	}
	local := mustPublish(t, n, "corp.example/a", "v1.0.0")
	n.Close()
	damageBlobs(t, dir)
	n = openNode(t, dir)
	r = repo(t, n, "all")
	up.fault("v1.1.0.zip", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", http.StatusNotFound) })
	if _, err := readZip(t, r, gone); !errors.Is(err, node.ErrUnavailable) || errors.Is(err, node.ErrNotFound) {
		t.Errorf("damaged zip that the upstream has no more: %v, want ErrUnavailable", err)
	}
	up.fault("v1.1.0.zip", nil)
	if got, err := readZip(t, r, mv); err != nil || !bytes.Equal(got, want) {
		t.Errorf("damaged zip of a remote repository: %d bytes, %v", len(got), err)
	}
	_, err = readZip(t, r, module.Version{Path: local.Module, Version: local.Version})
	if !errors.Is(err, node.ErrUnavailable) {
		t.Errorf("damaged zip of a local repository: %v, want ErrUnavailable", err)
	}
	up.Close()
	v, err := n.Verify(t.Context(), op, func(string, uint64) {})
	if err != nil || len(v.Problems) != 2 || !strings.Contains(strings.Join(v.Problems, " "), local.Digest.String()) {
		t.Errorf("verify: %+v, %v", v, err)
	}
}
