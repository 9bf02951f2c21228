package upstream_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"

	"registry-node/node/upstream"
)

// vcsModules makes repositories of each kind.
func vcsModules(w *vcsWorld) (dev string) {
	plain := w.repo("plain")
	plain.commit([]string{"go.mod", "module vcs.test/plain\n\ngo 1.20\n", "a.go", "package plain\n", "vendor/x/x.go", "package x\n"}, "v1.0.0")
	plain.commit([]string{"b.go", "package plain\n"}, "a:v1.1.0", "v1.1", "v1.1.0-0.20200101000000-000000000000", "vx", "sub/v1.9.0")
	plain.commit([]string{"go.mod", "module vcs.test/plain\n\ngo 1.20\n\nretract v1.1.0 // broken\n"}, "v1.2.0", "v1.3.0-rc.1", "v3.0.0")
	plain.run("checkout", "-q", "-b", "dev")
	dev = plain.commit([]string{"dev.go", "package plain\n"})

	plain.run("checkout", "-q", "main")
	two := w.repo("two")
	two.commit([]string{"go.mod", "module vcs.test/two\n", "a.go", "package two\n"}, "v1.0.0")
	two.run("checkout", "-q", "-b", "v2")
	two.commit([]string{"go.mod", "module vcs.test/two/v2\n"}, "v2.0.0", "v2.0.1")

	nested := w.repo("nested")
	nested.commit([]string{
		"go.mod", "module vcs.test/nested\n", "v2/go.mod", "module vcs.test/nested/v2\n", "v2/a.go", "package nested\n",
		"sub/go.mod", "module vcs.test/nested/sub\n", "sub/a.go", "package sub\n", "none/a.go", "package none\n",
	}, "v1.0.0", "v2.1.0", "sub/v0.1.0", "a:sub/v0.2.0", "none/v1.0.0")
	nested.commit([]string{"sub/b.go", "package sub\n"})

	old := w.repo("old")
	old.commit([]string{"a.go", "package old\n", "LICENSE", "all\n"}, "v1.0.0")
	old.commit([]string{"b.go", "package old\n"}, "v2.0.0", "v3.1.0")

	untagged := w.repo("untagged")
	untagged.commit([]string{"go.mod", "module vcs.test/untagged\n", "a.go", "package untagged\n"})

	deep := w.repo("deep")
	deep.commit([]string{"src/go.mod", "module vcs.test/deep\n", "src/a.go", "package deep\n", "b.go", "package b\n"}, "src/v1.4.0")
	w.page("vcs.test/deep", "vcs.test/deep git "+deep.url()+" src")
	return dev
}

// TestVCSIsDirect holds what a VCS gives against the go command in direct mode.
func TestVCSIsDirect(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	dev := vcsModules(w)
	v := w.vcs()
	for _, test := range []struct {
		path    string
		queries []string
	}{
		{"vcs.test/plain", []string{"v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0-rc.1", "main", "dev", "v1.0", dev[:12]}},
		{"vcs.test/two", []string{"v1.0.0"}},
		{"vcs.test/two/v2", []string{"v2.0.0", "v2.0.1"}},
		{"vcs.test/nested", []string{"v1.0.0"}},
		{"vcs.test/nested/v2", []string{"v2.1.0"}},
		{"vcs.test/nested/sub", []string{"v0.1.0", "v0.2.0", "main"}},
		{"vcs.test/old", []string{"v1.0.0", "v2.0.0+incompatible", "v3.1.0+incompatible", "v2.0.0"}},
		{"vcs.test/untagged", []string{"main"}},
		{"vcs.test/deep", []string{"v1.4.0"}},
	} {
		t.Run(test.path, func(t *testing.T) {
			want, err := w.direct("list", "-m", "-json", "-versions", "-retracted", test.path)
			if err != nil {
				t.Fatal(err)
			}
			list, err := v.List(soon(t), test.path)
			if err != nil || !slices.Equal(list, want.Versions) {
				t.Errorf("list %v, %v, want %v", list, err, want.Versions)
			}
			want, err = w.direct("list", "-m", "-json", "-retracted", test.path+"@latest")
			if err != nil {
				t.Fatal(err)
			}
			latest, err := v.Latest(soon(t), test.path)
			if err != nil || latest.Version != want.Version {
				t.Errorf("latest %s, %v, want %s", latest.Version, err, want.Version)
			}
			for _, query := range test.queries {
				sameAsDirect(t, w, v, test.path, query)
			}
		})
	}
}

