package node

import (
	"errors"
	"slices"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/access"
)

// MaxImportClaims bounds how many versions one call of ImportMissing is asked of.
const MaxImportClaims = 1000

// ImportClaim is a version that somebody could import, with the hashes of what they
// have of it.
type ImportClaim struct {
	Version module.Version
	ModH1   events.H1 // of the go.mod; zero only where it is of no interest, in a local repository
	ZipH1   events.H1 // of the zip; zero if it is about the go.mod alone
}

// ImportGap is a version that is not wholly there.
type ImportGap struct {
	Version module.Version
	// Refused is why it can't come: an *Error. Nil: it may be sent.
	Refused error
}

// ImportMissing returns those of the versions that a repository lacks, or lacks a
// part of, and those that it would refuse whatever is sent, in the order of the
// claims. What a local repository that owns the path has with the same zip counts
// as being there. It asks no upstream and no checksum database, so what may be sent
// may yet be refused.
//
// It needs, for each module, leave to manage it in a remote repository, or to
// publish it in a local one; who may do so for none of them gets that as the error:
// ErrUnauthorized or ErrForbidden. Others are ErrNotFound (no such repository) and
// ErrInvalid (more than MaxImportClaims, none, no hash; a virtual repository).
func (n *Node) ImportMissing(who *access.Caller, name events.RepoName, claims []ImportClaim) ([]ImportGap, error) {
	if len(claims) == 0 || len(claims) > MaxImportClaims {
		return nil, fail(ErrInvalid, "%d versions are asked for; it takes 1 to %d at a time", len(claims), MaxImportClaims)
	}
	r, err := n.Repository(who, name)
	if err != nil {
		return nil, err
	}
	gaps := []ImportGap{}
	var mayNot error
	denied := 0
	for _, c := range claims {
		if err := n.allow(who, r.needToAdd(c.Version.Path)); err != nil {
			mayNot = err
			denied++
			gaps = append(gaps, ImportGap{c.Version, err})
			continue
		}
		held, err := r.holdsImport(c)
		var refused *Error
		switch {
		case errors.As(err, &refused):
			gaps = append(gaps, ImportGap{c.Version, err})
		case err != nil:
			return nil, err
		case !held:
			gaps = append(gaps, ImportGap{Version: c.Version})
		}
	}
	if denied == len(claims) {
		return nil, mayNot
	}
	if r.repo.Kind == events.Virtual {
		return nil, fail(ErrInvalid, "repository %s is virtual; name the member that is to have the versions", name)
	}
	return gaps, nil
}

// needToAdd is what a caller has to be allowed who adds versions of a module.
func (r *Repository) needToAdd(path string) access.Need {
	a := admission{repo: r.repo, mv: module.Version{Path: path}, imported: r.repo.Kind != events.Local}
	return a.need()
}

// holdsImport reports whether all of a claim is here. An *Error says why it can't
// come.
func (r *Repository) holdsImport(c ImportClaim) (bool, error) {
	if err := events.CheckVersion(c.Version); err != nil {
		return false, because(err, ErrInvalid, "%v", err)
	}
	switch r.repo.Kind {
	case events.Local:
		return r.holdsPublication(c)
	case events.Virtual:
		return false, nil
	}
	if c.ModH1.IsZero() {
		return false, fail(ErrInvalid, "%s@%s: the hash of the go.mod is missing", c.Version.Path, c.Version.Version)
	}
	if ok, err := r.ownerHas(c); ok || err != nil {
		return ok, err
	}
	if err := r.takesImport(c.Version); err != nil {
		return false, err
	}
	rem, err := r.remote()
	if err != nil {
		return false, err
	}
	v, err := r.node.version(r.st.dir, r.repo, c.Version)
	if err != nil {
		return false, err
	}
	covered := rem.covers(c.Version.Path) && v.Settled == nil
	if covered {
		if err := r.contradicts(rem, c); err != nil {
			return false, err
		}
	}
	a := r.importing(c.Version)
	content := events.Content{ModH1: c.ModH1, ZipH1: c.ZipH1}
	if err := a.conflict(r.repo, v, content); err != nil {
		if covered && a.corrects(v) {
			return false, nil // the checksum database says who is right
		}
		return false, err
	}
	h := a.fits(v, content)
	if h == nil || !h.HasMod() || !c.ZipH1.IsZero() && !(h.HasZip() && r.zipIsHere(h)) {
		return false, nil
	}
	if !covered || r.st.alone {
		return true, nil
	}
	return r.standsFor(rem, c, h)
}

