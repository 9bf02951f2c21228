package events

import (
	"errors"
	"fmt"
)

// Right reports why an event with this id and body has no right to state what it
// states, or nil if it counts: it is not of a member, or lies behind its cut-off;
// it is the registry's home that decides about this, or the repository's, and it
// does not lie in a tenure of that; there is no such repository, or none of the
// kind; or it moves the registry's home without the recovery key, or when another
// such move counts already. Such events have no effect, since resolve judges by the same rules; Right is there to
// report who states them.
//
// The directory must have applied all that the event's site had applied when it
// stated the event: to a directory that lags, a new home or a new repository
// looks like overreach. What counts is decided later too, so what was right may
// be so no more after a forced move or a cut-off. An event of a type that this
// version doesn't know, whose Body is nil, is not judged.
func (d *Directory) Right(id EventID, b Body) error {
	if b == nil {
		return nil
	}
	if err := d.right(id, b); err != nil {
		return fmt.Errorf("event %v, %s, has no right: %w", id, b.Type(), err)
	}
	return nil
}

func (d *Directory) right(id EventID, b Body) error {
	switch b := b.(type) { // homes and members are decided before who counts as one
	case HomeForced:
		if b.Repo.IsZero() {
			return d.rightToForce(id, b) // whoever states it
		}
	case HomeCeded:
		if b.Repo.IsZero() {
			return rightToCede(d.Homes, "the registry", id, b.Tenure)
		}
	case SiteInvited, SiteJoined, SiteChanged, SiteKey, SiteLeft:
		return rightOfHome(d.Homes, "the registry", id)
	}
	if err := d.rightOfMember(id); err != nil {
		return err
	}
	switch b := b.(type) {
	case VersionBlocked, TokenRevoked, BuildRecorded: // any member
		return nil
	case LogContinued:
		if id.Site != b.Site {
			return fmt.Errorf("only site %s itself can say how its log goes on", b.Site)
		}
		return nil
	case VersionSeen:
		return d.known(b.Repo)
	case VersionFilled:
		return d.rightToFill(b)
	case VersionPublished:
		return d.rightToPublish(id, b)
	case VersionHidden:
		return d.rightInRepo(id, b.Repo)
	case PropertiesChanged:
		return d.rightInRepo(id, b.Repo)
	case HomeCeded:
		if err := d.known(b.Repo); err != nil {
			return err
		}
		r := d.repos[b.Repo]
		return rightToCede(r.Homes, r.what(), id, b.Tenure)
	}
	if err := rightOfHome(d.Homes, "the registry", id); err != nil {
		return err
	}
	switch b := b.(type) {
	case RepoChanged:
		return d.known(b.Repo)
	case RepoDeleted:
		return d.known(b.Repo)
	case RepoRestored:
		return d.known(b.Repo)
	case VersionSettled:
		return d.known(b.Repo)
	case VersionPurged:
		return d.known(b.Repo)
	case VersionDated:
		return d.known(b.Repo)
	case HomeForced:
		return d.known(b.Repo)
	}
	return nil
}

// rightToForce is the right to a forced move of the registry's home.
func (d *Directory) rightToForce(id EventID, b HomeForced) error {
	if d.Recovery.check() != nil {
		return errors.New("the registry's recovery key is not known here")
	}
	if !signed(d.Registry, d.Recovery, b) {
		return errors.New("it is not signed with the registry's recovery key")
	}
	if b.Tenure >= len(d.Homes) {
		return tooFar(d.Homes, "the registry", b.Tenure)
	}
	counts, ok := d.recoveries[b.Tenure]
	if ok && counts.before(recovery{b, id.Site, id.Mark}) {
		return fmt.Errorf("what ends tenure %d of the registry is %v/%v", b.Tenure, counts.site, counts.mark)
	}
	return nil
}

func tooFar(homes []Tenure, what string, tenure int) error {
	return fmt.Errorf("%s has had %d homes, and not yet tenure %d", what, len(homes), tenure)
}

func (d *Directory) rightOfMember(id EventID) error {
	if m := d.sites[id.Site]; len(m.Keys) == 0 {
		return fmt.Errorf("site %s is no member", id.Site)
	}
	if !d.counts(id.Site, id.Mark) {
		return fmt.Errorf("site %s left, and its log counts up to %v", id.Site, d.sites[id.Site].CutOff)
	}
	return nil
}

// rightOfHome is the right to decide for a name with these homes.
func rightOfHome(homes []Tenure, what string, id EventID) error {
	for _, t := range homes {
		if t.Site == id.Site && t.Holds(id.Mark) {
			return nil
		}
	}
	return fmt.Errorf("site %s is not the home of %s there", id.Site, what)
}

func (d *Directory) known(id RepoID) error {
	if d.repos[id] == nil {
		return fmt.Errorf("there is no repository %v", id)
	}
	return nil
}

func (d *Directory) rightInRepo(id EventID, repo RepoID) error {
	if err := d.known(repo); err != nil {
		return err
	}
	r := d.repos[repo]
	return rightOfHome(r.Homes, r.what(), id)
}

func (d *Directory) rightToPublish(id EventID, b VersionPublished) error {
	if r := d.repos[b.Repo]; r != nil && r.Kind != Local {
		return fmt.Errorf("repository %s is %s: nothing is published there", r.Name, r.Kind)
	}
	return d.rightInRepo(id, b.Repo)
}

func (d *Directory) rightToFill(b VersionFilled) error {
	if r := d.repos[b.Repo]; r != nil && r.Kind == Local {
		return fmt.Errorf("repository %s is local: it is not filled from an upstream", r.Name)
	}
	return d.known(b.Repo)
}

// rightToCede is the right of a home to end its own tenure, the one it names.
func rightToCede(homes []Tenure, what string, id EventID, tenure int) error {
	if tenure >= len(homes) {
		return tooFar(homes, what, tenure)
	}
	return rightOfHome(homes[tenure:tenure+1], what, id)
}

func (r *Repo) what() string { return "repository " + r.Name.String() }
