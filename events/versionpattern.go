package events

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/mod/module"
)

// VersionPattern matches module versions: a valid one, or the zero
// VersionPattern, which matches nothing. It is written MODULE or MODULE@VERSION.
// MODULE is a Pattern; without a wildcard it matches that very module and not
// what lies below it. In VERSION, if there is one, * stands for any characters
// and ? for one: corp.example/**, m.example/a@v1.2.*, **@v0.0.0-*.
type VersionPattern struct{ module, version string }

// ParseVersionPattern returns the version pattern s, or why it is none.
func ParseVersionPattern(s string) (VersionPattern, error) {
	mod, version, exact := strings.Cut(s, "@")
	p := VersionPattern{mod, version}
	if exact && version == "" {
		return VersionPattern{}, fmt.Errorf("pattern %q has nothing after the @", s)
	}
	if err := checkVersionPattern(mod, version); err != nil {
		return VersionPattern{}, fmt.Errorf("pattern %q: %w", s, err)
	}
	return p, nil
}

// VersionPatternOf returns the pattern that matches mv, or with an empty version
// all versions of the module.
func VersionPatternOf(mv module.Version) VersionPattern {
	return VersionPattern{mv.Path, mv.Version}
}

// checkVersionPattern reports why path and version can't be the parts of a
// pattern. Without wildcards they are a module path and a version of it.
func checkVersionPattern(modulePath, version string) error {
	if !hasWildcard(modulePath) {
		if err := module.CheckPath(modulePath); err != nil {
			return err
		}
	} else if err := checkPattern(modulePath); err != nil {
		return fmt.Errorf("module %q %w", modulePath, err)
	}
	switch {
	case version == "":
		return nil
	case hasWildcard(version):
		return checkVersionGlob(version)
	case hasWildcard(modulePath):
		if module.CanonicalVersion(version) != version {
			return fmt.Errorf("version %q is not canonical", version)
		}
		return nil
	}
	return CheckVersion(module.Version{Path: modulePath, Version: version})
}

func checkVersionGlob(s string) error {
	if len(s) > maxPattern || strings.Count(s, "*") > maxPatternStars {
		return fmt.Errorf("version %q is longer than %d characters or has more than %d stars", s, maxPattern, maxPatternStars)
	}
	if s[0] != 'v' && s[0] != '*' && s[0] != '?' {
		return fmt.Errorf("version %q does not begin with v", s)
	}
	for _, c := range []byte(s) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("*?.+-", c) >= 0) {
			return errors.New("version has the character " + fmt.Sprintf("%q", c) + ", which no version has")
		}
	}
	return nil
}

func hasWildcard(s string) bool { return strings.ContainsAny(s, "*?") }

// IsZero reports whether the pattern is none.
func (p VersionPattern) IsZero() bool { return p.module == "" }

// Parts returns what is written before and after the @; version is empty if there
// is none.
func (p VersionPattern) Parts() (module, version string) { return p.module, p.version }

// Exact returns the module, or the module version, that the pattern names; ok is
// false if it has a wildcard.
func (p VersionPattern) Exact() (mv module.Version, ok bool) {
	return module.Version{Path: p.module, Version: p.version}, !hasWildcard(p.module) && !hasWildcard(p.version)
}

// Match reports whether the pattern matches mv.
func (p VersionPattern) Match(mv module.Version) bool {
	if p.module == "" || !matchModule(p.module, mv.Path) {
		return false
	}
	return p.version == "" || p.version == mv.Version || hasWildcard(p.version) && matchGlob(p.version, mv.Version)
}

// MatchModule reports whether the pattern matches some version of a module.
func (p VersionPattern) MatchModule(modulePath string) bool {
	return p.module != "" && matchModule(p.module, modulePath)
}

func matchModule(pattern, modulePath string) bool {
	if !hasWildcard(pattern) {
		return pattern == modulePath
	}
	return matchElems(pattern, modulePath)
}

// matchGlob matches a whole text; neither has slashes.
func matchGlob(glob, text string) bool {
	ok, err := path.Match(glob, text)
	return err == nil && ok
}

func (p VersionPattern) String() string {
	if p.version == "" {
		return p.module
	}
	return p.module + "@" + p.version
}

// MarshalText returns the pattern as it is written.
func (p VersionPattern) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is ParseVersionPattern.
func (p *VersionPattern) UnmarshalText(b []byte) error {
	v, err := ParseVersionPattern(string(b))
	*p = v
	return err
}