// sameAsDirect holds info, go.mod and zip of what a query stands for against the
// go command's.
func sameAsDirect(t *testing.T, w *vcsWorld, v *upstream.VCS, path, query string) {
	t.Helper()
	want, err := w.direct("mod", "download", "-json", path+"@"+query)
	if err != nil {
		t.Fatal(err)
	}
	info, err := v.Query(soon(t), path, query)
	if err != nil {
		t.Errorf("%s@%s: %v", path, query, err)
		return
	}
	mv := module.Version{Path: path, Version: info.Version}
	if info.Version != want.Version {
		t.Errorf("%s@%s is %s, want %s", path, query, info.Version, want.Version)
	}
	var raw struct {
		Origin struct{ VCS, URL, Hash string }
	}
	if err := json.Unmarshal(info.Raw, &raw); err != nil || raw.Origin.VCS != "git" ||
		!strings.HasPrefix(raw.Origin.URL, "https://vcs.test/git/") || len(raw.Origin.Hash) != 40 {
		t.Errorf("%s: info %s, %v has no good origin", mv, info.Raw, err)
	}
	if info.Time.IsZero() {
		t.Errorf("%s: no time", mv)
	}
	mod, err := v.Mod(soon(t), mv)
	wantMod, _ := os.ReadFile(want.GoMod)
	if err != nil || !bytes.Equal(mod, wantMod) {
		t.Errorf("%s: go.mod %q, %v, want %q", mv, mod, err, wantMod)
	}
	if h1 := zipH1(t, v, mv); h1 != want.Sum {
		t.Errorf("%s: zip %s, want %s", mv, h1, want.Sum)
	}
}

// zipH1 is the h1 of a zip that v gives.
func zipH1(t *testing.T, v *upstream.VCS, mv module.Version) string {
	t.Helper()
	var b bytes.Buffer
	announced := int64(-1)
	n, err := v.Zip(soon(t), mv, &b, func(size int64) { announced = size })
	if err != nil || n != int64(b.Len()) || n != announced {
		t.Errorf("zip of %s: %d of %d bytes, %v", mv, n, b.Len(), err)
		return ""
	}
	if _, err := upstream.CheckZip(t.Context(), mv, bytes.NewReader(b.Bytes()), n); err != nil {
		t.Error(err)
	}
	file := t.TempDir() + "/m.zip"
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	h1, err := dirhash.HashZip(file, dirhash.Hash1)
	if err != nil {
		t.Error(err)
	}
	return h1
}

// TestVCSAbsence: what is not there is ErrNotFound, and known without a clone
// where it can be.
func TestVCSAbsence(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	vcsModules(w)
	w.page("vcs.test/gone", "vcs.test/gone git https://vcs.test/git/gone")
	v := w.vcs()
	for _, test := range []struct {
		path, version string
		refsOnly      bool
	}{
		{"vcs.test/plain", "v1.0.9", true},
		{"vcs.test/plain/v2", "v2.0.0", true},
		{"vcs.test/plain/pkg", "v1.0.0", true},
		{"vcs.test/gone", "v1.0.0", true},
		{"vcs.test/nowhere", "v1.0.0", true},
		{"vcs.test/plain", "no-such-branch", false},
		{"vcs.test/plain", "abcdef012345", false},
		{"vcs.test/plain", "v0.0.0-20200913124640-abcdef012345", false},
		{"vcs.test/plain", "v3.0.0+incompatible", false}, // it has a go.mod
		{"vcs.test/nested/none", "v1.0.0", false},        // it has none
	} {
		w.requests()
		_, err := v.Info(soon(t), module.Version{Path: test.path, Version: test.version})
		wantClass(t, test.path+"@"+test.version, err, upstream.ErrNotFound)
		cloned := slices.ContainsFunc(w.requests(), func(r string) bool { return strings.HasSuffix(r, "/git-upload-pack") })
		if test.refsOnly && cloned {
			t.Errorf("%s@%s: the repository was cloned to know that it is not there", test.path, test.version)
		}
	}
	w.requests()
	if list, err := v.List(soon(t), "vcs.test/plain/pkg"); err != nil || len(list) != 0 {
		t.Errorf("list of a package: %v, %v", list, err)
	}
	if asked := w.requests(); len(asked) != 0 {
		t.Errorf("the list of a package asked %q again", asked)
	}
	_, err := v.Latest(soon(t), "vcs.test/plain/pkg")
	wantClass(t, "latest of a package", err, upstream.ErrNotFound)
}
