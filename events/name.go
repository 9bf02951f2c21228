package events

import (
	"fmt"
	"strings"
)

// Site is the name of a site: a valid one, or the zero Site, which means none.
type Site struct{ name }

// RepoName is the name of a repository: a valid one, or the zero RepoName,
// which means none. It is what people and URLs say; events and records say
// RepoID.
type RepoName struct{ name }

// ParseSite returns the site called s, or an error that says what is wrong.
func ParseSite(s string) (Site, error) {
	if err := checkName(s); err != nil {
		return Site{}, fmt.Errorf("site name %w", err)
	}
	return Site{name{s}}, nil
}

// ParseRepoName returns the repository name s, or an error that says what is
// wrong. Repository names have the grammar of site names.
func ParseRepoName(s string) (RepoName, error) {
	if err := checkName(s); err != nil {
		return RepoName{}, fmt.Errorf("repository name %w", err)
	}
	return RepoName{name{s}}, nil
}

// A name is a text of the grammar [a-z0-9][a-z0-9-]{0,31}, or empty.
type name struct{ s string }

func (n name) String() string { return n.s }

// IsZero reports whether the name is none.
func (n name) IsZero() bool { return n.s == "" }

// Compare orders names by their bytes.
func (n name) Compare(m string) int { return strings.Compare(n.s, m) }

// MarshalText returns the name itself.
func (n name) MarshalText() ([]byte, error) { return []byte(n.s), nil }

// UnmarshalText accepts a name of the grammar, or the empty text.
func (n *name) UnmarshalText(b []byte) error {
	if len(b) > 0 {
		if err := checkName(string(b)); err != nil {
			return fmt.Errorf("name %w", err)
		}
	}
	n.s = string(b)
	return nil
}

const maxName = 32

func checkName(s string) error {
	if s == "" {
		return fmt.Errorf("is empty")
	}
	if len(s) > maxName {
		return fmt.Errorf("%q is longer than %d characters", s, maxName)
	}
	for i, r := range []byte(s) {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' && i > 0 {
			continue
		}
		return fmt.Errorf("%q may only have a-z, 0-9 and, not first, -", s)
	}
	return nil
}
