package upstream

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of what is kept of go-import pages.
const (
	maxPage     = 1 << 20 // bytes of a page
	pageAge     = 3 * time.Minute
	maxPages    = 4096
	maxAllPages = 64 << 20 // bytes of the tags of all, about
	tagOverhead = 100      // bytes of a tag beside its texts
	maxPageTags = 1000     // of one page
)

// pages knows what go-import tags a path's page has, for a while.
type pages struct {
	read    func(context.Context, string) ([]goImport, error)
	flights *flights[[]goImport]

	mu   sync.Mutex
	kept map[string]page // by module path; guarded by mu
	size int             // bytes of kept, about; guarded by mu
}

type page struct {
	tags []goImport
	read time.Time
}

func newPages(ctx context.Context, read func(context.Context, string) ([]goImport, error)) *pages {
	return &pages{read: read, flights: newFlights[[]goImport](ctx), kept: make(map[string]page)}
}

func (p *pages) wait() { p.flights.wait() }

// of returns the tags of path's page; mod tags come first.
func (p *pages) of(ctx context.Context, op, path string) ([]goImport, error) {
	p.mu.Lock()
	have, ok := p.kept[path]
	p.mu.Unlock()
	if ok && time.Since(have.read) < pageAge {
		return have.tags, nil
	}
	return joined(ctx, p.flights, op, path, func(ctx context.Context) ([]goImport, error) {
		tags, err := p.read(ctx, path)
		if err == nil {
			p.keep(path, tags)
		}
		return tags, err
	})
}

func (p *pages) keep(path string, tags []goImport) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.size -= p.kept[path].size(path)
	delete(p.kept, path)
	now := page{tags, time.Now()}
	if len(p.kept) >= maxPages || p.size+now.size(path) > maxAllPages {
		clear(p.kept) // all of it is soon read again
		p.size = 0
	}
	p.kept[path] = now
	p.size += now.size(path)
}

// size is about how many bytes it takes to keep g, 0 for the zero page.
func (g page) size(path string) int {
	if g.read.IsZero() {
		return 0
	}
	n := len(path) + tagOverhead
	for _, t := range g.tags {
		n += len(t.prefix) + len(t.vcs) + len(t.target) + len(t.subdir) + tagOverhead
	}
	return n
}

// tagsFor returns the tags that are for path, in copies: the texts are parts of
// the page, which would be kept with them.
func tagsFor(path string, all []goImport) []goImport {
	var tags []goImport
	for _, t := range all {
		if hasPathPrefix(path, t.prefix) {
			tags = append(tags, goImport{
				prefix: strings.Clone(t.prefix), vcs: strings.Clone(t.vcs),
				target: strings.Clone(t.target), subdir: strings.Clone(t.subdir),
			})
		}
	}
	return tags
}

// joined is f.do for callers outside of the checksum database: an end of ctx is
// an *Error for op.
func joined[V any](ctx context.Context, f *flights[V], op, key string, run func(context.Context) (V, error)) (V, error) {
	value, err := f.do(ctx, key, run)
	switch {
	case err == nil:
		return value, nil
	case ctx.Err() != nil:
		return value, &Error{Op: op, Class: classOfContext(ctx.Err()), Err: ctx.Err()}
	case errors.Is(err, errClosed):
		return value, &Error{Op: op, Class: ErrUnavailable, Err: err}
	}
	return value, err
}

// readPage asks for path's page. Its status does not matter if it has a tag. A
// page without tags is ErrNotFound, unless the host failed, refuses, or is assumed
// offline.
func (v *VCS) readPage(ctx context.Context, path string) ([]goImport, error) {
	u := pageURL(path)
	return ask(ctx, v.reach, opPage, u, func(answered func()) ([]goImport, error) {
		resp, err := v.getPage(ctx, u)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			answered()
		}
		tags, err := v.tagsOf(ctx, path, resp)
		return tagsFor(path, tags), usedFor(resp).hidden(err)
	})
}

// tagsOf reads the tags of path's page. One that has none, but is cut, is a bad
// answer and no absence.
func (v *VCS) tagsOf(ctx context.Context, path string, resp *http.Response) ([]goImport, error) {
	at := safeURL(resp.Request.URL)
	bad := func(err error) error { return &Error{Op: opPage, URL: at, Class: ErrBadAnswer, Err: err} }
	limited := &io.LimitedReader{R: resp.Body, N: maxPage}
	tags, err := parsePage(limited)
	sent := usedFor(resp)
	switch {
	case slices.ContainsFunc(tags, func(t goImport) bool { return sent.repeats(t.prefix, t.vcs, t.target, t.subdir) }):
		return nil, bad(fmt.Errorf("a go-import tag of %s repeats the credential that was sent", path))
	case len(tags) > 0:
		return tags, nil
	case resp.StatusCode != http.StatusOK:
		return nil, &Error{Op: opPage, URL: at, Status: resp.StatusCode, Class: classOfStatus(resp.StatusCode)}
	case err != nil && limited.N == 0:
		return nil, bad(fmt.Errorf("the page has neither a go-import tag nor the end of its head in its first %d bytes", maxPage))
	case err != nil && endIsUnknown(resp):
		return nil, bad(fmt.Errorf("%w, as it seems: no length, no end of the head", errTruncated))
	case err != nil && err != errOpenHead && !isSyntax(err):
		return nil, bodyError(ctx, opPage, resp.Request.URL, err)
	}
	return nil, &Error{Op: opPage, URL: at, Class: ErrNotFound, Err: fmt.Errorf("the page for %s has no go-import tag", path)}
}

