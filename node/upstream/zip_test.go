package upstream_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"

	"registry-node/node/upstream"
)

// A file of a zip under test. Its name gets the module's prefix unless it begins
// with "!".
type file struct {
	name, text string
	mode       fs.FileMode
	declared   uint64 // if not 0: the uncompressed size in the header, of nothing
}

func makeZip(t testing.TB, mv module.Version, entries ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: mv.Path + "@" + mv.Version + "/" + e.name, Method: zip.Deflate}
		if name, ok := strings.CutPrefix(e.name, "!"); ok {
			h.Name = name
		}
		if e.mode != 0 {
			h.SetMode(e.mode)
		}
		if e.text == "" {
			h.Method = zip.Store
		}
		create := w.CreateHeader
		if e.declared != 0 {
			h.UncompressedSize64 = e.declared
			create = w.CreateRaw
		}
		f, err := create(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, e.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func checkZip(t testing.TB, mv module.Version, data []byte) (upstream.Zip, error) {
	return upstream.CheckZip(t.Context(), mv, bytes.NewReader(data), int64(len(data)))
}

func TestCheckZip(t *testing.T) {
	mod := file{name: "go.mod", text: "module example.com/M\n"}
	for _, test := range []struct {
		name  string
		files []file
		want  string // in the error; empty: a valid zip
	}{
		{"ordinary", []file{mod, {name: "b.go", text: "package b"}, {name: "a/B.go"}, {name: "a/c/d", text: "x"}}, ""},
		{"unsorted, with UTF-8", []file{{name: "z"}, {name: "a-b"}, {name: "a/b"}, {name: "é.txt", text: "x"}, mod}, ""},
		{"no go.mod", []file{{name: "a.go", text: "package a"}}, ""},
		{"empty go.mod", []file{{name: "go.mod"}}, ""},
		{"empty", nil, ""},
		{"regular with Unix mode", []file{{name: "a", text: "x", mode: 0o755}}, ""},
		{"no prefix", []file{mod, {name: "!a.go"}}, `"a.go": its name does not begin with "example.com/M@v1.2.3/"`},
		{"escaped prefix", []file{{name: "!example.com/!m@v1.2.3/a"}}, "does not begin"},
		{"other version", []file{{name: "!example.com/M@v1.2.4/a"}}, "does not begin"},
		{"directory", []file{mod, {name: "a/"}}, "directory"},
		{"root directory", []file{{name: ""}}, "directory"},
		{"symbolic link", []file{{name: "a", text: "b", mode: fs.ModeSymlink | 0o777}}, "not a regular file"},
		{"device", []file{{name: "a", mode: fs.ModeDevice}}, "not a regular file"},
		{"parent", []file{{name: "../a"}}, "invalid path element"},
		{"dot", []file{{name: "./a"}}, "invalid path element"},
		{"double slash", []file{{name: "a//b"}}, "double slash"},
		{"backslash", []file{{name: `a\b`}}, "invalid char"},
		{"colon", []file{{name: "a:b"}}, "invalid char"},
		{"Windows device", []file{{name: "a/NUL.txt"}}, "disallowed"},
		{"no UTF-8", []file{{name: "a\xff"}}, "UTF-8"},
		{"twice", []file{{name: "a"}, {name: "a"}}, "more than once"},
		{"case", []file{{name: "Readme"}, {name: "README"}}, "upper and lower case"},
		{"case of a directory", []file{{name: "A/x"}, {name: "a/y"}}, "upper and lower case"},
		{"Kelvin", []file{{name: "x/k"}, {name: "x/\u212a"}}, "upper and lower case"},
		{"file and directory", []file{{name: "a"}, {name: "a/b"}}, "both a file and a directory"},
		{"directory and file", []file{{name: "a/b/c"}, {name: "a/b"}}, "both a file and a directory"},
		{"go.mod below", []file{{name: "a/go.mod"}}, "root directory"},
		{"GO.MOD below", []file{{name: "a/GO.MOD"}}, "root directory"},
		{"GO.MOD", []file{{name: "GO.MOD"}}, "lower case"},
		{"long name", []file{{name: strings.Repeat("a/", 3000) + "a"}}, "longer than 4096"},
		{"large go.mod", []file{{name: "go.mod", declared: modzip.MaxGoMod + 1}}, "larger than 16777216"},
		{"large LICENSE", []file{{name: "LICENSE", declared: modzip.MaxLICENSE + 1}}, "larger than 16777216"},
		{"bomb", []file{{name: "a", declared: 64<<20 + 1}}, "more than 200 times"},
		{"more than 500 MiB", []file{{name: "a", declared: modzip.MaxZipFile}, {name: "b", declared: 1}}, "all files together"},
		{"size beyond int64", []file{{name: "a", declared: 1<<64 - 2}}, "all files together"},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := makeZip(t, mv, test.files...)
			z, err := checkZip(t, mv, data)
			if test.want != "" {
				if !errors.Is(err, upstream.ErrBadZip) || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%v, want %v with %q", err, upstream.ErrBadZip, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkAgainstXMod(t, mv, data, z)
		})
	}
}

