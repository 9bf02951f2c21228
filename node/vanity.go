package node

import (
	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/access"
)

// ImportRepo returns the local repository that owns an import path and that the
// caller may read it in: where the go command finds the modules below a path that
// has no version control system (GOPROXY 8). Whether there is such a module it does
// not say. Errors: ErrInvalid (no import path), ErrNotFound (nobody owns it),
// ErrUnauthorized, ErrForbidden.
func (n *Node) ImportRepo(who *access.Caller, path string) (events.RepoName, error) {
	if err := module.CheckImportPath(path); err != nil {
		return events.RepoName{}, because(err, ErrInvalid, "%v", err)
	}
	st := n.state.Load()
	owner := st.dir.Owner(path)
	if owner == nil {
		return events.RepoName{}, fail(ErrNotFound, "%s belongs to no local repository of this registry", path)
	}
	if !st.rights.Allows(who, access.Need{Action: access.Read, Repo: owner.Name.String(), Module: path}) {
		// As for each other path that is owned; the name of the repository is not told.
		return events.RepoName{}, denied(who, access.Need{Action: access.Read, Repo: "*", Module: path})
	}
	return owner.Name, nil
}
