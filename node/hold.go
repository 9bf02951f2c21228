package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/blob"
)

// A hold is what has come of a version that is uploaded in parts: a row of this
// node's local state, which names the zip's blob. It lasts until some time after its
// last part, and ends earlier when the version is published.
//
// A crash leaves: behind the blob and before the row, a blob that nobody refers to,
// for n.sweep; behind the row and before the answer, a part that is there when it
// comes again; behind the publication and before the row is gone, a row of a version
// that is published with the very same content, which only expires.

// hold is such a row.
type hold struct {
	Zip        heldZip           `json:"zip,omitzero"`
	Mod        heldMod           `json:"mod,omitzero"`
	Properties events.Properties `json:"properties,omitempty"` // by file
	By         string            `json:"by"`                   // who began it
	Until      time.Time         `json:"until"`
	// Done says that the version was published, and that this node may not have
	// heard of it yet.
	Done bool `json:"done,omitempty"`
}

// has reports whether a file of these bytes is held.
func (h hold) has(file string, digest events.Digest) bool {
	switch {
	case digest.IsZero():
		return false
	case file == events.ZipFile:
		return h.Zip.Blob.Digest == digest
	}
	return file == events.ModFile && h.Mod.Digest == digest
}

// heldZip is a zip that has been checked and is a blob here.
type heldZip struct {
	Blob  events.Blob `json:"blob,omitzero"`
	H1    events.H1   `json:"h1,omitzero"`
	ModH1 events.H1   `json:"mod_h1,omitzero"` // of the go.mod in it
	By    holder      `json:"by,omitzero"`
}

// heldMod is a go.mod. Its bytes are those in the zip, or it is refused.
type heldMod struct {
	H1     events.H1     `json:"h1,omitzero"`
	Digest events.Digest `json:"digest,omitzero"`
	By     holder        `json:"by,omitzero"`
}

// holder is who uploaded a part.
type holder struct {
	Name  string         `json:"name"`
	User  bool           `json:"user,omitempty"`
	Since events.EventID `json:"since,omitzero"` // made the user: another one of that name is not meant
	Token string         `json:"token,omitempty"`
}

// holdTime is how long a hold lasts after its last part.
const holdTime = 5 * time.Minute

// placing is a part that has been read and checked, on its way to where it belongs.
type placing struct {
	admission
	part    Part
	content events.Content // of a zip and of a go.mod, what they say
	digest  events.Digest  // of a go.mod
}

// place does with a part what there is to do: nothing if the version has been
// published with it, else to hold it, and to publish the version if it is whole now.
func (n *Node) place(ctx context.Context, p placing) (Deployed, error) {
	key := partsKey(p.repo.ID, p.mv)
	unlock, err := n.parts.lock(ctx, key)
	if err != nil {
		return Deployed{}, err
	}
	defer unlock()
	now := time.Now()
	h, ok, err := n.held(key, now)
	if err != nil {
		return Deployed{}, err
	}
	if at, done, err := n.placed(p, h); done || err != nil {
		if err == nil && p.zip != nil && h.Zip.H1 == p.content.ZipH1 {
			err = n.dropHold(key)
		}
		if err == nil {
			err = n.say(ctx, p)
		}
		return at, err
	}
	if p.part.File == events.InfoFile && p.part.InOrder && !h.Done {
		return Deployed{}, fail(ErrExists, "%v is not in repository %s yet: its zip and its go.mod come before its info", p.mv, p.repo.Name)
	}
	if h, err = n.joined(p, h); err != nil {
		return Deployed{}, err
	}
	if err := n.keepPart(ctx, key, &p, h, !ok, now); err != nil {
		return Deployed{}, err
	}
	if h.Zip.H1.IsZero() || h.Mod.H1.IsZero() {
		return Deployed{Repo: p.repo.Name, Time: now}, nil
	}
	return n.complete(ctx, key, p, h)
}

