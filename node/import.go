package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/upstream"
)

// importedFrom stands for the upstream in what the log says of an import.
const importedFrom = "import"

// maxImportedInfo bounds an imported info, in bytes: to what an event carries.
const maxImportedInfo = events.MaxInline

// Importation is a version that somebody has from elsewhere, and that is to be as
// if the upstream of a remote repository had given it.
type Importation struct {
	Repo    events.RepoName // a remote one
	Version module.Version
	// ModH1 and ZipH1 are what go.sum says of it; zero if it says nothing. Content
	// with other hashes is refused.
	ModH1, ZipH1 events.H1
	// Unproved says that the hashes above are to be enough if the checksum database,
	// which should have a say, can't be asked. That holds at this site, until the
	// database answers; other sites have it proved before they serve it first, or have
	// it imported, too. What the database knows better is refused nonetheless, and the
	// go command itself is always proved by it.
	Unproved bool
	// Open returns the content. It is called once, after all that can be judged
	// without it.
	Open func() (ImportedParts, error)
}

// ImportedParts are the content of an import.
type ImportedParts struct {
	// Info is the .info; without one it is made of the version, with the time that a
	// pseudo-version says.
	Info []byte
	Mod  []byte    // the go.mod
	Zip  io.Reader // the module zip; nil if only the go.mod is known
}

// Imported is what became of an import.
type Imported struct {
	Repo     events.RepoName `json:"repository"`
	Module   string          `json:"module"`
	Version  string          `json:"version"`
	Position events.EventID  `json:"position"` // that first stated this content
	Time     time.Time       `json:"time"`     // of that event
	Existed  bool            `json:"existed"`
	ModH1    events.H1       `json:"go_mod_h1"`
	H1       events.H1       `json:"h1,omitzero"` // of the zip, if there is one
	// Sumdb is the checksum database that proved it; empty if none was to, or could.
	Sumdb string `json:"checked_by,omitempty"`
	// At is the entry that a reader elsewhere waits for.
	At events.Position `json:"-"`
}

// Import records a version, or its info and go.mod alone, in a remote repository
// as a fill from its upstream would be: with the same checks of content, patterns,
// blocks, ownership, what is recorded already, and the checksum database. A
// version's age counts from now. Importing the same content again changes nothing,
// but that an unproved import at another site is this site's word from then on, too.
//
// It needs leave to manage the module in the repository, since it states what an
// upstream has. Errors: ErrUnauthorized, ErrForbidden (the caller may not, or
// patterns, a block, a purge; the path belongs to a local repository; the
// repository keeps no zips), ErrNotFound (no such repository), ErrInvalid (path,
// version, not a remote repository), ErrTooLarge, ErrUnprocessable (content that
// breaks a rule or has other hashes than go.sum or the checksum database say, or
// that this does not know), ErrExists (there is other content), ErrNoSpace,
// ErrUnavailable (the checksum database can't be asked).
func (n *Node) Import(ctx context.Context, who *access.Caller, im Importation) (Imported, error) {
	r, err := n.importable(who, im.Repo, im.Version)
	if err != nil {
		return Imported{}, err
	}
	if err := n.space.check(); err != nil {
		return Imported{}, err
	}
	rem, err := r.remote()
	if err != nil {
		return Imported{}, err
	}
	sums, err := r.importSums(ctx, rem, im)
	if err != nil {
		return Imported{}, err
	}
	parts, err := im.Open()
	if err != nil {
		return Imported{}, err
	}
	a := r.importing(im.Version)
	a.who, a.upstream, a.sums = who, importedFrom, sums
	if sums != (upstream.Sums{}) {
		a.sumdb = rem.dbName
	}
	if err := a.takeMod(im, parts); err != nil {
		return Imported{}, err
	}
	if sums == (upstream.Sums{}) && rem.covers(im.Version.Path) {
		if parts.Zip != nil && im.ZipH1.IsZero() {
			return Imported{}, fail(ErrUnprocessable, "%s@%s: an unproved zip needs the hash that go.sum has of it", im.Version.Path, im.Version.Version)
		}
		if !r.st.alone {
			a.unproved = rem.dbName
		}
	}
	got, err := n.importParts(ctx, &a, im, parts.Zip)
	if err != nil {
		return Imported{}, err
	}
	return imported(&a, got), nil
}

