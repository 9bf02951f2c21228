package aql

import (
	"context"
	"unicode/utf8"
)

// criterion is what an item may be held against.
type criterion interface {
	match(context.Context, *Item) bool
	// reaches says where items may be that match; see Query.Reaches.
	reaches() []Reach
}

// group holds if all of its criteria do, or one of them.
type group struct {
	any bool
	of  []criterion
}

func (g group) match(ctx context.Context, i *Item) bool {
	for _, c := range g.of {
		if ctx.Err() != nil { // whose error Query.Match returns
			return false
		}
		if c.match(ctx, i) == g.any {
			return g.any
		}
	}
	return !g.any
}

// textTest is about a field that is a text.
type textTest struct {
	field field
	op    op
	value string
}

func (t textTest) match(_ context.Context, i *Item) bool {
	return t.op.ofText(t.field.text(i), t.value)
}

// orderTest is about a field that is a number or a time: value has it as items do.
type orderTest struct {
	field field
	op    op
	value *Item
}

func (t orderTest) match(_ context.Context, i *Item) bool {
	return t.op.holds(t.field.compare(i, t.value))
}

// propertyTest holds if some value of a property, whose key may have wildcards, is as
// the operator wants it. With $ne and $nmatch it holds if none is what they deny; so
// it does for an item that has no such property.
type propertyTest struct {
	key   string
	op    op
	value string
}

func (t propertyTest) match(_ context.Context, i *Item) bool {
	switch t.op {
	case opNe:
		return !t.some(i, opEq)
	case opNmatch:
		return !t.some(i, opMatch)
	}
	return t.some(i, t.op)
}

func (t propertyTest) some(i *Item, o op) bool {
	for key, values := range i.Properties {
		if !Wildcard(t.key, key) {
			continue
		}
		for _, v := range values {
			if o.ofText(v, t.value) {
				return true
			}
		}
	}
	return false
}

// Wildcard reports whether a pattern matches all of s: * in it stands for any
// characters, also none and slashes, ? for one. It takes at most the product of their
// lengths: of several *, only the last one is ever tried further on.
func Wildcard(pattern, s string) bool {
	p, i := 0, 0
	star, from := -1, 0 // the last *, and where what it stands for ends so far
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && pattern[p] == '?':
			_, width := utf8.DecodeRuneInString(s[i:])
			p, i = p+1, i+width
		case p < len(pattern) && pattern[p] == s[i]:
			p, i = p+1, i+1
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
