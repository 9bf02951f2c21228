package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"registry-node/events"
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

// heldZip is a zip that has been checked and is a blob here.
type heldZip struct {
	Blob  events.Blob `json:"blob,omitzero"`
	H1    events.H1   `json:"h1,omitzero"`
	ModH1 events.H1   `json:"mod_h1,omitzero"` // of the go.mod in it
	By    holder      `json:"by,omitzero"`
	Also  []holder    `json:"also,omitempty"` // sent the same before
}

// heldMod is a go.mod. Its bytes are those in the zip, or it is refused.
type heldMod struct {
	H1     events.H1     `json:"h1,omitzero"`
	Digest events.Digest `json:"digest,omitzero"`
	By     holder        `json:"by,omitzero"`
}

// holdTime is how long a hold lasts after its last part.
const holdTime = 5 * time.Minute

// placing is a part that has been read and checked, on its way to where it belongs.
type placing struct {
	admission
	part    Part
	by      holder         // who sends it
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
	v, err := n.version(n.directory(), p.repo, p.mv)
	if err != nil {
		return Deployed{}, err
	}
	if v.Status == events.Held {
		return n.repeated(ctx, key, p, h, v)
	}
	if err := p.conflict(p.repo, v, p.content); err != nil {
		return Deployed{}, err
	}
	if p.part.File == events.InfoFile && !h.Done && p.part.InOrder {
		return Deployed{}, fail(ErrExists, "%v is not in repository %s yet: its zip and its go.mod come before its info", p.mv, p.repo.Name)
	}
	if h, err = n.joined(p, h); err != nil {
		return Deployed{}, err
	}
	if err := n.keepPart(ctx, key, &p, h, !ok, now); err != nil {
		return Deployed{}, err
	}
	if !h.whole() {
		return Deployed{Repo: p.repo.Name, Time: now}, nil
	}
	return n.complete(ctx, key, p, h)
}

// repeated answers a part of a version that is published already, here as far as this
// node knows; h is what is held of it.
func (n *Node) repeated(ctx context.Context, key string, p placing, h hold, v *events.Version) (Deployed, error) {
	c := &v.Contents[0]
	switch {
	case p.part.File == events.ZipFile:
		if err := p.conflict(p.repo, v, p.content); err != nil {
			return Deployed{}, err
		}
	case p.part.File == events.ModFile && p.content.ModH1 != c.ModH1:
		return Deployed{}, fail(ErrExists, "%v is in repository %s already with the go.mod %v, and this one is %v. A version can't be changed: publish another one", p.mv, p.repo.Name, c.ModH1, p.content.ModH1)
	}
	if p.part.File != events.ZipFile {
		if err := n.astray(key, p, h, c); err != nil {
			return Deployed{}, err
		}
	}
	of := events.Properties{p.part.File: p.part.Properties}
	mine := h.of(c)
	if mine && !h.Done {
		of = maps.Clone(h.Properties)
		if of == nil {
			of = events.Properties{}
		}
		of[p.part.File] = p.part.Properties
	}
	if err := n.say(ctx, p, of); err != nil {
		return Deployed{}, err
	}
	err := n.outOfTheWay(key, p, h, mine)
	return Deployed{Repo: p.repo.Name, Time: c.First.Time, At: positionOf(c.First.Event)}, err
}

// astray refuses what belongs to a zip that this caller has uploaded, if another one
// was published then: who uploads must hear that, although the go.mod is the same.
func (n *Node) astray(key string, p placing, h hold, c *events.HeldContent) error {
	sent := h.Zip.H1
	if !h.Zip.sentBy(p.by) {
		z, _, err := n.endedOf(key, p.by)
		if err != nil {
			return err
		}
		sent = z.H1
	}
	if sent.IsZero() || sent == c.ZipH1 {
		return nil
	}
	return fail(ErrExists, "%v is in repository %s already with other content: %v, published at %s at site %s; the zip that you uploaded is %v, and was not published. A version can't be changed: publish another one",
		p.mv, p.repo.Name, c.ZipH1, c.First.Time.Format(time.RFC3339), c.First.Event.Site, sent)
}

// outOfTheWay ends what is held of a version that is published with just that, mine,
// and what the caller uploaded before the zip that it sends now.
func (n *Node) outOfTheWay(key string, p placing, h hold, mine bool) error {
	if p.part.File == events.ZipFile {
		if err := n.forgetEnded(key, p.by); err != nil {
			return err
		}
	}
	switch {
	case mine:
		return n.dropHold(key)
	case p.part.File != events.ZipFile || !h.Zip.sentBy(p.by):
		return nil
	}
	rest, others := h.Zip.without(p.by)
	if !others {
		return n.dropHold(key)
	}
	h.Zip = rest
	return n.putHold(key, h)
}

// whole reports whether all is held that a version takes.
func (h hold) whole() bool { return !h.Zip.H1.IsZero() && !h.Mod.H1.IsZero() }

// of reports whether something is held, and it is of this content.
func (h hold) of(c *events.HeldContent) bool {
	return !h.Until.IsZero() && (h.Zip.H1.IsZero() || h.Zip.H1 == c.ZipH1) && (h.Mod.H1.IsZero() || h.Mod.H1 == c.ModH1)
}

