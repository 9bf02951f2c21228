package replication

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"registry-node/events"
)

// WireVersion is the version of the messages between sites. Each says it as its
// field "v", and a message of another version is refused with an error that says
// which site to upgrade. Fields that are not known are ignored, so that adding
// one needs no new version.
const WireVersion = 1

// The bounds of messages. Encode checks the same as Decode, so no site sends
// what its peers refuse.
const (
	// MaxAnswer is how many bytes of entries a LogAnswer should hold: whoever
	// makes one stops after the entry that reaches it.
	MaxAnswer = 4 << 20
	// MaxList is the largest number of elements of a list.
	MaxList = 4096

	maxReasons = 16
	maxReason  = 512     // bytes of one reason
	maxName    = 256     // bytes of ids, operations, actors, codes, program versions
	maxText    = 4 << 10 // bytes of an explanation, a module path, a version
	maxBody    = 1 << 20 // bytes of a proposal or of what came of it
	maxPrefix  = 4 << 10 // bytes of a key or of a prefix of keys
)

// A Message is one of this package's types that travels between sites; the set
// is closed.
type Message interface {
	check() error
}

// Encode returns the bytes of a message, or why it is not well-formed.
func Encode[M Message](m M) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("encode %T: %w", m, err)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("encode %T: %w", m, err)
	}
	body := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))[1:] // without {
	out := fmt.Appendf(make([]byte, 0, len(body)+8), `{"v":%d`, WireVersion)
	if len(body) > 1 {
		out = append(out, ',')
	}
	out = append(out, body...)
	if t, ok := any(m).(interface{ entries() [][]byte }); ok {
		out = appendEntries(out, t.entries())
	}
	if len(out) > MaxMessage {
		return nil, fmt.Errorf("encode %T: %d bytes are more than the %d of a message", m, len(out), MaxMessage)
	}
	return out, nil
}

// Decode is the inverse of Encode. What it returns is well-formed and shares
// memory with b at most in entries. The error is a *VersionError for a message of
// another version.
func Decode[M Message](b []byte) (M, error) {
	var m, none M
	if err := decode(b, &m); err != nil {
		return none, fmt.Errorf("decode %T: %w", m, err)
	}
	return m, nil
}

func decode[M Message](b []byte, m *M) error {
	if len(b) > MaxMessage {
		return fmt.Errorf("%d bytes are more than the %d of a message", len(b), MaxMessage)
	}
	head := b
	carrier, hasEntries := any(m).(interface{ setEntries([][]byte) })
	if hasEntries {
		var tail []byte
		var found bool
		if head, tail, found = bytes.Cut(b, []byte("\n")); !found {
			return errors.New("has no line that ends before the entries")
		}
		entries, err := splitEntries(tail)
		if err != nil {
			return err
		}
		carrier.setEntries(entries)
	}
	var v struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(head, &v); err != nil {
		return err
	}
	if v.V != WireVersion {
		return &VersionError{Version: v.V}
	}
	if err := json.Unmarshal(head, m); err != nil {
		return err
	}
	return (*m).check()
}

// VersionError says that a message is of a version that this program does not
// know.
type VersionError struct{ Version int }

func (e *VersionError) Error() string {
	if e.Version > WireVersion {
		return fmt.Sprintf("message has version %d, this program knows %d: upgrade this site", e.Version, WireVersion)
	}
	return fmt.Sprintf("message has version %d, this program knows %d: upgrade the site that sent it", e.Version, WireVersion)
}

// Sum is a state hash, or a hash over rows of the index. Its text form is 64
// lower-case hex digits. The zero Sum is the state of an empty log.
type Sum [32]byte

func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// MarshalText returns the text form of s.
func (s Sum) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// UnmarshalText parses the text form.
func (s *Sum) UnmarshalText(b []byte) error {
	if len(b) != 2*len(s) || bytes.ContainsAny(b, "ABCDEF") {
		return fmt.Errorf("state hash %.80q is not 64 lower-case hex digits", b)
	}
	if _, err := hex.Decode(s[:], b); err != nil {
		return fmt.Errorf("state hash %.80q: %w", b, err)
	}
	return nil
}

// DecideRequest asks the home of a name to decide (service "decide").
type DecideRequest struct {
	// ID is random and stays the same when the request is sent again, so that
	// nothing is decided twice.
	ID    string `json:"id"`
	Op    string `json:"op"`
	Actor string `json:"actor,omitempty"` // as the asking site calls who asked it, for messages
	// Credential is what who asked has shown, so that the home sees for itself who
	// it is; empty: the site speaks for itself. It is in no log.
	Credential string          `json:"credential,omitempty"`
	Deadline   time.Time       `json:"deadline,omitzero"` // by the asking site's clock
	Body       json.RawMessage `json:"body,omitempty"`    // what Op needs, at most 1 MiB
	// Seen are places in logs up to which the asking site has applied them: what was
	// to be read there, who decides is to know before it refuses.
	Seen []events.Position `json:"seen,omitempty"`
}

// DecideAnswer is what the home decided.
type DecideAnswer struct {
	Position events.Position `json:"position,omitzero"` // zero: nothing was appended
	Result   json.RawMessage `json:"result,omitempty"`  // at most 1 MiB
	Code     string          `json:"code,omitempty"`    // kind of error; empty if it was done
	Text     string          `json:"text,omitempty"`    // for a person
}

// Pulling is an interim answer to a DecideRequest: how many bytes of the blobs
// the home has.
type Pulling struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// PushRequest says: PUT this blob to me, I can't dial you (service "push").
type PushRequest struct {
	Digest events.Digest `json:"digest"`
	Size   int64         `json:"size"` // bytes
}

// PushAnswer says whether the asked site holds the blob and has sent it.
type PushAnswer struct {
	Held bool `json:"held"`
}

func (m DecideRequest) check() error {
	if m.ID == "" || m.Op == "" {
		return errors.New("needs an id and an operation")
	}
	return errors.Join(checkText("id", m.ID, maxName), checkText("op", m.Op, maxName),
		checkText("actor", m.Actor, maxName), checkLen("body", len(m.Body), maxBody), checkLen("seen", len(m.Seen), MaxList))
}

func (m DecideAnswer) check() error {
	return errors.Join(checkText("code", m.Code, maxName), checkText("text", m.Text, maxText),
		checkLen("result", len(m.Result), maxBody))
}

func (m Pulling) check() error {
	if m.Done < 0 || m.Total < 0 {
		return fmt.Errorf("%d of %d bytes", m.Done, m.Total)
	}
	return nil
}

func (m PushRequest) check() error {
	if m.Digest.IsZero() || m.Size < 0 {
		return fmt.Errorf("needs a digest and a size that is not %d", m.Size)
	}
	return nil
}

func (PushAnswer) check() error { return nil }

func checkLen(what string, n, most int) error {
	if n > most {
		return fmt.Errorf("%s has length %d, more than %d", what, n, most)
	}
	return nil
}

// checkText also refuses what would come out of JSON changed.
func checkText(what, s string, most int) error {
	if !utf8.ValidString(s) || strings.ContainsRune(s, utf8.RuneError) {
		return fmt.Errorf("%s %.80q is not valid UTF-8", what, s)
	}
	return checkLen(what, len(s), most)
}

func checkSite(s events.Site) error {
	if s.IsZero() {
		return errors.New("names no site")
	}
	return nil
}
