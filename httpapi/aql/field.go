package aql

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// field is a field of items that criteria may be about: a text, or, where that is
// set, a number or a time.
type field struct {
	name   string
	text   func(*Item) string
	number func(*Item) int64
	time   func(*Item) time.Time
}

// fileType is the type of all items; anyType in a criterion stands for all.
const (
	fileType = "file"
	anyType  = "any"
)

var fields = map[string]field{
	"repo":        {text: func(i *Item) string { return i.Repo }},
	"path":        {text: func(i *Item) string { return i.Path }},
	"name":        {text: func(i *Item) string { return i.Name }},
	"type":        {text: func(*Item) string { return fileType }},
	"size":        {number: func(i *Item) int64 { return i.Size }},
	"created":     {time: func(i *Item) time.Time { return i.Created }},
	"modified":    {time: func(i *Item) time.Time { return i.Modified }},
	"updated":     {time: func(i *Item) time.Time { return i.Modified }},
	"created_by":  {text: func(i *Item) string { return i.CreatedBy }},
	"modified_by": {text: func(i *Item) string { return i.CreatedBy }},
	"sha256":      {text: func(i *Item) string { return i.SHA256() }},
}

// shown are the fields that an answer may have beside those that criteria may be
// about.
var shown = []string{"actual_md5", "actual_sha1", "original_md5", "original_sha1"}

func (f field) compare(a, b *Item) int {
	switch {
	case f.number != nil:
		return cmp.Compare(f.number(a), f.number(b))
	case f.time != nil:
		return f.time(a).Compare(f.time(b))
	}
	return strings.Compare(f.text(a), f.text(b))
}

// op is an operator.
type op string

const (
	opEq     op = "$eq"
	opNe     op = "$ne"
	opMatch  op = "$match"
	opNmatch op = "$nmatch"
	opGt     op = "$gt"
	opGte    op = "$gte"
	opLt     op = "$lt"
	opLte    op = "$lte"
)

// operators are all, as an error lists them.
const operators = "$eq, $ne, $match, $nmatch, $gt, $gte, $lt, $lte"

func (o op) known() bool {
	switch o {
	case opEq, opNe, opMatch, opNmatch, opGt, opGte, opLt, opLte:
		return true
	}
	return false
}

// holds reports whether a comparison came out as the operator wants it.
func (o op) holds(c int) bool {
	switch o {
	case opEq:
		return c == 0
	case opNe:
		return c != 0
	case opGt:
		return c > 0
	case opGte:
		return c >= 0
	case opLt:
		return c < 0
	case opLte:
		return c <= 0
	}
	return false
}

// ofText reports whether a text is as the operator wants it.
func (o op) ofText(text, value string) bool {
	switch o {
	case opMatch:
		return Wildcard(value, text)
	case opNmatch:
		return !Wildcard(value, text)
	}
	return o.holds(strings.Compare(text, value))
}

// timeLayouts are the forms in which a query may write a time.
var timeLayouts = []string{time.RFC3339, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05", time.DateOnly}

func parseTime(s string) (time.Time, error) {
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s is no time like 2006-01-02T15:04:05.000Z", quote(s))
}
