package events

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	// MaxEntry is the largest size of an entry in bytes. It leaves room for
	// headers below the 1 MiB that a NATS message may have.
	MaxEntry = 768 << 10

	entryVersion   = 1
	maxEntryEvents = 4096
	maxEpoch       = 1<<32 - 1
)

// Entry is the unit of a log: the events that one site appended together. An
// Entry comes from DecodeEntry or Draft.Seal and is not changed afterwards.
type Entry struct {
	Registry Digest
	Position Position // where it stands, with the hash of Raw
	Time     time.Time
	Prev     Digest // hash of the entry before it, see Draft
	Events   []Event
	Raw      []byte // the stored bytes; what is hashed, signed and sent
}

// Draft is an entry that is not signed yet.
type Draft struct {
	Registry Digest
	Site     Site
	Mark     Mark
	Time     time.Time // kept to the millisecond, in UTC
	// Prev is the SHA-256 of the previous entry's bytes; for a site's first
	// entry that of its joining event, for the first site the registry's id.
	Prev   Digest
	Bodies []Body
}

// wireEntry is the stored form. The order of its fields is the order in the
// log; sig is last, so that it signs all bytes before it.
type wireEntry struct {
	V        int         `json:"v"`
	Registry Digest      `json:"registry"`
	Site     Site        `json:"site"`
	Epoch    uint32      `json:"epoch"`
	Seq      uint64      `json:"seq"`
	Time     time.Time   `json:"time"`
	Prev     Digest      `json:"prev"`
	Events   []wireEvent `json:"events"`
	Sig      []byte      `json:"sig,omitempty"`
}

type wireEvent struct {
	Type Type            `json:"type"`
	Data json.RawMessage `json:"data"`
}

// ErrTooLarge is the error of Seal for a draft whose entry would exceed
// MaxEntry or hold too many events.
var ErrTooLarge = errors.New("entry is too large")

// Seal encodes and signs the draft. It fails if a body is not well-formed, and
// with ErrTooLarge.
func (d Draft) Seal(key ed25519.PrivateKey) (Entry, error) {
	w := wireEntry{
		V: entryVersion, Registry: d.Registry, Site: d.Site, Epoch: d.Mark.Epoch, Seq: d.Mark.Seq,
		Time: d.Time.UTC().Truncate(time.Millisecond), Prev: d.Prev,
	}
	if len(d.Bodies) > maxEntryEvents {
		return Entry{}, fmt.Errorf("%d events: %w", len(d.Bodies), ErrTooLarge)
	}
	for _, b := range d.Bodies {
		data, err := EncodeBody(b)
		if err != nil {
			return Entry{}, err
		}
		w.Events = append(w.Events, wireEvent{b.Type(), data})
	}
	raw, err := encodeJSON(w)
	if err != nil {
		return Entry{}, fmt.Errorf("encode entry: %w", err)
	}
	raw = raw[:len(raw)-1] // the closing brace comes after the signature
	raw = append(raw, sigKey...)
	raw = base64.StdEncoding.AppendEncode(raw, ed25519.Sign(key, raw[:len(raw)-len(sigKey)]))
	raw = append(raw, sigEnd...)
	if len(raw) > MaxEntry {
		return Entry{}, fmt.Errorf("%d bytes: %w", len(raw), ErrTooLarge)
	}
	return DecodeEntry(raw)
}

// EncodeBody returns the data of an event that states b, or why b is not
// well-formed.
func EncodeBody(b Body) (json.RawMessage, error) {
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", b.Type(), err)
	}
	return encodeJSON(b)
}

func encodeJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

const (
	sigKey = `,"sig":"`
	sigEnd = `"}`
	sigLen = 88 // base64 of 64 bytes
)

// splitSig returns the signed part of an entry's bytes and its signature. An
// entry ends exactly in `,"sig":"…"}`.
func splitSig(raw []byte) (signed, sig []byte, err error) {
	n := len(raw) - len(sigEnd) - sigLen - len(sigKey)
	if n <= 0 || string(raw[n:n+len(sigKey)]) != sigKey || !bytes.HasSuffix(raw, []byte(sigEnd)) {
		return nil, nil, errors.New("does not end in a signature")
	}
	sig, err = base64.StdEncoding.Strict().DecodeString(string(raw[n+len(sigKey) : n+len(sigKey)+sigLen]))
	if err != nil || len(sig) != ed25519.SignatureSize {
		return nil, nil, errors.New("signature is not the base64 of 64 bytes")
	}
	return raw[:n], sig, nil
}