// placed answers a part of a version that is published already, here as far as this
// node knows; h is what is held of it.
func (n *Node) placed(p placing, h hold) (d Deployed, done bool, err error) {
	v, err := n.version(n.directory(), p.repo, p.mv)
	if err != nil {
		return d, false, err
	}
	c := p.content
	if p.part.File == events.ModFile {
		// A zip that was uploaded here before, and is not what was published then,
		// is the one that this go.mod was to complete: who uploads must hear that.
		c.ZipH1, c.Zip = h.Zip.H1, h.Zip.Blob
	}
	if p.part.File == events.ModFile && v.Status == events.Held && v.Contents[0].ModH1 != c.ModH1 {
		return d, false, fail(ErrExists, "%v is in repository %s already with the go.mod %v, and this one is %v. A version can't be changed: publish another one", p.mv, p.repo.Name, v.Contents[0].ModH1, c.ModH1)
	}
	if v.Status != events.Held || p.part.File != events.InfoFile {
		if err := p.conflict(p.repo, v, c); err != nil {
			return d, false, err
		}
	}
	if v.Status != events.Held {
		return d, false, nil
	}
	first := v.Contents[0].First
	return Deployed{p.repo.Name, first.Time, events.Position{Site: first.Event.Site, Mark: first.Event.Mark}}, true, nil
}

// say has the properties of a part recorded of a version that is published.
func (n *Node) say(ctx context.Context, p placing) error {
	if len(p.part.Properties) == 0 {
		return nil
	}
	return n.SetProperties(ctx, p.who, PropertyChange{Repo: p.repo.Name, Version: p.mv, File: p.part.File, Set: p.part.Properties})
}

// joined returns what is held with the part, or why it does not go with the rest.
func (n *Node) joined(p placing, h hold) (hold, error) {
	by, err := n.holderOf(p.who)
	if err != nil {
		return h, err
	}
	what := fmt.Sprintf("%v in repository %s", p.mv, p.repo.Name)
	var before holder
	var was, is events.H1
	switch zip := p.zip != nil; {
	case zip && !h.Zip.H1.IsZero() && h.Zip.H1 != p.content.ZipH1:
		before, was, is = h.Zip.By, h.Zip.H1, p.content.ZipH1
	case zip && !h.Mod.H1.IsZero() && h.Mod.H1 != p.content.ModH1:
		before, was, is = h.Mod.By, h.Mod.H1, p.content.ModH1
	case p.part.File == events.ModFile && !h.Zip.H1.IsZero() && h.Zip.ModH1 != p.content.ModH1:
		before, was, is = h.Zip.By, h.Zip.ModH1, p.content.ModH1
	case p.part.File == events.ModFile && !h.Mod.H1.IsZero() && h.Mod.H1 != p.content.ModH1:
		before, was, is = h.Mod.By, h.Mod.H1, p.content.ModH1
	}
	if !was.IsZero() {
		err := n.stillHolds(before, p)
		if err == nil {
			return h, fail(ErrExists, "%s is being uploaded with other content, by %s: what is held until %s is %v, and this is %v. If that is not you, publish another version; else try again after that",
				what, before.Name, h.Until.Format("15:04:05 MST"), was, is)
		}
		if !errors.Is(err, errHolderGone) {
			return h, err
		}
		h = hold{}
	}
	if h.By == "" {
		h.By = by.Name
	}
	switch p.part.File {
	case events.ZipFile:
		h.Zip = heldZip{events.Blob{Digest: p.zip.Digest(), Size: p.zip.Size()}, p.content.ZipH1, p.content.ModH1, by}
	case events.ModFile:
		h.Mod = heldMod{p.content.ModH1, p.digest, by}
	}
	if len(p.part.Properties) > 0 {
		if h.Properties == nil {
			h.Properties = events.Properties{}
		}
		h.Properties[p.part.File] = p.part.Properties
	}
	return h, nil
}

// keepPart makes the part durable: the zip's blob, then the row that names it. No
// sweep comes between the two.
func (n *Node) keepPart(ctx context.Context, key string, p *placing, h hold, isNew bool, now time.Time) error {
	if err := n.parts.room(key, h, isNew); err != nil {
		return err
	}
	n.blobs.admitting.RLock()
	defer n.blobs.admitting.RUnlock()
	if p.zip != nil {
		if err := n.keep(&p.admission); err != nil {
			return err
		}
	}
	h.Until = now.Add(n.parts.time).UTC()
	return n.putHold(key, h)
}

