package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/blob"
	"registry-node/node/upstream"
)

const maxZip = modzip.MaxZipFile

// admission is a version, or a part of it, that wants in.
type admission struct {
	repo *events.Repo
	mv   module.Version

	info, mod []byte      // both, or none
	modH1     events.H1   // the go.mod that the zip belongs to, if that is not part of this
	zip       *blob.Stage // nil if the zip is not part of this
	stored    bool        // the zip has been committed, see store

	sums     upstream.Sums // what the checksum database says, if it was asked
	sumdb    string        // its name
	upstream string        // where a fill came from
	wantH1   events.H1     // of the zip, if the publisher said
	recorded events.H1     // of the zip, if a fill repeats what is recorded
	// verified, if not nil, is told when all checks have passed, and whether the
	// checksum database vouches for the content. Nothing is stored then.
	verified func(vouched bool)

	published bool
	imported  bool      // a fill by a caller who has it from elsewhere, see Import
	firm      bool      // what was fetched stays, also if it is not what was proved
	unproved  string    // the checksum database that was to prove an import and gave no answer, see unproved.go
	at        time.Time // of a published version: the commit's time, or zero for now
	actor     string
	who       *access.Caller // of a publication, for the repository's home; of an import
	// properties are those that a published version gets in the same entry.
	properties events.Properties
}

// admitted is what became of an admission.
type admitted struct {
	Event   events.EventID // that first stated the content
	Time    time.Time
	Existed bool // it was there before
	Content events.Content
}

// admit is the one way in, for publishing and filling alike: it verifies, makes
// the blobs durable, and then has the log record the version. Nothing of what
// fails is left behind but a blob that nothing refers to. What it makes durable is so
// for a, which may be admitted again, here or elsewhere, if the home has moved.
func (n *Node) admit(ctx context.Context, a *admission) (admitted, error) {
	if err := events.CheckVersion(a.mv); err != nil {
		return admitted{}, because(err, ErrInvalid, "%v", err)
	}
	if err := blocked(n.directory(), a.mv); err != nil {
		return admitted{}, err
	}
	content, err := n.verify(ctx, a)
	if err == nil {
		if a.verified != nil {
			a.verified(a.sums != (upstream.Sums{}))
		}
		if err := n.space.check(); err != nil {
			return admitted{}, err
		}
		var got admitted
		var done bool
		if got, done, err = n.already(a, content); done && err == nil {
			return got, n.noDrift(a)
		}
	}
	if err != nil {
		return admitted{}, n.drifted(a, content, err)
	}
	// From here to the end of the proposal blobs exist that no record refers to
	// yet; a sweep waits.
	n.blobs.admitting.RLock()
	defer n.blobs.admitting.RUnlock()
	if err := n.storeBlobs(ctx, a, &content); err != nil {
		return admitted{}, err
	}
	n.vouched(a, content)
	if err := n.stillMay(ctx, a); err != nil {
		return admitted{}, err
	}
	got, err := n.propose(ctx, *a, content)
	if a.zip != nil {
		err = errors.Join(err, n.stored(content.Zip.Digest))
	}
	if err == nil && a.zip != nil {
		err = n.noDrift(a)
	}
	return got, n.drifted(a, content, err)
}

// stillMay asks again whether who publishes or imports may: the upload may have
// taken minutes, in which a token was revoked.
func (n *Node) stillMay(ctx context.Context, a *admission) error {
	if a.who == nil {
		return nil // nobody publishes: it is a fill, or taken over from a former home
	}
	if err := n.recheck(ctx, a.who); err != nil {
		return err
	}
	return n.allow(a.who, a.need())
}

// already answers an admission of a version that is there, without storing
// anything but bytes that were lost. What it does not see because it happens at
// this moment, the proposal does.
func (n *Node) already(a *admission, c events.Content) (got admitted, done bool, err error) {
	v, err := n.version(n.directory(), a.repo, a.mv)
	if err != nil {
		return admitted{}, true, err
	}
	if err := a.conflict(a.repo, v, c); err != nil {
		return admitted{}, true, err
	}
	if a.zip != nil {
		c.Zip = events.Blob{Digest: a.zip.Digest(), Size: a.zip.Size()}
	}
	h := a.fits(v, c)
	if h == nil || !a.contained(h, c) {
		return admitted{}, false, nil
	}
	if a.unproved != "" {
		cs, err := n.index.Load().Get(events.KeyVersion(a.repo.ID, a.mv))
		if err != nil || n.restates(a, cs, c) {
			return admitted{}, err != nil, err
		}
	}
	if a.zip != nil && a.keeps() && slices.Contains(h.Zips, c.Zip) {
		if err := errors.Join(n.keep(a), n.stored(c.Zip.Digest)); err != nil {
			return admitted{}, true, err
		}
	}
	return admitted{h.First.Event, h.First.Time, true, h.Content}, true, nil
}

