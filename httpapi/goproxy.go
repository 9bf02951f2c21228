package httpapi

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

// Values of Cache-Control, see the package comment.
var (
	cacheForever = []string{"public, max-age=604800, immutable"}
	cacheDay     = []string{"public, max-age=86400"}
	cacheHour    = []string{"public, max-age=3600"}
	cacheBriefly = []string{"public, max-age=60"}
	cacheNever   = []string{"no-store"}
)

// varyCredentials are the headers in which credentials may be shown.
var varyCredentials = []string{"Authorization, " + apiKeyHeader}

// privately has the values for answers to those who have authenticated, by those
// for everybody.
var privately = func() map[string][]string {
	m := map[string][]string{}
	for _, c := range [][]string{cacheForever, cacheDay, cacheHour, cacheBriefly} {
		m[c[0]] = []string{"private" + strings.TrimPrefix(c[0], "public")}
	}
	return m
}()

var staleWarning = []string{`110 - "Response is Stale"`}

const modulesPrefix = "/go/"

// module answers a request below /go/.
func (s *Server) module(c echo.Context) error {
	w, r := c.Response().Writer.(*writer), c.Request()
	w.kind = kindMalformed
	if err := s.checkLoop(r); err != nil {
		return err
	}
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), modulesPrefix)
	if !ok {
		return fail(node.ErrNotFound, "the path lacks a repository: /go/<repository>/<module>/@v/list")
	}
	repo, q, err := s.moduleRequest(w, r, rest, ParsePath)
	if err != nil {
		return err
	}
	return s.answer(w, r, repo, q.Ask)
}

// moduleRequest returns what a request asks for, and of which repository: what
// follows /go/ in its path says so, to parse for what follows the repository.
func (s *Server) moduleRequest(w *writer, r *http.Request, path string, parse func(escaped string) (Request, error)) (*node.Repository, Request, error) {
	name, rest, _ := strings.Cut(path, "/")
	repo, err := s.repository(w, name)
	if err != nil {
		return nil, Request{}, err
	}
	q, err := parse(rest)
	if err != nil {
		return nil, q, &node.Error{Kind: node.ErrNotFound, Text: fmt.Sprintf("repository %s: %v", name, err), Err: err}
	}
	repo.HeldOnly, repo.Misses = q.HeldOnly, w.allowance.spare()
	if strings.EqualFold(r.Header.Get("Disable-Module-Fetch"), "true") {
		repo.HeldOnly, w.uncached = true, true
	}
	return repo, q, nil
}

// repository returns the repository that a path names.
func (s *Server) repository(w *writer, name string) (*node.Repository, error) {
	n, err := events.ParseRepoName(name)
	if err != nil {
		return nil, &node.Error{Kind: node.ErrNotFound, Text: err.Error(), Err: err}
	}
	w.access.repo = n
	repo, err := s.node.Repository(w.who, n)
	if err == nil {
		w.repo, w.access.kept = repoKindOf(repo.Kind()), repo.AccessLog()
	}
	return repo, err
}

func (s *Server) answer(w *writer, r *http.Request, repo *node.Repository, ask Ask) error {
	ctx := r.Context()
	switch a := ask.(type) {
	case Info:
		w.kind = kindInfo
		info, err := repo.Info(ctx, a.Module, a.Query)
		w.access.version = module.Version{Path: a.Module, Version: cmp.Or(info.Version, a.Query)}
		return s.info(w, r, info, err)
	case Latest:
		w.kind = kindLatest
		info, err := repo.Latest(ctx, a.Module)
		return s.info(w, r, info, err)
	case Mod:
		w.kind, w.access.version = kindMod, a.Version
		mod, err := repo.Mod(ctx, a.Version)
		if err == nil {
			w.Header()["Cache-Control"] = cacheForever
			content(w, r, typeText, mod)
		}
		return err
	case Zip:
		w.kind, w.access.version = kindZip, a.Version
		return s.zip(ctx, w, r, repo, a)
	case List:
		w.kind = kindList
		return s.list(ctx, w, r, repo, a)
	case Sumdb:
		w.kind = kindSumdb
		return s.sumdb(ctx, w, r, repo, a)
	}
	return fmt.Errorf("unknown request %T", ask)
}

