package node

import (
	"context"
	"io"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/access"
)

// Publication is a version to be published.
type Publication struct {
	Repo    events.RepoName // a local repository, or a virtual one that has a default for deployment
	Version module.Version
	Zip     io.Reader // the module zip
	Time    time.Time // of the tag's commit; zero for the time of publishing
	H1      events.H1 // of the zip as the publisher computed it; zero if unknown
}

// Published is what became of a publication.
type Published struct {
	Repo    events.RepoName `json:"repository"`
	Module  string          `json:"module"`
	Version string          `json:"version"`
	// Position is the event that first stated this content; it is the first one
	// even if the same content is published again.
	Position events.EventID `json:"position"`
	Time     time.Time      `json:"time"` // of that event
	// At is the entry that a publisher waits for: of Position, or the one that
	// was appended.
	At      events.Position `json:"-"`
	Existed bool            `json:"existed"`
	// Pending says that the version is decided at its home, and that this node
	// had not applied it in time: it will be readable here soon.
	Pending bool          `json:"pending,omitempty"`
	H1      events.H1     `json:"h1"`
	ModH1   events.H1     `json:"go_mod_h1"`
	Digest  events.Digest `json:"digest"` // of the zip
	Size    int64         `json:"size"`   // of the zip, bytes
}

// Publish puts a version into a local repository. When it returns without an
// error the version is durable in both copies of the log and every later read
// at this node sees it. Publishing the same content again succeeds.
//
// Errors: ErrUnauthorized, ErrForbidden (the caller may not, or it is not a local
// one, or it does not own the path, or a block), ErrNotFound (no such repository),
// ErrInvalid (path or version), ErrTooLarge, ErrUnprocessable (the zip breaks a
// rule), ErrExists (there is other content), ErrNoSpace, ErrUnavailable.
func (n *Node) Publish(ctx context.Context, who *access.Caller, p Publication) (Published, error) {
	a, err := n.arrive(ctx, who, p)
	if err != nil {
		return Published{}, err
	}
	defer a.zip.Discard()
	return n.publish(ctx, a)
}

// arrive stages the zip of a publication that may be, as far as its name says. Who
// calls it discards the stage.
func (n *Node) arrive(ctx context.Context, who *access.Caller, p Publication) (admission, error) {
	r, err := n.deployable(who, p.Repo, p.Version.Path)
	if err != nil {
		return admission{}, err
	}
	if err := events.CheckVersion(p.Version); err != nil {
		return admission{}, because(err, ErrInvalid, "%v", err)
	}
	a := admission{repo: r, mv: p.Version, published: true, at: p.Time, who: who, actor: who.Actor(), wantH1: p.H1}
	if err := a.allowed(n.directory(), r); err != nil {
		return admission{}, err
	}
	if err := n.space.check(); err != nil {
		return admission{}, err
	}
	what := "publish " + p.Version.Path + "@" + p.Version.Version
	if a.zip, err = n.blobs.store.Stage(ctx, maxZip); err != nil {
		return admission{}, storeFailed(err, what)
	}
	if _, err := io.Copy(a.zip, p.Zip); err != nil {
		a.zip.Discard()
		return admission{}, storeFailed(err, what)
	}
	return a, nil
}

// publish decides about a publication at the repository's home. Once the zip is
// stored here it stays so while sites find out who is home.
func (n *Node) publish(ctx context.Context, a admission) (p Published, err error) {
	err = n.atHome(ctx, n.homeOf(a.repo.ID), func() error {
		got, err := n.admit(ctx, &a)
		p = published(a.repo, a.mv, got)
		return err
	}, func(home events.Site) (err error) {
		p, err = n.publishAway(ctx, home, &a)
		return err
	})
	if err != nil {
		return Published{}, err
	}
	return p, nil
}

// homeOf returns what finds the site that decides what is in a repository: this one,
// which then says so, if there is no such repository any more.
func (n *Node) homeOf(id events.RepoID) func(*events.Directory) events.Site {
	return func(d *events.Directory) events.Site {
		if r := d.Repo(id); r != nil {
			return r.Home()
		}
		return n.id.Site
	}
}

func published(r *events.Repo, mv module.Version, got admitted) Published {
	return Published{
		Repo: r.Name, Module: mv.Path, Version: mv.Version, Position: got.Event, Time: got.Time,
		At:      positionOf(got.Event),
		Existed: got.Existed, H1: got.Content.ZipH1, ModH1: got.Content.ModH1,
		Digest: got.Content.Zip.Digest, Size: got.Content.Zip.Size,
	}
}

// positionOf returns the entry of an event.
func positionOf(id events.EventID) events.Position {
	return events.Position{Site: id.Site, Mark: id.Mark}
}

// deployable returns the local repository that takes what is published of a module
// to name. Who may not publish there is told nothing else.
func (n *Node) deployable(who *access.Caller, name events.RepoName, path string) (*events.Repo, error) {
	st := n.state.Load()
	d := st.dir
	r := d.RepoNamed(name)
	if r != nil && !r.Deleted && r.Kind == events.Virtual && !r.Settings.Deploy.IsZero() {
		if to := d.RepoNamed(r.Settings.Deploy); to != nil && !to.Deleted {
			r = to
		}
	}
	if r != nil && !r.Deleted && r.Kind == events.Virtual && st.readsAny(who, name) {
		return nil, notLocal(st, who, r, path)
	}
	need := access.Need{Action: access.Publish, Repo: name.String(), Module: path}
	if r != nil {
		need.Repo = r.Name.String()
	}
	switch {
	case !st.rights.Allows(who, need):
		need.Repo = name.String() // not what stands behind it
		return nil, denied(who, need)
	case r == nil || r.Deleted:
		return nil, fail(ErrNotFound, "there is no repository called %q", name)
	case r.Kind != events.Local:
		return nil, notLocal(st, who, r, path)
	}
	return r, nil
}

// notLocal refuses a publication into a repository that takes none.
func notLocal(st *state, who *access.Caller, r *events.Repo, path string) error {
	var locals []string
	for _, l := range st.dir.Repos() {
		if l.Kind == events.Local && st.rights.Allows(who, access.Need{Action: access.Publish, Repo: l.Name.String(), Module: path}) {
			locals = append(locals, l.Name.String())
		}
	}
	if len(locals) == 0 {
		return fail(ErrForbidden, "repository %s is %v and takes no publications", r.Name, r.Kind)
	}
	return fail(ErrForbidden, "repository %s is %v and takes no publications; local repositories here: %s",
		r.Name, r.Kind, strings.Join(locals, ", "))
}

// ownsHint returns the pattern that an administrator most likely wants for a
// module path: all of its host.
func ownsHint(path string) string {
	host, _, _ := strings.Cut(path, "/")
	return host + "/**"
}