var errOpenHead = errors.New("the page ends before its head does")

// opPage is the operation of errors of requests for go-import pages.
const opPage = "go-import"

func isSyntax(err error) bool {
	var syntax *xml.SyntaxError
	return errors.As(err, &syntax) || errors.Is(err, errCharset)
}

// pageURL returns the URL of path's page.
func pageURL(path string) *url.URL {
	host, rest, _ := strings.Cut(path, "/")
	return &url.URL{Scheme: "https", Host: host, Path: "/" + rest, RawQuery: "go-get=1"}
}

// getPage asks for a page over https, and if that can't connect and the host may
// be asked so, over plain http.
func (v *VCS) getPage(ctx context.Context, u *url.URL) (*http.Response, error) {
	anywhere := func(*url.URL) error { return nil }
	resp, err := v.reach.get(ctx, opPage, u, anywhere)
	if err == nil || ctx.Err() != nil || !v.reach.plainHTTP(u) {
		return resp, err
	}
	plain := *u
	plain.Scheme = "http"
	return v.reach.get(ctx, opPage, &plain, anywhere)
}

var errCharset = errors.New("the page is neither UTF-8 nor ASCII")

// parsePage returns the go-import tags in the head of a page, mod tags first and
// without the others that they supersede, as the go command does
// (cmd/go/internal/vcs, parseMetaGoImports). The error says why it ended before
// the end of the head.
func parsePage(r io.Reader) ([]goImport, error) {
	d := xml.NewDecoder(r)
	d.CharsetReader = func(charset string, input io.Reader) (io.Reader, error) {
		switch strings.ToLower(charset) {
		case "utf-8", "ascii":
			return input, nil
		}
		return nil, errCharset
	}
	d.Strict = false
	tags, err := headTags(d)
	var first, rest []goImport
	for _, t := range tags {
		if t.vcs == "mod" {
			first = append(first, t)
		}
	}
	for _, t := range tags {
		if t.vcs != "mod" && !slices.ContainsFunc(first, func(m goImport) bool { return m.prefix == t.prefix }) {
			rest = append(rest, t)
		}
	}
	return append(first, rest...), err
}

func headTags(d *xml.Decoder) ([]goImport, error) {
	var tags []goImport
	for len(tags) < maxPageTags {
		token, err := d.RawToken()
		if err == io.EOF {
			return tags, errOpenHead
		}
		if err != nil {
			return tags, err
		}
		switch e := token.(type) {
		case xml.EndElement:
			if strings.EqualFold(e.Name.Local, "head") {
				return tags, nil
			}
		case xml.StartElement:
			if strings.EqualFold(e.Name.Local, "body") {
				return tags, nil
			}
			if strings.EqualFold(e.Name.Local, "meta") && attribute(e, "name") == "go-import" {
				if t, ok := parseTag(attribute(e, "content")); ok {
					tags = append(tags, t)
				}
			}
		}
	}
	return tags, nil
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if strings.EqualFold(a.Name.Local, name) {
			return a.Value
		}
	}
	return ""
}

// parseTag parses the content of a tag: prefix, VCS, URL, and since Go 1.25 a
// subdirectory.
func parseTag(content string) (goImport, bool) {
	f := strings.Fields(content)
	if len(f) != 3 && len(f) != 4 {
		return goImport{}, false
	}
	t := goImport{prefix: f[0], vcs: f[1], target: f[2]}
	if len(f) == 4 {
		t.subdir = f[3]
	}
	return t, true
}

// matching returns the one tag that is for path. Two are an error, but a mod tag
// beats others.
func matching(tags []goImport, path string) (goImport, error) {
	var found []goImport
	for _, t := range tags {
		if hasPathPrefix(path, t.prefix) {
			found = append(found, t)
		}
	}
	switch {
	case len(found) == 0:
		return goImport{}, fmt.Errorf("none of the go-import tags is for %s", path)
	case len(found) > 1 && (found[0].vcs != "mod" || found[1].vcs == "mod"):
		return goImport{}, fmt.Errorf("more than one go-import tag is for %s", path)
	}
	return found[0], nil
}
