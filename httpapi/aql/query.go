// Package aql reads queries for items in the Artifactory Query Language, as the JFrog
// CLI sends them, and says which items they mean. It knows of no registry: who has
// items asks it where to look (Query.Reaches) and which of them are meant
// (Query.Match).
//
// A query is
//
//	items.find({…}).include("name",…).sort({"$asc":["name",…]}).offset(1).transitive().limit(2)
//
// where all behind find may be left out. In its object, "field":value and
// "field":{"$op":value} are criteria, "@key" is a property, and "$and" and "$or" have
// lists of objects. One key may be there several times: each counts. All criteria of
// an object must hold, but of the objects in an "$or" only one of all the criteria in
// them: that is what the JFrog CLI means by
//
//	"$or":[{"repo":{"$nmatch":"a"},"path":{"$nmatch":"b"},"name":{"$nmatch":"c"}}]
//
// which leaves out what is called so in all three.
//
// A criterion about a build has two halves in one object, or one $and, and means what a run of it
// made, or, with dependency in place of artifact, what it took:
//
//	{"artifact.module.build.name":"app","artifact.module.build.number":"7"}
//
// Who has builds tells the query what that is (Query.Builds, Query.Tell).
//
// Anybody may send any text: it is bounded, and so is the time that reading and
// matching take, see the constants.
package aql

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
)

// The bounds of a query.
const (
	MaxText     = 256 << 10     // bytes
	maxCriteria = 2000          // with those in groups, and the groups
	maxDepth    = 32            // of objects in each other
	maxString   = 1 << 10       // bytes of a text in it
	maxNames    = 64            // of fields and properties that the answer has, or is sorted by
	maxNumber   = 1 << 53       // as JSON has them everywhere
	maxCount    = 1_000_000_000 // of offset and limit
)

// Item is a file, as queries see it.
type Item struct {
	Repo, Path, Name  string
	Size              int64 // bytes
	Created, Modified time.Time
	CreatedBy         string
	SHA256            func() string // in hex
	SHA1              func() string // in hex, empty if it is not known; nil: of no item
	Properties        map[string][]string
}

// Query is a query that was read.
type Query struct {
	where  group
	fields map[string]bool // that the answer is to have
	// properties are the keys of those it is to have, with wildcards.
	properties []string
	order      []order
	// Offset is how many of the items that match are passed over, Limit how many are
	// wanted after those; 0: all.
	Offset, Limit int
	// readsProperties says that a criterion is about one.
	readsProperties bool
	builds          []*buildTest
}

type order struct {
	field field
	desc  bool
}

// defaults are the fields of an answer to a query that names none.
var defaults = []string{"repo", "path", "name", "type", "size", "created", "created_by", "modified", "modified_by", "updated"}

// Match reports whether the query means an item. It fails if ctx ends before that is
// known: many long patterns and values take a while.
func (q *Query) Match(ctx context.Context, i *Item) (bool, error) {
	ok := q.where.match(ctx, i)
	return ok, ctx.Err()
}

// Wants reports whether the answer is to have a field.
func (q *Query) Wants(field string) bool { return q.fields[field] }

// WantsSums reports whether the answer is to have SHA-1 or MD5.
func (q *Query) WantsSums() bool { return slices.ContainsFunc(shown, q.Wants) }

// WantsProperty reports whether the answer is to have a property.
func (q *Query) WantsProperty(key string) bool {
	return slices.ContainsFunc(q.properties, func(p string) bool { return Wildcard(p, key) })
}

// NeedsProperties reports whether Match or the answer needs the properties of items.
func (q *Query) NeedsProperties() bool { return q.readsProperties || len(q.properties) > 0 }

// Sorted reports whether the query says in which order it wants items; else they come
// as they are found.
func (q *Query) Sorted() bool { return len(q.order) > 0 }

// Compare orders two items as the query wants it, and those that are equal in that by
// their names.
func (q *Query) Compare(a, b *Item) int {
	for _, o := range q.order {
		c := o.field.compare(a, b)
		if o.desc {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Or(strings.Compare(a.Repo, b.Repo), strings.Compare(a.Path, b.Path), strings.Compare(a.Name, b.Name))
}
