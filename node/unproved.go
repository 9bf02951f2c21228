package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/upstream"
)

// An import that no checksum database proved, though one applies, is the word of
// whoever let it in. It holds at the site where they did so, until the database can
// be asked, which then has the last word; to other sites it is a claim like any
// other (I6).

// importPatience bounds how long a reader of this site's own import waits for the
// checksum database: in a network that reaches none, each would wait until it is
// assumed offline. The lookup goes on, and whoever reads next finds its answer.
const importPatience = 2 * time.Second

// errUnasked is the cause of what is not known since no upstream is to be asked.
var errUnasked = errors.New("the checksum database was not asked")

// isImported reports whether anything of the content was imported.
func isImported(c events.HeldContent) bool {
	return c.First.Upstream == importedFrom || slices.ContainsFunc(c.ZipSources, func(s events.Source) bool { return s.Upstream == importedFrom })
}

// unreachable reports whether err says that the checksum database gave no answer,
// in contrast to one that it does not know a version, or one that is not true.
func unreachable(err error) bool {
	for _, kind := range []error{errOffline, upstream.ErrUnavailable, upstream.ErrTimeout, upstream.ErrForbidden, upstream.ErrBadAnswer} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// sumsOf returns the hashes that the checksum database has for mv. If no upstream
// is to be asked they are known only if they were asked for before. Who has an
// import of this site to go on with waits for a moment only.
func (r *Repository) sumsOf(ctx context.Context, rem *remote, mv module.Version, own *events.HeldContent) (upstream.Sums, error) {
	if !r.HeldOnly {
		if own != nil {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, importPatience)
			defer cancel()
		}
		return rem.sums(ctx, mv)
	}
	sums, ok, err := rem.sumdb.HeldSums(mv)
	if err == nil && !ok {
		err = because(errUnasked, ErrUnavailable, "%s@%s: another site states it, and this node has yet to ask the checksum database %s about it, which this request does not allow; try again in a moment",
			mv.Path, mv.Version, rem.dbName)
	}
	return sums, err
}

// unanswered returns what may be shown of a version about which the checksum
// database gave no hashes, but err: this site's own import, unless the database said
// that it does not know it.
func (r *Repository) unanswered(rem *remote, mv module.Version, v *events.Version, own *events.HeldContent, err error) (*events.HeldContent, error) {
	c := &v.Contents[0]
	switch {
	case errors.Is(err, upstream.ErrNotInDatabase):
		r.lie(mv, c, "does not know it")
		if own != nil {
			err = errors.Join(err, r.node.index.Load().Local(vouchSpace).Set(unknownKey(r.sumClaim(rem, mv, c)), []byte{}))
		}
	case !unreachable(err) && !errors.Is(err, errUnasked):
	case own != nil:
		return own, nil
	case unreachable(err) && v.Status == events.Held && isImported(*c):
		return nil, because(err, ErrUnavailable, "%v: site %s imported it, and this site serves it once the checksum database %s has proved it here, which can't be asked: %v; or an administrator imports it at this site, too, with --unproved",
			mv, c.StatedBy(), rem.dbName, err)
	}
	return nil, r.fetchFailed(err, mv)
}

// unknownKey is the row that remembers that the checksum database said of an import
// not to know it.
func unknownKey(c sumClaim) string { return "unknown " + c.key() }

// ownImport returns what may be shown of a version as long as the checksum database
// says nothing: what this site imported. Other content keeps it back, as it does
// everywhere.
func (r *Repository) ownImport(rem *remote, mv module.Version, v *events.Version) (*events.HeldContent, error) {
	if v.Status != events.Held || !isImported(v.Contents[0]) {
		return nil, nil
	}
	c := &v.Contents[0]
	x := r.node.index.Load()
	cs, err := x.Get(events.KeyVersion(r.repo.ID, mv))
	if err != nil {
		return nil, err
	}
	mod, zip := importedBy(r.node.id.Site, cs, rem.dbName, c.Content)
	if !mod {
		return nil, nil
	}
	if _, unknown, err := x.Local(vouchSpace).Get(unknownKey(r.sumClaim(rem, mv, c))); err != nil || unknown {
		return nil, err
	}
	if !zip {
		c = withoutZip(c)
	}
	return c, nil
}

// importedBy reports whether a site itself stands for the go.mod of content, and for
// its zip, if it has one: it imported them, or had them proved by the database. Who
// stands for a zip does so for the go.mod whose hash it states with it.
func importedBy(site events.Site, cs events.Contributions, database string, c events.Content) (mod, zip bool) {
	zip = c.ZipH1.IsZero()
	for _, f := range cs.Of(site) {
		if b, ok := f.Body.(events.VersionFilled); ok && b.ModH1 == c.ModH1 && (b.Upstream == importedFrom || b.Sumdb == database) {
			mod = true
			zip = zip || b.ZipH1 == c.ZipH1
		}
	}
	return mod, zip
}

// restates reports whether an admission is this site's word for what is recorded by
// that of others alone, so that it is to be recorded as well.
func (n *Node) restates(a *admission, cs events.Contributions, c events.Content) bool {
	if a.unproved == "" {
		return false
	}
	mod, zip := importedBy(n.id.Site, cs, a.unproved, c)
	return !mod || !zip
}

// withoutZip is the content without its zip.
func withoutZip(c *events.HeldContent) *events.HeldContent {
	part := *c
	part.ZipH1, part.Zip, part.Zips, part.ZipSources = events.H1{}, events.Blob{}, nil, nil
	return &part
}