// verify checks the admission against the zip rules, its own go.mod, the
// checksum database and what the publisher said, and returns its content.
func (n *Node) verify(ctx context.Context, a *admission) (events.Content, error) {
	c := events.Content{ModH1: a.modH1, Sumdb: a.sumdb}
	what := a.mv.Path + "@" + a.mv.Version
	if a.zip != nil {
		z, err := upstream.CheckZip(ctx, a.mv, a.zip, a.zip.Size())
		if err != nil {
			return c, a.badZip(err)
		}
		c.ZipH1 = z.H1
		if a.published && z.Files == 0 {
			return c, fail(ErrUnprocessable, "%s: the zip is empty", what)
		}
		if a.published {
			if err := a.derive(z); err != nil {
				return c, err
			}
		}
		if err := a.checkGoMod(z); err != nil {
			return c, err
		}
	}
	if len(a.mod) > 0 {
		c.ModH1 = upstream.GoModH1(a.mod)
	}
	if a.sums != (upstream.Sums{}) {
		if c.ModH1 != a.sums.Mod {
			return c, because(errDrift, a.fault(), "%s: SECURITY ERROR: %s go.mod is %v, the checksum database says %v", what, a.whose(), c.ModH1, a.sums.Mod)
		}
		if a.zip != nil && c.ZipH1 != a.sums.Zip {
			return c, because(errDrift, a.fault(), "%s: SECURITY ERROR: %s zip is %v, the checksum database says %v", what, a.whose(), c.ZipH1, a.sums.Zip)
		}
	}
	if !a.recorded.IsZero() && c.ZipH1 != a.recorded {
		return c, because(errDrift, ErrUpstream, "%s: the upstream's zip is now %v, and %v was recorded from it; what was recorded stays", what, c.ZipH1, a.recorded)
	}
	if !a.wantH1.IsZero() && c.ZipH1 != a.wantH1 {
		return c, fail(ErrUnprocessable, "%s: the zip is %v, not %v as the request says", what, c.ZipH1, a.wantH1)
	}
	return c, nil
}

// badZip says what a zip that can't be admitted means for who sent it.
func (a *admission) badZip(err error) error {
	switch {
	case !errors.Is(err, upstream.ErrBadZip):
		return fmt.Errorf("%s@%s: check the zip: %w", a.mv.Path, a.mv.Version, err)
	case a.published:
		return because(err, ErrUnprocessable, "%s@%s: %v", a.mv.Path, a.mv.Version, err)
	}
	return because(err, a.fault(), "%s@%s: %s zip is refused: %v", a.mv.Path, a.mv.Version, a.whose(), err)
}

// derive takes what a published version consists of from its zip.
func (a *admission) derive(z upstream.Zip) error {
	what := a.mv.Path + "@" + a.mv.Version
	incompatible := strings.HasSuffix(a.mv.Version, "+incompatible")
	switch path := modfile.ModulePath(z.GoMod); {
	case z.HasGoMod && incompatible:
		return fail(ErrUnprocessable, "%s: a version with a go.mod is not +incompatible; its module path ends in its major version", what)
	case z.HasGoMod && path == "":
		return fail(ErrUnprocessable, "%s: the go.mod in the zip has no module line", what)
	case path != a.mv.Path:
		return fail(ErrUnprocessable, "%s: the go.mod in the zip says module %s", what, path)
	}
	a.mod = z.GoMod
	if a.at.IsZero() {
		a.at = time.Now().Truncate(time.Second)
	}
	a.info = infoJSON(a.mv.Version, a.at)
	return nil
}

// checkGoMod compares the go.mod in the zip with the one beside it. What the
// checksum database vouches for needs no more than its hashes: there are old
// versions of which the two differ.
func (a *admission) checkGoMod(z upstream.Zip) error {
	if a.published || a.sums != (upstream.Sums{}) || !z.HasGoMod || z.GoModH1 == a.modH1 {
		return nil
	}
	return fail(a.fault(), "%s@%s: the go.mod in %s zip is %v, the one beside it %v",
		a.mv.Path, a.mv.Version, a.whose(), z.GoModH1, a.modH1)
}

