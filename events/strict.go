package events

import (
	"bytes"
	"encoding"
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
	// maxNumber bounds the size of a number in a log: what every reader of JSON
	// holds exactly, also one that knows floating point only (RFC 7493, 2.2).
	maxNumber = 1<<53 - 1
)

// A scanner reads one JSON text from front to back, once. It takes nothing but
// the form that logs hold, so that every reader of a log, in any language,
// reads the same:
//
//   - valid UTF-8, one value, no white space around tokens, nothing behind it;
//   - keys of [a-z0-9_], each once in its object, without escapes;
//   - in strings, escapes only for what can't stand for itself;
//   - numbers that are whole, without exponent, at most maxNumber, never -0;
//   - no null: what is not there is left out.
//
// encoding/json alone takes the last of several keys, any case, null for
// anything, and mends broken text.
type scanner struct {
	b     []byte
	i     int
	depth int
	keys  [][]byte // of all objects that are open, outermost first
}

// scan reads all of b with read, which reads one value.
func scan(b []byte, read func(*scanner) error) error {
	if !utf8.Valid(b) {
		return errors.New("not valid UTF-8")
	}
	s := scanner{b: b, keys: make([][]byte, 0, 16)}
	err := read(&s)
	if err == nil && s.i != len(b) {
		err = errors.New("bytes behind the value")
	}
	if err != nil {
		return fmt.Errorf("at byte %d: %w", s.i, err)
	}
	return nil
}

// next returns the byte that comes, 0 at the end: no token holds that.
func (s *scanner) next() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

func (s *scanner) unexpected(want string) error {
	switch c := s.next(); c {
	case 0:
		return fmt.Errorf("ends where %s is due", want)
	case ' ', '\t', '\n', '\r':
		return errors.New("white space between tokens")
	default:
		return fmt.Errorf("%q where %s is due", c, want)
	}
}

func (s *scanner) expect(c byte, want string) error {
	if s.next() != c {
		return s.unexpected(want)
	}
	s.i++
	return nil
}

// skip passes over one value of any kind.
func (s *scanner) skip() error {
	switch c := s.next(); c {
	case '{':
		return s.object(func([]byte) error { return s.skip() })
	case '[':
		return s.array(s.skip)
	case '"':
		_, err := s.text()
		return err
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return errors.New("null; what is not there is left out")
	}
	_, err := s.number()
	return err
}

// raw passes over one value and returns its bytes.
func (s *scanner) raw() ([]byte, error) {
	start := s.i
	err := s.skip()
	return s.b[start:s.i:s.i], err
}

// object reads an object. It calls field with each key; field reads the value.
func (s *scanner) object(field func(key []byte) error) error {
	if err := s.open('{', "an object"); err != nil {
		return err
	}
	outer := len(s.keys)
	for first := true; s.next() != '}'; first = false {
		if !first {
			if err := s.expect(',', "a comma or }"); err != nil {
				return err
			}
		}
		key, err := s.key(s.keys[outer:])
		if err != nil {
			return err
		}
		s.keys = append(s.keys, key)
		if err := field(key); err != nil {
			return err
		}
	}
	s.keys = s.keys[:outer]
	return s.close()
}

// array reads an array; elem reads each of its elements.
func (s *scanner) array(elem func() error) error {
	if err := s.open('[', "an array"); err != nil {
		return err
	}
	for first := true; s.next() != ']'; first = false {
		if !first {
			if err := s.expect(',', "a comma or ]"); err != nil {
				return err
			}
		}
		if err := elem(); err != nil {
			return err
		}
	}
	return s.close()
}

func (s *scanner) open(c byte, what string) error {
	if s.depth++; s.depth > maxDepth {
		return fmt.Errorf("nested more than %d deep", maxDepth)
	}
	return s.expect(c, what)
}

func (s *scanner) close() error {
	s.depth--
	s.i++
	return nil
}

