package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of what is kept of repositories' refs.
const (
	maxRefsBody = 256 << 20 // bytes of an answer; of its refs, branches and tags are kept
	maxRefs     = 64 << 20  // bytes of the branches and tags of one repository, about
	maxAllRefs  = 256 << 20 // of all that are kept, and again of all that are being read
	maxRepos    = 1024
	refOverhead = 100 // bytes of a ref beside its texts

	refsAge   = 30 * time.Second // for lists
	absentAge = 10 * time.Second // for repositories that are not there
)

// refs are the branches and tags of a repository at one moment.
type refs struct {
	base  *url.URL          // where the repository is, after redirects
	tags  map[string]string // commit (or other object) by tag, annotated ones peeled
	heads map[string]string // commit by branch

	size  int           // bytes, about
	spend *atomic.Int64 // bytes of all that are being read, about; nil if r is not

	listed sync.Map // module path → []string that a command made of these refs
}

// has reports whether name is a tag or a branch.
func (r *refs) has(name string) bool { return r.tags[name] != "" || r.heads[name] != "" }

// refsOf knows the refs of repositories, for a while.
type refsOf struct {
	read    func(context.Context, source) (*refs, error)
	flights *flights[*refs]

	mu   sync.Mutex
	kept map[string]keptRefs // by target; guarded by mu
	size int                 // bytes of kept, about; guarded by mu

	reading atomic.Int64 // bytes of what is being read, about
}

type keptRefs struct {
	refs *refs
	err  error // refs is nil, and the repository is not there or refuses
	at   time.Time
}

func newRefsOf(ctx context.Context, read func(context.Context, source) (*refs, error)) *refsOf {
	return &refsOf{read: read, flights: newFlights[*refs](ctx), kept: make(map[string]keptRefs)}
}

func (r *refsOf) wait() { r.flights.wait() }

// anyAge takes what is kept; see of.
const anyAge = refsAge

// of returns the refs of s's repository, as they were at most maxAge ago.
func (r *refsOf) of(ctx context.Context, s source, maxAge time.Duration) (*refs, error) {
	key := s.tag.target
	r.mu.Lock()
	have, ok := r.kept[key]
	r.mu.Unlock()
	age := time.Since(have.at)
	switch {
	case ok && have.err == nil && age < min(maxAge, refsAge):
		return have.refs, nil
	case ok && have.err != nil && age < min(maxAge, absentAge):
		return nil, have.err
	}
	return joined(ctx, r.flights, s.op, key, func(ctx context.Context) (*refs, error) {
		got, err := r.read(ctx, s)
		if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrForbidden) {
			r.keep(key, keptRefs{got, err, time.Now()})
		}
		return got, err
	})
}

func (r *refsOf) keep(key string, k keptRefs) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgetLocked(key)
	n := k.size()
	for len(r.kept) >= maxRepos || len(r.kept) > 0 && r.size+n > maxAllRefs {
		oldest := ""
		for key, have := range r.kept {
			if oldest == "" || have.at.Before(r.kept[oldest].at) {
				oldest = key
			}
		}
		r.forgetLocked(oldest)
	}
	r.kept[key] = k
	r.size += n
}

func (r *refsOf) forgetLocked(key string) {
	if have, ok := r.kept[key]; ok {
		r.size -= have.size()
		delete(r.kept, key)
	}
}

func (k keptRefs) size() int {
	if k.refs == nil {
		return 0
	}
	return k.refs.size
}

const refsPath = "/info/refs"

// readRefs asks for the refs of s's repository, by the first request that git
// makes as well (gitprotocol-http, GET $GIT_URL/info/refs). Unlike git it says
// how it failed by a status, and every redirect is judged.
func (v *VCS) readRefs(ctx context.Context, s source) (*refs, error) {
	u := *s.url
	u.Path = strings.TrimSuffix(u.Path, "/") + refsPath
	u.RawQuery = "service=git-upload-pack"
	return ask(ctx, v.reach, s.op, &u, func(answered func()) (*refs, error) {
		resp, err := v.reach.get(ctx, s.op, &u, v.judgeClone)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return nil, v.refused(ctx, s, resp)
		}
		answered()
		return v.refs.in(ctx, s, &u, resp)
	})
}

