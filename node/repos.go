package node

import (
	"context"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"registry-node/events"
	"registry-node/node/access"
)

// RepoInfo is what people are told of a repository.
type RepoInfo struct {
	Name    events.RepoName `json:"name"`
	Kind    events.RepoKind `json:"kind"`
	ID      events.RepoID   `json:"id"`
	Home    events.Site     `json:"home"`
	Created time.Time       `json:"created"`
	Changed time.Time       `json:"changed"`
	Deleted bool            `json:"deleted,omitempty"`
	events.RepoSettings
	// Problem says why the repository can't be used at this node, if so.
	Problem string `json:"problem,omitempty"`
}

// Repos returns the repositories that the caller reads or manages, by name.
func (n *Node) Repos(who *access.Caller) ([]RepoInfo, error) {
	if err := n.mayLook(who); err != nil {
		return nil, err
	}
	st := n.state.Load()
	infos := []RepoInfo{}
	for _, r := range st.dir.Repos() {
		if st.readsAny(who, r.Name) {
			infos = append(infos, n.repoInfo(st, r).as(who, st))
		}
	}
	return infos, nil
}

// as returns what a caller is told of a repository: only those who manage it
// learn how its upstream is reached, and of members that they can't read.
func (i RepoInfo) as(who *access.Caller, st *state) RepoInfo {
	if st.rights.Manages(who, i.Name.String()) {
		return i
	}
	i.Upstream, i.Proxy, i.Secrets, i.AllowInside, i.PlainHosts, i.Problem = "", "", nil, nil, nil, ""
	hidden := func(member events.RepoName) bool { return !st.readsAny(who, member) }
	i.Members = slices.DeleteFunc(slices.Clone(i.Members), hidden)
	i.MemberRules = slices.DeleteFunc(slices.Clone(i.MemberRules), func(r events.MemberRule) bool { return hidden(r.Member) })
	if !i.Deploy.IsZero() && hidden(i.Deploy) {
		i.Deploy = events.RepoName{}
	}
	return i
}

// manage is what it takes to change a repository.
func manage(name events.RepoName) access.Need {
	return access.Need{Action: access.Manage, Repo: name.String()}
}

// Repo returns one repository. It fails with ErrNotFound, and with ErrUnauthorized
// or ErrForbidden for those who neither read nor manage what is called so.
func (n *Node) Repo(who *access.Caller, name events.RepoName) (RepoInfo, error) {
	st := n.state.Load()
	if !st.readsAny(who, name) {
		return RepoInfo{}, denied(who, access.Need{Action: access.Read, Repo: name.String()})
	}
	i, err := n.repoNamed(name)
	return i.as(who, st), err
}

func (n *Node) repoNamed(name events.RepoName) (RepoInfo, error) {
	st := n.state.Load()
	r := st.dir.RepoNamed(name)
	if r == nil || r.Deleted {
		return RepoInfo{}, fail(ErrNotFound, "there is no repository called %q", name)
	}
	return n.repoInfo(st, r), nil
}

func (n *Node) repoInfo(st *state, r *events.Repo) RepoInfo {
	i := RepoInfo{
		Name: r.Name, Kind: r.Kind, ID: r.ID, Home: r.Home(), Created: r.Created, Changed: r.Changed,
		Deleted: r.Deleted, RepoSettings: r.Settings,
	}
	if rem := st.remotes[r.ID]; rem != nil && rem.broken != nil {
		i.Problem = rem.broken.Error()
	} else if err := n.secrets.problem(r.Settings.Secrets); err != nil {
		i.Problem = fmt.Sprintf("repository %s can't ask its upstream: %v", r.Name, err)
	}
	return i
}

// CreateRepo makes a repository, whose home is this site if nr names none.
// Errors: ErrExists, ErrInvalid, ErrNoSpace, ErrUnavailable.
func (n *Node) CreateRepo(ctx context.Context, who *access.Caller, nr NewRepo) (RepoInfo, error) {
	if nr.Name.IsZero() || nr.Kind.IsZero() {
		return RepoInfo{}, fail(ErrInvalid, "a repository needs a name and a kind")
	}
	if err := n.allow(who, manage(nr.Name)); err != nil {
		return RepoInfo{}, err
	}
	if nr.Home.IsZero() {
		nr.Home = n.id.Site
	}
	return n.decideAboutRepo(ctx, who, opRepoCreate, nr.Name, nr, func() (RepoInfo, events.Position, error) {
		return n.createRepo(ctx, who, nr)
	})
}

