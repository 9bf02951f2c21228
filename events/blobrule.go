package events

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// BlobPolicy says whether a site fetches a blob before somebody asks for it: a
// valid policy, or the zero BlobPolicy, which means none.
type BlobPolicy struct{ name }

// The policies.
var (
	Eager = BlobPolicy{name{"eager"}} // as soon as the site learns of it
	Lazy  = BlobPolicy{name{"lazy"}}  // when it is first asked for
	Never = BlobPolicy{name{"never"}} // not; what is asked for is passed through
)

// ParseBlobPolicy returns the policy called s.
func ParseBlobPolicy(s string) (BlobPolicy, error) {
	for _, p := range []BlobPolicy{Eager, Lazy, Never} {
		if p.s == s {
			return p, nil
		}
	}
	return BlobPolicy{}, fmt.Errorf("blob policy %q is none of eager, lazy, never", s)
}

// UnmarshalText accepts the name of a policy.
func (p *BlobPolicy) UnmarshalText(b []byte) error {
	v, err := ParseBlobPolicy(string(b))
	*p = v
	return err
}

// BlobRule says how some sites fetch the blobs of some modules of a repository.
type BlobRule struct {
	Sites   []Site     `json:"sites,omitempty"`   // none: all
	Modules []Pattern  `json:"modules,omitempty"` // none: all
	Fetch   BlobPolicy `json:"fetch"`
}

const maxBlobRules = 64

// ParseBlobRule reads the form in which people write a rule:
//
//	[SITE[,SITE]:][PATTERN[,PATTERN]=]eager|lazy|never
func ParseBlobRule(text string) (BlobRule, error) {
	r, err := parseBlobRule(text)
	if err == nil {
		err = r.check()
	}
	if err != nil {
		return BlobRule{}, fmt.Errorf("blob rule %q: %w; write [SITE[,SITE]:][PATTERN[,PATTERN]=]eager|lazy|never", text, err)
	}
	return r, nil
}

func parseBlobRule(text string) (r BlobRule, err error) {
	if sites, rest, ok := strings.Cut(text, ":"); ok {
		text = rest
		if r.Sites, err = parseEach(sites, ParseSite); err != nil {
			return r, err
		}
	}
	if patterns, rest, ok := strings.Cut(text, "="); ok {
		text = rest
		if r.Modules, err = parseEach(patterns, ParsePattern); err != nil {
			return r, err
		}
	}
	r.Fetch, err = ParseBlobPolicy(text)
	return r, err
}

// parseEach parses what stands between commas.
func parseEach[T any](list string, parse func(string) (T, error)) ([]T, error) {
	var all []T
	for s := range strings.SplitSeq(list, ",") {
		v, err := parse(s)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// String returns the form that ParseBlobRule reads.
func (r BlobRule) String() string {
	var text string
	if len(r.Sites) > 0 {
		text = join(r.Sites) + ":"
	}
	if len(r.Modules) > 0 {
		text += join(r.Modules) + "="
	}
	return text + r.Fetch.String()
}

func join[T fmt.Stringer](list []T) string {
	var texts []string
	for _, v := range list {
		texts = append(texts, v.String())
	}
	return strings.Join(texts, ",")
}

func (r BlobRule) check() error {
	if r.Fetch.IsZero() {
		return errors.New("a blob rule needs a policy")
	}
	if len(r.Sites) > maxList || len(r.Modules) > maxList {
		return fmt.Errorf("a blob rule has more than %d sites or patterns", maxList)
	}
	if slices.Contains(r.Sites, Site{}) {
		return errors.New("a blob rule names no site where one is due")
	}
	for _, p := range r.Modules {
		// No module path has these, and the text form uses them.
		if p.s == "" || strings.ContainsAny(p.s, ":=") {
			return fmt.Errorf("pattern %q of a blob rule is empty or has : or =", p)
		}
	}
	return nil
}

// matches reports whether the rule is about the blobs of a module at a site.
func (r BlobRule) matches(site Site, modulePath string) bool {
	return (len(r.Sites) == 0 || slices.Contains(r.Sites, site)) &&
		(len(r.Modules) == 0 || MatchAny(r.Modules, modulePath))
}

func (s RepoSettings) checkBlobs(kind RepoKind) error {
	if kind == Virtual && len(s.Blobs) > 0 {
		return errors.New("a virtual repository has no blobs, so no rules for them")
	}
	if len(s.Blobs) > maxBlobRules {
		return fmt.Errorf("more than %d blob rules", maxBlobRules)
	}
	for _, r := range s.Blobs {
		if err := r.check(); err != nil {
			return err
		}
	}
	return nil
}

// BlobPolicy returns how a site fetches the blobs of a module in a repository of
// this kind: as the first rule that matches says, else eagerly if the repository
// is local, since nobody upstream has them, and lazily if it is remote; never if
// it keeps nothing.
func (s RepoSettings) BlobPolicy(kind RepoKind, site Site, modulePath string) BlobPolicy {
	if s.KeepNothing {
		return Never
	}
	for _, r := range s.Blobs {
		if r.matches(site, modulePath) {
			return r.Fetch
		}
	}
	if kind == Local {
		return Eager
	}
	return Lazy
}
