package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/blob"
)

// Repository reads from one repository, as the Directory was when it was
// asked for. It is made per request and cheap.
//
// Its methods return ErrNotFound only if every repository that may answer knows
// that what was asked for is not there. A member of a virtual repository that
// fails ends the search with its error.
type Repository struct {
	node *Node
	st   *state
	repo *events.Repo
	who  *access.Caller
	// HeldOnly answers from what is held here and never asks an upstream.
	HeldOnly bool
	// Misses bounds the questions to upstreams about what is not there. Nil: nothing
	// does.
	Misses *Misses
	// behind is the entry that the request asks to be considered, and that this
	// node lacks: what is not here may be elsewhere, so nothing is said not to be
	// there. Nil if there is none.
	behind *events.Position
}

// Info is the answer to .info and @latest.
type Info struct {
	Version string
	Data    []byte // JSON
	// Fixed says that the answer is for ever: an exact version was asked for.
	Fixed bool
}

// List is the answer to list.
type List struct {
	Versions []string // sorted by semantic version
	// Stale says that an upstream could not be asked, and the list is what it
	// said last together with what is held.
	Stale bool

	young []string // left out, since they are younger than the minimum age
}

// Zip is a module zip, open for reading: as a file, or, if its bytes are on
// their way from another site or the upstream, as a Stream. The caller closes it.
type Zip struct {
	blob.File
	Stream *Stream         // nil if File is set
	Digest events.Digest   // zero if it is not known yet, see Stream
	Time   time.Time       // when the content was first recorded; zero if Digest is
	Repo   events.RepoName // that has it; a member if a virtual one was asked
}

// Close ends the reading.
func (z Zip) Close() error {
	if z.Stream != nil {
		return z.Stream.Close()
	}
	return z.File.Close()
}

// ZipSums returns the checksums of a zip that is open; ok is false for one that is
// still on its way.
func (r *Repository) ZipSums(ctx context.Context, z Zip) (s Sums, ok bool, err error) {
	if z.Stream != nil {
		return s, false, nil
	}
	return r.node.sumsOf(ctx, events.Blob{Digest: z.Digest, Size: z.Size})
}

// Repository returns the repository called name, as a caller may read it: of a
// virtual one those members, and of these those modules. It fails with
// ErrUnauthorized or ErrForbidden for those who may read nothing of what is called
// so, whether or not it is there; else with ErrNotFound, and with ErrUnavailable
// while this node lacks what the registry's home decided.
func (n *Node) Repository(who *access.Caller, name events.RepoName) (*Repository, error) {
	if !n.state.Load().readsAny(who, name) {
		return nil, denied(who, access.Need{Action: access.Read, Repo: name.String()})
	}
	return n.repository(who, name)
}

func (n *Node) repository(who *access.Caller, name events.RepoName) (*Repository, error) {
	st := n.state.Load()
	r := st.dir.RepoNamed(name)
	if r == nil || r.Deleted {
		if home := st.dir.Home(); home.IsZero() || n.sites.lacks(home) {
			return nil, fail(ErrUnavailable, "this node has not received all of the registry's log yet, and knows no repository called %q so far", name)
		}
		return nil, fail(ErrNotFound, "there is no repository called %q", name)
	}
	return &Repository{node: n, st: st, repo: r, who: who}, nil
}

// atLeastPatience is how long a request waits for this node to have applied what
// it asks for.
const atLeastPatience = 2 * time.Second

// AtLeast waits briefly until this node has applied a site's log up to m. It
// fails with ErrUnavailable if it hasn't by then.
func (n *Node) AtLeast(ctx context.Context, site events.Site, m events.Mark) error {
	ctx, cancel := context.WithTimeout(ctx, atLeastPatience)
	defer cancel()
	if n.sites.applied(ctx, site, m) != nil {
		return fail(ErrUnavailable, "this node has not received %s/%v yet; try again in a moment", site, m)
	}
	return nil
}

// AtLeast says that the answer is to consider a site's log up to m, which this
// node has not applied. An exact version that is not here is then asked for at
// sites that are further, and what can't be known is ErrUnavailable, never
// ErrNotFound.
func (r *Repository) AtLeast(site events.Site, m events.Mark) {
	r.behind = &events.Position{Site: site, Mark: m}
}

