package node

import (
	"context"
	"errors"
	"strings"

	"registry-node/events"
	"registry-node/node/access"
)

// admits reports whether the include and exclude patterns of a remote repository
// let a module path through. What they keep out is not asked for upstream and not
// given out, on no endpoint.
func (r *Repository) admits(path string) bool {
	return r.repo.Kind != events.Remote || events.Admits(r.repo.Settings.Include, r.repo.Settings.Exclude, path)
}

// barrier is what keeps a module path from being answered for.
type barrier uint8

const (
	noBarrier barrier = iota
	byPatterns
	byRights // of the caller
)

// mayRead reports whether the caller may read a module of a local or remote
// repository.
func (r *Repository) mayRead(path string) bool {
	return r.st.rights.Allows(r.who, access.Need{Action: access.Read, Repo: r.repo.Name.String(), Module: path})
}

// excluded is the error for a module path that patterns or rights keep out:
// ErrForbidden or ErrUnauthorized, so that the go command stops and says why. It is
// the same whether or not there is such a module. But a path below a module that is
// there is only a package of it, for which the go command asks as it does for all
// prefixes of an import path; a refusal would fail "go get M/sub/pkg" (GOPROXY
// reference, candidate paths), so that is ErrNotFound.
func (r *Repository) excluded(ctx context.Context, path string, by barrier) error {
	module, err := r.moduleAbove(ctx, path)
	switch {
	case err != nil:
		return err
	case module != "" && by == byRights:
		return fail(ErrNotFound, "%s: not found in repository %s, as far as you may read it; %s is there", path, r.repo.Name, module)
	case module != "":
		return fail(ErrNotFound, "%s: the patterns of repository %s keep it out; %s is there", path, r.repo.Name, module)
	case by == byRights:
		return denied(r.who, access.Need{Action: access.Read, Repo: r.repo.Name.String(), Module: path})
	}
	return fail(ErrForbidden, "%s: the include and exclude patterns of repository %s keep it out; an administrator changes them with: registry-node repo set", path, r.repo.Name)
}

// maxParents is how many prefixes of a path that patterns keep out the upstreams
// are asked for, the longest ones: a path may have hundreds.
const maxParents = 3

// maxPrefixes is how many prefixes are looked up here, the longest ones: no import
// path leads further into a module.
const maxPrefixes = 32

// moduleAbove returns a prefix of path that is a module here, "" if there is none:
// one that is held or was listed, else one that an upstream lists. If an upstream
// fails, that is the error.
func (r *Repository) moduleAbove(ctx context.Context, path string) (string, error) {
	type candidate struct {
		path    string
		members []*Repository
	}
	owned := r.st.dir.Owner(path) != nil // then no upstream is asked for a part of its name either
	var asked []candidate
	tried := 0
	for i := strings.LastIndexByte(path, '/'); i > 0 && tried < maxPrefixes; i = strings.LastIndexByte(path[:i], '/') {
		tried++
		members, _, err := r.sources(path[:i])
		if err != nil {
			break // it is for nobody here
		}
		for _, m := range members {
			switch ok, err := m.knows(path[:i]); {
			case err != nil:
				return "", err
			case ok:
				return path[:i], nil
			}
		}
		if len(members) > 0 && len(asked) < maxParents && !owned {
			asked = append(asked, candidate{path[:i], members})
		}
	}
	for _, c := range asked {
		for _, m := range c.members {
			_, err := m.list(ctx, c.path)
			switch {
			case err == nil:
				return c.path, nil
			case !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrForbidden):
				return "", err
			}
		}
	}
	return "", nil
}

// knows reports, asking nobody, whether a local or remote repository has a module:
// it holds a version, or the upstream listed it.
func (r *Repository) knows(path string) (bool, error) {
	h, err := r.node.heldVersions(r.st.dir, r.repo, path)
	if err != nil || h.any || r.repo.Kind != events.Remote {
		return err == nil && h.any, err
	}
	s, err := r.lastSeen(r.asks(path, ""))
	return s.known(), err
}