// decideAboutRepo has the registry's home decide about a repository, by local if
// it is this site, and returns the repository as this node sees it then.
func (n *Node) decideAboutRepo(ctx context.Context, who *access.Caller, what string, name events.RepoName, body any,
	local func() (RepoInfo, events.Position, error)) (info RepoInfo, err error) {
	f, err := n.atRegistryHome(ctx, who, what, body, &info, func() (err error) {
		info, _, err = local()
		return err
	})
	if err != nil || f.at.Mark.IsZero() || f.pending {
		return info, err
	}
	return n.repoNamed(name)
}

func (n *Node) createRepo(ctx context.Context, who *access.Caller, nr NewRepo) (RepoInfo, events.Position, error) {
	if err := n.mayHave(who, nr.Name, events.RepoSettings{}, nr.Settings); err != nil {
		return RepoInfo{}, events.Position{}, err
	}
	at, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		if nr.Name.IsZero() || nr.Kind.IsZero() {
			return nil, fail(ErrInvalid, "a repository needs a name and a kind")
		}
		if strings.HasSuffix(nr.Name.String(), buildInfoSuffix) {
			return nil, fail(ErrInvalid, "no repository can be called %s: in rules, names that end in %s stand for the builds of a project", nr.Name, buildInfoSuffix)
		}
		if !v.dir.MemberNow(nr.Home) {
			return nil, fail(ErrInvalid, "repository %s: there is no site called %q to be its home", nr.Name, nr.Home)
		}
		if old := v.dir.RepoNamed(nr.Name); old != nil {
			if !old.Deleted {
				return nil, fail(ErrExists, "there is a repository called %q already", nr.Name)
			}
			used, err := hasVersions(v, old)
			if err != nil {
				return nil, err
			}
			if old.Kind == events.Local && used {
				return nil, fail(ErrExists, "a local repository called %q held versions, whose names are burnt; take it back with: registry-node repo restore %s", nr.Name, nr.Name)
			}
		}
		if err := n.checkSettings(v.dir, who, nr.Name, nr.Kind, nr.Settings); err != nil {
			return nil, err
		}
		return []events.Body{events.RepoCreated{Name: nr.Name, Kind: nr.Kind, Home: nr.Home, Settings: nr.Settings, Actor: who.Actor()}}, nil
	})
	if err != nil {
		return RepoInfo{}, events.Position{}, err
	}
	info, err := n.repoNamed(nr.Name)
	return info, at.Position, err
}

func hasVersions(v view, r *events.Repo) (bool, error) {
	for _, err := range v.txn.Prefix(events.VersionsPrefix(r.ID, "")) {
		return err == nil, err
	}
	return false, nil
}

// ChangeRepo changes the settings of a repository. Errors: ErrNotFound,
// ErrInvalid, ErrNoSpace, ErrUnavailable.
func (n *Node) ChangeRepo(ctx context.Context, who *access.Caller, name events.RepoName, change RepoChange) (RepoInfo, error) {
	if err := n.allow(who, manage(name)); err != nil {
		return RepoInfo{}, err
	}
	return n.decideAboutRepo(ctx, who, opRepoChange, name, awayRepo{Name: name, Change: change}, func() (RepoInfo, events.Position, error) {
		return n.changeRepo(ctx, who, name, change)
	})
}

func (n *Node) changeRepo(ctx context.Context, who *access.Caller, name events.RepoName, change RepoChange) (RepoInfo, events.Position, error) {
	if err := n.allow(who, manage(name)); err != nil {
		return RepoInfo{}, events.Position{}, err
	}
	at, err := n.decideRepo(ctx, name, false, func(v view, r *events.Repo) (events.Body, error) {
		s := change.Apply(r.Settings)
		if err := n.mayHave(who, name, r.Settings, s); err != nil {
			return nil, err
		}
		if err := n.checkSettings(v.dir, who, name, r.Kind, s); err != nil {
			return nil, err
		}
		return events.RepoChanged{Repo: r.ID, Kind: r.Kind, Settings: s, Actor: who.Actor()}, nil
	})
	if err != nil {
		return RepoInfo{}, at, err
	}
	info, err := n.repoNamed(name)
	return info, at, err
}