// unsure turns an absence into ErrUnavailable if the request asks for more than
// this node has applied.
func (r *Repository) unsure(err error) error {
	if r.behind == nil || !errors.Is(err, ErrNotFound) {
		return err
	}
	return because(opaque(err), ErrUnavailable, "this node has not received %v yet, and knows no such thing so far; try again in a moment", *r.behind)
}

// Kind returns what kind of repository it is.
func (r *Repository) Kind() events.RepoKind { return r.repo.Kind }

// AccessLog returns what is written down of those who read from it.
func (r *Repository) AccessLog() events.Reads { return r.repo.Settings.AccessLog }

// sources returns the local and remote repositories that may answer for a
// module path, in order. What a local repository owns nobody else answers for:
// its path reaches no upstream. kept says what keeps the path from others that
// might: if none of those returned has it, that is excluded, not absent.
func (r *Repository) sources(path string) (members []*Repository, kept barrier, err error) {
	owner := r.st.dir.Owner(path)
	if r.repo.Kind != events.Virtual {
		switch {
		case !r.mayRead(path):
			return nil, byRights, nil
		case r.repo.Kind == events.Remote && owner != nil && !r.st.readsAny(r.who, owner.Name):
			return nil, byRights, nil
		case r.repo.Kind == events.Remote && owner != nil:
			return nil, noBarrier, fail(ErrForbidden, "%s belongs to the local repository %s; no upstream is asked for it", path, owner.Name)
		case !r.admits(path):
			return nil, byPatterns, nil
		}
		return []*Repository{r}, noBarrier, nil
	}
	for _, name := range r.repo.Settings.Members {
		m := r.st.dir.RepoNamed(name)
		if m == nil || m.Deleted || owner != nil && m.ID != owner.ID {
			continue
		}
		s := &Repository{node: r.node, st: r.st, repo: m, who: r.who, HeldOnly: r.HeldOnly, Misses: r.Misses, behind: r.behind}
		switch {
		case !s.mayRead(path) && owner == nil && m.Kind == events.Local:
			// It keeps nothing back: nothing is published where nobody owns the name.
		case !s.mayRead(path):
			kept = byRights
		case !r.repo.Settings.Asks(name, path) || !s.admits(path):
			kept = max(kept, byPatterns)
		default:
			members = append(members, s)
		}
	}
	if owner != nil && len(members) == 0 && kept == noBarrier {
		if !r.st.readsAny(r.who, owner.Name) {
			return nil, byRights, nil
		}
		return nil, noBarrier, fail(ErrForbidden, "%s belongs to the local repository %s, which is no member of %s", path, owner.Name, r.repo.Name)
	}
	return members, kept, nil
}

// checked is first for a version that may be malformed.
func checked[T any](ctx context.Context, r *Repository, mv module.Version, get func(*Repository) (T, error)) (T, error) {
	if err := events.CheckVersion(mv); err != nil {
		var none T
		return none, because(err, ErrNotFound, "%v", err)
	}
	return first(ctx, r, mv, get)
}

// first returns the answer of the first source that has mv.
func first[T any](ctx context.Context, r *Repository, mv module.Version, get func(*Repository) (T, error)) (T, error) {
	var none T
	sources, kept, err := r.sources(mv.Path)
	if err != nil {
		return none, err
	}
	if len(sources) > 0 || kept != byRights {
		if err := blocked(r.st.dir, mv); err != nil {
			return none, err
		}
	}
	var absent error
	for _, s := range sources {
		v, err := get(s)
		if !errors.Is(err, ErrNotFound) {
			return v, err
		}
		if absent == nil || err != errAbsent {
			absent = err
		}
	}
	if kept != noBarrier {
		return none, r.excluded(ctx, mv.Path, kept)
	}
	if len(sources) == 1 && absent != errAbsent {
		return none, r.unsure(absent)
	}
	in := r.repo.Name
	if len(sources) == 1 {
		in = sources[0].repo.Name
	}
	return none, r.unsure(because(absent, ErrNotFound, "%s@%s: not found in repository %s", mv.Path, mv.Version, in))
}

// errAbsent says that a repository does not hold a version. Most reads of a
// virtual repository pass a member by with it, so it is not formatted.
var errAbsent error = &Error{Kind: ErrNotFound, Text: "not held"}

