package node

import (
	"context"
	"iter"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/index"
)

// ItemQuery says which items are wanted.
type ItemQuery struct {
	Repo events.RepoName
	// Prefix is what their paths in the repository start with, such as
	// example.com/m/@v/v1.2.3.zip; empty for all. No more is looked at than what is
	// near it in the order of paths.
	Prefix string
	// Properties says that they are wanted, too.
	Properties bool
	// Looks is how many records may be looked at, and how often one may be looked for,
	// found or not; all that is taken from it, so that several queries may share it.
	// Nil: as many as there are.
	Looks *int
}

// Items yields the files of a repository that a caller may read and that can be had,
// by module path and version: of a virtual one those of its members, in their order
// and with their names, but none of a version that an earlier member answers for. It
// asks nobody elsewhere. An error ends it: those of Repository, ErrTooLarge if all of
// Looks is used up, or what ends ctx.
func (n *Node) Items(ctx context.Context, who *access.Caller, q ItemQuery) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		r, err := n.Repository(who, q.Repo)
		if err != nil {
			yield(Item{}, err)
			return
		}
		r.HeldOnly = true
		s := &itemScan{ctx: ctx, asked: r, query: q, yield: func(i Item) bool { return yield(i, nil) }}
		for _, m := range r.membersOrSelf() {
			if err := s.scan(m); err != nil {
				yield(Item{}, err)
				return
			}
			if s.done {
				return
			}
		}
	}
}

// membersOrSelf returns the repositories whose versions r shows.
func (r *Repository) membersOrSelf() []*events.Repo {
	if r.repo.Kind != events.Virtual {
		return []*events.Repo{r.repo}
	}
	var list []*events.Repo
	for _, name := range r.repo.Settings.Members {
		if m := r.st.dir.RepoNamed(name); m != nil && !m.Deleted {
			list = append(list, m)
		}
	}
	return list
}

// itemScan is an Items under way.
type itemScan struct {
	ctx   context.Context
	asked *Repository
	query ItemQuery
	yield func(Item) bool
	done  bool // nobody wants more

	// The module that was looked at last, and the sources that may answer for it, up
	// to the one that is scanned; none if that is not among them.
	path    string
	sources []*Repository
}

// scan yields the items of one repository.
func (s *itemScan) scan(m *events.Repo) error {
	s.path, s.sources = "", nil
	all, prefix := events.VersionsPrefix(m.ID, ""), itemKeys(m.ID, s.query.Prefix)
	for last := ""; ; {
		passed, err := s.walk(m, prefix, last)
		end := all + passed
		if err != nil || passed == "" || len(end) < len(prefix) {
			return err
		}
		last = end[len(prefix):] + "\x01" // sorts behind the NUL that follows the path in keys
	}
}

// walk yields items from the first record behind last on. If there is a module of
// which nothing may be shown, it ends and returns its path.
func (s *itemScan) walk(m *events.Repo, prefix, last string) (passed string, err error) {
	if err := s.look(); err != nil { // also where there is nothing
		return "", err
	}
	for rec, err := range s.asked.node.index.Load().Behind(prefix, last) {
		if err == nil {
			err = s.look()
		}
		if err != nil {
			return "", err
		}
		_, mv, _ := rec.Key.Version()
		if mv.Path != s.path {
			s.path, s.sources = mv.Path, s.sourcesUpTo(m, mv.Path)
		}
		if len(s.sources) == 0 {
			return mv.Path, nil
		}
		if err := s.version(mv, rec); err != nil || s.done {
			return "", err
		}
	}
	return "", nil
}

// look counts a record that is looked at, or for.
func (s *itemScan) look() error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	if s.query.Looks == nil {
		return nil
	}
	if *s.query.Looks <= 0 {
		return fail(ErrTooLarge, "there is too much to look through for this query; narrow it: name the repository and the path, or the beginning of it")
	}
	*s.query.Looks--
	return nil
}

// sourcesUpTo returns the repositories that answer for a module up to m; none if m
// does not.
func (s *itemScan) sourcesUpTo(m *events.Repo, path string) []*Repository {
	list, _, err := s.asked.sources(path)
	i := slices.IndexFunc(list, func(r *Repository) bool { return r.repo.ID == m.ID })
	if err != nil || i < 0 {
		return nil
	}
	return list[:i+1]
}

// version yields the items of one version of the last source.
func (s *itemScan) version(mv module.Version, rec index.Record) error {
	earlier, r := s.sources[:len(s.sources)-1], s.sources[len(s.sources)-1]
	if _, blocked := r.st.dir.Blocked(mv); blocked {
		return nil
	}
	for _, e := range earlier {
		if answers, err := e.answers(mv); answers || err != nil {
			return err
		}
	}
	v := r.st.dir.ResolveVersion(r.repo, rec.Contributions)
	items, err := r.items(s.ctx, mv, &v)
	if err != nil && !notShown(err) {
		return err
	}
	items = slices.DeleteFunc(items, func(i Item) bool { return !strings.HasPrefix(i.Dir()+"/"+i.Name(), s.query.Prefix) })
	var all events.Properties
	if s.query.Properties && len(items) > 0 {
		if all, err = r.properties(mv); err != nil {
			return err
		}
	}
	for _, i := range items {
		if i.Properties = all[i.File]; !s.yield(i) {
			s.done = true
			return nil
		}
	}
	return nil
}

// answers reports whether a repository says what is to be said of a version, so that
// no later member of a virtual one is asked.
func (r *Repository) answers(mv module.Version) (bool, error) {
	v, err := r.node.version(r.st.dir, r.repo, mv)
	return err == nil && v.Status != events.Absent && v.Status != events.Hidden, err
}

// itemKeys returns what the keys of all versions start with that have files whose
// paths start with prefix.
func itemKeys(id events.RepoID, prefix string) string {
	path, rest, within := strings.Cut(prefix, "/@")
	if !within || path == "" {
		return events.VersionsPrefix(id, "") + strings.TrimSuffix(path, "/")
	}
	version, within := strings.CutPrefix(rest, "v/")
	if !within {
		return events.VersionsPrefix(id, path)
	}
	if i := strings.LastIndexByte(version, '.'); i >= 0 && slices.ContainsFunc(itemFiles, func(f string) bool { return strings.HasPrefix(f, version[i+1:]) }) {
		version = version[:i]
	}
	return events.VersionsPrefix(id, path) + version
}
