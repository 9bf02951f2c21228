package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"registry-node/events"
)

// source is where a module path leads, checked: within the allow list, of a
// scheme that may be used.
type source struct {
	op   string // for errors
	path string // the module path
	tag  goImport
	url  *url.URL // the target; as text it is tag.target
	dir  string   // of the module in the repository, "" for the root
	// suffix is the major version at the end of the path ("/v2", ".v2"), or "".
	suffix string
	static bool   // known without a go-import page
	query  string // what is asked of the go command, "" for the list

	mod *Client // for a target of kind mod, else nil
}

// fail is the *Error of s with a class.
func (s source) fail(class, err error) error {
	return &Error{Op: s.op, URL: safeURL(s.url), Class: class, Err: err}
}

// resolve returns where a module path leads.
func (v *VCS) resolve(ctx context.Context, op, modPath string) (source, error) {
	if err := module.CheckPath(modPath); err != nil {
		return source{}, &Error{Op: op, Class: ErrNotFound, Err: err}
	}
	if err := v.checkModuleHost(modPath); err != nil {
		return source{}, &Error{Op: op, Class: ErrForbidden, Err: fmt.Errorf("module path %s: %w", modPath, err)}
	}
	tag, static, err := known(modPath)
	if err != nil {
		return source{}, &Error{Op: op, Class: ErrNotFound, Err: err}
	}
	if !static {
		if tag, err = v.dynamic(ctx, op, modPath); err != nil {
			return source{}, err
		}
	}
	return v.checked(source{op: op, path: modPath, tag: tag, static: static})
}

// checkModuleHost judges the host of a module path by its text.
func (v *VCS) checkModuleHost(modPath string) error {
	host, _, _ := strings.Cut(modPath, "/")
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() {
		// The go command would not ask the gate for it.
		return fmt.Errorf("%w: a loopback address; give the host a name", errPolicy)
	}
	return v.reach.checkHost(host)
}

// dynamic returns where a path leads by the go-import tag of its page. If the
// tag is for a prefix of the path, then the prefix's own page has to agree, so
// that nobody speaks for what is not theirs.
func (v *VCS) dynamic(ctx context.Context, op, modPath string) (goImport, error) {
	notFound := func(err error) error {
		return &Error{Op: op, URL: "https://" + clip(modPath), Class: ErrNotFound, Err: err}
	}
	tags, err := v.pages.of(ctx, op, modPath)
	if err != nil {
		return goImport{}, err
	}
	tag, err := matching(tags, modPath)
	if err != nil || tag.prefix == modPath {
		if err != nil {
			err = notFound(err)
		}
		return tag, err
	}
	root, err := v.pages.of(ctx, op, tag.prefix)
	if err != nil {
		return goImport{}, err
	}
	if again, err := matching(root, modPath); err != nil || again != tag {
		return goImport{}, notFound(fmt.Errorf("the pages for %s and %s disagree about its go-import tag", modPath, clip(tag.prefix)))
	}
	return tag, nil
}

// checked returns s with what follows from its tag, if it may be followed.
func (v *VCS) checked(s source) (source, error) {
	forbidden := func(format string, args ...any) error {
		return &Error{Op: s.op, Class: ErrForbidden, Err: fmt.Errorf("go-import of %s leads to %s: "+format,
			append([]any{s.path, shownTarget(s.tag.target)}, args...)...)}
	}
	u, err := parseTarget(s.tag.target)
	if err != nil {
		return s, forbidden("%w: %w", errPolicy, err)
	}
	s.url = u
	if s.tag.vcs != "git" && s.tag.vcs != "mod" {
		return s, forbidden("%w: its VCS is %s; only git and mod are fetched", errPolicy, shown(s.tag.vcs))
	}
	if err := v.reach.checkURL(u); err != nil {
		return s, forbidden("%w", err)
	}
	if err := v.allowed(u); err != nil {
		return s, forbidden("%w", err)
	}
	if err := s.locate(); err != nil {
		return s, &Error{Op: s.op, URL: safeURL(u), Class: ErrNotFound, Err: err}
	}
	if s.tag.vcs == "mod" {
		s.mod, err = v.mods.of(u)
	}
	return s, err
}

