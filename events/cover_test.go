package events_test

import (
	"math/rand/v2"
	"path"
	"testing"

	"registry-node/events"
)

func TestCoversName(t *testing.T) {
	for _, c := range []struct {
		pattern, other string
		want           bool
	}{
		{"*", "*", true}, {"*", "", true}, {"*", "a-*", true}, {"a-*", "*", false}, {"a-*", "a-b-*", true}, {"a-b-*", "a-*", false},
		{"a", "a", true}, {"a", "b", false}, {"a", "a*", false}, {"a?", "a*", false}, {"a*", "a?", true}, {"a?", "a?", true},
		{"?", "*", false}, {"*-x", "a-*-x", true}, {"*-x", "a-*", false}, {"a*c", "abc", true}, {"a*c", "ab", false}, {"", "", true}, {"", "a", false},
	} {
		if got := events.CoversName(c.pattern, c.other); got != c.want {
			t.Errorf("CoversName(%q, %q) = %t", c.pattern, c.other, got)
		}
	}
}

// What a pattern covers it matches.
func TestCoversIsSound(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	text := func(alphabet string, n int) string {
		b := make([]byte, r.IntN(n))
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		return string(b)
	}
	covered := 0
	for range 200_000 {
		p, q, name := text("ab*?", 5), text("ab*?", 5), text("ab", 6)
		if !events.CoversName(p, q) {
			continue
		}
		if ok, _ := path.Match(q, name); ok {
			covered++
			if ok, _ := path.Match(p, name); !ok {
				t.Fatalf("seed %d: %q covers %q, which matches %q, and it doesn't", seed, p, q, name)
			}
		}
	}
	elem := []string{"a", "b", "*", "**", "a*", "?"}
	join := func(from []string, n int) string {
		s := from[r.IntN(len(from))]
		for range r.IntN(n) {
			s += "/" + from[r.IntN(len(from))]
		}
		return s
	}
	for range 200_000 {
		p, err := events.ParsePattern(join(elem, 4))
		q, err2 := events.ParsePattern(join(elem, 4))
		if err != nil || err2 != nil || !p.Covers(q) {
			continue
		}
		if name := join([]string{"a", "b", "ab"}, 5); q.Match(name) {
			covered++
			if !p.Match(name) {
				t.Fatalf("seed %d: %v covers %v, which matches %q, and it doesn't", seed, p, q, name)
			}
		}
	}
	if covered < 1000 {
		t.Errorf("only %d cases were of use", covered)
	}
}