// importing is the admission of an import. A site that is alone goes on with what it
// fetched, as long as nobody decides otherwise: it would else show nothing at all,
// since there is no other site whose lie it could be.
func (r *Repository) importing(mv module.Version) admission {
	return admission{repo: r.repo, mv: mv, imported: true, firm: r.st.alone}
}

func imported(a *admission, got admitted) Imported {
	return Imported{
		Repo: a.repo.Name, Module: a.mv.Path, Version: a.mv.Version, Position: got.Event, Time: got.Time, Existed: got.Existed,
		ModH1: got.Content.ModH1, H1: got.Content.ZipH1, Sumdb: a.sumdb,
		At: events.Position{Site: got.Event.Site, Mark: got.Event.Mark},
	}
}

// importable returns the remote repository that may take an import of mv, if the
// caller may do that.
func (n *Node) importable(who *access.Caller, name events.RepoName, mv module.Version) (*Repository, error) {
	if err := n.allow(who, access.Need{Action: access.Manage, Repo: name.String(), Module: mv.Path}); err != nil {
		return nil, err
	}
	r, err := n.repository(who, name)
	if err != nil {
		return nil, err
	}
	if r.repo.Kind != events.Remote {
		return nil, fail(ErrInvalid, "repository %s is %v; versions are imported into remote repositories, and published into local ones", name, r.repo.Kind)
	}
	if err := events.CheckVersion(mv); err != nil {
		return nil, because(err, ErrInvalid, "%v", err)
	}
	return r, r.takesImport(mv)
}

// takesImport reports why mv may not come into a remote repository, whatever its
// content: as it would not from the upstream.
func (r *Repository) takesImport(mv module.Version) error {
	if owner := r.st.dir.Owner(mv.Path); owner != nil {
		if !r.st.readsAny(r.who, owner.Name) {
			return denied(r.who, access.Need{Action: access.Manage, Repo: r.repo.Name.String(), Module: mv.Path})
		}
		return fail(ErrForbidden, "%s belongs to the local repository %s; nobody else answers for it", mv.Path, owner.Name)
	}
	if !r.admits(mv.Path) {
		return fail(ErrForbidden, "%s: the include and exclude patterns of repository %s keep it out; an administrator changes them with: registry-node repo set", mv.Path, r.repo.Name)
	}
	if r.repo.Settings.KeepNothing {
		return fail(ErrForbidden, "repository %s keeps no zips, so there is nothing to import into it", r.repo.Name)
	}
	if err := blocked(r.st.dir, mv); err != nil {
		return err
	}
	v, err := r.node.version(r.st.dir, r.repo, mv)
	if err != nil || v.Status != events.Purged {
		return err
	}
	a := r.importing(mv)
	return a.conflict(r.repo, v, events.Content{})
}

// importSums asks the checksum database for the hashes of what is to be imported,
// if it must be in there. It returns none if it need not be, or if the database
// can't be asked and the hashes of go.sum are to do.
func (r *Repository) importSums(ctx context.Context, rem *remote, im Importation) (upstream.Sums, error) {
	sums, err := rem.sums(ctx, im.Version)
	what := im.Version.Path + "@" + im.Version.Version
	switch {
	case err == nil || ctx.Err() != nil:
		return sums, err
	case errors.Is(err, upstream.ErrNotInDatabase):
		return sums, because(err, ErrUnprocessable, "%s: the checksum database %s does not know it, so it is not taken; if it is private, an administrator adds its path with: registry-node repo set %s --no-sumdb",
			what, r.repo.Settings.Sumdb, r.repo.Name)
	case !unreachable(err):
		return sums, r.fetchFailed(err, im.Version)
	case im.Version.Path == toolchainModule:
		return sums, because(err, ErrUnavailable, "%s: the checksum database can't be asked about it, and the go command is not taken unproved: %v", what, err)
	case im.Unproved && !im.ModH1.IsZero():
		return upstream.Sums{}, nil
	case im.Unproved:
		return sums, because(err, ErrUnavailable, "%s: neither the checksum database can be asked about it, nor does go.sum have it: %v", what, err)
	}
	return sums, because(err, ErrUnavailable, "%s: the checksum database can't be asked about it; if go.sum alone is to vouch for it, import it with --unproved: %v", what, err)
}

