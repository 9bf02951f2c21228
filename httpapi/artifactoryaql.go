package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"registry-node/events"
	"registry-node/httpapi/aql"
	"registry-node/node"
	"registry-node/node/access"
)

// The bounds of a search. What goes beyond is refused with the advice to narrow it,
// and never cut short without a word: a client would take it for all there is.
const (
	maxSearches     = 4                // at a time; others wait
	userSearches    = 2                // of one user
	searchTime      = 30 * time.Second // without the wait
	maxLooks        = 500_000          // records of versions
	maxFound        = 20_000           // items
	maxFoundBytes   = 32 << 20         // of their properties
	foundBytes      = 512              // that an item takes beside its properties
	maxSeen         = 100_000          // items that may come again
	searchTextBytes = 1 << 20          // of the body; aql.Parse has a smaller bound
)

// found is an item that a query means.
type found struct {
	aql.Item
	item node.Item
	sums itemSums // of a file that is no zip: they are computed as it is found
	size int      // bytes that it takes
}

// search is a search under way.
type search struct {
	server *Server
	ctx    context.Context
	who    *access.Caller
	query  *aql.Query
	looks  int
	found  []found
	bytes  int
	seen   map[events.Digest]bool // of paths with their repositories; nil if no item can come twice
	full   bool                   // no more are wanted
}

// searchItems answers a query for items.
func (s *Server) searchItems(c echo.Context) error {
	if err := s.node.MayLook(caller(c)); err != nil {
		return err
	}
	from, err := limited(c.Response().Writer.(*writer), c.Request(), searchTextBytes, "the query")
	if err != nil {
		return err
	}
	text, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	q, err := aql.Parse(string(text))
	if err != nil {
		return invalid(err)
	}
	answer, err := s.answerSearch(c, q)
	if err != nil {
		return err
	}
	return replyAs(c, http.StatusOK, typePlainJSON, answer)
}

// answerSearch finds what a query means, in a place that is given back before the
// answer is sent.
func (s *Server) answerSearch(c echo.Context, q *aql.Query) (a searched, err error) {
	done, err := s.searches.take(c, "searches")
	if err != nil {
		return a, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(c.Request().Context(), searchTime)
	defer cancel()
	f := &search{server: s, ctx: ctx, who: caller(c), query: q, looks: maxLooks}
	if err = f.run(); err == nil {
		a, err = f.answer()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = &node.Error{Kind: node.ErrTooLarge, Text: fmt.Sprintf("the search took longer than %v; narrow it: name the repository and the path, or the beginning of it", searchTime), Err: err}
	}
	return a, err
}

// run finds the items.
func (f *search) run() error {
	if err := f.tellBuilds(); err != nil {
		return err
	}
	targets, err := f.targets()
	if err != nil {
		return err
	}
	for _, t := range targets {
		look := f.in
		if _, ok := buildProject(t.repo); ok {
			look = f.inBuilds
		}
		if err := look(t); err != nil || f.full {
			return err
		}
	}
	f.cut()
	return nil
}

// in looks in one repository. What the caller may not read is not there.
func (f *search) in(t target) error {
	for _, prefix := range t.prefixes {
		q := node.ItemQuery{Repo: t.repo, Prefix: prefix, Properties: f.query.NeedsProperties(), Looks: &f.looks}
		for i, err := range f.server.node.Items(f.ctx, f.who, q) {
			switch {
			case errors.Is(err, node.ErrNotFound), errors.Is(err, node.ErrForbidden), errors.Is(err, node.ErrUnauthorized) && (f.who.Known() || !t.named):
				return nil
			case err != nil:
				return err
			}
			if err := f.held(t.repo, i); err != nil || f.full {
				return err
			}
		}
	}
	return nil
}

// held holds an item of a repository against the query. Its criteria are about the
// repository that was asked; the answer names the one that has the item.
func (f *search) held(asked events.RepoName, i node.Item) error {
	v := aql.Item{
		Repo: asked.String(), Path: i.Dir(), Name: i.Name(), Size: i.Size, Created: i.Created, Modified: i.Created, CreatedBy: i.CreatedBy,
		SHA256: func() string { return i.SHA256().Hex() }, SHA1: f.sha1Of(i), Properties: i.Properties,
	}
	if ok, err := f.query.Match(f.ctx, &v); err != nil || !ok {
		return err
	}
	v.Repo = i.Repo.String()
	if f.seen != nil {
		key := events.DigestOf([]byte(v.Repo + "/" + v.Path + "/" + v.Name))
		if f.seen[key] {
			return nil
		}
		if len(f.seen) == maxSeen {
			return fail(node.ErrTooLarge, "too much matches this query for a search in several repositories that may show the same; narrow it: name one repository")
		}
		f.seen[key] = true
	}
	return f.keep(found{Item: v, item: i, size: foundBytes})
}

// keep adds an item to those that were found. Of a small file it keeps no bytes.
func (f *search) keep(n found) (err error) {
	if n.item.File != events.ZipFile {
		if n.sums, err = f.sumsOf(n.item); err != nil {
			return err
		}
		digest := n.item.SHA256()
		n.item, n.SHA256 = node.Item{}, digest.Hex
	}
	for key, values := range n.Properties {
		n.size += len(key)
		for _, v := range values {
			n.size += len(v) + 64
		}
	}
	f.found = append(f.found, n)
	return f.bound()
}

// bound counts the item that was found last, and holds the bounds of a search.
func (f *search) bound() error {
	f.bytes += f.found[len(f.found)-1].size
	switch wanted := f.wanted(); {
	case wanted == 0 && len(f.found) > maxFound, f.bytes > maxFoundBytes:
		return fail(node.ErrTooLarge, fmt.Sprintf("more matches this query than is told at a time, which are %d items, or %d MiB of properties; narrow it, or say .limit(…)", maxFound, maxFoundBytes>>20))
	case wanted == 0:
	case !f.query.Sorted():
		f.full = len(f.found) == wanted
	case len(f.found) >= 2*wanted+maxFound/16:
		f.cut()
	}
	return nil
}

// wanted returns how many items are to be found at most; 0: all, if they are no more
// than may be told.
func (f *search) wanted() int {
	if n := f.query.Offset + f.query.Limit; f.query.Limit > 0 && n <= maxFound {
		return n
	}
	return 0
}

// cut puts what was found into order, and drops what is beyond the limit.
func (f *search) cut() {
	if f.query.Sorted() {
		slices.SortStableFunc(f.found, func(a, b found) int { return f.query.Compare(&a.Item, &b.Item) })
	}
	if end := f.query.Offset + f.query.Limit; f.query.Limit > 0 && len(f.found) > end {
		for _, n := range f.found[end:] {
			f.bytes -= n.size
		}
		clear(f.found[end:])
		f.found = f.found[:end]
	}
}

func (f *search) sumsOf(i node.Item) (itemSums, error) {
	if !f.query.Wants("sha256") && !f.query.WantsSums() {
		return itemSums{}, nil
	}
	if !f.query.WantsSums() {
		return itemSums{SHA256: i.SHA256().Hex()}, nil
	}
	return itemSumsOf(f.ctx, i)
}
