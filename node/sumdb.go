package node

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/upstream"
)

// Sumdb answers a request of the go command for a checksum database; path is
// what follows "/sumdb/". A virtual repository answers for the databases of its
// remote members. Names that a local repository owns never leave: they are
// refused with the setting that the client lacks.
func (r *Repository) Sumdb(ctx context.Context, path string) (upstream.Answer, error) {
	if mod, ok := lookedUp(path); ok {
		owner := r.st.dir.Owner(mod)
		switch {
		case owner == nil:
		case !r.st.readsAny(r.who, owner.Name):
			return upstream.Answer{}, r.excluded(ctx, mod, byRights)
		default:
			return upstream.Answer{}, fail(ErrForbidden,
				"%s belongs to the local repository %s and is in no checksum database; set GONOSUMDB to match it", mod, owner.Name)
		}
	}
	rem, kept := r.databaseOf(path)
	if rem != nil && rem.broken != nil { // no absence: the go command would ask the database itself
		return upstream.Answer{}, rem.broken
	}
	if mod, ok := lookedUp(path); ok && kept != noBarrier && rem == nil {
		return upstream.Answer{}, r.excluded(ctx, mod, kept)
	}
	if rem == nil {
		return upstream.Answer{}, fail(ErrNotFound, "%s: repository %s proxies no such checksum database", path, r.repo.Name)
	}
	if mod, ok := lookedUp(path); ok && !rem.covers(mod) {
		return upstream.Answer{}, fail(ErrForbidden,
			"%s is in no checksum database, by the settings of this registry; set GONOSUMDB to match it", mod)
	}
	a, err := r.askDatabase(ctx, rem, path)
	switch {
	case err == nil:
		return a, nil
	case errors.As(err, new(*Error)):
		return a, err
	case errors.Is(err, upstream.ErrNotInDatabase):
		return a, because(err, ErrNotFound, "%v", err)
	}
	return a, upstreamFailed(err, "checksum database "+rem.dbName)
}

// askDatabase answers what path asks of a checksum database, from what is held
// here if no upstream is to be asked.
func (r *Repository) askDatabase(ctx context.Context, rem *remote, path string) (upstream.Answer, error) {
	if !r.HeldOnly && r.Misses.take() {
		a, err := rem.sumdb.Serve(ctx, path)
		if !errors.Is(err, upstream.ErrNotInDatabase) {
			r.Misses.giveBack()
		}
		return a, err
	}
	a, ok, err := rem.sumdb.ServeHeld(path)
	switch {
	case err == nil && !ok && !r.HeldOnly:
		err = overspent(path)
	case err == nil && !ok:
		err = fail(ErrNotFound, "%s is not held here, and this request asks for nothing else", path)
	}
	return a, err
}

// databaseName returns the name of the checksum database that a setting names, as
// far as that can be told of one that this node can't use; empty if it is off.
func databaseName(gosumdb string) string {
	if db, err := upstream.ParseDatabase(gosumdb); err == nil {
		return db.Name()
	}
	key, _, _ := strings.Cut(strings.TrimSpace(gosumdb), " ")
	name, _, _ := strings.Cut(key, "+")
	return name
}

// databaseOf returns the first remote that may answer whose checksum database
// path names, one that is broken only if there is no other; kept says that
// patterns keep the module of a lookup from one.
func (r *Repository) databaseOf(path string) (rem *remote, kept barrier) {
	var broken *remote
	mod, lookup := lookedUp(path)
	members := []events.RepoName{r.repo.Name}
	if r.repo.Kind == events.Virtual {
		members = r.repo.Settings.Members
	}
	for _, name := range members {
		m := r.st.dir.RepoNamed(name)
		if m == nil {
			continue
		}
		rem := r.st.remotes[m.ID]
		if rem == nil || rem.dbName == "" || !strings.HasPrefix(path, rem.dbName+"/") {
			continue
		}
		s := &Repository{node: r.node, st: r.st, repo: m, who: r.who}
		switch {
		case !lookup:
		case !s.mayRead(mod):
			kept = byRights
			continue
		case !s.admits(mod), r.repo.Kind == events.Virtual && !r.repo.Settings.Asks(name, mod):
			kept = max(kept, byPatterns)
			continue
		}
		if rem.broken == nil {
			return rem, kept
		}
		broken = cmp.Or(broken, rem)
	}
	return broken, kept
}

// lookedUp returns the module path of a lookup.
func lookedUp(path string) (mod string, ok bool) {
	_, rest, ok := strings.Cut(path, "/lookup/")
	if !ok {
		return "", false
	}
	escaped, _, _ := strings.Cut(rest, "@")
	mod, err := module.UnescapePath(escaped)
	return mod, err == nil
}
