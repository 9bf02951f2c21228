package aql

import (
	"context"
	"fmt"
	"strings"
)

// Build is a run of a build that a criterion names: it means the items that the run
// made, or took as dependencies.
type Build struct {
	Name, Number string
	Taken        bool
}

// File is a file that a run of a build made or took: the path and the name of an item,
// and the SHA-1 that it must have, in hex; empty for any.
type File struct{ Path, Name, SHA1 string }

// maxBuilds bounds the builds that a query names.
const maxBuilds = 64

// The beginnings of the fields that name a build.
const (
	madeBy  = "artifact.module.build."
	takenBy = "dependency.module.build."
)

// buildPart is one half of a criterion about a build: its name, or its number.
type buildPart struct {
	taken  bool
	number bool
	value  string
}

func (buildPart) match(context.Context, *Item) bool { return false }

func (buildPart) reaches() []Reach { return nil }

// buildPartOf returns the half of a criterion that a field is; ok is false if it is
// about something else.
func buildPartOf(key string, o op, value string) (p buildPart, ok bool, err error) {
	field, made := strings.CutPrefix(key, madeBy)
	if !made {
		if field, p.taken = strings.CutPrefix(key, takenBy); !p.taken {
			return p, false, nil
		}
	}
	switch {
	case field != "name" && field != "number":
		return p, true, fmt.Errorf("of a build a criterion is about its name and its number, and not %s", quote(key))
	case o != opEq:
		return p, true, fmt.Errorf("%s is not for %s: a build is named in full", o, quote(key))
	}
	p.number, p.value = field == "number", value
	return p, true, nil
}

// buildTest holds for the items of a build.
type buildTest struct {
	build Build
	// files are those of the build, by path and name, once the query is told (Tell).
	files map[string]File
}

func (t *buildTest) match(_ context.Context, i *Item) bool {
	f, ok := t.files[i.Path+"/"+i.Name]
	if !ok || f.SHA1 == "" || i.SHA1 == nil {
		return ok
	}
	sum := i.SHA1()
	return sum == "" || sum == f.SHA1
}

func (t *buildTest) reaches() []Reach {
	list := make([]Reach, 0, len(t.files))
	for _, f := range t.files {
		list = append(list, Reach{path: f.Path, full: true, name: f.Name})
	}
	return list
}

// joinBuilds puts the halves of criteria about builds together: those of one object,
// or of one $and, are about the same build.
func (p *parser) joinBuilds(of []criterion) ([]criterion, error) {
	var kept []criterion
	halves := map[bool]map[bool]string{}
	for _, c := range of {
		half, ok := c.(buildPart)
		if !ok {
			kept = append(kept, c)
			continue
		}
		if halves[half.taken] == nil {
			halves[half.taken] = map[bool]string{}
		}
		if _, twice := halves[half.taken][half.number]; twice {
			return nil, fmt.Errorf("an object names two builds: write them as two objects of an $or")
		}
		halves[half.taken][half.number] = half.value
	}
	for taken, said := range halves {
		if len(said) < 2 {
			return nil, fmt.Errorf("a criterion about a build has its name and its number, in one object")
		}
		t := &buildTest{build: Build{said[false], said[true], taken}}
		if p.builds = append(p.builds, t); len(p.builds) > maxBuilds {
			return nil, fmt.Errorf("there are more than %d builds", maxBuilds)
		}
		kept = append(kept, t)
	}
	return kept, nil
}

// Builds returns the builds that criteria are about, each once.
func (q *Query) Builds() (list []Build) {
	seen := map[Build]bool{}
	for _, t := range q.builds {
		if !seen[t.build] {
			list = append(list, t.build)
		}
		seen[t.build] = true
	}
	return list
}

// Tell tells the query the files of a build that criteria are about. Until then it has
// none.
func (q *Query) Tell(b Build, files []File) {
	byName := make(map[string]File, len(files))
	for _, f := range files {
		byName[f.Path+"/"+f.Name] = f
	}
	for _, t := range q.builds {
		if t.build == b {
			t.files = byName
		}
	}
}
