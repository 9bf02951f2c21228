package node

import (
	"context"
	"strings"

	"registry-node/events"
)

// admits reports whether the include and exclude patterns of a remote repository
// let a module path through. What they keep out is not asked for upstream and not
// given out, on no endpoint.
func (r *Repository) admits(path string) bool {
	return r.repo.Kind != events.Remote || events.Admits(r.repo.Settings.Include, r.repo.Settings.Exclude, path)
}

// excluded is the error for a module path that the patterns keep out: ErrForbidden,
// so that the go command stops and says why. But a path below a module that is
// there is only a package of it, for which the go command asks as it does for all
// prefixes of an import path; a refusal would fail "go get M/sub/pkg" (GOPROXY
// reference, candidate paths), so that is ErrNotFound.
func (r *Repository) excluded(ctx context.Context, path string) error {
	for i := strings.LastIndexByte(path, '/'); i > 0; i = strings.LastIndexByte(path[:i], '/') {
		members, _, err := r.sources(path[:i])
		if err != nil {
			break
		}
		for _, m := range members {
			if _, err := m.list(ctx, path[:i]); err == nil {
				return fail(ErrNotFound, "%s: the patterns of repository %s keep it out; %s is there", path, r.repo.Name, path[:i])
			}
		}
	}
	return fail(ErrForbidden, "%s: the include and exclude patterns of repository %s keep it out; an administrator changes them with: registry-node repo set", path, r.repo.Name)
}
