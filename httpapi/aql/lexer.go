package aql

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// lexer reads a text from its beginning to its end.
type lexer struct {
	text string
	at   int // bytes that were read
}

func (l *lexer) space() {
	for l.at < len(l.text) && strings.IndexByte(" \t\r\n", l.text[l.at]) >= 0 {
		l.at++
	}
}

// peek reports whether c comes next.
func (l *lexer) peek(c byte) bool {
	l.space()
	return l.at < len(l.text) && l.text[l.at] == c
}

// next reads c, if it comes next.
func (l *lexer) next(c byte) bool {
	if !l.peek(c) {
		return false
	}
	l.at++
	return true
}

func (l *lexer) end() bool {
	l.space()
	return l.at == len(l.text)
}

// word reads lower-case letters.
func (l *lexer) word() string {
	l.space()
	begin := l.at
	for l.at < len(l.text) && 'a' <= l.text[l.at] && l.text[l.at] <= 'z' {
		l.at++
	}
	return l.text[begin:l.at]
}

// str reads a text as JSON has it.
func (l *lexer) str() (s string, err error) {
	if !l.peek('"') {
		return "", fmt.Errorf(`here should be a text in "`)
	}
	for i := l.at + 1; i < len(l.text) && i-l.at <= maxString+1; i++ {
		switch l.text[i] {
		case '\\':
			i++
		case '"':
			if err := json.Unmarshal([]byte(l.text[l.at:i+1]), &s); err != nil {
				return "", fmt.Errorf("the text is not one of JSON")
			}
			l.at = i + 1
			return s, nil
		}
	}
	return "", fmt.Errorf("the text has no end, or is longer than %d bytes", maxString)
}

// scalar reads a text or a number.
func (l *lexer) scalar() (string, error) {
	if l.peek('"') {
		return l.str()
	}
	begin := l.at
	for l.at < len(l.text) && strings.IndexByte("-0123456789", l.text[l.at]) >= 0 && l.at-begin < 32 {
		l.at++
	}
	if begin == l.at {
		return "", fmt.Errorf("here should be a text or a whole number")
	}
	return l.text[begin:l.at], nil
}

// names reads texts with commas between them, at least one.
func (l *lexer) names(each func(string) error) error {
	for n := 0; n == 0 || l.next(','); n++ {
		if n == maxNames {
			return fmt.Errorf("there are more than %d names", maxNames)
		}
		s, err := l.str()
		if err == nil {
			err = each(s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// count reads a number that is not negative.
func (l *lexer) count() (int, error) {
	s, err := l.scalar()
	if err != nil {
		return 0, err
	}
	n, err := parseNumber(s)
	if err == nil && (n < 0 || n > maxCount) {
		err = fmt.Errorf("%d is negative, or more than %d", n, maxCount)
	}
	return int(n), err
}

func parseNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > maxNumber || n < -maxNumber {
		return 0, fmt.Errorf("%s is no whole number", quote(s))
	}
	return n, nil
}

// quote shows a text of the query, cut short.
func quote(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return strconv.Quote(s)
}
