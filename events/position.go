package events

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Mark is a place in one site's log: the entry with number Seq (1, 2, 3, … up to
// 2⁵³-1) in an epoch (1, 2, …). Marks of one site are ordered by epoch, then seq.
// The zero Mark is the place before the first entry. Its text form is
// "epoch/seq".
type Mark struct {
	Epoch uint32
	Seq   uint64
}

// Compare orders marks of one site.
func (m Mark) Compare(n Mark) int {
	return cmp.Or(cmp.Compare(m.Epoch, n.Epoch), cmp.Compare(m.Seq, n.Seq))
}

// IsZero reports whether m is the place before the first entry.
func (m Mark) IsZero() bool { return m == Mark{} }

func (m Mark) String() string { return string(m.append(nil)) }

func (m Mark) append(b []byte) []byte {
	b = strconv.AppendUint(b, uint64(m.Epoch), 10)
	return strconv.AppendUint(append(b, '/'), m.Seq, 10)
}

// MarshalText returns the text form of m.
func (m Mark) MarshalText() ([]byte, error) { return m.append(nil), nil }

// UnmarshalText parses "epoch/seq", both decimal without leading zeros.
func (m *Mark) UnmarshalText(b []byte) error {
	nums, err := parseNumbers(string(b), 2)
	if err == nil {
		*m, err = newMark(nums[0], nums[1])
	}
	if err != nil {
		return fmt.Errorf("mark %q %w", b, err)
	}
	return nil
}

func newMark(epoch, seq uint64) (Mark, error) {
	if epoch > maxEpoch || seq > maxSeq || (epoch == 0) != (seq == 0) {
		return Mark{}, errors.New("has an epoch or seq that is out of range")
	}
	return Mark{uint32(epoch), seq}, nil
}

// EventID names one event for ever: the entry that carries it and its place in
// there, counted from 0. Its text form is "site/epoch/seq/i".
type EventID struct {
	Site  Site
	Mark  Mark
	Index int
}

func (id EventID) String() string {
	if id.IsZero() {
		return ""
	}
	b := append([]byte(id.Site.s), '/')
	b = append(id.Mark.append(b), '/')
	return string(strconv.AppendInt(b, int64(id.Index), 10))
}

// IsZero reports whether id names no event.
func (id EventID) IsZero() bool { return id == EventID{} }

// Compare orders ids by site, then by place in its log.
func (id EventID) Compare(o EventID) int {
	return cmp.Or(id.Site.Compare(o.Site.s), id.Mark.Compare(o.Mark), cmp.Compare(id.Index, o.Index))
}

// MarshalText returns the text form of id.
func (id EventID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText parses "site/epoch/seq/i"; the empty text is no event.
func (id *EventID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = EventID{}
		return nil
	}
	v, err := ParseEventID(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}

// ParseEventID parses the text form of an event's id. The empty text is an
// error.
func ParseEventID(s string) (EventID, error) {
	siteText, rest, _ := strings.Cut(s, "/")
	site, err := ParseSite(siteText)
	if err != nil {
		return EventID{}, fmt.Errorf("event id %q: %w", s, err)
	}
	nums, err := parseNumbers(rest, 3)
	if err != nil {
		return EventID{}, fmt.Errorf("event id %q %w", s, err)
	}
	mark, err := newMark(nums[0], nums[1])
	if err == nil && (mark.IsZero() || nums[2] >= maxEntryEvents) {
		err = errors.New("has a number that is out of range")
	}
	if err != nil {
		return EventID{}, fmt.Errorf("event id %q %w", s, err)
	}
	return EventID{site, mark, int(nums[2])}, nil
}

// RepoID names a repository for ever: the id of the event that created it. A
// repository that is deleted and made anew under the same name is another one.
type RepoID struct{ EventID }

// ParseRepoID parses the text form of a repository's id.
func ParseRepoID(s string) (RepoID, error) {
	id, err := ParseEventID(s)
	return RepoID{id}, err
}

// Position is a place in a site's log together with the hash of the entry
// there, so that equal positions prove equal logs up to them.
type Position struct {
	Site Site   `json:"site"`
	Mark Mark   `json:"at"`
	Hash Digest `json:"hash"`
}

func (p Position) String() string {
	return p.Site.String() + "/" + p.Mark.String()
}

// parseNumbers parses n decimal numbers between slashes, each in its one plain
// form.
func parseNumbers(s string, n int) ([]uint64, error) {
	nums := make([]uint64, 0, 3)
	for p := range strings.SplitSeq(s, "/") {
		v, err := strconv.ParseUint(p, 10, 64)
		if err != nil || p[0] == '0' && p != "0" {
			return nil, fmt.Errorf("has %q where a plain decimal number is due", p)
		}
		nums = append(nums, v)
	}
	if len(nums) != n {
		return nil, fmt.Errorf("has %d numbers between slashes, not %d", len(nums), n)
	}
	return nums, nil
}
