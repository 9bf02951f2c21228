package replication

import (
	"encoding/binary"
	"errors"
	"fmt"

	"registry-node/events"
)

// LogRequest asks for the entries of Site's log behind After (service "log").
// Any site can answer for any log.
type LogRequest struct {
	Site     events.Site `json:"site"`
	After    events.Mark `json:"after"`
	MaxBytes int         `json:"max_bytes"` // of entries, at most MaxAnswer
}

// LogAnswer has the raw entries that follow, in order and without a hole. There
// are none when the answering site has nothing further. Its bytes are a line of
// JSON, then for each entry its length as an unsigned varint (encoding/binary)
// and the entry as stored.
type LogAnswer struct {
	Head    events.Mark `json:"head"` // where that log ends at the answering site
	Entries [][]byte    `json:"-"`
}

// VersionRequest asks for what is known of one module version (service
// "version"). Whether it can name one is for the index to know.
type VersionRequest struct {
	Repo    events.RepoID `json:"repo"`
	Module  string        `json:"module"`
	Version string        `json:"version"`
}

// VersionAnswer has the raw entries, of any logs, with events about the version.
// Its bytes are like those of a LogAnswer.
type VersionAnswer struct {
	Entries [][]byte `json:"-"`
}

// SumRequest asks for hashes over what Site's log up to At put under keys that
// start with Prefix (service "sum"), so that two sites find the row in which they
// differ.
type SumRequest struct {
	Site   events.Site  `json:"site"`
	At     events.Mark  `json:"at"`
	Prefix events.Bytes `json:"prefix"`
}

// SumAnswer has either the children of the prefix or, where they are few, the
// rows below it.
type SumAnswer struct {
	OK       bool       `json:"ok"` // false: the answering site is not at At
	Children []SumChild `json:"children,omitempty"`
	Rows     []SumRow   `json:"rows,omitempty"`
}

// SumChild sums up the keys that start with the prefix and then Next.
type SumChild struct {
	Next byte `json:"next"`
	Rows int  `json:"rows"`
	Hash Sum  `json:"hash"`
}

// SumRow is one row of the index.
type SumRow struct {
	Key  events.Bytes `json:"key"`
	Hash Sum          `json:"hash"`
}

func (m LogRequest) check() error {
	if m.MaxBytes < 1 || m.MaxBytes > MaxAnswer {
		return fmt.Errorf("max_bytes %d is not between 1 and %d", m.MaxBytes, MaxAnswer)
	}
	return checkSite(m.Site)
}

func (m LogAnswer) check() error     { return checkEntries(m.Entries) }
func (m VersionAnswer) check() error { return checkEntries(m.Entries) }

func (m LogAnswer) entries() [][]byte     { return m.Entries }
func (m VersionAnswer) entries() [][]byte { return m.Entries }

func (m *LogAnswer) setEntries(e [][]byte)     { m.Entries = e }
func (m *VersionAnswer) setEntries(e [][]byte) { m.Entries = e }

func (m VersionRequest) check() error {
	if m.Repo.IsZero() {
		return errors.New("names no repository")
	}
	if m.Module == "" || m.Version == "" {
		return errors.New("names no module or no version")
	}
	return errors.Join(checkText("module", m.Module, maxText), checkText("version", m.Version, maxText))
}

func (m SumRequest) check() error {
	return errors.Join(checkSite(m.Site), checkLen("prefix", len(m.Prefix), maxPrefix))
}

func (m SumAnswer) check() error {
	err := errors.Join(checkLen("children", len(m.Children), 256), checkLen("rows", len(m.Rows), MaxList))
	for i, c := range m.Children {
		if c.Rows < 0 || i > 0 && m.Children[i-1].Next >= c.Next {
			return fmt.Errorf("child %d is out of order or has %d rows", c.Next, c.Rows)
		}
	}
	for _, r := range m.Rows {
		err = errors.Join(err, checkLen("key", len(r.Key), maxPrefix))
	}
	return err
}

func checkEntries(entries [][]byte) error {
	if err := checkLen("entries", len(entries), MaxList); err != nil {
		return err
	}
	for i, e := range entries {
		if len(e) == 0 || len(e) > MaxEntry {
			return fmt.Errorf("entry %d has %d bytes, not 1 to %d", i, len(e), MaxEntry)
		}
	}
	return nil
}

// appendEntries appends what stands behind the JSON of an answer with entries.
func appendEntries(b []byte, entries [][]byte) []byte {
	b = append(b, '\n')
	for _, e := range entries {
		b = append(binary.AppendUvarint(b, uint64(len(e))), e...)
	}
	return b
}

// splitEntries is the inverse of appendEntries, without the line feed. The
// entries share memory with b.
func splitEntries(b []byte) ([][]byte, error) {
	var entries [][]byte
	for len(b) > 0 {
		n, used := binary.Uvarint(b)
		if used <= 0 || n == 0 || n > MaxEntry || n > uint64(len(b)-used) {
			return nil, fmt.Errorf("entry %d has a length that is malformed or out of range", len(entries))
		}
		if len(entries) == MaxList {
			return nil, fmt.Errorf("has more than %d entries", MaxList)
		}
		end := used + int(n)
		entries = append(entries, b[used:end:end])
		b = b[end:]
	}
	return entries, nil
}
