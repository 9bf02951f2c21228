package e2e

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// self is the name of this module, which begins the import paths of its packages.
const self = "registry-node"

// layers are the packages of this module and what each may import besides the
// standard library. A path stands for all below it, if it is another module's.
// A package that is not here fails the test: a new one needs a reason.
var layers = map[string][]string{
	"events":        {"golang.org/x/mod"},
	"node/access":   {"events", "github.com/coreos/go-oidc/v3"},
	"node/blob":     {"events", "golang.org/x/time"},
	"node/index":    {"events", "github.com/cockroachdb/pebble/v2"},
	"node/upstream": {"events", "golang.org/x/mod"},
	"replication":   {"events", "github.com/nats-io", "golang.org/x/sys"},
	"node": {
		"events", "node/access", "node/blob", "node/index", "node/upstream", "replication",
		"golang.org/x/crypto", "golang.org/x/mod", "golang.org/x/sys", "golang.org/x/time",
	},
	"httpapi/aql": {},
	"httpapi":     {"events", "httpapi/aql", "node", "node/access", "github.com/labstack/echo/v4", "github.com/prometheus", "golang.org/x/mod", "golang.org/x/time"},
	"cmd/registry-node": {
		"events", "node", "node/access", "node/index", "node/upstream", "httpapi",
		"github.com/coreos/go-oidc/v3", "github.com/spf13", "golang.org/x/mod", "golang.org/x/oauth2", "golang.org/x/term", "gopkg.in/yaml.v3",
	},
	"e2e":         {},
	"e2e/bench":   {"events", "node", "replication", "golang.org/x/mod"},
	"e2e/mutants": {},
}

// homes are the modules that only one package may know, its tests included.
var homes = map[string]string{
	"github.com/nats-io":            "replication",
	"github.com/cockroachdb/pebble": "node/index",
	"github.com/labstack/echo":      "httpapi",
	"github.com/prometheus":         "httpapi",
	"github.com/spf13":              "cmd/registry-node",
	"golang.org/x/oauth2":           "cmd/registry-node",
}

// topLevel is all that may stand beside dot files at the top (DESIGN 10).
var topLevel = []string{"cmd", "e2e", "events", "httpapi", "node", "replication", "Makefile", "README.md", "go.mod", "go.sum"}

const root = ".." // of the module, seen from this package

func TestImportsGoOneWay(t *testing.T) {
	seen := map[string]bool{}
	used := map[[2]string]bool{} // package, entry of the table
	for file, imports := range imports(t) {
		pkg := path.Dir(file)
		seen[pkg] = true
		allowed, ok := layers[pkg]
		if !ok {
			t.Errorf("%s: package %s is not in the table of layers", file, pkg)
			continue
		}
		for _, imp := range imports {
			if home := homeOf(imp); home != "" && home != pkg {
				t.Errorf("%s imports %s, which only %s may", file, imp, home)
			}
			if strings.HasSuffix(file, "_test.go") || isStd(imp) {
				continue
			}
			i := slices.IndexFunc(allowed, covers(imp))
			if i < 0 {
				t.Errorf("%s imports %s, which package %s may not", file, imp, pkg)
				continue
			}
			used[[2]string{pkg, allowed[i]}] = true
		}
	}
	for pkg, allowed := range layers {
		if !seen[pkg] {
			t.Errorf("package %s is in the table of layers and has no files", pkg)
		}
		for _, imp := range allowed {
			if seen[pkg] && !used[[2]string{pkg, imp}] {
				t.Errorf("package %s does not import %s; take it from the table of layers", pkg, imp)
			}
		}
	}
}

// TestLayersGoOneWay holds the table itself against the design: no two of the
// packages below node know each other, and no package is above itself.
func TestLayersGoOneWay(t *testing.T) {
	siblings := []string{"node/access", "node/blob", "node/index", "node/upstream", "replication"}
	for _, pkg := range siblings {
		for _, imp := range layers[pkg] {
			if _, ours := layers[imp]; ours && imp != "events" {
				t.Errorf("%s may import %s", pkg, imp)
			}
		}
	}
	var visit func(pkg string, above []string)
	visit = func(pkg string, above []string) {
		if slices.Contains(above, pkg) {
			t.Fatalf("%s is above itself: %v", pkg, above)
		}
		for _, imp := range layers[pkg] {
			if _, ours := layers[imp]; ours {
				visit(imp, append(above, pkg))
			}
		}
	}
	for pkg := range layers {
		visit(pkg, nil)
	}
}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := e.Name(); !strings.HasPrefix(name, ".") && !slices.Contains(topLevel, name) && !ignored(t, name) {
			t.Errorf("the top level holds %s", name)
		}
	}
}

// ignored reports whether .gitignore names what stands at the top level: what
// a build or a run leaves there is nobody's layout.
func ignored(t *testing.T, name string) bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if ok, _ := path.Match(strings.Trim(line, "/\n"), name); ok {
			return true
		}
	}
	return false
}

// imports returns the import paths of every Go file of the module, by its path,
// whatever system it is for. Packages of this module come without its name.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	files := map[string][]string{}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || path.Dir(name) == "." && ignored(t, name)):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		of := map[string]bool{}
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			of[strings.TrimPrefix(imp, self+"/")] = true
		}
		files[name] = slices.Sorted(maps.Keys(of))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < len(layers) {
		t.Fatalf("found %d Go files only", len(files))
	}
	return files
}

// isStd reports whether an import path is of the standard library: its first
// element has no dot, and it is none of ours.
func isStd(imp string) bool {
	if _, ours := layers[imp]; ours || imp == "C" {
		return false
	}
	first, _, _ := strings.Cut(imp, "/")
	return !strings.Contains(first, ".") && !slices.Contains(topLevel, first)
}

// covers returns whether an entry of the table allows imp.
func covers(imp string) func(allowed string) bool {
	return func(allowed string) bool {
		_, ours := layers[allowed]
		return imp == allowed || !ours && strings.HasPrefix(imp, allowed+"/")
	}
}

func homeOf(imp string) string {
	for module, home := range homes {
		if imp == module || strings.HasPrefix(imp, module+"/") {
			return home
		}
	}
	return ""
}
