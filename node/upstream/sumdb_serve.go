package upstream

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"
)

// Answer is what a client of the checksum database gets, with status 200.
type Answer struct {
	Body        []byte
	ContentType string
	Immutable   bool // every later answer to the same path is the same
}

const (
	textType = "text/plain; charset=UTF-8"
	tileType = "application/octet-stream"
)

// Serve answers a request for path, which is what follows "/sumdb/" in the
// percent-decoded path of the request: NAME/supported, NAME/latest,
// NAME/lookup/…, NAME/tile/…. "supported" and what was served before need no
// upstream.
//
// Errors: those of Lookup, and ErrNotFound for paths that are malformed or of
// another database. For a client of the database, ErrNotInDatabase is 404 like
// ErrNotFound.
func (s *Sumdb) Serve(ctx context.Context, path string) (Answer, error) {
	rest, ok := strings.CutPrefix(path, s.db.Name()+"/")
	if !ok || s.db.Off() {
		return Answer{}, sumdbError(ErrNotFound, fmt.Errorf("no such checksum database here: %q", clip(path)))
	}
	switch kind, arg, _ := strings.Cut(rest, "/"); {
	case rest == "supported":
		return Answer{ContentType: textType}, nil
	case rest == "latest":
		return s.serveLatest(ctx)
	case kind == "lookup":
		return s.serveLookup(ctx, arg)
	case kind == "tile":
		return s.serveTile(ctx, rest)
	}
	return Answer{}, sumdbError(ErrNotFound, fmt.Errorf("neither supported, latest, lookup nor tile: %q", clip(path)))
}

// Held returns what State holds for a path below the database ("latest",
// "lookup/…", "tile/…") in the form in which the database gives it, and whether
// it does. It asks nobody.
func (s *Sumdb) Held(path string) (data []byte, ok bool, err error) {
	h := s.head.Load()
	if s.db.Off() || h.tree.N == 0 {
		return nil, false, nil
	}
	switch kind, arg, _ := strings.Cut(path, "/"); {
	case path == "latest":
		return h.note, true, nil
	case kind == "lookup":
		mv, err := parseLookup(arg)
		if err != nil {
			return nil, false, nil
		}
		at, err := lookupPath(mv)
		if err != nil {
			return nil, false, nil
		}
		rec, ok, err := s.storedRecord(at)
		if err != nil || !ok {
			return nil, false, err
		}
		body, err := tlog.FormatRecord(rec.id, rec.text)
		return append(body, h.note...), err == nil, err
	case kind == "tile":
		t, err := tlog.ParseTilePath(path)
		if err != nil || t.H != tileHeight || t.L < 0 {
			return nil, false, nil
		}
		return s.storedTile(t)
	}
	return nil, false, nil
}

// ServeHeld is Serve for what State holds, and what needs none ("supported"); ok
// is false for everything else. It asks nobody.
func (s *Sumdb) ServeHeld(path string) (a Answer, ok bool, err error) {
	rest, ok := strings.CutPrefix(path, s.db.Name()+"/")
	if !ok || s.db.Off() {
		return Answer{}, false, nil
	}
	if rest == "supported" {
		return Answer{ContentType: textType}, true, nil
	}
	a.Body, ok, err = s.Held(rest)
	a.ContentType = textType
	if strings.HasPrefix(rest, "tile/") {
		a.ContentType, a.Immutable = tileType, true
	}
	return a, ok, err
}

// serveLatest answers with the pinned head, if there is one yet.
func (s *Sumdb) serveLatest(ctx context.Context) (Answer, error) {
	if h := s.head.Load(); h.tree.N > 0 {
		return Answer{Body: h.note, ContentType: textType}, nil
	}
	body, err := s.remote.get(ctx, "latest", maxLookup)
	return Answer{Body: body, ContentType: textType}, err
}

// serveLookup answers with the record and the pinned head, which proves it.
func (s *Sumdb) serveLookup(ctx context.Context, arg string) (Answer, error) {
	mv, err := parseLookup(arg)
	if err != nil {
		return Answer{}, sumdbError(ErrNotFound, fmt.Errorf("lookup of %q: %w", clip(arg), err))
	}
	rec, err := s.record(ctx, mv)
	if err != nil {
		return Answer{}, err
	}
	body, err := tlog.FormatRecord(rec.id, rec.text)
	if err != nil {
		return Answer{}, sumdbError(ErrBadAnswer, err)
	}
	return Answer{Body: append(body, s.head.Load().note...), ContentType: textType}, nil
}

// parseLookup parses what follows "lookup/".
func parseLookup(arg string) (module.Version, error) {
	path, version, ok := strings.Cut(arg, "@")
	if !ok {
		return module.Version{}, fmt.Errorf("not of the form module@version")
	}
	var mv module.Version
	var err error
	if mv.Path, err = module.UnescapePath(path); err != nil {
		return module.Version{}, err
	}
	if mv.Version, err = module.UnescapeVersion(version); err != nil {
		return module.Version{}, err
	}
	_, err = lookupPath(mv)
	return mv, err
}

// serveTile answers with a tile from state, or with one that was verified and
// stored just now; one that the pinned head can't prove is passed on.
func (s *Sumdb) serveTile(ctx context.Context, path string) (Answer, error) {
	t, err := tlog.ParseTilePath(path)
	if err != nil || t.H != tileHeight {
		return Answer{}, sumdbError(ErrNotFound, fmt.Errorf("not a tile of height %d: %q", tileHeight, clip(path)))
	}
	if t.L < 0 {
		body, err := s.remote.get(ctx, path, maxData)
		return Answer{Body: body, ContentType: textType}, err
	}
	data, ok, err := s.storedTile(t)
	if err != nil {
		return Answer{}, err
	}
	if h := s.head.Load(); !ok && within(t, h.tree.N) {
		if data, err = s.authenticTile(ctx, h, t); err != nil {
			return Answer{}, err
		}
		ok = true
	}
	if !ok {
		data, err = s.fetchTile(ctx, t)
		return Answer{Body: data, ContentType: tileType}, err
	}
	return Answer{Body: data, ContentType: tileType, Immutable: true}, nil
}
