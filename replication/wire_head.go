package replication

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"registry-node/events"
)

// Announcement is what a site tells each peer about itself (notice "announce"):
// after every append and every second.
type Announcement struct {
	Site    events.Site `json:"site"`
	Version string      `json:"version"` // of the program
	Level   int         `json:"level"`   // of event types that the program understands
	Time    time.Time   `json:"time"`
	Logs    []LogState  `json:"logs"` // by site; what is synced at the sender
	// Origin is the furthest head signed by its origin that the sender knows, of
	// each site, its own included.
	Origin []SignedHead `json:"origin"`

	Peers        []events.Site `json:"peers"` // whom it hears now
	BlobsMissing int           `json:"blobs_missing"`
	BytesMissing int64         `json:"bytes_missing"`
	Conflicts    int           `json:"conflicts"`
	Writable     bool          `json:"writable"`
	FreeBytes    uint64        `json:"free_bytes"`
	TotalBytes   uint64        `json:"total_bytes"`
	Reasons      []string      `json:"reasons,omitempty"` // why it is not well; at most 16 of at most 512 bytes
}

// LogState says how far a site has got with one log.
type LogState struct {
	Position  events.Position `json:"position"`
	StateHash Sum             `json:"state_hash"` // of that log, at the position
	Blobs     events.Mark     `json:"blobs"`      // all wanted blobs of entries up to here are there
}

// SignedHead is what a site says about the end of its own log. Only its own word
// counts for that, so it is signed with the key of the log.
type SignedHead struct {
	Registry  events.Digest   `json:"registry"`
	Position  events.Position `json:"position"`
	StateHash Sum             `json:"state_hash"`
	Time      time.Time       `json:"time"` // to the millisecond
	Sig       events.Bytes    `json:"sig"`
}

// Sign returns h with its time cut to the millisecond and signed with the site's
// log key.
func (h SignedHead) Sign(key ed25519.PrivateKey) SignedHead {
	h.Time = h.Time.UTC().Truncate(time.Millisecond)
	h.Sig = ed25519.Sign(key, h.text())
	return h
}

// Verify reports why h is not the word of the site that holds the private key of
// pub.
func (h SignedHead) Verify(pub ed25519.PublicKey) error {
	if len(pub) != ed25519.PublicKeySize || !ed25519.Verify(pub, h.text(), h.Sig) {
		return fmt.Errorf("head %v: not signed by the key of site %v", h.Position, h.Position.Site)
	}
	return nil
}

// text is what is signed. Its first line keeps it apart from an entry, which
// starts with {, and from the texts that other keys sign.
func (h SignedHead) text() []byte {
	return fmt.Appendf(nil, "registry-node head 1\n%v\n%v\n%v\n%v\n%v\n%s\n", h.Registry, h.Position.Site,
		h.Position.Mark, h.Position.Hash, h.StateHash, h.Time.UTC().Format(time.RFC3339Nano))
}

// check does not verify: which key the site has is for the caller to know.
func (h SignedHead) check() error {
	switch {
	case h.Registry.IsZero():
		return errors.New("names no registry")
	case len(h.Sig) != ed25519.SignatureSize:
		return fmt.Errorf("signature has %d bytes", len(h.Sig))
	case !h.Time.Equal(h.Time.Truncate(time.Millisecond)):
		return errors.New("time is finer than a millisecond")
	}
	return checkPosition(h.Position)
}

func (m Announcement) check() error {
	if m.Level < 0 || m.BlobsMissing < 0 || m.BytesMissing < 0 || m.Conflicts < 0 {
		return errors.New("a count is negative")
	}
	errs := []error{checkSite(m.Site), checkText("version", m.Version, maxName), checkLen("logs", len(m.Logs), MaxList),
		checkLen("origin", len(m.Origin), MaxList), checkLen("peers", len(m.Peers), MaxList), checkLen("reasons", len(m.Reasons), maxReasons)}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, l := range m.Logs {
		errs = append(errs, checkPosition(l.Position))
		if i > 0 && m.Logs[i-1].Position.Site.Compare(l.Position.Site.String()) >= 0 {
			errs = append(errs, fmt.Errorf("log of %v is out of order or there twice", l.Position.Site))
		}
	}
	for _, h := range m.Origin {
		errs = append(errs, h.check())
	}
	for _, p := range m.Peers {
		errs = append(errs, checkSite(p))
	}
	for _, r := range m.Reasons {
		errs = append(errs, checkText("reason", r, maxReason))
	}
	return errors.Join(errs...)
}

// checkPosition refuses a position that could not be one: the hash is there
// exactly when there is an entry.
func checkPosition(p events.Position) error {
	if p.Mark.IsZero() != p.Hash.IsZero() {
		return fmt.Errorf("position %v has an entry without a hash or a hash without an entry", p)
	}
	return checkSite(p.Site)
}