// contradicts returns why the checksum database, as far as it has been asked, keeps
// a claim out.
func (r *Repository) contradicts(rem *remote, c ImportClaim) error {
	sums, known, err := rem.sumdb.HeldSums(c.Version)
	if err != nil || !known || sums.Mod == c.ModH1 && (c.ZipH1.IsZero() || sums.Zip == c.ZipH1) {
		return err
	}
	return fail(ErrUnprocessable, "%s@%s: SECURITY ERROR: it has go.mod %v zip %v, the checksum database %s says %v and %v",
		c.Version.Path, c.Version.Version, c.ModH1, c.ZipH1, rem.dbName, sums.Mod, sums.Zip)
}

// standsFor reports whether this site, as one of several, serves content that it
// holds also while the checksum database can't be asked: it has had it proved, or
// imported it itself.
func (r *Repository) standsFor(rem *remote, c ImportClaim, h *events.HeldContent) (bool, error) {
	_, known, err := rem.sumdb.HeldSums(c.Version) // then it is as the claim says, see contradicts
	if known || err != nil {
		return known, err
	}
	if ok, err := r.provedBefore(rem, c.Version, h); ok || err != nil {
		return ok, err
	}
	cs, err := r.node.index.Load().Get(events.KeyVersion(r.repo.ID, c.Version))
	mod, zip := importedBy(r.node.id.Site, cs, rem.dbName, events.Content{ModH1: c.ModH1, ZipH1: c.ZipH1})
	return mod && zip, err
}

// zipIsHere reports whether this node holds the bytes of one of a content's zips.
func (r *Repository) zipIsHere(h *events.HeldContent) bool {
	return slices.ContainsFunc(h.Zips, r.node.blobs.held)
}

// ownerHas reports whether the local repository that owns the path, if there is one,
// has the same zip, as far as the caller may know.
func (r *Repository) ownerHas(c ImportClaim) (bool, error) {
	owner := r.st.dir.Owner(c.Version.Path)
	if owner == nil {
		return false, nil
	}
	o := &Repository{node: r.node, st: r.st, repo: owner, who: r.who}
	if !o.mayRead(c.Version.Path) {
		return false, nil
	}
	v, err := r.node.version(r.st.dir, owner, c.Version)
	if err != nil || v.Status != events.Held {
		return false, err
	}
	h := &v.Contents[0]
	return h.ModH1 == c.ModH1 && (c.ZipH1.IsZero() || h.ZipH1 == c.ZipH1), nil
}

// holdsPublication is holdsImport of a local repository, into which a version comes
// by being published.
func (r *Repository) holdsPublication(c ImportClaim) (bool, error) {
	if c.ZipH1.IsZero() {
		return false, fail(ErrInvalid, "%s@%s: the hash of the zip is missing, without which nothing is published", c.Version.Path, c.Version.Version)
	}
	a := admission{repo: r.repo, mv: c.Version, published: true}
	if err := a.allowed(r.st.dir, r.repo); err != nil {
		return false, err
	}
	if err := blocked(r.st.dir, c.Version); err != nil {
		return false, err
	}
	v, err := r.node.version(r.st.dir, r.repo, c.Version)
	if err != nil {
		return false, err
	}
	if v.Status == events.Held && v.Contents[0].ZipH1 == c.ZipH1 {
		return true, nil
	}
	return false, a.conflict(r.repo, v, events.Content{ModH1: c.ModH1, ZipH1: c.ZipH1})
}
