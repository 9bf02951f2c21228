package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
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
	// What the file is, if it was known, see DeployKnown.
	Sums Sums
	Size int64 // bytes
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
// Errors: those of Publish, ErrInvalid for properties that no file can have, and
// ErrExists if there is, or is held, other content, or if it is not the info's turn.
func (n *Node) Deploy(ctx context.Context, who *access.Caller, p Part) (Deployed, error) {
	// Before anything is held: what can't be recorded could never be completed.
	if err := events.CheckProperties(propertyList(p.Properties)); err != nil {
		return Deployed{}, because(err, ErrInvalid, "%v: %v", p, err)
	}
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
	by, err := n.holderOf(who)
	if err != nil {
		return Deployed{}, err
	}
	return n.place(ctx, placing{admission: a, part: p, by: by, content: c})
}

func (n *Node) deployMod(ctx context.Context, who *access.Caller, p Part) (Deployed, error) {
	at, err := n.deploys(who, p)
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
	at.content.ModH1, at.digest = upstream.GoModH1(mod), events.DigestOf(mod)
	return n.place(ctx, at)
}

func (n *Node) deployInfo(ctx context.Context, who *access.Caller, p Part) (Deployed, error) {
	at, err := n.deploys(who, p)
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
	return n.place(ctx, at)
}

// deploys returns what places a part that comes without a zip, if it may come.
func (n *Node) deploys(who *access.Caller, p Part) (at placing, err error) {
	r, err := n.deployable(who, p.Repo, p.Version.Path)
	if err != nil {
		return at, err
	}
	if err := events.CheckVersion(p.Version); err != nil {
		return at, because(err, ErrInvalid, "%v", err)
	}
	at.admission = admission{repo: r, mv: p.Version, published: true, who: who, actor: who.Actor()}
	at.part = p
	d := n.directory()
	if err := errors.Join(at.allowed(d, r), blocked(d, p.Version), n.space.check()); err != nil {
		return at, err
	}
	at.by, err = n.holderOf(who)
	return at, err
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

// DeployKnown is Deploy for a part of which only the checksums are said, if it would
// change nothing but properties: the version is published, and the file has the
// SHA-256 that is said, and the SHA-1 and MD5 that are, too. known is false if it has
// not, or if the bytes are not here, and nothing is done then. What is only held is
// not known: who sends it shows that it has it.
func (n *Node) DeployKnown(ctx context.Context, who *access.Caller, p Part, said Sums) (d Deployed, known bool, err error) {
	if err := events.CheckProperties(propertyList(p.Properties)); err != nil {
		return d, false, because(err, ErrInvalid, "%v: %v", p, err)
	}
	at, err := n.deploys(who, p)
	if err != nil {
		return d, false, err
	}
	v, err := n.version(n.directory(), at.repo, at.mv)
	if err != nil || v.Status != events.Held {
		return d, false, err
	}
	sums, size, known, err := n.fileSums(ctx, &v.Contents[0], p.File, said.SHA256)
	if err != nil || !known || !sums.fit(said) {
		return d, false, err
	}
	key := partsKey(at.repo.ID, at.mv)
	unlock, err := n.parts.lock(ctx, key)
	if err != nil {
		return d, false, err
	}
	defer unlock()
	h, _, err := n.held(key, time.Now())
	if err != nil {
		return d, false, err
	}
	at.content = v.Contents[0].Content // and that is for ever
	d, err = n.repeated(ctx, key, at, h, v)
	d.Sums, d.Size = sums, size
	return d, true, err
}

// fileSums returns the checksums and the size of a file of a published version; ok is
// false if it has none of this SHA-256, or if its bytes are not here.
func (n *Node) fileSums(ctx context.Context, c *events.HeldContent, file string, want events.Digest) (s Sums, size int64, ok bool, err error) {
	if file == events.ZipFile {
		i := slices.IndexFunc(c.Zips, func(b events.Blob) bool { return b.Digest == want })
		if i < 0 {
			return s, 0, false, nil
		}
		s, ok, err = n.sumsOf(ctx, c.Zips[i])
		return s, c.Zips[i].Size, ok, err
	}
	data := c.Info
	if file == events.ModFile {
		if data, err = n.mod(ctx, c); err != nil {
			return s, 0, false, err
		}
	}
	s = sumsOfBytes(data)
	return s, int64(len(data)), s.SHA256 == want, nil
}

// fit reports whether these are the checksums that somebody says; zero ones are not
// said.
func (s Sums) fit(said Sums) bool {
	return s.SHA256 == said.SHA256 && (said.SHA1 == Sums{}.SHA1 || said.SHA1 == s.SHA1) && (said.MD5 == Sums{}.MD5 || said.MD5 == s.MD5)
}
