package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	modzip "golang.org/x/mod/zip"
)

// answered is what "go list -m -json" and "go mod download -json" say of one
// module; the former's Error is an object.
type answered struct {
	Path     string
	Version  string
	Versions []string
	Time     time.Time
	GoMod    string // file
	Zip      string // file
	Origin   *origin
	Error    json.RawMessage
}

// origin is where a version came from, as in the info of a version
// (cmd/go/internal/modfetch/codehost, Origin).
type origin struct {
	VCS    string
	URL    string
	Subdir string `json:",omitempty"`
	Hash   string
	Ref    string `json:",omitempty"`
}

// goVersions asks the go command for the versions of s.
func (v *VCS) goVersions(ctx context.Context, s source, r *refs) (list []string, err error) {
	err = v.goCommand(ctx, s, r, "", func(_ *book, a answered) error {
		for _, version := range a.Versions {
			if isListed(s.path, version) {
				list = append(list, version)
			}
		}
		semver.Sort(list)
		list = slices.Compact(list)
		return nil
	}, "list", "-m", "-e", "-json", "-versions", "-retracted", "--", s.path)
	return list, err
}

// goInfo asks the go command for what a query stands for, retracted or not. (A
// version is taken whether or not it is retracted, without being told so.)
func (v *VCS) goInfo(ctx context.Context, s source, query string) (info Info, err error) {
	args := []string{"list", "-m", "-e", "-json"}
	if query != module.CanonicalVersion(query) {
		args = append(args, "-retracted")
	}
	err = v.goVersion(ctx, s, query, func(_ *book, a answered) error {
		info, err = infoOf(s.path, a)
		return err
	}, append(args, "--")...)
	return info, err
}

// infoOf makes the info of a version, in the form that the go command gives it.
func infoOf(path string, a answered) (Info, error) {
	raw, err := json.Marshal(struct {
		Version string
		Time    time.Time
		Origin  *origin
	}{a.Version, a.Time, a.Origin})
	if err != nil {
		return Info{}, err
	}
	return parseInfo(path, a.Version, raw)
}

// goMod asks the go command for the go.mod of a version.
func (v *VCS) goMod(ctx context.Context, s source, version string) (body []byte, err error) {
	err = v.goVersion(ctx, s, version, func(b *book, a answered) error {
		f, _, err := b.open(a.GoMod, modzip.MaxGoMod)
		if err != nil {
			return s.fail(ErrUnavailable, fmt.Errorf("go.mod of %s: %w", version, err))
		}
		defer f.Close()
		if body, err = io.ReadAll(f); err != nil {
			return err
		}
		if err := checkGoMod(body); err != nil {
			return s.fail(ErrBadAnswer, err)
		}
		return nil
	}, "list", "-m", "-e", "-json", "--")
	return body, err
}

// goZip asks the go command for the zip of a version and writes it to w.
func (v *VCS) goZip(ctx context.Context, s source, version string, w io.Writer, begin func(size int64)) (n int64, err error) {
	err = v.goVersion(ctx, s, version, func(b *book, a answered) error {
		f, size, err := b.open(a.Zip, modzip.MaxZipFile)
		if err != nil {
			return s.fail(ErrUnavailable, fmt.Errorf("zip of %s: %w", version, err))
		}
		defer os.Remove(a.Zip) // it is the caller's now
		defer f.Close()
		if begin != nil {
			begin(size)
		}
		n, err = io.Copy(w, f)
		return err
	}, "mod", "download", "-json", "--")
	return n, err
}

// open opens a file that the go command named, if it is a regular one below the
// module cache and not larger than max, and returns its size.
func (b *book) open(file string, max int64) (*os.File, int64, error) {
	name, err := filepath.Rel(b.path("mod"), file)
	if err != nil || file == "" {
		return nil, 0, errors.New("the go command names no file in its cache")
	}
	root, err := os.OpenRoot(b.path("mod"))
	if err != nil {
		return nil, 0, err
	}
	defer root.Close()
	f, err := root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("not a regular file")
	case info.Size() > max:
		err = fmt.Errorf("%d bytes are more than %d", info.Size(), max)
	default:
		return f, info.Size(), nil
	}
	f.Close()
	return nil, 0, err
}

