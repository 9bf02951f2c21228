package node

import (
	"time"

	"registry-node/events"
)

// defaultLifetime is that of a token for which nobody says another.
const defaultLifetime = 90 * 24 * time.Hour

// Lifetime is how long a token is good for: some time, at most ten years, or for
// ever. The zero Lifetime is the default, 90 days.
type Lifetime struct {
	span  events.Span
	never bool // ends never
}

const lifetimeNever = "never"

// ParseLifetime returns the lifetime s: a span such as 12h or 90d, or never; the
// empty text is the default.
func ParseLifetime(s string) (Lifetime, error) {
	if s == lifetimeNever {
		return Lifetime{never: true}, nil
	}
	span, err := events.ParseSpan(s)
	return Lifetime{span: span}, err
}

// IsZero reports whether it is the default.
func (l Lifetime) IsZero() bool { return l == Lifetime{} }

// after returns the end of a token that is issued now; zero: never.
func (l Lifetime) after(now time.Time) time.Time {
	if l.never {
		return time.Time{}
	}
	return now.Add(l.span.Or(defaultLifetime)).UTC().Truncate(time.Second)
}

// String returns the form that ParseLifetime reads.
func (l Lifetime) String() string {
	if l.never {
		return lifetimeNever
	}
	return l.span.String()
}

// MarshalText returns the form that ParseLifetime reads.
func (l Lifetime) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText is ParseLifetime.
func (l *Lifetime) UnmarshalText(b []byte) (err error) {
	*l, err = ParseLifetime(string(b))
	return err
}