// DecodeEntry decodes the stored bytes of an entry, strictly: repeated, unknown
// in case or mixed-case keys, invalid UTF-8, trailing bytes and data that is not
// well-formed for its type are errors. It does not verify the signature: that
// takes the site's key, see Verify. The Entry keeps raw.
func DecodeEntry(raw []byte) (Entry, error) {
	if len(raw) > MaxEntry {
		return Entry{}, fmt.Errorf("entry of %d bytes: %w", len(raw), ErrTooLarge)
	}
	if err := checkStrict(raw); err != nil {
		return Entry{}, fmt.Errorf("entry: %w", err)
	}
	if _, _, err := splitSig(raw); err != nil {
		return Entry{}, fmt.Errorf("entry: %w", err)
	}
	var w wireEntry
	if err := json.Unmarshal(raw, &w); err != nil {
		return Entry{}, fmt.Errorf("entry: %w", err)
	}
	if err := w.check(); err != nil {
		return Entry{}, fmt.Errorf("entry %s/%d/%d: %w", w.Site, w.Epoch, w.Seq, err)
	}
	e := Entry{
		Registry: w.Registry,
		Position: Position{w.Site, Mark{w.Epoch, w.Seq}, DigestOf(raw)},
		Time:     w.Time.UTC(),
		Prev:     w.Prev,
		Raw:      raw,
	}
	for i, we := range w.Events {
		b, err := decodeBody(we.Type, we.Data)
		if err != nil {
			return Entry{}, fmt.Errorf("entry %v, event %d: %w", e.Position, i, err)
		}
		id := EventID{w.Site, e.Position.Mark, i}
		e.Events = append(e.Events, Event{ID: id, Time: e.Time, Type: we.Type, Data: we.Data, Body: b})
	}
	return e, nil
}

func (w *wireEntry) check() error {
	switch {
	case w.V != entryVersion:
		return fmt.Errorf("entry format %d is not known to this version; upgrade this node", w.V)
	case w.Registry.IsZero():
		return errors.New("no registry")
	case w.Site.IsZero():
		return errors.New("no site")
	case w.Epoch == 0 || w.Seq == 0:
		return errors.New("epoch and seq start at 1")
	case w.Prev.IsZero():
		return errors.New("no hash of the entry before")
	case w.Time.IsZero() || w.Time.Location() != time.UTC || !w.Time.Truncate(time.Millisecond).Equal(w.Time):
		return errors.New("time is not in UTC to the millisecond")
	case len(w.Events) == 0 || len(w.Events) > maxEntryEvents:
		return fmt.Errorf("%d events, want 1 to %d", len(w.Events), maxEntryEvents)
	}
	for i, e := range w.Events {
		if err := checkType(e.Type); err != nil {
			return fmt.Errorf("event %d: %w", i, err)
		}
		if len(e.Data) == 0 || e.Data[0] != '{' {
			return fmt.Errorf("event %d: data is not an object", i)
		}
	}
	return nil
}

// Verify reports whether the entry is signed by key.
func (e Entry) Verify(key ed25519.PublicKey) error {
	signed, sig, err := splitSig(e.Raw)
	if err != nil || len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, signed, sig) {
		return fmt.Errorf("entry %v: not signed by the key of site %s", e.Position, e.Position.Site)
	}
	return nil
}

// Follows reports why e can't be the entry right after prev in its log: another
// registry or site, a gap, a broken chain, or a clock that went back. For a
// site's first entry prev has the zero Mark, and its hash is what Draft.Prev
// says. A new epoch goes on counting where its base ended.
func (e Entry) Follows(registry Digest, prev Position, prevTime time.Time) error {
	p := e.Position
	switch {
	case e.Registry != registry:
		return fmt.Errorf("entry %v belongs to registry %v, not %v", p, e.Registry, registry)
	case p.Site != prev.Site:
		return fmt.Errorf("entry %v is of site %s, not %s", p, p.Site, prev.Site)
	case p.Mark.Seq != prev.Mark.Seq+1:
		return fmt.Errorf("entry %v does not follow %v: a gap or a repetition", p, prev)
	case p.Mark.Epoch < prev.Mark.Epoch || p.Mark.Epoch > max(prev.Mark.Epoch, 1) && p.Mark.Epoch != prev.Mark.Epoch+1:
		return fmt.Errorf("entry %v does not follow %v: wrong epoch", p, prev)
	case e.Prev != prev.Hash:
		return fmt.Errorf("entry %v does not follow %v: its chain names %v, not %v", p, prev, e.Prev, prev.Hash)
	case e.Time.Before(prevTime):
		return fmt.Errorf("entry %v is older than the entry before it", p)
	}
	return nil
}

// Unknown returns the first event type in e that this version of the code does
// not know, and whether there is one.
func (e Entry) Unknown() (Type, bool) {
	for _, ev := range e.Events {
		if ev.Body == nil {
			return ev.Type, true
		}
	}
	return "", false
}