// key reads a key and its colon; seen are the keys before it in its object.
func (s *scanner) key(seen [][]byte) ([]byte, error) {
	key, err := s.text()
	if err != nil {
		return nil, err
	}
	if len(key) == 0 || len(seen) == maxObjectKeys {
		return nil, fmt.Errorf("an empty key, or more than %d in one object", maxObjectKeys)
	}
	for _, c := range key {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return nil, fmt.Errorf("key %q may only have a-z, 0-9 and _", key)
		}
	}
	for _, k := range seen {
		if bytes.Equal(k, key) {
			return nil, fmt.Errorf("key %q stands twice", key)
		}
	}
	return key, s.expect(':', "a colon")
}

// text reads a string and returns what stands between its quotes, escapes as
// they are.
func (s *scanner) text() ([]byte, error) {
	if err := s.expect('"', "a string"); err != nil {
		return nil, err
	}
	start := s.i
	for {
		s.i += plainLen(s.b[s.i:])
		switch s.next() {
		case '"':
			s.i++
			return s.b[start : s.i-1 : s.i-1], nil
		case '\\':
			n := escape(s.b[s.i:])
			if n == 0 {
				return nil, errors.New("an escape for what can stand for itself")
			}
			s.i += n
		default:
			return nil, errors.New("a control character, or the end, within a string")
		}
	}
}

func plainLen(b []byte) int {
	for i, c := range b {
		if !plain[c] {
			return i
		}
	}
	return len(b)
}

// plain are the bytes that stand for themselves in a string.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return t
}()

// escape returns the length of the escape at the start of b, 0 if it is not one
// of those that a string needs: for quotes, backslashes and control characters,
// and for the line separators U+2028 and U+2029, which encoding/json escapes.
func escape(b []byte) int {
	if len(b) >= 2 && bytes.IndexByte([]byte(`"\bfnrt`), b[1]) >= 0 {
		return 2
	}
	if len(b) < 6 || b[1] != 'u' {
		return 0
	}
	code := b[2:6]
	switch {
	case string(code) == "2028" || string(code) == "2029":
		return 6
	case string(code[:2]) != "00" || code[2] != '0' && code[2] != '1':
		return 0
	case '0' <= code[3] && code[3] <= '9' || 'a' <= code[3] && code[3] <= 'f':
		return 6
	}
	return 0
}

// number reads a whole number.
func (s *scanner) number() (int64, error) {
	start, neg := s.i, s.next() == '-'
	if neg {
		s.i++
	}
	digits := s.i
	var n int64
	for c := s.next(); '0' <= c && c <= '9'; c = s.next() {
		if n = 10*n + int64(c-'0'); n > maxNumber {
			return 0, errors.New("a number that not every reader holds exactly")
		}
		s.i++
	}
	switch c := s.next(); {
	case s.i == start:
		return 0, s.unexpected("a value")
	case s.i == digits, c == '.', c == 'e', c == 'E', n == 0 && s.i-start > 1, n > 0 && s.b[digits] == '0':
		return 0, errors.New("a number that is not whole in its plain form")
	case neg:
		return -n, nil
	}
	return n, nil
}

func (s *scanner) word(w string) error {
	if !bytes.HasPrefix(s.b[s.i:], []byte(w)) {
		return s.unexpected("a value")
	}
	s.i += len(w)
	return nil
}

// str reads a string into p.
func (s *scanner) str(p *string) error {
	start := s.i
	text, err := s.text()
	if err != nil {
		return err
	}
	if bytes.IndexByte(text, '\\') >= 0 {
		return json.Unmarshal(s.b[start:s.i], p)
	}
	*p = string(text)
	return nil
}

// into reads a string into v, whose text form never needs an escape.
func (s *scanner) into(v encoding.TextUnmarshaler) error {
	text, err := s.text()
	if err != nil {
		return err
	}
	return v.UnmarshalText(text)
}

// integer reads a number into p.
func integer[T int | int64 | uint32 | uint64](s *scanner, p *T) error {
	n, err := s.number()
	if err == nil && (int64(T(n)) != n || n < 0 && T(n) > 0) {
		err = fmt.Errorf("number %d is out of range", n)
	}
	*p = T(n)
	return err
}
