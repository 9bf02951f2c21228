package events

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Span is a length of time in a setting: whole seconds from one second to ten
// years, or the zero Span, which means that the default holds. It is written as
// the go command writes durations, and with d for days of 24 hours: 90s, 5m,
// 1h30m, 7d, 1d12h.
type Span struct{ d time.Duration }

const (
	day     = 24 * time.Hour
	maxSpan = 3650 * day
)

// ParseSpan returns the span s, or why it is none. The empty text is the zero
// Span.
func ParseSpan(s string) (Span, error) {
	if s == "" {
		return Span{}, nil
	}
	rest, total := s, time.Duration(0)
	if days, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return Span{}, fmt.Errorf("time span %q: write it as 90s, 5m, 12h or 7d", s)
		}
		rest, total = after, time.Duration(n)*day
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 || rest[0] == '+' || rest[0] == '-' {
			return Span{}, fmt.Errorf("time span %q: write it as 90s, 5m, 12h or 7d", s)
		}
		total += d
	}
	if total < time.Second || total > maxSpan || total%time.Second != 0 {
		return Span{}, fmt.Errorf("time span %q is not a number of whole seconds from 1s to %v", s, Span{maxSpan})
	}
	return Span{total}, nil
}

// SpanOf returns d as a Span. It panics if d is none: it is for constants.
func SpanOf(d time.Duration) Span {
	s := Span{d}
	if d < time.Second || d > maxSpan || d%time.Second != 0 {
		panic(fmt.Sprintf("%v is no span", d))
	}
	return s
}

// Or returns the span, or def if it is zero.
func (s Span) Or(def time.Duration) time.Duration {
	if s.d == 0 {
		return def
	}
	return s.d
}

// IsZero reports whether the default holds.
func (s Span) IsZero() bool { return s.d == 0 }

// String returns the form that ParseSpan reads: days first, then the rest without
// units that are zero.
func (s Span) String() string {
	if s.d == 0 {
		return ""
	}
	text := ""
	if n := s.d / day; n > 0 {
		text = strconv.FormatInt(int64(n), 10) + "d"
	}
	for _, u := range []struct {
		d    time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := s.d % day / u.d; n > 0 {
			text += strconv.FormatInt(int64(n), 10) + u.name
		}
		s.d -= s.d % day / u.d * u.d
	}
	return text
}

// MarshalText returns the form that ParseSpan reads.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is ParseSpan.
func (s *Span) UnmarshalText(b []byte) error {
	v, err := ParseSpan(string(b))
	*s = v
	return err
}
