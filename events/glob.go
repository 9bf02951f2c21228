package events

import (
	"fmt"
	"path"
	"strings"
)

// Glob matches the URL of a version control repository in the manner of Ant: a
// valid glob, or the zero Glob, which matches nothing. Its elements stand between
// slashes; in an element * stands for any characters and ? for one, and an element
// ** for any number of elements, none included. All of the URL must match. It is
// written with or without a scheme; without one any scheme matches:
// github.com/corp/**, https://git.example/*/mod, **.
type Glob struct{ s string }

// ParseGlob returns the glob s, or why it is none.
func ParseGlob(s string) (Glob, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "https", s
	}
	if strings.ContainsAny(scheme, "*?/:") {
		return Glob{}, fmt.Errorf("pattern %q has the scheme %q; leave it out to match all", s, scheme)
	}
	if err := checkPattern(rest); err != nil {
		return Glob{}, fmt.Errorf("pattern %q %w", s, err)
	}
	return Glob{s}, nil
}

func (g Glob) String() string { return g.s }

// MarshalText returns the glob as it was written.
func (g Glob) MarshalText() ([]byte, error) { return []byte(g.s), nil }

// UnmarshalText is ParseGlob.
func (g *Glob) UnmarshalText(b []byte) error {
	v, err := ParseGlob(string(b))
	*g = v
	return err
}

// Match reports whether the glob matches the whole of a URL without credentials
// and query, such as https://github.com/corp/mod. Scheme and host match in any
// case of letters.
func (g Glob) Match(url string) bool {
	if g.s == "" {
		return false
	}
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		scheme, rest = "", url
	}
	pattern := g.s
	if want, after, ok := strings.Cut(g.s, "://"); ok {
		if !strings.EqualFold(want, scheme) {
			return false
		}
		pattern = after
	}
	return matchWhole(lowerHost(pattern), strings.TrimSuffix(lowerHost(rest), "/"))
}

// lowerHost returns a URL without its scheme, with the first element in lower
// case.
func lowerHost(s string) string {
	host, rest, ok := strings.Cut(s, "/")
	if !ok {
		return strings.ToLower(s)
	}
	return strings.ToLower(host) + "/" + rest
}

// matchWhole matches elements between slashes, from the first to the last.
func matchWhole(pattern, elems string) bool {
	for pattern != "" {
		var p, elem string
		p, pattern, _ = strings.Cut(pattern, "/")
		if p == "**" {
			for {
				if matchWhole(pattern, elems) {
					return true
				}
				if elems == "" {
					return false
				}
				_, elems, _ = strings.Cut(elems, "/")
			}
		}
		if elems == "" {
			return false
		}
		elem, elems, _ = strings.Cut(elems, "/")
		if ok, err := path.Match(p, elem); err != nil || !ok {
			return false
		}
	}
	return elems == ""
}