// describe completes the content with what an event says of it: a go.mod that is
// too large for one is named as a blob, as the zip is.
func (a *admission) describe(c *events.Content) {
	c.Info = a.info
	if len(a.mod) <= events.MaxInline {
		c.Mod = a.mod
	} else {
		c.ModBlob = events.Blob{Digest: events.DigestOf(a.mod), Size: int64(len(a.mod))}
	}
	if a.zip != nil {
		c.Zip = events.Blob{Digest: a.zip.Digest(), Size: a.zip.Size()}
	}
}

// storeBlobs completes the content and makes the blobs in it durable.
func (n *Node) storeBlobs(ctx context.Context, a *admission, c *events.Content) error {
	a.describe(c)
	if !c.ModBlob.IsZero() {
		if err := n.blobs.store.Put(ctx, c.ModBlob.Digest, c.ModBlob.Size, bytes.NewReader(a.mod)); err != nil {
			return storeFailed(err, a.mv.Path+"@"+a.mv.Version)
		}
	}
	if a.zip == nil {
		return nil
	}
	if !a.keeps() {
		return n.setUnkept(c.Zip.Digest)
	}
	return n.keep(a)
}

// keep makes the zip durable as a blob that is not to be missing again.
func (n *Node) keep(a *admission) error {
	if err := a.store(); err != nil {
		return err
	}
	return n.clearUnkept(a.zip.Digest())
}

// keeps reports whether the zip's bytes stay here.
func (a *admission) keeps() bool { return a.published || !a.repo.Settings.KeepNothing }

// store makes the zip durable as a blob, once.
func (a *admission) store() error {
	if a.stored {
		return nil
	}
	if _, err := a.zip.Commit(a.zip.Digest()); err != nil {
		return storeFailed(err, a.mv.Path+"@"+a.mv.Version)
	}
	a.stored = true
	return nil
}

// vouched remembers that the zip was checked here, see vouchers.
func (n *Node) vouched(a *admission, c events.Content) {
	if a.zip != nil {
		n.vouchers.zips.put(zipClaim{a.mv, c.Zip.Digest, c.ZipH1}, true)
	}
}

// propose has the log record the content, unless it is there already.
func (n *Node) propose(ctx context.Context, a admission, c events.Content) (admitted, error) {
	var out admitted
	at, err := n.commits.propose(ctx, func(v view) (bodies []events.Body, err error) {
		out, bodies, err = n.decide(v, &a, c)
		return bodies, err
	})
	if err != nil {
		return admitted{}, a.unrecordable(err)
	}
	if !out.Existed {
		out.Time = at.Time
	}
	return out, nil
}

// decide says which events record the content: none if it is there already.
// Whether it may be is decided by what the site knows at that moment. The time of
// what is recorded now is for the caller to set.
func (n *Node) decide(v view, a *admission, c events.Content) (admitted, []events.Body, error) {
	none := admitted{}
	r := v.dir.Repo(a.repo.ID)
	if r == nil || r.Deleted {
		return none, nil, fail(ErrNotFound, "repository %s has been deleted", a.repo.Name)
	}
	if err := a.allowed(v.dir, r); err != nil {
		return none, nil, err
	}
	if a.published {
		if err := n.isHomeOf(r); err != nil {
			return none, nil, err
		}
	}
	cs, err := v.txn.Get(events.KeyVersion(r.ID, a.mv))
	if err != nil {
		return none, nil, err
	}
	held := v.dir.ResolveVersion(r, cs)
	if err := a.conflict(r, &held, c); err != nil {
		return none, nil, err
	}
	if h := a.fits(&held, c); h != nil && a.contained(h, c) && !n.restates(a, cs, c) {
		return admitted{h.First.Event, h.First.Time, true, h.Content}, nil, nil
	}
	return admitted{Event: v.at, Content: c}, append([]events.Body{a.body(r, c)}, a.changes(r)...), nil
}

// unrecordable says whose fault it is that an event can't hold what is admitted:
// of a fill the upstream's, which is no reason to say that there is nothing.
func (a *admission) unrecordable(err error) error {
	if a.published || !errors.Is(err, ErrInvalid) {
		return err
	}
	return because(opaque(err), a.fault(), "%s@%s: what there is of it can't be recorded: %v", a.mv.Path, a.mv.Version, err)
}

// isHomeOf reports why this site can't decide about the versions in r.
func (n *Node) isHomeOf(r *events.Repo) error {
	if r.Home() != n.id.Site {
		return because(errNotHome, ErrUnavailable, "site %s decides about repository %s, and this is site %s", r.Home(), r.Name, n.id.Site)
	}
	return n.hasTenuresBefore(r.Homes)
}

