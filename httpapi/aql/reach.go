package aql

import (
	"cmp"
	"slices"
	"strings"
)

// Reach is where items may be that match a query: in the repositories whose names a
// pattern matches, with paths that begin so.
type Reach struct {
	Repo string // a name, or a pattern with wildcards; empty: all
	path string // what the path begins with, or is
	full bool   // it is all of the path
	name string // what the name begins with
}

// maxReaches bounds where a query looks: beyond, it looks in more at a time. Of
// criteria that must all hold, one alone then says where; of others only the
// repositories count, or nothing.
const maxReaches = 256

// Prefix returns what the paths of the items with their names begin with.
func (r Reach) Prefix() string {
	if r.full {
		return r.path + "/" + r.name
	}
	return r.path
}

// Literal reports whether Repo is the name of one repository.
func (r Reach) Literal() bool { return r.Repo != "" && !strings.ContainsAny(r.Repo, "*?") }

// Reaches returns where items may be that match: an item that is nowhere there does
// not. None of them is within another one with the same Repo.
func (q *Query) Reaches() []Reach {
	list := q.where.reaches()
	slices.SortFunc(list, func(a, b Reach) int {
		return cmp.Or(strings.Compare(a.Repo, b.Repo), strings.Compare(a.Prefix(), b.Prefix()))
	})
	var kept []Reach
	for _, r := range list {
		if n := len(kept); n == 0 || kept[n-1].Repo != r.Repo || !strings.HasPrefix(r.Prefix(), kept[n-1].Prefix()) {
			kept = append(kept, r)
		}
	}
	return kept
}

func (g group) reaches() []Reach {
	if g.any && len(g.of) == 1 {
		return g.of[0].reaches()
	}
	if g.any {
		var list []Reach
		for _, c := range g.of {
			list = append(list, c.reaches()...)
		}
		return wider(list)
	}
	list := []Reach{{}}
	for _, c := range g.of {
		list = both(list, c.reaches())
	}
	return list
}

// wider returns where all is that is in one of list, and more if they are many.
func wider(list []Reach) []Reach {
	if len(list) <= maxReaches {
		return list
	}
	names := map[string]bool{}
	for _, r := range list {
		names[r.Repo] = true
	}
	if len(names) > maxReaches || names[""] {
		return []Reach{{}}
	}
	list = nil
	for name := range names {
		list = append(list, Reach{Repo: name})
	}
	return list
}

// both returns where items may be that are in one of a and in one of b.
func both(a, b []Reach) []Reach {
	if len(a) == 1 && a[0] == (Reach{}) {
		return b
	}
	if len(a)*len(b) > maxReaches {
		return a // where more items are than in both
	}
	var list []Reach
	for _, r := range a {
		for _, s := range b {
			if t, ok := r.and(s); ok {
				list = append(list, t)
			}
		}
	}
	return list
}

// and returns where items are that are in both; ok is false if there can be none.
func (r Reach) and(s Reach) (t Reach, ok bool) {
	switch {
	case r.Repo == s.Repo, s.Repo == "":
		t.Repo = r.Repo
	case r.Repo == "":
		t.Repo = s.Repo
	case r.Literal() && s.Literal():
		return t, false
	case r.Literal():
		t.Repo = r.Repo
	default:
		t.Repo = s.Repo
	}
	if len(r.path) < len(s.path) || len(r.path) == len(s.path) && s.full {
		r, s = s, r
	}
	if !strings.HasPrefix(r.path, s.path) || s.full && r.path != s.path {
		return t, false
	}
	t.path, t.full = r.path, r.full
	if len(r.name) < len(s.name) {
		r, s = s, r
	}
	t.name = r.name
	return t, strings.HasPrefix(r.name, s.name)
}

func (t textTest) reaches() []Reach {
	begins := t.value
	switch t.op {
	case opEq:
	case opMatch:
		if i := strings.IndexAny(begins, "*?"); i >= 0 {
			begins = begins[:i]
		}
	default:
		return []Reach{{}}
	}
	full := begins == t.value
	switch t.field.name {
	case "repo":
		return []Reach{{Repo: t.value}}
	case "path":
		return []Reach{{path: begins, full: full}}
	case "name":
		return []Reach{{name: begins}}
	}
	return []Reach{{}}
}

func (orderTest) reaches() []Reach { return []Reach{{}} }

func (propertyTest) reaches() []Reach { return []Reach{{}} }
