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
	maxSeq         = maxNumber

	// timeLayout is the one form of an entry's time: UTC, to the millisecond.
	timeLayout = "2006-01-02T15:04:05.000Z"
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
	Time     time.Time // kept down to the millisecond, in UTC
	// Prev is the SHA-256 of the previous entry's bytes; for a site's first
	// entry that of its joining event, for the first site the registry's id.
	Prev   Digest
	Bodies []Body
}

// ErrTooLarge is the error of Seal for a draft whose entry would exceed
// MaxEntry or hold too many events.
var ErrTooLarge = errors.New("entry is too large")

// Seal encodes and signs the draft. It fails if a field or a body is not
// well-formed, and with ErrTooLarge.
func (d Draft) Seal(key ed25519.PrivateKey) (Entry, error) {
	if len(d.Bodies) > maxEntryEvents {
		return Entry{}, fmt.Errorf("%d events: %w", len(d.Bodies), ErrTooLarge)
	}
	// The order of the fields is the order in every log. sig is last, so that it
	// signs all bytes before it.
	raw := fmt.Appendf(nil, `{"v":%d,"registry":"%v","site":"%v","epoch":%d,"seq":%d,"time":"%s","prev":"%v","events":[`,
		entryVersion, d.Registry, d.Site, d.Mark.Epoch, d.Mark.Seq, d.Time.UTC().Format(timeLayout), d.Prev)
	for i, b := range d.Bodies {
		data, err := EncodeBody(b)
		if err != nil {
			return Entry{}, err
		}
		if i > 0 {
			raw = append(raw, ',')
		}
		raw = fmt.Appendf(raw, `{"type":"%s","data":%s}`, b.Type(), data)
	}
	raw = append(raw, ']')
	sig := ed25519.Sign(key, raw)
	raw = base64.StdEncoding.AppendEncode(append(raw, sigKey...), sig)
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
	sig, err = decodeBase64(raw[n+len(sigKey) : n+len(sigKey)+sigLen])
	if err != nil || len(sig) != ed25519.SignatureSize {
		return nil, nil, errors.New("signature is not the base64 of 64 bytes")
	}
	return raw[:n], sig, nil
}

// DecodeEntry decodes the stored bytes of an entry, strictly: what is not in
// the form that logs hold (see scanner) and data that is not well-formed for its
// type are errors. It does not verify the signature: that takes the site's key,
// see Verify. The Entry keeps raw, and its events' data lie in there.
func DecodeEntry(raw []byte) (Entry, error) {
	if len(raw) > MaxEntry {
		return Entry{}, fmt.Errorf("entry of %d bytes: %w", len(raw), ErrTooLarge)
	}
	e := Entry{Raw: raw}
	if err := scan(raw, e.read); err != nil {
		return Entry{}, fmt.Errorf("entry: %w", err)
	}
	if _, _, err := splitSig(raw); err != nil {
		return Entry{}, fmt.Errorf("entry: %w", err)
	}
	if err := e.check(); err != nil {
		return Entry{}, fmt.Errorf("entry %v: %w", e.Position, err)
	}
	e.Position.Hash = DigestOf(raw)
	for i := range e.Events {
		ev := &e.Events[i]
		ev.ID, ev.Time = EventID{e.Position.Site, e.Position.Mark, i}, e.Time
		var err error
		if ev.Body, err = decodeBody(ev.Type, ev.Data); err != nil {
			return Entry{}, fmt.Errorf("entry %v, event %d: %w", e.Position, i, err)
		}
	}
	return e, nil
}

// read reads the fields of an entry and passes over those it doesn't know. The
// signature is for splitSig.
func (e *Entry) read(s *scanner) error {
	version := 0
	err := s.object(func(key []byte) error {
		switch string(key) {
		case "v":
			return integer(s, &version)
		case "registry":
			return s.into(&e.Registry)
		case "site":
			return s.into(&e.Position.Site)
		case "epoch":
			return integer(s, &e.Position.Mark.Epoch)
		case "seq":
			return integer(s, &e.Position.Mark.Seq)
		case "time":
			return readTime(s, &e.Time)
		case "prev":
			return s.into(&e.Prev)
		case "events":
			return s.array(func() error { return e.readEvent(s) })
		}
		return s.skip()
	})
	if err == nil && version != entryVersion {
		return fmt.Errorf("entry format %d is not known to this version; upgrade this node", version)
	}
	return err
}

func (e *Entry) readEvent(s *scanner) error {
	if len(e.Events) == maxEntryEvents {
		return fmt.Errorf("more than %d events", maxEntryEvents)
	}
	var ev Event
	err := s.object(func(key []byte) (err error) {
		switch string(key) {
		case "type":
			return s.str((*string)(&ev.Type))
		case "data":
			ev.Data, err = s.raw()
			return err
		}
		return s.skip()
	})
	e.Events = append(e.Events, ev)
	return err
}

// readTime reads a time of the one form that logs have.
func readTime(s *scanner, t *time.Time) error {
	text, err := s.text()
	if err != nil {
		return err
	}
	*t, err = time.Parse(timeLayout, string(text))
	if err != nil || string(t.AppendFormat(nil, timeLayout)) != string(text) {
		return fmt.Errorf("time %q is not of the form %s", text, timeLayout)
	}
	return nil
}

func (e *Entry) check() error {
	switch {
	case e.Registry.IsZero():
		return errors.New("no registry")
	case e.Position.Site.IsZero():
		return errors.New("no site")
	case e.Position.Mark.Epoch == 0 || e.Position.Mark.Seq == 0:
		return errors.New("epoch and seq start at 1")
	case e.Prev.IsZero():
		return errors.New("no hash of the entry before")
	case e.Time.IsZero():
		return errors.New("no time")
	case len(e.Events) == 0:
		return errors.New("no events")
	}
	for i, ev := range e.Events {
		if err := checkType(ev.Type); err != nil {
			return fmt.Errorf("event %d: %w", i, err)
		}
		if len(ev.Data) == 0 || ev.Data[0] != '{' {
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
	case p.Mark.Epoch != prev.Mark.Epoch && p.Mark.Epoch != prev.Mark.Epoch+1:
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