// allowed reports whether the repository may take the version.
func (a *admission) allowed(d *events.Directory, r *events.Repo) error {
	owner := d.Owner(a.mv.Path)
	if !a.published {
		if owner != nil {
			return fail(ErrForbidden, "%s belongs to the local repository %s; no upstream is asked for it", a.mv.Path, owner.Name)
		}
		return nil
	}
	if !events.MatchAny(r.Settings.Owns, a.mv.Path) {
		return fail(ErrForbidden, "repository %s does not own %s; if it should, an administrator says: registry-node repo set %s --owns '%s'",
			r.Name, a.mv.Path, r.Name, ownsHint(a.mv.Path))
	}
	return nil
}

// fits returns what is held with the identity of c, nil if nothing is.
func (a *admission) fits(v *events.Version, c events.Content) *events.HeldContent {
	if v.Status != events.Held && v.Status != events.Conflicted {
		return nil
	}
	for i := range v.Contents {
		if h := &v.Contents[i]; h.ModH1 == c.ModH1 && (!h.HasZip() || !c.HasZip() || h.ZipH1 == c.ZipH1) {
			return h
		}
	}
	return nil
}

// contained reports whether what is held says all that c does.
func (a *admission) contained(h *events.HeldContent, c events.Content) bool {
	if c.HasMod() && !h.HasMod() {
		return false
	}
	if !c.HasZip() {
		return true
	}
	// Other bytes of the same tree add nothing to a published version, nor to one
	// whose bytes nobody keeps; of a fill they are another address.
	return slices.Contains(h.Zips, c.Zip) || (a.published || !a.keeps()) && h.HasZip()
}

// conflict reports whether the version is there with other content, or was.
func (a *admission) conflict(r *events.Repo, v *events.Version, c events.Content) error {
	what := a.mv.Path + "@" + a.mv.Version
	if a.corrects(v) && a.sums != (upstream.Sums{}) {
		return nil // other content is a lie of somebody's, which each site sees for itself
	}
	switch v.Status {
	case events.Purged:
		return fail(ErrForbidden, "%s was purged from repository %s: %s; it does not come back", what, r.Name, v.Purged.Reason)
	case events.Hidden:
		return fail(ErrExists, "%s was deleted from repository %s; a name that was used can't be used again, so publish another version", what, r.Name)
	case events.Undecided, events.Conflicted:
		return fail(ErrUnavailable, "%s in repository %s is %v; an administrator must decide about it", what, r.Name, v.Status)
	case events.Held:
		h := v.Contents[0]
		if a.fits(v, c) != nil {
			return nil
		}
		switch {
		case a.imported:
			return a.other(r, h, c)
		case !a.published:
			return because(errDrift, ErrUpstream, "%s: the upstream now has other content than what was recorded from it at %s: go.mod %v zip %v, recorded go.mod %v zip %v; what was recorded stays",
				what, h.First.Time.Format(time.RFC3339), c.ModH1, c.ZipH1, h.ModH1, h.ZipH1)
		}
		return fail(ErrExists, "%s is in repository %s already with other content: %v, published at %s at site %s; this one is %v. A version can't be changed: publish another one",
			what, r.Name, h.ZipH1, h.First.Time.Format(time.RFC3339), h.First.Event.Site, c.ZipH1)
	}
	return nil
}

// corrects reports whether content that is proved comes in beside what is recorded.
func (a *admission) corrects(v *events.Version) bool {
	return !a.published && (v.Status == events.Held || v.Status == events.Conflicted) &&
		(!a.firm || slices.ContainsFunc(v.Contents, isImported))
}

func (a *admission) body(r *events.Repo, c events.Content) events.Body {
	of := events.Of(r.ID, a.mv)
	if a.published {
		return events.VersionPublished{ModuleVersion: of, Content: c, Actor: a.actor}
	}
	return events.VersionFilled{ModuleVersion: of, Content: c, Upstream: a.upstream}
}

// changes returns what says which properties the files have.
func (a *admission) changes(r *events.Repo) (bodies []events.Body) {
	for _, file := range slices.Sorted(maps.Keys(a.properties)) {
		if set := propertyList(a.properties[file]); len(set) > 0 {
			bodies = append(bodies, events.PropertiesChanged{ModuleVersion: events.Of(r.ID, a.mv), File: file, Set: set, Actor: a.actor})
		}
	}
	return bodies
}
