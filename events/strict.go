package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

const (
	// maxDepth bounds the nesting of a value in a log.
	maxDepth = 16
	// maxObjectKeys bounds the fields of one object in a log; it keeps the
	// search for repeated keys linear in practice.
	maxObjectKeys = 64
)

// checkStrict reports why b is not one JSON value of the form that logs hold:
// valid UTF-8, no white space around tokens, nothing behind the value, every
// key lower-case ([a-z0-9_]) and used once in its object, no escapes that stand
// for half a character. encoding/json alone accepts the last key of several,
// any case, and mends broken text; two readers of one log could then differ.
func checkStrict(b []byte) error {
	if !utf8.Valid(b) {
		return errors.New("not valid UTF-8")
	}
	if !json.Valid(b) {
		return errors.New("not valid JSON")
	}
	s := scanner{b: b}
	if err := s.value(0); err != nil {
		return fmt.Errorf("at byte %d: %w", s.i, err)
	}
	if s.i != len(b) {
		return fmt.Errorf("at byte %d: bytes behind the value", s.i)
	}
	return nil
}

// A scanner walks a text that is known to be valid JSON.
type scanner struct {
	b []byte
	i int
}

func (s *scanner) value(depth int) error {
	if depth > maxDepth {
		return errors.New("nested too deeply")
	}
	switch s.b[s.i] {
	case '{':
		return s.object(depth)
	case '[':
		return s.array(depth)
	case '"':
		_, err := s.text()
		return err
	case ' ', '\t', '\n', '\r':
		return errors.New("white space between tokens")
	}
	for s.i < len(s.b) && !bytes.ContainsRune([]byte(",]} \t\r\n"), rune(s.b[s.i])) {
		s.i++
	}
	return nil
}

func (s *scanner) object(depth int) error {
	s.i++ // {
	var keys [][]byte
	for {
		switch s.b[s.i] {
		case '}':
			s.i++
			return nil
		case ',':
			s.i++
		}
		if s.b[s.i] != '"' {
			return errors.New("white space between tokens")
		}
		key, err := s.text()
		if err != nil {
			return err
		}
		if err := checkKey(key, keys); err != nil {
			return err
		}
		keys = append(keys, key)
		if s.b[s.i] != ':' {
			return errors.New("white space between tokens")
		}
		s.i++
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if c := s.b[s.i]; c != ',' && c != '}' {
			return errors.New("white space between tokens")
		}
	}
}

func (s *scanner) array(depth int) error {
	s.i++ // [
	for {
		switch s.b[s.i] {
		case ']':
			s.i++
			return nil
		case ',':
			s.i++
		}
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if c := s.b[s.i]; c != ',' && c != ']' {
			return errors.New("white space between tokens")
		}
	}
}

// text passes over a string and returns what stands between its quotes.
func (s *scanner) text() ([]byte, error) {
	start := s.i + 1
	for s.i++; s.b[s.i] != '"'; s.i++ {
		if s.b[s.i] != '\\' {
			continue
		}
		s.i++
		if s.b[s.i] == 'u' {
			if err := s.escape(); err != nil {
				return nil, err
			}
		}
	}
	s.i++
	return s.b[start : s.i-1], nil
}

// escape passes over uXXXX of a \u escape, and over its second half if it is a
// surrogate pair.
func (s *scanner) escape() error {
	r := hex4(s.b[s.i+1 : s.i+5])
	s.i += 4
	if r < 0xD800 || r > 0xDFFF {
		return nil
	}
	rest := s.b[s.i+1:]
	if r > 0xDBFF || len(rest) < 6 || rest[0] != '\\' || rest[1] != 'u' {
		return errors.New("half a surrogate pair")
	}
	if low := hex4(rest[2:6]); low < 0xDC00 || low > 0xDFFF {
		return errors.New("half a surrogate pair")
	}
	s.i += 6
	return nil
}

func hex4(b []byte) (r rune) {
	for _, c := range b {
		switch {
		case c <= '9':
			r = r<<4 | rune(c-'0')
		default:
			r = r<<4 | rune(c|0x20-'a'+10)
		}
	}
	return r
}

func checkKey(key []byte, seen [][]byte) error {
	if len(seen) >= maxObjectKeys {
		return fmt.Errorf("more than %d keys in one object", maxObjectKeys)
	}
	for _, c := range key {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return fmt.Errorf("key %q is not lower-case", key)
		}
	}
	for _, k := range seen {
		if bytes.Equal(k, key) {
			return fmt.Errorf("key %q stands twice", key)
		}
	}
	return nil
}