// DeleteRepo hides a repository and all in it; nothing is erased. One that is a
// member of a virtual repository is not deleted. Errors: ErrNotFound, ErrExists
// (it is a member), ErrNoSpace, ErrUnavailable.
func (n *Node) DeleteRepo(ctx context.Context, who *access.Caller, name events.RepoName, reason string) error {
	if err := n.allow(who, manage(name)); err != nil {
		return err
	}
	_, err := n.atRegistryHome(ctx, who, opRepoDelete, awayRepo{Name: name, Reason: reason}, &nothing{}, func() error {
		_, err := n.deleteRepo(ctx, who, name, reason)
		return err
	})
	return err
}

func (n *Node) deleteRepo(ctx context.Context, who *access.Caller, name events.RepoName, reason string) (events.Position, error) {
	if err := n.allow(who, manage(name)); err != nil {
		return events.Position{}, err
	}
	return n.decideRepo(ctx, name, false, func(v view, r *events.Repo) (events.Body, error) {
		if len(r.Settings.Owns) > 0 && n.allow(who, access.Everything) != nil {
			return nil, fail(ErrForbidden, "repository %s owns names, for which upstreams are asked when it is gone: to delete it is for an administrator of the registry", name)
		}
		for _, other := range v.dir.Repos() {
			if slices.Contains(other.Settings.Members, name) {
				return nil, fail(ErrExists, "repository %s is a member of %s; take it out there first", name, other.Name)
			}
		}
		return events.RepoDeleted{Repo: r.ID, Reason: reason, Actor: who.Actor()}, nil
	})
}

// RestoreRepo takes a deletion back. Errors: ErrNotFound, ErrExists (it is not
// deleted), ErrNoSpace, ErrUnavailable.
func (n *Node) RestoreRepo(ctx context.Context, who *access.Caller, name events.RepoName) (RepoInfo, error) {
	if err := n.allow(who, manage(name)); err != nil {
		return RepoInfo{}, err
	}
	return n.decideAboutRepo(ctx, who, opRepoRestore, name, awayRepo{Name: name}, func() (RepoInfo, events.Position, error) {
		return n.restoreRepo(ctx, who, name)
	})
}

func (n *Node) restoreRepo(ctx context.Context, who *access.Caller, name events.RepoName) (RepoInfo, events.Position, error) {
	if err := n.allow(who, manage(name)); err != nil {
		return RepoInfo{}, events.Position{}, err
	}
	at, err := n.decideRepo(ctx, name, true, func(v view, r *events.Repo) (events.Body, error) {
		if len(r.Settings.Owns) > 0 && n.allow(who, access.Everything) != nil {
			return nil, fail(ErrForbidden, "repository %s owns names, for which nobody else answers when it is back: to restore it is for an administrator of the registry", name)
		}
		return events.RepoRestored{Repo: r.ID, Actor: who.Actor()}, nil
	})
	if err != nil {
		return RepoInfo{}, at, err
	}
	info, err := n.repoNamed(name)
	return info, at, err
}

// decideRepo proposes what decide says about a repository that exists, or, with
// deleted, about one that was deleted.
func (n *Node) decideRepo(ctx context.Context, name events.RepoName, deleted bool, decide func(view, *events.Repo) (events.Body, error)) (events.Position, error) {
	at, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		r := v.dir.RepoNamed(name)
		if r == nil || r.Deleted && !deleted {
			return nil, fail(ErrNotFound, "there is no repository called %q", name)
		}
		if deleted && !r.Deleted {
			return nil, fail(ErrExists, "repository %q is not deleted", name)
		}
		b, err := decide(v, r)
		if err != nil {
			return nil, err
		}
		return []events.Body{b}, nil
	})
	return at.Position, err
}

func (n *Node) isRegistryHome(d *events.Directory) error {
	if home := d.Home(); home != n.id.Site {
		return because(errNotHome, ErrUnavailable, "site %s decides about this, and this is site %s", home, n.id.Site)
	}
	return n.hasTenuresBefore(d.Homes)
}