// takeMod takes info and go.mod into the admission.
func (a *admission) takeMod(im Importation, p ImportedParts) error {
	what := a.mv.Path + "@" + a.mv.Version
	if len(p.Mod) == 0 {
		return fail(ErrUnprocessable, "%s: the imported go.mod is empty", what)
	}
	if len(p.Mod) > modzip.MaxGoMod {
		return fail(ErrTooLarge, "%s: the go.mod is larger than %d MiB", what, modzip.MaxGoMod>>20)
	}
	if err := upstream.CheckGoMod(p.Mod); err != nil {
		return because(err, ErrUnprocessable, "%s: the imported go.mod: %v", what, err)
	}
	a.mod, a.modH1 = p.Mod, upstream.GoModH1(p.Mod)
	if !im.ModH1.IsZero() && a.modH1 != im.ModH1 {
		return fail(ErrUnprocessable, "%s: the imported go.mod is %v, not %v as the request says", what, a.modH1, im.ModH1)
	}
	if a.info = p.Info; len(a.info) == 0 {
		a.info = bareInfo(a.mv.Version)
	}
	if len(a.info) > maxImportedInfo {
		return fail(ErrTooLarge, "%s: the info is larger than %d KiB", what, maxImportedInfo>>10)
	}
	if _, err := upstream.ParseInfo(a.mv, a.info); err != nil {
		return because(err, ErrUnprocessable, "%s: the imported info: %v", what, err)
	}
	return nil
}

// bareInfo is the info of a version of which nothing else is known. A
// pseudo-version says the time of its commit.
func bareInfo(version string) []byte {
	if t, err := module.PseudoVersionTime(version); err == nil {
		return infoJSON(version, t)
	}
	return fmt.Appendf(nil, `{"Version":%q}`, version)
}

// importParts admits what is imported, with the zip if there is one.
func (n *Node) importParts(ctx context.Context, a *admission, im Importation, zip io.Reader) (admitted, error) {
	if zip == nil {
		return n.admit(ctx, a)
	}
	what := "import " + a.mv.Path + "@" + a.mv.Version
	stage, err := n.blobs.store.Stage(ctx, maxZip)
	if err != nil {
		return admitted{}, storeFailed(err, what)
	}
	defer stage.Discard()
	if _, err := io.Copy(stage, zip); err != nil {
		return admitted{}, storeFailed(err, what)
	}
	a.zip, a.wantH1 = stage, im.ZipH1
	if err := n.leaveHeldMod(a); err != nil {
		return admitted{}, err
	}
	return n.admit(ctx, a)
}

// leaveHeldMod takes info and go.mod out of an admission if they are recorded, so
// that the log has them once.
func (n *Node) leaveHeldMod(a *admission) error {
	v, err := n.version(n.directory(), a.repo, a.mv)
	if err != nil {
		return err
	}
	if h := a.fits(v, events.Content{ModH1: a.modH1}); h != nil && h.HasMod() {
		a.info, a.mod = nil, nil
	}
	return nil
}

// need is what a caller whose admission it is has to be allowed.
func (a *admission) need() access.Need {
	action := access.Publish
	if a.imported {
		action = access.Manage
	}
	return access.Need{Action: action, Repo: a.repo.Name.String(), Module: a.mv.Path}
}

// fault is the kind of an error about content: it is one of the caller who sent it,
// or of the upstream.
func (a *admission) fault() error {
	if a.published || a.imported {
		return ErrUnprocessable
	}
	return ErrUpstream
}

// whose says, before "zip" or "go.mod", where what is no publication comes from.
func (a *admission) whose() string {
	if a.imported {
		return "the imported"
	}
	return "the upstream's"
}

// other refuses to import other content than what is recorded.
func (a *admission) other(r *events.Repo, h events.HeldContent, c events.Content) error {
	return fail(ErrExists, "%s@%s is in repository %s already with other content, recorded at %s: go.mod %v zip %v, the imported one has go.mod %v zip %v; what was recorded stays",
		a.mv.Path, a.mv.Version, r.Name, h.First.Time.Format(time.RFC3339), h.ModH1, h.ZipH1, c.ModH1, c.ZipH1)
}