// goVersion runs a go command about a version of s, or about a query. A
// canonical version that is no pseudo-version is a tag: without the tag it is
// not there, and no command runs.
//
// The tag may have been moved since the cache was filled. What the cache has is
// then forgotten, so that the answer is what the repository says now; whether
// that may be is not for an upstream to judge.
func (v *VCS) goVersion(ctx context.Context, s source, query string, use func(*book, answered) error, args ...string) error {
	for _, maxAge := range []time.Duration{anyAge, 0} {
		r, err := v.refsFor(ctx, s, query, maxAge)
		if err != nil {
			return err
		}
		err = v.goCommand(ctx, s, r, query, use, append(slices.Clone(args), s.path+"@"+query)...)
		if !errors.Is(err, errMoved) {
			return err
		}
	}
	return s.fail(ErrUnavailable, fmt.Errorf("tag %s is being moved", s.tagOf(query)))
}

var errMoved = errors.New("the cache has another commit than the tag")

// freshEnough is the age at which refs without a tag still prove that it is not
// there: somebody may have been told of a release a moment ago.
const freshEnough = 3 * time.Second

// refsFor returns the refs of s, which have the tag of query if it is a version
// that needs one.
func (v *VCS) refsFor(ctx context.Context, s source, query string, maxAge time.Duration) (*refs, error) {
	r, err := v.refs.of(ctx, s, maxAge)
	if err != nil || !isTagged(s.path, query) || r.tags[s.tagOf(query)] != "" {
		return r, err
	}
	if r, err = v.refs.of(ctx, s, min(maxAge, freshEnough)); err != nil {
		return nil, err
	}
	if r.tags[s.tagOf(query)] == "" {
		return nil, s.fail(ErrNotFound, fmt.Errorf("%s@%s: the repository has no tag %s", s.path, query, s.tagOf(query)))
	}
	return r, nil
}

// isTagged reports whether version is one that only a tag makes.
func isTagged(path, version string) bool {
	return version == module.CanonicalVersion(version) && !module.IsPseudoVersion(version) && module.Check(path, version) == nil
}

// goCommand runs a go command for s, checks what it says against query, and has
// it used.
func (v *VCS) goCommand(ctx context.Context, s source, r *refs, query string, use func(*book, answered) error, args ...string) error {
	s.query = query
	return v.inSandbox(ctx, s, r, func(b *book, stdout []byte) error {
		var a answered
		if err := json.NewDecoder(bytes.NewReader(stdout)).Decode(&a); err != nil {
			return s.fail(ErrUnavailable, fmt.Errorf("the go command's answer: %w", err))
		}
		if query != "" {
			if err := checkAnswer(s, r, query, a); err != nil {
				if errors.Is(err, errMoved) {
					return errors.Join(err, b.wipe())
				}
				return s.fail(ErrBadAnswer, err)
			}
		}
		return use(b, a)
	}, args)
}

// checkAnswer holds what the go command says against what was asked and
// checked.
func checkAnswer(s source, r *refs, query string, a answered) error {
	o := a.Origin
	switch {
	case a.Path != s.path:
		return fmt.Errorf("the answer is for module %s", shown(a.Path))
	case module.Check(s.path, a.Version) != nil || a.Version != module.CanonicalVersion(a.Version):
		return fmt.Errorf("the answer is for version %s", shown(a.Version))
	case query == module.CanonicalVersion(query) && module.Check(s.path, query) == nil && a.Version != query:
		return fmt.Errorf("the answer is for version %s instead of %s", shown(a.Version), query)
	case o == nil || o.VCS != "git" || o.URL != s.tag.target || strings.Trim(o.Subdir, "/") != s.dir:
		return fmt.Errorf("the answer is not from %s", s.tag.target)
	case !isObject(o.Hash):
		return fmt.Errorf("the answer is from commit %s", shown(o.Hash))
	case isTagged(s.path, query) && o.Hash != r.tags[s.tagOf(query)]:
		return errMoved
	}
	return nil
}