// allowed judges a target against the allow list.
func (v *VCS) allowed(u *url.URL) error {
	list := v.cfg.Allow
	if len(list) == 0 || slices.ContainsFunc(list, func(g events.Glob) bool { return g.Match(withoutQuery(u)) }) {
		return nil
	}
	const most = 10 // patterns shown
	var texts []string
	for _, g := range list[:min(len(list), most)] {
		texts = append(texts, g.String())
	}
	if len(list) > most {
		texts = append(texts, fmt.Sprintf("and %d more", len(list)-most))
	}
	return fmt.Errorf("%w: the allow list of this repository (%s) does not have %s", errPolicy, strings.Join(texts, ", "), safeURL(u))
}

// locate finds the module's directory and version suffix, as the go command does
// (cmd/go/internal/modfetch, newCodeRepo).
func (s *source) locate() error {
	prefix, suffix, ok := module.SplitPathVersion(s.path)
	if !ok {
		return fmt.Errorf("%s is no module path", s.path)
	}
	s.suffix = suffix
	if s.tag.subdir != "" && !validSubdir.MatchString(s.tag.subdir) {
		return fmt.Errorf("the go-import tag of %s has the subdirectory %s, which can't be", s.path, shown(s.tag.subdir))
	}
	if s.tag.prefix != s.path {
		if !hasPathPrefix(prefix, s.tag.prefix) {
			return fmt.Errorf("the repository of %s cannot hold the module %s", clip(s.tag.prefix), s.path)
		}
		s.dir = strings.Trim(prefix[len(s.tag.prefix):], "/")
	}
	if s.tag.subdir != "" {
		s.dir = path.Join(s.dir, s.tag.subdir)
	}
	if strings.HasPrefix(s.dir, "..") {
		return fmt.Errorf("the go-import tag of %s leads out of its repository", s.path)
	}
	return nil
}

// tagOf is the git tag that a canonical version of s must have.
func (s source) tagOf(version string) string {
	version = strings.TrimSuffix(version, "+incompatible")
	if s.dir == "" {
		return version
	}
	return s.dir + "/" + version
}

var (
	// Strict, because these texts become parts of command lines and of settings.
	validHost   = regexp.MustCompile(`^([A-Za-z0-9-]+\.)*[A-Za-z0-9-]+(:[0-9]{1,5})?$|^\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?$`)
	validPath   = regexp.MustCompile(`^(/[A-Za-z0-9_.~+-]+)*/?$`)
	validSubdir = regexp.MustCompile(`^[A-Za-z0-9_.~+][A-Za-z0-9_.~+-]*(/[A-Za-z0-9_.~+][A-Za-z0-9_.~+-]*)*$`)
	validQuery  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.~+-]{0,199}$`)
)

// parseTarget parses the URL of a repository. It is written in one way only:
// what is judged is what is asked.
func parseTarget(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("it is no URL")
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("scheme %s is not fetched", shown(u.Scheme))
	case u.User != nil:
		return nil, errors.New("it has credentials in it")
	case !validHost.MatchString(u.Host) || !validPath.MatchString(u.Path) || u.Scheme+"://"+u.Host+u.Path != text:
		return nil, errors.New("it is not a plain URL of a repository")
	}
	for elem := range strings.SplitSeq(u.Path, "/") {
		if elem == "." || elem == ".." {
			return nil, fmt.Errorf("it has the path element %q", elem)
		}
	}
	return u, nil
}

// checkQuery refuses texts that are neither version, branch, tag nor commit, or
// mean something else to the go command.
func checkQuery(query string) error {
	switch {
	case !validQuery.MatchString(query) || strings.Contains(query, ".."):
		return fmt.Errorf("%s can be no version, branch, tag or commit", shown(query))
	case query == "latest" || query == "upgrade" || query == "patch" || query == "none":
		return fmt.Errorf("%q is no version, but asks for one to be chosen", query)
	}
	return nil
}

// shown quotes text that somebody outside wrote, for an error.
func shown(s string) string { return fmt.Sprintf("%q", clip(s)) }

// shownTarget is shown for a URL that may have credentials in it.
func shownTarget(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		s = "xxxxx" + s[i:]
	}
	return shown(s)
}