func (s *Server) info(w *writer, r *http.Request, info node.Info, err error) error {
	if err != nil {
		return err
	}
	cache := cacheBriefly
	if info.Fixed {
		cache = cacheForever
	}
	w.Header()["Cache-Control"] = cache
	content(w, r, typeJSON, info.Data)
	return nil
}

func (s *Server) list(ctx context.Context, w *writer, r *http.Request, repo *node.Repository, a List) error {
	l, err := repo.List(ctx, a.Module)
	if err != nil {
		return err
	}
	h := w.Header()
	h["Cache-Control"] = cacheBriefly
	if l.Stale {
		h["Warning"] = staleWarning
	}
	content(w, r, typeText, lines(l.Versions))
	return nil
}

// lines returns the versions with a line each.
func lines(versions []string) []byte {
	size := 0
	for _, v := range versions {
		size += len(v) + 1
	}
	b := make([]byte, 0, size)
	for _, v := range versions {
		b = append(append(b, v...), '\n')
	}
	return b
}

// zip answers with a module zip. If it is held here http.ServeContent gets the
// file itself, and writer leads it to the kernel's sendfile.
func (s *Server) zip(ctx context.Context, w *writer, r *http.Request, repo *node.Repository, a Zip) error {
	z, err := repo.Zip(ctx, a.Version)
	if err != nil {
		return err
	}
	defer z.Close()
	return s.openZip(w, r, z)
}

// openZip answers with a zip that is open, or with what there will be of it.
func (s *Server) openZip(w *writer, r *http.Request, z node.Zip) error {
	w.access.via = z.Repo
	h := w.Header()
	h["Content-Type"] = typeZip
	h["Content-Disposition"] = attachment
	h["Cache-Control"] = cacheForever
	if !z.Digest.IsZero() {
		h["Etag"] = []string{`"` + z.Digest.Hex() + `"`}
	}
	if z.Stream != nil {
		return s.arriving(w, r, z)
	}
	http.ServeContent(w, r, "", z.Time, z.File.File)
	return nil
}

// arriving answers with a module zip that comes from elsewhere.
func (s *Server) arriving(w *writer, r *http.Request, z node.Zip) error {
	measured, ranged := z.Stream.Size() >= 0, r.Header.Get("Range") != ""
	switch {
	case ranged && measured: // a part would be complete before the whole is verified
	case measured:
		return serveArriving(w, r, z.Time, z.Stream)
	case r.ProtoAtLeast(1, 1):
		return serveUnmeasured(w, r, z.Stream)
	default:
		// In HTTP/1.0, an answer without a length ends with its connection, whether
		// that is cut or not.
	}
	if err := z.Stream.Whole(); err != nil {
		return err
	}
	return serveArriving(w, r, z.Time, z.Stream)
}

// sumdb answers for a checksum database.
func (s *Server) sumdb(ctx context.Context, w *writer, r *http.Request, repo *node.Repository, a Sumdb) error {
	got, err := repo.Sumdb(ctx, a.Rest)
	if err != nil {
		return err
	}
	cache := cacheHour
	switch {
	case got.Immutable:
		cache = cacheForever
	case strings.HasSuffix(a.Rest, "/supported"), strings.Contains(a.Rest, "/lookup/"):
		cache = cacheDay
	}
	w.Header()["Cache-Control"] = cache
	content(w, r, []string{got.ContentType}, got.Body)
	return nil
}

// checkLoop refuses a request that this node sent itself, by way of an upstream
// that leads back to it.
func (s *Server) checkLoop(r *http.Request) error {
	for _, via := range r.Header[node.ViaHeader] {
		for id := range strings.SplitSeq(via, ",") {
			if strings.TrimSpace(id) == s.via {
				return fail(errLoop, "this request comes from this node itself: the upstream of one of its remote repositories leads back to it")
			}
		}
	}
	return nil
}
