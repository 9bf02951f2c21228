package node

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"registry-node/events"
	"registry-node/node/index"
)

// reads remembers what was resolved of the index, so that a hot read costs no
// decoding. Each value carries the generation of its record and the Directory it
// was resolved with; if either has moved on, it is resolved anew.
type reads struct {
	versions *table[versionKey, versionEntry]
	lists    *table[listKey, listEntry]
	ages     [2]*table[seenKey, agesEntry] // of modules with few versions, with many
}

// agesOf returns the table for the ages of so many versions.
func (r *reads) agesOf(versions int) *table[seenKey, agesEntry] {
	if versions <= maxRememberedVersions {
		return r.ages[0]
	}
	return r.ages[1]
}

type versionKey struct {
	repo events.RepoID
	mv   module.Version
}

type versionEntry struct {
	index      *index.Index
	dir        *events.Directory
	generation uint64
	version    *events.Version
}

// seenKey names the ages of a module's versions, by the clocks that count or by
// all.
type seenKey struct {
	repo events.RepoID
	path string
	all  bool
}

type agesEntry struct {
	index      *index.Index
	dir        *events.Directory
	generation uint64
	ages       map[string]time.Time
}

type listKey struct {
	repo events.RepoID
	path string
}

type listEntry struct {
	index      *index.Index
	dir        *events.Directory
	generation uint64
	list       *held
}

const (
	versionSlots = 1 << 13
	listSlots    = 1 << 12
	ageSlots     = 1 << 10
	longAgeSlots = 1 << 4
	// maxRemembered bounds what one slot may hold in bytes; what is larger is
	// resolved each time.
	maxRemembered = 8 << 10
	// maxRememberedVersions bounds likewise the length of a list.
	maxRememberedVersions = 2048
)

func newReads() *reads {
	return &reads{newTable[versionKey, versionEntry](versionSlots), newTable[listKey, listEntry](listSlots),
		[2]*table[seenKey, agesEntry]{newTable[seenKey, agesEntry](ageSlots), newTable[seenKey, agesEntry](longAgeSlots)}}
}

// version resolves what the logs say of mv in repository r. The result is
// shared; it is not changed.
func (n *Node) version(d *events.Directory, r *events.Repo, mv module.Version) (*events.Version, error) {
	k := versionKey{r.ID, mv}
	x := n.index.Load()
	key := events.KeyVersion(r.ID, mv)
	gen := x.Generation(key) // before the read, see index.Generation
	if e, ok := n.reads.versions.get(k); ok && e.generation == gen && e.dir == d && e.index == x {
		return e.version, nil
	}
	cs, err := x.Get(key)
	if err != nil {
		return nil, fmt.Errorf("%s@%s: index: %w", mv.Path, mv.Version, err)
	}
	v := d.ResolveVersion(r, cs)
	if sizeOf(&v) <= maxRemembered {
		n.reads.versions.put(k, versionEntry{x, d, gen, &v})
	}
	return &v, nil
}

func sizeOf(v *events.Version) (size int) {
	for _, c := range v.Contents {
		size += len(c.Info) + len(c.Mod)
	}
	return size
}

// held is what the logs say of all versions of a module in a repository.
type held struct {
	listed []string // to be shown in a list: sorted, no pseudo-versions
	pseudo []string // pseudo-versions that can be read, sorted by their time
	gone   []string // known, and not to be shown: hidden, blocked, in conflict
	any    bool     // some version is or was there: the path is a module
}

// heldVersions returns what the logs say of the versions of a module. The
// result is shared; it is not changed.
func (n *Node) heldVersions(d *events.Directory, r *events.Repo, path string) (*held, error) {
	k := listKey{r.ID, path}
	x := n.index.Load()
	gen := x.Generation(events.KeyModule(r.ID, path))
	if e, ok := n.reads.lists.get(k); ok && e.generation == gen && e.dir == d && e.index == x {
		return e.list, nil
	}
	h := &held{}
	for rec, err := range x.Prefix(events.VersionsPrefix(r.ID, path)) {
		if err != nil {
			return nil, fmt.Errorf("versions of %s: index: %w", path, err)
		}
		_, mv, _ := rec.Key.Version()
		v := d.ResolveVersion(r, rec.Contributions)
		// A purge is stated in all repositories, also where the version never was.
		h.any = h.any || v.Status != events.Absent && (v.Status != events.Purged || len(v.Contents) > 0)
		_, blocked := d.Blocked(mv)
		switch {
		case v.Status == events.Absent:
		case v.Status != events.Held || blocked:
			h.gone = append(h.gone, mv.Version)
		case module.IsPseudoVersion(mv.Version):
			h.pseudo = append(h.pseudo, mv.Version)
		default:
			h.listed = append(h.listed, mv.Version)
		}
	}
	semver.Sort(h.listed)
	slices.SortFunc(h.pseudo, comparePseudo)
	if len(h.listed)+len(h.pseudo)+len(h.gone) <= maxRememberedVersions {
		n.reads.lists.put(k, listEntry{x, d, gen, h})
	}
	return h, nil
}

// blocked returns an ErrForbidden if mv is blocked.
func blocked(d *events.Directory, mv module.Version) error {
	b, ok := d.Blocked(mv)
	if !ok {
		return nil
	}
	return fail(ErrForbidden, "%s@%s is blocked since %s by site %s: %s",
		mv.Path, mv.Version, b.Time.Format("2006-01-02 15:04 MST"), b.Site, b.Reason)
}

// mod returns the go.mod of content that has one.
func (n *Node) mod(ctx context.Context, c *events.HeldContent) ([]byte, error) {
	if c.ModBlob.IsZero() {
		return c.Mod, nil
	}
	f, ok, err := n.blobs.open(ctx, c.ModBlob)
	if err != nil {
		return nil, fmt.Errorf("go.mod blob %v: %w", c.ModBlob.Digest, err)
	}
	if !ok {
		return nil, fail(ErrUnavailable, "the go.mod's bytes are lost at this node (%v)", c.ModBlob.Digest)
	}
	defer f.Close()
	data := make([]byte, f.Size)
	if _, err := f.ReadAt(data, 0); err != nil {
		return nil, fmt.Errorf("go.mod blob %v: %w", c.ModBlob.Digest, err)
	}
	return data, nil
}

// comparePseudo orders pseudo-versions by their commit time, then by name.
func comparePseudo(a, b string) int {
	ta, _ := module.PseudoVersionTime(a)
	tb, _ := module.PseudoVersionTime(b)
	return cmp.Or(ta.Compare(tb), semver.Compare(a, b), cmp.Compare(a, b))
}