// complete publishes a version of which zip and go.mod are held. What keeps it from
// being published now, and may not in a while, leaves the hold: the last part again
// completes it. Other failures leave it too, so that each repetition fails as well,
// until it expires.
func (n *Node) complete(ctx context.Context, key string, p placing, h hold) (Deployed, error) {
	if err := n.stillHolds(h.Zip.By, p); errors.Is(err, errHolderGone) {
		return Deployed{}, errors.Join(because(err, ErrForbidden, "%v: its zip was uploaded by %s, who may not publish it any more: upload it again", p.mv, h.Zip.By.Name), n.dropHold(key))
	} else if err != nil {
		return Deployed{}, err
	}
	a := p.admission
	a.properties, a.wantH1 = h.Properties, h.Zip.H1
	if a.zip == nil {
		stage, err := n.restage(ctx, key, p, h)
		if err != nil {
			return Deployed{}, err
		}
		defer stage.Discard()
		a.zip = stage
	}
	got, err := n.publish(ctx, a)
	if err != nil {
		return Deployed{}, err
	}
	if got.Existed { // published at this moment by somebody else
		err = n.say(ctx, p)
	}
	if got.Pending {
		h.Done, h.Until = true, time.Now().Add(n.parts.time).UTC()
		err = errors.Join(err, n.putHold(key, h))
	} else {
		err = errors.Join(err, n.dropHold(key))
	}
	return Deployed{got.Repo, got.Time, got.At}, err
}

// errHolderGone says that who uploaded a part may not publish it any more.
var errHolderGone = errors.New("may not publish any more")

// holderOf returns what is remembered of who uploads a part.
func (n *Node) holderOf(who *access.Caller) (holder, error) {
	h := holder{Name: who.Name(), Token: who.TokenID()}
	if who.User() == "" {
		return h, nil
	}
	id, _, err := n.identity(events.KeyUser(who.User()))
	h.User, h.Since = true, id.Since.Event
	return h, err
}

// stillHolds reports whether who uploaded a part may still publish the version: nil,
// or errHolderGone, or why it is not known.
func (n *Node) stillHolds(h holder, p placing) error {
	if h.Name == p.who.Name() && h.Token == p.who.TokenID() {
		return nil // who asks is judged anyway
	}
	if !h.User {
		return nil // the operator, or somebody on this machine
	}
	id, ok, err := n.identity(events.KeyUser(h.Name))
	if err != nil {
		return err
	}
	u, is := userOf(id)
	if !ok || !is || id.Deleted || u.Disabled || id.Since.Event != h.Since {
		return errHolderGone
	}
	if h.Token != "" && !access.IsLocal(h.Token) {
		if t, ok, err := n.identity(events.KeyToken(h.Token)); err != nil {
			return err
		} else if !ok || t.Deleted {
			return errHolderGone
		}
	}
	need := access.Need{Action: access.Publish, Repo: p.repo.Name.String(), Module: p.mv.Path}
	if n.allow(access.UserCaller(access.Login{User: h.Name}), need) != nil {
		return errHolderGone
	}
	return nil
}

// restage returns the bytes of a held zip as a stage. Lost ones take the hold along,
// so that the zip can come again.
func (n *Node) restage(ctx context.Context, key string, p placing, h hold) (*blob.Stage, error) {
	f, ok, err := n.blobs.open(ctx, h.Zip.Blob)
	if err != nil {
		return nil, fmt.Errorf("zip of %v: %w", p.mv, err)
	}
	if !ok {
		return nil, errors.Join(fail(ErrUnavailable, "%v: the zip that was uploaded is lost at this node: upload it again", p.mv), n.dropHold(key))
	}
	defer f.Close()
	s, err := n.blobs.store.Stage(ctx, h.Zip.Blob.Size)
	if err != nil {
		return nil, storeFailed(err, "publish "+p.mv.String())
	}
	if _, err := io.Copy(s, io.NewSectionReader(f, 0, f.Size)); err != nil {
		s.Discard()
		return nil, storeFailed(err, "publish "+p.mv.String())
	}
	return s, nil
}
