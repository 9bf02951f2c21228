package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/module"
)

// modulesOf returns versions of modules with a common prefix, all the kinds that
// the go command knows. Its pseudo-versions are for upstreams only: publishing
// makes releases.
func modulesOf(prefix string) map[module.Version]tree {
	m := map[module.Version]tree{}
	add := func(path, version string, files tree) {
		m[module.Version{Path: prefix + path, Version: version}] = files
	}
	plain := func(path, version string) { add(path, version, library(prefix+path, version)) }
	for _, v := range []string{"v1.0.0", "v1.0.1", "v1.1.0", "v1.2.0-rc.1"} {
		plain("/lib", v)
	}
	plain("/lib/v2", "v2.0.0")
	plain("/Upper/BigCase", "v0.1.0")
	plain("/old", "v1.0.0")
	add("/old", "v2.1.0+incompatible", library(prefix+"/old", "v2.1.0+incompatible").without("go.mod"))
	retracted := prefix + "/retracted"
	plain("/retracted", "v1.0.0")
	plain("/retracted", "v1.1.0")
	add("/retracted", "v1.2.0", library(retracted, "v1.2.0").with("go.mod",
		"module "+retracted+"\n\ngo 1.21\n\nretract [v1.1.0, v1.2.0] // they lose data\n"))
	return m
}

const (
	branchPath   = "pub.example/lib"
	branchPseudo = "v1.1.1-0.20240203040506-abcdefabcdef"
)

// addAll adds modules to an upstream, and a branch to one of them.
func (u *upstream) addAll(m map[module.Version]tree) {
	for mv, files := range m {
		u.add(mv.Path, mv.Version, files)
	}
	u.add(branchPath, branchPseudo, library(branchPath, branchPseudo))
	u.add("pub.example/unreleased", "v0.0.0-20240203040506-abcdefabcdef", library("pub.example/unreleased", "no release"))
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, query := range []string{"main", "abcdefabcdef", "abcdefabcdef0123456789abcdef0123456789ab"} {
		u.queries[module.Version{Path: branchPath, Version: query}] = branchPseudo
	}
}

// consumer is a module that uses all that modulesOf returns for two prefixes.
func consumer() tree {
	var imports, uses strings.Builder
	for i, prefix := range []string{"corp.example", "pub.example"} {
		for j, path := range []string{"/lib", "/lib/v2", "/Upper/BigCase", "/old", "/retracted"} {
			fmt.Fprintf(&imports, "\tm%d%d %q\n", i, j, prefix+path)
			fmt.Fprintf(&uses, "\tprintln(m%d%d.What)\n", i, j)
		}
	}
	return tree{
		"go.mod":  "module app.example/consumer\n\ngo 1.21\n",
		"main.go": "package main\n\nimport (\n" + imports.String() + ")\n\nfunc main() {\n" + uses.String() + "}\n",
	}
}

// questions are what the go command is asked of the modules below a prefix.
// They depend on those before them.
func questions(prefix string) (q [][]string) {
	add := func(args ...string) { q = append(q, args) }
	add("list", "-m", "-versions", prefix+"/lib")
	add("list", "-m", "-versions", prefix+"/lib/v2")
	add("list", "-m", "-versions", prefix+"/old")
	add("list", "-m", "-versions", prefix+"/retracted")
	add("list", "-m", "-versions", "-retracted", prefix+"/retracted")
	for _, query := range []string{
		"@v1.0.0", "@patch", "@upgrade", "@v1.2.0-rc.1", "@upgrade", "@<v1.1.0", "@>=v1.0.1", "@v1", "@v1.0", "@latest",
		"@v1.0.2", "@v9", "@nosuchbranch",
	} {
		add("get", prefix+"/lib"+query)
	}
	add("get", prefix+"/lib/v2@latest")
	add("get", prefix+"/old@v1.0.0")
	add("get", prefix+"/old@latest")
	add("get", prefix+"/old@v2.1.0+incompatible")
	add("get", prefix+"/retracted@v1.1.0")
	add("list", "-m", "-u", "-retracted", prefix+"/retracted")
	add("get", prefix+"/retracted@latest")
	add("get", prefix+"/Upper/BigCase")
	add("get", prefix+"/upper/bigcase")
	add("get", prefix+"/nosuch@latest")
	add("get", prefix+"/nosuch@v1.0.0")
	add("get", prefix+"/lib/nosuchpackage")
	add("mod", "download", "-json", prefix+"/lib@v1.1.0", prefix+"/old@v2.1.0+incompatible")
	return q
}

