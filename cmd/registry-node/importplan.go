package main

import (
	"archive/zip"
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"registry-node/events"
)

// importItem is a version that lies somewhere on this machine, to be imported.
type importItem struct {
	mv module.Version
	// Files: without an info one is made of the version; without a zip it is about the
	// go.mod alone; without a go.mod that of the zip is taken.
	info, mod, zip string
	modH1, zipH1   events.H1
	// vouched says that go.sum has these hashes.
	vouched bool
}

// importRefusal is a version that can't be imported, and why.
type importRefusal struct {
	Module  string `json:"module"`
	Version string `json:"version"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// codeBroken is the code of what is refused before the node is asked.
const codeBroken = "broken"

// importPlan is what a source has.
type importPlan struct {
	source  string // for people
	project bool   // the source is one
	items   []importItem
	refused []importRefusal
	// leftOut counts, by the reason, what is in the source and nothing to import.
	leftOut map[string]int
	at      map[module.Version]int // among items, while they are added
}

// empty reports whether a store of modules has none, so that it hardly is what was
// meant. A project may need none.
func (p *importPlan) empty() bool { return !p.project && len(p.items)+len(p.refused) == 0 }

// leftOutText is what is left out, for an error.
func (p *importPlan) leftOutText() (text string) {
	for _, reason := range p.reasons() {
		text += fmt.Sprintf("; left out: %d %s", p.leftOut[reason], reason)
	}
	return text
}

func newPlan(format string, args ...any) *importPlan {
	return &importPlan{source: fmt.Sprintf(format, args...), leftOut: map[string]int{}, at: map[module.Version]int{}}
}

// refuse puts down a version that is not as it should be.
func (p *importPlan) refuse(mv module.Version, err error) {
	p.refused = append(p.refused, importRefusal{mv.Path, mv.Version, codeBroken, err.Error()})
}

func (p *importPlan) leave(reason string) { p.leftOut[reason]++ }

// add completes an item from its files and from go.sum, and takes it into the plan,
// or refuses it. Of what is in the source twice one is taken, if they are the same.
func (p *importPlan) add(it importItem, sums goSums) {
	if err := it.complete(sums); err != nil {
		p.refuse(it.mv, err)
		return
	}
	i, twice := p.at[it.mv]
	if !twice {
		p.at[it.mv] = len(p.items)
		p.items = append(p.items, it)
		return
	}
	switch had := &p.items[i]; {
	case had.modH1 != it.modH1 || had.zip != "" && it.zip != "" && had.zipH1 != it.zipH1:
		p.refuse(it.mv, fmt.Errorf("the source has it twice with different content: go.mod %v zip %v, and go.mod %v zip %v, which is refused", had.modH1, had.zipH1, it.modH1, it.zipH1))
		return
	case had.zip == "":
		*had = it
	}
	p.leave("that the source has twice with the same content")
}

// complete computes the hash of the go.mod and compares both hashes with go.sum. It
// reads no zip: whether that has the hash which is said of it, the node finds out.
func (it *importItem) complete(sums goSums) error {
	if err := events.CheckVersion(it.mv); err != nil {
		return err
	}
	mod, err := it.readMod()
	if err != nil {
		return err
	}
	it.modH1 = events.HashMod(mod)
	want := sums[it.mv]
	switch {
	case !want.mod.IsZero() && want.mod != it.modH1:
		return fmt.Errorf("SECURITY ERROR: its go.mod is %v, go.sum says %v", it.modH1, want.mod)
	case it.zip != "" && !want.zip.IsZero() && !it.zipH1.IsZero() && want.zip != it.zipH1:
		return fmt.Errorf("SECURITY ERROR: its zip is %v, go.sum says %v", it.zipH1, want.zip)
	}
	if it.zip != "" {
		it.zipH1 = cmp.Or(it.zipH1, want.zip)
	}
	it.vouched = !want.mod.IsZero() && (it.zip == "" || !want.zip.IsZero())
	return nil
}

// readMod returns the go.mod. The module cache lacks that of a module which is built
// with and whose requirements nobody had to know.
func (it *importItem) readMod() ([]byte, error) {
	if it.mod != "" {
		return os.ReadFile(it.mod)
	}
	z, err := zip.OpenReader(it.zip)
	if err != nil {
		return nil, fmt.Errorf("its zip can't be read: %w", err)
	}
	defer z.Close()
	f, err := z.Open(it.mv.Path + "@" + it.mv.Version + "/go.mod")
	if errors.Is(err, fs.ErrNotExist) {
		return []byte("module " + modfile.AutoQuote(it.mv.Path) + "\n"), nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, modzip.MaxGoMod+1))
}

// withoutZips drops what has no zip, for a repository that takes only whole versions.
func (p *importPlan) withoutZips() {
	all := len(p.items)
	p.items = slices.DeleteFunc(p.items, func(it importItem) bool { return it.zip == "" })
	if n := all - len(p.items); n > 0 {
		p.leftOut["of which there is a go.mod and no zip, without which nothing is published"] = n
	}
}

// sort puts the plan into an order that does not depend on the disk.
func (p *importPlan) sort() {
	slices.SortFunc(p.items, func(a, b importItem) int { return compareVersions(a.mv, b.mv) })
	slices.SortFunc(p.refused, func(a, b importRefusal) int {
		return compareVersions(module.Version{Path: a.Module, Version: a.Version}, module.Version{Path: b.Module, Version: b.Version})
	})
}

func compareVersions(a, b module.Version) int {
	return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Version, b.Version))
}

// reasons returns the reasons for which something is left out, in order.
func (p *importPlan) reasons() []string { return slices.Sorted(maps.Keys(p.leftOut)) }

// goSums are the hashes in files like go.sum.
type goSums map[module.Version]sumLines

// sumLines are the two lines of a version; zero where there is none.
type sumLines struct{ mod, zip events.H1 }

// read adds the lines of a file. Hashes of other kinds than h1 are left aside, as
// the go command does.
func (g goSums) read(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || len(fields) == 3 && !strings.HasPrefix(fields[2], "h1:") {
			continue
		}
		if len(fields) != 3 {
			return fmt.Errorf("%s:%d: %q is no line of a go.sum", file, n, lines.Text())
		}
		h1, err := events.ParseH1(fields[2])
		if err != nil {
			return fmt.Errorf("%s:%d: %w", file, n, err)
		}
		version, isMod := strings.CutSuffix(fields[1], "/go.mod")
		mv := module.Version{Path: fields[0], Version: version}
		known := g[mv]
		slot := &known.zip
		if isMod {
			slot = &known.mod
		}
		if !slot.IsZero() && *slot != h1 {
			return fmt.Errorf("%s:%d: SECURITY ERROR: %s %s has two hashes, %v and %v", file, n, mv.Path, fields[1], *slot, h1)
		}
		*slot = h1
		g[mv] = known
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