// checkAgainstXMod checks that golang.org/x/mod agrees with what z says.
func checkAgainstXMod(t testing.TB, mv module.Version, data []byte, z upstream.Zip) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "m.zip")
	if err := os.WriteFile(name, data, 0o666); err != nil {
		t.Fatal(err)
	}
	h1, err := dirhash.HashZip(name, dirhash.Hash1)
	if err != nil || h1 != z.H1.String() {
		t.Errorf("h1 %s, dirhash says %s, %v", z.H1, h1, err)
	}
	dir := filepath.Join(t.TempDir(), "dir")
	if err := modzip.Unzip(dir, mv, name); err != nil {
		t.Fatalf("the go command could not unpack it: %v", err)
	}
	goMod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err == nil != z.HasGoMod {
		t.Errorf("HasGoMod %v, but reading it: %v", z.HasGoMod, err)
	}
	if !z.HasGoMod {
		goMod = []byte("module " + mv.Path + "\n")
	}
	h1, err = dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(goMod)), nil })
	if err != nil || !bytes.Equal(z.GoMod, goMod) || z.GoModH1.String() != h1 {
		t.Errorf("go.mod %q %s, want %q %s, %v", z.GoMod, z.GoModH1, goMod, h1, err)
	}
}

func TestCheckZipRefusesWrongVersions(t *testing.T) {
	for _, mv := range []module.Version{
		{Path: "example.com/M", Version: "v1.2"},
		{Path: "example.com/M", Version: "v2.0.0"},
		{Path: "example.com/M", Version: ""},
		{Path: "Example", Version: "v1.0.0"},
	} {
		if _, err := checkZip(t, mv, makeZip(t, mv)); !errors.Is(err, upstream.ErrBadZip) {
			t.Errorf("%v: %v", mv, err)
		}
	}
}

// TestCheckZipReadsEveryFile: what a header declares must be true.
func TestCheckZipReadsEveryFile(t *testing.T) {
	text := strings.Repeat("package a\n", 100)
	whole := makeZip(t, mv, file{name: "a.go", text: text})
	central := bytes.LastIndex(whole, []byte("PK\x01\x02"))
	for name, damage := range map[string]func([]byte){
		"smaller size declared": func(b []byte) { binary.LittleEndian.PutUint32(b[central+24:], uint32(len(text)-1)) },
		"larger size declared":  func(b []byte) { binary.LittleEndian.PutUint32(b[central+24:], uint32(len(text)+1)) },
		"other CRC":             func(b []byte) { b[central+16] ^= 1 },
		"flipped bit":           func(b []byte) { b[len("PK")+60] ^= 4 },
		"other method":          func(b []byte) { b[central+10] = 99 },
		"more entries declared": func(b []byte) { b[len(b)-22+10] = 2 },
		"no end":                func(b []byte) { b[len(b)-22] = 'X' },
	} {
		data := bytes.Clone(whole)
		damage(data)
		if z, err := checkZip(t, mv, data); !errors.Is(err, upstream.ErrBadZip) {
			t.Errorf("%s: %+v, %v; want %v", name, z, err, upstream.ErrBadZip)
		}
	}
	for _, n := range []int{0, 1, 21, len(whole) / 2, len(whole) - 1} {
		if _, err := checkZip(t, mv, whole[:n]); !errors.Is(err, upstream.ErrBadZip) {
			t.Errorf("first %d bytes: %v, want %v", n, err, upstream.ErrBadZip)
		}
	}
}