// TestGoCommand holds a node to what an upstream does: the go command says and
// writes the same with either, whether the node has a module from an upstream or
// from a publisher.
func TestGoCommand(t *testing.T) {
	asSeenByTheGoCommand(t)
	corp, pub := modulesOf("corp.example"), modulesOf("pub.example")
	up, reference := newUpstream(t), newUpstream(t)
	up.addAll(pub)
	reference.addAll(pub)
	reference.addAll(corp)

	s := serve(t, up.settings()...)
	s.publishAll(corp)
	noSumdb := "GONOSUMDB=corp.example"
	here := newGoClient(t, consumer(), s.URL+"/go/all", "GOSUMDB="+up.sumdb, noSumdb)
	there := newGoClient(t, consumer(), reference.URL, "GOSUMDB="+reference.sumdb, noSumdb)

	all := slices.Concat(questions("corp.example"), questions("pub.example"), [][]string{
		{"get", branchPath + "@main"},
		{"get", branchPath + "@abcdefabcdef"},
		{"get", branchPath + "@abcdefabcdef0123456789abcdef0123456789ab"},
		{"get", "pub.example/unreleased@latest"},
		{"get", "pub.example/unreleased@none"},
		{"mod", "tidy"}, {"list", "-m", "-u", "all"}, {"mod", "graph"}, {"mod", "verify"}, {"build", "-o", os.DevNull, "."}, {"run", "."},
	})
	for _, args := range all {
		got, want := here.observe(s.URL+"/go/all", args), there.observe(reference.URL, args)
		if got != want {
			t.Errorf("go %s: through the node:\n%s\nfrom the upstream:\n%s", strings.Join(args, " "), got, want)
		}
	}
	if r := here.run("run", "."); r.code != 0 || !strings.Contains(r.stderr, "corp.example/old v2.1.0+incompatible\n") {
		t.Errorf("the program prints %q, exit code %d: %s", r.stdout, r.code, r.stderr)
	}
	for path, n := range up.paths() {
		if strings.Contains(path, "corp.example") {
			t.Errorf("the upstream was asked %d times for %s", n, path)
		}
	}
}

// publishAll publishes modules with the command, as their publisher would. The
// first is refused, with the command that an administrator then runs.
func (s *server) publishAll(m map[module.Version]tree) {
	s.t.Helper()
	allowed := false
	for _, mv := range slices.SortedFunc(maps.Keys(m), func(a, b module.Version) int { return strings.Compare(a.String(), b.String()) }) {
		args := []string{"publish", m[mv].write(s.t), "--version", mv.Version, "--repo", "local"}
		if _, ok := m[mv]["go.mod"]; !ok {
			args = append(args, "--module", mv.Path)
		}
		if !allowed {
			s.allow(s.command(args...))
			allowed = true
		}
		s.must(args...)
	}
}

// allow runs the command that a refused publication names.
func (s *server) allow(refused result) {
	s.t.Helper()
	hint := regexp.MustCompile(`registry-node (repo set local --owns) '([^']+)'`).FindStringSubmatch(refused.stderr)
	if refused.code != 1 || hint == nil {
		s.t.Fatalf("publishing what nobody owns: exit code %d, and no command that allows it in %q", refused.code, refused.stderr)
	}
	s.must(append(strings.Fields(hint[1]), hint[2])...)
}

// paths returns how often each path was asked for.
func (u *upstream) paths() map[string]int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return maps.Clone(u.asked)
}

// observe runs a command and returns all that it did, without what differs from
// client to client by its nature.
func (c *goClient) observe(goproxy string, args []string) string {
	c.t.Helper()
	r := c.run(args...)
	var b strings.Builder
	fmt.Fprintf(&b, "exit code %d\n-- stdout\n%s-- stderr\n", r.code, r.stdout)
	for _, line := range slices.Sorted(strings.Lines(r.stderr)) { // downloads end in any order
		b.WriteString(line)
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(c.dir, name))
		if err != nil && !os.IsNotExist(err) {
			c.t.Fatal(err)
		}
		fmt.Fprintf(&b, "-- %s\n%s", name, text)
	}
	text := strings.NewReplacer(goproxy, "GOPROXY", filepath.Dir(filepath.Dir(filepath.Dir(c.downloads()))), "CACHE").Replace(b.String())
	return responseText.ReplaceAllString(text, "server response: …")
}

// responseText is what a server says beside a status. Its wording is its own.
var responseText = regexp.MustCompile(`server response:[^\n]*`)

// TestOwnedNameNeedsGONOSUMDB: a client that would ask the checksum database
// for a private name is told of the setting that it lacks, and nobody outside
// hears of the name.
func TestOwnedNameNeedsGONOSUMDB(t *testing.T) {
	up := newUpstream(t)
	s := serve(t, up.settings()...)
	s.owns()
	mv := module.Version{Path: "corp.example/lib", Version: "v1.0.0"}
	s.publish(mv, library(mv.Path, mv.Version))
	c := newGoClient(t, consumer(), s.URL+"/go/all", "GOSUMDB="+up.sumdb)
	if r := c.run("get", mv.String()); r.code == 0 || !strings.Contains(r.stderr, "GONOSUMDB") {
		t.Errorf("go get without GONOSUMDB: exit code %d, %s", r.code, r.stderr)
	}
	for path := range up.paths() {
		if strings.Contains(path, "corp.example") {
			t.Errorf("the upstream was asked for %s", path)
		}
	}
	if a := s.get("/go/public/corp.example/lib/@v/list"); a.status != http.StatusForbidden {
		t.Errorf("an owned path asked of a remote repository: %d %s", a.status, a.body)
	}
}