// checkSettings checks settings against each other and against the other
// repositories.
func (n *Node) checkSettings(d *events.Directory, who *access.Caller, name events.RepoName, kind events.RepoKind, s events.RepoSettings) error {
	if err := s.Check(kind); err != nil {
		return because(err, ErrInvalid, "repository %s: %v", name, err)
	}
	switch kind {
	case events.Local:
		for _, other := range d.Repos() {
			for _, p := range s.Owns {
				if other.Name != name && slices.Contains(other.Settings.Owns, p) {
					owner := "another repository"
					if n.state.Load().readsAny(who, other.Name) {
						owner = fmt.Sprintf("repository %s", other.Name)
					}
					return fail(ErrInvalid, "repository %s: the pattern %v is owned by %s", name, p, owner)
				}
			}
		}
	case events.Remote:
		if _, _, err := parseRemote(s, n.opts.Self); err != nil {
			return because(err, ErrInvalid, "repository %s: %v", name, err)
		}
	case events.Virtual:
		return checkMembers(d, name, s)
	}
	return nil
}

func checkMembers(d *events.Directory, name events.RepoName, s events.RepoSettings) error {
	for _, m := range s.Members {
		r := d.RepoNamed(m)
		switch {
		case r == nil || r.Deleted:
			return fail(ErrInvalid, "repository %s: there is no repository called %q to be its member", name, m)
		case r.Kind == events.Virtual:
			return fail(ErrInvalid, "repository %s: its member %q is virtual; members are local or remote", name, m)
		case m == s.Deploy && r.Kind != events.Local:
			return fail(ErrInvalid, "repository %s: only a local repository takes publications, and %q is %v", name, m, r.Kind)
		}
	}
	return nil
}

// readsFiles reports whether an upstream has file URLs in it.
func readsFiles(list string) bool {
	for entry := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == '|' }) {
		if u, err := url.Parse(strings.TrimSpace(entry)); err == nil && u.Scheme == "file" {
			return true
		}
	}
	return false
}

// used reports whether some repository has this upstream, and one this checksum
// database.
func (st *state) used(up, sumdb string) bool {
	hasUp, hasDB := up == "", sumdb == "" || sumdb == "off"
	for _, r := range st.dir.Repos() {
		hasUp = hasUp || r.Settings.Upstream == up
		hasDB = hasDB || r.Settings.Sumdb == sumdb
	}
	return hasUp && hasDB
}

// mayHave reports why a caller may not give a repository these settings: who
// manages it may not thereby reach what others have. That are the credentials and
// networks of the node, for which secrets, proxy and addresses inside stand, the
// repositories of others, which members name, and the names of modules, which what a
// repository owns takes from all others.
func (n *Node) mayHave(who *access.Caller, name events.RepoName, old, s events.RepoSettings) error {
	st := n.state.Load()
	if err := st.allow(who, manage(name)); err != nil || st.rights.Allows(who, access.Everything) {
		return err
	}
	switch {
	case !reflect.DeepEqual(s.Secrets, old.Secrets), s.Proxy != old.Proxy, !slices.Equal(s.AllowInside, old.AllowInside), !slices.Equal(s.PlainHosts, old.PlainHosts):
		return fail(ErrForbidden, "repository %s: secrets, proxy, allow-inside and plain-hosts are for administrators of the registry to set", name)
	case len(s.Secrets) > 0 && s.Upstream != old.Upstream:
		return fail(ErrForbidden, "repository %s has secrets, so only an administrator of the registry may change its upstream", name)
	case !st.used(s.Upstream, s.Sumdb):
		return fail(ErrForbidden, "repository %s: the upstream %s and the checksum database %s are used by no other repository, so they are for an administrator of the registry to set: they may be in the network of this node", name, s.Upstream, s.Sumdb)
	case s.Upstream != old.Upstream && readsFiles(s.Upstream):
		return fail(ErrForbidden, "repository %s: that its upstream are files of this machine is for an administrator of the registry to say", name)
	}
	if slices.ContainsFunc(old.Owns, func(p events.Pattern) bool { return !slices.Contains(s.Owns, p) }) {
		return fail(ErrForbidden, "repository %s: that it owns a name no more is for an administrator of the registry to say, since upstreams are asked for it then", name)
	}
	for _, m := range s.Members { // what is no repository, or one of whom they know nothing, is told alike
		if !slices.Contains(old.Members, m) && !st.readsAny(who, m) {
			return denied(who, access.Need{Action: access.Read, Repo: m.String()})
		}
	}
	for _, p := range s.Owns {
		if !slices.ContainsFunc(old.Owns, func(has events.Pattern) bool { return has.Covers(p) }) {
			return fail(ErrForbidden, "repository %s: that it owns %v is for an administrator of the registry to say, since nobody else may answer for it then", name, p)
		}
	}
	return nil
}
