package events

import "strings"

// CoversName reports whether the pattern of names covers another: whether it matches
// whatever that one matches. A name without wildcards is a pattern, too. In both,
// * stands for any characters and ? for one. It may say no where yes were right,
// for patterns such as *? and ?*; never the other way round.
func CoversName(pattern, other string) bool {
	// The wildcards of other are taken as characters that only a wildcard of
	// pattern matches which is as wide.
	star, from := -1, 0
	p, o := 0, 0
	for o < len(other) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, o
			p++
		case p < len(pattern) && matches(pattern[p], other[o]):
			p, o = p+1, o+1
		case star >= 0: // the last * takes one more
			from++
			p, o = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

func matches(p, o byte) bool { return p == o && o != '*' || p == '?' && o != '*' }

// Covers reports whether p matches whatever other matches. It may say no where yes
// were right, if the two are written differently; never the other way round.
func (p Pattern) Covers(other Pattern) bool {
	return p.s != "" && other.s != "" && coversElems(p.s, other.s)
}

// coversElems is matchElems for elements that may have wildcards themselves.
func coversElems(pattern, elems string) bool {
	for pattern != "" {
		var p, elem string
		p, pattern, _ = strings.Cut(pattern, "/")
		if p == "**" {
			return coversTail(pattern, elems)
		}
		if elems == "" {
			return false
		}
		elem, elems, _ = strings.Cut(elems, "/")
		if elem == "**" || !CoversName(p, elem) {
			return false
		}
	}
	return true
}

// coversTail is matchTail for elements that may have wildcards themselves.
func coversTail(pattern, elems string) bool {
	for {
		if coversElems(pattern, elems) {
			return true
		}
		if elems == "" {
			return false
		}
		_, elems, _ = strings.Cut(elems, "/")
	}
}