// in reads the answer to a request to u for the refs of s's repository.
func (r *refsOf) in(ctx context.Context, s source, u *url.URL, resp *http.Response) (*refs, error) {
	var err error
	got := &refs{tags: make(map[string]string), heads: make(map[string]string), spend: &r.reading}
	defer got.spent()
	if got.base, err = cloneBase(resp.Request.URL); err != nil {
		return nil, usedFor(resp).hidden(s.fail(ErrBadAnswer, err))
	}
	if err := got.parse(resp); errors.Is(err, errBusy) {
		return nil, s.fail(ErrUnavailable, err)
	} else if err != nil {
		return nil, usedFor(resp).hidden(bodyError(ctx, s.op, u, err))
	}
	return got, nil
}

// judgeClone judges where a request for refs leads.
func (v *VCS) judgeClone(u *url.URL) error {
	base, err := cloneBase(u)
	if err != nil {
		return fmt.Errorf("%w: the clone is redirected to %s: %w", errPolicy, safeURL(u), err)
	}
	if err := v.allowed(base); err != nil {
		return fmt.Errorf("the clone leads to %s: %w", safeURL(base), err)
	}
	return nil
}

// cloneBase returns the repository's URL for the URL of its refs.
func cloneBase(u *url.URL) (*url.URL, error) {
	path, ok := strings.CutSuffix(u.Path, refsPath)
	if !ok || u.RawQuery != "service=git-upload-pack" {
		return nil, errors.New("that is no repository")
	}
	return parseTarget(u.Scheme + "://" + u.Host + path)
}

// refused is the error for an answer other than 200. A host that asks for
// credentials and has none from us may have or not have the repository; as the
// go command does, the repository's page decides, if it is still that host's.
func (v *VCS) refused(ctx context.Context, s source, resp *http.Response) error {
	fail := &Error{Op: s.op, URL: safeURL(s.url), Status: resp.StatusCode, Class: classOfStatus(resp.StatusCode)}
	if fail.Class != ErrForbidden {
		return fail
	}
	host := Origin(s.url)
	if user, _ := v.reach.login(s.url); user != nil {
		fail.Err = fmt.Errorf("%d: the credential of this repository for %s is refused", resp.StatusCode, host)
		return fail
	}
	fail.Err = fmt.Errorf("%d: the VCS repository asks for a credential, and this one has none for %s", resp.StatusCode, host)
	page, err := v.reach.get(ctx, s.op, s.url, v.allowed)
	if err != nil {
		return fail
	}
	defer page.Body.Close()
	if classOfStatus(page.StatusCode) == ErrNotFound && Origin(page.Request.URL) == host {
		fail.Class = ErrNotFound
		fail.Err = fmt.Errorf("no such VCS repository, or a private one: %d, and there is no credential for %s", page.StatusCode, host)
	}
	return fail
}

// add adds a ref of the repository, if it is a branch or a tag.
func (r *refs) add(object, name string) error {
	if !isObject(object) {
		return fmt.Errorf("the refs have %s for an object", shown(object))
	}
	if strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return fmt.Errorf("the refs have the name %s", shown(name))
	}
	tag, isTag := strings.CutPrefix(name, "refs/tags/")
	branch, isBranch := strings.CutPrefix(name, "refs/heads/")
	switch {
	case isTag:
		// "^{}" is what an annotated tag stands for, and follows it.
		r.tags[strings.TrimSuffix(tag, "^{}")] = object
	case isBranch:
		r.heads[branch] = object
	default:
		return nil
	}
	n := len(object) + len(name) + refOverhead
	if r.size+n > maxRefs {
		return fmt.Errorf("the branches and tags of the repository are more than %d bytes", maxRefs)
	}
	r.size += n
	if r.spend != nil && r.spend.Add(int64(n)) > maxAllRefs {
		return fmt.Errorf("%w: it is reading more than %d bytes of branches and tags", errBusy, maxAllRefs)
	}
	return nil
}

// spent says that r is not being read any more.
func (r *refs) spent() {
	r.spend.Add(-int64(r.size))
	r.spend = nil
}
