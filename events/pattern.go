package events

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// Pattern matches module paths: a valid pattern, or the zero Pattern, which
// matches nothing. It is written as elements between slashes; in an element *
// stands for any characters and ? for one, and an element ** for any number of
// elements, none included. A pattern that matches the leading elements of a
// path matches the path, so corp.example, corp.example/** and corp.example/*
// all match corp.example/a/v2, and corp.example/x also matches its /v2.
type Pattern struct{ s string }

const (
	maxPattern      = 256
	maxPatternStars = 3 // each multiplies the work of a match by the path's length
)

// ParsePattern returns the pattern s, or why it is none.
func ParsePattern(s string) (Pattern, error) {
	if err := checkPattern(s); err != nil {
		return Pattern{}, fmt.Errorf("pattern %q %w", s, err)
	}
	return Pattern{s}, nil
}

func checkPattern(s string) error {
	if s == "" || len(s) > maxPattern {
		return fmt.Errorf("is empty or longer than %d characters", maxPattern)
	}
	if strings.Count(s, "**") > maxPatternStars {
		return fmt.Errorf("has ** more than %d times", maxPatternStars)
	}
	for elem := range strings.SplitSeq(s, "/") {
		switch {
		case elem == "":
			return errors.New("has an empty element; write it without leading, trailing or double slashes")
		case elem != "**" && strings.Contains(elem, "**"):
			return errors.New("has ** beside other characters; it stands for whole elements")
		}
		for _, c := range []byte(elem) {
			if c <= ' ' || c >= 0x7f || strings.IndexByte(`\[]{}!,;'"|`, c) >= 0 {
				return fmt.Errorf("has the character %q, which no module path has", c)
			}
		}
	}
	return nil
}

func (p Pattern) String() string { return p.s }

// MarshalText returns the pattern as it was written.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.s), nil }

// UnmarshalText parses a pattern.
func (p *Pattern) UnmarshalText(b []byte) error {
	v, err := ParsePattern(string(b))
	if err != nil {
		return err
	}
	*p = v
	return nil
}

// Match reports whether the pattern matches modulePath or its leading elements.
func (p Pattern) Match(modulePath string) bool {
	return p.s != "" && matchElems(p.s, modulePath)
}

// matchElems matches elements between slashes; an empty pattern matches all, an
// empty text has no elements.
func matchElems(pattern, elems string) bool {
	for pattern != "" {
		var p, elem string
		p, pattern, _ = strings.Cut(pattern, "/")
		if p == "**" {
			return matchTail(pattern, elems)
		}
		if elems == "" {
			return false
		}
		elem, elems, _ = strings.Cut(elems, "/")
		if ok, err := path.Match(p, elem); err != nil || !ok {
			return false
		}
	}
	return true
}

// matchTail reports whether the pattern matches from any of the elements on, or
// after the last.
func matchTail(pattern, elems string) bool {
	for {
		if matchElems(pattern, elems) {
			return true
		}
		if elems == "" {
			return false
		}
		_, elems, _ = strings.Cut(elems, "/")
	}
}

// MatchAny reports whether one of the patterns matches modulePath.
func MatchAny(patterns []Pattern, modulePath string) bool {
	for _, p := range patterns {
		if p.Match(modulePath) {
			return true
		}
	}
	return false
}