// Info returns the info of a version, or of what a query (a branch, a tag, a
// commit, "latest") stands for.
func (r *Repository) Info(ctx context.Context, path, query string) (Info, error) {
	if query == "latest" {
		return r.Latest(ctx, path)
	}
	mv := module.Version{Path: path, Version: query}
	if events.CheckVersion(mv) != nil {
		return r.query(ctx, path, query)
	}
	return first(ctx, r, mv, func(s *Repository) (Info, error) {
		c, err := s.content(ctx, mv)
		if err != nil {
			return Info{}, err
		}
		return Info{Version: query, Data: c.Info, Fixed: true}, nil
	})
}

// Mod returns the go.mod of a version.
func (r *Repository) Mod(ctx context.Context, mv module.Version) ([]byte, error) {
	return checked(ctx, r, mv, func(s *Repository) ([]byte, error) {
		c, err := s.content(ctx, mv)
		if err != nil {
			return nil, err
		}
		return s.node.mod(ctx, c)
	})
}

// Zip opens the zip of a version. Once it has begun to come from elsewhere, what
// goes wrong with it is an error of its Stream.
func (r *Repository) Zip(ctx context.Context, mv module.Version) (Zip, error) {
	return checked(ctx, r, mv, func(s *Repository) (Zip, error) {
		z, err := s.zip(ctx, mv)
		z.Repo = s.repo.Name
		return z, err
	})
}

func (r *Repository) zip(ctx context.Context, mv module.Version) (Zip, error) {
	if err := r.ripe(ctx, mv); err != nil {
		return Zip{}, err
	}
	c, err := r.recorded(ctx, mv, zipPart)
	switch {
	case err != nil:
		return Zip{}, err
	case c == nil:
		if err := r.overspent(r.asks(mv.Path, mv.Version)); err != nil {
			return Zip{}, err
		}
		return r.arrivingZip(ctx, mv)
	}
	return r.openZip(ctx, mv, c)
}

// part is what is asked for of a version: the go.mod with the info, or the zip.
type part bool

const (
	modPart part = false
	zipPart part = true
)

func (p part) in(c *events.HeldContent) bool {
	return c != nil && (p == modPart && c.HasMod() || p == zipPart && c.HasZip())
}

// content returns what is recorded of a version in a local or remote repository,
// with info and go.mod. A remote repository fetches them if they are missing.
func (r *Repository) content(ctx context.Context, mv module.Version) (*events.HeldContent, error) {
	c, err := r.recorded(ctx, mv, modPart)
	if c != nil || err != nil {
		return c, err
	}
	if err := r.overspent(r.asks(mv.Path, mv.Version)); err != nil {
		return nil, err
	}
	return r.fetchMod(ctx, mv, nil)
}

// recorded returns what is recorded of a version, here or with a site that is
// further than this one, with the part that is asked for. It returns nil if the
// upstream is to be asked.
func (r *Repository) recorded(ctx context.Context, mv module.Version, want part) (*events.HeldContent, error) {
	v, err := r.node.version(r.st.dir, r.repo, mv)
	if err != nil {
		return nil, err
	}
	c, err := r.right(ctx, mv, v)
	if err != nil || want.in(c) {
		return c, err
	}
	c, err = r.elsewhere(ctx, mv, want)
	if c != nil || err != nil {
		return c, err
	}
	if r.repo.Kind == events.Local || r.HeldOnly {
		if r.mayLack(mv.Path) {
			return nil, fail(ErrUnavailable, "%s@%s is not in repository %s as far as this node knows, but it may lack what site %s has written since%s; try again in a moment",
				mv.Path, mv.Version, r.repo.Name, r.repo.Home(), r.node.sites.lastHeard(r.repo.Home()))
		}
		return nil, errAbsent
	}
	return nil, nil
}

// mayLack reports whether a version of a module may be in this local repository
// without this node's having received it. What the repository does not own nobody
// can have published there.
func (r *Repository) mayLack(path string) bool {
	return r.repo.Kind == events.Local && events.MatchAny(r.repo.Settings.Owns, path) && r.node.sites.lacks(r.repo.Home())
}

