package httpapi

import (
	"slices"
	"strings"

	"registry-node/events"
	"registry-node/httpapi/aql"
	"registry-node/node"
)

// target is a repository in which a search looks, once, however many criteria say so.
type target struct {
	repo     events.RepoName
	named    bool     // the query has its name, rather than a pattern
	prefixes []string // of paths; none begins with another one
}

// targets returns where a search looks. A virtual repository counts only where it is
// named: else its members do. If what one shows another one may show, too, the search
// remembers what it has seen.
func (f *search) targets() (list []target, err error) {
	known, err := f.server.node.Repos(f.who)
	if err != nil {
		return nil, err
	}
	at := map[events.RepoName]int{}
	add := func(name events.RepoName, r aql.Reach) {
		i, ok := at[name]
		if !ok {
			i = len(list)
			at[name], list = i, append(list, target{repo: name})
		}
		list[i].named = list[i].named || r.Literal()
		list[i].prefixes = append(list[i].prefixes, r.Prefix())
	}
	for _, r := range f.query.Reaches() {
		if r.Literal() {
			if name, err := events.ParseRepoName(r.Repo); err == nil { // else there can be none
				add(name, r)
			}
			continue
		}
		for _, info := range known {
			if info.Kind != events.Virtual && (r.Repo == "" || aql.Wildcard(r.Repo, info.Name.String())) {
				add(info.Name, r)
			}
		}
	}
	for i := range list {
		list[i].prefixes = outermost(list[i].prefixes)
	}
	if f.mayRepeat(list, known) {
		f.seen = map[events.Digest]bool{}
	}
	return list, nil
}

// mayRepeat reports whether an item may be found in two of the targets.
func (f *search) mayRepeat(list []target, known []node.RepoInfo) bool {
	return len(list) > 1 && slices.ContainsFunc(list, func(t target) bool {
		return !slices.ContainsFunc(known, func(i node.RepoInfo) bool { return i.Name == t.repo && i.Kind != events.Virtual })
	})
}

// outermost returns those of prefixes that begin with no other one, sorted.
func outermost(prefixes []string) (kept []string) {
	slices.Sort(prefixes)
	for _, p := range prefixes {
		if n := len(kept); n == 0 || !strings.HasPrefix(p, kept[n-1]) {
			kept = append(kept, p)
		}
	}
	return kept
}
