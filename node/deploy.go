package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/upstream"
)

// Clients of an Artifactory publish a version with one request for each of its
// files. What comes before the version is whole is held (hold.go): it is durable,
// and nobody sees it. With the zip and the go.mod both there, the version is
// published as if the zip had come in one request; all else follows from the zip.

// Part is one file of a version that is published in several requests.
type Part struct {
	Repo    events.RepoName // a local repository, or a virtual one that has a default for deployment
	Version module.Version
	File    string    // events.InfoFile, ModFile or ZipFile
	Body    io.Reader // of the file
	// Properties are what is said of the file.
	Properties map[string][]string
	// InOrder says that an info comes when the version is whole, and not before.
	InOrder bool
}

// Deployed is what became of a Part.
type Deployed struct {
	Repo events.RepoName // that it went to
	Time time.Time       // when the version was published; of what is held, now
	// At is the entry that a publisher waits for; zero if the version waits for its
	// other parts.
	At events.Position
}

// maxInfo bounds an info that somebody uploads, in bytes.
const maxInfo = 64 << 10

func (p Part) String() string { return p.Version.String() + ", " + p.File }

// Deploy takes a part of a version. When it returns without an error the part is
// durable here; with the last one that was missing, the version is published, as by
// Publish. The same part again succeeds, before and after that.
//
// The info is checked for its version and otherwise ignored: it comes from the time
// of the publication. A go.mod must be the one in the zip. A part of a version that
// is being uploaded with other content is refused until that is published, or given
// up.
//
// Errors: those of Publish, and ErrExists if there is, or is held, other content.
func (n *Node) Deploy(ctx context.Context, who *access.Caller, p Part) (Deployed, error) {
	switch p.File {
	case events.ZipFile:
		return n.deployZip(ctx, who, p)
	case events.ModFile:
		return n.deployMod(ctx, who, p)
	case events.InfoFile:
		return n.deployInfo(ctx, who, p)
	}
	return Deployed{}, fail(ErrInvalid, "%q is no file of a version", p.File)
}

func (n *Node) deployZip(ctx context.Context, who *access.Caller, p Part) (Deployed, error) {
	a, err := n.arrive(ctx, who, Publication{Repo: p.Repo, Version: p.Version, Zip: p.Body})
	if err != nil {
		return Deployed{}, err
	}
	defer a.zip.Discard()
	if err := blocked(n.directory(), a.mv); err != nil {
		return Deployed{}, err
	}
	c, err := n.verify(ctx, &a)
	if err != nil {
		return Deployed{}, err
	}
	return n.place(ctx, placing{admission: a, part: p, content: c})
}

func (n *Node) deployMod(ctx context.Context, who *access.Caller, p Part) (Deployed, error) {
	a, err := n.deploys(who, p)
	if err != nil {
		return Deployed{}, err
	}
	mod, err := readPart(p, modzip.MaxGoMod)
	if err != nil {
		return Deployed{}, err
	}
	if path := modfile.ModulePath(mod); path != p.Version.Path {
		return Deployed{}, fail(ErrUnprocessable, "%v: the go.mod says module %s", p.Version, path)
	}
	return n.place(ctx, placing{admission: a, part: p, content: events.Content{ModH1: upstream.GoModH1(mod)}, digest: events.DigestOf(mod)})
}

func (n *Node) deployInfo(ctx context.Context, who *access.Caller, p Part) (Deployed, error) {
	a, err := n.deploys(who, p)
	if err != nil {
		return Deployed{}, err
	}
	text, err := readPart(p, maxInfo)
	if err != nil {
		return Deployed{}, err
	}
	var info struct{ Version string }
	if err := json.Unmarshal(text, &info); err != nil {
		return Deployed{}, because(err, ErrUnprocessable, "%v: the info is not JSON like {\"Version\": %q}", p.Version, p.Version.Version)
	}
	if info.Version != p.Version.Version {
		return Deployed{}, fail(ErrUnprocessable, "%v: the info says that it is version %q", p.Version, info.Version)
	}
	return n.place(ctx, placing{admission: a, part: p})
}

// deploys returns the admission of a version of which a part without a zip comes.
func (n *Node) deploys(who *access.Caller, p Part) (a admission, err error) {
	r, err := n.deployable(who, p.Repo, p.Version.Path)
	if err != nil {
		return a, err
	}
	if err := events.CheckVersion(p.Version); err != nil {
		return a, because(err, ErrInvalid, "%v", err)
	}
	a = admission{repo: r, mv: p.Version, published: true, who: who, actor: who.Actor()}
	d := n.directory()
	return a, errors.Join(a.allowed(d, r), blocked(d, p.Version), n.space.check())
}

// readPart reads a part of at most so many bytes.
func readPart(p Part, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(p.Body, most+1))
	if err != nil {
		return nil, fmt.Errorf("%v: %w", p, err)
	}
	if int64(len(b)) > most {
		return nil, fail(ErrTooLarge, "%v: larger than %d KiB", p, most>>10)
	}
	return b, nil
}

// DeployKnown is Deploy for a part of which only the digest is known, if it would
// change nothing but properties: the file is there with these bytes. known is false
// if it is not, and nothing is done then. Of what is held, who has properties to say
// sends the part.
func (n *Node) DeployKnown(ctx context.Context, who *access.Caller, p Part, digest events.Digest) (d Deployed, known bool, err error) {
	a, err := n.deploys(who, p)
	if err != nil {
		return d, false, err
	}
	now := time.Now()
	h, _, err := n.held(partsKey(a.repo.ID, a.mv), now)
	if err != nil {
		return d, false, err
	}
	if h.has(p.File, digest) && len(p.Properties) == 0 {
		return Deployed{Repo: a.repo.Name, Time: now}, true, nil
	}
	v, err := n.version(n.directory(), a.repo, a.mv)
	if err != nil || v.Status != events.Held {
		return d, false, err
	}
	c := &v.Contents[0]
	var is events.Digest
	switch p.File {
	case events.ZipFile:
		is = c.Zip.Digest
	case events.ModFile:
		mod, err := n.mod(ctx, c)
		if err != nil {
			return d, false, err
		}
		is = events.DigestOf(mod)
	default:
		is = events.DigestOf(c.Info)
	}
	if is != digest {
		return d, false, nil
	}
	at := events.Position{Site: c.First.Event.Site, Mark: c.First.Event.Mark}
	return Deployed{a.repo.Name, c.First.Time, at}, true, n.say(ctx, placing{admission: a, part: p})
}