func TestCheckZipBoundsTheDirectory(t *testing.T) {
	var many []file
	for i := range 65_536 {
		many = append(many, file{name: fmt.Sprint(i)})
	}
	if _, err := checkZip(t, mv, makeZip(t, mv, many...)); !errors.Is(err, upstream.ErrBadZip) || !strings.Contains(err.Error(), "65535") {
		t.Errorf("65,536 entries: %v", err)
	}
	var long []file
	for i := range 3000 {
		long = append(long, file{name: fmt.Sprintf("%0*d", 3000, i)})
	}
	if _, err := checkZip(t, mv, makeZip(t, mv, long...)); !errors.Is(err, upstream.ErrBadZip) || !strings.Contains(err.Error(), "names") {
		t.Errorf("9 MB of names: %v", err)
	}
	var deep []file
	for i := range 400 {
		deep = append(deep, file{name: fmt.Sprint(i) + strings.Repeat("/a", 1900)})
	}
	if _, err := checkZip(t, mv, makeZip(t, mv, deep...)); !errors.Is(err, upstream.ErrBadZip) || !strings.Contains(err.Error(), "paths") {
		t.Errorf("760,000 paths: %v", err)
	}
	var huge []file
	for i := range 300 {
		huge = append(huge, file{name: fmt.Sprintf("%0*d", 60_000, i)})
	}
	if _, err := checkZip(t, mv, makeZip(t, mv, huge...)); !errors.Is(err, upstream.ErrBadZip) || !strings.Contains(err.Error(), "directory is larger") {
		t.Errorf("18 MB of directory: %v", err)
	}
	if _, err := upstream.CheckZip(t.Context(), mv, bytes.NewReader(nil), modzip.MaxZipFile+1); !errors.Is(err, upstream.ErrBadZip) {
		t.Errorf("more than 500 MiB: %v", err)
	}
}

// A fault of this node is no verdict on the zip.
func TestCheckZipFaultsAreNotBadZips(t *testing.T) {
	data := makeZip(t, mv, file{name: "a", text: strings.Repeat("x", 1000)})
	broken := errors.New("input/output error")
	for at := range int64(3) {
		r := &faultyReaderAt{bytes.NewReader(data), at, broken}
		if _, err := upstream.CheckZip(t.Context(), mv, r, int64(len(data))); !errors.Is(err, broken) || errors.Is(err, upstream.ErrBadZip) {
			t.Errorf("read %d fails: %v, want %v", at, err, broken)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := upstream.CheckZip(ctx, mv, bytes.NewReader(data), int64(len(data))); !errors.Is(err, context.Canceled) || errors.Is(err, upstream.ErrBadZip) {
		t.Errorf("canceled: %v", err)
	}
}

// faultyReaderAt fails from its read number "left" on.
type faultyReaderAt struct {
	r    io.ReaderAt
	left int64
	err  error
}

func (r *faultyReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if r.left--; r.left < 0 {
		return 0, r.err
	}
	return r.r.ReadAt(p, off)
}

func FuzzCheckZip(f *testing.F) {
	f.Add(makeZip(f, mv, file{name: "go.mod", text: "module example.com/M\n"}, file{name: "a/b.go", text: "package a\n"}))
	f.Add(makeZip(f, mv, file{name: "a"}, file{name: "A"}))
	f.Add(makeZip(f, mv))
	f.Fuzz(func(t *testing.T, data []byte) {
		z, err := checkZip(t, mv, data)
		if err == nil {
			checkAgainstXMod(t, mv, data, z)
		} else if !errors.Is(err, upstream.ErrBadZip) {
			t.Fatal(err)
		}
	})
}

func FuzzFold(f *testing.F) {
	f.Add("README", "readme")
	f.Add("\u212a", "k")
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.EqualFold(a, b) != (upstream.Fold(a) == upstream.Fold(b)) && strings.ToValidUTF8(a, "") == a && strings.ToValidUTF8(b, "") == b {
			t.Fatalf("%q and %q: EqualFold %v, folds %q and %q", a, b, strings.EqualFold(a, b), upstream.Fold(a), upstream.Fold(b))
		}
	})
}

func BenchmarkCheckZip(b *testing.B) {
	var files []file
	for i := range 500 {
		files = append(files, file{name: fmt.Sprintf("pkg%d/file.go", i), text: strings.Repeat(fmt.Sprintf("package pkg%d\n", i), 1000)})
	}
	data := makeZip(b, mv, files...)
	b.SetBytes(int64(500 * 14000))
	for b.Loop() {
		if _, err := checkZip(b, mv, data); err != nil {
			b.Fatal(err)
		}
	}
}