// elsewhere asks sites that are further than this one for a version. It returns
// nil if there are none, or they don't know it either.
func (r *Repository) elsewhere(ctx context.Context, mv module.Version, want part) (*events.HeldContent, error) {
	var log events.Site
	if r.repo.Kind == events.Local {
		log = r.repo.Home()
	}
	peers := r.node.sites.further(log)
	if len(peers) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, atLeastPatience)
	defer cancel()
	v, err := r.node.sites.versionElsewhere(ctx, r.repo, mv, peers)
	if err != nil {
		return nil, err
	}
	c, err := r.right(ctx, mv, v)
	if err != nil || !want.in(c) {
		return nil, err
	}
	return c, nil
}

// readable returns the content of a version that may be shown, nil if there is
// none.
func (r *Repository) readable(mv module.Version, v *events.Version) (*events.HeldContent, error) {
	switch v.Status {
	case events.Held:
		return &v.Contents[0], nil
	case events.Hidden:
		return nil, fail(ErrNotFound, "%s@%s was deleted from repository %s", mv.Path, mv.Version, r.repo.Name)
	case events.Purged:
		return nil, fail(ErrForbidden, "%s@%s was purged from repository %s at %s: %s", mv.Path, mv.Version, r.repo.Name,
			v.PurgedAt.Format("2006-01-02 15:04 MST"), v.Purged.Reason)
	case events.Undecided:
		return nil, fail(ErrUnavailable, "%s@%s was published at a site that is no longer home of repository %s; site %s has yet to decide about it",
			mv.Path, mv.Version, r.repo.Name, r.repo.Home())
	case events.Conflicted:
		a, b := v.Contents[0], v.Contents[1]
		return nil, fail(ErrForbidden, "%s@%s came with different content to different sites: go.mod %v zip %v (site %s), go.mod %v zip %v (site %s); an administrator must settle it",
			mv.Path, mv.Version, a.ModH1, a.ZipH1, a.StatedBy(), b.ModH1, b.ZipH1, b.StatedBy())
	}
	return nil, nil
}

// List returns the versions of a module: the union over all that may answer,
// without pseudo-versions.
func (r *Repository) List(ctx context.Context, path string) (List, error) {
	if err := module.CheckPath(path); err != nil {
		return List{}, because(err, ErrNotFound, "%v", err)
	}
	if r.behind != nil {
		return List{}, r.unsure(errAbsent)
	}
	sources, kept, err := r.sources(path)
	if err != nil {
		return List{}, err
	}
	var l List
	var absent error
	var refused []string // by an earlier source, who is the first to be asked for their zips
	found := 0
	for _, s := range sources {
		one, err := s.list(ctx, path)
		if errors.Is(err, ErrNotFound) {
			absent = err
			continue
		}
		if err != nil {
			return List{}, err
		}
		found++
		l.Stale = l.Stale || one.Stale
		l.Versions = append(without(one.Versions, refused), l.Versions...)
		refused = append(refused, one.young...)
	}
	switch {
	case found == 0 && kept != noBarrier:
		return List{}, r.excluded(ctx, path, kept)
	case found == 0:
		return List{}, because(absent, ErrNotFound, "%s: no such module in repository %s", path, r.repo.Name)
	case found == 1: // as it came, sorted
	default:
		semver.Sort(l.Versions)
		l.Versions = slices.Compact(l.Versions)
	}
	return l, nil
}

// without returns versions, clipped, without some of them.
func without(versions, some []string) []string {
	if len(some) == 0 {
		return slices.Clip(versions)
	}
	left := map[string]bool{}
	for _, v := range some {
		left[v] = true
	}
	return slices.Clip(slices.DeleteFunc(slices.Clone(versions), func(v string) bool { return left[v] }))
}

func (r *Repository) list(ctx context.Context, path string) (List, error) {
	if r.repo.Kind == events.Remote {
		return r.listRemote(ctx, path)
	}
	h, err := r.node.heldVersions(r.st.dir, r.repo, path)
	if err != nil {
		return List{}, err
	}
	stale := r.mayLack(path)
	switch {
	case !h.any && stale:
		return List{}, fail(ErrUnavailable, "%s is not in repository %s as far as this node knows, but it may lack what site %s has written since%s; try again in a moment",
			path, r.repo.Name, r.repo.Home(), r.node.sites.lastHeard(r.repo.Home()))
	case !h.any:
		return List{}, errAbsent
	}
	return List{Versions: h.listed, Stale: stale}, nil
}