// say has properties of files recorded of a version that is published. What there is
// no room for is not: who sends the same bytes again has it there nevertheless.
func (n *Node) say(ctx context.Context, p placing, of events.Properties) error {
	for _, file := range slices.Sorted(maps.Keys(of)) {
		if len(of[file]) == 0 {
			continue
		}
		err := n.SetProperties(ctx, p.who, PropertyChange{Repo: p.repo.Name, Version: p.mv, File: file, Set: of[file]})
		if errors.Is(err, ErrTooLarge) {
			n.logger.Warn("properties of a file that was uploaded again are not recorded", "repository", p.repo.Name, "version", p.mv, "file", file, "error", err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// joined returns what is held with the part, or why it does not go with the rest.
func (n *Node) joined(p placing, h hold) (hold, error) {
	var before []holder
	var was, is events.H1
	switch zip := p.part.File == events.ZipFile; {
	case zip && !h.Zip.H1.IsZero() && h.Zip.H1 != p.content.ZipH1:
		before, was, is = h.Zip.senders(), h.Zip.H1, p.content.ZipH1
	case zip && !h.Mod.H1.IsZero() && h.Mod.H1 != p.content.ModH1:
		before, was, is = []holder{h.Mod.By}, h.Mod.H1, p.content.ModH1
	case p.part.File == events.ModFile && !h.Zip.H1.IsZero() && h.Zip.ModH1 != p.content.ModH1:
		before, was, is = h.Zip.senders(), h.Zip.ModH1, p.content.ModH1
	case p.part.File == events.ModFile && !h.Mod.H1.IsZero() && h.Mod.H1 != p.content.ModH1:
		before, was, is = []holder{h.Mod.By}, h.Mod.H1, p.content.ModH1
	}
	if !was.IsZero() {
		by, err := n.stillHolds(before, p)
		if err == nil {
			return h, fail(ErrExists, "%v in repository %s is being uploaded with other content, by %s: what is held until %s is %v, and this is %v. If that is not you, publish another version; else try again after that",
				p.mv, p.repo.Name, by.Name, h.Until.Format("15:04:05 MST"), was, is)
		}
		if !errors.Is(err, errHolderGone) {
			return h, err
		}
		h = hold{}
	}
	if h.By == "" {
		h.By = p.by.Name
	}
	switch p.part.File {
	case events.ZipFile:
		z := heldZip{Blob: events.Blob{Digest: p.zip.Digest(), Size: p.zip.Size()}, H1: p.content.ZipH1, ModH1: p.content.ModH1, By: p.by}
		h.Zip = z.with(h.Zip)
	case events.ModFile:
		h.Mod = heldMod{p.content.ModH1, p.digest, p.by}
	}
	// What a part says of its file takes the place of what was said before, also if
	// it says nothing.
	h.Properties = maps.Clone(h.Properties)
	delete(h.Properties, p.part.File)
	if len(p.part.Properties) > 0 {
		if h.Properties == nil {
			h.Properties = events.Properties{}
		}
		h.Properties[p.part.File] = p.part.Properties
	}
	return h, nil
}

// keepPart makes the part durable: the zip's blob, then the row that names it. No
// sweep comes between the two. A part with which the version is whole gives the hold
// no more time: it is published, or its request fails.
func (n *Node) keepPart(ctx context.Context, key string, p *placing, h hold, isNew bool, now time.Time) error {
	if !h.whole() {
		h.Until = now.Add(n.parts.time).UTC()
	}
	n.blobs.admitting.RLock()
	defer n.blobs.admitting.RUnlock()
	before, err := n.parts.reserve(key, h, isNew)
	if err != nil {
		return err
	}
	if p.zip != nil {
		err = n.keep(&p.admission)
	}
	if err == nil {
		err = n.putHold(key, h)
	}
	if err != nil {
		n.parts.unreserve(key, before)
		return err
	}
	n.loosen(before)
	if p.zip != nil {
		return n.forgetEnded(key, p.by)
	}
	return nil
}

// complete publishes a version of which zip and go.mod are held. What keeps it from
// being published now, and may not in a while, leaves the hold: the last part again
// completes it. Other failures leave it too, so that each repetition fails as well,
// until it expires.
func (n *Node) complete(ctx context.Context, key string, p placing, h hold) (Deployed, error) {
	if by, err := n.stillHolds(h.Zip.senders(), p); errors.Is(err, errHolderGone) {
		return Deployed{}, errors.Join(because(err, ErrForbidden, "%v: its zip was uploaded by %s, who may not publish it any more: upload it again", p.mv, by.Name), n.endHold(key, h))
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
		err = n.say(ctx, p, h.Properties)
	}
	if got.Pending {
		h.Done, h.Until = true, time.Now().Add(n.parts.time).UTC()
		err = errors.Join(err, n.putHold(key, h))
	} else {
		err = errors.Join(err, n.dropHold(key))
	}
	return Deployed{Repo: got.Repo, Time: got.Time, At: got.At}, err
}

// restage returns the bytes of a held zip as a stage. Lost ones take the hold along,
// so that the zip can come again.
func (n *Node) restage(ctx context.Context, key string, p placing, h hold) (*blob.Stage, error) {
	f, ok, err := n.blobs.open(ctx, h.Zip.Blob)
	if err != nil {
		return nil, fmt.Errorf("zip of %v: %w", p.mv, err)
	}
	if !ok {
		return nil, errors.Join(fail(ErrUnavailable, "%v: the zip that was uploaded is lost at this node: upload it again", p.mv), n.endHold(key, h))
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
